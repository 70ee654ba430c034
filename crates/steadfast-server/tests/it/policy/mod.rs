//! `steadfast routes`, `policy` and `panics`, against the shop, whose guard is a real one.

pub(crate) mod served;
mod suggest;

use serde_json::Value;

use served::{Shop, text};

const WHY: [&str; 2] = ["--reason", "a test"];

/// The policy of the shop.
fn policy() -> String {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../examples/shop/policy.toml"
    );
    std::fs::read_to_string(path).unwrap()
}

/// The policy of the shop with other words in place of some.
fn policy_with(from: &str, to: &str) -> String {
    let policy = policy();
    assert!(policy.contains(from), "{from}");
    policy.replacen(from, to, 1)
}

#[test]
fn routes_are_listed_with_what_became_of_requests_and_explained() {
    let shop = Shop::open("routes");
    for _ in 0..3 {
        shop.get("/catalogue");
    }
    shop.get("/recommendations/bob");

    let listed = shop.until(&["routes", "list", "--json"], |listed| {
        let listed: Value = serde_json::from_str(listed).unwrap();
        route(&listed["data"], "GET /catalogue")["total"]["requests"] == 3
    });
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let hurt = route(&listed["data"], "GET /recommendations/{customer}");
    assert_eq!(hurt["total"]["failed"], 1, "{hurt}");
    assert!(hurt["admission"].is_string(), "{hurt}");
    assert!(hurt["limit"].as_f64().unwrap() >= 1.0, "{hurt}");
    assert_eq!(route(&listed["data"], "POST /orders")["tier"], "core");

    let people = shop.told(&["routes", "list"]);
    let head = people.lines().next().unwrap();
    let titles: Vec<_> = head.split("  ").filter(|part| !part.is_empty()).collect();
    assert_eq!(
        titles.iter().map(|title| title.trim()).collect::<Vec<_>>(),
        [
            "ROUTE",
            "TIER",
            "RATE",
            "P99",
            "5XX",
            "REJECTED",
            "TIMEOUT",
            "IN FLIGHT"
        ]
    );
    assert!(
        people.contains("6 routes armed, asked at the start"),
        "{people}"
    );
    assert!(people.contains("\npayments  "), "{people}");

    let shown = shop.told(&["routes", "show", "GET /catalogue"]);
    assert!(shown.contains("3 requests since the start"), "{shown}");
    assert!(shown.contains("[timeouts.page]\n  timeout"), "{shown}");
    assert!(shown.contains("policy.toml:"), "{shown}");
    shop.check(
        &["routes", "show", "GET /catalog"],
        4,
        "error[SF-2205]: there is no \"GET /catalog\" among routes; did you mean \"GET /catalogue\"?\n  fix: list what there is\n",
    );
}

fn route<'v>(listed: &'v Value, name: &str) -> &'v Value {
    let routes = listed["routes"].as_array().unwrap();
    routes.iter().find(|route| route["name"] == name).unwrap()
}

