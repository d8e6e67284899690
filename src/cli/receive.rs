//! `receive`: the receiver alone.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{Failure, log, signals};
use crate::local::receiver::{Receiver, serve};
use crate::random::Random;

/// Arrivals that wait to be printed.
const BACKLOG: usize = 1000;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:3001")]
    listen: SocketAddr,
    /// The app's secret, under which webhooks have to be signed; others are answered 401.
    #[arg(long, default_value = "app-secret", env = "DEFAULT_APP_SECRET", hide_env_values = true)]
    secret: String,
    /// The status to answer with.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(200..=599))]
    status: u16,
    /// The share of webhooks to answer with 500 instead, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    fail_rate: f64,
    /// How long to wait before each answer, in milliseconds.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
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
    let (status, rate) = (options.status, options.fail_rate);
    let delay = Duration::from_millis(options.delay_ms);
    let answer = move |_: &_| (if random.fraction() < rate { 500 } else { status }, delay);
    let receiver =
        Receiver { secret: SecretString::from(options.secret), answer: Arc::new(answer), arrivals };
    let printing = tokio::spawn(async move {
        use std::io::Write;
        while let Some(arrival) = arrived.recv().await {
            // Whoever reads the lines has gone when this fails; the receiver goes on answering.
            if writeln!(std::io::stdout(), "{}", arrival.json()).is_err() {
                arrived.close();
            }
        }
    });
    serve(listener, receiver, signals::shutdown()).await.context("the receiver ended")?;
    printing.await.context("printing failed")?;
    Ok(ExitCode::SUCCESS)
}
