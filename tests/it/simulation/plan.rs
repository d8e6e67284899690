//! What one seed draws: the world, its faults and when they happen.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use hookferry::app::{Target, WebhookId};
use hookferry::job::QueueType;
use hookferry::plan::Limits;
use hookferry::policy::Retry;
use hookferry::policy::rules::{Disposal, Rules};
use hookferry::worker::Bounds;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// A seeded source of everything that is drawn.
#[derive(Debug)]
pub struct Dice(SmallRng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }

    pub fn number(&mut self, range: Range<u64>) -> u64 {
        self.0.random_range(range)
    }

    pub fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.number(range))
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())].clone()
    }

    pub fn index(&mut self, count: usize) -> usize {
        self.0.random_range(0..count)
    }
}

/// How bad the world is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing goes wrong: everything has to happen exactly once.
    Faultless,
    /// Destinations and app sources fail; the queue and the processes do not.
    Destinations,
    /// Anything may happen.
    Everything,
}

/// How a destination behaves for a while.
#[derive(Clone, Debug, PartialEq)]
pub enum Behaviour {
    /// Accepts, after so many milliseconds.
    Accepts(Range<u64>),
    /// Answers with that status, and perhaps asks to be left alone for so many seconds.
    Answers(u16, Option<u64>),
    /// Accepts or answers 503 with this probability of failing.
    Flaky(f64),
    /// Never answers.
    Hangs,
    /// Never answers with this probability, or else accepts at once.
    HangsSometimes(f64),
    /// Accepts, then trickles the body for so many milliseconds.
    Trickles(Range<u64>),
    /// Breaks the connection, sometimes after having accepted.
    Resets,
    /// Takes so many in a second; beyond that it answers with that status and asks to be left alone for a
    /// second: alive, and busy.
    Busy(u32, u16),
}

/// A destination: each behaviour until its time since the start, the last one for good.
#[derive(Clone, Debug)]
pub struct Host {
    pub until: Vec<(Duration, Behaviour)>,
    pub at_last: Behaviour,
}

impl Host {
    pub fn at(&self, time: Duration) -> &Behaviour {
        self.until.iter().find(|(until, _)| time < *until).map_or(&self.at_last, |(_, behaviour)| behaviour)
    }

    fn steady(behaviour: Behaviour) -> Self {
        Self { until: Vec::new(), at_last: behaviour }
    }
}

/// A webhook of an app.
#[derive(Clone, Debug)]
pub struct Hook {
    pub host: usize,
    pub path: u64,
    /// The kind of jobs that it is for; all of them without one.
    pub kind: Option<QueueType>,
    pub prefix: Option<&'static str>,
    /// After so many attempts it is not retried, by a rule of its own.
    pub most_attempts: Option<u32>,
}

impl Hook {
    pub fn url(&self) -> String {
        format!("http://h{}/{}", self.host, self.path)
    }
}

/// An app as it is from some time on; without hooks and secret where it is not there.
#[derive(Clone, Debug)]
pub struct Version {
    pub from: Duration,
    pub there: bool,
    pub secret: &'static str,
    pub hooks: Vec<Hook>,
}

impl Version {
    pub fn json(&self, app: usize) -> Value {
        let hook = |hook: &Hook| {
            let types = hook.kind.map(|kind| [kind.event_name()]);
            let filter = json!({"channel_name_starts_with": hook.prefix});
            let retry = match hook.most_attempts {
                None => json!({}),
                Some(1) => json!({"enabled": false}),
                Some(most) => json!({"max_attempts": most}),
            };
            json!({"url": hook.url(), "event_types": types, "filter": filter, "retry": retry})
        };
        let hooks: Vec<Value> = self.hooks.iter().map(hook).collect();
        json!({"id": app.to_string(), "key": format!("k{app}"), "secret": self.secret, "webhooks": hooks})
    }

