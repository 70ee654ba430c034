//! Keeps values whose code is not ours from doing harm.

use std::error::Error;
use std::fmt::{self, Write};

use crate::panic::Panic;
use crate::recover;

/// How much of an error's text is kept, in bytes: 1,024, a few lines of a log. An error may hold
/// a whole response body.
pub(super) const ERROR_BYTES_MAX: usize = 1_024;

/// Writes an error and its sources, one after the other, into a text of at most
/// [`ERROR_BYTES_MAX`] bytes. A `Display` that panics is contained.
pub(super) fn bounded_text(error: &(dyn Error + 'static)) -> String {
    let mut text = Bounded(String::new());
    let written = recover(|| write_chain(&mut text, error));
    if let Err(panic) = written {
        // The first panic says where; what was written before it is still worth reading.
        return format!("{} (its text panicked: {})", text.0, panic.message());
    }
    text.0
}

fn write_chain(text: &mut Bounded, error: &(dyn Error + 'static)) {
    // Sources may form a ring, or a chain that is made as it is walked.
    const SOURCES_MAX: usize = 16;

    // A write fails once the text is full, and the rest is cut on purpose.
    let _ = write!(text, "{error}");
    let mut next = error.source();
    for _ in 0..SOURCES_MAX {
        let Some(source) = next else { break };
        let _ = write!(text, ": {source}");
        next = source.source();
    }
}

struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let left = ERROR_BYTES_MAX - self.0.len();
        let head = crate::text::head(part, left);
        self.0.push_str(head);
        if head.len() == part.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

/// Calls user code for each of the values, one panicking call after the other.
pub(super) fn for_each_contained<'a, T: 'a>(
    values: impl IntoIterator<Item = &'a T>,
    mut call: impl FnMut(&T),
) {
    for value in values {
        // The hook has reported it, and there is nobody to hand it to.
        let _: Result<(), Panic> = recover(|| call(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Endless;

    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str("ééééééé")?;
            }
        }
    }

    impl Error for Endless {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self)
        }
    }

    #[derive(Debug)]
    struct Bomb;

    impl fmt::Display for Bomb {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("so far, so good")?;
            panic!("in Display")
        }
    }

    impl Error for Bomb {}

    #[test]
    fn the_text_of_an_error_is_bounded_whatever_the_error_writes() {
        let text = bounded_text(&Endless);

        assert!(text.len() <= ERROR_BYTES_MAX && text.len() > ERROR_BYTES_MAX - 2);
    }

    #[test]
    fn an_error_whose_display_panics_still_says_what_it_can() {
        let text = bounded_text(&Bomb);

        assert_eq!(text, "so far, so good (its text panicked: in Display)");
    }
}
