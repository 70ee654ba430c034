//! How long a cleanup may take.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::{clock, context, scope};

use crate::support::Log;

use super::SECOND;

#[tokio::test(start_paused = true)]
async fn a_limit_without_end_is_no_limit() {
    let log = Log::default();

    scope("patient")
        .cleanup_limit(Duration::MAX)
        .timeout(Duration::MAX)
        .run(async |s| {
            s.spawn("child", clock::sleep(SECOND));
            let say = log.saying("slow");
            s.defer_async("slow", async move || {
                clock::sleep(3600 * SECOND).await;
                say();
            });
            Ok(())
        })
        .await
        .unwrap();

    log.expect(&["slow"]);
}

#[tokio::test(start_paused = true)]
async fn each_cleanup_has_the_deadline_of_its_own_limit() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let look = |name: &'static str| {
        let seen = seen.clone();
        move || {
            seen.lock()
                .unwrap()
                .push((name, context::current().time_left()))
        }
    };

    scope("deadlines")
        .timeout(9 * SECOND)
        .cleanup_limit(2 * SECOND)
        .run(async |s| {
            s.defer("sync after", look("sync after"));
            let now = look("second");
            s.defer_async("second", async move || now());
            let now = look("first");
            s.defer_async("first", async move || {
                now();
                clock::sleep(SECOND).await;
            });
            s.defer("sync before", look("sync before"));
            look("body")();
            Ok(())
        })
        .await
        .unwrap();

    let seen = seen.lock().unwrap();
    assert_eq!(
        *seen,
        [
            ("body", Some(9 * SECOND)),
            ("sync before", None),
            ("first", Some(2 * SECOND)),
            ("second", Some(2 * SECOND)),
            ("sync after", None),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn cleanups_are_not_part_of_the_timeout() {
    let log = Log::default();

    let ended = scope("slow cleanup")
        .timeout(SECOND)
        .run(async |s| {
            let say = log.saying("cleaned up");
            s.defer_async("slow", async move || {
                clock::sleep(3 * SECOND).await;
                say();
            });
            Ok(1)
        })
        .await;

    assert_eq!(ended.unwrap(), 1);
    log.expect(&["cleaned up"]);
}

#[tokio::test(start_paused = true)]
async fn the_work_of_a_cleanup_is_not_cancelled_with_its_scope() {
    let log = Log::default();
    let say = log.saying("rolled back");

    let ended = scope("outer")
        .run::<(), _, _>(async |s| {
            s.token();
            s.defer_async("roll back", async move || {
                assert!(!context::cancel().is_cancelled());
                let inner = scope("roll back")
                    .run(async |inner| {
                        let child = inner.spawn("part", async {
                            assert!(!context::cancel().is_cancelled());
                            clock::sleep(SECOND).await;
                            4
                        });
                        Ok(child.await?)
                    })
                    .await;
                assert_eq!(inner.unwrap(), 4);
                say();
            });
            Err("failed".into())
        })
        .await;

    assert!(ended.unwrap_err().failed().is_some());
    log.expect(&["rolled back"]);
}