    /// Whether any webhook is for jobs of that kind: soketi enqueues none otherwise.
    pub fn is_for(&self, kind: QueueType) -> bool {
        self.hooks.iter().any(|hook| hook.kind.is_none_or(|own| own == kind))
    }

    /// What a job comes to: the webhooks' identities and URLs.
    pub fn wants(&self, job: &Planned) -> Vec<(String, String)> {
        let wanted = |hook: &Hook| {
            hook.kind.is_none_or(|kind| kind == job.kind)
                && hook.prefix.is_none_or(|prefix| job.channel.starts_with(prefix))
        };
        let webhooks = self.hooks.iter().zip(self.identities());
        webhooks.filter(|(hook, _)| wanted(hook)).map(|(hook, id)| (id, hook.url())).collect()
    }

    /// The identities of the webhooks that are for jobs of that kind, whatever their filters say.
    pub fn listed(&self, kind: QueueType) -> Vec<String> {
        let webhooks = self.hooks.iter().zip(self.identities());
        webhooks.filter(|(hook, _)| hook.kind.is_none_or(|own| own == kind)).map(|(_, id)| id).collect()
    }

    /// The webhooks' identities, in their order.
    pub fn identities(&self) -> Vec<String> {
        let mut seen: Vec<WebhookId> = Vec::new();
        let identity = |hook: &Hook| {
            let first = WebhookId::of(&Target::Http(hook.url()));
            let before = seen.iter().filter(|id| **id == first).count();
            seen.push(first.clone());
            if before == 0 { first.to_string() } else { format!("{first}-{}", before + 1) }
        };
        self.hooks.iter().map(identity).collect()
    }
}

/// What is wrong with a job, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poison {
    None,
    Malformed,
    Signature,
    UnknownApp,
}

/// A job to be sent.
#[derive(Clone, Debug)]
pub struct Planned {
    pub at: Duration,
    pub app: usize,
    pub kind: QueueType,
    pub channel: &'static str,
    pub poison: Poison,
}

/// Something that happens to a process, or to all.
#[derive(Clone, Copy, Debug)]
pub enum Incident {
    /// SIGKILL, wherever it is.
    Kill(usize),
    /// SIGKILL as its call number so many from now begins, takes effect or returns.
    KillAtCall(usize, u64),
    /// SIGTERM, then a new process.
    Terminate(usize),
    /// The process is cut off from everything for so long.
    Freeze(usize, Duration),
    /// Everything stands still while the clock goes on.
    Jump(Duration),
    /// Every process is told to end, and none starts for so long.
    Away(Duration),
    /// An operator redrives the dead letters, and is interrupted after so many calls.
    Redrive(u64),
}

impl Incident {
    /// As what it is counted, if it is.
    pub fn counted(self) -> Option<&'static str> {
        match self {
            Self::Kill(_) => Some("kill"),
            Self::KillAtCall(..) => Some("kill at a call"),
            Self::Terminate(_) => None,
            Self::Freeze(..) => Some("freeze"),
            Self::Jump(_) => Some("clock jump"),
            Self::Away(_) => Some("no worker for long"),
            Self::Redrive(_) => Some("redrive"),
        }
    }

    pub fn is_shutdown(self) -> bool {
        matches!(self, Self::Terminate(_) | Self::Away(_))
    }

    pub fn is_standstill(self) -> bool {
        matches!(self, Self::Jump(_))
    }
}

/// How the queue's calls fail while faults last: each a probability for one call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    pub lost_before: f64,
    pub lost_after: f64,
    pub throttled: f64,
    pub refused: f64,
    pub denied: f64,
    pub slow: f64,
    pub partial: f64,
}

