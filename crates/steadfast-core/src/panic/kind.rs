use std::fmt;

/// Who raised a panic, as far as its message tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A check of the language or the standard library failed.
    RuntimeCheck(Check),
    /// Code said `panic!`, `assert!`, `expect` or `panic_any`. A message that was written to look
    /// like a runtime check's cannot be told from one.
    User,
    /// Nothing tells: the payload was raised without the hook, or the standard library panicked
    /// with a message that is not known here.
    Unknown,
}

/// Which check failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Check {
    /// An index was not within the length.
    Index,
    /// A range was not within the length, the wrong way round, or not at a character's border.
    Slice,
    /// A division or remainder by zero, or one that overflows.
    Division,
    /// Arithmetic overflowed.
    Overflow,
    /// `unwrap` found `None`.
    UnwrapNone,
    /// `unwrap` found `Err`, or `unwrap_err` found `Ok`.
    UnwrapErr,
    /// A `RefCell` was borrowed twice in ways that exclude each other.
    Borrow,
    /// Slices of different lengths were copied.
    CopyLength,
    /// A thread-local was used after it was destroyed.
    ThreadLocalGone,
    /// A future was polled after it had ended.
    PolledAfterEnd,
}

/// Beginnings of the messages of the standard library, stable over many releases; the first that
/// fits decides.
const CHECKS: &[(&str, Check)] = &[
    ("index out of bounds: ", Check::Index),
    ("removal index (is ", Check::Index),
    ("insertion index (is ", Check::Index),
    ("swap_remove index (is ", Check::Index),
    ("`at` split index (is ", Check::Index),
    ("range start index ", Check::Slice),
    ("range end index ", Check::Slice),
    ("slice index starts at ", Check::Slice),
    ("byte index ", Check::Slice),
    ("start byte index ", Check::Slice),
    ("end byte index ", Check::Slice),
    ("begin <= end (", Check::Slice),
    ("begin > end (", Check::Slice),
    ("attempted to index slice ", Check::Slice),
    ("mid > len", Check::Slice),
    ("failed to slice string", Check::Slice),
    ("attempt to divide by zero", Check::Division),
    ("attempt to divide with overflow", Check::Division),
    ("attempt to calculate the remainder ", Check::Division),
    (
        "divide by zero error when dividing duration",
        Check::Division,
    ),
    ("attempt to ", Check::Overflow),
    ("overflow when ", Check::Overflow),
    ("called `Option::unwrap()` on a `None`", Check::UnwrapNone),
    ("called `Result::unwrap()` on an `Err`", Check::UnwrapErr),
    ("called `Result::unwrap_err()` on an `Ok`", Check::UnwrapErr),
    ("already borrowed", Check::Borrow),
    ("already mutably borrowed", Check::Borrow),
    ("RefCell already ", Check::Borrow),
    ("copy_from_slice: source slice length", Check::CopyLength),
    ("source slice length (", Check::CopyLength),
    (
        "cannot access a Thread Local Storage value",
        Check::ThreadLocalGone,
    ),
    ("`async fn` resumed after", Check::PolledAfterEnd),
];

impl Kind {
    /// Judges by the message; `in_std` says that the place of the panic is in the standard
    /// library's own sources.
    pub(super) fn of_message(message: &str, in_std: bool) -> Self {
        let check = CHECKS
            .iter()
            .find(|(beginning, _)| message.starts_with(beginning));
        match check {
            Some((_, Check::Overflow))
                if !message.ends_with(" with overflow")
                    && !message.starts_with("overflow when ") =>
            {
                Kind::User
            }
            Some((_, check)) => Kind::RuntimeCheck(*check),
            None if in_std => Kind::Unknown,
            None => Kind::User,
        }
    }

    /// Gives a short stable word for labels and log fields.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Unknown => "unknown",
            Kind::RuntimeCheck(check) => match check {
                Check::Index => "index",
                Check::Slice => "slice",
                Check::Division => "division",
                Check::Overflow => "overflow",
                Check::UnwrapNone => "unwrap_none",
                Check::UnwrapErr => "unwrap_err",
                Check::Borrow => "borrow",
                Check::CopyLength => "copy_length",
                Check::ThreadLocalGone => "thread_local_gone",
                Check::PolledAfterEnd => "polled_after_end",
            },
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
