//! Messages that SQS would not hand over again, of which other copies are still being worked here: after a lease was
//! lost. Left to their visibility timeout, SQS would move or delete them without a word, those that were delivered
//! among them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Claimant, Claimed, Refused};
use crate::apps::Apps;
use crate::delete_batcher::DeleteBatcher;
use crate::delivery::Transport;
use crate::flow::shares::Shares;
use crate::in_flight::Times;
use crate::lane::settle::report_unlettered;
use crate::lane::{Lane, Shared};
use crate::lease::{Lease, SETTLE_MARGIN};
use crate::ledger::Ledger;
use crate::queue::Queue;

/// How long to wait between two looks at whether the copies are done.
const PAUSE: Duration = Duration::from_millis(250);

/// Waits until no copy of a group's messages is worked any more, and works them then: what was delivered is only deleted
/// again, by its new receipt. A lane whose lease is lost ends with the attempt that it is in.
pub(super) async fn wait<Q: Queue, T: Transport, A: Apps>(
    shared: Arc<Shared<Q, T, A>>,
    app_shares: Arc<Shares>,
    deletes: DeleteBatcher,
    group: Vec<Refused>,
    times: Times,
) {
    let lease = Lease::new(times.lease_start, shared.rules.visibility);
    let mut group = group;
    while lease.fits(Instant::now(), PAUSE + SETTLE_MARGIN) && !shared.closing.is_cancelled() {
        timeout(PAUSE, shared.closing.cancelled()).await.ok();
        match claimed(&shared.ledger, group) {
            Ok(claimed) => {
                let Some((first, ..)) = claimed.first() else { return };
                let claimant = Claimant::of(first);
                let jobs =
                    claimed.into_iter().map(|job| claimant.in_flight(job, Some(&app_shares))).collect();
                return Lane::new(shared, deletes, jobs, times).run().await;
            }
            Err(still) => group = still,
        }
    }
    shared.metrics.abandoned.inc_by(group.len() as u64);
    let Some((first, _)) = group.first() else { return };
    let why = "they came for the last time while copies of them were still being worked (raise \
               QUEUE_SQS_VISIBILITY_TIMEOUT)";
    report_unlettered(&first.group, group.iter().map(|(message, _)| &message.id), why);
}

/// All of a group with their claims, or all of it as it was.
fn claimed(ledger: &Arc<Ledger>, group: Vec<Refused>) -> Result<Vec<Claimed>, Vec<Refused>> {
    let claims: Option<Vec<_>> = group.iter().map(|(message, _)| ledger.claim(&message.id)).collect();
    match claims {
        Some(claims) => {
            let with_claim = |((message, permit), claim)| (message, claim, permit);
            Ok(group.into_iter().zip(claims).map(with_claim).collect())
        }
        None => Err(group),
    }
}