/// Everything that a seed decides before the start.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub kind: Kind,
    pub replicas: usize,
    pub rules: Rules,
    pub bounds: Bounds,
    pub dead_letters: bool,
    pub hosts: Vec<Host>,
    pub apps: Vec<Vec<Version>>,
    pub jobs: Vec<Planned>,
    pub incidents: Vec<(Duration, Incident)>,
    pub rates: Rates,
    /// The dead-letter queue is down in between.
    pub letters_down: Range<Duration>,
    /// The app source is down in between.
    pub apps_down: Range<Duration>,
    /// The record of this app cannot be used in between.
    pub unusable: Option<(usize, Range<Duration>)>,
    /// For how long a process remembers an app.
    pub cache: Option<Duration>,
    /// By how much the app source may be behind what was written to it.
    pub app_lag: Duration,
    /// By how much a process may take the queue's clock wrongly: the adapter reads it off answers that count in
    /// seconds and were under way.
    pub clock_error: Duration,
    /// For how long no worker runs, in the middle of it.
    pub away: Duration,
    /// From here on nothing fails but destinations that are dead for good.
    pub quiet: Duration,
}

const CHANNELS: [&str; 3] = ["private-a", "presence-b", "public"];
const KINDS: [QueueType; 3] = [QueueType::ClientEvent, QueueType::MemberAdded, QueueType::ChannelVacated];
const SECOND: Duration = Duration::from_secs(1);

