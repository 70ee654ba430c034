//! The registry of sources.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use steadfast_core::pool::{Pool, PoolConfig};
use steadfast_core::report::{
    self, Collector, METRICS_MAX, Metric, MetricDoc, SOURCES_MAX, Source, Value,
};
use steadfast_core::supervise::{Child, ChildContext, Intensity, Rules, Strategy};
use steadfast_core::{Shutdown, Supervisor, recover, scope};

use crate::support::in_own_process;

struct Tells<F>(F);

impl<F: Fn(&mut Collector) + Send + Sync> Source for Tells<F> {
    fn collect(&self, to: &mut Collector) {
        (self.0)(to);
    }
}

/// Gives what a source of this name tells now.
fn told(name: &str) -> Option<(Vec<Metric>, usize)> {
    let snapshot = report::snapshot();
    let source = snapshot
        .sources
        .into_iter()
        .find(|source| source.name.as_str() == name)?;
    Some((source.metrics, source.left_out))
}

#[test]
fn a_source_is_asked_until_it_is_dropped() {
    let source = Arc::new(Tells(|to: &mut Collector| {
        to.counter("orders_total", 3)
            .sum("orders_seconds_total", 0.25)
            .gauge("orders_open", 1.5)
            .armed("breaker_armed", true);
        to.labels([("shop", "berlin".into())])
            .counter("orders_total", 2);
    }));
    report::register("orders", &source).unwrap();

    let (metrics, left_out) = told("orders").unwrap();
    let values: Vec<_> = metrics
        .iter()
        .map(|metric| (metric.name, metric.value.clone()))
        .collect();
    assert_eq!(
        values,
        [
            ("orders_total", Value::Counter(3)),
            ("orders_seconds_total", Value::Sum(0.25)),
            ("orders_open", Value::Gauge(1.5)),
            ("breaker_armed", Value::Armed(true)),
            ("orders_total", Value::Counter(2)),
        ]
    );
    assert_eq!(metrics[4].labels, [("shop", "berlin".into())]);
    assert_eq!(left_out, 0);

    drop(source);
    assert!(told("orders").is_none());
}

#[test]
fn a_source_that_panics_is_left_out_and_spares_the_others() {
    let bad = Arc::new(Tells(|to: &mut Collector| {
        to.counter("half", 1);
        panic!("in the source");
    }));
    let good = Arc::new(Tells(|to: &mut Collector| {
        to.counter("whole", 1);
    }));
    report::register("bad", &bad).unwrap();
    report::register("good", &good).unwrap();

    assert!(told("bad").is_none());
    assert_eq!(told("good").unwrap().0.len(), 1);
}

#[test]
fn a_source_that_is_dropped_while_it_is_asked_and_panics_spares_the_others() {
    struct Leaves(Mutex<Option<Arc<Leaves>>>);
    impl Source for Leaves {
        fn collect(&self, to: &mut Collector) {
            to.counter("last_words_total", 1);
            drop(self.0.lock().unwrap().take());
        }
    }
    impl Drop for Leaves {
        fn drop(&mut self) {
            panic!("dropped by whoever takes the snapshot");
        }
    }
    let leaves = Arc::new(Leaves(Mutex::new(None)));
    report::register("leaves", &leaves).unwrap();
    *leaves.0.lock().unwrap() = Some(leaves.clone());
    drop(leaves);

    assert_eq!(told("leaves").unwrap().0.len(), 1);
    assert!(told("leaves").is_none());
}

#[test]
fn a_source_may_register_another_while_it_is_asked() {
    let inner = Arc::new(Tells(|_: &mut Collector| ()));
    let other = inner.clone();
    let outer = Arc::new(Tells(move |_: &mut Collector| {
        report::register("registered by another", &other).unwrap();
    }));
    report::register("registers", &outer).unwrap();

    assert!(told("registers").is_some());
    assert!(told("registered by another").is_some());
}

#[test]
fn what_a_source_tells_beyond_the_bound_is_counted() {
    let chatty = Arc::new(Tells(|to: &mut Collector| {
        for i in 0..METRICS_MAX + 7 {
            to.counter("x_total", i as u64);
        }
    }));
    report::register("chatty", &chatty).unwrap();

    let (metrics, left_out) = told("chatty").unwrap();

    assert_eq!((metrics.len(), left_out), (METRICS_MAX, 7));
}

