//! One HTTP/1 response out of bytes, in whatever pieces they come (RFC 9112).
//!
//! Of the head the status and what a webhook's sender heeds are kept; the body's bytes are counted and
//! let go. As long as a head comes in one piece, nothing is copied. What cannot be told apart from a
//! cut or a smuggled response is a fault, never a guess.

use std::mem::{MaybeUninit, take};

use hyper::StatusCode;
use hyper::header::HeaderValue;

use super::MAX_RESPONSE_BODY;

/// A response's headers, whatever they are; receivers of webhooks send a dozen lines.
const MAX_HEAD: usize = 64 * 1024;
/// Lines of a head; more are refused, as by the common clients.
const MAX_HEADERS: usize = 100;

/// The response breaks HTTP, or broke off.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// The connection ended first.
    #[error("it was closed before the response was complete")]
    Incomplete,
    /// More headers than are read.
    #[error("the response's headers are too large")]
    TooLarge,
    /// What came is no response.
    #[error("the response is not HTTP ({0})")]
    NotHttp(&'static str),
}

/// What a final response's head says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub status: StatusCode,
    pub retry_after: Option<HeaderValue>,
    /// The peer means to go on with the connection.
    keep_alive: bool,
}

/// Reads one response.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The beginning of a head whose end has not come.
    begun: Vec<u8>,
    head: Option<Head>,
    state: State,
    /// Bytes of the body.
    data: usize,
    /// Something came behind the response.
    excess: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Over,
    /// The body is longer than is read.
    Enough,
}

/// Where in a chunked body the next byte belongs.
#[derive(Clone, Copy, Debug)]
struct Chunked {
    at: Place,
    /// Of the chunk: what is left of it.
    left: u64,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// Before the first digit of a size.
    Start,
    Size,
    /// White space between a size and what ends it.
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// Where a trailer, or the empty line that ends it all, begins.
    Line,
    Trailer,
    TrailerLf,
    EndLf,
}

impl Reader {
    /// Takes what came next. What comes behind the response is not looked at.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while !bytes.is_empty() {
            let used = match &mut self.state {
                State::Head => match self.head(bytes)? {
                    Some(used) => used,
                    None => return Ok(()),
                },
                State::Length(left) => {
                    let data = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= data as u64;
                    self.data += data;
                    if *left == 0 {
                        self.state = State::Over;
                    }
                    data
                }
                State::Chunked(chunked) => {
                    let (used, data, over) = chunked.take(bytes)?;
                    self.data += data;
                    if over {
                        self.state = State::Over;
                    }
                    used
                }
                State::UntilClose => {
                    self.data += bytes.len();
                    bytes.len()
                }
                State::Over | State::Enough => {
                    self.excess = true;
                    return Ok(());
                }
            };
            if self.data > MAX_RESPONSE_BODY {
                self.state = State::Enough;
            }
            bytes = bytes.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    /// The connection ended.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        match self.state {
            State::UntilClose => self.state = State::Over,
            State::Over | State::Enough => {}
            State::Head | State::Length(_) | State::Chunked(_) => return Err(Fault::Incomplete),
        }
        self.excess = true;
        Ok(())
    }

    /// Whether the final response's head has come.
    pub(super) fn is_answered(&self) -> bool {
        self.head.is_some()
    }

    /// Whether nothing more is to be read.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over | State::Enough)
    }

    /// Whether another request may follow on the connection.
    pub(super) fn is_reusable(&self) -> bool {
        let keep_alive = self.head.as_ref().is_some_and(|head| head.keep_alive);
        matches!(self.state, State::Over) && !self.excess && keep_alive
    }

    /// The head, if it has come.
    pub(super) fn into_head(self) -> Option<Head> {
        self.head
    }

    /// Reads a head, or more of one. Says how many of `bytes` belong to it, once its end has come.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let before = self.begun.len();
        if before == 0 {
            let blank = blank(bytes);
            let rest = bytes.get(blank..).unwrap_or_default();
            if let Some(end) = self.parse(rest)? {
                return Ok(Some(blank + end));
            }
            self.begun = rest.to_vec();
            return self.more();
        }
        self.begun.extend_from_slice(bytes);
        // Until then it need not be read again from its beginning.
        if !has_empty_line(self.begun.get(before.saturating_sub(3)..).unwrap_or_default()) {
            return self.more();
        }
        let mut begun = take(&mut self.begun);
        if let Some(end) = self.parse(&begun)? {
            return Ok(Some(end.saturating_sub(before)));
        }
        begun.drain(..blank(&begun));
        self.begun = begun;
        self.more()
    }

    /// A head is not there yet.
    fn more(&self) -> Result<Option<usize>, Fault> {
        if self.begun.len() > MAX_HEAD { Err(Fault::TooLarge) } else { Ok(None) }
    }

    fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        let mut headers = [MaybeUninit::uninit(); MAX_HEADERS];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            bytes,
            &mut headers,
        );
        let end = match parsed {
            Ok(httparse::Status::Complete(end)) => end,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Fault::TooLarge),
            Err(httparse::Error::HeaderName) => return Err(Fault::NotHttp("invalid header name")),
            Err(httparse::Error::HeaderValue) => return Err(Fault::NotHttp("invalid header value")),
            Err(httparse::Error::Version) => return Err(Fault::NotHttp("invalid version")),
            Err(_) => return Err(Fault::NotHttp("invalid status line")),
        };
        let code = response.code.unwrap_or_default();
        let status = StatusCode::from_u16(code).map_err(|_| Fault::NotHttp("invalid status"))?;
        // 101 is final: what follows it is another protocol.
        if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Some(end));
        }
        let fields = Fields::of(response.headers);
        let is_http10 = response.version == Some(0);
        self.state = match status {
            StatusCode::SWITCHING_PROTOCOLS | StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => {
                State::Over
            }
            _ => match (fields.chunked, is_http10) {
                (Some(_), true) => return Err(Fault::NotHttp("HTTP/1.0 has no transfer encoding")),
                (Some(true), false) => State::Chunked(Chunked { at: Place::Start, left: 0 }),
                (Some(false), false) => State::UntilClose,
                // A length counts only where there is no encoding.
                (None, _) => match fields.length.transpose()? {
                    Some(0) => State::Over,
                    Some(length) => State::Length(length),
                    None => State::UntilClose,
                },
            },
        };
        let keep_alive = match self.state {
            State::UntilClose => false,
            _ if status == StatusCode::SWITCHING_PROTOCOLS => false,
            _ if is_http10 => fields.keep_alive && !fields.close,
            _ => !fields.close,
        };
        self.head = Some(Head { status, retry_after: fields.retry_after, keep_alive });
        Ok(Some(end))
    }
}

