//! Which attempt a call is, as a header: so that layers and services know of each other's retries.

use http::{HeaderMap, HeaderName, HeaderValue};
use steadfast_core::decide::budget::AttemptMark;

pub(crate) const ATTEMPT: HeaderName = HeaderName::from_static("x-steadfast-attempt");

/// Reads the mark; several are as good as none.
pub(crate) fn read(headers: &HeaderMap) -> Option<AttemptMark> {
    let mut values = headers.get_all(ATTEMPT).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    AttemptMark::parse(value.to_str().ok()?)
}

pub(crate) fn value(mark: AttemptMark) -> HeaderValue {
    HeaderValue::try_from(mark.to_string()).expect("digits and a slash")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mark_is_read_back_and_several_are_none() {
        let mark = AttemptMark::new(2, 3).unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(read(&headers), None);

        headers.append(ATTEMPT, value(mark));
        assert_eq!(read(&headers), Some(mark));

        headers.append(ATTEMPT, value(mark));
        assert_eq!(read(&headers), None);
    }
}