#[test]
fn a_value_is_held_for_a_while_shown_with_what_is_left_and_ended() {
    let shop = Shop::open("held");
    let set = |setting: &'static str, rest: &[&'static str]| {
        let route = ["routes", "set", "GET /catalogue", setting];
        [&route[..], &WHY[..], rest].concat()
    };

    let dry = shop.told(&set("tier=core", &["--dry-run"]));
    assert_eq!(
        dry,
        "- routes.\"GET /catalogue\".tier = \"tier2\"\n+ routes.\"GET /catalogue\".tier = \"core\"\nnothing was changed\n"
    );
    assert!(!shop.told(&["routes", "list"]).contains("/catalogue  core"));

    let held = shop.told(&set("tier=core", &["--for", "10m"]));
    assert!(
        held.contains("(9m 5") || held.contains("(10m 0s left"),
        "{held}"
    );
    assert!(held.ends_with("left), and then ends by itself\n"), "{held}");
    let listed = shop.told(&["routes", "list"]);
    let line = listed
        .lines()
        .find(|line| line.starts_with("GET /catalogue"))
        .unwrap();
    assert!(line.contains("  core  "), "{line}");
    let explained = shop.told(&["policy", "explain", "GET /catalogue"]);
    assert!(explained.contains("OVERRIDE until "), "{explained}");
    assert!(
        explained.contains("by dev (token 1): a test"),
        "{explained}"
    );
    assert!(explained.contains(" s are left"), "{explained}");
    let shown = shop.ask(&["policy", "show"]);
    let told = text(&shown.stderr);
    assert!(
        told.contains("OVERRIDE routes.\"GET /catalogue\".tier = \"core\" for 9m"),
        "{told}"
    );
    assert!(text(&shown.stdout).contains("[routes.\"GET /catalogue\"]\ntier = \"tier2\"\n"));

    // What belongs to others as well has to be said in full.
    shop.check(
        &set("timeout_floor=300ms", &[]),
        1,
        "error[SF-2300]: the route has no timeout_floor of its own; say timeouts.page.timeout_floor\n",
    );
    let both = shop.told(&set("timeouts.page.timeout_floor=300ms", &[]));
    assert!(
        both.contains("it is for GET /catalogue, GET /recommendations/{customer}\n"),
        "{both}"
    );
    let wrong = shop.ask(&set("tier=first", &[]));
    assert_eq!(wrong.status.code(), Some(78));
    let told = text(&wrong.stderr);
    assert!(
        told.starts_with("error[SF-2211]: with it the policy would have mistakes\n\nerror: "),
        "{told}"
    );
    let long = shop.ask(&set("tier=core", &["--for", "48h"]));
    assert_eq!(long.status.code(), Some(1));
    assert!(text(&long.stderr).contains("is more than a day from now"));

    // Whose hand it takes the place of is told, before and after.
    let again = shop.ask(&set("tier=tier1", &["--dry-run"]));
    assert!(
        text(&again.stderr)
            .starts_with("warning: this would end routes.\"GET /catalogue\".tier = \"core\" for "),
        "{again:?}"
    );
    let again = shop.ask(&set("tier=tier1", &[]));
    let warned = text(&again.stderr);
    assert!(
        warned.starts_with("warning: this ends routes.\"GET /catalogue\".tier = \"core\" for ")
            && warned.ends_with(", by dev (token 1): a test\n"),
        "{warned}"
    );

    let reset = [
        "routes",
        "reset",
        "GET /catalogue",
        "tier",
        "--reason",
        "a test",
    ];
    let dry = shop.told(&[&reset[..], &["--dry-run"]].concat());
    assert!(
        dry.starts_with("OVERRIDE routes.\"GET /catalogue\".tier = \"tier1\" for 1")
            && dry.ends_with("\nnothing was changed\n"),
        "{dry}"
    );
    assert_eq!(
        shop.told(&reset),
        "routes.\"GET /catalogue\".tier is as the document says\n"
    );
    shop.check(
        &reset,
        4,
        "error[SF-2205]: no override of routes.\"GET /catalogue\".tier holds\n  fix: `steadfast policy show` lists those that do\n",
    );
    let audit = shop.audited("policy.override");
    assert_eq!(
        audit,
        [
            "SF-2205: no override of routes.\"GET /catalogue\".tier holds",
            "done",
            "done",
            "done",
            "done",
        ]
    );
}

#[test]
fn an_override_ends_by_itself() {
    let shop = Shop::open("ends");
    let set = [
        "routes",
        "set",
        "GET /catalogue",
        "tier=core",
        "--for",
        "1s",
        "--reason",
        "x",
    ];
    assert!(shop.told(&set).contains("and then ends by itself"));

    let policy = shop.until(&["policy", "show", "--json"], |policy| {
        let policy: Value = serde_json::from_str(policy).unwrap();
        policy["data"]["overrides"].as_array().unwrap().is_empty()
    });

    assert!(
        policy.contains("\"revision\":1"),
        "the document is as it was"
    );
}

