//! The span that sent a message, as producers name it: a `traceparent` of W3C Trace Context in a message
//! attribute, or X-Ray's header in the system attribute `AWSTraceHeader`.
//!
//! Both are a producer's own text. What is not exactly of its format counts as absent: a job is delivered
//! whatever its trace is.

/// The message attribute, named as the header is.
pub const TRACEPARENT: &str = "traceparent";

/// No longer value is looked at. Version 00 of `traceparent` has 55 bytes and X-Ray's three fields some 75; the
/// rest is for later versions and for fields that are added on the way.
const MAX_LENGTH: usize = 512;

/// A span elsewhere: the parent of what is done for its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; not zero.
    pub trace_id: u128,
    /// The span in it; not zero.
    pub span_id: u64,
    /// Whether the producer records it.
    pub sampled: bool,
    /// Whether the message has a usable `AWSTraceHeader`, so that those who take its job understand that.
    pub xray: bool,
}

impl TraceContext {
    /// Reads what a message brings; `traceparent` goes before `AWSTraceHeader`.
    #[must_use]
    pub fn read(traceparent: Option<&str>, aws: Option<&str>) -> Option<Self> {
        let aws = aws.and_then(Self::of_xray);
        let w3c = traceparent.and_then(Self::of_traceparent);
        w3c.map(|parent| Self { xray: aws.is_some(), ..parent }).or(aws)
    }

    /// `00-{trace id, 32 hex}-{span id, 16 hex}-{flags, 2 hex}`, lower case. A later version may have more
    /// behind another hyphen.
    fn of_traceparent(text: &str) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let mut fields = text.split('-');
        let version = hex(fields.next()?, 2)?;
        let trace_id = hex(fields.next()?, 32)?;
        let span_id = hex(fields.next()?, 16)?;
        let flags = hex(fields.next()?, 2)?;
        if version == 0xff || (version == 0 && fields.next().is_some()) {
            return None;
        }
        Self::of(trace_id, span_id, flags & 1 == 1, false)
    }

    /// `Root=1-{8 hex}-{24 hex};Parent={16 hex};Sampled=1`, in any order, among fields of any other name.
    /// Without a parent there is no span to be the child of. `Sampled=?` leaves the decision to whoever comes
    /// next, which is not to record: nobody asked for it.
    fn of_xray(text: &str) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let (mut root, mut parent, mut sampled) = (None, None, None);
        for field in text.split(';').map(str::trim).filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=')?;
            let known = match name {
                "Root" => &mut root,
                "Parent" => &mut parent,
                "Sampled" => &mut sampled,
                _ => continue,
            };
            if known.replace(value).is_some() {
                return None;
            }
        }
        let (seconds, rest) = root?.strip_prefix("1-")?.split_once('-')?;
        let trace_id = (hex(seconds, 8)? << 96) | hex(rest, 24)?;
        let sampled = match sampled {
            Some("1") => true,
            Some("0" | "?") | None => false,
            Some(_) => return None,
        };
        Self::of(trace_id, hex(parent?, 16)?, sampled, true)
    }

    fn of(trace_id: u128, span_id: u128, sampled: bool, xray: bool) -> Option<Self> {
        let span_id = u64::try_from(span_id).ok()?;
        (trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id, sampled, xray })
    }
}

/// A number of exactly that many digits, in lower case.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let plain = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == digits && text.bytes().all(plain)).then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE_ID: u128 = 0x5759_e988_bd86_2e3f_e1be_46a9_9427_2793;
    const SPAN_ID: u64 = 0x5399_5c3f_42cd_8ad8;
    const W3C: &str = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01";
    const XRAY: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

    fn of(sampled: bool, xray: bool) -> TraceContext {
        TraceContext { trace_id: TRACE_ID, span_id: SPAN_ID, sampled, xray }
    }

    #[test]
    fn a_traceparent_is_taken_as_w3c_writes_it() {
        assert_eq!(TraceContext::of_traceparent(W3C), Some(of(true, false)));
        let with = |flags: &str| TraceContext::of_traceparent(&format!("{}{flags}", &W3C[..53]));
        assert_eq!(
            [with("00"), with("02"), with("ff")],
            [Some(of(false, false)), Some(of(false, false)), Some(of(true, false))]
        );
        let later = format!("cc{}-what-the-future-brings", &W3C[2..]);
        assert_eq!(TraceContext::of_traceparent(&later), Some(of(true, false)));
    }

    #[test]
    fn a_traceparent_that_is_none_is_ignored() {
        let zeros = |range: std::ops::Range<usize>| {
            let mut text = W3C.to_owned();
            text.replace_range(range.clone(), &"0".repeat(range.len()));
            text
        };
        for text in [
            "",
            "00",
            &W3C[..54],
            &format!("{W3C}0"),
            &format!("{W3C}-00"),
            &format!(" {W3C}"),
            &format!("ff{}", &W3C[2..]),
            &W3C.to_uppercase(),
            &W3C.replace('-', "_"),
            &W3C.replace("-01", "-é"),
            &W3C.replace('5', "+"),
            &zeros(3..35),
            &zeros(36..52),
            &format!("01{}-{}", &W3C[2..], "a".repeat(MAX_LENGTH)),
        ] {
            assert_eq!(TraceContext::of_traceparent(text), None, "{text:?}");
        }
    }

    #[test]
    fn x_rays_header_is_taken_in_any_order_with_fields_of_others() {
        for text in [
            XRAY,
            "Sampled=1;Parent=53995c3f42cd8ad8;Root=1-5759e988-bd862e3fe1be46a994272793",
            "Root=1-5759e988-bd862e3fe1be46a994272793; Parent=53995c3f42cd8ad8; Sampled=1; Lineage=a:1|b:2;",
            "Self=1-1-2;Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
        ] {
            assert_eq!(TraceContext::of_xray(text), Some(of(true, true)), "{text:?}");
        }
        for sampled in ["", ";Sampled=0", ";Sampled=?"] {
            assert_eq!(TraceContext::of_xray(&XRAY.replace(";Sampled=1", sampled)), Some(of(false, true)));
        }
    }

    #[test]
    fn x_rays_header_that_is_none_is_ignored() {
        for text in [
            "",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1",
            "Parent=53995c3f42cd8ad8;Sampled=1",
            &XRAY.replace("Root=1-", "Root=2-"),
            &XRAY.replace("5759e988-", "5759e988"),
            &XRAY.replace("5759e988", "00000000").replace("bd862e3fe1be46a994272793", &"0".repeat(24)),
            &XRAY.replace("53995c3f42cd8ad8", "0000000000000000"),
            &XRAY.replace("53995c3f42cd8ad8", "53995C3F42CD8AD8"),
            &XRAY.replace("Sampled=1", "Sampled=yes"),
            &XRAY.replace("Sampled=1", "Sampled"),
            &format!("{XRAY};Parent=53995c3f42cd8ad8"),
            &format!("{XRAY};Lineage={}", "a".repeat(MAX_LENGTH)),
        ] {
            assert_eq!(TraceContext::of_xray(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_traceparent_goes_before_x_rays_header_which_is_remembered() {
        let other = W3C.replace("5759e988", "00000001");
        let read = TraceContext::read(Some(&other), Some(XRAY)).unwrap();
        assert_eq!((read.trace_id >> 96, read.xray), (1, true));
        assert_eq!(TraceContext::read(Some("nonsense"), Some(XRAY)), Some(of(true, true)));
        assert_eq!(TraceContext::read(Some(W3C), Some("nonsense")), Some(of(true, false)));
        assert_eq!(TraceContext::read(None, None), None);
    }
}
