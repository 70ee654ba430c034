//! Who waits for a child to be up, down or gone, and what they are told.

use tokio::sync::oneshot;

use super::end::ChildEnd;
use super::error::{RequestError, Unfulfilled};
use super::state::{Entry, State};
use crate::decide::restart::{ChildId, ChildState, ChildView};

/// Somebody waits for a child.
pub(super) struct Request {
    wants: Wants,
    /// The newest run when it was made.
    run: u64,
    answer: oneshot::Sender<Answer>,
}

#[derive(Clone, Copy)]
pub(super) enum Wants {
    Up,
    Down,
    Gone,
}

/// How the child has ended, if the request was about that.
pub(super) type Answer = Result<Option<ChildEnd>, RequestError>;

// === impl State ===

impl State {
    /// Notes that somebody waits for a child.
    pub(super) fn request(&mut self, id: ChildId, wants: Wants) -> oneshot::Receiver<Answer> {
        let (answer, receiver) = oneshot::channel();
        match self.entries.get_mut(&id) {
            Some(entry) => {
                let run = entry.run();
                entry.requests.push(Request { wants, run, answer });
            }
            None => {
                let gone = Err(Unfulfilled::NotStarted.into());
                self.later.answer(answer, gone);
            }
        }
        receiver
    }
}

// === impl Entry ===

impl Entry {
    /// Takes the requests that can be answered now.
    pub(super) fn answers(
        &mut self,
        view: Option<&ChildView>,
        closing: bool,
    ) -> Vec<(oneshot::Sender<Answer>, Answer)> {
        let mut answers = Vec::new();
        let mut kept = Vec::new();
        for request in std::mem::take(&mut self.requests) {
            match self.answer(&request, view, closing) {
                Some(answer) => answers.push((request.answer, answer)),
                None => kept.push(request),
            }
        }
        self.requests = kept;
        answers
    }

    fn answer(&self, request: &Request, view: Option<&ChildView>, closing: bool) -> Option<Answer> {
        use ChildState::{AtRest, Running, Starting, Stopping, Waiting, WrittenOff};

        let last_end = self.last_end.clone();
        let state = view.map(|view| view.state);
        let lives_again = view.is_some_and(|view| view.runs > request.run);
        match (request.wants, state) {
            (_, Some(WrittenOff)) => Some(Err(Unfulfilled::WrittenOff.into())),
            (Wants::Up, Some(Running)) => Some(Ok(None)),
            (Wants::Up, _) if closing => Some(Err(Unfulfilled::Ended.into())),
            (Wants::Up, Some(Waiting { .. } | Starting | Stopping)) => None,
            (Wants::Up, None | Some(AtRest)) => Some(match last_end {
                Some(end) if end.run() <= request.run => Err(Unfulfilled::NotStarted.into()),
                // It had nothing to do.
                Some(end) if end.kind().is_normal() => Ok(Some(end)),
                Some(end) => Err(Unfulfilled::NotReady(end).into()),
                None => Err(Unfulfilled::NotStarted.into()),
            }),
            (Wants::Down, None | Some(AtRest | Waiting { .. })) => Some(Ok(last_end)),
            (Wants::Down, Some(Starting | Running)) if lives_again => Some(Ok(last_end)),
            (Wants::Down, Some(Starting | Running | Stopping)) => None,
            (Wants::Gone, None) => Some(Ok(last_end)),
            (Wants::Gone, Some(_)) => None,
        }
    }
}
