//! Lines that a thread of their own writes: whoever logs never waits for whoever reads.

use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// How much may wait to be written: 1 MiB, some thousands of lines. As much again may be in writing.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// How long the end of the program waits for lines that are not written: 1 s. Nobody may read them.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Where the lines that say how many were lost come from. There is always room for one of these.
const TARGET: &str = "steadfast::log";

/// Makes writers that never wait. What finds no room is lost, and counted.
#[derive(Clone)]
pub(crate) struct Lossy(Arc<Shared>);

/// Waits at its end until all is written, or not for much longer: keep it as long as the program runs.
#[must_use = "dropped at once, it leaves the last lines to chance"]
pub(crate) struct Flush(Arc<Shared>);

/// Takes the text of one event.
pub(crate) struct Line<'a> {
    shared: &'a Shared,
    has_room: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Notified when something waits, and when nothing is left to write.
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    text: Vec<u8>,
    /// How many lines after that text were lost.
    lost: usize,
    is_writing: bool,
}

/// Starts the thread that writes.
pub(super) fn start(to: impl Write + Send + 'static) -> io::Result<(Lossy, Flush)> {
    let shared = Arc::new(Shared::default());
    let writes = shared.clone();
    let thread = std::thread::Builder::new().name("steadfast-log".into());
    thread.spawn(move || writes.write_on(to))?;
    Ok((Lossy(shared.clone()), Flush(shared)))
}

impl Lossy {
    /// Takes a text, which counts as so many lines if it is lost.
    pub(crate) fn say(&self, text: &[u8], lines: usize) {
        self.0.take(text, lines, false);
    }

    /// Whether all is written.
    pub(crate) fn is_idle(&self) -> bool {
        self.0.waiting().is_over()
    }
}

impl Waiting {
    fn is_over(&self) -> bool {
        self.text.is_empty() && !self.is_writing
    }
}

impl Shared {
    fn take(&self, text: &[u8], lines: usize, has_room: bool) {
        let mut waiting = self.waiting();
        let was_empty = waiting.text.is_empty();
        let fits = waiting.text.len().saturating_add(text.len()) <= WAITING_BYTES_MAX;
        if !(fits || was_empty || has_room) {
            waiting.lost += lines;
            return;
        }
        waiting.text.extend_from_slice(text);
        if was_empty {
            self.changed.notify_all();
        }
    }

    fn write_on(&self, mut to: impl Write) {
        loop {
            let (text, lost) = self.next();
            let unwritten = write(&mut to, &text);
            if unwritten > 0 {
                // Told with the next that can be written: where nothing can be, telling would go round and round.
                self.waiting().lost += lost + unwritten;
            } else if lost > 0 {
                tracing::warn!(target: TARGET, "{lost} lines were lost: nobody has read them in time");
            }
        }
    }

    /// Waits for something to write.
    fn next(&self) -> (Vec<u8>, usize) {
        let mut waiting = self.waiting();
        if waiting.text.is_empty() {
            waiting.is_writing = false;
            self.changed.notify_all();
        }
        let mut waiting = self
            .changed
            .wait_while(waiting, |waiting| waiting.text.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        waiting.is_writing = true;
        let lost = std::mem::take(&mut waiting.lost);
        (std::mem::take(&mut waiting.text), lost)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all that can be written; gives how many lines could not.
fn write(to: &mut impl Write, mut text: &[u8]) -> usize {
    while !text.is_empty() {
        match to.write(text) {
            Ok(0) => break,
            Ok(written) => text = &text[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    // What comes after the last line, too: a terminal is left as the text leaves it. Of that no line can be lost.
    let _ = to.flush();
    lines(text)
}

fn lines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

impl<'a> MakeWriter<'a> for Lossy {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            shared: &self.0,
            has_room: false,
        }
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Line<'a> {
        Line {
            shared: &self.0,
            has_room: of.target() == TARGET,
        }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.shared.take(line, lines(line), self.has_room);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        let unwritten = |waiting: &mut Waiting| !waiting.is_over();
        // After that time there is nobody to tell.
        let _ = self
            .0
            .changed
            .wait_timeout_while(self.0.waiting(), FLUSH_LIMIT, unwritten);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes what is written in small parts.
    struct Parts(mpsc::Sender<Vec<u8>>);

    impl Write for Parts {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let part = &text[..text.len().min(7)];
            self.0.send(part.to_vec()).map_err(io::Error::other)?;
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_is_written_at_the_end() {
        let (parts, written) = mpsc::channel();
        let (lossy, flush) = start(Parts(parts)).unwrap();
        let lines: Vec<String> = (0..1_000).map(|line| format!("line {line}\n")).collect();
        for line in &lines {
            lossy.make_writer().write_all(line.as_bytes()).unwrap();
        }

        drop(flush);

        let written: Vec<u8> = written.try_iter().flatten().collect();
        assert_eq!(String::from_utf8(written).unwrap(), lines.concat());
    }

    #[test]
    fn what_comes_after_the_last_line_is_written_at_once() {
        let (parts, written) = mpsc::channel();
        let text = b"a board\r\n\x1b[?7h";
        let mut terminal = io::LineWriter::new(Parts(parts));

        assert_eq!(write(&mut terminal, text), 0);

        let written: Vec<u8> = written.try_iter().flatten().collect();
        assert_eq!(written, text);
    }

    #[test]
    fn what_finds_no_room_is_counted_except_the_line_that_says_so() {
        let shared = Shared::default();
        let line = [&[b'x'; 1023][..], b"\n"].concat();

        for _ in 0..1_027 {
            shared.take(&line, 1, false);
        }
        shared.take(b"3 lost\n", 1, true);

        let (text, lost) = shared.next();
        assert_eq!(lost, 3);
        assert_eq!(text.len(), WAITING_BYTES_MAX + b"3 lost\n".len());
        assert_eq!(shared.waiting().lost, 0);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let (parts, _) = mpsc::channel();

        assert_eq!(write(&mut Parts(parts), b"first\nsecond\n"), 2);
    }
}
