use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use steadfast_core::clock::{self, Alarm};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Stream;
use crate::guard::seen::{Late, Line};
use crate::streams::Connection;

/// A socket that is not waited for without end: for a head that has begun, and for a client that
/// takes nothing.
pub(super) struct Io {
    stream: Stream,
    line: Arc<Line>,
    /// What is held for as long as the connection lasts.
    held: Connection,
    header_read: Duration,
    write: Duration,
    /// Until when the head has to be there, while one is read.
    head: Option<Alarm>,
    /// How many requests had begun when it was set.
    begun: usize,
    /// Until when the client has to take something, while it does not.
    blocked: Option<Alarm>,
    /// The same of what was written already, which something over the socket may keep.
    unflushed: Option<Alarm>,
}

impl Io {
    pub(super) fn new(
        stream: Stream,
        line: Arc<Line>,
        held: Connection,
        header_read: Duration,
        write: Duration,
    ) -> Self {
        Self {
            stream,
            line,
            held,
            header_read,
            write,
            // The first head is waited for from the beginning: whoever connects has something to say.
            head: Some(Alarm::new(clock::now() + header_read)),
            begun: 0,
            blocked: None,
            unflushed: None,
        }
    }

    /// Notes that the head has come, if it has.
    fn look_for_request(&mut self) {
        let begun = self.line.begun();
        if begun != self.begun {
            self.begun = begun;
            self.head = None;
        }
    }

    /// Notes what was not waited for any longer.
    fn late(&self, late: Late) -> io::Error {
        self.line.set_late(late);
        let what = match late {
            Late::Head => "the head of the request did not come",
            Late::Unread => "the client takes nothing",
        };
        io::Error::new(io::ErrorKind::TimedOut, what)
    }

    fn written<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            // What keeps bytes has room only for so many that are not taken.
            (self.blocked, self.unflushed) = (None, None);
            return polled;
        }
        let is_over = is_over(&mut self.blocked, self.write, cx);
        self.unread(is_over)
    }

    fn flushed(
        &mut self,
        polled: Poll<io::Result<()>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if polled.is_ready() {
            // Of a socket that says nothing about what waits to be written.
            self.unflushed = None;
            return polled;
        }
        let is_over = is_over(&mut self.unflushed, self.write, cx);
        self.unread(is_over)
    }

    fn unread<T>(&self, is_over: bool) -> Poll<io::Result<T>> {
        match is_over {
            true => Poll::Ready(Err(self.late(Late::Unread))),
            false => Poll::Pending,
        }
    }
}

/// Tells whether it was waited for so long since it was first asked.
fn is_over(alarm: &mut Option<Alarm>, wait: Duration, cx: &mut Context<'_>) -> bool {
    let alarm = alarm.get_or_insert_with(|| Alarm::new(clock::now() + wait));
    alarm.poll_over(cx).is_ready()
}

impl Drop for Io {
    fn drop(&mut self) {
        self.held.end();
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.look_for_request();
        let before = to.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, to) {
            // Bytes between two requests are the head of the next one.
            let between = this.head.is_none() && to.filled().len() > before;
            if between && !this.line.is_framed() && this.line.is_idle() {
                this.head = Some(Alarm::new(clock::now() + this.header_read));
            }
            return Poll::Ready(read);
        }
        let is_framed = this.line.is_framed();
        let head = this.head.as_mut().filter(|_| !is_framed);
        if head.is_some_and(|head| head.poll_over(cx).is_ready()) {
            return Poll::Ready(Err(this.late(Late::Head)));
        }
        Poll::Pending
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(polled, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.written(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        // Asked for once nothing is left to be written.
        if polled.is_ready() {
            self.line.flushed();
        }
        self.flushed(polled, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What stands over a socket has a last word, which is written.
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.written(polled, cx)
    }
}
