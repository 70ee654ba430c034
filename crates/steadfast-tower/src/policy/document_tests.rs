//! What a policy with mistakes is told, to the letter.

use std::time::Duration;

use steadfast_core::context::Tier;
use steadfast_core::decide::policy::*;
use steadfast_core::settings::Problems;

use super::*;

#[track_caller]
fn refused(text: &str) -> String {
    match PolicyDocument::new("policy.toml", text) {
        Ok(_) => panic!("it was taken:\n{text}"),
        Err(problems) => problems.to_string(),
    }
}

#[track_caller]
fn taken(text: &str) -> PolicyDocument {
    PolicyDocument::new("policy.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Lines such as `12:3 unknown key`, of each problem.
fn lines(problems: &Problems) -> Vec<String> {
    let line = |problem: &steadfast_core::settings::Problem| {
        format!("{} {}", problem.place(), problem.message())
    };
    problems.iter().map(line).collect()
}

pub(super) const SHOP: &str = include_str!("golden/shop.toml");

#[test]
fn a_document_says_what_the_policy_has() {
    let document = taken(SHOP);
    let policy = document.policy();

    assert_eq!(document.warnings(), None);
    let orders = &policy.routes["POST /orders"];
    assert_eq!(orders.methods, ["POST"]);
    assert_eq!(orders.tier, Tier::CORE);
    assert!(policy.timeouts["page"].timeout.is_learned());
    let share = policy.breakers["careful"].failure_share.map(Share::get);
    assert_eq!(share, Some(0.25));
    let core = policy.admissions["http"].guaranteed[&Tier::CORE];
    assert_eq!(core.get(), 0.6);
    let not_ready = policy.drain.not_ready.map(Timeout::get);
    assert_eq!(not_ready, Some(Duration::from_secs(5)));
    let path = FieldPath::new(["timeouts", "call", "timeout"]);
    assert_eq!(document.place(&path).map(|place| place.line), Some(13));
}

#[test]
fn an_empty_document_is_a_policy_without_protections() {
    assert_eq!(taken("").policy(), &Policy::default());
}

#[test]
fn all_mistakes_of_a_document_are_told_like_a_compiler_tells_them() {
    let told = refused(include_str!("golden/mistakes.toml"));

    golden("mistakes.txt", &told);
}

#[test]
fn findings_of_the_linter_are_told_where_they_stand() {
    let told = refused(include_str!("golden/findings.toml"));

    golden("findings.txt", &told);
}

#[test]
fn names_are_looked_up_even_where_their_tables_have_mistakes() {
    let told = PolicyDocument::new(
        "policy.toml",
        "[timeouts.page]\ntimeout = 1\n[routes.\"/a\"]\ntimeout = \"page\"\nquota = \"all\"\n",
    );

    assert_eq!(
        lines(&told.unwrap_err()),
        [
            "2:11 \"1\" has no unit",
            "5:9 routes./a.quota: there is no \"all\" among rates",
        ]
    );
}

#[test]
fn numbers_are_not_judged_together_before_each_is_right() {
    let told = refused("[timeouts.page]\ntimeout = 1\n");

    assert!(!told.contains("P008"), "{told}");
}

#[test]
fn warnings_are_kept_and_refuse_nothing() {
    let document = taken("[timeouts.page]\ntimeout = \"1s\"\n");

    let warnings = document.warnings().map(lines).unwrap_or_default();
    assert_eq!(
        warnings,
        ["1:1 timeouts.page: no route and no dependency names it"]
    );
}

#[test]
fn what_would_do_nothing_is_refused() {
    let check = |text: &str, expect: &str| {
        let told = refused(text);
        assert!(told.contains(expect), "{text}\n{told}");
    };

    check(
        "[timeouts.a]\ntimeout = \"1s\"\ntimeout_floor = \"1s\"\n",
        "a fixed timeout has no timeout_floor",
    );
    check(
        "[timeouts.a]\ntimeout = \"learn\"\ntimeout_floor = \"1s\"\n",
        "[timeouts.a] has no \"timeout_ceiling\"",
    );
    check(
        "[timeouts.a]\ntimeout = \"1s\"\npermit_share = 0.5\n",
        "a fixed timeout has no share",
    );
    check(
        "[breakers.a]\nslow_over = \"1s\"\n",
        "has no \"slow_share\"",
    );
    check("[breakers.a]\nslow_share = 0.5\n", "has no \"slow_over\"");
}

#[test]
fn names_that_could_mislead_are_refused() {
    let check = |name: &str, expect: &str| {
        let told = refused(&format!("[timeouts.{name}]\ntimeout = \"1s\"\n"));
        assert!(told.contains(expect), "{name}\n{told}");
    };
    let long = "x".repeat(97);

    check("\"\"", "at least one character");
    check(&format!("\"{long}\""), "at most 96 bytes");
    check("\"a\\u001b[31m\"", "cannot be seen");
    check("\"a\\u202eb\"", "cannot be seen");
    check("\" a\"", "begins and ends");
}

#[test]
fn names_of_routes_are_a_template_or_a_method_and_a_template() {
    let check = |name: &str, good: bool| {
        let text =
            format!("[timeouts.a]\ntimeout = \"1s\"\n[routes.\"{name}\"]\ntimeout = \"a\"\n");
        let read = PolicyDocument::new("policy.toml", text);
        assert_eq!(read.is_ok(), good, "{name}: {read:?}");
    };

    check("/orders/{id}", true);
    check("GET /orders", true);
    check("PROPFIND /files", true);
    check("unmatched", true);
    check("my fallback", true);
    check("get /orders", false);
    check("GTE /orders", false);
    check("GET  /orders", false);
    check("GET,POST /orders", false);
    check("GET POST /orders", false);
}

#[test]
fn a_document_of_too_many_tables_is_refused() {
    let tables: String = (0..1_001)
        .map(|n| format!("[dependencies.d{n}]\ntimeout = \"t\"\n"))
        .collect();

    let told = refused(&format!("[timeouts.t]\ntimeout = \"1s\"\n{tables}"));

    let expect = "error: dependencies has 1001 entries, more than 1000";
    assert!(told.contains(expect), "{told}");
}

#[test]
fn the_hash_is_of_the_text() {
    let (a, b) = (taken("# a\n"), taken("# b\n"));

    assert_eq!(a.policy(), b.policy());
    assert_ne!(a.hash(), b.hash());
    assert_eq!(a.hash(), taken("# a\n").hash());
}

#[test]
fn the_keys_that_are_read_are_those_of_the_reference() {
    for section in SECTIONS {
        let at = match section.names {
            Some(_) => format!("{}.x", section.name),
            None => section.name.to_owned(),
        };
        let unknown = refused(&format!("[{at}]\nnothing_like_it = 1\n"));
        let known = unknown
            .lines()
            .find_map(|line| line.split_once("known are "));
        let mut known: Vec<&str> = known.unwrap().1.split(", ").collect();
        let mut described: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
        for keys in [&mut known, &mut described] {
            keys.retain(|key| !key.starts_with("guaranteed_"));
            keys.sort_unstable();
            keys.dedup();
        }

        // Bounds are asked for where something is learned, and where they would do nothing.
        assert_eq!(known, described, "{at}");
    }
    let learned = "permits = \"learn\"\npermits_floor = 1\npermits_ceiling = 2\n";
    taken(&format!(
        "[admissions.a]\n{learned}queue_wait = \"1s\"\nguaranteed_core = 1.0\n"
    ));
}

/// Compares with a file; `STEADFAST_BLESS=1` writes it.
#[track_caller]
pub(super) fn golden(file: &str, is: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/policy/golden")
        .join(file);
    if std::env::var_os("STEADFAST_BLESS").is_some() {
        std::fs::write(&path, is).unwrap();
    }
    let expect = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        is == expect,
        "{file} is different: run with STEADFAST_BLESS=1\n{is}"
    );
}
