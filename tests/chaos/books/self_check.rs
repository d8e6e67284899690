//! The books are checked before they are trusted: a clean run balances, and everything that is
//! planted in it is found, under its own name.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Balance, Cause, Dead, Evidence, balance};
use crate::apps::Kind;
use crate::history::{Attempt, Delivery, End, Stamp};
use crate::producer::Sent;
use crate::proxy::Reused;
use crate::workers::Life;

/// # Panics
/// If the books would not find what they are there for.
pub fn self_check() {
    let clean = balance(&clean());
    assert!(clean.violations.is_empty(), "{:?}", clean.violations);
    assert!(clean.duplicates.is_empty(), "{:?}", clean.duplicates);
    what_is_lost();
    what_is_out_of_order();
    what_is_repeated();
    what_breaks_other_rules();
    what_is_misnamed();
}

fn what_is_lost() {
    found("lost", |e| drop(e.attempts.remove(2)));
    found("lost", |e| end(&mut e.attempts[3], End::AnswerLost));
    found("lost", |e| drop(e.dead.pop()));
    found("lost", |e| e.dead.push(e.dead[0].clone()));
    found("lost", |e| "gone".clone_into(&mut e.dead[0].reason));
    found("lost", |e| {
        let sound = Dead { source: "m0-2".into(), ..e.dead[0].clone() };
        e.dead.push(sound);
    });
}

fn what_is_out_of_order() {
    found("reordered", |e| {
        for attempt in &mut e.attempts[..2] {
            attempt.began = stamp(attempt.began.order + 30);
            attempt.ended = Some((stamp(attempt.began.order + 5), End::Accepted));
        }
    });
    // The head was attempted first and failed, and the next one went ahead of its second attempt.
    found("overtaken", |e| {
        let mut failed = e.attempts[1].clone();
        failed.began.order -= 1;
        end(&mut failed, End::NotTaken);
        e.attempts.push(failed);
        let late = e.attempts[3].began;
        e.attempts[1].began = late;
        e.attempts[1].ended = Some((stamp(late.order + 5), End::Accepted));
        e.attempts[1].number = 2;
    });
    found("overtaken", |e| e.dead[0].sent_ms = e.attempts[2].began.wall_ms + 1);
    // The other webhook of the job before was not done.
    found("overtaken", |e| e.attempts[1].ended = Some((stamp(1000), End::Accepted)));
}

fn what_is_repeated() {
    let again = |e: &mut Evidence, worker: &str| {
        let mut copy = e.attempts[0].clone();
        worker.clone_into(&mut copy.worker);
        copy.number = 2;
        copy.began = stamp(100);
        copy.ended = Some((stamp(101), End::Accepted));
        e.attempts.push(copy);
    };
    found("unexplained duplicate", |e| again(e, "w0"));
    found("unexplained duplicate", |e| again(e, "w1"));
    let ended = clean().attempts[0].accepted().expect("it was accepted").at;
    let killed = |e: &mut Evidence, at| e.lives.insert("w0".into(), Life { killed: Some(at), stops: vec![] });
    explained(Cause::Killed, |e| {
        killed(e, ended);
        again(e, "w1");
    });
    found("unexplained duplicate", |e| {
        killed(e, ended + Duration::from_secs(60));
        again(e, "w1");
    });
    explained(Cause::Stopped, |e| {
        e.lives.insert("w0".into(), Life { killed: None, stops: vec![(Duration::ZERO, ended * 9)] });
        again(e, "w0");
    });
    explained(Cause::QueueGone, |e| {
        e.notes.outage = Some((ended, ended * 9));
        again(e, "w1");
    });
    found("unexplained duplicate", |e| {
        e.notes.outage = Some((ended, ended * 9));
        again(e, "w0");
    });
    explained(Cause::OtherWebhookFailed, |e| {
        let mut second = Attempt { worker: "w1".into(), number: 2, ..e.attempts[1].clone() };
        second.began = stamp(14);
        second.ended = Some((stamp(15), End::Accepted));
        end(&mut e.attempts[1], End::NotTaken);
        e.attempts.push(second);
        again(e, "w1");
    });
    explained(Cause::Stalled, |e| {
        e.stalls.push((ended, ended * 2));
        again(e, "w1");
    });
    explained(Cause::AnswerLost, |e| {
        e.attempts.swap(0, 2);
        again(e, "w0");
        end(&mut e.attempts[0], End::AnswerLost);
    });
}

