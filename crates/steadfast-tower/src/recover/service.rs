use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use steadfast_core::recover;
use tower_service::Service;

use super::{RecoverBody, RecoverFuture};
use crate::answer::Protocol;

/// The service of [`RecoverLayer`](super::RecoverLayer).
pub struct Recover<S> {
    /// Absent when its clone has panicked: then calls are answered as if they had.
    inner: Option<S>,
    /// Its `poll_ready` has panicked: it must not be called before it was ready.
    broken: bool,
}

impl<S> Recover<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self {
            inner: Some(inner),
            broken: false,
        }
    }
}

impl<S: Clone> Recover<S> {
    /// Gives a clone of the service inside, unless that panics.
    pub(crate) fn cloned(&self) -> Option<S> {
        let inner = self.inner.as_ref()?;
        recover(|| inner.clone()).ok()
    }
}

impl<S, In, Out> Service<Request<In>> for Recover<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    Out: Body<Data = Bytes>,
{
    type Response = Response<RecoverBody<Out>>;
    type Error = S::Error;
    type Future = RecoverFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(Ok(()));
        };
        match recover(|| inner.poll_ready(cx)) {
            Ok(polled) => {
                self.broken = false;
                polled
            }
            // An error would end the connection; ready means that the call is answered.
            Err(_) => {
                self.broken = true;
                Poll::Ready(Ok(()))
            }
        }
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let protocol = Protocol::of(request.headers());
        let inner = self.inner.as_mut().filter(|_| !self.broken);
        contained(inner, request, protocol, |inner, request| {
            inner.call(request)
        })
    }
}

/// Calls a service by `call`; without one, a call is answered as if it had panicked.
pub(crate) fn contained<S, R, F: Future>(
    service: Option<S>,
    request: R,
    protocol: Protocol,
    call: impl FnOnce(S, R) -> F,
) -> RecoverFuture<F> {
    let called = match service {
        Some(service) => recover(|| call(service, request)).ok(),
        None => {
            let _ = recover(|| drop(request));
            None
        }
    };
    RecoverFuture::new(called, protocol)
}

/// A clone that panics is one whose calls are answered with `500`.
impl<S: Clone> Clone for Recover<S> {
    fn clone(&self) -> Self {
        Self {
            inner: self.cloned(),
            broken: self.broken,
        }
    }
}

impl<S> Drop for Recover<S> {
    fn drop(&mut self) {
        let inner = self.inner.take();
        // The hook has reported it; there is nobody to hand it to.
        let _ = recover(|| drop(inner));
    }
}

impl<S: fmt::Debug> fmt::Debug for Recover<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recover").field(&self.inner).finish()
    }
}
