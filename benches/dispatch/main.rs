//! The whole system as separate processes on loopback: a preloaded queue, a contender, a sink.
//!
//! ```text
//! cargo bench --bench dispatch                      floor, then a short sweep and an open loop
//! cargo bench --bench dispatch -- floor [ROUNDS]    against the floors, side by side
//! cargo bench --bench dispatch -- sweep             groups, payloads, latencies, backlogs
//! cargo bench --bench dispatch -- open-loop         latency from send to delivery at a fixed pace
//! cargo bench --bench dispatch -- coalesce          hot groups, a slow destination, with and without
//! cargo bench --bench dispatch -- idle              start, memory, CPU and calls without work
//! cargo bench --bench dispatch -- in-flight         memory with 2,000 jobs in flight
//! cargo bench --bench dispatch -- peers DIR [SVG]   against soketi and a Node worker, installed in
//!                                                   DIR by benches/peers/setup.sh; writes the chart
//! ```
//!
//! Contenders of one comparison take turns within one run of the bench, and what is reported is the
//! median of the ratios of each turn: the machine's noise is in both of its sides.

#![allow(
    clippy::disallowed_methods,
    reason = "benches measure real time, by blocking threads and barest clients"
)]

mod bare;
mod chart;
mod contender;
mod control;
#[path = "../measured/mod.rs"]
mod measured;
mod modes;
mod process;
mod queue;
mod raw;
mod report;
mod run;
mod sink;

use std::time::Duration;

use contender::Peers;

fn main() -> anyhow::Result<()> {
    // cargo bench says --bench to every bench.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *words.as_slice() {
        ["--role", "queue"] => queue::main(),
        ["--role", "sink", latency_ms] => sink::main(Duration::from_millis(latency_ms.parse()?)),
        ["--role", "raw", queue, sink] => raw::main(queue, sink),
        ["--role", "bare", queue, endpoint, sink] => bare::main(queue, endpoint, sink),
        [] => {
            modes::floor(3)?;
            modes::sweep(true)?;
            modes::open_loop(5)
        }
        ["floor"] => modes::floor(7),
        ["floor", rounds] => modes::floor(rounds.parse()?),
        ["sweep"] => modes::sweep(false),
        ["open-loop"] => modes::open_loop(20),
        ["coalesce"] => modes::coalesce(),
        ["idle"] => modes::idle(),
        ["in-flight"] => modes::in_flight(),
        ["peers", dir] => modes::peers(Peers(dir.into()), None),
        ["peers", dir, chart] => modes::peers(Peers(dir.into()), Some(chart.as_ref())),
        _ => {
            anyhow::bail!(
                "no such mode: {arguments:?} (floor, sweep, open-loop, coalesce, idle, in-flight, peers DIR)"
            )
        }
    }
}
