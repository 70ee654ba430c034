//! Scopes that run to their end on one thread.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use steadfast_core::{BoxError, Cause, Outcome, ScopeError, Verdict, context, recover, scope};

use crate::support::{Bomb, Log, Reports};

#[test]
fn cleanups_of_loops_branches_and_nested_calls_run_last_in_first_out() {
    let log = RefCell::new(Vec::new());
    let branch_taken = log.borrow().is_empty();

    let ended = scope("mix").run_sync(|s| {
        let helper = |name: &'static str| {
            s.defer("helper", || log.borrow_mut().push(name.to_owned()));
        };
        for i in 0..3 {
            let log = &log;
            s.defer("loop", move || log.borrow_mut().push(format!("loop {i}")));
        }
        if branch_taken {
            helper("taken");
        } else {
            helper("not taken");
        }
        let owned = s.own("own", "value", |value| {
            log.borrow_mut().push(format!("own {value}"))
        });
        helper("last");
        Ok(owned.len())
    });

    assert_eq!(ended.unwrap(), 5);
    let log = log.take();
    assert_eq!(
        log,
        ["last", "own value", "taken", "loop 2", "loop 1", "loop 0"]
    );
}

#[test]
fn cleanups_run_on_return_on_error_and_on_panic() {
    fn check(body: fn() -> Result<u8, BoxError>, expected: Verdict) {
        let log = RefCell::new(Vec::new());
        let ended = scope("exit").run_sync(|s| {
            s.defer("first", || log.borrow_mut().push("first"));
            s.defer("second", || log.borrow_mut().push("second"));
            let value = body()?;
            s.defer("after", || log.borrow_mut().push("after"));
            Ok(value)
        });

        let verdict = ended
            .as_ref()
            .map_or_else(ScopeError::verdict, |_| Verdict::Ok);
        assert_eq!(verdict, expected);
        let after: &[_] = if expected == Verdict::Ok {
            &["after"]
        } else {
            &[]
        };
        assert_eq!(log.take(), [after, &["second", "first"]].concat());
    }

    check(|| Ok(7), Verdict::Ok);
    check(|| Err("failed".into()), Verdict::Err);
    check(|| panic!("panicked"), Verdict::Panicked);
}

#[test]
fn captured_values_are_those_of_the_registration_and_cells_those_of_the_end() {
    let seen = RefCell::new(Vec::new());
    let cell = Cell::new(1);

    scope("capture")
        .run_sync(|s| {
            let mut number = 1;
            let captured = number;
            let (seen, cell) = (&seen, &cell);
            s.defer("look", move || {
                seen.borrow_mut().push((captured, cell.get()))
            });
            number += 1;
            cell.set(number);
            Ok(())
        })
        .unwrap();

    assert_eq!(seen.take(), [(1, 2)]);
}

#[test]
fn a_cleanup_that_panics_or_fails_skips_none_of_the_others() {
    let log = Log::default();
    let reports = Reports::default();

    let ended = scope("troubles").on_report(reports.keep()).run_sync(|s| {
        s.defer("one", log.saying("one"));
        s.defer("two", || panic!("two is broken"));
        s.defer("three", || Err::<(), _>("three failed"));
        s.defer("four", log.saying("four"));
        Ok(())
    });

    log.expect(&["four", "one"]);
    assert_eq!(
        ended.unwrap_err().panic().unwrap().message(),
        "two is broken"
    );
    let report = reports.only();
    report.expect(&[
        ("four", "ran"),
        ("three", "failed"),
        ("two", "panicked"),
        ("one", "ran"),
    ]);
    assert_eq!(report.verdict, "panicked");
    assert!(report.text.contains("three failed"), "{}", report.text);
}

#[test]
fn a_failed_cleanup_alone_leaves_the_outcome_as_it_was() {
    let ended = scope("failed cleanup").run_sync(|s| {
        s.defer("fails", || Err::<(), _>("not that bad"));
        Ok(3)
    });

    assert_eq!(ended.unwrap(), 3);
}

