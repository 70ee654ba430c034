use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, OnceLock};

use tokio::sync::oneshot;

use super::record::Record;
use super::reporter::REPORTER;
use crate::recover;

/// How many backtraces wait to be symbolized: 64; those that come later are told without.
const QUEUE_MAX: usize = 64;

/// How many stacks are remembered: 64. The samples of one place mostly share theirs.
const KNOWN_MAX: usize = 64;

struct Request {
    record: Arc<Record>,
    answer: Option<oneshot::Sender<()>>,
}

/// Has a backtrace symbolized by the thread that does nothing else.
pub(super) fn symbolize_later(record: Arc<Record>) {
    request(record, None);
}

/// Has a backtrace symbolized, and waits for it.
pub(super) async fn symbolized(record: Arc<Record>) -> Option<Arc<str>> {
    if record.symbols.get().is_none() {
        let (answer, done) = oneshot::channel();
        request(record.clone(), Some(answer));
        // An error means that it was not taken; then there may be none.
        let _ = done.await;
    }
    record.symbols.get().cloned()
}

static QUEUE: OnceLock<SyncSender<Request>> = OnceLock::new();

/// Starts the thread; called once, by the installation of the hook.
pub(super) fn start() {
    let (sender, receiver) = mpsc::sync_channel(QUEUE_MAX);
    let thread = std::thread::Builder::new().name("steadfast-symbols".into());
    match thread.spawn(move || run(receiver)) {
        Ok(_) => drop(QUEUE.set(sender)),
        Err(error) => {
            tracing::error!(target: "steadfast::panic", %error, "no thread to symbolize");
        }
    }
}

/// Never waits: called under the lock of the reporter.
fn request(record: Arc<Record>, answer: Option<oneshot::Sender<()>>) {
    if record.frames.is_none() {
        return;
    }
    if let Some(queue) = QUEUE.get() {
        // When the queue is full, the report has no backtrace.
        let _ = queue.try_send(Request { record, answer });
    }
}

fn run(requests: Receiver<Request>) {
    REPORTER.set(true);
    let mut known: VecDeque<(Vec<usize>, Arc<str>)> = VecDeque::new();
    for Request { record, answer } in requests {
        let Some(frames) = &record.frames else {
            continue;
        };
        let addresses = frames.addresses();
        let text = match known.iter().find(|(stack, _)| stack == addresses) {
            Some((_, text)) => text.clone(),
            None => {
                // Debug information can be broken; then there are no names.
                let text = recover(|| symbolize(addresses)).unwrap_or_default();
                let text: Arc<str> = text.into();
                if known.len() == KNOWN_MAX {
                    known.pop_front();
                }
                known.push_back((addresses.to_vec(), text.clone()));
                text
            }
        };
        let _ = record.symbols.set(text);
        if let Some(answer) = answer {
            // Whoever asked may have left, and its waker is not ours.
            let _ = recover(|| answer.send(()));
        }
    }
}

/// How long the name of a frame gets: 100 characters. Generic async code has names of thousands.
const NAME_CHARS_MAX: usize = 100;

/// Turns return addresses into text, one frame a line. Left out are the panic machinery at the
/// top, the start of the thread at the bottom, and everything in between that is the standard
/// library's, the runtime's or ours.
///
/// Slow: reads debug information.
fn symbolize(addresses: &[usize]) -> String {
    let mut frames = Vec::new();
    // A return address points behind the call; one byte less is inside of it. Below the start of
    // a thread there is none.
    for inside in addresses
        .iter()
        .filter_map(|address| address.checked_sub(1))
    {
        backtrace::resolve(inside as *mut _, |symbol| {
            let name = symbol
                .name()
                .map_or_else(|| "?".to_owned(), |name| format!("{name:#}"));
            let place = symbol.filename().map(|file| {
                let line = symbol.lineno().unwrap_or(0);
                format!("{}:{line}", file.display())
            });
            frames.push((name, place));
        });
    }
    let mut text = String::new();
    let relevant = relevant(&frames);
    // Where it happened stays, whosever code that is.
    let told = relevant.iter().enumerate();
    for (_, (name, place)) in told.filter(|(at, frame)| *at == 0 || !is_between(frame)) {
        let short: String = name.chars().take(NAME_CHARS_MAX).collect();
        let cut = if short.len() < name.len() { "…" } else { "" };
        let _ = write!(text, "{short}{cut}");
        if let Some(place) = place {
            let _ = write!(text, " at {place}");
        }
        text.push('\n');
    }
    text
}

/// Tells whether it is what stands between a program's own frames: the standard library, the
/// runtime, and what of ours calls and polls.
fn is_between((name, place): &Frame) -> bool {
    let ours = |name: &str| name.trim_start_matches('<').starts_with("steadfast_core::");
    let others = |place: &String| place.starts_with("/rustc/") || place.contains("/tokio-1.");
    ours(name) || place.as_ref().is_some_and(others)
}

type Frame = (String, Option<String>);

fn relevant(frames: &[Frame]) -> &[Frame] {
    const MACHINERY: &[&str] = &[
        "__rustc::rust_begin_unwind",
        "rust_begin_unwind",
        "std::panicking",
        "core::panicking",
    ];
    const START: &str = "__rust_begin_short_backtrace";

    let machinery = |name: &str| MACHINERY.iter().any(|start| name.starts_with(start));
    let top = frames.iter().rposition(|(name, _)| machinery(name));
    // The catch around the start of a thread is machinery too, but far below.
    let top = frames
        .iter()
        .position(|(name, _)| {
            name.contains("rust_begin_unwind") || name.starts_with("std::panicking::begin_panic")
        })
        .or(top)
        .map_or(0, |top| {
            let below = frames[top..].iter().take_while(|(name, _)| machinery(name));
            top + below.count()
        });
    let bottom = frames[top..]
        .iter()
        .position(|(name, _)| name.contains(START))
        .map_or(frames.len(), |bottom| top + bottom);
    &frames[top..bottom]
}
