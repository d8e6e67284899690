//! Receivers of webhooks that misbehave, on the wire and in what they answer.

mod fate;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hookferry::app::{Target, WebhookId};
use hookferry::job::Job;
use hookferry::plan::{ATTEMPT_HEADER, ID_HEADER};
use rand::rngs::SmallRng;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::apps::{WORKER_HEADER, secret_of};
use crate::chance::Chance;
use crate::history::{Attempt, Delivery, End, History, Stamp};
use crate::http1::{Message, Wire};
use fate::Script;
pub use fate::{Afterwards, Fate};

/// One receiver.
#[derive(Debug)]
pub struct Receiver {
    chance: Chance,
    history: Arc<History>,
}

/// Serves for as long as it is polled. A connection that ends with an error has been put down by
/// then: what the other side does to it is the point of the run.
pub async fn serve(listener: TcpListener, chance: Chance, history: Arc<History>) {
    let receiver = Arc::new(Receiver { chance, history });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("a listener on loopback accepts");
                connections.spawn(Arc::clone(&receiver).converse(stream));
            }
            Some(ended) = connections.join_next() => {
                if let Err(panicked) = ended {
                    receiver.history.wrong(format!("a receiver's connection failed: {panicked}"));
                }
            }
        }
    }
}

impl Receiver {
    async fn converse(self: Arc<Self>, stream: TcpStream) -> io::Result<()> {
        let mut wire = Wire::new(stream)?;
        let mut idle = None;
        let mut kept = false;
        loop {
            let begins = match idle {
                None => wire.begins().await?,
                // An orderly close of an idle connection, which may cross with the next request.
                Some(after) => tokio::select! {
                    begins = wire.begins() => begins?,
                    () = sleep(after) => return Ok(()),
                },
            };
            if !begins {
                return Ok(());
            }
            let began = self.history.stamp();
            let Some(request) = wire.request().await? else { return Ok(()) };
            let Some((attempt, gone)) = self.read(&request, began, kept) else {
                wire.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await?;
                continue;
            };
            let delivery = attempt.delivery;
            let place = self.history.attempt_began(attempt);
            let mut rng = self.draws(delivery);
            let (fate, afterwards) = if self.history.is_calm() {
                (Fate::Accept, Afterwards::CacheTtl)
            } else {
                fate::draw(&mut rng, self.chance.storm(self.history.now()))
            };
            let fate = if gone && fate.takes() { Fate::Gone } else { fate };
            self.history.fault("receiver", fate);
            let Some(again) = self.answer(wire, place, fate.script(&mut rng)).await else { return Ok(()) };
            wire = again;
            kept = true;
            self.history.fault("connection", afterwards);
            idle = match afterwards {
                Afterwards::CacheTtl => None,
                Afterwards::CloseUnannounced => return Ok(()),
                Afterwards::CloseWhileIdle => Some(fate::idle(&mut rng)),
            };
        }
    }

    /// What arrived, if it is what was sent; anything else is put down as a wrong.
    fn read(&self, request: &Message, began: Stamp, kept: bool) -> Option<(Attempt, bool)> {
        let claimed = Job {
            app_key: request.header("x-pusher-key").to_owned(),
            app_id: String::new(),
            payload: request.body.clone(),
            signature: request.header("x-pusher-signature").to_owned(),
            sender_secret: None,
        };
        let secret = secret_of(&claimed.app_key);
        let verified = secret.is_some_and(|secret| claimed.verify(&secret).is_ok());
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let number = |name: &str| usize::try_from(body.pointer(&format!("/events/0/{name}"))?.as_u64()?).ok();
        let delivery = || {
            let webhook = request.path.trim_start_matches('/').parse().ok()?;
            Some(Delivery { group: number("group")?, n: number("n")?, webhook })
        };
        let Some(delivery) = delivery().filter(|_| verified) else {
            self.history.wrong(format!("what arrived is not what was sent: {request:?}"));
            return None;
        };
        let attempt = Attempt {
            worker: request.header(WORKER_HEADER).to_owned(),
            delivery,
            id: Self::placed(request, delivery.webhook),
            number: request.header(ATTEMPT_HEADER).parse().unwrap_or_default(),
            began,
            ended: None,
            kept,
            reset: false,
        };
        Some((attempt, body.pointer("/events/0/gone") == Some(&true.into())))
    }

    /// The id that it came under, the webhook's identity in it replaced by its place: the books know that.
    fn placed(request: &Message, webhook: usize) -> String {
        let url = format!("http://{}{}", request.header("host"), request.path);
        let identity = format!(".{}", WebhookId::of(&Target::Http(url)));
        let id = request.header(ID_HEADER);
        id.strip_suffix(&identity).map_or_else(|| id.to_owned(), |id| format!("{id}.{webhook}"))
    }

    /// The k-th arrival of a delivery has the same draws in every run of the seed.
    fn draws(&self, delivery: Delivery) -> SmallRng {
        let arrival = self.history.arrivals_before(delivery);
        self.chance.of((delivery, arrival)).rng()
    }

    /// Answers by the script, and puts down how the attempt ended; gives the connection back if it may
    /// be used again.
    async fn answer(&self, mut wire: Wire, place: usize, script: Script) -> Option<Wire> {
        let mut left = false;
        for (pause, bytes) in &script.before {
            left = left || self.left(&mut wire, *pause).await || wire.write(bytes).await.is_err();
        }
        // Nothing is taken for a worker that hung up before the answer began.
        left = left || self.left(&mut wire, script.pause).await;
        let at = self.history.stamp();
        if left {
            let end = if script.takes_early { End::AnswerLost } else { End::NotTaken };
            self.history.attempt_ended(place, at, end);
            return None;
        }
        let written = wire.write(&script.last).await.is_ok();
        let end = match script.end {
            End::Accepted if !written => End::AnswerLost,
            end => end,
        };
        self.history.attempt_ended(place, at, end);
        if script.reset {
            self.history.attempt_reset(place);
            wire.reset();
            return None;
        }
        (written && script.keep).then_some(wire)
    }

    /// Whether the worker hung up within the pause.
    async fn left(&self, wire: &mut Wire, pause: Duration) -> bool {
        if pause.is_zero() {
            return false;
        }
        tokio::select! {
            () = wire.hung_up() => true,
            () = sleep(pause) => false,
        }
    }
}
