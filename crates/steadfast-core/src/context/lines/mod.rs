//! The facts of the context in every line of the log, whichever formatter writes it.

mod facts;
mod json;
mod text;

use std::fmt;
use std::io::{self, Write};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use facts::Facts;

/// The longest line that is held back until its end comes, in bytes: 1 MiB, far beyond what
/// people log. What is longer goes out as it is.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Puts what is known about the work at hand into every line that goes to a writer: trace id, span
/// id, route, tier, tenant, job, change, and all that was [`put`](super::put).
///
/// Lines have these from spans, too, but only of those in which a line happens to be, under
/// whatever names the fields have, and in a form that each formatter chooses: nested in the JSON
/// of one, in front of the text of the next. And code that has no span, such as a callback of
/// another library, has none of it. The context is there at every await, so the line is completed
/// where all formatters meet: where it is written. That happens in the thread, and in the context,
/// that logs.
///
/// - An object of JSON gets members at its end: `"trace_id":"0af7…","tier":0`.
/// - Any other text gets `trace_id=0af7… tier=0` at the end of its last line, also that of the
///   formatter `pretty`, which writes several. Values that are not plain words are quoted and
///   escaped, so no value can forge a line or a field.
/// - What is there already is left alone: a member of that name, or the same pair in the text.
/// - Without a context the line stays as it is.
///
/// A writer that hands lines to a thread of its own belongs inside: `lines(non_blocking)`.
///
/// # Examples
/// ```
/// use steadfast_core::context::{self, Context, TraceId};
///
/// tracing_subscriber::fmt().with_writer(context::lines(std::io::stderr)).init();
///
/// Context::new().with_trace_id(TraceId::random()).run(|| {
///     context::put("order", "4711").unwrap();
///     tracing::info!("paid");
///     // … INFO orders: paid trace_id=0af7651916cd43dd8448eb211c80319c tier=1 order=4711
/// });
/// ```
pub fn lines<M>(writer: M) -> Lines<M> {
    Lines { writer }
}

/// Makes writers that complete every line; made by [`lines`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Lines<M> {
    writer: M,
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Lines<M> {
    type Writer = LineWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter::new(self.writer.make_writer())
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self::Writer {
        LineWriter::new(self.writer.make_writer_for(meta))
    }
}

/// A writer that completes every line; made by [`Lines`].
///
/// A line that comes in parts is held back until its end; what is left is written at the drop.
pub struct LineWriter<W: Write> {
    inner: W,
    held: Vec<u8>,
}

impl<W: Write> LineWriter<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            held: Vec::new(),
        }
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        match completed(line) {
            Some(completed) => self.inner.write_all(completed.as_bytes()),
            None => self.inner.write_all(line),
        }
    }
}

/// Gives the line with the facts at hand, if there are any.
fn completed(line: &[u8]) -> Option<String> {
    let facts = Facts::at_hand()?;
    // Formatters write text; what is not, is not ours to change.
    let line = std::str::from_utf8(line).ok()?;
    let (body, ending) = line.split_at(line.trim_end().len());
    if body.is_empty() {
        return None;
    }
    let body = json::completed(body, &facts).unwrap_or_else(|| text::completed(body, &facts));
    Some(body + ending)
}

impl<W: Write> Write for LineWriter<W> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        let ends = part.ends_with(b"\n");
        if ends && self.held.is_empty() {
            self.line(part)?;
            return Ok(part.len());
        }
        self.held.extend_from_slice(part);
        if ends {
            let line = std::mem::take(&mut self.held);
            self.line(&line)?;
        } else if self.held.len() > LINE_BYTES_MAX {
            let long = std::mem::take(&mut self.held);
            self.inner.write_all(&long)?;
        }
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> Drop for LineWriter<W> {
    fn drop(&mut self) {
        if !self.held.is_empty() {
            let line = std::mem::take(&mut self.held);
            // There is nobody to tell, as for any writer that is dropped.
            let _ = self.line(&line);
        }
    }
}

impl<W: Write + fmt::Debug> fmt::Debug for LineWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineWriter")
            .field("inner", &self.inner)
            .field("held", &self.held.len())
            .finish()
    }
}
