//! Says on standard error what nobody hears.
//!
//! Troubles are told as events of `tracing`. A program without a subscriber would lose them
//! without a word, and [`run`](crate::run()) takes even the panics that it contains off standard
//! error. So under `run`, for as long as there is no subscriber, events of ours from `WARN` up are
//! written there. Outside of `run` a library has no business on standard error.

use std::fmt::{self, Write};
use std::io;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber, dispatcher};

use crate::recover;

/// How long the end of the process waits for somebody who reads its last line: 1 s.
const READ_LIMIT: Duration = Duration::from_secs(1);

/// There once a program is run by `run`.
static VOICE: OnceLock<Dispatch> = OnceLock::new();

/// Has events told from now on, if nobody else listens.
pub(crate) fn raise() {
    VOICE.get_or_init(|| Dispatch::new(Voice));
}

/// Emits an event so that it is heard.
///
/// A subscriber that panics is contained: it must neither keep what is told about from going on,
/// nor, where a thread unwinds, end the process.
pub(crate) fn tell(event: impl FnOnce()) {
    let _ = recover(|| match VOICE.get() {
        Some(voice) if nobody_listens() => dispatcher::with_default(voice, event),
        _ => event(),
    });
}

fn nobody_listens() -> bool {
    dispatcher::get_default(|dispatch| dispatch.is::<NoSubscriber>())
}

struct Voice;

impl Subscriber for Voice {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().starts_with("steadfast::");
        ours && metadata.is_event() && *metadata.level() <= Level::WARN
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::WARN)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let metadata = event.metadata();
        say(format_args!(
            "{:>5} {}: {}{}",
            metadata.level(),
            metadata.target(),
            line.message,
            line.fields
        ));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Writes a line to standard error; when that is closed there is nobody to tell, and when the text
/// panics the hook tells.
pub(crate) fn say(text: impl fmt::Display) {
    use io::Write;

    let _ = recover(|| writeln!(io::stderr(), "{text}"));
}

/// The same at the end of the process, which must come also when nobody reads: it waits a second.
pub(crate) fn say_at_end(text: impl fmt::Display) {
    let mut line = String::new();
    let _ = recover(|| write!(line, "{text}"));
    let (done, is_done) = mpsc::channel::<()>();
    let write = move || {
        say(line);
        drop(done);
    };
    if std::thread::Builder::new().spawn(write).is_ok() {
        let _ = is_done.recv_timeout(READ_LIMIT);
    }
}

/// An event as text.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let written = match field.name() {
            "message" => write!(self.message, "{value}"),
            // Kilobytes, which a subscriber can put where they belong.
            "backtrace" => Ok(()),
            name => write!(self.fields, " {name}={value}"),
        };
        written.expect("a string takes all");
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        if !value.is_empty() {
            self.add(field, format_args!("{value:?}"));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_as_a_line() {
        struct Kept(std::sync::Arc<std::sync::Mutex<String>>);
        impl Subscriber for Kept {
            fn enabled(&self, metadata: &Metadata<'_>) -> bool {
                Voice.enabled(metadata)
            }
            fn event(&self, event: &Event<'_>) {
                let mut line = Line::default();
                event.record(&mut line);
                self.0
                    .lock()
                    .unwrap()
                    .push_str(&(line.message + &line.fields + "\n"));
            }
            fn new_span(&self, attributes: &Attributes<'_>) -> Id {
                Voice.new_span(attributes)
            }
            fn record(&self, _: &Id, _: &Record<'_>) {}
            fn record_follows_from(&self, _: &Id, _: &Id) {}
            fn enter(&self, _: &Id) {}
            fn exit(&self, _: &Id) {}
        }
        let kept = Kept(Default::default());
        let lines = kept.0.clone();

        tracing::subscriber::with_default(kept, || {
            tracing::warn!(target: "steadfast::x", task = "a b", n = 3, none = None::<u64>, "lost {}", 1);
            tracing::info!(target: "steadfast::x", "not a trouble");
            tracing::error!(target: "other", "not ours");
        });

        assert_eq!(*lines.lock().unwrap(), "lost 1 task=\"a b\" n=3\n");
    }
}
