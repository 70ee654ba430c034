//! A store that stands still while runs begin.

use steadfast::store::binds;
use steadfast::store::testing::{Database, Kind};

use super::served::Served;
use super::*;

#[tokio::test]
async fn a_run_that_cannot_ask_for_longer_than_its_time_what_it_is_for_spends_no_attempt() {
    let database = Database::make(Kind::Postgres).await;
    let once = shell("once", "true", "timeout = \"2s\"\nattempts = 1\n");
    let served = Served::start_at("stalled", &database.direct_url(), &once);
    let store = database.open().await;
    let jobs = Jobs::open(&store).await.unwrap();
    // Whoever asks what a job is for waits, and whoever claims does not.
    let mut lock = store.begin().await.unwrap();
    let sql = "LOCK TABLE steadfast.schedule_occurrence IN ACCESS EXCLUSIVE MODE";
    lock.sql(sql, binds![]).await.map(drop).unwrap();
    let id = enqueue(&jobs, "once", "null", 1).await;

    // Twice as long as its time, within which it would have been discarded.
    let put_off = until(&jobs, id, |job| {
        job.info.state.is_terminal() || job.info.term >= 4
    })
    .await;
    lock.roll_back().await.unwrap();

    assert!(!put_off.info.state.is_terminal(), "{put_off:?}");
    assert_eq!(put_off.info.attempt, 0);
    let job = until_state(&jobs, id, State::Completed).await;
    assert_eq!(job.info.attempt, 1);
    served.server.stop();
}
