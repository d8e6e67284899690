//! One seed from beginning to end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hookferry::apps::Observer;
use hookferry::apps::cache::{Cache, CacheTtl};
use hookferry::fifo::Outgoing;
use hookferry::job::{deduplication_id, group_id};
use hookferry::producer::Signer;
use hookferry::random::Random;
use hookferry::telemetry::health::Health;
use hookferry::telemetry::metrics::Metrics;
use hookferry::telemetry::traces::Traces;
use hookferry::worker::{Parts, Worker};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, advance, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::book::{Event, Id};
use super::destinations::{SimulatedApps, SimulatedDestinations};
use super::outside::{JOBS, Outside, Process};
use super::plan::{Incident, Plan, Planned, Poison};
use super::queue::SimulatedQueue;
use super::redrive::redrive;

/// The running process of a replica, with what it counts.
type Running = Arc<Mutex<(Arc<Process>, Arc<Metrics>)>>;

/// Runs a plan to its end, in virtual time, and gives back the world with its book.
pub fn run(plan: Plan) -> Arc<Outside> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let outside = Arc::new(Outside::new(Arc::new(plan)));
        live(&outside).await;
        outside
    })
}

async fn live(outside: &Arc<Outside>) {
    let plan = Arc::clone(&outside.plan);
    let over = CancellationToken::new();
    let mut replicas = JoinSet::new();
    let running: Vec<Running> = (0..plan.replicas)
        .map(|replica| {
            let first = Arc::new(Process::new(Id { replica, start: 0 }, outside));
            let running: Running = Arc::new(Mutex::new((first, Arc::default())));
            replicas.spawn(keep_running(Arc::clone(outside), Arc::clone(&running), over.clone()));
            running
        })
        .collect();
    let producer = tokio::spawn(produce(Arc::clone(outside)));
    let mut operators = JoinSet::new();
    let start = Instant::now();
    for (at, incident) in &plan.incidents {
        sleep_until(start + *at).await;
        happen(outside, &running, &mut operators, *incident).await;
    }
    producer.await.unwrap();
    while let Some(ended) = operators.join_next().await {
        ended.unwrap();
    }
    sleep_until(start + plan.quiet).await;
    drain(outside).await;
    // Every empty receive takes one of at most 32 pollers away, until one is left.
    sleep(33 * plan.bounds.wait + Duration::from_secs(10)).await;
    for (process, metrics) in running.iter().map(|running| running.lock().unwrap().clone()) {
        // Of messages alone: what a poll has reserved counts not.
        let in_flight = metrics.in_flight.get();
        // What one that has ended by then held it counts no more.
        if !process.killed.is_cancelled() && !process.shutdown.is_cancelled() {
            outside.write(Event::AtRest { process: process.id, in_flight });
        }
    }
    outside.write(Event::Bodies { held: outside.bodies.held() });
    over.cancel();
    while let Some(ended) = replicas.join_next().await {
        ended.unwrap();
    }
    outside.write(Event::End);
}

/// Waits until the queue is empty, for as long as it may take.
async fn drain(outside: &Arc<Outside>) {
    let end = Instant::now() + outside.plan.drained_within();
    while !outside.book().drained() {
        outside.write_expired();
        if Instant::now() >= end {
            let left = outside.book().left();
            outside.write(Event::NotDrained { left });
            return;
        }
        sleep(Duration::from_millis(250)).await;
    }
}

/// Starts a replica's process again and again until all is over.
async fn keep_running(outside: Arc<Outside>, running: Running, over: CancellationToken) {
    for start in 0.. {
        let (process, metrics) = {
            let mut running = running.lock().unwrap();
            let id = Id { start, ..running.0.id };
            *running = (Arc::new(Process::new(id, &outside)), Arc::default());
            running.clone()
        };
        outside.write(Event::Started { process: process.id });
        let worker = worker(&process, metrics);
        let mut run = tokio::spawn(worker.run());
        tokio::select! {
            biased;
            ended = &mut run => {
                ended.unwrap();
                outside.write(Event::EndedUnasked { process: process.id });
                return;
            }
            () = process.killed.cancelled() => {
                run.abort();
                assert!(run.await.unwrap_err().is_cancelled());
                outside.write(Event::Died { process: process.id });
            }
            () = process.shutdown.cancelled() => end(&outside, &process, run).await,
            () = over.cancelled() => {
                process.ask_to_end();
                return end(&outside, &process, run).await;
            }
        }
        let pause = outside.dice().millis(0..10_000);
        let away = outside.away_until.lock().unwrap().saturating_sub(outside.now());
        sleep(pause.max(away)).await;
        if over.is_cancelled() {
            return;
        }
    }
}

