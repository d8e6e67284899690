//! How batches go out: by reqwest, on the worker's runtime.
//!
//! The SDK's thread waits for a batch without a runtime, so the request is a task of the worker's. What fails
//! is told once a minute; the exporter repeats what may pass, for some seconds, and then drops the batch.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use reqwest::redirect::Policy;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tracing::warn;

use crate::telemetry::traces::SetUpError;

/// How long a request may take: what the exporter gives a batch by default, and begins no request after.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read. It says at most how many spans were refused, and why.
const MAX_ANSWER: usize = 64 * 1024;

/// Between two lines about what fails.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Makes requests on a runtime.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    runtime: Handle,
    endpoint: Arc<str>,
    said: Arc<Mutex<Option<Instant>>>,
}

type Answer = Result<Response<Bytes>, HttpError>;

impl Client {
    pub(super) fn new(endpoint: &str) -> Result<Self, SetUpError> {
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| SetUpError::Client(innermost(&error)))?;
        Ok(Self { http, runtime: Handle::try_current()?, endpoint: endpoint.into(), said: Arc::default() })
    }

    async fn post(self, request: Request<Bytes>) -> Answer {
        match exchange(&self.http, request).await {
            // By its status the exporter knows what is worth repeating.
            Ok(answer) => {
                if !answer.status().is_success() {
                    self.say(&format!("status {}", answer.status().as_u16()));
                }
                Ok(answer)
            }
            Err(why) => {
                self.say(&why.to_string());
                Err(why.into())
            }
        }
    }

    fn say(&self, why: &str) {
        let now = Instant::now();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_some_and(|said| now.duration_since(said) < SAY_EVERY) {
            return;
        }
        *said = Some(now);
        warn!(
            endpoint = &*self.endpoint,
            detail = why,
            "spans cannot be exported, in some seconds they are lost; deliveries go on (check OTEL_EXPORTER_OTLP_ENDPOINT)"
        );
    }
}

impl HttpClient for Client {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let posting = self.runtime.spawn(self.clone().post(request));
        Box::pin(async move { posting.await? })
    }
}

/// Why a request has no answer, without the URL.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    /// In the words of the innermost cause.
    #[error("{0}")]
    Http(String),
    #[error("an answer of more than {MAX_ANSWER} bytes")]
    TooLong,
}

impl From<reqwest::Error> for ExchangeError {
    fn from(error: reqwest::Error) -> Self {
        Self::Http(innermost(&error))
    }
}

/// One request and its answer, whatever its status.
async fn exchange(http: &reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, ExchangeError> {
    let request = reqwest::Request::try_from(request)?;
    let mut answer = http.execute(request).await?;
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(ExchangeError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    let mut told = Response::new(body.freeze());
    *told.status_mut() = answer.status();
    // Retry-After among them.
    *told.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(told)
}

/// The cause at the bottom: reqwest's own text holds the URL.
fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
