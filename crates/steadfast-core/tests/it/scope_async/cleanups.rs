//! The order of cleanups, and that none is skipped.

use steadfast_core::{BoxError, Verdict, clock, scope};

use crate::support::{Bomb, Log, Reports};

use super::SECOND;

#[tokio::test(start_paused = true)]
async fn sync_and_async_cleanups_run_last_in_first_out() {
    let log = Log::default();

    let ended = scope("demo")
        .run(async |s| {
            for name in ["a", "b"] {
                s.defer(name, log.saying(name));
            }
            let c = log.saying("c");
            s.defer_async("c", async move || {
                clock::sleep(SECOND).await;
                c();
            });
            let d = log.clone();
            let mut owned = s.own("d", 7, async move |value| d.say(format!("d {value}")));
            if *owned == 8 {
                s.defer("not taken", log.saying("not taken"));
            }
            *owned += 1;
            s.defer("e", log.saying("e"));
            Ok(*owned)
        })
        .await;

    assert_eq!(ended.unwrap(), 8);
    log.expect(&["e", "d 8", "c", "b", "a"]);
}

#[tokio::test]
async fn cleanups_run_on_return_on_error_and_on_panic() {
    for exit in ["ok", "err", "panicked"] {
        let log = Log::default();
        let reports = Reports::default();

        let ended = scope("exit")
            .on_report(reports.keep())
            .run(async |s| {
                s.defer("sync", log.saying("sync"));
                let say = log.saying("async");
                s.defer_async("async", async move || say());
                match exit {
                    "err" => return Err("err".into()),
                    "panicked" => panic!("body"),
                    _ => {}
                }
                s.defer("after", log.saying("after"));
                Ok(())
            })
            .await;

        let verdict = ended.map_or_else(|e| e.verdict(), |()| Verdict::Ok);
        assert_eq!(verdict.as_str(), exit);
        let after: &[_] = if exit == "ok" { &["after"] } else { &[] };
        log.expect(&[after, &["async", "sync"]].concat());
        assert_eq!(reports.only().verdict, exit);
    }
}

#[tokio::test(start_paused = true)]
async fn cleanups_that_panic_fail_or_hang_skip_none_of_the_others() {
    let log = Log::default();
    let reports = Reports::default();
    let start = clock::now();

    let ended = scope("troubles")
        .cleanup_limit(2 * SECOND)
        .on_report(reports.keep())
        .run(async |s| {
            s.defer("first", log.saying("first"));
            s.defer("panics", || panic!("sync"));
            s.defer("fails", || Err::<(), _>("sync"));
            s.defer_async("panics at once", || -> std::future::Ready<()> {
                panic!("call")
            });
            s.defer_async("panics later", async || {
                tokio::task::yield_now().await;
                panic!("await")
            });
            s.defer_async("fails later", async || Err::<(), _>("await"));
            s.defer_async("hangs", std::future::pending::<()>);
            s.defer("last", log.saying("last"));
            Ok(())
        })
        .await;

    log.expect(&["last", "first"]);
    assert_eq!(clock::now() - start, 2 * SECOND);
    reports.only().expect(&[
        ("last", "ran"),
        ("hangs", "timed_out"),
        ("fails later", "failed"),
        ("panics later", "panicked"),
        ("panics at once", "panicked"),
        ("fails", "failed"),
        ("panics", "panicked"),
        ("first", "ran"),
    ]);
    let error = ended.unwrap_err();
    let panic = error.panic().unwrap();
    let older: Vec<_> = panic.superseded().iter().map(|p| p.message()).collect();
    assert_eq!((panic.message(), older), ("sync", vec!["await", "call"]));
}

#[tokio::test]
async fn two_panicking_cleanups_leave_the_newest_with_the_older_attached() {
    let ended = scope("twice")
        .run::<(), _, _>(async |s| {
            s.defer("one", || panic!("first registered"));
            s.defer("two", || panic!("last registered"));
            panic!("body");
        })
        .await;

    let error = ended.unwrap_err();
    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), "first registered");
    let older: Vec<_> = panic.superseded().iter().map(|p| p.message()).collect();
    assert_eq!(older, ["body", "last registered"]);
    assert_eq!(panic.scope_path().to_string(), "twice");
}

#[tokio::test]
async fn a_body_that_panics_before_its_future_exists_is_contained() {
    type Body = std::future::Ready<Result<(), BoxError>>;
    let log = Log::default();

    let ended = scope("call")
        .run(|s| -> Body {
            s.defer("cleanup", log.saying("cleanup"));
            panic!("in the call")
        })
        .await;

    assert_eq!(ended.unwrap_err().panic().unwrap().message(), "in the call");
    log.expect(&["cleanup"]);
}

#[tokio::test]
async fn a_body_whose_future_panics_when_it_is_dropped_is_contained() {
    let ended = scope("drop")
        .run(async |_| {
            let _bomb = Bomb("dropped at the end");
            Ok(())
        })
        .await;

    assert_eq!(
        ended.unwrap_err().panic().unwrap().message(),
        "dropped at the end"
    );
}

#[tokio::test]
async fn a_body_may_borrow_from_its_caller() {
    let mut numbers = vec![1, 2];

    scope("borrow")
        .run(async |_| {
            numbers.push(3);
            Ok(())
        })
        .await
        .unwrap();

    assert_eq!(numbers, [1, 2, 3]);
}

#[tokio::test]
async fn a_cleanup_may_register_another_which_runs_next() {
    let log = Log::default();

    scope("register")
        .run(async |s| {
            s.defer("first", log.saying("first"));
            let (handle, inner) = (s.clone(), log.saying("inner"));
            s.defer("sync", move || {
                handle.defer("inner", inner);
            });
            let (handle, inner) = (s.clone(), log.saying("inner async"));
            s.defer_async("async", async move || {
                tokio::task::yield_now().await;
                handle.defer_async("inner async", async move || inner());
            });
            Ok(())
        })
        .await
        .unwrap();

    log.expect(&["inner async", "inner", "first"]);
}