impl Plan {
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let kind = match dice.number(0..8) {
            0 => Kind::Faultless,
            1 | 2 => Kind::Destinations,
            _ => Kind::Everything,
        };
        // What came later has dice of its own, so that all else of a seed is as it was.
        let mut more = Dice::new(seed ^ 0x0ac5);
        let quiet = Duration::from_secs(dice.number(5..90));
        let visibility = dice.pick(&[2, 3, 5, 8, 30]);
        let attempt_timeout = Duration::from_millis(dice.pick(&[400, 1000, 4000]))
            .min(Duration::from_millis(visibility * 1000 - 800));
        let cap = Duration::from_secs(dice.pick(&[1, 5, 60]));
        let window = Duration::from_secs(dice.pick(&[10, 60, 300]));
        let clean = kind == Kind::Faultless;
        let crowded = more.chance(0.02);
        let mut hosts: Vec<Host> = (0..dice.number(1..6)).map(|_| host(&mut dice, kind, quiet)).collect();
        if kind != Kind::Faultless && more.chance(0.2) {
            let at = more.index(hosts.len());
            let status = more.pick(&[429, 503]);
            hosts[at] = Host::steady(Behaviour::Busy(more.pick(&[1, 3, 20]), status));
        }
        let count = if crowded { 14 } else { dice.number(1..5) };
        let mut apps: Vec<Vec<Version>> =
            (0..count).map(|_| versions(&mut dice, clean, hosts.len(), quiet)).collect();
        for versions in &mut apps {
            specialise(&mut more, versions, clean);
        }
        if seed % 20 == 11 {
            multiply(seed, &mut apps);
        }
        if [11, 15].contains(&(seed % 20)) {
            retry_by_own_rules(&mut apps);
        }
        let most = if crowded { 300 } else { 60 };
        let jobs = jobs(&mut dice, apps.len(), most, quiet);
        let away = if kind != Kind::Faultless && more.chance(0.1) {
            window + more.millis(1000..20_000)
        } else {
            Duration::ZERO
        };
        let replicas = usize::try_from(dice.number(1..6)).unwrap();
        let batch = usize::try_from(dice.pick(&[1, 3, 10, 10, 10])).unwrap();
        let clock_error = Dice::new(seed ^ 0xc10c).pick(&[0, 0, 500, 2500]);
        let app_lag = Dice::new(seed ^ 0x1a6).pick(&[0, 0, 0, 1500, 5000]);
        Self {
            seed,
            kind,
            replicas,
            rules: Rules {
                visibility: Duration::from_secs(visibility),
                attempt_timeout,
                retry: Retry { window, base: SECOND, cap },
                disposal: Disposal::new(receives(&mut dice, &mut more), retention(seed, window)),
                coalesce: coalesce(seed),
            },
            bounds: Bounds {
                max_in_flight: dice.pick(&[3, 20, 2000]),
                max_bytes: dice.pick(&[500, 1 << 26]),
                batch,
                pause: Duration::from_millis(dice.pick(&[0, 0, 0, 300])),
                wait: Duration::from_millis(dice.pick(&[100, 1000, 3000])),
                grace: Duration::from_secs(dice.pick(&[8, 25])),
            },
            dead_letters: clean || dice.chance(0.85),
            hosts,
            apps,
            jobs,
            incidents: incidents(&mut dice, (kind, replicas, visibility, quiet), away, &mut more),
            rates: if kind == Kind::Everything { rates(&mut dice) } else { Rates::default() },
            letters_down: span(&mut dice, kind == Kind::Everything, quiet),
            apps_down: span(&mut dice, !clean, quiet),
            unusable: unusable(seed, count, kind, quiet),
            cache: more.pick(&[None, Some(5), Some(60)]).map(Duration::from_secs),
            app_lag: Duration::from_millis(if clean { 0 } else { app_lag }),
            clock_error: Duration::from_millis(if clean { 0 } else { clock_error }),
            away,
            quiet,
        }
    }

    /// A world without faults in which app 0 alone posts to host 0, and the same world with that host
    /// dead.
    pub fn with_and_without_a_dead_host(seed: u64) -> [Self; 2] {
        let mut dice = Dice::new(seed);
        let faultless = (0..).map(|n| Self::draw(seed.wrapping_mul(1000) + n));
        let mut plan = faultless.into_iter().find(|plan| plan.kind == Kind::Faultless).unwrap();
        let quick = Host::steady(Behaviour::Accepts(0..40));
        plan.hosts = vec![quick.clone(), quick];
        let hook = |host| Hook { host, path: 0, kind: None, prefix: None, most_attempts: None };
        let version =
            |host| Version { from: Duration::ZERO, there: true, secret: "secret", hooks: vec![hook(host)] };
        plan.apps = (0..4).map(|app| vec![version(app.min(1))]).collect();
        for (n, job) in plan.jobs.iter_mut().enumerate() {
            job.app = n % 4;
            job.poison = Poison::None;
        }
        plan.bounds.max_in_flight = 2000;
        plan.bounds.max_bytes = 1 << 26;
        plan.unusable = None;
        plan.incidents.clear();
        plan.away = Duration::ZERO;
        let mut dead = plan.clone();
        dead.kind = Kind::Destinations;
        dead.hosts[0] = Host::steady(dice.pick(&[Behaviour::Hangs, Behaviour::Answers(500, None)]));
        [plan, dead]
    }

    /// A world without faults in which app 0 is a healthy one and many others, all of whose hosts are one, have more
    /// jobs than there are places: an enormous app, or many with a host that is slow, that fails, or that hangs, always or
    /// now and then.
    pub fn with_neighbours(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let [mut plan, _] = Self::with_and_without_a_dead_host(seed);
        let timeout = u64::try_from(plan.rules.attempt_timeout.as_millis()).unwrap();
        let neighbours = [
            Behaviour::Hangs,
            Behaviour::HangsSometimes(0.25),
            Behaviour::Answers(500, None),
            Behaviour::Accepts(timeout * 8 / 10..timeout * 9 / 10),
            Behaviour::Busy(20, 429),
            Behaviour::Accepts(0..40),
        ];
        plan.kind = Kind::Destinations;
        plan.hosts[0] = Host::steady(dice.pick(&neighbours));
        // Of its own path: what one app's webhook answers says nothing of another's.
        let app = |n: usize| {
            let hook = Hook {
                host: usize::from(n == 0),
                path: n as u64,
                kind: None,
                prefix: None,
                most_attempts: None,
            };
            vec![Version { from: Duration::ZERO, there: true, secret: "secret", hooks: vec![hook] }]
        };
        let apps = dice.pick(&[1, 10, 100]);
        plan.apps = (0..=apps).map(app).collect();
        plan.quiet = Duration::from_secs(40);
        let job = |at: u64, app: usize, kind: usize| Planned {
            at: Duration::from_millis(at),
            app,
            kind: KINDS[kind % KINDS.len()],
            channel: CHANNELS[0],
            poison: Poison::None,
        };
        let hostile = (0..1500).map(|n| job(5000, 1 + n % apps, n / apps));
        // Ten a second, from before the others come.
        let healthy = (0..300).map(|n| job(n * 100, 0, usize::try_from(n).unwrap()));
        plan.jobs = hostile.chain(healthy).collect();
        plan.jobs.sort_by_key(|job| job.at);
        plan.replicas = 1;
        plan.rules = Rules {
            visibility: plan.rules.attempt_timeout + 2 * SECOND,
            disposal: Disposal::default(),
            coalesce: None,
            ..plan.rules
        };
        plan.rules.visibility = Duration::from_secs(plan.rules.visibility.as_secs());
        plan.bounds.max_in_flight = dice.pick(&[100, 200, 400]);
        plan.bounds.batch = 10;
        plan.bounds.pause = Duration::ZERO;
        plan
    }

    /// In how much virtual time after the faults the queue has to be empty: what is hidden comes back, what
    /// cannot be delivered falls out of its window, and behind it the longest group goes at the pace of
    /// receives, not of attempts: what is down is asked once in a while, whatever is waiting for it.
    pub fn drained_within(&self) -> Duration {
        let groups = (0..self.apps.len()).flat_map(|app| KINDS.map(|kind| (app, kind)));
        let jobs = |(app, kind): (usize, QueueType)| {
            self.jobs.iter().filter(move |job| job.app == app && job.kind == kind)
        };
        let longest = groups.clone().map(|group| jobs(group).count()).max().unwrap_or_default();
        // The jobs of a group may wait for one webhook after another.
        let dead = |group: (usize, QueueType)| {
            let versions = self.apps[group.0].iter();
            let urls = versions.flat_map(|version| jobs(group).flat_map(|job| version.wants(job)));
            urls.filter(|(_, url)| self.is_dead(url)).collect::<BTreeSet<_>>().len()
        };
        // That a webhook is down takes more than one job, and each process has to find it out for itself: a job that
        // needs the webhook may have a window of its own at each.
        let windows = (1 + self.replicas) * groups.clone().map(dead).max().unwrap_or_default().max(1);
        let is_busy = self.hosts.iter().any(|host| matches!(host.at_last, Behaviour::Busy(..)));
        // Where a host that is never down takes fewer at a time than a job has webhooks there, each job has its window.
        let most_wanted =
            self.apps.iter().flatten().map(|version| version.hooks.len()).max().unwrap_or_default();
        let windows = if is_busy && most_wanted > 16 { windows.max(longest) } else { windows };
        let attempts = if is_busy { 2 * longest + 10 } else { 10 };
        let receives = longest.div_ceil(self.bounds.batch.min(self.bounds.max_in_flight)) + 1;
        let accepts = |host: &Host| match &host.at_last {
            Behaviour::Accepts(took) => Duration::from_millis(took.end),
            _ => Duration::ZERO,
        };
        let slowest = self.hosts.iter().map(accepts).max().unwrap_or_default();
        let times = |count: usize, duration: Duration| duration * u32::try_from(count).unwrap();
        let receive = self.bounds.wait.max(SECOND) + SECOND;
        let hidden = self.rules.retry.cap + self.rules.visibility.max(30 * SECOND);
        self.away
            + times(windows, self.rules.retry.window)
            + 2 * hidden
            + times(attempts, self.rules.attempt_timeout + receive)
            + times(receives, receive)
            + times(longest, (SECOND / 4).max(slowest))
    }

    /// Whether a destination takes nothing at last.
    fn is_dead(&self, url: &str) -> bool {
        let dead = |host: &Host| !matches!(host.at_last, Behaviour::Accepts(_) | Behaviour::Busy(..));
        self.host_of(url).is_some_and(dead)
    }

    fn host_of(&self, url: &str) -> Option<&Host> {
        let host = url.strip_prefix("http://h").and_then(|rest| rest.split('/').next());
        host.and_then(|n| n.parse::<usize>().ok()).and_then(|n| self.hosts.get(n))
    }

    /// The number of a message's job: each time that it is put back, its message has a number that is higher
    /// by the number of jobs.
    pub fn number(&self, message: usize) -> usize {
        message % self.jobs.len().max(1)
    }

    /// A message's job.
    pub fn job(&self, message: usize) -> &Planned {
        &self.jobs[self.number(message)]
    }

    /// Whether the record of an app cannot be used at some time in between.
    pub fn is_unusable(&self, app: usize, from: Duration, to: Duration) -> bool {
        self.unusable
            .as_ref()
            .is_some_and(|(unusable, span)| *unusable == app && span.start <= to && from < span.end)
    }

    /// Whether a destination is one that is alive and busy, for as long as there is anything.
    pub fn is_busy(&self, url: &str) -> bool {
        self.host_of(url)
            .is_some_and(|host| host.until.is_empty() && matches!(host.at_last, Behaviour::Busy(..)))
    }

    /// The versions of an app that were in force at some time in between.
    pub fn versions_between(
        &self,
        app: usize,
        from: Duration,
        to: Duration,
    ) -> impl Iterator<Item = &Version> {
        let versions = &self.apps[app];
        versions.iter().enumerate().filter_map(move |(n, version)| {
            let until = versions.get(n + 1).map_or(Duration::MAX, |next| next.from);
            (version.from <= to && until >= from).then_some(version)
        })
    }
}

