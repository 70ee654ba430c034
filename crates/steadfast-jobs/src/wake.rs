//! Wake-ups: there is something to claim, and whether an ordinary claim finds it.
//!
//! A claim begins near its own time ([`decide::floor`](crate::decide::floor)). Of a job whose rank lies further back
//! than that, whoever makes it pending says so, or it would wait for the next look from the very start.

use std::sync::Arc;
use std::time::Duration;

use steadfast_core::decide::backoff::Backoff;
use steadfast_core::{clock, rng};
use steadfast_store::{Store, Wake as Pushed};
use tokio::sync::watch;

use crate::JobId;
use crate::decide::floor::SLACK;
use crate::job::Draft;

/// The channel of the store on which processes wake each other.
pub(crate) const CHANNEL: &str = "jobs";

/// Said there of jobs that an ordinary claim finds. Anything else, such as what older nodes say, is a reason to look
/// from the very start.
const ORDINARY: &str = "ordinary";

/// How long wake-ups for other processes are put together: 5 ms. Each is a transaction of its own,
/// since one inside of an enqueue would take group commit away from everybody.
const WAKES_TOGETHER: Duration = Duration::from_millis(5);

/// The first and the longest wait after one was not sent: up to 100 ms, doubling up to 1 s, half of the longest poll.
const AGAIN_FIRST: Duration = Duration::from_millis(100);
const AGAIN_LONGEST: Duration = Duration::from_secs(1);

/// How often workers were woken.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Signal {
    all: u64,
    /// For what may lie below where claims begin.
    from_start: u64,
}

impl Signal {
    pub(crate) fn note(&mut self, from_start: bool) {
        self.all = self.all.wrapping_add(1);
        self.from_start = self.from_start.wrapping_add(from_start.into());
    }

    /// Tells whether claims are to look from the very start, by what has come in since `before`.
    pub(crate) fn is_from_start(self, before: Self) -> bool {
        self.from_start != before.from_start
    }
}

/// Tells whether claims are to look from the very start, by what a process was woken with.
pub(crate) fn is_from_start(pushed: &Pushed) -> bool {
    !matches!(pushed, Pushed::Payload(text) if **text == *ORDINARY)
}

/// The wake-up for jobs that are being inserted.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    signal: Arc<watch::Sender<Signal>>,
    began: u64,
    /// Whether their ranks lie before the time of the insert.
    ahead: bool,
}

impl Call {
    /// Begins it, before they are inserted.
    pub(crate) fn new(signal: &Arc<watch::Sender<Signal>>, drafts: &[Draft]) -> Self {
        let ahead = |draft: &Draft| draft.options.priority > 0 || draft.options.due_us.is_some();
        Self {
            signal: signal.clone(),
            began: clock::nanos(),
            ahead: drafts.iter().any(ahead),
        }
    }

    /// Sends it, once they can be seen.
    pub(crate) fn send(&self) {
        let late = clock::nanos().saturating_sub(self.began) >= SLACK.as_nanos() as u64;
        let from_start = self.ahead || late;
        self.signal.send_modify(|signal| signal.note(from_start));
    }
}

/// The id of a job that was enqueued in a transaction, and the wake-up that is due when that has
/// committed.
#[must_use = "workers of this process are woken by `send`, after the commit; `id` alone wakes nobody"]
#[derive(Debug)]
pub struct Wake {
    pub(crate) id: JobId,
    pub(crate) call: Option<Call>,
}

impl Wake {
    /// Gives the id.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Wakes the workers of this process, if the commit could not; gives the id.
    pub fn send(self) -> JobId {
        if let Some(call) = &self.call {
            call.send();
        }
        self.id
    }
}

