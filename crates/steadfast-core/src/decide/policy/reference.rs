//! The pages `docs/reference/policy-rules.md`, made from the rules and their examples, and
//! `docs/reference/policy.md`, made from the keys.

use std::fmt::Write as _;
use std::path::Path;

use super::examples::{Example, examples};
use super::*;

#[test]
fn the_page_of_the_rules_is_what_they_say() {
    check("policy-rules.md", &rules());
}

#[test]
fn the_page_of_the_keys_is_what_they_say() {
    check("policy.md", &keys());
}

fn check(page: &str, expect: &str) {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    let path = pages.join(page);

    if std::env::var_os("STEADFAST_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, expect).unwrap();
    }

    let is = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        is == expect,
        "docs/reference/{page} is out of date: run with STEADFAST_BLESS=1"
    );
}

fn keys() -> String {
    let mut page = String::from(
        "# Policy document\n\n\
         Everything that a policy may say, in TOML. What bounds memory or patience has a default; \
         *timeouts, rates and\nthresholds have none*: they are written down, or learned between a \
         floor and a ceiling. A key that is not listed\nhere is refused, as is every value out of \
         its range. What numbers may not say together is in\n[policy rules](policy-rules.md).\n\n\
         - A *length of time* is a string with its unit: `\"250ms\"`, `\"1.5s\"`, `\"2m\"`; units are \
         ns, us, ms, s, m, h, d.\n\
         - A *share* is a number from 0 to 1, or a string in percent: `0.1` is `\"10 %\"`.\n\
         - `\"learn\"` stands for what is measured, never below the floor and never above the \
         ceiling that stand beside it.\n\
         - A *name* has 1 to 96 bytes and no control characters. There are at most 1000 tables in a \
         section, and the\n  document has at most 1 MiB.\n\n\
         This page is generated from what the program knows; `STEADFAST_BLESS=1 cargo test -p \
         steadfast-core policy` writes\nit.\n",
    );
    for section in SECTIONS {
        let header = match section.names {
            Some(_) => format!("{}.NAME", section.name),
            None => section.name.to_owned(),
        };
        let _ = writeln!(page, "\n## `[{header}]`\n\n{}\n", section.what);
        if let Some(names) = section.names {
            let _ = writeln!(page, "NAME is {names}.\n");
        }
        page.push_str("| key | takes | says | without it |\n|---|---|---|---|\n");
        for key in section.keys {
            let absent = match key.absent {
                Absent::Refused => "refused".to_owned(),
                Absent::RefusedIfLearned => "refused when learned".to_owned(),
                Absent::Default { value, reason } => format!("`{value}`: {reason}"),
                Absent::Nothing(means) | Absent::NothingIfLearned(means) => means.to_owned(),
            };
            let Key {
                name, takes, what, ..
            } = key;
            let _ = writeln!(page, "| `{name}` | {takes} | {what} | {absent} |");
        }
    }
    page
}

fn rules() -> String {
    let mut page = String::from(
        "# Policy rules\n\n\
         What the linter looks for in a policy before the service starts. An *error* refuses the \
         start; a *warning*\nis said once. Each rule is shown with a policy in which it finds \
         something, what it says, and the change that\nmends it.\n\n\
         This page is generated from the rules and from the examples that their tests run; \
         `STEADFAST_BLESS=1 cargo\ntest -p steadfast-core policy` writes it.\n\n\
         | rule | finds | |\n|---|---|---|\n",
    );
    for rule in RULES {
        let anchor = heading(rule).to_lowercase().replace(' ', "-");
        let anchor: String = anchor
            .chars()
            .filter(|c| c.is_alphanumeric() || *c == '-')
            .collect();
        let _ = writeln!(
            page,
            "| [{}](#{anchor}) | {} | {} |",
            rule.id, rule.title, rule.severity
        );
    }
    for (rule, example) in RULES.iter().zip(examples()) {
        section(&mut page, rule, &example);
    }
    page
}

fn section(page: &mut String, rule: &Rule, example: &Example) {
    let _ = write!(
        page,
        "\n## {}\n\n{}\n\nWrong:\n\n```toml\n{}```\n\n```text\n",
        heading(rule),
        rule.why,
        example.wrong.to_toml()
    );
    for finding in lint(&example.wrong) {
        let _ = writeln!(
            page,
            "{}[{}] {}\n  {}\n  fix: {}",
            finding.severity, finding.rule, finding.path, finding.message, finding.fix
        );
    }
    page.push_str("```\n\nRight:\n\n```diff\n");
    for change in example.wrong.changes(&example.right) {
        for (sign, value) in [("-", change.before), ("+", change.after)] {
            if let Some(value) = value {
                let _ = writeln!(page, "{sign} {} = {value}", change.path);
            }
        }
    }
    page.push_str("```\n");
}

fn heading(rule: &Rule) -> String {
    format!("{} {}", rule.id, rule.title)
}
