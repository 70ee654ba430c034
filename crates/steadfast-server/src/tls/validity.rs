//! From when until when a certificate holds. Only as much of its encoding is read as that takes.

/// Seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from_s: i64,
    pub(crate) until_s: i64,
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Reads it from a certificate; nothing if that is none.
pub(super) fn validity(certificate: &[u8]) -> Option<Validity> {
    let mut certificate = certificate;
    let (mut outer, _) = element(&mut certificate, SEQUENCE)?;
    let (mut inner, _) = element(&mut outer, SEQUENCE)?;
    // A version, or none; then the number, the algorithm, and who has signed it.
    if inner.first() == Some(&VERSION) {
        any(&mut inner)?;
    }
    for _ in 0..3 {
        any(&mut inner)?;
    }
    let (mut times, _) = element(&mut inner, SEQUENCE)?;
    Some(Validity {
        from_s: time(&mut times)?,
        until_s: time(&mut times)?,
    })
}

/// Takes an element of a kind.
fn element<'d>(from: &mut &'d [u8], kind: u8) -> Option<(&'d [u8], u8)> {
    let (value, found) = any(from)?;
    (found == kind).then_some((value, found))
}

/// Takes whatever comes next: what is in it, and its kind.
fn any<'d>(from: &mut &'d [u8]) -> Option<(&'d [u8], u8)> {
    let (&kind, rest) = from.split_first()?;
    let (&short, mut rest) = rest.split_first()?;
    let length = if short < 0x80 {
        usize::from(short)
    } else {
        // Longer than 64 KiB is no certificate.
        let bytes = usize::from(short & 0x7f);
        if !(1..=2).contains(&bytes) {
            return None;
        }
        let (long, after) = rest.split_at_checked(bytes)?;
        rest = after;
        long.iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte))
    };
    let (value, after) = rest.split_at_checked(length)?;
    *from = after;
    Some((value, kind))
}

fn time(from: &mut &[u8]) -> Option<i64> {
    let (text, kind) = any(from)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match kind {
        // Two digits of a year, which are of 1950 to 2049.
        UTC_TIME if text.get(..2)? >= "50" => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", text).ok()?;
    let time = jiff::tz::TimeZone::UTC.to_timestamp(time).ok()?;
    Some(time.as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate as far as it is read.
    fn certificate(times: &[u8]) -> Vec<u8> {
        let wrap =
            |kind: u8, value: &[u8]| [&[kind, u8::try_from(value.len()).unwrap()], value].concat();
        let number = wrap(2, &[1]);
        let inner = [
            wrap(VERSION, &number),
            number,
            wrap(SEQUENCE, &[]),
            wrap(SEQUENCE, &[]),
            wrap(SEQUENCE, times),
        ];
        wrap(SEQUENCE, &wrap(SEQUENCE, &inner.concat()))
    }

    #[test]
    fn both_forms_of_time_are_read_and_nothing_else_is() {
        let of = |times: &[u8]| validity(&certificate(times));
        let times = b"\x17\x0d261130000000Z\x18\x0f20501130000001Z";

        let Validity { from_s, until_s } = of(times).unwrap();
        assert_eq!((from_s, until_s), (1_795_996_800, 2_553_379_201));
        assert_eq!(
            of(b"\x17\x0d991231235959Z\x17\x0d000101000000Z")
                .unwrap()
                .until_s
                - of(b"\x17\x0d991231235959Z\x17\x0d000101000000Z")
                    .unwrap()
                    .from_s,
            1
        );
        assert_eq!(of(b"\x17\x0d261130000000Z"), None);
        assert_eq!(of(b"\x17\x0d269930000000Z\x17\x0d261130000000Z"), None);
        assert_eq!(of(b"\x04\x0d261130000000Z\x17\x0d261130000000Z"), None);
    }

    #[test]
    fn what_was_cut_off_or_damaged_is_no_certificate() {
        let whole = certificate(b"\x17\x0d261130000000Z\x18\x0f20501130000001Z");

        for length in 0..whole.len() {
            assert_eq!(validity(&whole[..length]), None, "{length}");
        }
        for place in 0..whole.len() {
            for byte in 0..=u8::MAX {
                let mut damaged = whole.clone();
                damaged[place] = byte;
                let _ = validity(&damaged);
            }
        }
    }
}
