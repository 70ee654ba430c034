use std::any::{Any, TypeId};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::clock;
use crate::context::{self, Context, Keys, ScopePath};
use crate::text::Text;

/// How much of a message a record keeps, in bytes: 240. The whole message is in the payload, for
/// as long as somebody holds the [`Panic`](super::Panic).
pub const MESSAGE_BYTES_MAX: usize = 240;

/// How many frames a record keeps: 64, the innermost ones. A deep recursion must not make the
/// hook slow just when things go wrong.
pub(super) const FRAMES_MAX: usize = 64;

/// What the hook knows about a panic: of fixed size, made without formatting.
pub(super) struct Record {
    pub(super) fingerprint: u64,
    pub(super) since: Instant,
    pub(super) message: Text<MESSAGE_BYTES_MAX>,
    pub(super) file: Text<120>,
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) thread: Text<32>,
    pub(super) path: ScopePath,
    pub(super) context: Context,
    pub(super) keys: Option<Keys>,
    payload_type: TypeId,
    /// Where the text of the payload is: it stays there while the payload is carried about.
    text: Option<(usize, usize)>,
    /// One of the first of its place in this second: has an event of its own, unless that was left
    /// out.
    pub(super) sampled: bool,
    /// Its stack, if it has a backtrace.
    pub(super) frames: Option<Box<Frames>>,
    pub(super) symbols: OnceLock<Arc<str>>,
    fate: AtomicU8,
    told: AtomicBool,
    /// The round of repeats that it belongs to, 0 for none. As `raised_again`, changed under the
    /// lock of the reporter alone, so that Relaxed is enough.
    round: AtomicU64,
    /// It was told as a repeat, and raised again after that.
    raised_again: AtomicBool,
}

/// What has become of a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Fate {
    /// Still unwinding, or caught by somebody else's `catch_unwind`.
    Open = 0,
    /// A catch of ours has it.
    Contained = 1,
}

impl Record {
    /// Collects everything but the backtrace.
    pub(super) fn of(info: &PanicHookInfo<'_>) -> Self {
        let payload = info.payload();
        let (file, line, column) = match info.location() {
            Some(place) => (place.file(), place.line(), place.column()),
            None => ("", 0, 0),
        };
        let (path, context, keys) =
            context::with(|frame| (frame.scope_path(), frame.block(), frame.keys().cloned()));
        let thread = std::thread::current();
        Self {
            fingerprint: fingerprint(file, line, column),
            since: clock::real(),
            message: Text::head(text_of(payload).unwrap_or("")),
            // The end of a path tells more than its beginning.
            file: Text::tail(file),
            line,
            column,
            thread: Text::head(thread.name().unwrap_or("")),
            path,
            context,
            keys,
            payload_type: payload.type_id(),
            text: place_of_text(payload),
            sampled: false,
            frames: None,
            symbols: OnceLock::new(),
            fate: AtomicU8::new(Fate::Open as u8),
            told: AtomicBool::new(false),
            round: AtomicU64::new(0),
            raised_again: AtomicBool::new(false),
        }
    }

    /// Tells whether `payload` can be that of this panic. Payloads have no identity, so the type
    /// and the place of the text must do: what does not fit was raised past the hook.
    pub(super) fn fits(&self, payload: &(dyn Any + Send)) -> bool {
        self.payload_type == payload.type_id() && self.text == place_of_text(payload)
    }

    /// Gives whether that is news.
    pub(super) fn set_fate(&self, fate: Fate) -> bool {
        // Relaxed: the flag alone is read, nothing is published with it.
        self.fate.swap(fate as u8, Ordering::Relaxed) != fate as u8
    }

    /// Tells whether there is nothing to wait for: its backtrace is there, or it has none.
    pub(super) fn symbols_known(&self) -> bool {
        self.frames.is_none() || self.symbols.get().is_some()
    }

    pub(super) fn round(&self) -> Option<u64> {
        Some(self.round.load(Ordering::Relaxed)).filter(|round| *round > 0)
    }

    pub(super) fn set_round(&self, round: Option<u64>) {
        self.round.store(round.unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn raised_again(&self) -> bool {
        self.raised_again.load(Ordering::Relaxed)
    }

    pub(super) fn set_raised_again(&self) {
        self.raised_again.store(true, Ordering::Relaxed);
    }

    /// Notes that there was a report of it; tells whether there had been one before.
    pub(super) fn told(&self) -> bool {
        self.told.swap(true, Ordering::Relaxed)
    }

    pub(super) fn fate(&self) -> Fate {
        match self.fate.load(Ordering::Relaxed) {
            0 => Fate::Open,
            _ => Fate::Contained,
        }
    }

    pub(super) fn in_std(&self) -> bool {
        let file = self.file.as_str();
        file.starts_with("/rustc/")
            || file.contains("/library/core/src/")
            || file.contains("/library/std/src/")
            || file.contains("/library/alloc/src/")
    }
}

/// Gives the message of a payload that is one, also when `panic_any` has wrapped another payload.
pub(super) fn text_of(payload: &(dyn Any + Send)) -> Option<&str> {
    let inner = payload.downcast_ref::<Box<dyn Any + Send>>();
    let payload = inner.map_or(payload, |inner| &**inner);
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

fn place_of_text(payload: &(dyn Any + Send)) -> Option<(usize, usize)> {
    text_of(payload).map(|text| (text.as_ptr() as usize, text.len()))
}

/// Mixes the place, eight bytes at a time: panics of one place are one group, and the group keeps
/// its name over restarts of one release. Byte by byte it took a tenth of the whole panic.
fn fingerprint(file: &str, line: u32, column: u32) -> u64 {
    const ODD: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(ODD).rotate_left(29);
    let (words, rest) = file.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let hash = words
        .iter()
        .chain([&last])
        .fold(file.len() as u64, |hash, word| {
            mix(hash, u64::from_le_bytes(*word))
        });
    mix(hash, u64::from(line) << 32 | u64::from(column))
}

/// The raw return addresses of a stack.
pub(super) struct Frames {
    addresses: [usize; FRAMES_MAX],
    len: usize,
}

impl Frames {
    pub(super) fn none() -> Box<Self> {
        Box::new(Self {
            addresses: [0; FRAMES_MAX],
            len: 0,
        })
    }

    pub(super) fn push(&mut self, address: usize) -> bool {
        self.addresses[self.len] = address;
        self.len += 1;
        self.len < FRAMES_MAX
    }

    pub(super) fn addresses(&self) -> &[usize] {
        &self.addresses[..self.len]
    }
}

#[cfg(test)]
impl Record {
    pub(super) fn example(fingerprint: u64, since: Instant) -> Self {
        Self {
            fingerprint,
            since,
            message: Text::head("example"),
            file: Text::tail("example.rs"),
            line: 1,
            column: 1,
            thread: Text::EMPTY,
            path: ScopePath::EMPTY,
            context: Context::new(),
            keys: None,
            payload_type: TypeId::of::<&'static str>(),
            text: None,
            sampled: false,
            frames: None,
            symbols: OnceLock::new(),
            fate: AtomicU8::new(Fate::Open as u8),
            told: AtomicBool::new(false),
            round: AtomicU64::new(0),
            raised_again: AtomicBool::new(false),
        }
    }
}
