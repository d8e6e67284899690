//! `receive`: the receiver alone.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::config::{default_secret, environment};
use crate::local::receiver::{Arrival, Receiver, serve};
use crate::process::duration::duration;
use crate::process::{Failure, log, signals};
use crate::random::Random;
use crate::shown::Label;

/// Arrivals that wait to be printed.
const BACKLOG: usize = 1000;

/// Longer than any sender waits.
const NEVER: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:3001")]
    listen: SocketAddr,
    /// The app's secret, under which webhooks have to be signed; others are answered 401. Default: DEFAULT_APP_SECRET,
    /// or app-secret.
    #[arg(long)]
    secret: Option<String>,
    /// The status to answer with.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    status: u16,
    /// The share of webhooks to answer with 500 instead, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    fail_rate: f64,
    /// Answer the first N webhooks with 500.
    #[arg(long, value_name = "N", default_value_t = 0)]
    fail_first: u64,
    /// How long to answer with 500, from the first webhook on: 500ms, 30s, 5m, 1h or 1d.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    fail_for: Option<Duration>,
    /// How long to wait before each answer, in milliseconds.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// Never answer: each attempt ends by its sender's timeout.
    #[arg(long)]
    hang: bool,
}

pub(super) async fn main(options: Options) -> Result<ExitCode, Failure> {
    log(None);
    if !(0.0..=1.0).contains(&options.fail_rate) {
        return Err(anyhow!("--fail-rate {} does not lie between 0 and 1", options.fail_rate).into());
    }
    let listener = TcpListener::bind(options.listen).await.map_err(|error| {
        anyhow!("cannot listen on {}: {error} (choose another address with --listen)", options.listen)
    })?;
    eprintln!("receiving at http://{}/", listener.local_addr().context("the address is unknown")?);
    let (arrivals, mut arrived) = mpsc::channel(BACKLOG);
    let random = Random::from_system();
    let own = options.secret.clone().filter(|secret| !secret.is_empty());
    let secret = SecretString::from(own.unwrap_or_else(|| default_secret(environment())));
    let human = std::io::stdout().is_terminal();
    let answer = answers(&options, random, human);
    let receiver = Receiver { secret, answer: Arc::new(answer), arrivals };
    let printing = tokio::spawn(async move {
        while let Some(arrival) = arrived.recv().await {
            // Whoever reads the lines has gone when this fails; the receiver goes on answering.
            if print(&arrival, human).is_err() {
                arrived.close();
            }
        }
    });
    serve(listener, receiver, signals::shutdown()).await.context("the receiver ended")?;
    printing.await.context("printing failed")?;
    Ok(ExitCode::SUCCESS)
}

fn answers(
    options: &Options,
    random: Random,
    human: bool,
) -> impl Fn(&Arrival) -> (u16, Duration) + Send + Sync + use<> {
    let &Options { status, fail_rate, fail_first, fail_for, delay_ms, hang, .. } = options;
    let (seen, first): (AtomicU64, OnceLock<Instant>) = Default::default();
    move |arrival| {
        if hang {
            // Nothing is reported once its sender has gone.
            drop(print(&Arrival { status: 0, ..arrival.clone() }, human));
            return (status, NEVER);
        }
        let began = *first.get_or_init(Instant::now);
        let fails = seen.fetch_add(1, Ordering::Relaxed) < fail_first
            || fail_for.is_some_and(|fail_for| began.elapsed() < fail_for)
            || random.fraction() < fail_rate;
        (if fails { 500 } else { status }, Duration::from_millis(delay_ms))
    }
}

fn print(arrival: &Arrival, human: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if human { writeln!(out, "{}", line(arrival)) } else { writeln!(out, "{}", arrival.json()) }
}

/// One webhook for a person: what became of it, where it came, what is in it, which attempt it is.
fn line(arrival: &Arrival) -> String {
    let answer = match arrival.status {
        0 => "hangs".to_owned(),
        401 if !arrival.verified => "401 wrong signature".to_owned(),
        status => status.to_string(),
    };
    let body: serde_json::Value = serde_json::from_slice(&arrival.body).unwrap_or_default();
    let events = body.get("events").and_then(|events| events.as_array());
    let text = |event: &serde_json::Value, field: &str| {
        let text = event.get(field).and_then(|value| value.as_str()).unwrap_or("?");
        Label::new(text).to_string()
    };
    let what = match events.map(Vec::as_slice) {
        None => "no events".to_owned(),
        Some([event]) => format!("{} on {}", text(event, "name"), text(event, "channel")),
        Some(events) => {
            let first = events.first().map_or_else(String::new, |event| text(event, "name"));
            format!("{} events, {first} first", events.len())
        }
    };
    let path = Label::new(&arrival.path);
    format!("{answer:>5}  {path}  {what}  attempt {}  {}", arrival.attempt, Label::new(&arrival.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_became_of_what_and_holds_no_control_characters() {
        let arrival = Arrival {
            path: "/shop".into(),
            key: "key".into(),
            id: "id\u{1b}[31m".into(),
            attempt: 2,
            verified: true,
            body: br#"{"time_ms":1,"events":[{"name":"client_event","channel":"a\nb"}]}"#.as_slice().into(),
            status: 500,
            standard: Vec::new(),
        };
        assert_eq!(line(&arrival), "  500  /shop  client_event on a\u{fffd}b  attempt 2  id\u{fffd}[31m");
        assert!(line(&Arrival { status: 401, verified: false, ..arrival }).contains("wrong signature"));
    }
}
