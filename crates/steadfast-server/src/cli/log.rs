//! Our own lines, on standard error.

use std::fmt;
use std::io::IsTerminal;

use steadfast::context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::Log;

/// Logs from now on: what `RUST_LOG` says, or else this.
pub(crate) fn to_stderr(unless_said: &str) {
    let has_color = std::io::stderr().is_terminal() && !is_plain();
    to(unless_said, has_color, std::io::stderr);
}

/// Whether nothing is to be colored: `NO_COLOR` says so, unless it is empty.
pub(super) fn is_plain() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// The same, to somewhere else.
pub(super) fn to<W>(unless_said: &str, has_color: bool, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(unless_said));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(has_color)
        .event_format(Short)
        .with_writer(context::lines(writer))
        .init();
}

/// Logs from now on as a service does: text for people, or a line of JSON for each event.
pub(crate) fn as_told(log: &Log) {
    if !log.json {
        return to_stderr(&log.level);
    }
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(&log.level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .json()
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(context::lines(std::io::stderr))
        .init();
}

/// Lines without the spans around them: what these say, the context says at the end of the line.
struct Short;

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
        write!(writer, "{:>5} {}: ", metadata.level(), metadata.target())?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
