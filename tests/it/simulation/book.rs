//! The book: all that happened to each job, and what must never happen.
//!
//! It is written by the ports, from outside the worker, and knows the truth: what the queue holds,
//! whose lease it is, what each destination accepted and what each process was told.

mod outages;
mod runs;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use hookferry::queue::{DeadLetter, MessageId};

use super::plan::{Kind, Plan, Poison};
use outages::Outages;
pub use runs::Request;

/// A process: the replica and how often it has been started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    pub replica: usize,
    pub start: usize,
}

/// Who may work a message, by the queue's own clock.
#[derive(Clone, Copy, Debug)]
struct Lease {
    process: Id,
    until: Duration,
}

#[derive(Clone, Debug)]
struct Active {
    number: usize,
    process: Id,
    webhook: usize,
    /// All stood still during it, or its lease is in doubt: it may outlive it.
    excused: bool,
}

/// One job's story.
#[derive(Debug, Default)]
struct Story {
    sent: Duration,
    group: String,
    lease: Option<Lease>,
    /// Processes that cannot know when their lease began: the response took longer than the safety
    /// margin.
    doubtful: Vec<Id>,
    /// Those that were so at any time: another receive of theirs may come while they work on.
    ever_doubtful: Vec<Id>,
    receives: u32,
    /// When it was handed to whom.
    handed: Vec<(Id, Duration)>,
    active: Vec<Active>,
    /// When each webhook's first attempt arrived, by place and URL.
    attempts: BTreeMap<(usize, String), u32>,
    first_attempt: Option<Duration>,
    /// An attempt was sent off; it may have arrived nowhere.
    set_out: bool,
    /// The jobs that it went out together with, by whom and to which webhook; itself among them.
    runs: Vec<(Id, usize, Vec<usize>)>,
    /// It was sent off alone.
    alone: bool,
    accepted: Vec<(usize, String)>,
    told: Vec<(Id, usize, String)>,
    numbers: Vec<(Id, u32)>,
    lettered: Vec<Id>,
    first_letter: Option<Duration>,
    /// Who sent each of its dead letters.
    lettered_by: Vec<Id>,
    /// When SQS itself moved it to the dead-letter queue.
    moved: Option<Duration>,
    gone: Option<Duration>,
}

impl Story {
    /// How often it is in the dead-letter queue.
    fn letters(&self) -> usize {
        self.lettered_by.len() + usize::from(self.moved.is_some())
    }
}

/// What is known, and what was violated.
#[derive(Debug)]
pub struct Book {
    plan: Arc<Plan>,
    stories: Vec<Story>,
    ids: HashMap<MessageId, usize>,
    groups: BTreeMap<String, Vec<usize>>,
    receives: HashMap<String, bool>,
    pub outages: Outages,
    next_attempt: usize,
    /// A process was told to end before all was over.
    pub ended_in_mid_run: bool,
    /// How often everything stood still.
    pub jumps: usize,
    /// For how long in all.
    pub stood_still: Duration,
    pub violations: Vec<String>,
    pub trace: Option<Vec<String>>,
    pub counts: BTreeMap<&'static str, u64>,
}

impl Book {
    pub fn new(plan: Arc<Plan>, traced: bool) -> Self {
        Self {
            plan,
            stories: Vec::new(),
            ids: HashMap::new(),
            groups: BTreeMap::new(),
            receives: HashMap::new(),
            outages: Outages::default(),
            next_attempt: 0,
            ended_in_mid_run: false,
            jumps: 0,
            stood_still: Duration::ZERO,
            violations: Vec::new(),
            trace: traced.then(Vec::new),
            counts: BTreeMap::new(),
        }
    }

    /// Writes a line into the trace, if there is one.
    pub fn note(&mut self, now: Duration, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>9.3} {}", now.as_secs_f64(), line()));
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn violated(&mut self, now: Duration, what: String) {
        self.note(now, || format!("VIOLATED {what}"));
        self.violations.push(what);
    }

