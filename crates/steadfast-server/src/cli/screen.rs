//! One terminal for lines that go by and a board that stays below them.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

use super::log::{Flush, Lossy, is_plain, lossy};

/// Where lines and the board go, and where nobody waits for whoever reads. Clones are one screen.
#[derive(Clone)]
pub(super) struct Screen {
    is_terminal: bool,
    has_color: bool,
    out: Lossy,
    board: Arc<Mutex<Board>>,
}

#[derive(Default)]
struct Board {
    text: String,
    /// How many lines of it stand on the screen.
    drawn: usize,
}

impl Screen {
    /// A board stays only where all that is told comes to one terminal.
    pub(super) fn of_this_process() -> (Self, Flush) {
        let is_terminal = io::stdout().is_terminal() && io::stderr().is_terminal();
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let (out, flush) = lossy(io::stdout());
        let screen = Self {
            is_terminal: is_terminal && !is_dumb,
            has_color: is_terminal && !is_dumb && !is_plain(),
            out,
            board: Arc::default(),
        };
        (screen, flush)
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    pub(super) fn has_color(&self) -> bool {
        self.has_color
    }

    /// Tells something that goes by; a closed terminal is no reason to stop serving.
    pub(super) fn show(&self, text: &str) {
        self.lines(&format!("{text}\n"));
    }

    fn lines(&self, lines: &str) {
        let count = lines.lines().count();
        match self.is_terminal {
            true => self.write(count, |board| board.around(lines)),
            false => self.out.say(lines.as_bytes(), count),
        }
    }

    /// Writes the board anew, where one stays. One that comes before the last was written says nothing new.
    pub(super) fn draw(&self, text: String) {
        if self.is_terminal && self.out.is_idle() {
            self.write(0, |board| {
                let erased = board.erase();
                board.text = text;
                erased + &board.draw()
            });
        }
    }

    fn write(&self, lines: usize, text: impl FnOnce(&mut Board) -> String) {
        // Locked until it is handed over, so that nobody comes between.
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        self.out.say(text(&mut board).as_bytes(), lines);
    }
}

impl Board {
    /// Whole lines, above the board.
    fn around(&mut self, lines: &str) -> String {
        self.erase() + lines + &self.draw()
    }

    fn erase(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\r\x1b[J"),
        }
    }

    fn draw(&mut self) -> String {
        self.drawn = self.text.lines().count();
        // Without wrapping: a line of the board is one line, however narrow the terminal is.
        let lines: String = self
            .text
            .lines()
            .map(|line| format!("{line}\r\n"))
            .collect();
        format!("\x1b[?7l{lines}\x1b[?7h")
    }
}

/// Where a board stays, the lines of the log go above it.
impl<'a> MakeWriter<'a> for Screen {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        Lines {
            screen: self.clone(),
            text: Vec::new(),
        }
    }
}

/// What is written of one event.
pub(super) struct Lines {
    screen: Screen,
    text: Vec<u8>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.screen.lines(&String::from_utf8_lossy(&self.text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_above_the_board_which_is_written_anew() {
        let mut board = Board {
            text: "a\nb\n".into(),
            drawn: 0,
        };

        assert_eq!(board.around("first\n"), "first\n\x1b[?7la\r\nb\r\n\x1b[?7h");
        assert_eq!(
            board.around("second\n"),
            "\x1b[2A\r\x1b[Jsecond\n\x1b[?7la\r\nb\r\n\x1b[?7h"
        );
    }
}
