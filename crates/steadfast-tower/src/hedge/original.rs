use std::collections::VecDeque;

use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body::Body;

use super::HedgeBody;
use super::body::Taken;

/// What the request of each attempt is made of.
pub(super) struct Original {
    pub(super) head: Parts,
    frames: VecDeque<Taken>,
}

impl Original {
    pub(super) fn new(head: Parts, frames: VecDeque<Taken>) -> Self {
        Self { head, frames }
    }

    pub(super) fn request<B: Body<Data = Bytes>>(&self) -> Request<HedgeBody<B>> {
        let body = HedgeBody::whole(self.frames.clone());
        Request::from_parts(self.head.clone(), body)
    }
}
