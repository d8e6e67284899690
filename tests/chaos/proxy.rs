//! A proxy in front of the local queue that inflicts faults on the workers' calls.
//!
//! A worker is told from another by its access key id, which stands in the clear in every signed
//! request. A client that hangs up takes its poll at the queue with it, as it would at SQS.

mod fault;
mod notes;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::chance::{Chance, millis};
use crate::history::{History, lock};
use crate::http1::{Message, Wire};
use crate::timing::OUTAGE;
pub use fault::Fault;
use notes::Call;
pub use notes::{Notes, Reused};

/// The proxy.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    queue: SocketAddr,
    chance: Chance,
    calls: AtomicU64,
    history: Arc<History>,
    notes: std::sync::Mutex<Notes>,
}

/// What came of a call.
enum Then {
    /// A whole answer was written, and the connection goes on.
    On(Wire),
    /// None was.
    End,
}

impl Proxy {
    /// A proxy for the queue's endpoint, with its listener.
    pub async fn bind(queue: SocketAddr, chance: Chance, history: Arc<History>) -> (Arc<Self>, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let notes = std::sync::Mutex::default();
        let proxy = Self { address, queue, chance, calls: AtomicU64::default(), history, notes };
        (Arc::new(proxy), listener)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it knows of the workers' calls so far.
    pub fn notes(&self) -> Notes {
        lock(&self.notes).clone()
    }

    /// Serves for as long as it is polled. At `outage` it is gone for a while: every connection is
    /// reset and new ones are refused.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, outage: Duration) {
        tokio::select! {
            () = self.accept(listener) => {}
            () = sleep(outage.saturating_sub(self.history.now())) => {}
        }
        let from = self.history.now();
        lock(&self.notes).outage = Some((from, from + OUTAGE));
        self.history.fault("queue", format_args!("Gone"));
        sleep(OUTAGE).await;
        let listener = TcpListener::bind(self.address).await.expect("its own port is still free");
        let now = self.history.now();
        lock(&self.notes).outage = Some((from, now));
        self.accept(listener).await;
    }

    async fn accept(self: &Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.expect("a listener on loopback accepts");
                    connections.spawn(Arc::clone(self).converse(stream));
                }
                Some(ended) = connections.join_next() => {
                    if let Err(panicked) = ended {
                        self.history.wrong(format!("a connection of the proxy failed: {panicked}"));
                    }
                }
            }
        }
    }

    async fn converse(self: Arc<Self>, client: TcpStream) -> io::Result<()> {
        let mut client = Wire::new(client)?;
        let mut queue = Wire::new(TcpStream::connect(self.queue).await?)?;
        while let Some(request) = client.request().await? {
            let call = Call::of(&request);
            let asked = self.history.now();
            lock(&self.notes).asked(&call, asked);
            let (fault, pause) = self.draw(&call);
            if let Some(fault) = fault {
                self.history.fault(call.action, fault);
                lock(&self.notes).faulted(&call, self.history.now());
            }
            client = match self.pass(client, &mut queue, &request, &call, (fault, pause)).await? {
                Then::On(client) => client,
                Then::End => return Ok(()),
            };
            lock(&self.notes).told(&call, asked, self.history.now());
        }
        Ok(())
    }

    /// The fault of the next call, if any, and how long it takes if it is a slow one.
    fn draw(&self, call: &Call) -> (Option<Fault>, Duration) {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut rng = self.chance.of(number).rng();
        let fault = Fault::draw(&mut rng, self.chance.storm(self.history.now()), call.action);
        (fault.filter(|_| !self.history.is_calm()), millis(&mut rng, 50..700))
    }

    async fn pass(
        &self,
        mut client: Wire,
        queue: &mut Wire,
        request: &Message,
        call: &Call,
        (fault, pause): (Option<Fault>, Duration),
    ) -> io::Result<Then> {
        if let Some(answer) = fault.and_then(Fault::instead) {
            client.write(&answer).await?;
            return Ok(Then::On(client));
        }
        match fault {
            Some(Fault::Reset) => {
                client.reset();
                return Ok(Then::End);
            }
            Some(Fault::SlowRequest) => sleep(pause).await,
            _ => {}
        }
        queue.write(&request.raw).await?;
        let answer = tokio::select! {
            answer = queue.response() => answer?,
            () = client.hung_up() => return Ok(Then::End),
        };
        lock(&self.notes).answered(call, &answer, self.history.now());
        let answered = self.history.now();
        match fault {
            Some(Fault::SlowAnswer) => sleep(pause).await,
            Some(Fault::AnswerDropped) => return Ok(Then::End),
            Some(Fault::AnswerCut) => {
                client.write(&answer.raw[..answer.raw.len() - answer.body.len() / 2 - 1]).await?;
                return Ok(Then::End);
            }
            Some(Fault::ErrorAfterEffect) => {
                client.write(&Fault::internal_error()).await?;
                return Ok(Then::On(client));
            }
            _ => {}
        }
        client.write(&answer.raw).await?;
        lock(&self.notes).passed(call, &answer, self.history.now().saturating_sub(answered));
        Ok(Then::On(client))
    }
}