fn host(dice: &mut Dice, kind: Kind, quiet: Duration) -> Host {
    let quick = Behaviour::Accepts(0..dice.pick(&[2, 40, 150]));
    if kind == Kind::Faultless {
        return Host::steady(quick);
    }
    if dice.chance(0.1) {
        let dead = [
            Behaviour::Hangs,
            Behaviour::Answers(500, None),
            Behaviour::Resets,
            Behaviour::Answers(410, None),
        ];
        return Host::steady(dice.pick(&dead));
    }
    let mut at = Duration::ZERO;
    let mut until = Vec::new();
    for _ in 0..dice.number(0..5) {
        at += dice.millis(100..u64::try_from(quiet.as_millis()).unwrap().max(200) / 2);
        let behaviours = [
            quick.clone(),
            Behaviour::Answers(500, None),
            Behaviour::Answers(302, None),
            Behaviour::Answers(429, Some(dice.number(0..20))),
            Behaviour::Flaky(0.5),
            Behaviour::Flaky(0.1),
            Behaviour::Hangs,
            Behaviour::Accepts(100..6000),
            Behaviour::Trickles(10..9000),
            Behaviour::Resets,
        ];
        until.push((at.min(quiet), dice.pick(&behaviours)));
    }
    Host { until, at_last: quick }
}

