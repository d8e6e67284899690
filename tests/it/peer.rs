//! Hand-written receivers, and the HTTP transport on its own.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hookferry::app::Target;
use hookferry::delivery::http::{Http, Settings};
use hookferry::egress::address_policy::AddressPolicy;
use hookferry::egress::resolver::{Lookup, Resolve, SystemResolver, Unresolved};
use hookferry::outcome::Outcome;
use hookferry::plan::Delivery;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Only ends a test that hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A receiver on the loopback that does with every connection what it was told.
pub struct Peer {
    pub address: SocketAddr,
    /// Every request that was read, in order, as `read_request` gives them.
    pub requests: Arc<Mutex<Vec<String>>>,
    pub connections: Arc<Mutex<usize>>,
    task: tokio::task::JoinHandle<()>,
}

/// A connection at a peer.
pub struct Accepted {
    pub stream: TcpStream,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    pub async fn new<F: Future<Output = ()> + Send + 'static>(
        serve: impl Fn(Accepted) -> F + Send + 'static,
    ) -> Self {
        Self::at("127.0.0.1:0", serve).await
    }

    pub async fn at<F: Future<Output = ()> + Send + 'static>(
        address: &str,
        serve: impl Fn(Accepted) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let connections: Arc<Mutex<usize>> = Arc::default();
        let (kept, counted) = (Arc::clone(&requests), Arc::clone(&connections));
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *counted.lock().unwrap() += 1;
                tokio::spawn(serve(Accepted { stream, requests: Arc::clone(&kept) }));
            }
        });
        Self { address, requests, connections, task }
    }

    /// Answers every request on every connection with `response`.
    pub async fn answering(response: &'static str) -> Self {
        Self::new(move |mut peer| async move {
            while peer.read_request().await.is_some() {
                peer.write(response).await;
            }
        })
        .await
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub fn seen(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    pub fn connected(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Accepted {
    /// The next request, head and body; `None` at the end of the connection.
    pub async fn read_request(&mut self) -> Option<String> {
        let request = read_request(&mut self.stream).await?;
        self.requests.lock().unwrap().push(request.clone());
        Some(request)
    }

    pub async fn write(&mut self, text: &str) {
        // The other end may have gone; what it saw is asserted there.
        drop(self.stream.write_all(text.as_bytes()).await);
    }

    /// Closes with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

pub async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if read.len() >= end + 4 + length {
                return Some(String::from_utf8(read).unwrap());
            }
        }
        match stream.read_buf(&mut read).await {
            Ok(0) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

pub const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Settings under which the loopback may be dialled.
pub fn loopback() -> Settings {
    Settings { policy: policy(&["127.0.0.0/8", "::1/128"]), ..Settings::default() }
}

pub fn policy(allowed: &[&str]) -> AddressPolicy {
    AddressPolicy::new(allowed.iter().map(|network| network.parse().unwrap())).unwrap()
}

pub fn http(settings: Settings) -> Http {
    Http::with_resolver(settings, Arc::new(SystemResolver::new().unwrap())).unwrap()
}

/// One attempt with a small body.
pub async fn attempt(http: &Http, url: &str) -> Outcome {
    deliver(http, url, &[], b"{}").await
}

pub async fn deliver(http: &Http, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Outcome {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let body = Bytes::copy_from_slice(body);
    let delivery = Delivery {
        app_id: "a".into(),
        webhook: "0".into(),
        target: Target::Http(url.to_owned()),
        body,
        headers,
        standard: None,
        timeout: None,
    };
    tokio::time::timeout(PATIENCE, http.attempt(url, &delivery, 1)).await.unwrap()
}

/// The reason of an outcome that is no success, in words.
pub fn reason(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered => panic!("it was delivered"),
        Outcome::Deferred(reason) | Outcome::Permanent(reason) | Outcome::Transient { reason, .. } => {
            reason.to_string()
        }
    }
}

/// Answers each look-up of a name with the next of its answers, the last one for ever.
#[derive(Debug, Default)]
pub struct Names {
    answers: HashMap<String, Vec<Vec<IpAddr>>>,
    pub asked: Mutex<Vec<String>>,
}

impl Names {
    pub fn new(name: &str, answers: &[&[&str]]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        let answers = HashMap::from([(name.to_owned(), answers.iter().map(parse).collect())]);
        Arc::new(Self { answers, asked: Mutex::default() })
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, name: &'a str) -> Lookup<'a> {
        let mut asked = self.asked.lock().unwrap();
        let before = asked.iter().filter(|earlier| *earlier == name).count();
        asked.push(name.to_owned());
        let answers = self.answers.get(name);
        let answer = answers.and_then(|answers| answers.get(before).or(answers.last())).cloned();
        Box::pin(std::future::ready(answer.ok_or(Unresolved)))
    }
}
