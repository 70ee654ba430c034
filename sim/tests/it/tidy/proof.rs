//! A test that the page of proofs names is there.

use std::path::Path;

use super::assert_none;
use super::repository;

/// `is_test` knows the names of functions.
fn violations(page: &str, is_test: impl Fn(&str) -> bool) -> Vec<String> {
    let mut violations = Vec::new();
    for (number, line) in page.lines().enumerate() {
        let Some(case) = line.strip_prefix("| ") else {
            continue;
        };
        let tests = case.split(" | ").nth(1).unwrap_or_default();
        for test in tests.split('`').skip(1).step_by(2) {
            let name = test.rsplit("::").next().unwrap_or(test);
            if !is_test(name) {
                violations.push(format!(
                    "docs/proof.md:{}: there is no test `{test}`",
                    number + 1
                ));
            }
        }
    }
    violations
}

#[test]
fn tests_that_the_page_of_proofs_names_are_there() {
    let page = repository::text(Path::new("docs/proof.md")).expect("it is text");
    let sources: Vec<String> = repository::texts("rs").map(|(_, text)| text).collect();
    let is_test = |name: &str| {
        let function = format!("fn {name}(");
        sources.iter().any(|text| text.contains(&function))
    };

    assert_none(&violations(&page, is_test));
}

#[test]
fn planted_tests_that_are_not_there_are_seen() {
    let found = |page: &str| violations(page, |name| name == "there").len();

    assert_eq!(
        found("| a case | `file::there`, `there` | `gone` | so |"),
        0
    );
    assert_eq!(
        found("`gone`\n\n| a case | `there` and `file::gone` | | |"),
        1
    );
}
