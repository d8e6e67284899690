//! A receiver of webhooks: verifies the signature, answers as it is told, and reports what arrived.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::{Extension, Router};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::job::Job;
use crate::local::connections::{self, Progress};
use crate::plan::{ATTEMPT_HEADER, ID_HEADER};
use crate::standard::HEADERS;
use crate::visitors::Visitors;

/// No webhook is larger: it is one message's, or ten small ones' together.
const MAX_BODY: usize = crate::fifo::MAX_MESSAGE_SIZE * 2;

/// A webhook that arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The path it was posted to.
    pub path: String,
    /// `X-Pusher-Key`.
    pub key: String,
    /// `X-Hookferry-Id`.
    pub id: String,
    /// `X-Hookferry-Attempt`.
    pub attempt: u32,
    /// Whether the signature is right.
    pub verified: bool,
    /// The body.
    pub body: Bytes,
    /// What it was answered with.
    pub status: u16,
    /// Its headers of Standard Webhooks, by their names; they are not judged.
    pub standard: Vec<(&'static str, String)>,
}

/// How a webhook is answered: with which status, and after how long.
pub type Answer = dyn Fn(&Arrival) -> (u16, Duration) + Send + Sync;

/// What a receiver needs to know.
#[derive(Clone)]
pub struct Receiver {
    /// The secret under which everything has to be signed.
    pub secret: SecretString,
    /// How webhooks are answered.
    pub answer: Arc<Answer>,
    /// Where arrivals are reported, once they have been answered.
    pub arrivals: mpsc::Sender<Arrival>,
}

impl Arrival {
    /// One JSON object for a line of output: `body` as JSON to look into, `raw` as the bytes that were
    /// signed.
    #[must_use]
    pub fn json(&self) -> Value {
        let body = serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&self.body).into_owned()));
        json!({
            "path": self.path,
            "key": self.key,
            "id": self.id,
            "attempt": self.attempt,
            "verified": self.verified,
            "status": self.status,
            "body": body,
            "raw": String::from_utf8_lossy(&self.body),
            "standard": self.standard.iter().cloned().collect::<BTreeMap<_, _>>(),
        })
    }
}

/// Serves until `shutdown`.
///
/// # Errors
/// The listener's.
pub async fn serve(
    listener: TcpListener,
    receiver: Receiver,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new().fallback(receive).with_state(receiver);
    connections::serve(listener, router, shutdown).await;
    Ok(())
}

async fn receive(
    State(receiver): State<Receiver>,
    Extension(progress): Extension<Progress>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> StatusCode {
    if Visitors::judge_page(&uri, &headers).is_err() {
        return StatusCode::FORBIDDEN;
    }
    let body = match progress.body(body, MAX_BODY).await {
        Ok(body) => body,
        Err(status) => return status,
    };
    let header =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let claimed = Job {
        app_key: header("x-pusher-key"),
        app_id: String::new(),
        payload: body.clone(),
        signature: header("x-pusher-signature"),
        sender_secret: None,
    };
    let mut arrival = Arrival {
        path: uri.path().to_owned(),
        verified: claimed.verify(&receiver.secret).is_ok(),
        key: claimed.app_key,
        id: header(ID_HEADER),
        attempt: header(ATTEMPT_HEADER).parse().unwrap_or_default(),
        standard: HEADERS
            .map(|name| (name, header(name)))
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect(),
        body,
        status: 0,
    };
    let (status, delay) = (receiver.answer)(&arrival);
    tokio::time::sleep(delay).await;
    // Forged webhooks get 401, whatever `answer` says, so that a wrong secret is noticed.
    arrival.status = if arrival.verified { status } else { 401 };
    let status = StatusCode::from_u16(arrival.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if receiver.arrivals.send(arrival).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    status
}
