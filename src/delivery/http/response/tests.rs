//! Against a table, in pieces of every size, and against hyper's own client on generated input.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper::header::RETRY_AFTER;
use hyper_util::rt::TokioIo;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// What a response comes to: its status and `Retry-After`, and whether its body came through.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    head: Option<(u16, Option<HeaderValue>)>,
    whole: bool,
}

/// Reads what comes in these pieces until the response is over or the connection ends.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Read, Result<bool, Fault>) {
    let mut reader = Reader::default();
    let mut ended = Ok(());
    for piece in pieces {
        ended = reader.feed(piece);
        if ended.is_err() || reader.is_over() {
            break;
        }
    }
    if ended.is_ok() && !reader.is_over() {
        ended = reader.end();
    }
    let reusable = ended.clone().map(|()| reader.is_reusable());
    let head = reader.into_head().map(|head| (head.status.as_u16(), head.retry_after));
    (Read { head, whole: ended.is_ok() }, reusable)
}

fn ended(text: &str) -> Result<bool, Fault> {
    read([text.as_bytes()]).1
}

const NOT_HTTP: fn(&'static str) -> Result<bool, Fault> = |why| Err(Fault::NotHttp(why));

#[test]
fn a_connection_is_used_again_where_the_response_ends_by_itself_and_the_peer_means_to_go_on() {
    for again in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 500 \r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 204 None\r\ncontent-length: 7\r\n\r\n",
        "HTTP/1.1 304 Same\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\ncontent-length: x\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0002 \t;a=\"b\"\r\nok\r\nA\r\n0123456789\r\n0\r\nx: y\r\n\r\n",
        "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 103 Hint\r\nx: y\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
    ] {
        assert_eq!(ended(again), Ok(true), "{again}");
    }
    for once in [
        "HTTP/1.1 200 OK\r\nconnection: x, CLOSE\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\n\r\nuntil it closes",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nuntil it closes",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more",
        "HTTP/1.1 101 Other\r\nupgrade: x\r\n\r\n",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        assert_eq!(ended(once), Ok(false), "{once}");
    }
}

#[test]
fn what_is_cut_off_or_no_http_is_a_fault() {
    for cut in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-len",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
        "HTTP/1.1 100 Go\r\n\r\n",
    ] {
        assert_eq!(ended(cut), Err(Fault::Incomplete), "{cut}");
    }
    for (response, why) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "invalid version"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "invalid status line"),
        ("HTTP/1.1 099 OK\r\n\r\n", "invalid status"),
        ("HTTP/1.1 200 OK\r\na b: c\r\n\r\n", "invalid header name"),
        ("HTTP/1.1 200 OK\r\na: b\0\r\n\r\n", "invalid header value"),
        ("HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n", "invalid content-length"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "contradictory content-length"),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "HTTP/1.0 has no transfer encoding"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n", "invalid chunk"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\nok", "invalid chunk"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokay", "invalid chunk"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n11111111111111111\r\n", "invalid chunk"),
    ] {
        assert_eq!(ended(response), NOT_HTTP(why), "{response}");
    }
}

#[test]
fn a_body_is_read_up_to_the_cap_and_a_head_too() {
    let long = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(MAX_RESPONSE_BODY + 1));
    assert_eq!(ended(&long), Ok(false));
    let most = "x".repeat(MAX_RESPONSE_BODY);
    assert_eq!(ended(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{most}", most.len())), Ok(true));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
    assert_eq!(ended(&many), Err(Fault::TooLarge));
    let endless = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(MAX_HEAD));
    assert_eq!(read(endless.as_bytes().chunks(1000)).1, Err(Fault::TooLarge));
}

#[test]
fn empty_lines_before_a_head_are_passed_over_and_not_gathered() {
    let mut reader = Reader::default();
    for byte in b"\r\n".repeat(10_000) {
        reader.feed(&[byte]).unwrap();
        assert!(reader.begun.len() <= 4);
    }
    reader.feed(b"\n\r\nHTTP/1.1 204 None\r\n\r\n").unwrap();
    assert!(reader.is_over());
}

#[test]
fn the_first_retry_after_is_kept() {
    let (read, _) = read([b"HTTP/1.1 429 No\r\nRetry-After: 5\r\nretry-after: 6\r\n\r\n".as_slice()]);
    assert_eq!(read.head, Some((429, Some(HeaderValue::from_static("5")))));
}

