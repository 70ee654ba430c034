use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// How much of a request's body is kept for a second attempt: 64 KiB, as for a
/// [retry](crate::retry).
const KEPT_BYTES_MAX: u64 = 64 * 1024;

/// How many frames are looked at: 64. A body that is there as a whole has one or two, and one that
/// gives empty ones has no end.
const FRAMES_MAX: usize = 64;

pin_project! {
    /// The body of a request that may be sent a second time beside the first.
    pub struct HedgeBody<B>
    where
        B: Body,
    {
        // What was taken of it already, or all of it.
        frames: VecDeque<Taken>,
        #[pin]
        rest: Rest<B>,
    }
}

pin_project! {
    #[project = Projected]
    enum Rest<B>
    where
        B: Body,
    {
        // Of a call that is not hedged.
        Plain { #[pin] body: B },
        // Looked into, and not there as a whole.
        Boxed { body: Pin<Box<B>> },
        Failed { error: Option<B::Error> },
        // There was no more.
        Ended,
    }
}

/// A frame that can be sent again.
#[derive(Debug, Clone)]
pub(super) enum Taken {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl<B: Body<Data = Bytes>> HedgeBody<B> {
    /// As it comes.
    pub(super) fn plain(body: B) -> Self {
        Self::new(VecDeque::new(), Rest::Plain { body })
    }

    pub(super) fn whole(frames: VecDeque<Taken>) -> Self {
        Self::new(frames, Rest::Ended)
    }

    /// Takes what is there of a body; gives all its frames if that is the whole of it.
    pub(super) fn take(body: B) -> Result<VecDeque<Taken>, Self> {
        if body.is_end_stream() {
            return Ok(VecDeque::new());
        }
        let fits = |bytes: u64| bytes <= KEPT_BYTES_MAX;
        if !body.size_hint().upper().is_some_and(fits) {
            return Err(Self::plain(body));
        }
        let mut body = Box::pin(body);
        let (mut frames, mut bytes) = (VecDeque::new(), 0);
        // Whoever sends it asks again, with somebody to be woken.
        let mut nobody = Context::from_waker(Waker::noop());
        while frames.len() < FRAMES_MAX && fits(bytes) {
            match body.as_mut().poll_frame(&mut nobody) {
                Poll::Pending => break,
                Poll::Ready(None) => return Ok(frames),
                Poll::Ready(Some(Err(error))) => {
                    let error = Some(error);
                    return Err(Self::new(frames, Rest::Failed { error }));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(taken) = Taken::of(frame) {
                        bytes += taken.size();
                        frames.push_back(taken);
                    }
                    if body.is_end_stream() && fits(bytes) {
                        return Ok(frames);
                    }
                }
            }
        }
        Err(Self::new(frames, Rest::Boxed { body }))
    }

    fn new(frames: VecDeque<Taken>, rest: Rest<B>) -> Self {
        Self { frames, rest }
    }
}

impl Taken {
    fn of(frame: Frame<Bytes>) -> Option<Self> {
        let data = frame.into_data().map(Self::Data);
        let taken = data.or_else(|frame| frame.into_trailers().map(Self::Trailers));
        // There is no third kind.
        taken.ok()
    }

    fn into_frame(self) -> Frame<Bytes> {
        match self {
            Self::Data(data) => Frame::data(data),
            Self::Trailers(trailers) => Frame::trailers(trailers),
        }
    }

    fn size(&self) -> u64 {
        match self {
            Self::Data(data) => data.len() as u64,
            Self::Trailers(_) => 0,
        }
    }
}

impl<B: Body<Data = Bytes>> Body for HedgeBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if let Some(taken) = this.frames.pop_front() {
            return Poll::Ready(Some(Ok(taken.into_frame())));
        }
        match this.rest.project() {
            Projected::Plain { body } => body.poll_frame(cx),
            Projected::Boxed { body } => body.as_mut().poll_frame(cx),
            Projected::Failed { error } => Poll::Ready(error.take().map(Err)),
            Projected::Ended => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let ended = match &self.rest {
            Rest::Plain { body } => body.is_end_stream(),
            Rest::Boxed { body } => body.is_end_stream(),
            Rest::Failed { error } => error.is_none(),
            Rest::Ended => true,
        };
        self.frames.is_empty() && ended
    }

    fn size_hint(&self) -> SizeHint {
        let taken: u64 = self.frames.iter().map(Taken::size).sum();
        let rest = match &self.rest {
            Rest::Plain { body } => body.size_hint(),
            Rest::Boxed { body } => body.size_hint(),
            Rest::Failed { .. } => SizeHint::default(),
            Rest::Ended => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(taken));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(taken));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    type Broken = std::io::Error;

    fn frames(
        frames: Vec<Result<&'static str, Broken>>,
    ) -> impl Body<Data = Bytes, Error = Broken> {
        struct Frames(VecDeque<Result<&'static str, Broken>>);
        impl Body for Frames {
            type Data = Bytes;
            type Error = Broken;

            fn poll_frame(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
                match self.0.pop_front() {
                    Some(Ok("…")) => Poll::Pending,
                    Some(Ok(text)) => Poll::Ready(Some(Ok(Frame::data(text.into())))),
                    Some(Err(error)) => Poll::Ready(Some(Err(error))),
                    None => Poll::Ready(None),
                }
            }

            fn size_hint(&self) -> SizeHint {
                let mut hint = SizeHint::new();
                hint.set_upper(1_000);
                hint
            }
        }
        Frames(frames.into())
    }

    fn text<B>(body: HedgeBody<B>) -> String
    where
        B: Body<Data = Bytes, Error: std::fmt::Display>,
    {
        let mut body = std::pin::pin!(body);
        let mut cx = Context::from_waker(Waker::noop());
        let mut all = String::new();
        loop {
            match body.as_mut().poll_frame(&mut cx) {
                Poll::Pending => all += "…",
                Poll::Ready(None) => return all,
                Poll::Ready(Some(Err(error))) => all += &format!("{error}"),
                Poll::Ready(Some(Ok(frame))) => {
                    all += std::str::from_utf8(&frame.into_data().unwrap_or_default()).unwrap();
                }
            }
        }
    }

    #[test]
    fn what_is_there_as_a_whole_can_be_sent_twice() {
        let Ok(taken) = HedgeBody::take(frames(vec![Ok("a"), Ok("b")])) else {
            panic!("it is there")
        };

        for _ in 0..2 {
            let body = HedgeBody::<Full<Bytes>>::whole(taken.clone());
            assert_eq!(body.size_hint().exact(), Some(2));
            assert_eq!(text(body), "ab");
        }
    }

    #[test]
    fn what_still_streams_or_breaks_goes_on_where_it_was_looked_into() {
        for (given, expect) in [
            (vec![Ok("a"), Ok("…"), Ok("…"), Ok("b")], "a…b"),
            (vec![Ok("a"), Err(Broken::other("broken"))], "abroken"),
        ] {
            let Err(body) = HedgeBody::take(frames(given)) else {
                panic!("it is not there")
            };
            assert_eq!(text(body), expect);
        }
    }

    #[test]
    fn a_long_body_and_one_of_unknown_length_are_not_looked_into() {
        let long = Full::new(Bytes::from(vec![b'x'; KEPT_BYTES_MAX as usize + 1]));

        let long = HedgeBody::take(long).err().unwrap();
        assert_eq!(text(long).len() as u64, KEPT_BYTES_MAX + 1);
        assert!(HedgeBody::take(Never).is_err());
    }

    /// A body that must not be asked.
    struct Never;

    impl Body for Never {
        type Data = Bytes;
        type Error = Broken;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
            panic!("asked")
        }
    }
}
