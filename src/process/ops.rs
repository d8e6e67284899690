//! The ops port of the worker that runs with this environment, as the commands ask it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tokio::time::timeout;

use crate::admin::TOKEN_HEADER;
use crate::config::{self, Errors};

/// Twice the most that a worker's answer may have.
const MAX_ANSWER: usize = 128 * 1024;

/// Less than the five seconds that ECS gives a health check.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What a worker answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) said: String,
}

/// Asks the worker; why not, in words, if there is none.
pub(crate) async fn ask(path: &str) -> Result<Answer, Vec<String>> {
    let address = match config::metrics_address(config::environment()) {
        Ok(address) => asked_at(address),
        Err(Errors(errors)) => {
            return Err(errors.into_iter().map(|error| format!("configuration error: {error}")).collect());
        }
    };
    match timeout(TIMEOUT, get(address, path)).await {
        Ok(Ok((answer, true))) => Ok(answer),
        Ok(Ok((answer, false))) => Err(vec![format!(
            "what answers at {address} is no hookferry worker (status {}): check METRICS_HOST and METRICS_PORT",
            answer.status.as_u16()
        )]),
        Ok(Err(error)) => Err(vec![format!(
            "no worker answers at {address} ({error:#}): check METRICS_HOST and METRICS_PORT"
        )]),
        Err(_) => {
            Err(vec![format!("the worker at {address} does not answer within {} s", TIMEOUT.as_secs())])
        }
    }
}

/// Whether what answers there is a worker.
pub(crate) async fn is_a_worker(address: SocketAddr) -> bool {
    matches!(timeout(TIMEOUT, get(asked_at(address), "/healthz")).await, Ok(Ok((_, true))))
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

/// The answer, and whether it is a worker's.
async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(Answer, bool)> {
    // The worker is asked itself, whatever proxy the environment names.
    let client = Client::builder().no_proxy().redirect(Policy::none()).build()?;
    let url = format!("http://{address}{path}");
    let mut answer = client.get(url).send().await.map_err(reqwest::Error::without_url)?;
    let (status, ours) = (answer.status(), answer.headers().contains_key(TOKEN_HEADER));
    let mut said = Vec::new();
    while said.len() < MAX_ANSWER
        && let Some(chunk) = answer.chunk().await?
    {
        said.extend_from_slice(&chunk);
    }
    Ok((Answer { status, said: String::from_utf8_lossy(&said).into_owned() }, ours))
}
