//! Faults at every operation, for tests. With the feature `test-util`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use steadfast_core::clock;

use crate::Error;
use crate::error::Trouble;

/// Makes operations of a store fail: one by one, so that a test can sweep them.
///
/// An operation is an intent, the begin of a transaction, a statement in it, or its commit. Each has
/// a name: that of the statement (`claim`), `begin`, `sql` or `commit`. Beats of nodes are counted only by
/// [`on_name`](Self::on_name), since nobody knows when they come.
///
/// # Examples
/// ```
/// # #[cfg(feature = "sqlite")] {
/// # use steadfast_store::testing::{Database, Kind};
/// # use steadfast_store::{Config, Error, Fault, Faults, Store, binds};
/// # #[tokio::main] async fn main() {
/// # let database = Database::make(Kind::Sqlite).await;
/// let faults = Faults::new();
/// let store = Store::open(Config { faults: faults.clone(), ..database.config() }).await.unwrap();
///
/// // Fail operation 1, 2, 3 … until a round ends untouched.
/// for n in 1.. {
///     faults.on(n, Fault::Before);
///     let round = store.write(async |mut tx| tx.sql("SELECT 1", binds![]).await).await;
///     if faults.hits() == 0 {
///         assert!(round.is_ok());
///         break;
///     }
///     assert!(round.unwrap_err().is_retryable());
/// }
/// assert_eq!(faults.count(), 3, "begin, sql, commit");
/// # } main(); }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    count: u64,
    hits: u64,
    nth: Option<(u64, Fault)>,
    named: Vec<(String, Fault)>,
}

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing was done.
    Before,
    /// It was done, and the answer is lost: the error says that the outcome is unknown.
    After,
    /// It begins this much later.
    Delay(Duration),
    /// It panics, and nothing was done.
    Panic,
}

impl Faults {
    /// Makes a plan without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has the `n`th operation from now on fail, counted from 1. Forgets all earlier plans.
    pub fn on(&self, n: u64, fault: Fault) {
        *self.plan() = Plan {
            nth: Some((n, fault)),
            ..Plan::default()
        };
    }

    /// Has every operation of this name fail, beats included, until [`clear`](Self::clear).
    pub fn on_name(&self, name: impl Into<String>, fault: Fault) {
        self.plan().named.push((name.into(), fault));
    }

    /// Ends all faults, and counts from the beginning.
    pub fn clear(&self) {
        *self.plan() = Plan::default();
    }

    /// Tells how many operations there were since the plan was made.
    pub fn count(&self) -> u64 {
        self.plan().count
    }

    /// Tells how many of them were hit by a fault.
    pub fn hits(&self) -> u64 {
        self.plan().hits
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does an operation, with what is planned for it.
    pub(crate) async fn through<T>(
        &self,
        name: &str,
        counted: bool,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match self.next(name, counted) {
            None => operation.await,
            Some(Fault::Before) => Err(Trouble::Injected { done: false }.into()),
            Some(Fault::After) => {
                operation.await?;
                Err(Trouble::Injected { done: true }.into())
            }
            Some(Fault::Delay(delay)) => {
                clock::sleep(delay).await;
                operation.await
            }
            Some(Fault::Panic) => panic!("a test has {name:?} panic"),
        }
    }

    fn next(&self, name: &str, counted: bool) -> Option<Fault> {
        let mut plan = self.plan();
        let named = plan.named.iter().find(|(known, _)| known == name);
        let mut fault = named.map(|(_, fault)| *fault);
        if counted {
            plan.count += 1;
            if let Some((n, planned)) = plan.nth
                && n == plan.count
            {
                fault = Some(planned);
            }
        }
        plan.hits += u64::from(fault.is_some());
        fault
    }
}
