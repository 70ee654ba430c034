//! The whole stack around an axum router.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get as route, post};
use http::{Request, StatusCode};
use steadfast_core::context::Tier;
use steadfast_core::decide::policy::{
    AdmissionPolicy, Count, Policy, RatePolicy, Route, Setting, Timeout, TimeoutPolicy,
};
use steadfast_core::{WaitGroup, clock, context, report, spawn};
use steadfast_tower::{Guard, PolicyDocument};
use tower::ServiceExt;

use crate::support::{Lines, Panics, json};

const MS: Duration = Duration::from_millis(1);

fn ms(time: u64) -> Timeout {
    Timeout::new(Duration::from_millis(time)).unwrap()
}

fn count(number: u32) -> Count {
    Count::new(number).unwrap()
}

/// Orders are core, search is not; both share ten permits.
fn policy() -> Policy {
    let mut policy = Policy::default();
    let mut admission = AdmissionPolicy::new(Setting::Fixed(count(10)), ms(100));
    admission.queue = count(50);
    policy.admissions.insert("http".into(), admission);
    let timeout = TimeoutPolicy::new(Setting::Fixed(ms(200)));
    policy.timeouts.insert("quick".into(), timeout);
    for (template, tier) in [("/orders", Tier::CORE), ("/search/{term}", Tier::DEFAULT)] {
        let mut route = Route::new(["GET"]);
        route.tier = tier;
        route.admission = Some("http".into());
        route.timeout = Some("quick".into());
        policy.routes.insert(template.into(), route);
    }
    policy
}

fn shop() -> Router {
    let work = async || {
        clock::sleep(10 * MS).await;
        "served"
    };
    Router::new()
        .route("/orders", route(work))
        .route("/search/{term}", route(work))
}

