//! A process numbers its attempts of a job at each webhook from 1 upwards, one by one, however often others received
//! it, and anew where the webhook was taken away in between.

use std::time::Duration;

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event, Id, Request};
use crate::simulation::book::facts::{Attempts, Each, Leases};

#[derive(Default)]
struct Story {
    /// The requests that set out, each with its process, its webhook and the attempt's number; not each has arrived.
    attempts: Vec<(usize, Id, String, u32, Duration)>,
}

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let (mut leases, mut attempts) = (Leases::default(), Attempts::default());
    let mut stories = Each::<Story>::default();
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        leases.see(*at, event);
        attempts.see(event, &leases);
        match event {
            Event::SetOut(request) => {
                for job in &request.jobs {
                    let (webhook, attempt) = (request.webhook.clone(), request.attempt);
                    stories.of(*job).attempts.push((request.number, request.process, webhook, attempt, *at));
                }
            }
            Event::Arrived(request) => {
                for job in request.jobs.iter().copied() {
                    let app = record.plan.job(job).app;
                    let was_gone = |since: Duration| {
                        let mut versions =
                            record.plan.versions_between(app, since.saturating_sub(record.plan.app_lag), *at);
                        versions.any(|version| !version.identities().contains(&request.webhook))
                    };
                    let wrong = stories.of(job).wrong(request, was_gone);
                    if let Some(wrong) = wrong
                        && !record.lease_unknown(&attempts, request, job)
                    {
                        let what = format!("job {job}: attempt number {} {wrong}", request.attempt);
                        found.push(Violation { entry, what });
                    }
                }
            }
            _ => {}
        }
    }
    found
}

impl Story {
    fn wrong(&self, request: &Request, was_gone: impl Fn(Duration) -> bool) -> Option<&'static str> {
        let (process, number) = (request.process, request.attempt);
        let earlier = self.attempts.iter().take_while(|(other, ..)| *other != request.number);
        let mine = earlier.filter(|(_, by, webhook, ..)| *by == process && *webhook == request.webhook);
        match mine.last() {
            _ if number == 0 => Some("is none"),
            Some((.., last, at)) => {
                let follows = number == last + 1 || number == 1 && was_gone(*at);
                (!follows).then_some("does not follow the one before")
            }
            None => (number > 1).then_some("of a job that it has not attempted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Id, violations};
    use crate::simulation::book::script::{A, B, Script};

    #[test]
    fn attempts_are_counted_upwards_by_each_process() {
        Script::of(1).attempted(A, &[0], 1).over().attempted(A, &[0], 2).is_accepted_by(violations);
        let both = |by: [Id; 3], numbers: [u32; 3]| {
            let mut script = Script::of(1);
            for (by, number) in by.into_iter().zip(numbers) {
                script.attempted(by, &[0], number).over();
            }
            script
        };
        both([A, A, B], [1, 2, 1]).is_accepted_by(violations);
        both([A, A, A], [1, 2, 1]).is_refused_by(violations, "does not follow");
        both([A, A, A], [1, 2, 2]).is_refused_by(violations, "does not follow");
        both([A, B, A], [1, 1, 7]).is_refused_by(violations, "does not follow");
        let mut untried = Script::of(1);
        untried
            .handed(A, &[0])
            .handed(A, &[0])
            .handed(A, &[0])
            .attempted(A, &[0], 1)
            .is_accepted_by(violations);
        let mut counted = Script::of(1);
        counted.handed(B, &[0]).handed(A, &[0]).attempted(A, &[0], 2);
        counted.is_refused_by(violations, "not attempted");
        Script::of(1).attempted(A, &[0], 0).is_refused_by(violations, "number 0 is none");
    }
}
