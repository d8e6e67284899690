//! Jobs that go out together, and what holds of those besides.

use std::time::Duration;

use hookferry::app::Target;
use hookferry::job::Job;
use hookferry::plan::{Delivery, ID_HEADER};
use secrecy::SecretString;

use super::{Book, Id};

/// What a process sends to a destination.
#[derive(Debug)]
pub struct Request {
    /// The jobs whose events it holds, in its order.
    pub jobs: Vec<usize>,
    pub webhook: usize,
    pub url: String,
    pub id: String,
    pub number: u32,
    /// The body, and what signs it.
    signed: Job,
}

impl Request {
    pub fn of(delivery: &Delivery, number: u32) -> Self {
        let Target::Http(url) = &delivery.target else { panic!("{:?}", delivery.target) };
        let body: serde_json::Value = serde_json::from_slice(&delivery.body).unwrap();
        let jobs = body["events"].as_array().unwrap().iter();
        let jobs = jobs.map(|event| usize::try_from(event["n"].as_u64().unwrap()).unwrap()).collect();
        let header = |name: &str| delivery.headers.iter().find(|(n, _)| n == name).unwrap().1.clone();
        let (id, webhook) = (header(ID_HEADER), delivery.webhook);
        let signed = Job {
            app_key: header("X-Pusher-Key"),
            app_id: String::new(),
            payload: delivery.body.clone(),
            signature: header("X-Pusher-Signature"),
        };
        Self { jobs, webhook, url: url.clone(), id, number, signed }
    }
}

impl Book {
    /// A process sends something off.
    pub fn sets_out(&mut self, request: &Request) {
        for job in &request.jobs {
            self.stories[*job].set_out = true;
        }
        if let [job] = request.jobs[..] {
            self.stories[job].alone = true;
        }
    }

    /// Jobs go out together only where that is allowed, in order, within the limits, and at their first
    /// attempt of all.
    pub(super) fn check_run(&mut self, now: Duration, process: Id, request: &Request, jumps: usize) {
        let jobs = &request.jobs;
        if let [job] = jobs[..] {
            if !self.stories[job].runs.is_empty() {
                self.count("coalesced, then alone");
            }
            return;
        }
        self.count("coalesced");
        let mut wrong = Vec::new();
        let length = request.signed.payload.len();
        if self.plan.rules.coalesce.is_none_or(|most| jobs.len() > most.events || length > most.bytes) {
            wrong.push(format!("{} jobs of {length} bytes together", jobs.len()));
        }
        if request.id.split(',').count() != jobs.len() {
            wrong.push(format!("under the ids {}", request.id));
        }
        if jobs.iter().any(|job| self.stories[*job].group != self.stories[jobs[0]].group) {
            wrong.push("jobs of two groups together".to_owned());
        }
        if !jobs.is_sorted_by(|a, b| a < b) {
            wrong.push("events out of order".to_owned());
        }
        let secrets = self.plan.apps[self.plan.jobs[jobs[0]].app].iter().map(|version| version.secret);
        if !secrets.into_iter().any(|secret| request.signed.verify(&SecretString::from(secret)).is_ok()) {
            wrong.push("not signed".to_owned());
        }
        for job in jobs {
            let story = &mut self.stories[*job];
            let excused = story.ever_doubtful.contains(&process) || self.jumps > jumps;
            if request.number != 1 || (story.receives > 1 && !excused) {
                wrong.push(format!("job {job} together with others at attempt {}", request.number));
            }
            // To other webhooks the same run goes at the same time.
            let mut before = story.runs.iter().filter(|(by, _, _)| *by == process);
            if (story.alone && !excused)
                || before.any(|(_, webhook, run)| *webhook == request.webhook || run != jobs)
            {
                wrong.push(format!("job {job} together with others after an attempt"));
            }
            story.runs.push((process, request.webhook, jobs.clone()));
        }
        for violation in wrong {
            self.violated(now, format!("jobs {:?}: {violation}", request.jobs));
        }
    }
}
