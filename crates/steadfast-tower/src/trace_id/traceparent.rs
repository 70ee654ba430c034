use http::{HeaderMap, HeaderName, HeaderValue};
use steadfast_core::context::{SpanId, TraceId};

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The flags that this version of the standard knows: sampled, and that the id is random.
const KNOWN_FLAGS: u8 = 0b11;

/// Which trace a request belongs to, and what in it has sent the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TraceParent {
    pub(super) trace_id: TraceId,
    pub(super) parent: SpanId,
    pub(super) flags: u8,
}

impl TraceParent {
    /// The flags of a trace that begins here: recorded, with a random id.
    pub(super) const STARTED: u8 = KNOWN_FLAGS;

    /// Reads the one header that there may be; several, like a malformed one, are none.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        match (values.next(), values.next()) {
            (Some(only), None) => Self::parse(only.to_str().ok()?),
            _ => None,
        }
    }

    /// Parses `version-traceid-parentid-flags`. Of a later version the parts that this one knows
    /// are read, as the standard demands.
    fn parse(text: &str) -> Option<Self> {
        let (known, later) = text.split_at_checked(55)?;
        let mut parts = known.split('-');
        let version = byte(parts.next()?)?;
        let trace_id = parts.next()?.parse().ok()?;
        let parent = parts.next()?.parse().ok()?;
        let flags = byte(parts.next()?)?;
        let ends_well = match version {
            0 => later.is_empty(),
            0xff => false,
            _ => later.is_empty() || later.starts_with('-'),
        };
        (ends_well && parts.next().is_none()).then_some(Self {
            trace_id,
            parent,
            // Those of a later version mean nothing to whom this is passed on as version 00.
            flags: flags & KNOWN_FLAGS,
        })
    }

    /// Writes `00-traceid-parentid-flags`: in place, since every call is told it.
    pub(super) fn to_value(self) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(&self.trace_id.digits());
        text[36..52].copy_from_slice(&self.parent.digits());
        // Only the two lowest bits of the flags are known.
        text[54] += self.flags & KNOWN_FLAGS;
        HeaderValue::from_bytes(&text).expect("digits and dashes only")
    }
}

/// Reads two lower-case digits.
fn byte(text: &str) -> Option<u8> {
    let lower = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == 2 && text.bytes().all(lower))
        .then(|| u8::from_str_radix(text, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const PARENT: &str = "b7ad6b7169203331";

    fn read(values: &[&str]) -> Option<TraceParent> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(TRACEPARENT, value.parse().unwrap());
        }
        TraceParent::read(&headers)
    }

    #[test]
    fn what_the_standard_allows_is_read() {
        for (text, flags) in [
            (format!("00-{TRACE}-{PARENT}-01"), 1),
            (format!("00-{TRACE}-{PARENT}-00"), 0),
            (format!("00-{TRACE}-{PARENT}-ff"), 3),
            (format!("01-{TRACE}-{PARENT}-01"), 1),
            (
                format!("cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like"),
                1,
            ),
        ] {
            let parsed = read(&[&text]).unwrap_or_else(|| panic!("refused: {text}"));

            assert_eq!(
                parsed.to_value(),
                format!("00-{TRACE}-{PARENT}-{flags:02x}").as_str()
            );
        }
    }

    #[test]
    fn what_the_standard_forbids_is_not() {
        let upper = TRACE.to_uppercase();
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            format!("00-{TRACE}-{PARENT}"),
            format!("00-{TRACE}-{PARENT}-1"),
            format!("00-{TRACE}-{PARENT}-01-"),
            format!("00-{TRACE}-{PARENT}-01-more"),
            format!("00-{TRACE}-{PARENT}-0A"),
            format!("00-{upper}-{PARENT}-01"),
            format!("00-{zeros}-{PARENT}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{TRACE}-{PARENT}-+1"),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("cc-{TRACE}-{PARENT}-01.what"),
            format!("0-{TRACE}-{PARENT}-001"),
            format!("00_{TRACE}_{PARENT}_01"),
            format!("00-{}-{PARENT}-01", "é".repeat(16)),
        ] {
            assert_eq!(read(&[&text]), None, "{text}");
        }
    }

    #[test]
    fn of_two_headers_none_is_believed() {
        let text = format!("00-{TRACE}-{PARENT}-01");

        assert_eq!(read(&[&text, &text]), None);
    }
}