fn versions(dice: &mut Dice, clean: bool, hosts: usize, quiet: Duration) -> Vec<Version> {
    let hook = |dice: &mut Dice| Hook {
        host: dice.index(hosts),
        path: dice.number(0..1_000_000),
        kind: None,
        prefix: dice.pick(&[None, None, Some("private-"), Some("pre")]),
        most_attempts: None,
    };
    let hooks = (0..dice.pick(&[1, 1, 1, 2, 3, 0])).map(|_| hook(dice)).collect();
    let mut all = vec![Version { from: Duration::ZERO, there: true, secret: "secret", hooks }];
    if clean || dice.chance(0.5) {
        return all;
    }
    for _ in 0..dice.number(1..4) {
        let Some(mut next) = all.last().cloned() else { break };
        next.from += dice.millis(10..u64::try_from(quiet.as_millis()).unwrap());
        match dice.number(0..8) {
            0 => next.there = !next.there,
            1 => next.secret = dice.pick(&["secret", "other"]),
            2 => drop(next.hooks.pop()),
            3 | 4 => next.hooks.insert(0, hook(dice)),
            5 => next.hooks.reverse(),
            _ => next.hooks = next.hooks.iter().map(|_| hook(dice)).collect(),
        }
        all.push(next);
    }
    all
}