#[test]
fn a_policy_is_checked_without_a_server_and_compared_applied_and_kept_with_one() {
    let shop = Shop::open("apply");
    let drain = policy_with("[drain]\nhard = \"20s\"", "[drain]\nhard = \"21s\"");
    let line = drain
        .lines()
        .position(|line| line.starts_with("hard = "))
        .unwrap()
        + 1;
    let file = shop.file("policy.toml", &drain);
    let path = file.to_str().unwrap();

    let checked = shop.told(&["policy", "check", path, "--server", "http://127.0.0.1:1"]);
    assert_eq!(
        checked,
        format!("{path}: no mistakes; 6 routes, 1 dependencies\n")
    );
    let explained = shop.told(&["policy", "explain", "payments", "--file", path]);
    assert!(
        explained.starts_with("[dependencies.payments]\n"),
        "{explained}"
    );
    // As a server says it.
    let unknown = ["policy", "explain", "GET /catalog"];
    let by_file = shop.ask(&[&unknown[..], &["--file", path]].concat());
    assert_eq!(by_file.status.code(), Some(4), "{by_file:?}");
    assert_eq!(by_file.stderr, shop.ask(&unknown).stderr);
    let change = format!("- drain.hard = \"20s\"\n+ drain.hard = \"21s\"    {path}:{line}:1\n");
    let diff = shop.told(&["policy", "diff", path]);
    assert_eq!(diff, format!("against revision 1\n{change}"));
    let dry = shop.told(&["policy", "apply", path, "--dry-run", "--reason", "x"]);
    assert_eq!(
        dry,
        format!(
            "against revision 1\n{change}\nnothing was changed; the same command with --yes 1 in place of --dry-run does it\n"
        )
    );
    let missing = shop.ask(&["policy", "apply", path]);
    assert_eq!(missing.status.code(), Some(2));

    // What is to be changed is shown before, and agreed to.
    let unsaid = shop.ask(&[&["policy", "apply", path], &WHY[..]].concat());
    assert_eq!(unsaid.status.code(), Some(1));
    assert_eq!(
        text(&unsaid.stderr),
        format!(
            "against revision 1\n{change}error[SF-2300]: 1 values of the policy: say --yes 1, or see with --dry-run which they are\n"
        )
    );
    let other = shop.ask(&[&["policy", "apply", path, "--yes", "2"], &WHY[..]].concat());
    assert!(
        text(&other.stderr)
            .contains("there are 1 such values of the policy, not 2; nothing was changed"),
        "{other:?}"
    );
    assert_eq!(shop.told(&["policy", "history"]).lines().count(), 2);
    let applied = shop.told(&[&["policy", "apply", path, "--yes", "1"], &WHY[..]].concat());
    assert_eq!(
        applied,
        format!("{change}revision 2 is in force in 1 of 1 processes\n")
    );
    // Whoever has looked at the first one does not know of the second.
    let over_the_first = [&["policy", "apply", path, "--revision", "1"], &WHY[..]].concat();
    for args in [
        &over_the_first[..],
        &[&over_the_first[..], &["--dry-run"]].concat(),
    ] {
        shop.check(
            args,
            6,
            "error[SF-2207]: revision 2 is in force by now\n  fix: look at what has changed, and decide anew\n",
        );
    }
    let history = shop.told(&["policy", "history"]);
    let lines: Vec<_> = history.lines().collect();
    assert!(lines[0].starts_with("REVISION  AT "), "{history}");
    assert!(
        lines[1].starts_with("2 ") && lines[1].ends_with("dev (token 1)  a test"),
        "{history}"
    );
    assert!(lines[2].starts_with("1 "), "{history}");
    let newest = shop.told(&["policy", "history", "--limit", "1", "--json"]);
    let newest: Value = serde_json::from_str(&newest).unwrap();
    assert_eq!(newest["data"]["next"], "2");
    let rest = shop.told(&["policy", "history", "--cursor", "2"]);
    assert!(rest.lines().nth(1).unwrap().starts_with("1 "), "{rest}");
    let first = shop.told(&["policy", "show", "--revision", "1"]);
    assert!(first.contains("hard = \"20s\""), "{first}");
    shop.check(
        &["policy", "show", "--revision", "9"],
        4,
        "error[SF-2205]: there is no revision 9\n  fix: `steadfast policy history` lists them\n",
    );
    assert_eq!(
        shop.audited("policy.write"),
        ["SF-2207: revision 2 is in force by now", "done"]
    );
}

