//! What the warden does: it waits, and kills.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::process::ExitCode;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::signal::unix::{Signal as Caught, SignalKind, signal};

/// The longest word: a sign and the digits of the largest process id there can be.
const WORD_BYTES_MAX: usize = 11;

/// The most groups that are known at a time: more than there can be processes, with the usual limits.
const GROUPS_MAX: usize = 65_536;

/// The exit code when it is started in another way than by us: 2, as for options that are wrong.
const MISUSED: u8 = 2;

/// Waits until its standard input ends; then kills the process groups that it was told of.
pub(crate) fn run() -> ExitCode {
    let input = match input() {
        Ok(input) => input,
        Err(why) => {
            let _ = writeln!(
                io::stderr(),
                "error: {why}; `serve` and `exec` start a warden by themselves"
            );
            return ExitCode::from(MISUSED);
        }
    };
    match stand(input) {
        Ok(known) => {
            known.kill();
            ExitCode::SUCCESS
        }
        // Whoever wrote may be alive: nobody is killed, and it starts another.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Gives the standard input, without a buffer.
fn input() -> Result<File, String> {
    let input = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let input = input.map_err(|error| format!("standard input cannot be read: {error}"))?;
    match input.metadata() {
        Ok(about) if about.file_type().is_fifo() => Ok(input),
        _ => Err("standard input is not a pipe".to_owned()),
    }
}

/// Hears what is said until the end of it.
fn stand(mut input: File) -> io::Result<Known> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let _entered = runtime.enter();
    let _caught = catch_all()?;
    let mut known = Known::default();
    let mut bytes = [0; 4096];
    loop {
        match input.read(&mut bytes) {
            Ok(0) => return Ok(known),
            Ok(read) => known.hear(&bytes[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Takes the signals that would end it, and does nothing about them: it ends when its input does.
/// One that comes before, in its first moment, ends it; another takes its place, and is told of all.
fn catch_all() -> io::Result<Vec<Caught>> {
    let kinds = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
        SignalKind::user_defined1(),
        SignalKind::user_defined2(),
        SignalKind::alarm(),
        SignalKind::pipe(),
    ];
    kinds.into_iter().map(signal).collect()
}

/// The groups that run, by words such as `+4711` and `-4711`, a line each; what is no word is passed over.
#[derive(Debug, Default)]
struct Known {
    groups: BTreeSet<i32>,
    /// What has come of a line that is not over.
    line: Vec<u8>,
}

impl Known {
    fn hear(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.word();
                self.line.clear();
            } else if self.line.len() <= WORD_BYTES_MAX {
                // One byte too many is kept, to tell that it is too long.
                self.line.push(*byte);
            }
        }
    }

    fn word(&mut self) {
        let Some((sign, group)) = self.line.split_first() else {
            return;
        };
        if self.line.len() > WORD_BYTES_MAX || !group.iter().all(u8::is_ascii_digit) {
            return;
        }
        let group = std::str::from_utf8(group)
            .ok()
            .and_then(|text| text.parse().ok());
        // 0 would be our own group, and 1 everybody.
        let Some(group) = group.filter(|group| *group > 1) else {
            return;
        };
        match sign {
            b'+' if self.groups.len() < GROUPS_MAX => {
                self.groups.insert(group);
            }
            b'-' => {
                self.groups.remove(&group);
            }
            _ => {}
        }
    }

    fn kill(self) {
        for group in self.groups.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(parts: &[&[u8]]) -> Vec<i32> {
        let mut known = Known::default();
        for part in parts {
            known.hear(part);
        }
        known.groups.into_iter().collect()
    }

    #[test]
    fn groups_are_known_from_their_begin_to_their_end() {
        assert_eq!(known(&[b"+10\n+11\n-10\n+12\n"]), [11, 12]);
        assert_eq!(known(&[b"-10\n+10\n+10\n"]), [10]);
        assert_eq!(known(&[b"+10\n+10\n-10\n"]), [0; 0]);
        assert_eq!(known(&[b"+", b"1", b"23", b"\n+4", b"\n"]), [4, 123]);
        assert_eq!(known(&[b"+2147483647\n"]), [i32::MAX]);
    }

    #[test]
    fn what_is_no_word_is_passed_over_and_the_next_is_heard() {
        let wrong: &[&[u8]] = &[
            b"",
            b"+",
            b"-",
            b"10",
            b"*10",
            b"++10",
            b"+-10",
            b"+ 10",
            b"+10 ",
            b"+10\r",
            b"+1x",
            b"+\xff\xfe",
            b"\0+10",
            b"+2147483648",
            b"+00000000010",
            b"+99999999999999999999999999999999",
            // Our own group, and everybody.
            b"+0",
            b"+1",
            b"+01",
        ];
        for wrong in wrong {
            let said = known(&[wrong, b"\n+7\n"]);
            assert_eq!(said, [7], "{:?}", String::from_utf8_lossy(wrong));
        }
    }

    #[test]
    fn a_word_that_is_cut_off_is_none() {
        assert_eq!(known(&[b"+7\n+123"]), [7]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut known = Known::default();
        known.hear(&[b'9'; 1_000_000]);
        assert!(known.line.capacity() < 64);
        known.hear(b"\n");

        for group in 0..200_000 {
            known.hear(format!("+{group}\n").as_bytes());
        }
        assert_eq!(known.groups.len(), GROUPS_MAX);
        known.hear(b"-2\n+199999\n");
        assert!(known.groups.contains(&199_999));
    }
}
