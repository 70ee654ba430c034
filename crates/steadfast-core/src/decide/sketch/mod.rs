//! How long things took lately, from many threads, in fixed memory.
//!
//! # The problem
//!
//! A timeout, a hedge and a diagram all ask the same question: below which time did 99 % of the
//! calls of the last seconds lie? Each call of each thread has a part in the answer, and the price
//! of taking part is paid by every call.
//!
//! # Why the usual answers fail
//!
//! A mean says nothing about the tail, and a moving average of a percentile is the percentile of
//! nothing. A list of the last thousand values covers an hour of a quiet route and a tenth of a
//! second of a busy one. A sample that is drawn at random misses the one call in a thousand that
//! the question is about. Buckets whose bounds are set by hand are too coarse where the answer
//! lies. A histogram behind a lock makes all threads queue for the bookkeeping of what they did in
//! parallel. And one that counts since the start of the process answers about last week.
//!
//! # The tool
//!
//! [`Sketch`] counts values into cells that grow with the value, 32 an octave: whatever the answer
//! is, it is known to 1/32, and finding the cell is a shift. It holds a ring of time windows, each
//! with its own cells, so that the past falls off. Recording is two relaxed additions and waits
//! for nobody; a window that is needed again is emptied ahead of time by the one thread that turned
//! the ring. The page of its parts says which interleavings are possible, and a model tries them.
//!
//! [`Histogram`] is a reading, in plain numbers: quantiles, count, sum, maximum; readings merge
//! without loss. [`Memory`] is what a rule that learns keeps of many readings.
//!
//! | bound | default | reason |
//! |---|---|---|
//! | [`Sketch::RELATIVE_ERROR`] | 1/32 | always upward: a timeout from it is not too short |
//! | [`Sketch::LONGEST_NS`] | 137 s | beyond any call that should be waited for |
//! | [`Sketch::MAX_WINDOWS`] | 120 | two minutes of seconds, in 417 KiB: [`Sketch::memory_bytes`] |
//! | [`Memory::KEEP`] | 0.9 a lesson | ten seconds at one a second |
//! | [`Memory::KEPT`] | 500 values | five of them lie above the 99th percentile |
//!
//! # What it cannot tell
//!
//! How long calls would have taken that were cut short: they must be recorded by whoever cut them,
//! or the sketch shows only the fast ones. See [`timeout`](crate::decide::timeout).

mod histogram;
mod live;
mod memory;
mod ring;
mod scale;

#[cfg(all(test, steadfast_loom))]
mod loom;

pub use histogram::Histogram;
pub use live::{InvalidSketch, Sketch};
pub use memory::Memory;
pub(in crate::decide) use ring::Ring;