    pub fn sent(&mut self, now: Duration, job: usize, id: &MessageId, group: &str) {
        assert_eq!(self.stories.len(), job);
        self.note(now, || format!("job {job} sent to {group}"));
        self.ids.insert(Arc::clone(id), job);
        self.groups.entry(group.to_owned()).or_default().push(job);
        self.stories.push(Story { sent: now, group: group.to_owned(), ..Story::default() });
    }

    /// A receive begins: an attempt id may be used again only if nothing came back.
    pub fn receive_begins(&mut self, now: Duration, process: Id, attempt: &str) {
        if self.receives.insert(attempt.to_owned(), false) == Some(true) {
            self.violated(now, format!("{process:?} used an attempt id again that had been answered"));
        }
    }

    pub fn receive_answered(&mut self, attempt: &str) {
        self.receives.insert(attempt.to_owned(), true);
    }

    /// The queue handed messages over.
    pub fn handed_over(&mut self, now: Duration, process: Id, id: &MessageId, until: Duration, count: u32) {
        let job = self.ids[id];
        self.note(now, || {
            format!("job {job} handed to {process:?} until {:.3}, receive {count}", until.as_secs_f64())
        });
        let story = &mut self.stories[job];
        story.handed.push((process, now));
        story.lease = Some(Lease { process, until });
        story.doubtful.retain(|doubtful| *doubtful != process);
        story.receives = count;
    }

    /// The response took so long that the process misjudges its lease.
    pub fn doubtful(&mut self, process: Id, id: &MessageId) {
        let story = &mut self.stories[self.ids[id]];
        story.doubtful.push(process);
        story.ever_doubtful.push(process);
    }

    pub fn visibility_changed(&mut self, now: Duration, process: Id, id: &MessageId, timeout: Duration) {
        let job = self.ids[id];
        self.note(now, || format!("job {job} hidden by {process:?} for {} s", timeout.as_secs()));
        if let Some(lease) = &mut self.stories[job].lease {
            lease.until = now + timeout;
        }
    }

    /// A delete is sent: the job has to be done, as far as this process can know.
    pub fn delete_sent(&mut self, now: Duration, process: Id, id: &MessageId) {
        let job = self.ids[id];
        if !self.is_done(now, job, process) {
            self.violated(
                now,
                format!("job {job}: {process:?} deletes it, and it is neither delivered nor dead-lettered"),
            );
        }
    }

    pub fn deleted(&mut self, now: Duration, process: Id, id: &MessageId) {
        let job = self.ids[id];
        self.note(now, || format!("job {job} deleted by {process:?}"));
        self.stories[job].gone.get_or_insert(now);
    }

    /// The dead-letter queue has it.
    pub fn lettered(&mut self, now: Duration, process: Id, letter: &DeadLetter) {
        let job = self.ids[&letter.id];
        let reason = letter.reason;
        self.note(now, || {
            format!("job {job} dead-lettered by {process:?}: {reason}, attempts {}", letter.attempts)
        });
        self.count(reason);
        let (seed, kind) = (self.plan.jobs[job].poison, self.plan.kind);
        let down = self.is_down(now, job, process);
        let story = &mut self.stories[job];
        story.lettered_by.push(process);
        story.first_letter.get_or_insert(now);
        let again = story.lettered.contains(&process) && !story.doubtful.contains(&process);
        let age = now.saturating_sub(story.sent);
        let window = self.plan.rules.retry.window;
        // The slack is what passes between the decision and the letter: calls, freezes, jumps.
        let tried = story.set_out;
        let wrong = match reason {
            "malformed" => seed != Poison::Malformed,
            "signature" | "unknown_app" => {
                seed == Poison::None && self.plan.apps[self.plan.jobs[job].app].len() == 1
            }
            "gone" => !tried,
            "destination_down" => age <= window || !down,
            "app_source" => true,
            // What failed with other jobs may be their doing.
            _ => !tried || age <= window || !story.alone,
        };
        if again {
            self.violated(
                now,
                format!("job {job}: {process:?} dead-letters again what it was told is there"),
            );
        } else if wrong {
            self.violated(
                now,
                format!("job {job}: dead-lettered for {reason} at {age:?}, attempted before: {tried}"),
            );
        } else if kind == Kind::Faultless && seed == Poison::None {
            self.violated(now, format!("job {job}: dead-lettered without a fault"));
        }
    }

