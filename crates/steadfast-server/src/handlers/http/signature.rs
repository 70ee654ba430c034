//! Who has made a call, and that nobody has changed it.
//!
//! A signature is HMAC-SHA256, by the secret of the handler, over these lines, each ended by a line
//! feed, and the body behind them: `v1`, the time in seconds since 1970, the job, the term, what is
//! wanted (`run`, `beat`, `complete`, `fail`).
//!
//! It is told as `steadfast-signature: v1=HEX`, its time as `steadfast-timestamp`. Who checks it
//! compares the time with his own clock, so that an old call is of no use to whoever has heard it, and
//! the term with the highest that was seen of the job.

use hmac_sha256::HMAC;

/// The header of the signature, and what stands before it there.
pub(crate) const SIGNATURE: &str = "steadfast-signature";
const VERSION: &str = "v1=";

/// The header of the time.
pub(crate) const TIMESTAMP: &str = "steadfast-timestamp";

/// How far the clock of whoever calls may be off, and how long a call may be on its way: 5 min.
pub(crate) const SKEW_SECONDS: i64 = 300;

/// What is signed beside the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signed<'a> {
    pub(crate) at_s: i64,
    pub(crate) job: u64,
    pub(crate) term: u64,
    pub(crate) wanted: &'a str,
}

/// Gives the value of the header.
pub(crate) fn sign(secret: &str, signed: &Signed<'_>, body: &[u8]) -> String {
    let mac = mac(secret, signed, body);
    let digits = mac.iter().map(|byte| format!("{byte:02x}"));
    digits.fold(VERSION.to_owned(), |text, digits| text + &digits)
}

/// Tells whether the value of a header is the signature of this, at this time.
pub(crate) fn holds(
    secret: &str,
    signed: &Signed<'_>,
    body: &[u8],
    header: &str,
    now_s: i64,
) -> bool {
    let in_time = signed.at_s.abs_diff(now_s) <= SKEW_SECONDS.unsigned_abs();
    let expected = sign(secret, signed, body);
    let same_length = expected.len() == header.len();
    // In a time that does not depend on where they differ.
    let differs = expected
        .bytes()
        .zip(header.bytes())
        .fold(0, |differs, (one, other)| differs | (one ^ other));
    in_time && same_length && differs == 0
}

fn mac(secret: &str, signed: &Signed<'_>, body: &[u8]) -> [u8; 32] {
    let Signed {
        at_s,
        job,
        term,
        wanted,
    } = signed;
    let mut mac = HMAC::new(secret);
    mac.update(format!("v1\n{at_s}\n{job}\n{term}\n{wanted}\n"));
    mac.update(body);
    mac.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Signed<'_> = Signed {
        at_s: 1_774_695_600,
        job: 17,
        term: 3,
        wanted: "run",
    };

    /// Made by `printf 'v1\n1774695600\n17\n3\nrun\n{"n":1}' | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef`.
    const KNOWN: &str = "v1=9c99da0be6c319a55aca3cf9211bdf646dcd2cafd83aaaf193702e7f4f9cbd01";

    #[test]
    fn a_signature_is_what_others_make_of_it() {
        assert_eq!(
            sign("0123456789abcdef0123456789abcdef", &CALL, b"{\"n\":1}"),
            KNOWN
        );
    }

    #[test]
    fn whatever_is_changed_is_seen() {
        let header = sign("secret", &CALL, b"body");
        let check = |secret: &str, signed: Signed<'_>, body: &[u8], header: &str, now: i64| {
            holds(secret, &signed, body, header, now)
        };
        let now = CALL.at_s + 10;

        assert!(check("secret", CALL, b"body", &header, now));
        assert!(!check("Secret", CALL, b"body", &header, now));
        assert!(!check(
            "secret",
            Signed { job: 18, ..CALL },
            b"body",
            &header,
            now
        ));
        assert!(!check(
            "secret",
            Signed { term: 4, ..CALL },
            b"body",
            &header,
            now
        ));
        assert!(!check(
            "secret",
            Signed {
                wanted: "fail",
                ..CALL
            },
            b"body",
            &header,
            now
        ));
        assert!(!check(
            "secret",
            Signed {
                at_s: CALL.at_s + 1,
                ..CALL
            },
            b"body",
            &header,
            now
        ));
        assert!(!check("secret", CALL, b"bodY", &header, now));
        assert!(!check(
            "secret",
            CALL,
            b"body",
            &header[..header.len() - 1],
            now
        ));
        assert!(!check("secret", CALL, b"body", "", now));
        assert!(!check(
            "secret",
            CALL,
            b"body",
            &header,
            CALL.at_s + SKEW_SECONDS + 1
        ));
        assert!(!check(
            "secret",
            CALL,
            b"body",
            &header,
            CALL.at_s - SKEW_SECONDS - 1
        ));
    }
}
