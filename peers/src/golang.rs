//! Go's own figures, taken in the same rounds as everybody else's.
//!
//! The program in `go/` waits for one line per batch, `CASE ITERATIONS`, runs and times the
//! batch, and answers `UNITS NANOSECONDS`. While it waits it costs nothing, so Go takes
//! turns like any other contender although it lives in another process.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use crate::{Batch, Contender};

/// A running Go program; clones talk to the same one.
#[derive(Clone)]
pub struct Go {
    program: Rc<RefCell<Program>>,
}

impl Go {
    /// Starts the program at `path`.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(path: &Path) -> io::Result<Self> {
        let mut child = Command::new(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let program = Program {
            child,
            stdin: Some(stdin),
            stdout: BufReader::new(stdout),
        };
        Ok(Go {
            program: Rc::new(RefCell::new(program)),
        })
    }

    /// Returns the version of the toolchain that built the program.
    ///
    /// # Errors
    ///
    /// If the program is gone.
    pub fn version(&self) -> io::Result<String> {
        self.program.borrow_mut().ask("version")
    }

    /// Enters one case of the program into a group.
    ///
    /// # Panics
    ///
    /// The contender panics if the program is gone or does not know the case: a bug in
    /// `go/main.go`, which has no place in a table.
    pub fn contender(&self, name: &str, case: &'static str) -> Contender {
        let program = Rc::clone(&self.program);
        Contender::elsewhere(name, move |iterations| {
            let answer = program
                .borrow_mut()
                .ask(&format!("{case} {iterations}"))
                .unwrap_or_else(|error| panic!("the Go program failed at `{case}`: {error}"));
            parse(&answer).unwrap_or_else(|| panic!("the Go program answered `{answer}`"))
        })
    }
}

/// The other process.
struct Program {
    child: Child,
    /// Taken when it is time to stop: end of input is what ends the program.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Program {
    fn ask(&mut self, question: &str) -> io::Result<String> {
        let stdin = self.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(stdin, "{question}")?;
        stdin.flush()?;
        let mut answer = String::new();
        if self.stdout.read_line(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(answer.trim().to_owned())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.stdin = None;
        // Nothing is left to be done about a program that ends badly after its last answer.
        let _ = self.child.wait();
    }
}

fn parse(answer: &str) -> Option<Batch> {
    let (units, nanoseconds) = answer.split_once(' ')?;
    Some(Batch {
        units: units.parse().ok()?,
        elapsed: Duration::from_nanos(nanoseconds.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_units_and_nanoseconds() {
        let batch = parse("640 1500").expect("two numbers");

        assert_eq!(batch.units, 640);
        assert_eq!(batch.elapsed, Duration::from_nanos(1500));
    }

    #[test]
    fn anything_else_is_no_answer() {
        for answer in ["", "640", "unknown case: x", "1 2 3", "-1 2"] {
            assert!(
                parse(answer).is_none(),
                "{answer:?} was taken for an answer"
            );
        }
    }
}
