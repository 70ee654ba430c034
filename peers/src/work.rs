//! The work that contenders do, and where they do it.
//!
//! All cleanups, tasks and polls do the same: they raise a [`Tally`]. That is small enough
//! to leave the primitive's own cost visible, and it leaves a trace by which the harness
//! checks that each of them really ran.

use std::future::Future;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;

use tokio::runtime::{Builder, Runtime};

use crate::Contender;

/// Threads of every pool and of the larger runtime: fixed, so that figures from machines
/// with more cores stay comparable.
pub const WORKERS: usize = 2;

static TALLY: Tally = Tally(AtomicU64::new(0));

/// Counts what happened since it was last taken.
pub struct Tally(AtomicU64);

impl Tally {
    /// Counts one, as a plain load and store: for work on one thread, where the locked
    /// instruction of [`Tally::add_shared`] would outweigh what is measured.
    #[inline]
    pub fn add(&self) {
        let count = self.0.load(Ordering::Relaxed);
        self.0.store(count + 1, Ordering::Relaxed);
    }

    /// Counts one from any thread.
    #[inline]
    pub fn add_shared(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the count and starts again at zero.
    pub fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// Returns the tally, by a reference that the optimizer knows nothing about: closures have
/// to carry it, as closures of real programs carry what they clean up.
#[inline]
pub fn tally() -> &'static Tally {
    black_box(&TALLY)
}

/// Measures an asynchronous loop on a runtime with one thread.
pub fn on_one_thread<Fut>(name: impl Into<String>, run: impl Fn(u64) -> Fut + 'static) -> Contender
where
    Fut: Future<Output = u64>,
{
    Contender::new(name, move |iterations| {
        one_thread().block_on(run(iterations))
    })
}

/// Measures an asynchronous loop that itself is a task on a runtime with [`WORKERS`]
/// workers: where services spawn from, unlike the thread that blocks on the runtime.
pub fn on_two_workers<Fut>(name: impl Into<String>, run: impl Fn(u64) -> Fut + 'static) -> Contender
where
    Fut: Future<Output = u64> + Send + 'static,
{
    Contender::new(name, move |iterations| {
        let task = two_workers().spawn(run(iterations));
        two_workers()
            .block_on(task)
            .expect("the measured loop does not panic")
    })
}

/// Measures two such loops at a time, each on a thread of its own. Not as two tasks of one runtime: nothing sees to it that
/// they run on different workers, and one that waits for the other keeps it from running.
pub fn on_two_threads<Fut>(name: impl Into<String>, run: impl Fn(u64) -> Fut + 'static) -> Contender
where
    Fut: Future<Output = u64> + Send + 'static,
{
    Contender::new(name, move |iterations| {
        let together = Arc::new(Barrier::new(WORKERS));
        let (ended, ends) = mpsc::channel();
        for thread in two_threads() {
            let (together, ended, run) = (together.clone(), ended.clone(), run(iterations));
            let work = Box::new(move || {
                together.wait();
                let count = two_workers().block_on(run);
                ended.send(count).expect("it is asked for");
            });
            thread.send(work).expect("the thread is there");
        }
        // Without one of its own, so that a thread that panics is not waited for.
        drop(ended);
        let counts: Vec<u64> = ends.iter().collect();
        assert_eq!(counts.len(), WORKERS, "the measured loops do not panic");
        counts.iter().sum()
    })
}

type Work = Box<dyn FnOnce() + Send>;

/// Threads that are there beforehand: starting one takes longer than a short loop.
fn two_threads() -> &'static [Sender<Work>; WORKERS] {
    static THREADS: OnceLock<[Sender<Work>; WORKERS]> = OnceLock::new();
    THREADS.get_or_init(|| {
        std::array::from_fn(|_| {
            let (thread, work) = mpsc::channel::<Work>();
            thread::spawn(move || work.into_iter().for_each(|work| work()));
            thread
        })
    })
}

/// Runs what has to be there before measuring begins, on the thread of [`on_one_thread`].
pub fn beforehand<T>(work: impl Future<Output = T>) -> T {
    one_thread().block_on(work)
}

fn one_thread() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime with one thread can be built")
    })
}

fn two_workers() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(WORKERS)
            .enable_time()
            .build()
            .expect("a runtime with two workers can be built")
    })
}
