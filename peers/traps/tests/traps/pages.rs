//! The pages of `docs/traps` belong together with these tests.

use std::fs;
use std::path::Path;

#[test]
fn every_page_shows_both_codes_is_compiled_by_the_facade_and_stands_in_the_index() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let (index, facade, tests) = (
        read("docs/traps/README.md"),
        read("crates/steadfast/src/lib.rs"),
        read("peers/traps/tests/traps/main.rs"),
    );

    for entry in fs::read_dir(root.join("docs/traps")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "README.md" {
            continue;
        }
        let page = read(&format!("docs/traps/{name}"));
        assert!(
            page.contains("\n```rs,usual"),
            "{name} shows no code of the usual parts"
        );
        assert!(
            page.contains("\n```rust"),
            "{name} shows no code that is right"
        );
        assert!(
            index.contains(&format!("]({name})")),
            "the index has no {name}"
        );
        assert!(
            facade.contains(&format!("docs/traps/{name}\"")),
            "the facade does not compile {name}"
        );
        let module = name.trim_end_matches(".md").replace('-', "_");
        assert!(
            tests.contains(&format!("mod {module};")),
            "{name} has no test"
        );
    }
}

/// What the index tells was seen as well.
#[test]
fn the_index_tells_what_the_pages_tell() {
    let pages = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/traps"));
    let index = fs::read_to_string(pages.join("README.md")).unwrap();
    for row in index.lines().filter(|line| line.starts_with("| [T")) {
        let cells: Vec<_> = row.split(" | ").collect();
        let name = cells[0].split(['(', ')']).nth(1).unwrap();
        let told = cells[2].trim_end_matches(" |");
        let page = fs::read_to_string(pages.join(name)).unwrap();
        assert!(
            page.contains(&format!("\n> {told}\n")),
            "{name} does not say: {told}"
        );
    }
}