#[test]
fn the_newest_panic_is_primary_and_the_older_ones_are_attached_in_order() {
    let ended = scope("four").run_sync::<(), _>(|s| {
        s.defer("c", || panic!("fourth"));
        s.defer("b", || panic!("third"));
        s.defer("a", || panic!("second"));
        panic!("first");
    });

    let error = ended.unwrap_err();
    let panic = error.panic().unwrap();
    let older: Vec<_> = panic.superseded().iter().map(|p| p.message()).collect();
    assert_eq!(panic.message(), "fourth");
    assert_eq!(older, ["first", "second", "third"]);
    assert!(
        panic
            .superseded()
            .iter()
            .all(|older| older.superseded().is_empty())
    );
}

#[test]
fn nothing_is_unwinding_while_cleanups_run() {
    let panicking = Cell::new(true);

    let _ = scope("caught").run_sync::<(), _>(|s| {
        s.defer("look", || panicking.set(std::thread::panicking()));
        panic!("body");
    });

    assert!(!panicking.get());
}

#[test]
fn all_that_cleanups_captured_is_released_at_the_end_in_every_way_out() {
    for exit in [
        "ok",
        "err",
        "panic",
        "cleanup panics",
        "disarmed",
        "run early",
    ] {
        let live = Rc::new(());
        let _ = scope("release").run_sync(|s| {
            let (a, b, c) = (live.clone(), live.clone(), live.clone());
            s.defer("small", move || drop(a));
            let large = [0u64; 32];
            s.defer("large", move || drop((large, b)));
            let owned = s.own("own", c, drop);
            let d = live.clone();
            let handle = s.defer("handled", move || drop(d));
            match exit {
                "ok" => {}
                "err" => return Err("err".into()),
                "panic" => panic!("panic"),
                "cleanup panics" => {
                    let e = live.clone();
                    s.defer("panics", move || {
                        let _e = e;
                        panic!("cleanup");
                    });
                }
                "disarmed" => {
                    assert!(handle.disarm());
                    drop(owned.disarm());
                }
                _ => assert!(handle.run().unwrap().is_ok()),
            }
            Ok::<_, BoxError>(())
        });
        assert_eq!(Rc::strong_count(&live), 1, "{exit}");
    }
}

#[test]
fn an_owned_value_stays_usable_and_reaches_its_cleanup_in_every_way_out() {
    for exit in ["ok", "err", "panic", "dropped early", "moved away"] {
        let cleaned = Cell::new(0);
        let _ = scope("own").run_sync(|s| {
            let mut owned = s.own("number", 1, |number| cleaned.set(number));
            *owned += 41;
            match exit {
                "err" => return Err("err".into()),
                "panic" => panic!("panic"),
                "dropped early" => drop(owned),
                "moved away" => {
                    let boxed = Box::new(owned);
                    assert_eq!(**boxed, 42);
                }
                _ => {}
            }
            Ok::<_, BoxError>(())
        });
        assert_eq!(cleaned.get(), 42, "{exit}");
    }
}

#[test]
fn a_value_given_back_early_is_cleaned_up_at_the_end_and_in_its_order() {
    let log = Log::default();

    scope("early")
        .run_sync(|s| {
            let owned = s.own("own", (), |()| log.say("own"));
            s.defer("later", log.saying("later"));
            drop(owned);
            log.say("body");
            Ok(())
        })
        .unwrap();

    log.expect(&["body", "later", "own"]);
}

#[test]
fn a_disarmed_value_comes_back_and_is_not_cleaned_up() {
    let cleaned = Cell::new(false);
    let reports = Reports::default();

    let value = scope("disarm").on_report(reports.keep()).run_sync(|s| {
        let owned = s.own("own", String::from("kept"), |_| cleaned.set(true));
        Ok(owned.disarm())
    });

    assert_eq!(value.unwrap(), "kept");
    assert!(!cleaned.get());
    reports.only().expect(&[]);
}

#[test]
fn a_leaked_guard_is_reported_as_missing() {
    let reports = Reports::default();

    let ended = scope("leak").on_report(reports.keep()).run_sync(|s| {
        std::mem::forget(s.own("leaked", 5, |_| ()));
        Ok(())
    });

    assert!(ended.is_ok());
    reports.only().expect(&[("leaked", "missing")]);
}

