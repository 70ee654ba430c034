//! Cleanups that look at the outcome and change it, in the sync and the async form.

use std::sync::{Arc, Mutex};

use steadfast_core::{Cancel, Cause, Outcome, Panic, ScopeError, Verdict, clock, recover, scope};

use crate::support::{Bomb, Reports};

type Edited = Outcome<u32, String>;

/// Runs editors, first to last, over a body, in both forms, and compares what the caller gets.
fn check(
    body: fn() -> Result<u32, String>,
    editors: &[fn(&mut Edited)],
    expected: Result<u32, (Verdict, &str)>,
) {
    let told = |ended: Result<u32, ScopeError<String>>| {
        ended.map_err(|error| {
            let text = match &error {
                ScopeError::Failed(text) => text.clone(),
                ScopeError::Panicked(panic) => panic.message().to_owned(),
                ScopeError::Cancelled(cause) => cause.to_string(),
            };
            (error.verdict(), text)
        })
    };
    let expected = expected.map_err(|(verdict, text)| (verdict, text.to_owned()));

    let sync = scope("sync").error::<String>().run_sync(|s| {
        for editor in editors.iter().rev() {
            s.defer_outcome("edit", editor);
        }
        body()
    });
    assert_eq!(told(sync), expected, "sync");

    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let ended = runtime.block_on(scope("async").error::<String>().run(async |s| {
        for editor in editors.iter().rev() {
            s.defer_outcome("edit", *editor);
        }
        body()
    }));
    assert_eq!(told(ended), expected, "async");

    let ended = runtime.block_on(scope("async").error::<String>().run(async |s| {
        for editor in editors.iter().rev() {
            let editor = *editor;
            s.defer_outcome_async("edit", async move |outcome| {
                tokio::task::yield_now().await;
                outcome.change(editor);
                tokio::task::yield_now().await;
            });
        }
        body()
    }));
    assert_eq!(told(ended), expected, "async editors");
}

fn ok() -> Result<u32, String> {
    Ok(1)
}

fn err() -> Result<u32, String> {
    Err("body".into())
}

fn panics() -> Result<u32, String> {
    panic!("body")
}

fn double(outcome: &mut Edited) {
    if let Outcome::Ok(value) = outcome {
        *value *= 2;
    }
}

fn add(outcome: &mut Edited) {
    if let Outcome::Ok(value) = outcome {
        *value += 10;
    }
}

fn answer(outcome: &mut Edited) {
    *outcome = Outcome::Ok(7);
}

fn translate(outcome: &mut Edited) {
    if let Outcome::Err(error) = outcome {
        error.push_str(", translated");
    }
}

fn panic_to_error(outcome: &mut Edited) {
    if let Some(panic) = outcome.panic() {
        *outcome = Outcome::Err(format!("recovered {}", panic.message()));
    }
}

fn fail(outcome: &mut Edited) {
    *outcome = Outcome::Err("commit failed".into());
}

fn shed(outcome: &mut Edited) {
    *outcome = Outcome::Cancelled(Cause::Shed);
}

fn panic_half_way(outcome: &mut Edited) {
    *outcome = Outcome::Ok(99);
    panic!("half-way");
}

#[test]
fn the_caller_gets_what_the_last_editor_left() {
    check(ok, &[], Ok(1));
    check(ok, &[double, add], Ok(12));
    check(ok, &[add, double], Ok(22));
    check(ok, &[fail], Err((Verdict::Err, "commit failed")));
    check(ok, &[fail, answer], Ok(7));
    check(ok, &[shed], Err((Verdict::Cancelled, "shed under load")));
    check(err, &[double], Err((Verdict::Err, "body")));
    check(err, &[translate], Err((Verdict::Err, "body, translated")));
    check(err, &[answer, double], Ok(14));
    check(panics, &[double], Err((Verdict::Panicked, "body")));
    check(
        panics,
        &[panic_to_error, translate],
        Err((Verdict::Err, "recovered body, translated")),
    );
    check(panics, &[answer], Ok(7));
}

#[test]
fn an_editor_that_panics_half_way_makes_its_panic_the_outcome_and_the_next_may_answer() {
    check(ok, &[panic_half_way], Err((Verdict::Panicked, "half-way")));
    check(
        panics,
        &[panic_half_way],
        Err((Verdict::Panicked, "half-way")),
    );
    check(ok, &[panic_half_way, answer], Ok(7));
    check(
        ok,
        &[panic_half_way, panic_to_error],
        Err((Verdict::Err, "recovered half-way")),
    );
}

