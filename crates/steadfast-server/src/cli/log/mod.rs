//! Our own lines, on standard error.

mod lossy;

use std::fmt;
use std::io::{self, IsTerminal, Write};

use steadfast::{clock, context};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::Log;
use crate::time;
pub(crate) use lossy::{Flush, Lossy};

/// Logs from now on: what `RUST_LOG` says, or else this. For commands that soon end: each line waits for its reader.
pub(crate) fn to_stderr(unless_said: &str) {
    to(unless_said, has_color(), Short::default(), io::stderr);
}

/// The same for programs that others need: they go on when nobody reads, and say what was lost. Each line has its time,
/// unless the journal writes one.
pub(crate) fn of_service(unless_said: &str) -> Flush {
    let (writer, flush) = lossy(io::stderr());
    let format = Short {
        is_timed: !is_journal(),
    };
    to(unless_said, has_color(), format, writer);
    flush
}

/// Writes there on a thread of its own.
pub(super) fn lossy(to: impl Write + Send + 'static) -> (Lossy, Flush) {
    lossy::start(to).expect("a program that starts gets a thread")
}

fn has_color() -> bool {
    io::stderr().is_terminal() && !is_plain()
}

/// Whether nothing is to be colored: `NO_COLOR` says so, unless it is empty.
pub(super) fn is_plain() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Whether systemd has joined standard error to its journal, as `JOURNAL_STREAM` says by device and inode.
fn is_journal() -> bool {
    let Ok(found) = rustix::fs::fstat(io::stderr()) else {
        return false;
    };
    let told = std::env::var("JOURNAL_STREAM");
    told.is_ok_and(|told| told == format!("{}:{}", found.st_dev, found.st_ino))
}

/// The same, to somewhere else.
pub(super) fn to<W>(unless_said: &str, has_color: bool, format: Short, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(unless_said));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(has_color)
        .event_format(format)
        .with_writer(context::lines(writer))
        .init();
}

/// Logs from now on as a service that was told how: text for people, or a line of JSON for each event.
pub(crate) fn as_told(log: &Log) -> Flush {
    if !log.json {
        return of_service(&log.level);
    }
    let (writer, flush) = lossy(io::stderr());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(&log.level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .json()
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(context::lines(writer))
        .init();
    flush
}

/// Lines without the spans around them: what these say, the context says at the end of the line.
#[derive(Debug, Default)]
pub(super) struct Short {
    is_timed: bool,
}

impl<S, N> FormatEvent<S, N> for Short
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        if self.is_timed {
            write!(writer, "{} ", time::text_ms(clock::timestamp()))?;
        }
        write!(writer, "{:>5} {}: ", metadata.level(), metadata.target())?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
