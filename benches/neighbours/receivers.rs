//! The receivers: one that takes everything at once and knows when each job was sent, and those of hostile tenants.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use super::measured::now_us;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A server's first frame, SETTINGS without a setting, and the acknowledgement of the client's.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const SETTINGS_ACK: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];
const WINDOW_UPDATE: &[u8] = &[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// How a receiver behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Takes everything at once.
    Healthy,
    /// Takes everything after so long.
    Slow(Duration),
    /// Reads and never answers.
    Hangs,
    /// Answers no more than three in four requests.
    HangsInFour,
    /// Sends 400 KB of response header and no end of it.
    EndlessHeader,
    /// Over HTTP/2: informational responses without end.
    Flood103,
    /// Over HTTP/2: SETTINGS without end.
    FloodSettings,
    /// Over HTTP/2: `WINDOW_UPDATE`s without end.
    FloodWindow,
}

/// What came, and how late.
#[derive(Debug, Default)]
pub struct Arrivals {
    pub count: AtomicU64,
    pub late_us: Mutex<Vec<u64>>,
}

/// A receiver on every address of the loopback.
#[derive(Debug)]
pub struct Receiver {
    pub port: u16,
    pub arrivals: Arc<Arrivals>,
    /// The authority of a receiver over TLS, as PEM.
    pub authority: Option<String>,
}

impl Receiver {
    pub fn start(manner: Manner) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(([0, 0, 0, 0], 0).into())?;
        let listener = socket.listen(4096)?;
        let port = listener.local_addr()?.port();
        let arrivals = Arc::<Arrivals>::default();
        let over_tls = matches!(manner, Manner::Flood103 | Manner::FloodSettings | Manner::FloodWindow);
        let (acceptor, authority) = over_tls.then(acceptor).transpose()?.unzip();
        tokio::spawn(accept(listener, manner, Arc::clone(&arrivals), acceptor));
        Ok(Self { port, arrivals, authority })
    }

    /// Its URL at one of the loopback's addresses.
    pub fn url(&self, host: u32) -> String {
        let [_, b, c, d] = (host + 1).to_be_bytes();
        match self.authority {
            Some(_) => format!("https://localhost:{}/", self.port),
            None => format!("http://127.{b}.{c}.{d}:{}/", self.port),
        }
    }
}

/// A certificate of its own for this machine, which speaks HTTP/2 alone.
fn acceptor() -> anyhow::Result<(TlsAcceptor, String)> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])?.self_signed(&key)?;
    let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), certificate.pem()))
}

async fn accept(
    listener: TcpListener,
    manner: Manner,
    arrivals: Arc<Arrivals>,
    acceptor: Option<TlsAcceptor>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (arrivals, acceptor) = (Arc::clone(&arrivals), acceptor.clone());
        // A connection that breaks is the worker's affair.
        tokio::spawn(async move {
            drop(stream.set_nodelay(true));
            match acceptor {
                Some(acceptor) => match acceptor.accept(stream).await {
                    Ok(stream) => flood(stream, manner).await.ok(),
                    Err(_) => None,
                },
                None => serve(stream, manner, &arrivals).await.ok(),
            }
        });
    }
}

async fn serve(mut stream: TcpStream, manner: Manner, arrivals: &Arrivals) -> anyhow::Result<()> {
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let (head, length) = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break (end + 4, content_length(buffer.get(..end).unwrap_or_default())?);
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        while buffer.len() < head + length {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        match manner {
            Manner::Healthy => arrivals.arrived(buffer.get(head..head + length).unwrap_or_default()),
            Manner::Slow(after) => {
                sleep(after).await;
                arrivals.count.fetch_add(1, Ordering::Relaxed);
            }
            Manner::EndlessHeader => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
                for n in 0..50 {
                    stream.write_all(format!("x-{n}: {}\r\n", "y".repeat(8_000)).as_bytes()).await?;
                }
                std::future::pending::<()>().await;
            }
            Manner::HangsInFour => {
                let count = arrivals.count.fetch_add(1, Ordering::Relaxed);
                if (count.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33).is_multiple_of(4) {
                    std::future::pending::<()>().await;
                }
            }
            Manner::Hangs | Manner::Flood103 | Manner::FloodSettings | Manner::FloodWindow => {
                std::future::pending::<()>().await;
            }
        }
        buffer.drain(..head + length);
        stream.write_all(OK).await?;
    }
}

/// Takes whatever the client sends and sends frames without end, once there is a request.
async fn flood(stream: impl AsyncRead + AsyncWrite, manner: Manner) -> anyhow::Result<()> {
    let (mut read, mut write) = tokio::io::split(stream);
    write.write_all(SETTINGS).await?;
    write.write_all(SETTINGS_ACK).await?;
    let mut stream_id = [0, 0, 0, 1];
    let mut received = vec![0; 64 * 1024];
    // The preface and a request of no more than a few kilobytes: what opens the stream is its first HEADERS frame.
    let mut seen = Vec::new();
    while !has_headers(&seen, &mut stream_id) {
        let count = read.read(&mut received).await?;
        anyhow::ensure!(count > 0, "it has gone");
        seen.extend_from_slice(received.get(..count).unwrap_or_default());
    }
    let frame = match manner {
        Manner::FloodSettings => SETTINGS.to_vec(),
        Manner::FloodWindow => WINDOW_UPDATE.to_vec(),
        // ":status: 103", its name from the static table, and a field.
        _ => {
            let block = [&[0x08, 3][..], b"103", &[0, 1], b"x", &[1], b"y"].concat();
            let length = u8::try_from(block.len())?;
            [&[0, 0, length, 1, 4][..], &stream_id, &block].concat()
        }
    };
    let many = frame.repeat(1000);
    let reading = async { while read.read(&mut received).await.is_ok_and(|count| count > 0) {} };
    let writing = async { while write.write_all(&many).await.is_ok() {} };
    tokio::join!(reading, writing);
    Ok(())
}

/// Whether what came has a HEADERS frame behind the preface; says of which stream.
fn has_headers(seen: &[u8], stream_id: &mut [u8; 4]) -> bool {
    let mut rest = seen.get(24..).unwrap_or_default();
    while let Some((head, after)) = rest.split_first_chunk::<9>() {
        let [a, b, c, kind, _, id @ ..] = *head;
        if kind == 1 {
            *stream_id = id;
            return true;
        }
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        rest = after.get(length..).unwrap_or_default();
    }
    false
}

fn content_length(head: &[u8]) -> anyhow::Result<usize> {
    let mut lines = std::str::from_utf8(head)?.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, length) =
        lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length")).context("no length")?;
    Ok(length.trim().parse()?)
}

impl Arrivals {
    fn arrived(&self, body: &[u8]) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(body);
        let sent = text
            .split_once("\"sent_us\":")
            .and_then(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next())
            .and_then(|digits| digits.parse::<u64>().ok());
        if let Some(sent) = sent {
            self.late().push(now_us().saturating_sub(sent));
        }
    }

    pub fn late(&self) -> std::sync::MutexGuard<'_, Vec<u64>> {
        self.late_us.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