#[test]
fn a_handler_sees_the_panic_of_its_own_scope_once() {
    let seen = Mutex::new(Vec::new());
    let look = |name: &'static str| {
        let seen = &seen;
        move |outcome: &mut Outcome<(), steadfast_core::BoxError>| {
            let message = outcome.panic().map(|panic| panic.message().to_owned());
            seen.lock().unwrap().push((name, message));
            if outcome.panic().is_some() {
                *outcome = Outcome::Ok(());
            }
        }
    };

    let ended = scope("outer").run_sync(|outer| {
        outer.defer_outcome("outer", look("outer"));
        let inner = scope("inner").run_sync(|inner| {
            inner.defer_outcome("second", look("second"));
            inner.defer_outcome("first", look("first"));
            panic!("inner")
        });
        inner.map_err(ScopeError::into_error)
    });

    assert!(ended.is_ok());
    let seen = seen.into_inner().unwrap();
    let inner = Some("inner".to_owned());
    assert_eq!(seen, [("first", inner), ("second", None), ("outer", None)]);
}

#[test]
fn an_inner_scope_in_a_cleanup_cannot_steal_the_outer_panic() {
    let ended = scope("outer").run_sync::<(), _>(|s| {
        s.defer("helper", || {
            let inner = scope("inner").run_sync(|inner| {
                inner.defer_outcome("steal", |outcome| {
                    assert!(outcome.panic().is_none());
                    *outcome = Outcome::Ok(());
                });
                Ok::<_, steadfast_core::BoxError>(())
            });
            assert!(inner.is_ok());
            assert!(recover(|| ()).is_ok());
        });
        panic!("outer");
    });

    assert_eq!(ended.unwrap_err().panic().unwrap().message(), "outer");
}

#[test]
fn a_recovered_inner_panic_leaves_the_outer_one_intact() {
    let ended = scope("outer").run_sync::<(), _>(|s| {
        s.defer("recovers", || {
            let inner = recover(|| panic!("inner")).unwrap_err();
            assert_eq!(inner.message(), "inner");
        });
        panic!("outer");
    });

    let error = ended.unwrap_err();
    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), "outer");
    assert!(panic.superseded().is_empty());
    assert!(panic.location().is_some());
}

#[test]
fn a_panic_raised_again_by_a_cleanup_is_the_same_and_not_attached_to_itself() {
    let ended = scope("again").run_sync::<(), _>(|s| {
        s.defer_outcome("raise again", |outcome| {
            outcome.panic().unwrap().clone().resume()
        });
        s.defer_outcome("raise again", |outcome| {
            outcome.panic().unwrap().clone().resume()
        });
        panic!("body");
    });

    let error = ended.unwrap_err();
    assert_eq!(error.panic().unwrap().message(), "body");
    assert!(error.panic().unwrap().superseded().is_empty());
}

#[test]
fn a_panic_raised_again_past_its_own_method_is_the_same_too() {
    let ended = scope("again").run_sync::<(), _>(|s| {
        s.defer_outcome("raise again", |outcome| {
            let copy: Panic = outcome.panic().unwrap().clone();
            std::panic::resume_unwind(Box::new(copy));
        });
        panic!("body");
    });

    let error = ended.unwrap_err();
    assert_eq!(error.panic().unwrap().message(), "body");
    assert!(error.panic().unwrap().superseded().is_empty());
}

#[test]
fn an_older_panic_raised_again_becomes_primary_and_is_not_attached_to_itself() {
    let ended = scope("older again").run_sync::<(), _>(|s| {
        s.defer_outcome("raise the oldest", |outcome| {
            let oldest: Panic = outcome.panic().unwrap().superseded()[0].clone();
            oldest.resume();
        });
        s.defer("second", || panic!("second"));
        panic!("first");
    });

    let error = ended.unwrap_err();
    let panic = error.panic().unwrap();
    let older: Vec<_> = panic.superseded().iter().map(|p| p.message()).collect();
    assert_eq!((panic.message(), older), ("first", vec!["second"]));
}

