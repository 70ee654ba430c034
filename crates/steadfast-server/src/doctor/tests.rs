//! The page of the reference, and names.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

fn page() -> String {
    let mut page = String::from(
        "# What `steadfast doctor` looks at\n\n\
         Each line begins with `ok`, `skip` (it could not be seen), `warn` (it works, and something is to be known) or `fail` (it\n\
         does not work, or not when it is needed); the last two say how to put it right. The exit code is 9 if anything fails, and 0\n\
         otherwise. `--json` prints `{\"version\": 1, \"data\": {\"ok\", \"skip\", \"warn\", \"fail\", \"findings\": [{\"check\", \"verdict\",\n\
         \"says\", \"fix\"}]}}`; names of checks stay as they are.\n\n\
         | check | looks |\n|---|---|\n",
    );
    for check in super::checks() {
        let _ = writeln!(page, "| `{}` | {} |", check.name, check.looks);
    }
    page
}

#[test]
fn the_page_has_every_check() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/doctor.md");
    let expect = page();
    if std::env::var_os("STEADFAST_BLESS").is_some() {
        std::fs::write(&path, &expect).unwrap();
    }
    let is = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        is == expect,
        "docs/reference/doctor.md is out of date: run with STEADFAST_BLESS=1"
    );
}

#[test]
fn every_check_has_a_name_of_its_own() {
    let names: Vec<_> = super::checks().map(|check| check.name).collect();
    let different: BTreeSet<_> = names.iter().collect();

    assert_eq!(different.len(), names.len());
}
