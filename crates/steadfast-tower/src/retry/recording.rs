//! The body of a request, kept as it streams, for attempts that may follow.

use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use steadfast_core::BoxError;

use super::RetryBodyError;

/// How much of a request's body is kept: 64 KiB, with its trailers. That is the body of nearly
/// every call that is one of many; what is larger is an upload, and whoever sends one knows
/// better when to send it again.
pub(super) const KEPT_BYTES_MAX: usize = 64 * 1024;

/// One body, for all attempts of a call.
///
/// Invariants:
/// 1. Unless it is `too_long`, `kept` and `trailers` are all that `body` has given so far,
///    as long as another attempt may follow.
/// 2. Only the newest attempt takes from `body`, and only after it was given all that is kept.
pub(super) struct Recording<B> {
    state: Mutex<State<B>>,
}

struct State<B> {
    /// Absent when it has ended, failed, or panicked.
    body: Option<Pin<Box<B>>>,
    ended: bool,
    kept: BytesMut,
    trailers: Option<HeaderMap>,
    /// It is longer than what is kept.
    too_long: bool,
    /// Another attempt may follow.
    recording: bool,
    attempt: u8,
    /// How much of what is kept the newest attempt was given.
    given: usize,
    trailers_given: bool,
    /// Of whoever waits for the next frame.
    waker: Option<Waker>,
}

/// Why a body cannot be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// It is longer than [`KEPT_BYTES_MAX`].
    TooLong,
    /// It has failed, or panicked.
    Broken,
}

impl<B> Recording<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(body: B) -> Self {
        let state = State {
            body: Some(Box::pin(body)),
            ended: false,
            kept: BytesMut::new(),
            trailers: None,
            too_long: false,
            recording: true,
            attempt: 1,
            given: 0,
            trailers_given: false,
            waker: None,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Tells why another attempt cannot have it, if so.
    pub(super) fn gone(&self) -> Option<Gone> {
        let state = self.state();
        match &state.body {
            _ if state.too_long => Some(Gone::TooLong),
            None if !state.ended => Some(Gone::Broken),
            _ => None,
        }
    }

    /// Gives it to another attempt, from the beginning; the one before has it no more.
    pub(super) fn rewind(&self, attempt: u8) {
        let mut state = self.state();
        state.attempt = attempt;
        state.given = 0;
        state.trailers_given = false;
        let waker = state.waker.take();
        drop(state);
        // A connection that still sends it would wait for ever.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// No other attempt follows.
    pub(super) fn settle(&self) {
        let mut state = self.state();
        state.recording = false;
        state.forget_given();
    }

    pub(super) fn poll_frame(
        &self,
        attempt: u8,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RetryBodyError>>> {
        let mut state = self.state();
        if state.attempt != attempt {
            return Poll::Ready(Some(Err(RetryBodyError::superseded())));
        }
        if let Some(frame) = state.replayed() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        // Taken out for the poll: one that panics is not polled again.
        let Some(mut body) = state.body.take() else {
            return Poll::Ready(Some(Err(RetryBodyError::broken())));
        };
        let Poll::Ready(polled) = body.as_mut().poll_frame(cx) else {
            state.body = Some(body);
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(match polled {
            None => {
                state.ended = true;
                None
            }
            Some(Err(error)) => Some(Err(RetryBodyError::inner(error.into()))),
            Some(Ok(frame)) => {
                state.keep(&frame);
                state.body = Some(body);
                Some(Ok(frame))
            }
        })
    }

    pub(super) fn is_end_stream(&self, attempt: u8) -> bool {
        let state = self.state();
        let replayed =
            state.given >= state.kept.len() && (state.trailers_given || state.trailers.is_none());
        let ended = match &state.body {
            Some(body) => body.is_end_stream(),
            None => state.ended,
        };
        // One that is another's by now ends with an error, which nobody must miss.
        state.attempt == attempt && replayed && ended
    }

    pub(super) fn size_hint(&self, attempt: u8) -> SizeHint {
        let state = self.state();
        if state.attempt != attempt {
            return SizeHint::default();
        }
        let replayed = state.kept.len().saturating_sub(state.given) as u64;
        let rest = match &state.body {
            Some(body) => body.size_hint(),
            None if state.ended => SizeHint::with_exact(0),
            None => SizeHint::default(),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(replayed));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(replayed));
        }
        hint
    }

    fn state(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> State<B> {
    /// What the newest attempt has not been given of what is kept.
    fn replayed(&mut self) -> Option<Frame<Bytes>> {
        if self.given < self.kept.len() {
            let frame = Bytes::copy_from_slice(&self.kept[self.given..]);
            self.given = self.kept.len();
            self.forget_given();
            return Some(Frame::data(frame));
        }
        if self.trailers_given {
            return None;
        }
        let trailers = self.trailers.clone()?;
        self.trailers_given = true;
        Some(Frame::trailers(trailers))
    }

    /// Keeps a frame that the newest attempt is given now.
    fn keep(&mut self, frame: &Frame<Bytes>) {
        if !self.recording || self.too_long {
            return;
        }
        let size = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => data.len(),
            (_, Some(trailers)) => trailers
                .iter()
                .map(|(name, value)| name.as_str().len() + value.len())
                .sum(),
            _ => 0,
        };
        if self.kept.len().saturating_add(size) > KEPT_BYTES_MAX {
            self.too_long = true;
            self.kept = BytesMut::new();
            self.given = 0;
            return;
        }
        if let Some(data) = frame.data_ref() {
            // Copied: a frame of one byte may hold on to a buffer of any size.
            self.kept.extend_from_slice(data);
            self.given = self.kept.len();
        }
        if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
            self.trailers_given = true;
        }
    }

    fn forget_given(&mut self) {
        if !self.recording && self.given >= self.kept.len() {
            self.kept = BytesMut::new();
            self.given = 0;
        }
    }
}