fn jobs(dice: &mut Dice, apps: usize, most: u64, quiet: Duration) -> Vec<Planned> {
    let kinds = dice.index(KINDS.len()) + 1;
    let backlog = dice.chance(0.5);
    let mut jobs: Vec<Planned> = (0..dice.number(1..most))
        .map(|_| Planned {
            at: if backlog {
                Duration::ZERO
            } else {
                dice.millis(0..u64::try_from(quiet.as_millis()).unwrap())
            },
            app: dice.index(apps),
            kind: KINDS[dice.index(kinds)],
            channel: dice.pick(&CHANNELS),
            poison: match dice.number(0..60) {
                0 => Poison::Malformed,
                1 => Poison::Signature,
                2 => Poison::UnknownApp,
                _ => Poison::None,
            },
        })
        .collect();
    jobs.sort_by_key(|job| job.at);
    jobs
}

fn incidents(
    dice: &mut Dice,
    (kind, replicas, visibility, quiet): (Kind, usize, u64, Duration),
    away: Duration,
    more: &mut Dice,
) -> Vec<(Duration, Incident)> {
    let longest = visibility * 1000 * 2;
    let mut incidents: Vec<(Duration, Incident)> = (0..dice.number(0..8))
        .map(|_| {
            let replica = dice.index(replicas);
            // A shutdown is no fault: it may happen in every world.
            let incident = match dice.number(0..8) {
                _ if kind != Kind::Everything => Incident::Terminate(replica),
                0 => Incident::Kill(replica),
                1..4 => Incident::KillAtCall(replica, dice.number(0..60)),
                4 => Incident::Terminate(replica),
                5 | 6 => Incident::Freeze(replica, dice.millis(50..longest)),
                _ => Incident::Jump(dice.millis(50..longest)),
            };
            (dice.millis(0..u64::try_from(quiet.as_millis()).unwrap()), incident)
        })
        .collect();
    if !away.is_zero() {
        let at = more.millis(0..u64::try_from(quiet.as_millis()).unwrap());
        incidents.push((at, Incident::Away(away)));
    }
    if kind != Kind::Faultless && more.chance(0.3) {
        for _ in 0..more.number(1..4) {
            let at = more.millis(0..u64::try_from(quiet.as_millis()).unwrap());
            incidents.push((at, Incident::Redrive(more.pick(&[2, 3, 4, 1000]))));
        }
    }
    incidents.sort_by_key(|(at, _)| *at);
    incidents
}

/// What happens to some apps besides: they are created only later, their webhooks are for one kind of jobs,
/// an owner corrects one URL.
fn specialise(more: &mut Dice, versions: &mut [Version], clean: bool) {
    let kind = more.pick(&[None, None, None, Some(KINDS[0]), Some(KINDS[1])]);
    let (late, corrected) = (more.chance(0.1), more.chance(0.3));
    if clean {
        // soketi enqueues no job that no webhook is for.
        let hook = Hook { host: 0, path: 0, kind: None, prefix: None, most_attempts: None };
        versions.iter_mut().filter(|v| v.hooks.is_empty()).for_each(|v| v.hooks.push(hook.clone()));
        return;
    }
    for version in versions.iter_mut() {
        for hook in &mut version.hooks {
            // By what it is and not by its place, so that it is the same in every version.
            hook.kind = kind.filter(|_| hook.path % 2 == 0);
        }
    }
    if let [first, _, ..] = versions
        && late
    {
        first.there = false;
    }
    if let [.., last] = versions
        && last.from > Duration::ZERO
        && corrected
        && let Some(hook) = last.hooks.first_mut()
    {
        hook.path += 1_000_000;
    }
}