fn what_breaks_other_rules() {
    found("overstayed", |e| e.attempts[3].ended = Some((stamp(10_000), End::NotTaken)));
    found("overstayed", |e| e.attempts[3].ended = None);
    found("attempt id reused", |e| {
        let (answered, again) = (Duration::from_secs(1), Duration::from_secs(2));
        e.notes.reused.push(Reused { worker: "w0".into(), answered, again });
    });
}

fn what_is_misnamed() {
    found("wrong id", |e| e.attempts[0].id = "m0-1.0".into());
    found("wrong number", |e| e.attempts[0].number = 0);
    // A request that ended on a kept connection is sent once more, by a new one, under the same number.
    let twice = |e: &mut Evidence| {
        e.attempts[0].kept = true;
        e.attempts[0].reset = true;
        end(&mut e.attempts[0], End::NotTaken);
        let again = Attempt { kept: false, reset: false, began: stamp(13), ..e.attempts[0].clone() };
        e.attempts.push(Attempt { ended: Some((stamp(14), End::Accepted)), ..again });
    };
    assert!(planted(twice).violations.is_empty(), "{:?}", planted(twice).violations);
    found("wrong number", |e| {
        twice(e);
        e.attempts[0].kept = false;
    });
    found("wrong number", |e| {
        twice(e);
        e.attempts[0].reset = false;
    });
    found("wrong number", |e| {
        twice(e);
        let third =
            Attempt { began: stamp(15), ended: Some((stamp(16), End::Accepted)), ..e.attempts[4].clone() };
        e.attempts.push(third);
    });
    found("unknown worker", |e| e.lives.clear());
    found("unknown", |e| e.attempts[0].delivery.n = 99);
}

/// Plants something in a clean run, which has to be found.
fn found(kind: &str, plant: impl FnOnce(&mut Evidence)) {
    let Balance { violations, .. } = planted(plant);
    assert!(violations.count(kind) > 0, "planted and not found: {kind}; found: {violations:?}");
}

/// Plants a duplicate with its cause.
fn explained(cause: Cause, plant: impl FnOnce(&mut Evidence)) {
    let Balance { violations, duplicates } = planted(plant);
    assert!(violations.is_empty(), "{cause:?}: {violations:?}");
    assert_eq!(duplicates, BTreeMap::from([(cause, 1)]));
}

fn planted(plant: impl FnOnce(&mut Evidence)) -> Balance {
    let mut evidence = clean();
    plant(&mut evidence);
    balance(&evidence)
}

/// A group of two webhooks: a sound job, a forged one, a sound one, each attempted once by one worker.
fn clean() -> Evidence {
    let kinds = [Kind::Sound, Kind::Forged, Kind::Sound];
    let sent = kinds.iter().enumerate().map(|(n, kind)| Sent { id: format!("m0-{n}"), kind: *kind });
    // Both webhooks of a job are attempted at the same time.
    let attempt = |n: usize, webhook: usize, began: u64| Attempt {
        worker: "w0".into(),
        delivery: Delivery { group: 0, n, webhook },
        id: format!("m0-{n}.{webhook}"),
        number: 1,
        began: stamp(began),
        ended: Some((stamp(began + 2), End::Accepted)),
        kept: false,
        reset: false,
    };
    Evidence {
        sent: vec![sent.collect()],
        webhooks: vec![2],
        attempts: vec![attempt(0, 0, 10), attempt(0, 1, 11), attempt(2, 0, 20), attempt(2, 1, 21)],
        dead: vec![Dead { source: "m0-1".into(), reason: "signature".into(), sent_ms: 15 }],
        lives: ["w0", "w1"].map(|name| (name.to_owned(), Life::default())).into(),
        ..Evidence::default()
    }
}

/// A place in the sequence of events; a millisecond lies between two of them.
fn stamp(order: u64) -> Stamp {
    Stamp { order, at: Duration::from_millis(order), wall_ms: u128::from(order) }
}

fn end(attempt: &mut Attempt, end: End) {
    attempt.ended = attempt.ended.map(|(at, _)| (at, end));
}