#[test]
fn a_policy_with_mistakes_is_told_with_its_line_the_arithmetic_and_the_fix() {
    let shop = Shop::open("mistakes");
    let file = shop.file("policy.toml", &policy_with("rate = 4\n", "rate = 40\n"));
    let path = file.to_str().unwrap();
    for args in [
        &["policy", "check", path][..],
        &["policy", "diff", path],
        &["policy", "apply", path, "--reason", "x"],
    ] {
        let refused = shop.ask(args);
        assert_eq!(refused.status.code(), Some(78), "{args:?}");
        let stderr = text(&refused.stderr);
        assert!(
            stderr.starts_with("error[SF-2211]: the policy has mistakes\n\n"),
            "{stderr}"
        );
        assert!(
            stderr.contains("error[P001]: routes.\"POST /orders\".calls: 40/s × "),
            "{stderr}"
        );
        assert!(
            stderr.contains(" permits are held when it stalls, of "),
            "{stderr}"
        );
        assert!(stderr.contains(&format!("  --> {path}:")), "{stderr}");
        assert!(stderr.contains("= fix: "), "{stderr}");
    }
    let json = shop.ask(&["policy", "check", path, "--json"]);
    let json: Value = serde_json::from_slice(&json.stderr).unwrap();
    let mistake = &json["error"]["mistakes"][0];
    assert_eq!(
        (&json["version"], &mistake["code"]),
        (&1.into(), &"P001".into())
    );
    assert!(
        mistake["line"].as_u64().unwrap() > 1 && mistake["fix"].is_string(),
        "{mistake}"
    );

    // The linter does not know the routes of the shop; its guard does.
    let file = shop.file(
        "other.toml",
        &(policy() + "[routes.\"GET /nothing\"]\ntimeout = \"page\"\n"),
    );
    let path = file.to_str().unwrap();
    let diff = shop.told(&["policy", "diff", path]);
    assert!(diff.contains("\nthe server cannot follow it: "), "{diff}");
    let refused = shop.ask(&["policy", "apply", path, "--reason", "x"]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(
        text(&refused.stderr)
            .starts_with("error[SF-2212]: it cannot be put in force: routes.\"GET /nothing\"")
    );
    assert!(
        shop.told(&["policy", "history"]).lines().count() == 2,
        "nothing was put in force"
    );
    let missing = shop.ask(&["policy", "check", "/nowhere/policy.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        text(&missing.stderr).starts_with("error[SF-2300]: cannot read /nowhere/policy.toml\n")
    );
}

#[test]
fn a_breaker_is_forced_for_a_while_and_let_go() {
    let shop = Shop::open("breaker");
    let breaker = |rest: &[&str]| {
        let args = [&["routes", "breaker", "payments"], rest].concat();
        shop.ask(&args)
    };
    shop.check(
        &["routes", "breaker", "paiments", "--open", "--reason", "x"],
        4,
        "error[SF-2205]: there is no \"paiments\" among dependencies; did you mean \"payments\"?\n  fix: list what there is\n",
    );
    assert_eq!(
        breaker(&["--open"]).status.code(),
        Some(2),
        "a reason is needed"
    );
    assert_eq!(
        breaker(&["--open", "--closed", "--reason", "x"])
            .status
            .code(),
        Some(2)
    );
    let dry = breaker(&["--open", "--reason", "x", "--dry-run"]);
    assert_eq!(text(&dry.stderr), "would be forced open for 15m; now:\n");
    assert!(shop.post("/payments").starts_with("HTTP/1.1 201"));

    let forced = breaker(&["--open", "--for", "5m", "--reason", "INC-7"]);
    let told = text(&forced.stdout);
    assert!(
        told.contains("an operator forces the breaker open for "),
        "{told}"
    );
    assert!(told.contains("(dev (token 1): INC-7)"), "{told}");
    let rejected = shop.post("/payments");
    assert!(rejected.starts_with("HTTP/1.1 503"), "{rejected}");
    let listed = shop.told(&["routes", "list"]);
    assert!(listed.contains("open (forced, 4m"), "{listed}");

    let other = breaker(&["--closed", "--reason", "INC-8"]);
    let warned = text(&other.stderr);
    assert!(
        warned.starts_with("warning: this ends open for 4m")
            && warned.ends_with(", by dev (token 1): INC-7\n"),
        "{warned}"
    );

    let released = breaker(&["--release", "--reason", "well again"]);
    assert!(
        !text(&released.stdout).contains("an operator"),
        "{}",
        text(&released.stdout)
    );
    assert!(shop.post("/payments").starts_with("HTTP/1.1 201"));
    let again = breaker(&["--release", "--reason", "x"]);
    assert_eq!(again.status.code(), Some(6));
    assert_eq!(
        text(&again.stderr),
        "error[SF-2206]: no operator holds it\n  fix: look at its state; what is in use has to be stopped first\n"
    );
    assert_eq!(
        shop.audited("breakers.force"),
        ["SF-2206: no operator holds it", "done", "done", "done"]
    );
}

#[test]
fn a_panic_is_listed_and_shown_with_its_trace() {
    let shop = Shop::open("panics");
    assert_eq!(shop.told(&["panics", "list"]), "no panics\n");
    let hurt = shop.get("/recommendations/bob");
    let trace = hurt
        .split("x-request-id: ")
        .nth(1)
        .unwrap()
        .split("\r\n")
        .next()
        .unwrap();

    let listed = shop.told(&["panics", "list", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let id = listed["data"]["items"][0]["id"].as_str().unwrap();
    assert_eq!(listed["data"]["items"][0]["count"], 1);
    let shown = shop.until(&["panics", "show", id], |shown| shown.contains("trace "));

    assert!(shown.contains("recommendations.rs:"), "{shown}");
    assert!(shown.contains(trace), "{shown}");
    assert!(
        shown.contains("route      /recommendations/{customer}\n"),
        "{shown}"
    );
    assert!(
        shown.contains("count      1, 1 of them contained\n"),
        "{shown}"
    );
    shop.check(
        &["panics", "show", "0"],
        4,
        "error[SF-2205]: there is no group of panics \"0\"\n  fix: `steadfast panics list` has those of this process\n",
    );
}
