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
    let usual = |number: u8| {
        (1..=MOST)
            .contains(&number)
            .then(|| usize::from(number - 1))
    };
    match (usual(mark.attempt()), usual(mark.of())) {
        (Some(attempt), Some(of)) => {
            let at = 3 * (attempt * usize::from(MOST) + of);
            HeaderValue::from_static(&USUAL[at..at + 3])
        }
        _ => HeaderValue::try_from(mark.to_string()).expect("digits and a slash"),
    }
}

/// Up to how many attempts marks are there already, since every call has one: 9, of one digit.
const MOST: u8 = 9;

/// One after the other, three bytes each.
static USUAL: &str = {
    const MARKS: [u8; 3 * (MOST * MOST) as usize] = {
        let mut marks = [b'/'; 3 * (MOST * MOST) as usize];
        let mut at = 0;
        while at < MOST * MOST {
            marks[3 * at as usize] = b'1' + at / MOST;
            marks[3 * at as usize + 2] = b'1' + at % MOST;
            at += 1;
        }
        marks
    };
    match std::str::from_utf8(&MARKS) {
        Ok(marks) => marks,
        Err(_) => panic!("digits and slashes"),
    }
};

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

    #[test]
    fn every_mark_is_written_as_it_reads() {
        for of in 1..=12 {
            for attempt in 1..=of {
                let mark = AttemptMark::new(attempt, of).unwrap();
                assert_eq!(value(mark), mark.to_string().as_str());
            }
        }
    }
}
