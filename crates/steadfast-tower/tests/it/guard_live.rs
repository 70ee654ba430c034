//! A policy that changes while the guard is at work.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::routing::get as route;
use http::Request;
use steadfast_core::{Task, clock, context, spawn, testing};
use steadfast_tower::policy::{Revision, Signed};
use steadfast_tower::{Guard, PolicyDocument};
use tokio::sync::Semaphore;
use tower::ServiceExt;

const MS: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

const POLICY: &str = r#"
[admissions.http]
permits = 2
queue = 1
queue_wait = "1s"

[rates.all]
requests = 1
period = "1m"
burst = 3

[timeouts.page]
timeout = "learn"
timeout_floor = "100ms"
timeout_ceiling = "10s"

[routes."/work"]
timeout = "page"
admission = "http"

[routes."/limited"]
timeout = "page"
quota = "all"
"#;

fn document(text: &str) -> PolicyDocument {
    PolicyDocument::new("policy.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn signed() -> Signed {
    Signed::new("ann", "INC-7").unwrap()
}

#[test]
fn what_is_around_no_routes_takes_none() {
    let refused = |guard: &Guard| {
        let proposal = guard.propose(document(POLICY), signed());
        guard.check_proposal(&proposal).err()
    };
    let calls = Guard::new(document("")).unwrap();

    let error = refused(&calls).unwrap().to_string();
    assert!(error.contains("the guard is around no routes"), "{error}");
    // It may be put around some later, where it was made with them.
    assert!(refused(&Guard::new(document(POLICY)).unwrap()).is_none());
    assert!(!calls.armed().layered);
    let _layer = calls.layer(|_| Some("/work"));
    assert!(calls.armed().layered && refused(&calls).is_none());
}

/// A service whose work ends when it is told to.
struct Service {
    guard: Guard,
    app: Router,
    go_on: Arc<Semaphore>,
    limited: &'static str,
}

impl Service {
    async fn start() -> Self {
        Self::named("/limited").await
    }

    /// One whose second route is called otherwise, to find it in a report of the whole process.
    async fn named(limited: &'static str) -> Self {
        let (guard, go_on) = (
            Guard::new(document(&POLICY.replace("/limited", limited))).unwrap(),
            Arc::new(Semaphore::new(0)),
        );
        let wait = go_on.clone();
        let work = route(async move || {
            wait.acquire().await.unwrap().forget();
            context::current().tier().to_string()
        });
        let routes = Router::new().route("/work", work);
        let routes = routes.route(limited, route(async || "served"));
        let app = guard.protect(routes).await.unwrap();
        Self {
            guard,
            app,
            go_on,
            limited,
        }
    }

    async fn ask(&self, path: &str) -> Task<(u16, String)> {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let app = self.app.clone();
        let task = spawn("client", async move {
            let response = app.oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            let body = axum::body::to_bytes(response.into_body(), 10_000).await;
            (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
        });
        clock::sleep(MS).await;
        task
    }

    async fn status(&self, path: &str) -> u16 {
        self.ask(path).await.await.unwrap().0
    }

    fn change(&self, from: &str, to: &str) -> Result<usize, String> {
        let policy = POLICY.replace("/limited", self.limited);
        assert!(policy.contains(from), "{from}");
        let changed = self
            .guard
            .apply(document(&policy.replace(from, to)), signed());
        changed
            .map(|changes| changes.len())
            .map_err(|refused| refused.to_string())
    }
}

#[tokio::test(start_paused = true)]
async fn permits_in_flight_and_places_in_the_queue_go_on_over_a_change() {
    let service = Service::start().await;
    let running = [service.ask("/work").await, service.ask("/work").await];
    let waiting = service.ask("/work").await;
    assert_eq!(
        service.status("/work").await,
        503,
        "two permits and one place"
    );

    // Something else: nobody gets a permit from it.
    assert_eq!(
        service.change("timeout_ceiling = \"10s\"", "timeout_ceiling = \"20s\""),
        Ok(1)
    );
    assert_eq!(service.status("/work").await, 503);

    // A permit more is for the one that waits, and then there is a place again.
    assert_eq!(service.change("permits = 2", "permits = 3"), Ok(2));
    clock::sleep(MS).await;
    let next = service.ask("/work").await;
    assert_eq!(service.status("/work").await, 503);
    service.go_on.add_permits(4);

    for task in running.into_iter().chain([waiting, next]) {
        assert_eq!(task.await.unwrap().0, 200);
    }
    assert_eq!(service.guard.armed().revision, 3);
}

#[tokio::test(start_paused = true)]
async fn fewer_permits_take_nothing_from_those_in_flight() {
    let service = Service::start().await;
    let running = [service.ask("/work").await, service.ask("/work").await];

    service.change("permits = 2", "permits = 1").unwrap();

    let waiting = service.ask("/work").await;
    service.go_on.add_permits(1);
    clock::sleep(MS).await;
    assert!(
        !waiting.is_finished(),
        "one is still in flight, and one may be"
    );
    service.go_on.add_permits(2);
    for task in running.into_iter().chain([waiting]) {
        assert_eq!(task.await.unwrap().0, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_from_a_quota_stays_taken() {
    let service = Service::start().await;
    for _ in 0..2 {
        assert_eq!(service.status("/limited").await, 200);
    }

    service.change("permits = 2", "permits = 5").unwrap();
    service.change("burst = 3", "burst = 4").unwrap();

    for expected in [200, 200, 429] {
        assert_eq!(service.status("/limited").await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_learned_timeout_goes_on_from_where_it_was() {
    let service = Service::named("/learned").await;
    let timeout = || {
        let snapshot = steadfast_core::report::snapshot();
        let mut found = snapshot.metrics().filter(|metric| {
            metric.name == "steadfast_timeout_seconds"
                && format!("{metric:?}").contains("\"/learned\"")
        });
        format!("{:?}", found.next().unwrap().value)
    };
    service.change("burst = 3", "burst = 1000").unwrap();
    for _ in 0..300 {
        assert_eq!(service.status("/learned").await, 200);
        clock::sleep(50 * MS).await;
    }
    let learned = timeout();
    assert_ne!(learned, "Gauge(10.0)", "it has learned something");

    service.change("permits = 2", "permits = 4").unwrap();
    assert_eq!(timeout(), learned);
    service
        .change("timeout_ceiling = \"10s\"", "timeout_ceiling = \"9s\"")
        .unwrap();
    assert_eq!(timeout(), learned);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_cannot_be_followed_leaves_all_as_it_was() {
    let service = Service::start().await;
    let running = service.ask("/work").await;
    let more = format!("{POLICY}\n[routes.\"/unknown\"]\ntimeout = \"page\"\n");

    let refused = service.guard.apply(document(&more), signed()).unwrap_err();

    let text = refused.to_string();
    assert!(
        text.contains("routes.\"/unknown\" was not asked at the start"),
        "{text}"
    );
    let calls = format!("{POLICY}\n[dependencies.bank]\ntimeout = \"page\"\n");
    let armed = service.guard.armed();
    assert_eq!((armed.revision, armed.routes.len()), (1, 2));
    drop(calls);
    service.go_on.add_permits(1);
    assert_eq!(running.await.unwrap().0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_was_in_force_elsewhere_is_adopted_with_a_route_that_is_not_known_here() {
    let service = Service::start().await;
    let more = format!("{POLICY}\n[routes.\"/unknown\"]\ntimeout = \"page\"\n");
    let kept = Revision::new("shop", 7, document(&more), signed(), clock::timestamp());

    service.guard.adopt(kept).unwrap();

    let armed = service.guard.armed();
    assert_eq!((armed.revision, armed.routes.len()), (7, 3));
    // Whoever goes on from there is believed; another one that is unknown is refused as ever.
    let other = more.replace("/unknown", "/other");
    let refused = service.guard.apply(document(&other), signed()).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("routes.\"/other\" was not asked")
    );
    let change = more.replace("permits = 2", "permits = 4");
    service.guard.apply(document(&change), signed()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_change_is_asked_for_the_methods_of_a_route_as_the_start_is() {
    let routes = |routes: &[&str]| {
        let of = |key| format!("[routes.{key:?}]\ntimeout = \"page\"\n");
        let routes = routes.iter().map(of).collect::<String>();
        document(&format!("[timeouts.page]\ntimeout = \"1s\"\n{routes}"))
    };
    let guard = Guard::new(routes(&["/work", "GET /any"])).unwrap();
    let app = Router::new()
        .route("/work", route(async || "got").post(async || "posted"))
        .route("/any", axum::routing::any(async || "whatever"));
    let _app = guard.protect(app).await.unwrap();

    let refused = guard.apply(routes(&["DELETE /work", "GET /any"]), signed());

    let text = refused.unwrap_err().to_string();
    let why = "routes.\"DELETE /work\" says DELETE, and the route of the router has";
    assert!(text.contains(why), "{text}");
    assert!(text.contains("POST"), "{text}");
    for known in [
        &["POST /work", "GET /any"][..],
        &["HEAD /work", "/work", "PATCH /any"],
        &["OPTIONS /work"],
    ] {
        guard.apply(routes(known), signed()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_tier_is_held_for_a_quarter_of_an_hour_and_ends_by_itself() {
    let service = Service::start().await;
    service.go_on.add_permits(10);
    let tier = async || service.ask("/work").await.await.unwrap().1;
    let path = "routes.\"/work\".tier".parse().unwrap();

    service
        .guard
        .hold(path, "tier7", 15 * MINUTE, signed())
        .unwrap();

    assert_eq!(tier().await, "tier 7");
    assert!(
        service
            .guard
            .in_force()
            .explain_route("/work")
            .unwrap()
            .to_string()
            .contains("OVERRIDE")
    );
    clock::sleep(14 * MINUTE).await;
    assert_eq!(tier().await, "tier 7");
    clock::sleep(2 * MINUTE).await;
    assert_eq!(tier().await, "tier 1");
    assert!(service.guard.in_force().overrides().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_held_may_be_released_and_a_revision_taken_back() {
    let service = Service::start().await;
    let path = "admissions.http.permits";
    let held = service
        .guard
        .hold(path.parse().unwrap(), "1", MINUTE, signed());
    assert_eq!(held.unwrap().overrides().len(), 1);
    let running = service.ask("/work").await;
    let waiting = service.ask("/work").await;
    assert_eq!(
        service.status("/work").await,
        503,
        "one permit and one place"
    );

    assert!(service.guard.live().release(&path.parse().unwrap()));

    clock::sleep(MS).await;
    service.go_on.add_permits(2);
    assert_eq!(
        (running.await.unwrap().0, waiting.await.unwrap().0),
        (200, 200)
    );
    service.change("permits = 2", "permits = 9").unwrap();
    let back = service.guard.live().revert(1, signed(), clock::timestamp());
    assert_eq!(back.unwrap().n(), 3);
    let permits = service.guard.in_force().policy().admissions["http"].permits;
    assert_eq!(permits.most().get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_makes_no_sense_cannot_be_held() {
    let service = Service::start().await;
    let hold = |path: &str, value: &str, time| {
        let held = service
            .guard
            .hold(path.parse().unwrap(), value, time, signed());
        held.map(drop).map_err(|refused| refused.to_string())
    };

    assert!(hold("admissions.http.permits", "0", MINUTE).is_err());
    assert!(hold("admissions.http.permit", "5", MINUTE).is_err());
    assert!(hold("routes.\"/work\".timeout", "\"none\"", MINUTE).is_err());
    assert!(hold("admissions.http.permits", "5", Duration::MAX).is_err());
    assert!(hold("admissions.http.permits", "5", Duration::ZERO).is_err());
    assert_eq!(service.guard.in_force().overrides().len(), 0);
}

/// Tells which of two fields are held.
fn held_one_after_the_other(guard: &Guard) -> [bool; 2] {
    let in_force = guard.in_force();
    let held = |path: &str| {
        let mut overrides = in_force.overrides().iter();
        overrides.any(|one| one.path().to_string() == path)
    };
    [held(PERMITS), held(QUEUE)]
}

const PERMITS: &str = "admissions.http.permits";
const QUEUE: &str = "admissions.http.queue";

#[test]
fn each_of_several_overrides_ends_by_the_monotonic_clock_whoever_steps_the_other() {
    const HOUR: Duration = Duration::from_secs(3_600);
    for stepped in [
        |wall: SystemTime| wall + HOUR,
        |wall: SystemTime| wall - HOUR,
    ] {
        let time = testing::Clock::start();
        let guard = Guard::new(document(POLICY)).unwrap();
        let hold = |path: &str, time| {
            let held = guard.hold(path.parse().unwrap(), "5", time, signed());
            held.unwrap_or_else(|refused| panic!("{refused}"));
        };
        let wall = || SystemTime::from(clock::timestamp());
        hold(PERMITS, 2 * MINUTE);

        time.set_timestamp(stepped(wall()).into());
        hold(QUEUE, 4 * MINUTE);
        time.advance(MINUTE);
        guard
            .apply(
                document(&POLICY.replace("burst = 3", "burst = 4")),
                signed(),
            )
            .unwrap();

        assert_eq!(held_one_after_the_other(&guard), [true, true]);
        time.advance(MINUTE);
        assert_eq!(held_one_after_the_other(&guard), [false, true]);
        time.set_timestamp(stepped(wall()).into());
        time.advance(2 * MINUTE - MS);
        assert_eq!(held_one_after_the_other(&guard), [false, true]);
        time.advance(MS);
        assert_eq!(held_one_after_the_other(&guard), [false, false]);
        // With none held, the time of the wall is what is on it.
        hold(PERMITS, MINUTE);
        let until = guard.in_force().until().map(SystemTime::from);
        assert_eq!(until, Some(wall() + MINUTE));
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_override_ends_in_time_after_the_first_one_has_ended() {
    let guard = Guard::new(document(POLICY)).unwrap();
    for (path, time) in [(PERMITS, MINUTE), (QUEUE, 2 * MINUTE)] {
        guard
            .hold(path.parse().unwrap(), "5", time, signed())
            .unwrap();
    }

    clock::sleep(MINUTE + MS).await;
    assert_eq!(held_one_after_the_other(&guard), [false, true]);
    clock::sleep(MINUTE + MS).await;
    assert_eq!(held_one_after_the_other(&guard), [false, false]);
}

#[test]
fn what_would_change_is_told_and_nothing_is_changed() {
    let guard = Guard::new(document(POLICY)).unwrap();
    let quarter = 15 * MINUTE;

    let changes = guard
        .try_hold(PERMITS.parse().unwrap(), "5", quarter, signed())
        .unwrap();
    let refused = guard.try_hold(PERMITS.parse().unwrap(), "0", quarter, signed());
    let unknown = guard.try_hold(
        "admissions.http.permit".parse().unwrap(),
        "5",
        quarter,
        signed(),
    );

    assert_eq!(changes[0].path.to_string(), PERMITS);
    assert!(refused.unwrap_err().problems().is_some());
    assert!(unknown.unwrap_err().is_unknown());
    assert!(guard.in_force().overrides().is_empty());

    guard
        .hold(PERMITS.parse().unwrap(), "5", quarter, signed())
        .unwrap();
    assert!(guard.release(&PERMITS.parse().unwrap()));
    assert!(!guard.release(&PERMITS.parse().unwrap()));
    assert!(guard.in_force().overrides().is_empty());
}

#[test]
fn of_two_proposals_for_one_revision_the_second_is_told_that_it_is_outdated() {
    let guard = Guard::new(document(POLICY)).unwrap();
    let propose = |burst: &str| {
        let text = POLICY.replace("burst = 3", &format!("burst = {burst}"));
        guard.propose(document(&text), signed())
    };
    let (first, second) = (propose("4"), propose("5"));
    guard.check_proposal(&first).unwrap();
    guard.check_proposal(&second).unwrap();
    assert_eq!(guard.armed().revision, 1, "checked, and not applied");

    let applied = guard.apply_proposal(first).unwrap();

    assert_eq!(applied.n(), 2);
    assert!(guard.check_proposal(&second).unwrap_err().is_outdated());
    assert!(guard.apply_proposal(second).unwrap_err().is_outdated());
}

#[tokio::test(start_paused = true)]
async fn a_document_that_cannot_be_followed_is_refused_also_while_an_override_hides_it() {
    let document = |share: &str| {
        document(&format!(
            "[timeouts.page]\ntimeout = \"1s\"\n\
             [admissions.http]\npermits = 500\nqueue = 5\nqueue_wait = \"1s\"\n\
             guaranteed_core = {share:?}\n\
             [routes.\"/a\"]\ntimeout = \"page\"\nadmission = \"http\"\n"
        ))
    };
    let guard = Guard::new(document("50 %")).unwrap();
    let path = "admissions.http.guaranteed_core";
    guard
        .hold(path.parse().unwrap(), "10 %", MINUTE, signed())
        .unwrap();

    let proposal = guard.propose(document("0.5 %"), signed());
    let refused = guard.check_proposal(&proposal).unwrap_err().to_string();
    let applied = guard.apply_proposal(proposal).map(|_| ());

    assert!(refused.contains("is less than 1 %"), "{refused}");
    assert_eq!(applied.unwrap_err().to_string(), refused);
    assert_eq!(guard.in_force().overrides().len(), 1);
    clock::sleep(MINUTE).await;
    let told = guard.in_force();
    assert_eq!((told.revision().n(), told.overrides().len()), (1, 0));
}

#[tokio::test]
async fn a_route_is_forgotten_until_the_policy_names_what_was_requested() {
    let policy = |routes: &[&str]| {
        let of = |key| format!("[routes.{key:?}]\ntimeout = \"page\"\n");
        let routes = routes.iter().map(of).collect::<String>();
        document(&format!("[timeouts.page]\ntimeout = \"1s\"\n{routes}"))
    };
    let guard = Guard::new(policy(&["/a"])).unwrap();
    let served = route(async || "read").post(async || "written");
    let app = Router::new().route("/a", served.clone());
    let app = guard.protect(app.route("/b", served)).await.unwrap();
    let ask = async |method: &str| {
        let request = Request::builder().method(method).uri("/b");
        let request = request.body(Body::empty()).unwrap();
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), 200);
    };
    ask("GET").await;
    assert_eq!(guard.armed().ungoverned, ["/b"]);

    guard.apply(policy(&["/a", "GET /b"]), signed()).unwrap();

    ask("GET").await;
    assert!(guard.armed().is_clean(), "{}", guard.armed());
    ask("POST").await;
    assert_eq!(guard.armed().ungoverned, ["/b"]);
    guard.apply(policy(&["/a", "/b"]), signed()).unwrap();
    assert!(guard.armed().is_clean(), "{}", guard.armed());
}

#[test]
fn routes_tell_what_holds_for_them_now() {
    let guard = Guard::new(document(
        "[timeouts.page]\ntimeout = \"1s\"\n[timeouts.learned]\ntimeout = \"learn\"\n\
         timeout_floor = \"100ms\"\ntimeout_ceiling = \"2s\"\n\
         [routes.\"GET /a\"]\ntimeout = \"page\"\ntier = \"core\"\n\
         [routes.\"/b\"]\ntimeout = \"learned\"\n",
    ))
    .unwrap();

    let routes = guard.routes();

    let told: Vec<_> = routes
        .iter()
        .map(|route| (route.name.as_str(), route.timeout, route.is_stream))
        .collect();
    assert_eq!(
        told,
        [
            ("/b", Some(2_000 * MS), false),
            ("GET /a", Some(1_000 * MS), false)
        ]
    );
}
