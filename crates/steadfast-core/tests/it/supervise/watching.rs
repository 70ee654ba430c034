//! What can be seen of a group: snapshots, events, log lines, metrics.

use super::*;
use steadfast_core::report::{self, Value};
use steadfast_core::supervise::{ChildContext, Event, EventKind, GroupState};

use Restart::Permanent;
use Strategy::OneForOne;

/// Writes down every event in a few words.
fn listen(log: &Arc<Mutex<Vec<String>>>) -> impl Fn(&Event) + Send + Sync + 'static {
    let log = log.clone();
    move |event| {
        let mut line = event.kind.as_str().to_owned();
        if let Some(child) = event.child {
            line.push_str(&format!(" {}{}", child.name, child.run));
        }
        if let EventKind::Ended { end, expected } = &event.kind {
            line.push_str(&format!(" {:?} {expected}", end.kind()));
        }
        log.lock().unwrap().push(line);
    }
}

#[tokio::test(start_paused = true)]
async fn observers_hear_everything_in_the_order_in_which_it_happened() {
    let log = Arc::default();
    let puppets = Puppets::default();
    let group = group(OneForOne, 1)
        .observe(listen(&log))
        .child(puppets.permanent("a"))
        .child(puppets.child("t", Restart::Temporary))
        .start()
        .await
        .unwrap();
    puppets.pull("a", Pull::Fail).await;
    seconds(2).await;
    puppets.pull("t", Pull::Done).await;

    puppets.pull("a", Pull::Panic).await;
    group.ended().await;

    assert_eq!(
        log.lock().unwrap().join(", "),
        "started a1, ready a1, started t1, ready t1, group_ready, \
         ended a1 Failed false, restarting a1, started a2, ready a2, \
         ended t1 Normal false, given_up t1, removed t1, \
         ended a2 Panicked false, escalated, group_ended"
    );
}

#[tokio::test(start_paused = true)]
async fn observers_hear_of_stops_aborts_and_write_offs() {
    let log = Arc::default();
    let puppets = Puppets::default();
    let deaf = || Child::permanent("deaf", async |_| std::future::pending::<()>().await);
    let group = group(OneForOne, 1)
        .observe(listen(&log))
        .child(puppets.permanent("a"))
        .child(deaf())
        .start()
        .await
        .unwrap();
    settle().await;
    log.lock().unwrap().clear();

    group.stop().await;

    assert_eq!(
        log.lock().unwrap().join(", "),
        "stopping deaf1, aborted deaf1, ended deaf1 Cancelled true, \
         stopping a1, ended a1 Stopped true, group_ended"
    );
}

/// Ends after a second, and looks at its group while it is being dropped.
struct Look {
    second: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
    panics: bool,
    window: Arc<Mutex<Option<Supervisor>>>,
    seen: Arc<Mutex<Vec<&'static str>>>,
}