#[test]
fn a_handle_runs_its_cleanup_once_or_disarms_it() {
    let log = Log::default();

    scope("handles")
        .run_sync(|s| {
            s.defer("kept", log.saying("kept"));
            let early = s.defer("early", log.saying("early"));
            let disarmed = s.defer("disarmed", log.saying("disarmed"));
            let answer = s.defer_outcome("editor", |_| log.say("editor"));
            assert!(early.run().unwrap().is_ok());
            assert!(disarmed.disarm());
            assert!(answer.disarm());
            log.say("body");
            Ok(())
        })
        .unwrap();

    log.expect(&["early", "body", "kept"]);
}

#[test]
fn an_early_run_tells_how_it_went_and_leaves_the_outcome_alone() {
    let ended = scope("early").run_sync(|s| {
        let panics = s.defer("panics", || panic!("early"));
        assert_eq!(panics.run().unwrap().as_str(), "panicked");
        let fails = s.defer("fails", || Err::<(), _>("early"));
        assert_eq!(fails.run().unwrap().as_str(), "failed");
        Ok(1)
    });

    assert_eq!(ended.unwrap(), 1);
}

#[test]
fn registering_and_disarming_in_a_loop_keeps_the_others_in_place() {
    let log = Log::default();

    scope("loop")
        .run_sync(|s| {
            s.defer("outer", log.saying("outer"));
            for _ in 0..1_000 {
                assert!(s.defer("inner", log.saying("inner")).disarm());
            }
            let first = s.defer("first", log.saying("first"));
            let second = s.defer("second", log.saying("second"));
            assert!(first.disarm());
            s.defer("third", log.saying("third"));
            assert!(second.disarm());
            Ok(())
        })
        .unwrap();

    log.expect(&["third", "outer"]);
}

#[test]
fn more_cleanups_than_fit_in_place_keep_their_order() {
    let log = RefCell::new(Vec::new());

    scope("many")
        .run_sync(|s| {
            for i in 0..100 {
                let log = &log;
                s.defer("one", move || log.borrow_mut().push(i));
            }
            Ok(())
        })
        .unwrap();

    assert!(log.take().into_iter().rev().eq(0..100));
}

#[test]
fn cleanups_may_borrow_from_the_caller_and_need_not_be_send() {
    let mut buffer = vec![1, 2, 3];
    let rc = Rc::new(());

    scope("borrow")
        .run_sync(|s| {
            s.defer("clear", || buffer.clear());
            s.defer("rc", || drop(rc));
            Ok(())
        })
        .unwrap();

    assert!(buffer.is_empty());
}

#[test]
fn drops_that_panic_in_values_errors_and_closures_are_contained() {
    let log = Log::default();

    let value = scope("value").run_sync::<Bomb, _>(|s| {
        s.defer("kept", log.saying("value"));
        s.defer("panics", || panic!("replaces the value"));
        Ok(Bomb("value"))
    });
    assert_eq!(
        value.unwrap_err().panic().unwrap().message(),
        "replaces the value"
    );

    let error = scope("error").error::<Bomb>().run_sync::<(), _>(|s| {
        s.defer("kept", log.saying("error"));
        s.defer("panics", || panic!("replaces the error"));
        Err(Bomb("error"))
    });
    assert_eq!(
        error.unwrap_err().panic().unwrap().message(),
        "replaces the error"
    );

    let closure = scope("closure").run_sync(|s| {
        s.defer("kept", log.saying("closure"));
        let bomb = Bomb("captured");
        s.defer("armed", move || {
            let _bomb = &bomb;
        });
        Ok(())
    });
    assert_eq!(closure.unwrap_err().panic().unwrap().message(), "captured");

    log.expect(&["value", "error", "closure"]);
}

