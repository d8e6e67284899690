//! What is known to be otherwise elsewhere, and who is right.
//!
//! A listed check is run all the same. It has to fail there, and in the way that is listed: should it
//! pass one day, the list is out of date, and the suite says so.

use super::{CHECKS, Protocol};

/// One check that fails at a peer.
pub struct Difference {
    /// The check.
    check: &'static str,
    /// By which protocol; both if none is named.
    protocol: Option<Protocol>,
    /// What the peer does.
    pub it: &'static str,
    /// What the check's failure says.
    pub shows: &'static str,
    /// The documentation that says who is right.
    #[allow(dead_code, reason = "for whoever reads the list")]
    right: &'static str,
}

const MINISTACK: &[Difference] = &[];

/// What is known of a check at a peer.
pub fn of(peer: &str, check: &str, protocol: Protocol) -> Option<&'static Difference> {
    let known = match peer {
        "ministack" => MINISTACK,
        other => panic!("HOOKFERRY_TEST_SQS_PEER: there is no list for {other}"),
    };
    let here = |d: &&Difference| d.check == check && d.protocol.is_none_or(|only| only == protocol);
    known.iter().find(here)
}

#[test]
fn every_listed_difference_is_one_of_a_check() {
    for difference in MINISTACK {
        assert!(CHECKS.contains(&difference.check), "there is no check {}", difference.check);
    }
}
