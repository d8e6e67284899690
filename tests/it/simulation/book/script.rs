//! Short lists of events written by hand: what an invariant has to accept, and what it has to refuse.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookferry::app::{Target, WebhookId};
use hookferry::job::{Job, QueueType, sign};
use hookferry::policy::rules::Disposal;
use secrecy::SecretString;

use super::event::{Entry, Event, Id, Request};
use super::invariants::{Record, Violation};
use crate::simulation::plan::{Hook, Kind, Plan, Planned, Poison, Version};

/// Two processes.
pub const A: Id = Id { replica: 0, start: 0 };
pub const B: Id = Id { replica: 1, start: 0 };
/// The URL of the one webhook.
pub const URL: &str = "http://h0/0";

/// The one webhook's identity.
pub fn webhook() -> String {
    WebhookId::of(&Target::Http(URL.to_owned())).to_string()
}

/// Events so far. The plan has one app with one webhook, a visibility timeout of 5 s, a window of 60 s and
/// a grace of 8 s; destinations may fail, nothing else.
#[derive(Clone)]
pub struct Script {
    pub plan: Plan,
    entries: Vec<Entry>,
    now: Duration,
    requests: Vec<Arc<Request>>,
}

impl Script {
    /// So many jobs are sent to one group.
    pub fn of(jobs: usize) -> Self {
        let mut plan = Plan::draw(0);
        let hook = Hook { host: 0, path: 0, kind: None, prefix: None, most_attempts: None };
        let at = Duration::ZERO;
        plan.kind = Kind::Destinations;
        plan.apps = vec![vec![Version { from: at, there: true, secret: "secret", hooks: vec![hook] }]];
        let kind = QueueType::ClientEvent;
        let job = Planned { at, app: 0, kind, channel: "public", poison: Poison::None };
        plan.jobs = vec![job; jobs];
        plan.rules.visibility = Duration::from_secs(5);
        plan.rules.attempt_timeout = Duration::from_secs(1);
        plan.rules.retry.window = Duration::from_secs(60);
        plan.rules.disposal = Disposal::new(None, plan.rules.disposal.retention());
        plan.rules.coalesce = None;
        plan.bounds.grace = Duration::from_secs(8);
        plan.dead_letters = true;
        plan.incidents.clear();
        plan.unusable = None;
        let mut script = Self { plan, entries: Vec::new(), now: at, requests: Vec::new() };
        for message in 0..jobs {
            let id = format!("m{message}").into();
            script.happens(Event::Sent { message, id, group: "g".to_owned() });
        }
        script
    }

    /// From now on it is so many seconds since the start.
    pub fn at(&mut self, seconds: u64) -> &mut Self {
        self.now = Duration::from_secs(seconds);
        self
    }

    pub fn happens(&mut self, event: Event) -> &mut Self {
        self.entries.push(Entry { at: self.now, event });
        self
    }

    /// A message is handed over, and the answer is lost.
    pub fn handed_silently(&mut self, process: Id, message: usize) -> &mut Self {
        let until = self.now + self.plan.rules.visibility;
        self.happens(Event::HandedOver { process, message, until, count: 1 })
    }

    /// Messages are received, for the visibility timeout.
    pub fn handed(&mut self, process: Id, messages: &[usize]) -> &mut Self {
        let until = self.now + self.plan.rules.visibility;
        for message in messages.iter().copied() {
            let handed =
                |entry: &&Entry| matches!(entry.event, Event::HandedOver { message: m, .. } if m == message);
            let count = u32::try_from(self.entries.iter().filter(handed).count()).unwrap() + 1;
            self.happens(Event::HandedOver { process, message, until, count });
            self.happens(Event::Received { process, message });
        }
        self
    }

    /// An attempt sets out and arrives.
    pub fn attempted(&mut self, process: Id, jobs: &[usize], attempt: u32) -> &mut Self {
        let id: Vec<String> = jobs.iter().map(|job| format!("m{job}.{}", webhook())).collect();
        self.attempted_as(process, jobs, attempt, &id.join(","))
    }

    pub fn attempted_as(&mut self, process: Id, jobs: &[usize], attempt: u32, id: &str) -> &mut Self {
        let payload = Bytes::from(format!("{jobs:?}"));
        let signature = sign(&SecretString::from("secret"), [payload.as_ref()]);
        let signed =
            Job { app_key: "k0".into(), app_id: String::new(), payload, signature, sender_secret: None };
        let request = Arc::new(Request {
            number: self.requests.len(),
            process,
            jobs: jobs.to_vec(),
            webhook: webhook(),
            url: URL.to_owned(),
            id: id.to_owned(),
            attempt,
            signed,
        });
        self.requests.push(Arc::clone(&request));
        self.happens(Event::SetOut(Arc::clone(&request))).happens(Event::Arrived(request))
    }

    fn last(&self) -> Arc<Request> {
        Arc::clone(self.requests.last().unwrap())
    }

    /// The last attempt is accepted, is over, and its process is told.
    pub fn delivered(&mut self) -> &mut Self {
        let last = self.last();
        self.happens(Event::Accepted(Arc::clone(&last)));
        self.over().happens(Event::Told(last))
    }

    /// The last attempt fails.
    pub fn failed(&mut self) -> &mut Self {
        self.refused("status")
    }

    /// The last attempt is answered with that failure.
    pub fn refused(&mut self, reason: &'static str) -> &mut Self {
        let request = self.last();
        self.over();
        self.happens(Event::Refused { request: Arc::clone(&request), reason }).happens(Event::InVain(request))
    }

    /// The last attempt ends at its destination.
    pub fn over(&mut self) -> &mut Self {
        let request = self.last();
        self.happens(Event::Over { request, dead: false })
    }

    /// A delete is sent and takes effect.
    pub fn deleted(&mut self, process: Id, message: usize) -> &mut Self {
        self.happens(Event::DeleteBegan { process, message }).happens(Event::Deleted { process, message })
    }

    /// The dead-letter queue has it, and says so.
    pub fn lettered(&mut self, process: Id, message: usize, reason: &'static str) -> &mut Self {
        let delivered = Vec::new();
        self.happens(Event::Lettered { process, message, reason, attempts: 1, delivered, kept: true })
            .happens(Event::LetterConfirmed { process, message })
    }

    /// What an invariant finds in it.
    pub fn finds(&mut self, invariant: fn(&Record<'_>) -> Vec<Violation>) -> Vec<String> {
        self.happens(Event::End);
        let record = Record { plan: &self.plan, entries: &self.entries, granted: &RefCell::default() };
        let found = invariant(&record).into_iter().map(|violation| violation.what).collect();
        self.entries.pop();
        found
    }

    pub fn is_accepted_by(&mut self, invariant: fn(&Record<'_>) -> Vec<Violation>) {
        assert_eq!(self.finds(invariant), [] as [String; 0]);
    }

    pub fn is_refused_by(&mut self, invariant: fn(&Record<'_>) -> Vec<Violation>, why: &str) {
        let found = self.finds(invariant);
        assert!(found.len() == 1 && found[0].contains(why), "{found:?}");
    }
}
