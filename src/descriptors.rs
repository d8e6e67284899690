//! File descriptors: how many this process may have, and how many it has.
//!
//! Every delivery under way holds one for each webhook, and so does every connection that is kept. Without
//! a descriptor nothing can be dialled, looked up or accepted.

pub mod sockets;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For what is no delivery: SQS, app sources, name servers, the ops port, files.
const RESERVED: u64 = 128;
/// At least this many places there are, whatever the limit is.
const FEWEST_PLACES: usize = 16;
/// At most this many connections are in use by deliveries, whatever the limit of descriptors is. One takes some 25 KB of
/// memory with TLS, and a message may have a hundred webhooks: without a bound the apps of a few tenants that answer late
/// would hold as many connections as there are descriptors.
const MAX_IN_USE: usize = 3_000;

/// Raises the limit to as much as this process may give itself, and says what it is then. A shell's usual 1,024
/// is for programs that use `select`, which nothing here does.
pub fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // What cannot be raised stays as it is; what follows from it is said by whoever asks.
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).ok();
    }
    self::limit()
}

/// How many may be open.
pub fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many the system lets this process raise that to.
pub fn hard_limit() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// How many messages may be in memory under a limit, if `wanted` are wanted: three in four of the descriptors
/// that are not reserved, the rest being for connections that are kept.
pub fn places(limit: u64, wanted: usize) -> usize {
    let most = usize::try_from(limit.saturating_sub(RESERVED) / 4 * 3).unwrap_or(usize::MAX);
    wanted.min(most.max(FEWEST_PLACES))
}

/// How many connections may be in use by deliveries under a limit: three in four of the descriptors that are not
/// reserved, the rest being for connections that are kept; half of the limit where that is more; and no more than
/// [`MAX_IN_USE`].
pub fn for_deliveries(limit: u64) -> usize {
    let most = (limit.saturating_sub(RESERVED) / 4 * 3).max(limit / 2);
    usize::try_from(most).unwrap_or(usize::MAX).min(MAX_IN_USE)
}

/// How many are open; none where the system does not tell.
pub fn open() -> u64 {
    std::fs::read_dir("/dev/fd").map_or(0, |entries| entries.count() as u64)
}

/// Whether there are no more left than what is no delivery needs.
pub fn are_few() -> bool {
    open().saturating_add(RESERVED) >= limit()
}

/// Whether an error says that there is none left, for this process or for the whole system.
pub fn is_lack(error: &std::io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Whether there is none left at this moment, for errors that do not tell.
pub fn are_lacking() -> bool {
    std::fs::File::open("/dev/null").is_err_and(|error| is_lack(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_what_is_open_is_counted() {
        let raised = raise();
        assert_eq!(raised, limit());
        assert_eq!(hard_limit(), raised);
        let before = open();
        let files: Vec<_> = (0..50).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        // Other tests of this process open and close theirs.
        assert!(before > 0 && open() >= before + 25, "{} files", files.len());
        assert!(!are_lacking());
    }

    #[test]
    fn places_are_bounded_by_the_limit() {
        assert_eq!(places(1024, 2000), 672);
        assert_eq!(places(65_536, 2000), 2000);
        assert_eq!((places(0, 2000), places(0, 4)), (16, 4));
        assert_eq!(places(u64::MAX, 2000), 2000);
        assert_eq!((for_deliveries(1024), for_deliveries(96)), (672, 48));
        assert_eq!((for_deliveries(65_536), for_deliveries(u64::MAX)), (MAX_IN_USE, MAX_IN_USE));
    }

    #[test]
    fn running_out_of_descriptors_is_recognised_by_its_error() {
        let of = |errno: Errno| is_lack(&std::io::Error::from(errno));
        assert!(of(Errno::MFILE) && of(Errno::NFILE) && !of(Errno::CONNREFUSED));
    }
}
