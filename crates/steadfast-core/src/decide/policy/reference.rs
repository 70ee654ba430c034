//! The page `docs/reference/policy-rules.md`, made from the rules and their examples.

use std::fmt::Write as _;
use std::path::Path;

use super::examples::{Example, examples};
use super::*;

const PAGE: &str = "../../docs/reference/policy-rules.md";

#[test]
fn the_reference_page_is_what_the_rules_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let expect = page();

    if std::env::var_os("STEADFAST_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &expect).unwrap();
    }

    let is = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        is == expect,
        "docs/reference/policy-rules.md is out of date: run with STEADFAST_BLESS=1"
    );
}

fn page() -> String {
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
