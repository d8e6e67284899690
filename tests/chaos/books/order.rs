//! Whether anything was reordered or overtaken.

use std::collections::{BTreeMap, BTreeSet};

use super::{Evidence, Violations, shown};
use crate::history::{Attempt, Delivery};

/// When a job stopped standing in the way of those behind it.
#[derive(Clone, Copy, Debug)]
enum Settled {
    /// Accepted by all its webhooks: at this place in the sequence of events.
    Accepted(u64),
    /// In the dead-letter queue: at this time by the wall clock, in milliseconds.
    Dead(u128),
    Never,
}

pub fn check(evidence: &Evidence, violations: &mut Violations) {
    let settled = settled(evidence);
    let mut groups: BTreeMap<usize, Vec<&Attempt>> = BTreeMap::new();
    for attempt in &evidence.attempts {
        groups.entry(attempt.delivery.group).or_default().push(attempt);
    }
    for (group, mut attempts) in groups {
        attempts.sort_by_key(|attempt| attempt.began.order);
        reordered(&attempts, violations);
        let jobs = settled.get(group).map_or(&[][..], Vec::as_slice);
        let before = before(jobs);
        for attempt in attempts {
            overtaken(attempt, jobs, &before, violations);
        }
    }
}

fn reordered(attempts: &[&Attempt], violations: &mut Violations) {
    let mut seen = BTreeSet::new();
    for attempt in attempts {
        let n = attempt.delivery.n;
        let furthest = seen.last().copied();
        if seen.insert(n) && furthest.is_some_and(|furthest| furthest > n) {
            violations
                .add("reordered", format!("first attempt after that at a later job: {}", shown(attempt)));
        }
    }
}

fn overtaken(attempt: &Attempt, jobs: &[Settled], before: &[Before], violations: &mut Violations) {
    let Some(before) = before.get(attempt.delivery.n) else { return };
    if before.accepted <= attempt.began.order && before.dead <= attempt.began.wall_ms {
        return;
    }
    let in_the_way = jobs.iter().position(|job| match job {
        Settled::Accepted(order) => *order > attempt.began.order,
        Settled::Dead(at) => *at > attempt.began.wall_ms,
        Settled::Never => true,
    });
    violations.add("overtaken", format!("job {} was not done: {}", in_the_way.unwrap_or(0), shown(attempt)));
}

/// When all that is before a job was settled.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    accepted: u64,
    dead: u128,
}

/// For each job of a group.
fn before(jobs: &[Settled]) -> Vec<Before> {
    let step = |all: &mut Before, job: &Settled| {
        let so_far = *all;
        match job {
            Settled::Accepted(order) => all.accepted = all.accepted.max(*order),
            Settled::Dead(at) => all.dead = all.dead.max(*at),
            Settled::Never => all.accepted = u64::MAX,
        }
        Some(so_far)
    };
    jobs.iter().scan(Before::default(), step).collect()
}

fn settled(evidence: &Evidence) -> Vec<Vec<Settled>> {
    let attempts = evidence.by_delivery();
    let dead: BTreeMap<&str, u128> = evidence.dead.iter().map(|d| (d.source.as_str(), d.sent_ms)).collect();
    let first = |group, n, webhook| {
        let tries = attempts.get(&Delivery { group, n, webhook })?;
        tries.iter().filter_map(|attempt| attempt.accepted()).map(|at| at.order).min()
    };
    let job = |group: usize, n: usize, id: &str| {
        if let Some(at) = dead.get(id) {
            return Settled::Dead(*at);
        }
        let firsts: Option<Vec<u64>> = (0..evidence.webhooks[group]).map(|w| first(group, n, w)).collect();
        firsts.and_then(|firsts| firsts.into_iter().max()).map_or(Settled::Never, Settled::Accepted)
    };
    let group = |(group, jobs): (usize, &Vec<crate::producer::Sent>)| {
        jobs.iter().enumerate().map(|(n, sent)| job(group, n, &sent.id)).collect()
    };
    evidence.sent.iter().enumerate().map(group).collect()
}
