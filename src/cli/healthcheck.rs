//! `healthcheck`: for images without a shell.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::Failure;
use crate::config;

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
    let url = format!("http://{host}:{}/healthz", variable("METRICS_PORT", "9602"));
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(TIMEOUT)
        .build()
        .context("the HTTP client could not be set up")?;
    let answer = match client.get(&url).send().await {
        Ok(answer) => answer,
        Err(error) => {
            eprintln!("no worker answers at {url} ({error}): check METRICS_HOST and METRICS_PORT");
            return Ok(ExitCode::FAILURE);
        }
    };
    let healthy = answer.status().is_success();
    let said = answer.text().await.unwrap_or_default();
    println!("{}", said.trim());
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
