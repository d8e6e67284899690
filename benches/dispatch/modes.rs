//! What can be asked of the bench.

use std::path::Path;
use std::time::{Duration, Instant};

use super::chart::{Bar, chart};
use super::contender::{Contender, Peers};
use super::measured::now_us;
use super::report::{headline, line, mebibytes, median_of, ratio};
use super::run::{QueueStats, SinkStats, Stage, Taken, Work, run};

fn hookferry() -> Contender {
    Contender::Hookferry(Vec::new())
}

/// Lets contenders take turns at the same work.
fn turns(
    contenders: &[Contender],
    rounds: usize,
    work: impl Fn(&Contender) -> Work,
) -> anyhow::Result<Vec<Vec<Taken>>> {
    let mut taken = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for (contender, runs) in contenders.iter().zip(&mut taken) {
            runs.push(run(contender, work(contender))?);
        }
    }
    headline();
    for (contender, runs) in contenders.iter().zip(&taken) {
        line(contender.name(), runs);
    }
    Ok(taken)
}

/// hookferry against the floors.
pub fn floor(rounds: usize) -> anyhow::Result<()> {
    println!("\n== floor: {rounds} rounds of {:?}", Work::default());
    let taken = turns(&[hookferry(), Contender::Bare, Contender::Raw], rounds, |_| Work::default())?;
    if let [ours, bare, raw] = taken.as_slice() {
        println!("CPU a delivery: {:.2} x bare, {:.2} x raw", cpu_ratio(ours, bare), cpu_ratio(ours, raw));
    }
    Ok(())
}

fn cpu_ratio(ours: &[Taken], theirs: &[Taken]) -> f64 {
    ratio(ours, theirs, |taken| taken.cpu_us)
}

/// hookferry alone over groups, payloads, latencies and backlogs.
pub fn sweep(short: bool) -> anyhow::Result<()> {
    println!("\n== sweep around {:?}", Work::default());
    headline();
    let base = Work::default();
    let ms = Duration::from_millis;
    let mut works = Vec::new();
    for groups in [1, 6, 60, 600, 6_000] {
        // One group is ten jobs at a time, whoever works it.
        let jobs = if groups < 60 { 5_000 } else { 20_000 };
        works.push((format!("{groups} groups"), Work { jobs, groups, ..base }));
    }
    for size in [200, 2_000, 64_000] {
        let jobs = if size > 10_000 { 4_000 } else { base.jobs };
        works.push((format!("bodies of {size} B"), Work { jobs, size, ..base }));
    }
    for latency in [0, 5, 50] {
        works.push((format!("{latency} ms to an answer"), Work { latency: ms(latency), ..base }));
    }
    for jobs in if short { &[1_000, 10_000, 100_000][..] } else { &[1_000, 10_000, 100_000, 1_000_000] } {
        works.push((format!("a backlog of {jobs}"), Work { jobs: *jobs, ..base }));
    }
    for (name, work) in works {
        let rounds = if short || work.jobs > 100_000 { 1 } else { 3 };
        let runs = (0..rounds).map(|_| run(&hookferry(), work)).collect::<anyhow::Result<Vec<_>>>()?;
        line(&name, &runs);
    }
    Ok(())
}

/// What `WEBHOOKS_COALESCE` gains for hot groups with a slow destination.
pub fn coalesce() -> anyhow::Result<()> {
    let work = Work { jobs: 1_200, groups: 6, latency: Duration::from_millis(50), ..Work::default() };
    println!("\n== coalescing: 3 rounds of {work:?}; the first line coalesces");
    let together = Contender::Hookferry(vec![("WEBHOOKS_COALESCE", "true".to_owned())]);
    let taken = turns(&[together, hookferry()], 3, |_| work)?;
    if let [together, alone] = taken.as_slice() {
        println!("{:.1} x the deliveries a second", ratio(together, alone, |taken| taken.deliveries_per_s));
    }
    Ok(())
}

/// Latency from send to delivery at a fixed pace, of hookferry and of the floor, and what a delivery takes.
pub fn open_loop(seconds: u64) -> anyhow::Result<()> {
    println!("\n== open loop, {seconds} s at each pace, 600 groups: send → delivered, ms");
    println!(
        "{:<30} {:>8} {:>8} {:>8} {:>11} {:>12} {:>6} {:>9}",
        "", "p50", "p99", "p99.9", "calls each", "CPU µs each", "dup", "disorder"
    );
    for pace in [20, 100, 500, 2_000] {
        for contender in [hookferry(), Contender::Raw] {
            let mut stage = Stage::set(Duration::ZERO)?;
            let running = stage.start(&contender)?;
            // Warm: what is measured is the pace, not the start.
            let warm_up = stage.queue.ask("rate 100 1 600 500")?;
            settled(&mut stage, warm_up.parse()?)?;
            // The groups go on counting: the sink keeps what it knows of their order.
            stage.sink.ask("forget-latencies")?;
            let (cpu, calls) = (running.cpu()?, stage.queue.stats::<QueueStats>()?.calls());
            let sent: u64 = stage.queue.ask(&format!("rate {pace} {seconds} 600 500"))?.parse()?;
            let stats = settled(&mut stage, sent + 100)?;
            let cpu = running.cpu()?.saturating_sub(cpu);
            let calls = stage.queue.stats::<QueueStats>()?.calls() - calls;
            #[allow(clippy::cast_precision_loss, reason = "microseconds far below 2^52")]
            let ms = |us: u64| us as f64 / 1e3;
            #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
            let each = |of: f64| of / sent as f64;
            #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
            let calls = each(calls as f64);
            println!(
                "{:<30} {:>8.2} {:>8.2} {:>8.2} {calls:>11.2} {:>12.0} {:>6} {:>9}",
                format!("{pace}/s, {}", contender.name()),
                ms(stats.p50_us),
                ms(stats.p99_us),
                ms(stats.p999_us),
                each(cpu.as_secs_f64() * 1e6),
                stats.duplicates,
                stats.out_of_order,
            );
        }
    }
    Ok(())
}

