//! Jobs go out together only where that is allowed, in order, within the limits, signed, and at their first
//! attempt of all; what failed together goes out alone.

use hookferry::job::Job;
use secrecy::SecretString;

use super::Violation;
use crate::simulation::book::event::{Entry, Event, Id, Request};
use crate::simulation::book::excuses::copies_unknown;
use crate::simulation::book::facts::{Attempts, Each, Leases};
use crate::simulation::plan::Plan;

#[derive(Default)]
struct Story<'a> {
    group: &'a str,
    receives: u32,
    /// It was sent off alone.
    alone: bool,
    /// The requests with others in them that it was in.
    together: Vec<&'a Request>,
}

pub fn violations(plan: &Plan, entries: &[Entry]) -> Vec<Violation> {
    let (mut leases, mut attempts) = (Leases::default(), Attempts::default());
    let mut stories = Each::<Story>::default();
    let mut found = Vec::new();
    for (entry, Entry { at, event }) in entries.iter().enumerate() {
        leases.see(*at, event);
        attempts.see(event, &leases);
        match event {
            Event::Sent { message, group, .. } => stories.of(*message).group = group,
            Event::HandedOver { message, count, .. } => stories.of(*message).receives = *count,
            Event::SetOut(request) => {
                if let [job] = request.jobs[..] {
                    stories.of(job).alone = true;
                }
            }
            Event::Arrived(request) if request.jobs.len() > 1 => {
                let mut wrong = as_a_whole(plan, &mut stories, request);
                for job in &request.jobs {
                    let excused = copies_unknown(&attempts, &leases, request, *job);
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
    if !jobs.is_sorted_by(|a, b| a < b) {
        wrong.push("events out of order".to_owned());
    }
    let mut secrets = plan.apps[plan.jobs[jobs[0]].app].iter().map(|version| version.secret);
    let signs = |secret: &str| Job::verify(&request.signed, &SecretString::from(secret)).is_ok();
    if !secrets.any(signs) {
        wrong.push("not signed".to_owned());
    }
    wrong
}

fn before(story: &Story, request: &Request, excused: bool) -> impl Iterator<Item = String> + use<> {
    let process: Id = request.process;
    let again = request.attempt != 1 || (story.receives > 1 && !excused);
    // To other webhooks the same jobs go at the same time.
    let mut earlier = story.together.iter().filter(|other| other.process == process);
    let after = (story.alone && !excused)
        || earlier.any(|other| other.webhook == request.webhook || other.jobs != request.jobs);
    let again = again.then(|| format!("together with others at attempt {}", request.attempt));
    let after = after.then(|| "together with others after an attempt".to_owned());
    again.into_iter().chain(after)
}
