//! `healthcheck`: for images without a shell.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tokio::time::timeout;

use super::Failure;
use crate::config;

/// A worker's answer is a line.
const MAX_ANSWER: usize = 64 * 1024;

/// Less than the five seconds that ECS gives a health check.
const TIMEOUT: Duration = Duration::from_secs(3);

pub(super) async fn main() -> Result<ExitCode, Failure> {
    let environment = config::environment();
    let variable = |name: &str, default: &str| {
        let value = environment.get(name).or_else(|| environment.get(&format!("SOKETI_{name}")));
        value.filter(|value| !value.is_empty()).map_or(default, String::as_str).to_owned()
    };
    let host = variable("METRICS_HOST", "127.0.0.1");
    // A worker that listens everywhere is asked on the loopback.
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() => "[::1]".to_owned(),
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        Ok(IpAddr::V4(_)) | Err(_) => host,
    };
    let address = format!("{host}:{}", variable("METRICS_PORT", "9602"));
    let answer = match timeout(TIMEOUT, ask(&address)).await {
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
    let (status, said) = answer;
    println!("{}", said.trim());
    Ok(if status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn ask(address: &str) -> anyhow::Result<(StatusCode, String)> {
    // The worker is asked itself, whatever proxy the environment names.
    let client = Client::builder().no_proxy().redirect(Policy::none()).build()?;
    let url = format!("http://{address}/healthz");
    let mut answer = client.get(url).send().await.map_err(reqwest::Error::without_url)?;
    let mut said = Vec::new();
    while said.len() < MAX_ANSWER
        && let Some(chunk) = answer.chunk().await?
    {
        said.extend_from_slice(&chunk);
    }
    Ok((answer.status(), String::from_utf8_lossy(&said).into_owned()))
}
