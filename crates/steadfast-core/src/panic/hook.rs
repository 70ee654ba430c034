#![allow(unsafe_code, reason = "walks the stack without a lock; see `capture`")]

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};

use super::group::Told;
use super::record::{Frames, Record};
use super::reporter;

thread_local! {
    /// How many catches of ours are around the code at hand.
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    /// The panics of this thread that no catch of ours has claimed, oldest first. Several at a
    /// time when a panic is caught inside a `Drop` while another one unwinds.
    static OPEN: RefCell<Vec<Arc<Record>>> = const { RefCell::new(Vec::new()) };
}

/// How many unclaimed panics a thread remembers: panics that other code catches are never claimed
/// and must not add up.
const OPEN_MAX: usize = 8;

/// Installs the panic hook, once; later calls do nothing, and neither does one from a thread that
/// unwinds, where hooks cannot be changed.
///
/// Every catch of ours does it by itself: call this first thing in `main` to have panics reported
/// that come before. The hook that was there is called afterwards, for every panic.
pub fn install() {
    install_once();
}

/// Installs the panic hook, once, and from now on calls the one that was there only for panics
/// that no catch of ours is around of: those in scopes, tasks and pools are reported as events and need no
/// second report on standard error.
pub fn install_quiet() {
    LOUD.store(false, Ordering::Relaxed);
    install_once();
}

static INSTALLED: Once = Once::new();

/// Whether the hook that was there is called for contained panics, too.
static LOUD: AtomicBool = AtomicBool::new(true);

fn install_once() {
    // A guard may be the first of us that a process meets, while it unwinds: changing the hook
    // there panics, which would end the process. The next catch does it.
    if std::thread::panicking() {
        return;
    }
    INSTALLED.call_once(|| {
        reporter::start();
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            on_panic(info);
            if LOUD.load(Ordering::Relaxed) || CATCHING.get() == 0 {
                previous(info);
            }
        }));
    });
}

/// Marks that a catch of ours is around, for as long as it lives.
pub(crate) struct Catching(());

impl Catching {
    #[inline]
    pub(crate) fn start() -> Self {
        if !INSTALLED.is_completed() {
            install();
        }
        CATCHING.set(CATCHING.get() + 1);
        Self(())
    }
}

impl Drop for Catching {
    #[inline]
    fn drop(&mut self) {
        CATCHING.set(CATCHING.get() - 1);
    }
}

/// Runs while the thread panics: a panic in here would abort the process.
fn on_panic(info: &PanicHookInfo<'_>) {
    let mut record = Record::of(info);
    let told = reporter::count(&record);
    record.sampled = told != Told::Repeat;
    record.frames = (told == Told::Traced).then(capture);
    let record = Arc::new(record);
    if record.sampled {
        reporter::push(record.clone());
    }
    let _ = OPEN.try_with(|open| {
        if let Ok(mut open) = open.try_borrow_mut() {
            if open.len() == OPEN_MAX {
                open.remove(0);
            }
            open.push(record);
        }
    });
}

/// Finds the record of a payload that was just caught in this thread, and marks it contained.
pub(super) fn claim(payload: &(dyn Any + Send)) -> Option<Arc<Record>> {
    let record = OPEN.try_with(|open| {
        let mut open = open.try_borrow_mut().ok()?;
        // The newest that fits: what was caught inside of it has been claimed before, unless
        // other code has caught it.
        let newest = open.iter().rposition(|record| record.fits(payload))?;
        Some(open.remove(newest))
    });
    let record = record.ok().flatten()?;
    contained(&record);
    Some(record)
}

/// Notes that a catch of ours has it.
pub(super) fn contained(record: &Record) {
    reporter::contained(record);
}

/// Notes that it is raised again: if nobody catches it, that is to be told.
pub(super) fn resumed(record: &Arc<Record>) {
    reporter::resumed(record);
}

fn capture() -> Box<Frames> {
    let mut frames = Frames::none();
    // SAFETY: the lock that this variant leaves out guards the symbolizer's state and, on Windows,
    // `dbghelp`. Walking alone uses the platform's unwinder, which is thread-safe; unwinding
    // itself uses it from many threads at once. The lock must not be taken here: the reporter
    // holds it while it symbolizes, which takes milliseconds.
    unsafe {
        backtrace::trace_unsynchronized(|frame| frames.push(frame.ip() as usize));
    }
    frames
}