    /// Whether a process may have taken a destination of the job for dead, past the job's window, when it
    /// last had it or earlier: what was decided is on the ledger if the letter did not come through.
    fn is_down(&self, now: Duration, job: usize, process: Id) -> bool {
        let (planned, story, rules) = (&self.plan.jobs[job], &self.stories[job], &self.plan.rules);
        let window = rules.retry.window;
        // A lane has up to ten jobs; then the letter has to be sent.
        let takes = rules.attempt_timeout * 10 + Duration::from_secs(5) + self.stood_still;
        let forgotten = window + rules.attempt_timeout * 3;
        let down = |(_, url): (usize, String)| {
            let mut handed = story.handed.iter().filter(|(to, _)| *to == process);
            handed.any(|(_, at)| {
                let times = ((*at).max(story.sent + window), (*at + takes).min(now));
                self.outages.overlap(process, &url, window, forgotten, times)
            })
        };
        self.plan
            .versions_between(planned.app, story.sent, now)
            .any(|version| version.wants(planned.channel).into_iter().any(down))
    }

    /// A process was told that the dead-letter queue has it, or that there is none.
    pub fn letter_confirmed(&mut self, now: Duration, process: Id, id: &MessageId) {
        let story = &mut self.stories[self.ids[id]];
        story.first_letter.get_or_insert(now);
        story.lettered.push(process);
    }

    /// SQS itself moved it to the dead-letter queue, having seen too many receives.
    pub fn moved(&mut self, now: Duration, id: &MessageId) {
        let job = self.ids[id];
        self.note(now, || format!("job {job} moved to the dead-letter queue by SQS"));
        self.count("moved by SQS");
        let story = &mut self.stories[job];
        story.gone.get_or_insert(now);
        story.moved = Some(now);
        let tried = story.first_attempt.is_some();
        // A queue that dead-letters after a few receives gives up on its own what waits behind a
        // job that keeps failing; 100 receives are ample.
        let ample = self.plan.rules.max_receive_count.is_none_or(|most| most >= 100);
        let clean = self.plan.kind == Kind::Faultless;
        if !tried && ((clean && !self.ended_in_mid_run) || (ample && self.plan.kind == Kind::Destinations)) {
            self.violated(now, format!("job {job}: moved to the dead-letter queue untried"));
        }
    }

    /// An attempt arrives at its destination; gives each of its jobs a number.
    pub fn attempt_begins(
        &mut self,
        now: Duration,
        process: Id,
        request: &Request,
        jumps: usize,
    ) -> Vec<usize> {
        self.count("attempts");
        let numbers = (0..request.jobs.len())
            .map(|place| self.job_begins(now, process, request, place, jumps))
            .collect();
        self.check_run(now, process, request, jumps);
        numbers
    }

