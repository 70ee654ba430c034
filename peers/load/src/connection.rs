//! Connections, and those that wait for their next request.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::answer::{self, Answer, Broken};

/// A connection with the memory that its requests and answers use again.
pub(crate) struct Connection {
    stream: TcpStream,
    pub(crate) request: Vec<u8>,
    pub(crate) body: Vec<u8>,
    answer: Vec<u8>,
    used: bool,
}

/// How an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    Connect,
    /// The server closed a used connection just when the request was on its way.
    ClosedWhenReused,
    Broken(Broken),
}

impl Failure {
    /// What the report calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Failure::Connect => "connect",
            Failure::ClosedWhenReused => "closed when reused",
            Failure::Broken(Broken::Unanswered) => "closed without an answer",
            Failure::Broken(Broken::CutOff) => "cut off",
            Failure::Broken(Broken::Malformed) => "malformed",
        }
    }
}

impl Connection {
    pub(crate) async fn open(target: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream,
            request: Vec::new(),
            body: Vec::new(),
            answer: Vec::new(),
            used: false,
        })
    }

    /// Tells whether the server has left it open, as far as is known here, and has said nothing unasked.
    pub(crate) fn is_open(&self) -> bool {
        let mut byte = [0];
        matches!(self.stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends [`Self::request`], tells that by `sent`, and reads the answer.
    pub(crate) async fn exchange(
        &mut self,
        to_head: bool,
        sent: impl FnOnce(),
    ) -> Result<Answer, Failure> {
        let used = std::mem::replace(&mut self.used, true);
        let unanswered = if used {
            Failure::ClosedWhenReused
        } else {
            Failure::Broken(Broken::Unanswered)
        };
        // A server may answer and close before it has read all: the answer counts.
        let written = self.stream.write_all(&self.request).await;
        if written.is_ok() {
            sent();
        }
        match answer::read(&mut self.stream, &mut self.answer, to_head).await {
            Err(Broken::Unanswered) => Err(unanswered),
            Err(broken) => Err(Failure::Broken(broken)),
            Ok(answer) => Ok(Answer {
                keep_alive: answer.keep_alive && written.is_ok(),
                ..answer
            }),
        }
    }
}