#[test]
fn the_kernel_tells_its_panics_by_place_and_what_the_reaper_has() {
    fn known_place() {
        panic!("for the metrics");
    }
    let location = recover(known_place).unwrap_err().location().unwrap();
    let _ = scope("x").run_sync::<(), _>(|_| {
        known_place();
        Ok(())
    });
    assert!(std::panic::catch_unwind(known_place).is_err());

    let place = location.to_string();
    assert_eq!(count("steadfast_panics_total", &place), 3);
    assert_eq!(count("steadfast_panics_contained_total", &place), 2);
    let (metrics, _) = told("kernel").unwrap();
    assert!(
        metrics
            .iter()
            .any(|metric| metric.name == "steadfast_reaper_scopes")
    );
    let mut places: Vec<_> = metrics
        .iter()
        .filter(|metric| metric.name == "steadfast_panics_total")
        .map(|metric| metric.labels.clone())
        .collect();
    let all = places.len();
    places.sort();
    places.dedup();
    assert_eq!(places.len(), all, "labels come once");

    fn count(name: &str, place: &str) -> u64 {
        let (metrics, _) = told("kernel").unwrap();
        let found = metrics.iter().find(|metric| {
            metric.name == name && metric.labels[0] == ("place", place.to_owned().into())
        });
        match &found.unwrap().value {
            Value::Counter(count) => *count,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn the_parts_tell_what_they_describe_and_nothing_else() {
    let pool = Pool::new(PoolConfig::new("described", 1)).unwrap();
    let intensity = Intensity::new(1, Duration::from_secs(1)).unwrap();
    let rules = Rules::new(Strategy::OneForOne, intensity);
    let child = Child::permanent("child", async |child: ChildContext| {
        child.stop_token().cancelled().await;
    });
    let group = Supervisor::builder("described", rules).child(child).start();
    let group = group.await.unwrap();
    let shutdown = Shutdown::default();
    let _ = recover(|| panic!("to be told by place"));

    let snapshot = report::snapshot();

    assert_eq!(snapshot.undescribed(), <Vec<String>>::new());
    for name in [
        "steadfast_pool_depth",
        "steadfast_supervise_children",
        "steadfast_shutdown_phase",
        "steadfast_panics_total",
    ] {
        assert!(
            snapshot.metrics().any(|metric| metric.name == name),
            "{name}"
        );
    }
    drop((pool, shutdown, group));
}

#[test]
fn what_is_told_otherwise_than_described_is_found() {
    struct Wrong;
    impl Source for Wrong {
        fn collect(&self, to: &mut Collector) {
            to.counter("right_total", 1)
                .gauge("wrong_total", 1.0)
                .gauge("new", 1.0);
            to.labels([("b", "x".into())]).counter("labelled_total", 1);
        }

        fn describe(&self) -> &'static [MetricDoc] {
            const {
                &[
                    MetricDoc::counter("right_total", &[], "Right."),
                    MetricDoc::counter("wrong_total", &[], "Wrong."),
                    MetricDoc::counter("labelled_total", &["a"], "Labelled."),
                ]
            }
        }
    }
    in_own_process(
        "report::what_is_told_otherwise_than_described_is_found",
        || {
            let wrong = Arc::new(Wrong);
            report::register("wrong", &wrong).unwrap();

            assert_eq!(
                report::snapshot().undescribed(),
                [
                    r#"labelled_total is told with the labels ["b"], described with ["a"]"#,
                    "new is told and not described",
                    "wrong_total is told as gauge, described as counter",
                ]
            );
        },
    );
}

#[test]
fn sources_are_bounded_and_a_dropped_one_makes_room() {
    in_own_process(
        "report::sources_are_bounded_and_a_dropped_one_makes_room",
        || {
            let source = || Arc::new(Tells(|_: &mut Collector| ()));
            let mut sources: Vec<_> = (0..SOURCES_MAX).map(|_| source()).collect();
            for source in &sources {
                report::register("one of many", source).unwrap();
            }
            let late = source();
            assert_eq!(
                report::register("late", &late).unwrap_err().to_string(),
                "1024 sources are registered already"
            );

            sources.pop();
            report::register("late", &late).unwrap();

            assert!(told("late").is_some());
        },
    );
}