/// A shutdown: it has to be over within the grace, unless the process dies of something else.
async fn end(outside: &Arc<Outside>, process: &Arc<Process>, mut run: tokio::task::JoinHandle<()>) {
    let began = outside.now();
    outside.write(Event::Fault("shutdown"));
    tokio::select! {
        biased;
        ended = &mut run => {
            ended.unwrap();
            let took = outside.now().saturating_sub(began);
            outside.write(Event::Ended { process: process.id, took });
        }
        () = process.killed.cancelled() => {
            run.abort();
            assert!(run.await.unwrap_err().is_cancelled());
            outside.write(Event::Died { process: process.id });
        }
    }
}

fn worker(
    process: &Arc<Process>,
    metrics: Arc<Metrics>,
) -> Worker<SimulatedQueue, SimulatedDestinations, Cache<SimulatedApps>> {
    let plan = &process.outside.plan;
    let Id { replica, start } = process.id;
    let seed = plan.seed ^ u64::try_from(replica * 1000 + start).unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let keep = plan.cache.map_or(CacheTtl::Nothing, CacheTtl::For);
    let parts = Parts {
        queue: SimulatedQueue(Arc::clone(process)),
        transport: SimulatedDestinations(Arc::clone(process)),
        apps: Cache::observed(
            SimulatedApps(Arc::clone(process)),
            "the source",
            keep,
            plan.rules.attempt_timeout / 2,
            Observer::default(),
        ),
        random: Random::from_seed(seed),
        metrics,
        health: Arc::new(Health::new(Duration::from_secs(34))),
        traces: Traces::default(),
    };
    Worker::new(parts, plan.rules.clone(), plan.bounds, process.shutdown.clone())
}

async fn happen(
    outside: &Arc<Outside>,
    running: &[Running],
    operators: &mut JoinSet<()>,
    incident: Incident,
) {
    outside.write(Event::Incident(incident));
    let process = |replica: usize| Arc::clone(&running[replica].lock().unwrap().0);
    match incident {
        Incident::Kill(replica) => process(replica).killed.cancel(),
        Incident::KillAtCall(replica, calls) => process(replica).kill_at_call(calls),
        Incident::Terminate(replica) => process(replica).ask_to_end(),
        Incident::Away(lasts) => {
            *outside.away_until.lock().unwrap() = outside.now() + lasts;
            (0..running.len()).for_each(|replica| process(replica).ask_to_end());
        }
        // With the faults it ends at the latest.
        Incident::Freeze(replica, lasts) => {
            process(replica).freeze(lasts.min(outside.plan.quiet.saturating_sub(outside.now())));
        }
        Incident::Redrive(calls) => {
            operators.spawn(redrive(Arc::clone(outside), calls));
        }
        Incident::Jump(lasts) => {
            outside.write(Event::StoodStill { lasts });
            advance(lasts).await;
        }
    }
}

async fn produce(outside: Arc<Outside>) {
    let start = Instant::now();
    for (n, job) in outside.plan.jobs.iter().enumerate() {
        sleep_until(start + job.at).await;
        let (group, body) = message(&outside.plan, n, job);
        let dedup = Some(deduplication_id(body.as_bytes()));
        let mut book = outside.book();
        // The book has to know it before anyone receives it.
        let message = Outgoing { group: group.clone(), dedup, body: body.into(), ..Outgoing::default() };
        let id = outside.send(JOBS, message);
        book.write(outside.now(), Event::Sent { message: n, id, group });
    }
}

fn message(plan: &Plan, n: usize, job: &Planned) -> (String, String) {
    let app = job.app.to_string();
    let group = group_id(&app, job.kind);
    if job.poison == Poison::Malformed {
        return (group, format!("{{\"n\":{n}"));
    }
    let version = plan.versions_between(job.app, job.at, job.at).last().unwrap();
    let secret = if job.poison == Poison::Signature { "wrong" } else { version.secret };
    let key = if job.poison == Poison::UnknownApp { "nobody".to_owned() } else { format!("k{app}") };
    let producer = Signer::new(app, key, secret);
    let event = json!({"name": job.kind.event_name(), "n": n, "channel": job.channel});
    let payload = json!({"time_ms": 0, "events": [event]}).to_string();
    (group, producer.payload(job.kind, payload).body)
}
