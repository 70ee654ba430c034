//! How far something long has come, on a terminal alone.

use std::io::{IsTerminal, Write};

/// Tells in one line, which is written anew.
pub(super) struct Progress {
    what: &'static str,
    /// How the whole is told.
    whole: fn(u64) -> String,
    is_shown: bool,
    /// What was told last, in percent.
    last: Option<u64>,
}

impl Progress {
    pub(super) fn new(what: &'static str, whole: fn(u64) -> String) -> Self {
        Self {
            what,
            whole,
            is_shown: std::io::stderr().is_terminal(),
            last: None,
        }
    }

    pub(super) fn tell(&mut self, done: u64, of: u64) {
        let percent = done.saturating_mul(100) / of.max(1);
        if !self.is_shown || self.last == Some(percent) {
            return;
        }
        self.last = Some(percent);
        let bar = "#".repeat((percent.min(100) / 4) as usize);
        let _ = write!(
            std::io::stderr(),
            "\r[{bar:25}] {percent:3} % {} of {}",
            self.what,
            (self.whole)(of)
        );
    }

    /// Tells how many there are so far, of who knows how many.
    pub(super) fn count(&mut self, so_far: u64) {
        if self.is_shown && self.last != Some(so_far) {
            self.last = Some(so_far);
            let _ = write!(
                std::io::stderr(),
                "\r{} {}",
                self.what,
                (self.whole)(so_far)
            );
        }
    }

    pub(super) fn end(&mut self) {
        if self.last.is_some() {
            let _ = writeln!(std::io::stderr());
        }
    }
}

/// A size as people read it.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..=1_023 => format!("{bytes} bytes"),
        1_024..=1_048_575 => format!("{:.1} KiB", bytes as f64 / 1_024.0),
        1_048_576..=1_073_741_823 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_the_unit_that_fits() {
        assert_eq!(size(1_023), "1023 bytes");
        assert_eq!(size(1_536), "1.5 KiB");
        assert_eq!(size(5 << 20), "5.0 MiB");
        assert_eq!(size(3 << 30), "3.0 GiB");
    }
}