/// What hyper makes of a response after which the connection ends.
async fn hypers(response: Vec<u8>) -> Read {
    let (ours, theirs) = duplex(1 << 20);
    let (mut sender, connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
    let request = Request::post("/").header("host", "h").body(Full::new(Bytes::from_static(b"x"))).unwrap();
    let answer = async {
        let Ok(response) = sender.send_request(request).await else {
            return Read { head: None, whole: false };
        };
        let head = (response.status().as_u16(), response.headers().get(RETRY_AFTER).cloned());
        Read { head: Some(head), whole: response.into_body().collect().await.is_ok() }
    };
    let (read, _, ()) = tokio::join!(answer, connection, respond(theirs, response));
    read
}

async fn respond(mut stream: DuplexStream, response: Vec<u8>) {
    let mut request = [0; 4096];
    assert!(stream.read(&mut request).await.unwrap() > 0);
    stream.write_all(&response).await.unwrap();
}

/// Responses and what is nearly one: lines of a head in any order, and bodies that fit them or not.
fn responses() -> impl Strategy<Value = Vec<u8>> {
    let first = select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 500 \r\n",
        "HTTP/1.1 204 None\r\n",
        "HTTP/1.1 304 Same\r\n",
        "HTTP/1.1 410 Gone\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 200\n",
        "HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\n",
        "HTTP/1.1 103 Hint\r\ncontent-length: 5\r\n\r\nHTTP/1.1 429 Slow\r\n",
        "\r\nHTTP/1.1 200 OK\r\n",
        "HTTP/2 200 OK\r\n",
    ]);
    let line = select(vec![
        "content-length: 2\r\n",
        "Content-Length: 2, 2\r\n",
        "content-length: 02\r\n",
        "content-length: 5\r\n",
        "content-length: -2\r\n",
        "content-length: \r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding:CHUNKED \r\n",
        "connection: close\r\n",
        "retry-after: 7\r\n",
        "retry-after: \u{e9}\r\n",
        "x-folded: a\r\n b\r\n",
        "x-empty:\r\n",
        "x-bare: a\n",
        "x space: a\r\n",
    ]);
    let body = select(vec![
        "ok",
        "2\r\nok\r\n",
        "1;x=y\r\no\r\n",
        "3 \r\nyes\r\n",
        "0\r\n\r\n",
        "0\r\nx: y\r\n\r\n",
        "00000\r\n",
        "\r\n",
        "x",
        "fffffffffffffffff\r\n",
        "2\nok\n",
        "",
    ]);
    let mutations =
        vec((any::<prop::sample::Index>(), prop::option::of(select(b"\r\n 0:;,xH\0".to_vec()))), 0..3);
    (first, vec(line, 0..4), vec(body, 0..5), mutations).prop_map(|(first, lines, body, mutations)| {
        let mut bytes = [first, &lines.concat(), "\r\n", &body.concat()].concat().into_bytes();
        for (at, byte) in mutations {
            let at = at.index(bytes.len());
            match byte {
                Some(byte) => bytes[at] = byte,
                None => drop(bytes.remove(at)),
            }
            if bytes.is_empty() {
                break;
            }
        }
        bytes
    })
}

proptest! {
    // The same cases every time: hyper is free to differ in what no server sends.
    #![proptest_config(ProptestConfig { cases: 10_000, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn hyper_reads_the_same(response in responses()) {
        // Trailers, which nobody heeds, it judges by rules of its own.
        if response.windows(5).any(|five| five.starts_with(b"0\r\n") && !five.ends_with(b"\r\n")) {
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let theirs = runtime.block_on(hypers(response.clone()));
        prop_assert_eq!(read([response.as_slice()]).0, theirs, "{}", response.escape_ascii());
    }

    #[test]
    fn the_pieces_make_no_difference(response in responses(), size in 1_usize..9) {
        let (whole, in_pieces) = (read([response.as_slice()]), read(response.chunks(size)));
        prop_assert_eq!(&whole.0, &in_pieces.0, "{}", response.escape_ascii());
        // What comes behind a response may be seen or not.
        if whole.1 == Ok(true) {
            prop_assert_eq!(in_pieces.1, Ok(true));
        }
    }
}
