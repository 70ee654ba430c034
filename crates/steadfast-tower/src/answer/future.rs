use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use pin_project_lite::pin_project;

use super::AnswerBody;

pin_project! {
    /// The future of a layer that lets a request pass, or answers it.
    #[derive(Debug)]
    pub struct AnswerFuture<F, B> {
        #[pin]
        kind: Kind<F, B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Projected]
    enum Kind<F, B> {
        Inner { #[pin] future: F },
        // Until it is given.
        Own { response: Option<Response<AnswerBody<B>>> },
    }
}

impl<F, B> AnswerFuture<F, B> {
    pub(crate) fn inner(future: F) -> Self {
        let kind = Kind::Inner { future };
        Self { kind }
    }

    pub(crate) fn own(response: Response<AnswerBody<B>>) -> Self {
        let response = Some(response);
        let kind = Kind::Own { response };
        Self { kind }
    }
}

impl<F, B, E> Future for AnswerFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<AnswerBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            Projected::Inner { future } => future
                .poll(cx)
                .map_ok(|response| response.map(AnswerBody::inner)),
            Projected::Own { response } => {
                Poll::Ready(Ok(response.take().expect("not polled after its end")))
            }
        }
    }
}