    fn job_begins(
        &mut self,
        now: Duration,
        process: Id,
        request: &Request,
        place: usize,
        jumps: usize,
    ) -> usize {
        let &Request { webhook, ref url, number, .. } = request;
        let job = request.jobs[place];
        self.note(now, || format!("job {job} attempt {number} by {process:?} at webhook {webhook} {url}"));
        let id = request.id.split(',').nth(place).and_then(|id| id.rsplit_once('.'));
        if id.is_none_or(|(id, place)| self.ids.get(id) != Some(&job) || place != webhook.to_string()) {
            self.violated(now, format!("job {job}: attempted under the id {}", request.id));
        }
        self.check_order(now, process, job, &request.jobs[..place]);
        let story = &mut self.stories[job];
        let mut wrong = Vec::new();
        let excused = story.doubtful.contains(&process) || self.jumps > jumps;
        for other in story.active.iter().filter(|other| other.webhook == webhook) {
            let lost = other.excused || excused;
            if other.process == process {
                wrong.push(format!("job {job}: two attempts at once by {process:?}"));
            } else if !lost {
                wrong.push(format!(
                    "job {job}: attempted by {process:?} while {:?} attempts it",
                    other.process
                ));
            }
        }
        if !excused && story.told.contains(&(process, webhook, url.clone())) {
            wrong.push(format!("job {job}: {process:?} repeats webhook {webhook}, which took it"));
        }
        let counted_back = story.numbers.iter().any(|(by, n)| *by == process && *n > number);
        if (counted_back && !excused) || number == 0 {
            wrong.push(format!("job {job}: attempt number {number} after a higher one"));
        }
        story.numbers.push((process, number));
        story.first_attempt.get_or_insert(now);
        *story.attempts.entry((webhook, url.clone())).or_default() += 1;
        self.next_attempt += 1;
        story.active.push(Active { number: self.next_attempt, process, webhook, excused });
        for violation in wrong {
            self.violated(now, violation);
        }
        self.next_attempt
    }

    /// All earlier jobs of the group have to be out of the queue, done by this process, or ahead in the
    /// same request.
    fn check_order(&mut self, now: Duration, process: Id, job: usize, ahead: &[usize]) {
        let group = self.stories[job].group.clone();
        let earlier: Vec<usize> =
            self.groups[&group].iter().copied().take_while(|other| *other != job).collect();
        let earlier = earlier.into_iter().filter(|other| !ahead.contains(other)).collect::<Vec<_>>();
        for other in earlier.into_iter().rev().take(12) {
            if self.stories[other].gone.is_none() && !self.is_done(now, other, process) {
                self.violated(
                    now,
                    format!("job {job}: attempted by {process:?} before job {other} of {group} is settled"),
                );
            }
        }
    }

    pub fn attempt_ends(&mut self, now: Duration, process: Id, job: usize, attempt: usize, dead: bool) {
        let story = &mut self.stories[job];
        let Some(at) = story.active.iter().position(|active| active.number == attempt) else { return };
        let ended = story.active.swap_remove(at);
        let Some(lease) = story.lease else { return };
        let held = lease.process == process && now <= lease.until;
        if !held && !dead && !ended.excused {
            self.violated(now, format!("job {job}: an attempt by {process:?} outlived its lease"));
        }
    }

    pub fn accepted(&mut self, now: Duration, request: &Request) {
        for job in request.jobs.iter().copied() {
            self.note(now, || format!("job {job} accepted by webhook {}", request.webhook));
            self.stories[job].accepted.push((request.webhook, request.url.clone()));
        }
    }

    pub fn told_delivered(&mut self, now: Duration, process: Id, request: &Request) {
        self.outages.succeeded(now, process, &request.url);
        for job in &request.jobs {
            self.stories[*job].told.push((process, request.webhook, request.url.clone()));
        }
    }

    /// Everything stood still: what is under way may have lost its lease.
    pub fn jumped(&mut self, lasts: Duration) {
        self.jumps += 1;
        self.stood_still += lasts;
        for active in self.stories.iter_mut().flat_map(|story| &mut story.active) {
            active.excused = true;
        }
    }

    /// A process ended as it was asked to. Without faults it leaves nothing behind that is hidden.
    pub fn ended(&mut self, now: Duration, process: Id) {
        self.note(now, || format!("{process:?} has ended"));
        if self.plan.kind != Kind::Faultless {
            return;
        }
        let left = |story: &Story| {
            story.gone.is_none() && story.lease.is_some_and(|l| l.process == process && l.until > now)
        };
        if let Some(job) = self.stories.iter().position(left) {
            self.violated(now, format!("job {job}: {process:?} ended and did not release it"));
        }
    }