/// Passes wake-ups on to other processes, until nobody is left who could wake.
pub(crate) async fn pass_on(store: Store, mut woken: watch::Receiver<Signal>) {
    let backoff = Backoff::new(AGAIN_FIRST, AGAIN_LONGEST).expect("constants within the bounds");
    // Not what it is by now: somebody may have woken before this began.
    let (mut before, mut failures) = (Signal::default(), 0_u32);
    loop {
        // One that was not sent waits for no other: nobody else may ever say so.
        let goes_on = match failures {
            0 => woken.changed().await.is_ok(),
            _ => woken.has_changed().is_ok(),
        };
        if !goes_on {
            return;
        }
        let now = *woken.borrow_and_update();
        let words = if now.is_from_start(before) {
            ""
        } else {
            ORDINARY
        };
        let wait = match store.wake(CHANNEL, words).await {
            Ok(()) => {
                (before, failures) = (now, 0);
                WAKES_TOGETHER
            }
            Err(error) => {
                tracing::debug!(target: "steadfast::jobs", %error, "a wake-up was not sent");
                failures = failures.saturating_add(1);
                backoff.delay(failures, rng::bits())
            }
        };
        clock::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    fn is_from_start(options: Options, takes: Duration) -> impl Future<Output = bool> {
        let draft = Draft::of_kind("any".into(), "{}".into(), options).unwrap();
        let signal = Arc::new(watch::Sender::new(Signal::default()));
        let before = *signal.borrow();
        let call = Call::new(&signal, &[draft]);
        async move {
            clock::sleep(takes).await;
            call.send();
            assert_ne!(signal.borrow().all, before.all, "workers are woken");
            signal.borrow().is_from_start(before)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_enqueue_say_what_an_ordinary_claim_would_not_find() {
        const COMMIT: Duration = Duration::from_millis(999);
        let usual = Options::new();
        assert!(!is_from_start(usual.clone(), COMMIT).await);
        assert!(!is_from_start(usual.clone().priority(-100), COMMIT).await);
        assert!(!is_from_start(usual.clone().delay(SLACK), COMMIT).await);

        assert!(is_from_start(usual.clone().priority(1), COMMIT).await);
        let past = clock::Timestamp::from_unix_millis(1);
        assert!(is_from_start(usual.clone().due_at(past), COMMIT).await);
        assert!(
            is_from_start(usual, SLACK).await,
            "a transaction was open for long"
        );
    }

    #[cfg(all(feature = "postgres", feature = "test-util"))]
    #[tokio::test(flavor = "multi_thread")]
    async fn a_wake_up_that_was_not_sent_is_sent_again() {
        use steadfast_store::Fault;
        use steadfast_store::testing::{Database, Kind};

        const PATIENCE: Duration = Duration::from_secs(60);
        let database = Database::make(Kind::Postgres).await;
        let (store, other) = (database.open().await, database.open().await);
        let mut pushed = other.wakes(CHANNEL);
        assert_eq!(pushed.next().await, Pushed::Everything, "it listens");
        let signal = watch::Sender::new(Signal::default());
        let woken = signal.subscribe();
        let faults = store.config().faults.clone();
        faults.on_name("wake", Fault::Before);
        let passes = steadfast_core::spawn("pass on", pass_on(store, woken));

        signal.send_modify(|signal| signal.note(true));
        let tried = async {
            while faults.hits() == 0 {
                tokio::task::yield_now().await;
            }
        };
        clock::timeout(PATIENCE, tried).await.expect("it is tried");
        faults.clear();

        let told = clock::timeout(PATIENCE, pushed.next()).await;
        assert!(super::is_from_start(&told.expect("nobody else says so")));
        drop(signal);
        passes.await.unwrap();
    }

    #[test]
    fn other_processes_are_told_the_same_and_what_older_ones_say_is_understood() {
        let payload = |words: &str| Pushed::Payload(words.into());
        assert!(!super::is_from_start(&payload(ORDINARY)));
        assert!(super::is_from_start(&payload("")));
        assert!(super::is_from_start(&Pushed::Everything));
    }
}
