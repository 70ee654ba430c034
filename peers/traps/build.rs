//! Prepares the pages of `docs/traps` for the compiler: here code of the usual parts is Rust, and code of ours, which
//! the facade compiles, is text.

use std::path::Path;
use std::{env, fs};

/// How the fence of usual code begins: `rs` is Rust for people who read the page, and nothing to rustdoc.
const USUAL: &str = "```rs,usual";

fn main() {
    let pages = Path::new("../../docs/traps");
    println!("cargo::rerun-if-changed={}", pages.display());
    let mut names: Vec<_> = fs::read_dir(pages)
        .expect("the repository has docs/traps")
        .map(|entry| {
            entry
                .expect("it can be read")
                .file_name()
                .into_string()
                .expect("names are text")
        })
        .filter(|name| name.starts_with('t'))
        .collect();
    names.sort();
    let mut modules = String::new();
    for name in names {
        let file = pages.join(&name);
        println!("cargo::rerun-if-changed={}", file.display());
        let page = fs::read_to_string(&file).expect("a page can be read");
        let lines = page.lines().map(|line| match line.strip_prefix(USUAL) {
            Some(attributes) => format!("```rust{attributes}\n"),
            None if line.starts_with("```rust") => "```text\n".to_owned(),
            None => format!("{line}\n"),
        });
        let module = name.trim_end_matches(".md").replace('-', "_");
        modules += &format!(
            "#[doc = {:?}]\npub mod {module} {{}}\n",
            lines.collect::<String>()
        );
    }
    let out = env::var("OUT_DIR").expect("cargo sets it for build scripts");
    fs::write(Path::new(&out).join("pages.rs"), modules).expect("the output can be written");
}