/// Waits until so many events have arrived.
fn settled(stage: &mut Stage, events: u64) -> anyhow::Result<SinkStats> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let stats: SinkStats = stage.sink.stats()?;
        if stats.events >= events {
            return Ok(stats);
        }
        anyhow::ensure!(Instant::now() < deadline, "{} of {events} events arrived", stats.events);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What hookferry takes when there is nothing to do.
pub fn idle() -> anyhow::Result<()> {
    println!("\n== idle");
    let mut starts = Vec::new();
    for _ in 0..5 {
        let mut stage = Stage::set(Duration::ZERO)?;
        let started = now_us();
        let _running = stage.start(&hookferry())?;
        let first = loop {
            if let Some(first) = stage.queue.stats::<QueueStats>()?.first_receive_us {
                break first;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        starts.push((first - started) / 1000);
    }
    println!("start to first poll, five times: {starts:?} ms");
    let mut stage = Stage::set(Duration::ZERO)?;
    let running = stage.start(&hookferry())?;
    std::thread::sleep(Duration::from_secs(5));
    let seconds = 30;
    let (cpu, before) = (running.cpu()?, stage.queue.stats::<QueueStats>()?.calls());
    std::thread::sleep(Duration::from_secs(seconds));
    let (cpu, calls) =
        (running.cpu()?.saturating_sub(cpu), stage.queue.stats::<QueueStats>()?.calls() - before);
    let (peak, resident) = running.memory()?;
    println!(
        "in {seconds} s: {calls} calls (one poll waits 10 s), {:.2} ms of CPU a second; resident {:.1} MiB, at most {:.1} MiB",
        cpu.as_secs_f64() * 1e3 / Duration::from_secs(seconds).as_secs_f64(),
        mebibytes(resident),
        mebibytes(peak),
    );
    println!("binary: {:.1} MiB", mebibytes(std::fs::metadata(env!("CARGO_BIN_EXE_hookferry"))?.len()));
    Ok(())
}

/// Memory with as many jobs of 2 KB in flight as there may be by default.
pub fn in_flight() -> anyhow::Result<()> {
    println!("\n== in flight: 2,000 groups of 2 KB jobs, two seconds to an answer");
    let mut stage = Stage::set(Duration::from_secs(2))?;
    stage.queue.ask("fill 2000 2000 20000")?;
    let running = stage.start(&hookferry())?;
    let (start, mut most) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_secs(10) {
        most = most.max(stage.queue.stats::<QueueStats>()?.in_flight);
        std::thread::sleep(Duration::from_millis(100));
    }
    let (peak, resident) = running.memory()?;
    println!("{most} in flight; resident {:.1} MiB, at most {:.1} MiB", mebibytes(resident), mebibytes(peak));
    Ok(())
}

/// Everyone, side by side.
pub fn peers(dir: Peers, chart_file: Option<&Path>) -> anyhow::Result<()> {
    let contenders = [
        hookferry(),
        Contender::Bare,
        Contender::Raw,
        Contender::Node(dir.clone()),
        Contender::SoketiInBatches(dir.clone()),
        Contender::Soketi(dir),
    ];
    println!("\n== peers: 5 rounds of {:?}, 1,000 jobs for soketi", Work::default());
    let work = |contender: &Contender| match contender {
        Contender::Soketi(_) | Contender::SoketiInBatches(_) => Work { jobs: 1_000, ..Work::default() },
        Contender::Hookferry(_) | Contender::Raw | Contender::Bare | Contender::Node(_) => Work::default(),
    };
    let taken = turns(&contenders, 5, work)?;
    let Some((ours, others)) = taken.split_first() else { return Ok(()) };
    for (contender, theirs) in contenders.iter().skip(1).zip(others) {
        let throughput = ratio(ours, theirs, |taken| taken.deliveries_per_s);
        let name = contender.name();
        println!(
            "against {name}: {:.3} x the CPU a delivery, {throughput:.1} x the throughput",
            cpu_ratio(ours, theirs)
        );
    }
    if let Some(file) = chart_file {
        let bar = |(contender, runs): (&Contender, &Vec<Taken>)| Bar {
            name: contender.name(),
            value: 1e6 / median_of(runs, |taken| taken.cpu_us),
            ours: matches!(contender, Contender::Hookferry(_)),
        };
        std::fs::write(file, chart(&contenders.iter().zip(&taken).map(bar).collect::<Vec<_>>()))?;
    }
    Ok(())
}