    /// Whether this process may know the job to be done: every webhook of some version of the app
    /// that was in force has told it so, or the dead-letter queue has it.
    fn is_done(&self, now: Duration, job: usize, process: Id) -> bool {
        let story = &self.stories[job];
        if story.lettered.contains(&process) {
            return true;
        }
        let told = |webhook: &usize, url: &String| {
            story.told.iter().any(|(by, w, u)| *by == process && w == webhook && u == url)
        };
        self.some_version(now, job, told)
    }

    fn some_version(&self, now: Duration, job: usize, has: impl Fn(&usize, &String) -> bool) -> bool {
        let planned = &self.plan.jobs[job];
        if planned.poison != Poison::None {
            return false;
        }
        self.plan.versions_between(planned.app, self.stories[job].sent, now).any(|version| {
            version.there && version.wants(planned.channel).iter().all(|(webhook, url)| has(webhook, url))
        })
    }

    /// Every job is out of the queue.
    pub fn drained(&self) -> bool {
        self.stories.len() == self.plan.jobs.len() && self.stories.iter().all(|story| story.gone.is_some())
    }

    /// Who is still in the queue.
    pub fn left(&self) -> Vec<usize> {
        (0..self.stories.len()).filter(|job| self.stories[*job].gone.is_none()).collect()
    }

    /// What can only be said at the end.
    pub fn close(&mut self, now: Duration) {
        let clean = self.plan.kind == Kind::Faultless;
        let mut wrong = Vec::new();
        for (job, story) in self.stories.iter().enumerate() {
            let gone = story.gone.unwrap_or(now);
            let has = |webhook: &usize, url: &String| story.accepted.contains(&(*webhook, url.clone()));
            let given_up = story.letters() > 0 || (!self.plan.dead_letters && !story.lettered.is_empty());
            if !given_up && !self.some_version(gone, job, has) {
                wrong.push(format!("job {job} is lost"));
            }
            // A process whose grace runs out before the answer leaves its letter to be sent again.
            let unanswered = |by: &&Id| self.ended_in_mid_run && !story.lettered.contains(by);
            let excused = story.lettered_by.iter().filter(unanswered).count();
            if story.letters() > excused + 1 && self.plan.kind != Kind::Everything {
                wrong.push(format!("job {job} was dead-lettered {} times", story.letters()));
            }
            if clean {
                let once = story.attempts.values().all(|count| *count == 1);
                // What a shutdown releases may come back to a poll of the same process that is parked.
                if !once || (story.receives != 1 && !self.ended_in_mid_run) {
                    wrong.push(format!(
                        "job {job}: {:?} attempts, {} receives",
                        story.attempts, story.receives
                    ));
                }
            }
            if !story.active.is_empty() {
                wrong.push(format!("job {job}: an attempt never ended"));
            }
        }
        for group in self.groups.values() {
            let first = |story: &Story| {
                // What was given up untried, and came back because its delete failed, is no first; nor is
                // what began after SQS had moved the job: its lease was in doubt, or it would be told of.
                let over = |end: Option<Duration>, at: &Duration| end.is_some_and(|end| end < *at);
                story.first_attempt.filter(|at| !over(story.first_letter, at) && !over(story.moved, at))
            };
            let firsts: Vec<Duration> = group.iter().filter_map(|job| first(&self.stories[*job])).collect();
            // A change of the app can turn a job that had nowhere to go into one that has.
            let unchanged =
                group.first().is_none_or(|job| self.plan.apps[self.plan.jobs[*job].app].len() == 1);
            if unchanged && !firsts.is_sorted() {
                wrong.push(format!("first attempts out of order: {group:?}"));
            }
        }
        for violation in wrong {
            self.violated(now, violation);
        }
    }

    /// How long each job took from its send until it was out of the queue: to compare runs.
    pub fn took(&self, job: usize) -> Duration {
        let story = &self.stories[job];
        story.gone.unwrap_or(Duration::MAX).saturating_sub(story.sent)
    }
}