impl Future for Look {
    type Output = ();

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<()> {
        let ended = self.second.as_mut().poll(cx);
        assert!(ended.is_pending() || !self.panics, "after a second");
        ended
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        if let Some(group) = &*self.window.lock().unwrap() {
            self.seen
                .lock()
                .unwrap()
                .push(state(group, "look").as_str());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_is_never_shown_as_running_once_its_future_is_over() {
    for panics in [false, true] {
        let window = Arc::new(Mutex::new(None::<Supervisor>));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (inside, states) = (window.clone(), seen.clone());
        let group = group(OneForOne, 1)
            .child(Child::permanent("look", move |_| Look {
                second: Box::pin(seconds(1)),
                panics,
                window: inside.clone(),
                seen: states.clone(),
            }))
            .start()
            .await
            .unwrap();
        *window.lock().unwrap() = Some(group.clone());

        clock::sleep(Duration::from_millis(1_500)).await;

        assert_eq!(*seen.lock().unwrap(), ["ending"]);
        assert_eq!(state(&group, "look").as_str(), "waiting");
        group.stop().await;
        *window.lock().unwrap() = None;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_cleanup_shows_as_ending_and_the_time_since_then() {
    let group = group(OneForOne, 1)
        .child(Child::permanent("a", async |context: ChildContext| {
            context
                .scope()
                .defer_async("slow", async || seconds(4).await);
            seconds(2).await;
        }))
        .start()
        .await
        .unwrap();

    seconds(3).await;

    let a = child(&group, "a");
    assert_eq!(a.state, ChildState::Ending);
    assert_eq!((clock::now() - a.since).as_secs(), 1);
    assert!(
        group
            .snapshot()
            .to_string()
            .contains("a ending for 1.0s, run 1")
    );
    seconds(4).await;
    let end = child(&group, "a").last_end.unwrap();
    assert_eq!(end.lived().as_secs(), 6);
    group.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_reads_like_a_page_for_people_on_call() {
    let puppets = Puppets::default();
    let group = puppets.trio(group(OneForOne, 5), [Permanent; 3]).await;
    puppets.pull("b", Pull::Fail).await;

    let page = group.snapshot().to_string();

    let lines: Vec<&str> = page.lines().collect();
    assert_eq!(
        lines[0],
        "group running (one for one, 1 of 5 restarts within 60s)"
    );
    assert!(lines[1].starts_with("  a running for "), "{page}");
    assert!(lines[2].starts_with("  b waiting for "), "{page}");
    assert!(lines[2].contains("last end failed"), "{page}");
    assert!(lines[2].contains("supervise/mod.rs:"), "{page}");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_says_the_same_whenever_it_is_read() {
    let puppets = Puppets::default();
    let group = puppets.trio(group(OneForOne, 5), [Permanent; 3]).await;
    puppets.pull("b", Pull::Fail).await;
    let snapshot = group.snapshot();

    let page = snapshot.to_string();
    clock::sleep(Duration::from_millis(500)).await;

    assert!(page.contains("starts in 999.0ms"), "{page}");
    assert_eq!(snapshot.to_string(), page);
}

#[tokio::test(start_paused = true)]
async fn a_group_reports_its_numbers() {
    let puppets = Puppets::default();
    let builder = Supervisor::builder("numbers", rules(OneForOne, 5));
    let group = puppets.trio(builder, [Permanent; 3]).await;
    puppets.pull("b", Pull::Fail).await;

    let numbers = || -> Vec<(String, Value)> {
        let snapshot = report::snapshot();
        let ours = snapshot.metrics().filter(|metric| {
            let label = |name, value: &str| {
                metric
                    .labels
                    .iter()
                    .any(|(n, v)| *n == name && v.as_str() == value)
            };
            label("group", "numbers")
        });
        ours.map(|metric| {
            let rest = metric.labels.iter().skip(1);
            let rest: Vec<String> = rest.map(|(_, value)| value.to_string()).collect();
            (
                format!("{} {}", metric.name, rest.join(" ")),
                metric.value.clone(),
            )
        })
        .collect()
    };
    let value = |name: &str| {
        let all = numbers();
        let found = all.iter().find(|(known, _)| known == name);
        found
            .unwrap_or_else(|| panic!("{name} is not in {all:?}"))
            .1
            .clone()
    };

    assert_eq!(value("steadfast_supervise_running "), Value::Armed(true));
    assert_eq!(
        value("steadfast_supervise_restarts_counted "),
        Value::Gauge(1.0)
    );
    assert_eq!(
        value("steadfast_supervise_children running"),
        Value::Gauge(2.0)
    );
    assert_eq!(
        value("steadfast_supervise_children waiting"),
        Value::Gauge(1.0)
    );
    assert_eq!(
        value("steadfast_supervise_restarts_total b"),
        Value::Counter(1)
    );
    assert_eq!(
        value("steadfast_supervise_starts_total b"),
        Value::Counter(1)
    );

    group.stop().await;
    assert_eq!(value("steadfast_supervise_running "), Value::Armed(false));
    drop(group);
    settle().await;
    assert!(numbers().is_empty(), "a group that is gone tells nothing");
}

/// Keeps the lines of the target `steadfast::supervise`.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn no_child_dies_without_a_line_that_says_which_where_why_and_in_which_trace() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("steadfast::supervise=info")
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _default = tracing::subscriber::set_default(subscriber);
    // While there is only one, a line that another test's thread writes first would be disabled
    // for all.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let puppets = Puppets::default();
    let group = group(OneForOne, 5)
        .child(puppets.permanent("consumer"))
        .start()
        .await
        .unwrap();
    settle().await;
    let trace = child(&group, "consumer").trace_id.unwrap();

    puppets.pull("consumer", Pull::Panic).await;

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("child panicked"))
        .unwrap();
    for part in [
        "ERROR",
        "group=\"group\"",
        "child=\"consumer\"",
        "run=1",
        "supervise/mod.rs:",
        &format!("trace_id={trace}"),
        "pulled",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    let line = text
        .lines()
        .find(|line| line.contains("will be restarted"))
        .unwrap();
    for part in ["WARN", "after_s=1", "restarts=1", "restarts_max=5"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(matches!(group.snapshot().state, GroupState::Running));
}
