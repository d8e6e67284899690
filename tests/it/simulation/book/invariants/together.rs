//! Jobs go out together only where that is allowed, in order, within the limits, signed, and at their first
//! attempt by all that their process can know; what failed together goes out alone.

use std::collections::{BTreeMap, BTreeSet};

use hookferry::job::Job;
use secrecy::SecretString;

use super::{Record, Violation};
use crate::simulation::book::event::{Entry, Event, Id, Request};
use crate::simulation::book::facts::{Attempts, Each, Leases};
use crate::simulation::plan::Plan;

#[derive(Default)]
struct Story<'a> {
    group: &'a str,
    receives: u32,
    /// How often each process has received it.
    held: BTreeMap<Id, u32>,
    /// Which processes sent it off alone.
    alone: BTreeSet<Id>,
    /// The requests with others in them that it was in.
    together: Vec<&'a Request>,
}

pub fn violations(record: &Record<'_>) -> Vec<Violation> {
    let plan = record.plan;
    let (mut leases, mut attempts) = (Leases::default(), Attempts::default());
    let mut stories = Each::<Story>::default();
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in record.entries.iter().enumerate() {
        leases.see(*at, event);
        attempts.see(event, &leases);
        match event {
            Event::Sent { message, group, .. } => stories.of(*message).group = group,
            Event::HandedOver { message, count, .. } => stories.of(*message).receives = *count,
            Event::Received { process, message } => {
                *stories.of(*message).held.entry(*process).or_default() += 1;
            }
            Event::SetOut(request) => {
                if let [job] = request.jobs[..] {
                    stories.of(job).alone.insert(request.process);
                }
            }
            Event::Arrived(request) if request.jobs.len() > 1 => {
                let mut wrong = as_a_whole(plan, &mut stories, request);
                for job in &request.jobs {
                    let excused = || record.copies_unknown(&attempts, &leases, request, *job);
                    let story = stories.of(*job);
                    wrong.extend(before(story, request, excused).map(|why| format!("job {job} {why}")));
                    story.together.push(request);
                }
                let what = |wrong| format!("jobs {:?}: {wrong}", request.jobs);
                found.extend(wrong.into_iter().map(|wrong| Violation { entry, what: what(wrong) }));
            }
            _ => {}
        }
    }
    found
}

fn as_a_whole(plan: &Plan, stories: &mut Each<Story>, request: &Request) -> Vec<String> {
    let (jobs, length) = (&request.jobs, request.signed.payload.len());
    let mut wrong = Vec::new();
    if plan.rules.coalesce.is_none_or(|most| jobs.len() > most.events || length > most.bytes) {
        wrong.push(format!("{} jobs of {length} bytes together", jobs.len()));
    }
    if request.id.split(',').count() != jobs.len() {
        wrong.push(format!("under the ids {}", request.id));
    }
    let group = stories.of(jobs[0]).group;
    if jobs.iter().any(|job| stories.of(*job).group != group) {
        wrong.push("jobs of two groups together".to_owned());
    }
    // A message that was put back comes after all that was sent before that.
    if jobs.iter().all(|job| *job < plan.jobs.len()) && !jobs.is_sorted_by(|a, b| a < b) {
        wrong.push("events out of order".to_owned());
    }
    let mut secrets = plan.apps[plan.job(jobs[0]).app].iter().map(|version| version.secret);
    let signs = |secret: &str| Job::verify(&request.signed, &SecretString::from(secret)).is_ok();
    if !secrets.any(signs) {
        wrong.push("not signed".to_owned());
    }
    wrong
}

fn before(story: &Story, request: &Request, excused: impl Fn() -> bool) -> impl Iterator<Item = String> {
    let process: Id = request.process;
    // What it never held before may have been attempted by another.
    let elsewhere = story.receives > 1 && story.held.get(&process).is_none_or(|times| *times < 2);
    let again = request.attempt != 1 || (elsewhere && !excused());
    // To other webhooks the same jobs go at the same time.
    let mut earlier = story.together.iter().filter(|other| other.process == process);
    let after = (story.alone.contains(&process) && !excused())
        || earlier.any(|other| other.webhook == request.webhook || other.jobs != request.jobs);
    let again = again.then(|| format!("together with others at attempt {}", request.attempt));
    let after = after.then(|| "together with others after an attempt".to_owned());
    again.into_iter().chain(after)
}

#[cfg(test)]
mod tests {
    use hookferry::plan::Limits;

    use super::violations;
    use crate::simulation::book::script::{A, Script};

    fn script(jobs: usize) -> Script {
        let mut script = Script::of(jobs);
        script.plan.rules.coalesce = Some(Limits { events: 3, bytes: 1000 });
        script.handed(A, &(0..jobs).collect::<Vec<_>>());
        script
    }

    #[test]
    fn fresh_jobs_go_out_together_and_alone_after_that() {
        let mut script = script(3);
        script.attempted(A, &[0, 1, 2], 1).failed().attempted(A, &[0], 2).is_accepted_by(violations);
        script.attempted(A, &[1, 2], 1);
        assert!(script.finds(violations).iter().all(|what| what.contains("together with others after")));
    }

    #[test]
    fn too_many_out_of_order_or_where_it_is_not_allowed_is_refused() {
        script(4).attempted(A, &[0, 1, 2, 3], 1).is_refused_by(violations, "4 jobs of");
        script(2).attempted(A, &[1, 0], 1).is_refused_by(violations, "out of order");
        script(2).attempted_as(A, &[0, 1], 1, "m0.0").is_refused_by(violations, "under the ids m0.0");
        Script::of(2).attempted(A, &[0, 1], 1).is_refused_by(violations, "2 jobs of");
        assert_eq!(script(2).attempted(A, &[0, 1], 2).finds(violations).len(), 2, "each of the two");
    }
}