/// What is heeded of a head's fields.
#[derive(Default)]
struct Fields {
    /// To be asked for only where it counts.
    length: Option<Result<u64, Fault>>,
    /// Whether the last transfer encoding is `chunked`; `None` if there is none.
    chunked: Option<bool>,
    close: bool,
    keep_alive: bool,
    retry_after: Option<HeaderValue>,
}

impl Fields {
    fn of(headers: &[httparse::Header<'_>]) -> Self {
        let mut fields = Self::default();
        for header in headers {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("content-length") {
                fields.length = Some(length(header.value, fields.length.take()));
            } else if is("transfer-encoding") {
                fields.chunked = Some(
                    tokens(header.value).last().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked")),
                );
            } else if is("connection") {
                for token in tokens(header.value) {
                    fields.close |= token.eq_ignore_ascii_case(b"close");
                    fields.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                }
            } else if is("retry-after") && fields.retry_after.is_none() {
                fields.retry_after = HeaderValue::from_bytes(header.value).ok();
            }
        }
        fields
    }
}

/// A length, which may be repeated but not contradicted.
fn length(value: &[u8], before: Option<Result<u64, Fault>>) -> Result<u64, Fault> {
    let mut found = before.transpose()?;
    for token in tokens(value) {
        let digits =
            std::str::from_utf8(token).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
        let length = digits.and_then(|digits| digits.parse().ok());
        let length = length.ok_or(Fault::NotHttp("invalid content-length"))?;
        if found.replace(length).is_some_and(|before| before != length) {
            return Err(Fault::NotHttp("contradictory content-length"));
        }
    }
    found.ok_or(Fault::NotHttp("invalid content-length"))
}

fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// How long the empty lines are that a head may have before it.
fn blank(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some(behind) = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")) {
        rest = behind;
    }
    bytes.len() - rest.len()
}

fn has_empty_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|two| two == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

impl Chunked {
    /// Says how many bytes belong to the body, how many of them are data, and whether it is over.
    fn take(&mut self, bytes: &[u8]) -> Result<(usize, usize, bool), Fault> {
        let (mut used, mut data) = (0, 0);
        while let Some(byte) = bytes.get(used) {
            if matches!(self.at, Place::Data) {
                let some = (bytes.len() - used).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                used += some;
                data += some;
                self.left -= some as u64;
                if self.left == 0 {
                    self.at = Place::DataCr;
                }
                continue;
            }
            used += 1;
            if matches!(self.at, Place::EndLf) && *byte == b'\n' {
                return Ok((used, data, true));
            }
            self.at = self.step(*byte)?;
        }
        Ok((used, data, false))
    }

    /// Where the byte after this one belongs; none of the data.
    fn step(&mut self, byte: u8) -> Result<Place, Fault> {
        const BAD: Fault = Fault::NotHttp("invalid chunk");
        Ok(match (self.at, byte) {
            (Place::Start | Place::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let size = self.left.checked_mul(16).and_then(|size| size.checked_add(digit.into()));
                self.left = size.ok_or(BAD)?;
                Place::Size
            }
            (Place::Size | Place::Blank, b' ' | b'\t') => Place::Blank,
            (Place::Size | Place::Blank | Place::Extension, b'\r') => Place::SizeLf,
            (Place::SizeLf, b'\n') if self.left == 0 => Place::Line,
            (Place::SizeLf, b'\n') => Place::Data,
            (Place::DataCr, b'\r') => Place::DataLf,
            (Place::DataLf, b'\n') => Place::Start,
            (Place::Line, b'\r') => Place::EndLf,
            (Place::Trailer, b'\r') => Place::TrailerLf,
            (Place::TrailerLf, b'\n') => Place::Line,
            // A line feed alone ends nothing: who took it for an end would read another body.
            (Place::Extension | Place::Line | Place::Trailer, b'\n') => return Err(BAD),
            (Place::Size | Place::Blank, b';') | (Place::Extension, _) => Place::Extension,
            (Place::Line | Place::Trailer, _) => Place::Trailer,
            _ => return Err(BAD),
        })
    }
}

#[cfg(test)]
mod tests;