#[test]
fn a_failed_cleanup_whose_error_panics_when_it_is_shown_or_dropped_is_contained() {
    #[derive(Debug)]
    struct Nasty(#[allow(dead_code, reason = "dropped")] Bomb);
    impl std::fmt::Display for Nasty {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("shown")
        }
    }
    impl std::error::Error for Nasty {}
    let log = Log::default();
    let events = crate::support::Events::default();
    let _listening = events.listen();

    let ended = recover(|| {
        scope("nasty").run_sync(|s| {
            s.defer("kept", log.saying("kept"));
            s.defer("nasty", || Err::<(), _>(Nasty(Bomb("dropped"))));
            Ok(4)
        })
    });

    assert_eq!(ended.unwrap().unwrap(), 4);
    log.expect(&["kept"]);
}

#[test]
fn the_body_of_an_inner_scope_may_register_with_the_outer_one() {
    let log = Log::default();

    scope("outer")
        .run_sync(|outer| {
            outer.defer("outer first", log.saying("outer first"));
            scope("inner").run_sync(|inner| {
                inner.defer("inner", log.saying("inner"));
                outer.defer("outer second", log.saying("outer second"));
                Ok::<_, BoxError>(())
            })?;
            Ok(())
        })
        .unwrap();

    log.expect(&["inner", "outer second", "outer first"]);
}

#[test]
fn cleanups_see_the_scope_without_its_deadline_and_cancellation() {
    let seen = RefCell::new(Vec::new());

    scope("outer")
        .timeout(std::time::Duration::from_secs(5))
        .run_sync(|s| {
            seen.borrow_mut().push((
                context::scope_path().to_string(),
                context::current().deadline().is_some(),
                context::current().trace_id(),
            ));
            s.defer("look", || {
                seen.borrow_mut().push((
                    context::scope_path().to_string(),
                    context::current().deadline().is_some(),
                    context::current().trace_id(),
                ));
            });
            Ok(())
        })
        .unwrap();

    let seen = seen.take();
    assert_eq!((seen[0].0.as_str(), seen[0].1), ("outer", true));
    assert_eq!((seen[1].0.as_str(), seen[1].1), ("outer", false));
    assert_eq!(seen[0].2, seen[1].2);
    assert!(context::scope_path().is_empty());
}

#[test]
fn the_report_callback_may_panic() {
    let ended = scope("report")
        .on_report(|_| panic!("in the callback"))
        .run_sync(|_| Ok(1));

    assert_eq!(ended.unwrap(), 1);
}

#[test]
fn the_error_says_how_the_scope_ended() {
    let failed = scope("x").error::<&str>().run_sync::<(), _>(|_| Err("no"));
    assert_eq!(failed.as_ref().unwrap_err().failed(), Some(&"no"));
    assert_eq!(failed.unwrap_err().to_string(), "no");

    let cancelled = scope("x").run_sync(|s| {
        s.defer_outcome("cancel", |outcome| {
            *outcome = Outcome::Cancelled(Cause::Shed)
        });
        Ok(())
    });
    let error = cancelled.unwrap_err();
    assert!(matches!(error.cause(), Some(Cause::Shed)));
    assert_eq!(error.to_string(), "cancelled: shed under load");

    let panicked = scope("secret").run_sync::<(), _>(|_| panic!("password 1234"));
    let error = panicked.unwrap_err();
    assert!(error.to_string().contains("secret") && !error.to_string().contains("1234"));
    let flat: BoxError = error.into_error();
    assert!(flat.downcast_ref::<steadfast_core::Panic>().is_some());
}

#[test]
fn scopes_on_many_threads_do_not_see_each_other() {
    let log = Arc::new(Log::default());
    let threads: Vec<_> = (0..4)
        .map(|i| {
            let log = log.clone();
            std::thread::spawn(move || {
                for _ in 0..50 {
                    let ended = scope("thread").run_sync::<(), _>(|s| {
                        s.defer("b", || panic!("b{i}"));
                        panic!("a{i}");
                    });
                    let error = ended.unwrap_err();
                    let panic = error.panic().unwrap();
                    assert_eq!(panic.message(), format!("b{i}"));
                    assert_eq!(panic.superseded()[0].message(), format!("a{i}"));
                }
                log.say("done");
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }

    assert_eq!(log.lines().len(), 4);
}