#[test]
fn raising_again_an_early_copy_loses_none_of_the_panics_attached_since() {
    let early = Mutex::new(None);
    let ended = scope("copy").run_sync::<(), _>(|s| {
        for _ in 0..2 {
            s.defer("again", || {
                let copy: Panic = early.lock().unwrap().clone().unwrap();
                copy.resume();
            });
        }
        s.defer("second", || panic!("second"));
        s.defer_outcome("copy", |outcome| {
            *early.lock().unwrap() = outcome.panic().cloned()
        });
        panic!("first");
    });

    let error = ended.unwrap_err();
    let panic = error.panic().unwrap();
    let older: Vec<_> = panic.superseded().iter().map(|p| p.message()).collect();
    assert_eq!((panic.message(), older), ("first", vec!["second"]));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_outcome_may_be_answered_while_the_caller_waits() {
    let cancel = Cancel::new();
    cancel.cancel(Cause::Shed);

    let own_timeout = scope("slow")
        .timeout(std::time::Duration::from_secs(1))
        .run(async |s| {
            s.defer_outcome("answer", |outcome| *outcome = Outcome::Ok("stale"));
            std::future::pending().await
        })
        .await;
    let own_token = scope("shed")
        .cancel_on(&cancel)
        .run(async |s| {
            s.defer_outcome("answer", |outcome| *outcome = Outcome::Ok("stale"));
            std::future::pending().await
        })
        .await;

    assert_eq!(
        (own_timeout.unwrap(), own_token.unwrap()),
        ("stale", "stale")
    );
}

#[tokio::test(start_paused = true)]
async fn an_async_editor_that_exceeds_its_limit_cannot_lose_the_outcome() {
    let reports = Reports::default();

    let ended = scope("hangs")
        .on_report(reports.keep())
        .run(async |s| {
            s.defer_outcome_async("hangs", async |outcome| {
                outcome.change(|outcome| *outcome = Outcome::Ok(2));
                std::future::pending::<()>().await;
                outcome.change(|outcome| *outcome = Outcome::Ok(3));
            });
            Ok(1)
        })
        .await;

    assert_eq!(ended.unwrap(), 2);
    reports.only().expect(&[("hangs", "timed_out")]);
}

#[tokio::test]
async fn an_edit_kept_beyond_the_end_finds_the_outcome_gone() {
    let kept = Arc::new(Mutex::new(None));
    let keep = kept.clone();

    let ended = scope("keep")
        .run(async |s| {
            s.defer_outcome_async("keep", async move |edit| {
                *keep.lock().unwrap() = Some(edit);
            });
            Ok(5)
        })
        .await;

    assert_eq!(ended.unwrap(), 5);
    let edit = kept.lock().unwrap().take().unwrap();
    assert_eq!(edit.change(|_| ()), None);
}

#[tokio::test]
async fn an_editor_may_register_another_cleanup() {
    let ended = scope("register")
        .run(async |s| {
            let handle = s.clone();
            s.defer_outcome("outer editor", move |_| {
                handle.defer_outcome("inner editor", |outcome| *outcome = Outcome::Ok(2));
            });
            Ok(1)
        })
        .await;

    assert_eq!(ended.unwrap(), 2);
}

#[tokio::test]
async fn undo_runs_unless_the_scope_ends_with_a_value() {
    for (exit, undone) in [
        ("ok", false),
        ("err", true),
        ("panic", true),
        ("edited to err", true),
    ] {
        let ran = Arc::new(Mutex::new(false));
        let flag = ran.clone();
        let reports = Reports::default();
        let _ = scope("saga")
            .on_report(reports.keep())
            .run(async |s| {
                s.undo("undo", async move || *flag.lock().unwrap() = true);
                match exit {
                    "err" => return Err("err".into()),
                    "panic" => panic!("panic"),
                    "edited to err" => {
                        s.defer_outcome("edit", |outcome| *outcome = Outcome::Err("e".into()));
                    }
                    _ => {}
                }
                Ok(())
            })
            .await;

        assert_eq!(*ran.lock().unwrap(), undone, "{exit}");
        let said = if undone { "ran" } else { "not_needed" };
        assert!(
            reports.only().entries.contains(&("undo".into(), said)),
            "{exit}"
        );
    }
}

#[tokio::test]
async fn replacing_a_value_whose_drop_panics_is_contained() {
    let ended = scope("bomb")
        .run::<Bomb, _, _>(async |s| {
            s.defer_outcome("replace", |outcome| {
                *outcome = Outcome::Err("replaced".into())
            });
            Ok(Bomb("value"))
        })
        .await;

    let error = ended.unwrap_err();
    assert_eq!(error.panic().unwrap().message(), "value");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_comes_after_the_time_is_dropped_even_if_that_panics() {
    let ended = scope("late")
        .timeout(std::time::Duration::from_secs(1))
        .run::<Bomb, _, _>(async |s| {
            s.spawn("child", clock::sleep(std::time::Duration::from_secs(9)));
            Ok(Bomb("late value"))
        })
        .await;

    assert!(ended.unwrap_err().cause().unwrap().is_timeout());
}
