//! The two headers that are lists: `tracestate` and `baggage`.

use std::collections::HashSet;

use http::{HeaderMap, HeaderName};

pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(super) const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// How many members `tracestate` may have; with more it is malformed as a whole.
const TRACESTATE_MEMBERS: usize = 32;

/// How long the `tracestate` may be that is passed on, in bytes: as long as the standard demands.
const TRACESTATE_BYTES: usize = 512;

/// Members longer than this go first when a `tracestate` is too long, says the standard.
const TRACESTATE_LONG: usize = 128;

/// How many members of `baggage` are passed on: as many as the standard demands.
const BAGGAGE_MEMBERS: usize = 64;

/// How long the `baggage` may be that is passed on, in bytes: as long as the standard demands.
const BAGGAGE_BYTES: usize = 8_192;

/// Reads all `tracestate` headers as one list, and shortens it by whole members. A malformed
/// member makes the whole list worthless.
pub(super) fn tracestate(headers: &HeaderMap) -> Option<Box<str>> {
    let mut members = Vec::new();
    let mut keys = HashSet::new();
    for member in members_of(headers, &TRACESTATE) {
        let member = member?;
        let (key, value) = member.split_once('=')?;
        if !is_tracestate_key(key) || !is_tracestate_value(value) {
            return None;
        }
        if members.len() >= TRACESTATE_MEMBERS {
            return None;
        }
        // The first of equal keys is the newest.
        if keys.insert(key) {
            members.push(member);
        }
    }
    while joined_len(&members) > TRACESTATE_BYTES {
        let long = |member: &&str| member.len() > TRACESTATE_LONG;
        let last = members.len() - 1;
        members.remove(members.iter().rposition(long).unwrap_or(last));
    }
    joined(&members)
}

/// Reads all `baggage` headers as one list, without malformed members and those over the limits.
pub(super) fn baggage(headers: &HeaderMap) -> Option<Box<str>> {
    let mut members = Vec::new();
    let mut len = 0;
    for member in members_of(headers, &BAGGAGE).flatten() {
        let fits = members.len() < BAGGAGE_MEMBERS && len + member.len() <= BAGGAGE_BYTES;
        if !fits {
            break;
        }
        if is_baggage_member(member) {
            // With the comma.
            len += member.len() + 1;
            members.push(member);
        }
    }
    joined(&members)
}

/// Gives the members of all headers of this name, without the empty ones; `None` for a header
/// that is not text.
fn members_of<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = Option<&'a str>> {
    let texts = headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().ok());
    texts.flat_map(|text| {
        let members = text.unwrap_or_default().split(',').map(trimmed);
        let malformed = text.is_none().then_some(None);
        malformed
            .into_iter()
            .chain(members.filter(|member| !member.is_empty()).map(Some))
    })
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn joined_len(members: &[&str]) -> usize {
    members
        .iter()
        .map(|member| member.len() + 1)
        .sum::<usize>()
        .saturating_sub(1)
}

fn joined(members: &[&str]) -> Option<Box<str>> {
    (!members.is_empty()).then(|| members.join(",").into())
}

fn is_tracestate_key(key: &str) -> bool {
    let known = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    let begins =
        key.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    begins && key.len() <= 256 && key.bytes().all(known)
}

fn is_tracestate_value(value: &str) -> bool {
    let known = |byte| matches!(byte, b' '..=b'~') && byte != b',' && byte != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(known) && !value.ends_with(' ')
}

/// `key = value`, and properties after semicolons, which may be keys alone.
fn is_baggage_member(member: &str) -> bool {
    let mut parts = member.split(';').map(trimmed);
    let pair = |part: &str| {
        part.split_once('=').is_some_and(|(key, value)| {
            is_token(key.trim_end_matches([' ', '\t']))
                && is_baggage_value(value.trim_start_matches([' ', '\t']))
        })
    };
    parts.next().is_some_and(pair) && parts.all(|property| is_token(property) || pair(property))
}

/// A token of HTTP.
fn is_token(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(known)
}

