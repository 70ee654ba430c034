//! This process in the store.

use std::sync::Arc;
use std::time::Duration;

use steadfast_core::{Cancel, Cause, Task, clock, spawn};
use steadfast_store::{Dialect, Store, binds};

use crate::Error;

#[derive(Clone)]
pub(crate) struct Node(Arc<Inner>);

struct Inner { id: i64, lost: Cancel, store: Store, task: Task<()> }

impl Node {
    pub(crate) async fn register(store: &Store) -> Result<Self, Error> {
        let insert = match store.dialect() {
            Dialect::Sqlite => "INSERT INTO steadfast_node (service,version,host,pid,started_us,beat_us,lease_until_us) VALUES ('a','1','h',1,0,0,CAST(unixepoch('subsec') * 1000000 AS INTEGER)+30000000) RETURNING id",
            Dialect::Postgres => "INSERT INTO steadfast.node (service,version,host,pid,started_us,beat_us,lease_until_us) VALUES ('a','1','h',1,0,0,steadfast.now_us()+30000000) RETURNING id",
        };
        let id = store.write(async |mut tx| { let rows = tx.sql(insert, binds![]).await?; rows.one()?.get::<i64>(0) }).await?;
        let lost = Cancel::new();
        let task = spawn("beat", { let (store, lost) = (store.clone(), lost.clone()); async move { loop {
            clock::sleep(Duration::from_secs(10)).await;
            let update = match store.dialect() {
                Dialect::Sqlite => "UPDATE steadfast_node SET lease_until_us = CAST(unixepoch('subsec') * 1000000 AS INTEGER)+30000000 WHERE id = ?1 RETURNING id",
                Dialect::Postgres => "UPDATE steadfast.node SET lease_until_us = steadfast.now_us()+30000000 WHERE id = $1 RETURNING id",
            };
            let r: Result<_, steadfast_store::Error> = store.write(async |mut tx| tx.sql(update, binds![id]).await).await;
            if r.is_err() { lost.cancel(Cause::LeaseLost); return; }
        } } });
        Ok(Self(Arc::new(Inner { id, lost, store: store.clone(), task })))
    }
    pub(crate) fn id(&self) -> i64 { self.0.id }
    pub(crate) fn lost(&self) -> Cancel { self.0.lost.clone() }
    pub(crate) fn lease(&self) -> Duration { Duration::from_secs(30) }
    pub(crate) fn margin(&self) -> Duration { Duration::from_secs(5) }
    pub(crate) fn experience(&self) -> Vec<(u64, u64, bool)> { Vec::new() }
    pub(crate) async fn end(&self) {
        self.0.task.abort();
        let update = match self.0.store.dialect() {
            Dialect::Sqlite => "UPDATE steadfast_node SET ended_us = 1 WHERE id = ?1 RETURNING id",
            Dialect::Postgres => "UPDATE steadfast.node SET ended_us = 1 WHERE id = $1 RETURNING id",
        };
        let id = self.0.id;
        let _: Result<_, steadfast_store::Error> = self.0.store.write(async |mut tx| tx.sql(update, binds![id]).await).await;
    }
}