/// Some webhooks end their retrying by a rule of their own. The seeds among the regressions are none of these.
fn retry_by_own_rules(apps: &mut [Vec<Version>]) {
    let hooks = apps.iter_mut().flatten().flat_map(|version| &mut version.hooks);
    // By what it is and not by its place, so that it is the same in every version.
    for hook in hooks.filter(|hook| hook.path % 3 == 0) {
        hook.most_attempts = Some([1, 1, 2, 4][usize::try_from(hook.path / 3 % 4).unwrap()]);
    }
}

/// One app has more webhooks than a job goes to at once. The seeds among the regressions are none of these.
fn multiply(seed: u64, apps: &mut [Vec<Version>]) {
    let mut dice = Dice::new(seed ^ 0x3a27);
    let at = dice.index(apps.len());
    let more = dice.number(16..22);
    for version in &mut apps[at] {
        let Some(hook) = version.hooks.first().cloned() else { continue };
        version.hooks.extend((0..more).map(|n| Hook { path: 2_000_000 + n, ..hook.clone() }));
    }
}

/// By the seed itself, so that all else of a seed is as it was before there was this. The seeds among the regressions are
/// none of these.
fn unusable(seed: u64, apps: u64, kind: Kind, quiet: Duration) -> Option<(usize, Range<Duration>)> {
    let mut dice = Dice::new(seed ^ 0xbad);
    let app = dice.index(usize::try_from(apps).unwrap());
    let from = dice.millis(0..u64::try_from(quiet.as_millis()).unwrap());
    let until = (from + dice.millis(1000..60_000)).min(quiet);
    (seed % 20 == 15 && kind != Kind::Faultless).then_some((app, from..until))
}

/// 3, 5 and 10 are what people set. The first draw is as it was before there were those.
fn receives(dice: &mut Dice, more: &mut Dice) -> Option<u32> {
    let before = dice.pick(&[None, None, Some(4), Some(12), Some(1000)]);
    before.map(|most| if most < 100 { more.pick(&[3, 5, 10]) } else { most })
}

/// From what a worker just starts with, under a warning, to what it asks for: it is refused where the window is no
/// shorter. By the seed itself, so that all else of a seed is as it was before there was this.
fn retention(seed: u64, window: Duration) -> Option<Duration> {
    let short = Dice::new(seed ^ 0x4e7e).pick(&[None, None, None, Some(5), Some(8), Some(16)]);
    short.map(|quarters| (window * quarters / 4).max(Duration::from_secs(60)))
}

/// By the seed itself, so that all else of a seed is as it was before there was this. The seeds among
/// the regressions are none of these.
fn coalesce(seed: u64) -> Option<Limits> {
    let mut dice = Dice::new(seed ^ 0xc0a1);
    let limits = Limits { events: dice.pick(&[2, 3, 10, 100]), bytes: dice.pick(&[300, 1 << 18]) };
    (seed % 3 == 2).then_some(limits)
}

fn rates(dice: &mut Dice) -> Rates {
    let mut rate = || dice.pick(&[0.0, 0.0, 0.02, 0.1, 0.3]);
    Rates {
        lost_before: rate(),
        lost_after: rate(),
        throttled: rate(),
        refused: rate(),
        denied: rate() / 10.0,
        slow: rate() / 2.0,
        partial: rate(),
    }
}

fn span(dice: &mut Dice, some: bool, quiet: Duration) -> Range<Duration> {
    if !some || dice.chance(0.6) {
        return Duration::ZERO..Duration::ZERO;
    }
    let from = dice.millis(0..u64::try_from(quiet.as_millis()).unwrap());
    from..(from + dice.millis(100..40_000)).min(quiet)
}