fn ask(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_has_what_the_policy_says_of_its_route() {
    let guard = Guard::new(policy()).unwrap();
    let facts = route(async || {
        let context = context::current();
        let route = context.route().unwrap();
        let left = context.time_left().unwrap().as_millis();
        format!(
            "{route} {} {left} {}",
            context.tier(),
            context.trace_id().is_some()
        )
    });
    let app = Router::new()
        .route("/orders", facts)
        .route("/search/{term}", route(async || ()));
    let app = guard.protect(app).await.unwrap();

    let response = app.oneshot(ask("/orders")).await.unwrap();

    assert!(response.headers().contains_key("x-request-id"));
    let body = axum::body::to_bytes(response.into_body(), 1_000)
        .await
        .unwrap();
    assert_eq!(body, "/orders core 200 true");
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_500_a_slow_handler_a_504_and_each_tells_its_id() {
    let panics = Panics::of("guard-a:");
    let guard = Guard::new(policy()).unwrap();
    let app = Router::new()
        .route(
            "/orders",
            route(async || -> &str { panic!("guard-a: handler") }),
        )
        .route(
            "/search/{term}",
            route(async || clock::sleep(300 * MS).await),
        );
    let app = guard.protect(app).await.unwrap();

    let panicked = app.clone().oneshot(ask("/orders")).await.unwrap();
    let slow = app.oneshot(ask("/search/tea")).await.unwrap();

    assert_eq!(
        (panicked.status().as_u16(), slow.status().as_u16()),
        (500, 504)
    );
    let id = json(panicked).await["trace_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(panics.heard()[0].trace_id.as_ref(), Some(&id));
    let problem = json(slow).await;
    assert_eq!(problem["type"], "urn:steadfast:problem:timed-out");
    assert_eq!(problem["policy"], "/search/{term}");
}

#[tokio::test(start_paused = true)]
async fn the_guard_tells_what_it_describes_and_a_text_that_prometheus_takes() {
    let guard = Guard::new(policy()).unwrap();
    let app = Router::new()
        .route("/orders", route(async || ()))
        .route("/search/{term}", route(async || ()));
    let app = guard.protect(app).await.unwrap();

    let served = app.oneshot(ask("/orders")).await.unwrap();
    axum::body::to_bytes(served.into_body(), 1_000)
        .await
        .unwrap();

    let snapshot = report::snapshot();
    assert_eq!(snapshot.undescribed(), <Vec<String>>::new());
    let text = report::prometheus::text(&snapshot);
    for line in [
        "# TYPE http_server_request_duration_seconds histogram",
        "# TYPE steadfast_admission_limit gauge",
    ] {
        assert!(text.lines().any(|told| told == line), "{line} in\n{text}");
    }
    let bucket = "http_server_request_duration_seconds_bucket{http_request_method=\"GET\",\
                  http_response_status_code=\"200\",http_route=\"/orders\",le=\"0.005\"} ";
    assert!(text.contains(bucket), "{text}");
}

#[tokio::test(start_paused = true)]
async fn under_ten_times_the_load_the_orders_go_through_and_the_rest_is_told_why() {
    let guard = Guard::new(policy()).unwrap();
    // A service of a thousand requests a second by construction, by two routers.
    let apps = [
        guard.protect(shop()).await.unwrap(),
        guard.protect(shop()).await.unwrap(),
    ];
    let clients = WaitGroup::new();
    let answers = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    for tick in 0..400 {
        clock::sleep(5 * MS).await;
        // 200 orders and 9,800 searches a second.
        let orders = std::iter::once("/orders");
        for (n, path) in orders
            .chain(std::iter::repeat_n("/search/tea", 49))
            .enumerate()
        {
            let (app, answers) = (apps[(tick + n) % 2].clone(), answers.clone());
            clients.spawn("client", async move {
                let began = clock::now();
                let response = app.oneshot(ask(path)).await.unwrap();
                let status = response.status();
                drop(response);
                let entry = (path, status, clock::now() - began);
                answers.lock().unwrap().push(entry);
            });
        }
    }
    clients.wait().await;

    let answers = answers.lock().unwrap();
    let of = |path, status| {
        let found = answers
            .iter()
            .filter(|(p, s, _)| *p == path && *s == status);
        found.count()
    };
    let (served, shed) = (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(of("/orders", served), 400, "each order goes through");
    let searches = of("/search/tea", served);
    assert!(
        searches > 1_000,
        "capacity that orders leave is used: {searches}"
    );
    assert_eq!(
        of("/search/tea", shed) + searches,
        400 * 49,
        "all others are told"
    );
    let slowest = answers.iter().filter(|(path, ..)| *path == "/orders");
    let slowest = slowest.map(|(.., took)| *took).max().unwrap();
    assert!(
        slowest <= 50 * MS,
        "and do not wait behind searches: {slowest:?}"
    );
}

#[tokio::test]
async fn a_misspelt_route_is_refused_at_the_start_and_no_handler_is_called() {
    let mut wrong = policy();
    let orders = wrong.routes.remove("/orders").unwrap();
    wrong.routes.insert("/orderz".into(), orders);
    let guard = Guard::new(wrong).unwrap();
    let app = shop().route("/orders/{id}", post(async || -> &str { panic!("called") }));

    let error = guard.protect(app).await.unwrap_err().to_string();

    assert!(
        error.contains("routes.\"/orderz\" is no route of the router"),
        "{error}"
    );
    assert!(!guard.armed().is_clean());
}

#[tokio::test]
async fn a_route_that_goes_past_the_guard_is_refused() {
    let guard = Guard::new(policy()).unwrap();
    let guarded = guard.protect(shop()).await.unwrap();
    assert!(guard.armed().is_clean());

    let past = Router::new().route("/search/{term}", route(async || "past"));
    let around = Router::new().route("/orders", guarded_only()).merge(past);
    let error = guard.check(&around).await.unwrap_err().to_string();

    assert!(
        error.contains("routes.\"/search/{term}\" is served past the guard"),
        "{error}"
    );
    drop(guarded);
}

#[tokio::test]
async fn a_method_that_the_router_does_not_have_is_refused_at_the_start() {
    let of = |key: &str, methods: &[&str]| {
        let mut policy = policy();
        let mut orders = policy.routes.remove("/orders").unwrap();
        orders.methods = methods.iter().map(ToString::to_string).collect();
        policy.routes.clear();
        policy.routes.insert(key.to_owned(), orders);
        Guard::new(policy).unwrap()
    };
    for (key, methods, refused) in [
        ("POST /orders", &["POST"][..], true),
        ("DELETE /orders", &["DELETE"], true),
        ("GET /orders", &["GET"], false),
        ("HEAD /orders", &["HEAD"], false),
        ("OPTIONS /orders", &["OPTIONS"], false),
        ("/orders", &["GET", "POST"], true),
        ("/orders", &["GET"], false),
        ("/orders", &[], false),
    ] {
        let app = Router::new().route("/orders", route(async || ()));
        let checked = of(key, methods).protect(app).await;
        let error = checked.err().map(|error| error.to_string());
        assert_eq!(error.is_some(), refused, "{key} {methods:?}: {error:?}");
        let told =
            error.is_none_or(|error| error.contains("the route of the router has \"GET,HEAD\""));
        assert!(told, "{key}");
    }

    let app = Router::new().route("/orders", axum::routing::any(async || ()));
    let any = of("POST /orders", &["POST"]).protect(app).await;
    assert!(any.is_ok(), "{:?}", any.err());
}

#[tokio::test]
async fn one_method_may_have_a_policy_of_its_own_beside_the_others() {
    let mut policy = policy();
    let one = policy.routes["/orders"].clone();
    policy.routes.insert("GET /orders".into(), one);
    policy.routes.get_mut("/orders").unwrap().methods.clear();

    let guard = Guard::new(policy).unwrap();
    drop(guard.protect(shop()).await.unwrap());

    assert!(guard.armed().is_clean());
}

#[tokio::test]
async fn a_method_that_goes_past_the_guard_is_refused() {
    let mut all = policy();
    all.routes.get_mut("/orders").unwrap().methods.clear();
    let guard = Guard::new(all).unwrap();
    let guarded = guard.protect(shop()).await.unwrap();

    let around = guarded.route("/orders", axum::routing::delete(async || "past"));
    let error = guard.check(&around).await.unwrap_err().to_string();

    assert!(
        error.contains("routes.\"/orders\" is served past the guard"),
        "{error}"
    );
    assert!(error.contains("DELETE"), "{error}");
}

#[tokio::test]
async fn a_template_is_found_beside_any_other_and_with_any_prefix() {
    let mut policy = policy();
    let page = policy.routes.remove("/orders").unwrap();
    policy.routes.clear();
    for key in [
        "/{page}",
        "/v{version}/orders",
        "/files/{*rest}",
        "/{{odd}}/a",
    ] {
        policy.routes.insert(key.to_owned(), page.clone());
    }
    let mut app = Router::new().route("/probe", route(async || "ready"));
    for key in policy.routes.keys() {
        app = app.route(key, route(async || ()));
    }

    let guard = Guard::new(policy).unwrap();
    drop(guard.protect(app).await.unwrap());
}

fn guarded_only() -> axum::routing::MethodRouter {
    route(async || "past as well")
}

#[tokio::test]
async fn what_the_policy_forgot_and_what_is_guarded_twice_is_told() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let guard = Guard::new(policy()).unwrap();
    let app = shop().route("/forgotten", route(async || "served all the same"));
    let once = guard.protect(app).await.unwrap();
    let twice = guard.protect(once).await.unwrap();

    let forgotten = twice.clone().oneshot(ask("/forgotten")).await.unwrap();
    let unknown = twice.oneshot(ask("/nowhere")).await.unwrap();

    assert_eq!(
        (forgotten.status().as_u16(), unknown.status().as_u16()),
        (200, 404)
    );
    assert_eq!(
        forgotten.headers().get_all("x-request-id").iter().count(),
        1
    );
    let armed = guard.armed();
    assert_eq!(armed.ungoverned, ["/forgotten"]);
    assert_eq!((armed.requests, armed.twice), (2, 2), "{armed}");
    assert!(!armed.is_clean());
    drop((forgotten, unknown));
    let told = lines.with("request ended");
    assert_eq!(told.len(), 2, "one line each: {told:?}");
}

#[tokio::test]
async fn a_guard_without_routes_is_armed_until_something_is_served() {
    let policy = "[timeouts.call]\ntimeout = \"1s\"\n\
         [dependencies.bank]\nmethods = [\"GET\"]\ntimeout = \"call\"\n";
    let guard = Guard::new(PolicyDocument::new("policy.toml", policy).unwrap()).unwrap();
    assert!(!guard.armed().is_clean(), "nothing is called by it yet");
    let _bank = guard.client("bank").unwrap();
    let armed = guard.armed();
    assert!(armed.is_clean(), "{armed}");
    assert_eq!(armed.to_string(), "no routes to guard; 0 requests");

    let app = Router::new().route("/page", route(async || "a page"));
    let app = guard.protect(app).await.unwrap();
    app.oneshot(ask("/page")).await.unwrap();

    assert_eq!(guard.armed().ungoverned, ["/page"]);
    assert!(!guard.armed().is_clean());
}

#[tokio::test]
async fn a_method_that_no_handler_has_is_no_forgotten_route() {
    let policy = "[timeouts.page]\ntimeout = \"1s\"\n[routes.\"GET /page\"]\ntimeout = \"page\"\n";
    let document = PolicyDocument::new("policy.toml", policy).unwrap();
    let guard = Guard::new(document.policy().clone()).unwrap();
    let app = Router::new().route("/page", route(async || "a page"));
    let app = guard.protect(app).await.unwrap();

    for (method, expect) in [
        ("TRACE", 405),
        ("POST", 405),
        ("OPTIONS", 405),
        ("GET", 200),
        ("HEAD", 200),
    ] {
        let mut request = ask("/page");
        *request.method_mut() = method.parse().unwrap();
        let answer = app.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), expect, "{method}");
    }

    // Whoever asks in a way that there is not turns nothing red, and a HEAD is governed as a GET.
    let armed = guard.armed();
    assert!(armed.is_clean(), "{armed}");
    assert_eq!((armed.requests, armed.ungoverned_requests), (5, 3));
}

#[tokio::test]
async fn what_a_fallback_serves_under_a_template_is_a_forgotten_route() {
    let lines = Lines::default();
    let _listening = lines.listen();
    let policy = "[timeouts.page]\ntimeout = \"1s\"\n[routes.\"GET /page\"]\ntimeout = \"page\"\n";
    let guard = Guard::new(PolicyDocument::new("policy.toml", policy).unwrap()).unwrap();
    // The router says `Allow: GET,HEAD` of it all the same.
    let served = route(async || "a page").fallback(async || "served as well");
    let app = guard.protect(Router::new().route("/page", served)).await;
    let app = app.unwrap();
    let post = |late: bool| {
        let mut request = Request::post("/page");
        if late {
            request = request.header("x-steadfast-timeout-ms", "0");
        }
        request.body(Body::empty()).unwrap()
    };

    // What never reached the router says nothing about it.
    let late = app.clone().oneshot(post(true)).await.unwrap();
    assert_eq!(late.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!(guard.armed().is_clean());
    for _ in 0..2 {
        let served = app.clone().oneshot(post(false)).await.unwrap();
        assert_eq!(served.status(), StatusCode::OK);
    }

    let armed = guard.armed();
    assert_eq!(armed.ungoverned, ["/page"]);
    assert_eq!(armed.ungoverned_requests, 3);
    assert_eq!(lines.with("that the policy does not name").len(), 1);
}

#[tokio::test]
async fn a_head_has_the_limits_of_its_get_also_where_other_methods_have_theirs() {
    let policy = "[timeouts.page]\ntimeout = \"1s\"\n\
         [rates.few]\nrequests = 1\nperiod = \"1h\"\nburst = 1\n\
         [routes.\"GET /a\"]\ntimeout = \"page\"\nquota = \"few\"\n\
         [routes.\"/a\"]\ntimeout = \"page\"\n\
         [routes.\"GET /b\"]\ntimeout = \"page\"\nquota = \"few\"\n\
         [routes.\"HEAD /b\"]\ntimeout = \"page\"\n";
    let guard = Guard::new(PolicyDocument::new("policy.toml", policy).unwrap()).unwrap();
    let served = || route(async || "read").post(async || "written");
    let app = Router::new().route("/a", served()).route("/b", served());
    let app = guard.protect(app).await.unwrap();
    let ask = async |method: &str, path: &str| {
        let mut request = ask(path);
        *request.method_mut() = method.parse().unwrap();
        app.clone()
            .oneshot(request)
            .await
            .unwrap()
            .status()
            .as_u16()
    };

    assert_eq!(ask("HEAD", "/a").await, 200);
    assert_eq!(ask("HEAD", "/a").await, 429);
    assert_eq!(ask("POST", "/a").await, 200);
    for _ in 0..3 {
        assert_eq!(ask("HEAD", "/b").await, 200, "it has a policy of its own");
    }
    for (request, subject) in [
        ("HEAD /a", "routes.\"GET /a\""),
        ("POST /a", "routes./a"),
        ("HEAD /b", "routes.\"HEAD /b\""),
    ] {
        let told = guard.in_force().explain_route(request).unwrap();
        assert_eq!(told.subject, subject);
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_guards_around_a_route_the_outer_one_cuts_it_off() {
    let guard = Guard::new(policy()).unwrap();
    let slow = route(async || clock::sleep(300 * MS).await);
    let app = Router::new()
        .route("/orders", route(async || ()))
        .route("/search/{term}", slow);
    let once = guard.protect(app).await.unwrap();
    let twice = guard.protect(once).await.unwrap();

    let slow = twice.oneshot(ask("/search/tea")).await.unwrap();

    assert_eq!(json(slow).await["policy"], "/search/{term}");
}

#[tokio::test]
async fn rates_per_client_count_each_client() {
    let mut limited = policy();
    let mut rate = RatePolicy::new(count(1), ms(60_000), count(1));
    rate.per_client = true;
    limited.rates.insert("polite".into(), rate);
    limited.routes.get_mut("/orders").unwrap().quota = Some("polite".into());

    let builder = Guard::builder(limited).client_by(|request| {
        request
            .headers
            .get("x-api-key")
            .map(|key| key.as_bytes().to_vec())
    });
    let app = builder.build().unwrap().protect(shop()).await.unwrap();
    let mut statuses = Vec::new();
    for key in ["ann", "ann", "bob"] {
        let mut request = ask("/orders");
        request
            .headers_mut()
            .insert("x-api-key", key.parse().unwrap());
        statuses.push(
            app.clone()
                .oneshot(request)
                .await
                .unwrap()
                .status()
                .as_u16(),
        );
    }
    assert_eq!(statuses, [200, 429, 200]);
}

#[test]
fn what_cannot_work_is_refused_with_the_arithmetic() {
    let mut wrong = policy();
    let search = wrong.routes.get_mut("/search/{term}").unwrap();
    search.rate = Some(steadfast_core::decide::policy::Rate::per_second(500.0).unwrap());

    let error = Guard::new(wrong).unwrap_err();

    assert!(
        error
            .findings()
            .iter()
            .any(|finding| finding.rule == "P001"),
        "{error}"
    );
    assert!(
        error.to_string().contains("500/s × 200ms = 100 permits"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_guard_to_be_around_its_routes_hears_of_it_when_it_is() {
    let guard = Guard::new(policy()).unwrap();
    let waits = spawn("waits", guard.checked());
    clock::sleep(MS).await;
    assert!(!waits.is_finished());

    let _guarded = guard.protect(shop()).await.unwrap();

    clock::timeout(MS, waits).await.unwrap().unwrap();
    clock::timeout(MS, guard.checked()).await.unwrap();
    let nothing = Guard::new(Policy::default()).unwrap();
    clock::timeout(MS, nothing.checked()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn questions_of_the_armed_check_are_nobodys_requests() {
    let mut policy = policy();
    let route_policy = policy.routes.remove("/orders").unwrap();
    policy.routes.clear();
    policy.routes.insert("/asked-only".into(), route_policy);
    let guard = Guard::new(policy).unwrap();
    let app = Router::new().route("/asked-only", route(async || ()));

    drop(guard.protect(app).await.unwrap());

    let text = report::prometheus::text(&report::snapshot());
    assert!(!text.contains("http_route=\"/asked-only\""), "{text}");
}
