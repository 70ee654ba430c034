//! Tasks of their own.

use std::time::Duration;

use steadfast_core::context::{Context, TraceId};
use steadfast_core::{Cause, TaskError, clock, context, scope, spawn};

use crate::support::{Bomb, Events, Log};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_task_gives_its_value_to_whoever_joins() {
    let task = spawn("sum", async { 1 + 2 });

    assert_eq!(task.await.unwrap(), 3);
}

#[tokio::test]
async fn a_panic_is_handed_to_whoever_joins_with_its_place() {
    let error = spawn("unlucky", async {
        tokio::task::yield_now().await;
        panic!("no luck")
    })
    .await
    .unwrap_err();

    let panic = error.panic().unwrap();
    assert_eq!(panic.message(), "no luck");
    assert_eq!(panic.scope_path().to_string(), "unlucky");
    assert!(
        error.to_string().starts_with("panicked in unlucky"),
        "{error}"
    );
}

#[tokio::test]
async fn the_context_goes_along_with_a_span_of_its_own_and_without_the_scope() {
    let request = Context::new().with_trace_id(TraceId::random());
    let (end, ended) = tokio::sync::oneshot::channel::<()>();

    let started = request.wrap(async {
        context::put("order", "4711").unwrap();
        let outer = scope("outer").timeout(SECOND).run(async |s| {
            s.token();
            let task = spawn("task", async {
                ended.await.unwrap();
                (
                    context::current().trace_id(),
                    context::current().span_id(),
                    context::get("order"),
                    context::scope_path().to_string(),
                    context::cancel().is_cancelled(),
                )
            });
            Ok((context::current(), task))
        });
        outer.await.unwrap()
    });
    let (outer, task) = started.await;
    end.send(()).unwrap();
    let (trace_id, span_id, order, path, cancelled) = task.await.unwrap();

    assert_eq!(trace_id, request.trace_id());
    assert!(span_id.is_some() && span_id != outer.span_id());
    assert_eq!(order.as_deref(), Some("4711"));
    assert_eq!(path, "task");
    assert!(
        !cancelled,
        "nobody cancels it with the scope in which it was started"
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_goes_on_when_its_handle_or_its_scope_is_gone() {
    let log = Log::default();
    let say = log.saying("ended");

    scope("short")
        .run(async |_| {
            drop(spawn("long", async move {
                clock::sleep(SECOND).await;
                say();
            }));
            Ok(())
        })
        .await
        .unwrap();
    log.expect(&[]);
    clock::sleep(2 * SECOND).await;

    log.expect(&["ended"]);
}

#[tokio::test]
async fn an_aborted_task_says_so_to_whoever_joins_and_in_an_event() {
    let events = Events::default();
    let _listening = events.listen();
    let task = spawn("aborted", std::future::pending::<()>());
    assert!(!task.is_finished());

    task.abort();
    let ended = task.await;

    assert!(matches!(ended, Err(TaskError::Cancelled(Cause::Dropped))));
    let told = events.with_message("task was dropped before its end");
    assert_eq!(told[0].field("task"), "aborted");
}

#[test]
fn a_task_that_dies_with_its_runtime_says_so() {
    let events = Events::default();
    let _listening = events.listen();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let entered = runtime.enter();
    let task = spawn("left behind", std::future::pending::<()>());
    drop(entered);
    runtime.block_on(async { spawn("done", async {}).await.unwrap() });

    drop(runtime);

    let told = events.with_message("task was dropped before its end");
    let names: Vec<_> = told.iter().map(|event| event.field("task")).collect();
    assert_eq!(names, ["left behind"]);
    assert!(task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn joining_may_be_dropped_and_taken_up_again() {
    let mut task = spawn("slow", async {
        clock::sleep(2 * SECOND).await;
        7
    });

    assert!(clock::timeout(SECOND, &mut task).await.is_err());

    assert_eq!(task.await.unwrap(), 7);
}

#[tokio::test]
async fn a_future_or_an_output_whose_drop_panics_harms_nobody() {
    let future = spawn("future", async {
        let _bomb = Bomb("future");
    });
    assert_eq!(
        future.await.unwrap_err().panic().unwrap().message(),
        "future"
    );

    let aborted = spawn("aborted", async {
        let _bomb = Bomb("aborted");
        std::future::pending::<()>().await;
    });
    tokio::task::yield_now().await;
    aborted.abort();
    assert!(aborted.await.is_err());

    drop(spawn("output", async { Bomb("output") }));
    tokio::task::yield_now().await;
    assert_eq!(spawn("next", async { 1 }).await.unwrap(), 1);
}

#[test]
#[should_panic = "there is no reactor running"]
fn a_task_needs_a_runtime() {
    drop(spawn("homeless", async {}));
}