fn is_baggage_value(value: &str) -> bool {
    value
        .bytes()
        .all(|byte| matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), value.parse().unwrap());
        }
        headers
    }

    fn state(values: &[&str]) -> Option<String> {
        tracestate(&headers(TRACESTATE, values)).map(Into::into)
    }

    fn bag(values: &[&str]) -> Option<String> {
        baggage(&headers(BAGGAGE, values)).map(Into::into)
    }

    #[test]
    fn several_headers_are_one_list_in_order() {
        assert_eq!(state(&["a=1, b=2", "", "c=3,"]).unwrap(), "a=1,b=2,c=3");
        assert_eq!(bag(&["a=1", " b = 2 ;p;q=3 "]).unwrap(), "a=1,b = 2 ;p;q=3");
    }

    #[test]
    fn one_malformed_member_takes_the_tracestate_along() {
        for malformed in [
            "a",
            "=1",
            "a=",
            "A=1",
            "a =1",
            "-a=1",
            "a=b=c",
            "é=1",
            "a@b@=x,é",
            "a=1\u{7f}",
        ] {
            let list = format!("good=1,{malformed}");
            let Ok(value) = http::HeaderValue::from_bytes(list.as_bytes()) else {
                continue;
            };
            let mut headers = HeaderMap::new();
            headers.append(TRACESTATE, value);

            assert_eq!(tracestate(&headers), None, "{malformed}");
        }
        let too_many: Vec<_> = (0..33).map(|i| format!("k{i}=1")).collect();
        assert_eq!(state(&[&too_many.join(",")]), None);
        assert!(state(&[&too_many[..32].join(",")]).is_some());
        assert_eq!(state(&["t@v=1, 0a=2"]).unwrap(), "t@v=1,0a=2");
    }

    #[test]
    fn of_equal_keys_the_newest_stays() {
        assert_eq!(state(&["a=new,b=1,a=old"]).unwrap(), "a=new,b=1");
    }

    #[test]
    fn a_long_tracestate_loses_long_members_first_then_those_at_the_end() {
        let long = format!("long={}", "x".repeat(200));
        let short: Vec<_> = (0..5).map(|i| format!("s{i}={}", "y".repeat(90))).collect();
        let list = format!("{long},{}", short.join(","));

        assert_eq!(state(&[&list]).unwrap(), short.join(","));
        let six = format!("{},s5={}", short.join(","), "y".repeat(90));
        assert_eq!(state(&[&six]).unwrap(), short.join(","));
    }

    #[test]
    fn malformed_baggage_is_left_out_alone() {
        assert_eq!(
            bag(&["a=1,b,c=\"x\",d d=1,e=%20,f="]).unwrap(),
            "a=1,e=%20,f="
        );
        assert_eq!(bag(&["b", ";"]), None);
    }

    #[test]
    fn baggage_is_bounded_in_members_and_bytes() {
        let many: Vec<_> = (0..100).map(|i| format!("k{i}=1")).collect();
        assert_eq!(
            bag(&[&many.join(",")]).unwrap(),
            many[..BAGGAGE_MEMBERS].join(",")
        );

        let huge = format!("k={}", "x".repeat(BAGGAGE_BYTES));
        assert_eq!(bag(&["a=1", &huge, "b=1"]).unwrap(), "a=1");
    }

    proptest! {
        #[test]
        fn what_is_passed_on_is_valid_and_bounded_and_stays_as_it_is(
            values in prop::collection::vec("[ -~]{0,300}", 0..4),
        ) {
            let values: Vec<_> = values.iter().map(String::as_str).collect();

            if let Some(list) = state(&values) {
                prop_assert!(list.len() <= TRACESTATE_BYTES);
                prop_assert_eq!(state(&[&list]), Some(list));
            }
            if let Some(list) = bag(&values) {
                prop_assert!(list.len() <= BAGGAGE_BYTES);
                prop_assert_eq!(bag(&[&list]), Some(list));
            }
        }
    }
}
