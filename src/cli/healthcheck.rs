//! `healthcheck`: for images without a shell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tokio::time::timeout;

use crate::admin::TOKEN_HEADER;
use crate::config::{self, Errors};
use crate::process::Failure;

/// A worker's answer is a line.
const MAX_ANSWER: usize = 64 * 1024;

/// Less than the five seconds that ECS gives a health check.
const TIMEOUT: Duration = Duration::from_secs(3);

pub(super) async fn main() -> Result<ExitCode, Failure> {
    // Not exit code 78: orchestrators know healthy and not.
    let address = match config::metrics_address(config::environment()) {
        Ok(address) => asked_at(address),
        Err(Errors(errors)) => {
            for error in errors {
                eprintln!("configuration error: {error}");
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let answer = match timeout(TIMEOUT, ask(address)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            eprintln!("no worker answers at {address} ({error:#}): check METRICS_HOST and METRICS_PORT");
            return Ok(ExitCode::FAILURE);
        }
        Err(_) => {
            eprintln!("the worker at {address} does not answer within {} s", TIMEOUT.as_secs());
            return Ok(ExitCode::FAILURE);
        }
    };
    if !answer.ours {
        eprintln!(
            "what answers at {address} is no hookferry worker (status {}): check METRICS_HOST and METRICS_PORT",
            answer.status.as_u16()
        );
        return Ok(ExitCode::FAILURE);
    }
    println!("{}", answer.said.trim());
    Ok(if answer.status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A worker that listens everywhere is asked on the loopback.
fn asked_at(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

struct Answer {
    status: StatusCode,
    ours: bool,
    said: String,
}

async fn ask(address: SocketAddr) -> anyhow::Result<Answer> {
    // The worker is asked itself, whatever proxy the environment names.
    let client = Client::builder().no_proxy().redirect(Policy::none()).build()?;
    let url = format!("http://{address}/healthz");
    let mut answer = client.get(url).send().await.map_err(reqwest::Error::without_url)?;
    let (status, ours) = (answer.status(), answer.headers().contains_key(TOKEN_HEADER));
    let mut said = Vec::new();
    while said.len() < MAX_ANSWER
        && let Some(chunk) = answer.chunk().await?
    {
        said.extend_from_slice(&chunk);
    }
    Ok(Answer { status, ours, said: String::from_utf8_lossy(&said).into_owned() })
}
