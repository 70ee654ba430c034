//! One terminal for lines that go by and a board that stays below them.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

use super::log::is_plain;

/// Where lines and the board go. Clones are one screen.
#[derive(Clone)]
pub(super) struct Screen {
    is_terminal: bool,
    has_color: bool,
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
    pub(super) fn of_this_process() -> Self {
        let is_terminal = io::stdout().is_terminal() && io::stderr().is_terminal();
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            is_terminal: is_terminal && !is_dumb,
            has_color: is_terminal && !is_dumb && !is_plain(),
            board: Arc::default(),
        }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    pub(super) fn has_color(&self) -> bool {
        self.has_color
    }

    /// Tells something that goes by; a closed terminal is no reason to stop serving.
    pub(super) fn show(&self, text: &str) {
        if !self.is_terminal {
            let _ = writeln!(io::stdout(), "{text}");
            return;
        }
        self.write(|board| board.around(&format!("{text}\n")));
    }

    /// Writes the board anew, where one stays.
    pub(super) fn draw(&self, text: String) {
        if self.is_terminal {
            self.write(|board| {
                let erased = board.erase();
                board.text = text;
                erased + &board.draw()
            });
        }
    }

    fn write(&self, text: impl FnOnce(&mut Board) -> String) {
        // Locked over the write, so that nobody comes between.
        let mut board = self.board.lock().unwrap_or_else(PoisonError::into_inner);
        let text = text(&mut board);
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
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

/// The lines of the log go above the board, too.
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
        match self.screen.is_terminal {
            true => self.text.extend_from_slice(bytes),
            false => io::stderr().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            let text = String::from_utf8_lossy(&self.text).into_owned();
            self.screen.write(|board| board.around(&text));
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
