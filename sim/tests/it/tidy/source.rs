//! Rust files as a rule wants to see them: with the code apart that exists only in tests, and with
//! imports written out.

use std::path::{Path, PathBuf};

use super::tokens::{Token, lex};

/// A Rust file, read for rules.
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// All of the code.
    pub(super) all: Vec<Token>,
    /// The code that is compiled outside tests, too.
    pub(super) shipped: Vec<Token>,
    /// Modules in files of their own that are declared under `#[cfg(test)]`, each as a path without
    /// extension: the stem of a file, or a folder.
    test_modules: Vec<PathBuf>,
}

impl Source {
    fn parse(path: &Path, text: &str) -> Self {
        let all = lex(text);
        let (shipped, test_modules) = without_tests(&all);
        let parent = path.parent().unwrap_or(Path::new(""));
        let stem = path.file_stem().unwrap_or_default();
        let home = if ["mod", "lib", "main"].iter().any(|root| stem == *root) {
            parent.to_owned()
        } else {
            parent.join(stem)
        };
        Self {
            path: path.to_owned(),
            all,
            shipped,
            test_modules: test_modules
                .into_iter()
                .map(|name| home.join(name))
                .collect(),
        }
    }
}

/// Reads files that belong together. A file that exists only in tests ships nothing: it was declared
/// so by another, or lies in a package's `tests` or `benches`.
pub(super) fn parse<'a>(files: impl IntoIterator<Item = (&'a Path, String)>) -> Vec<Source> {
    let mut sources: Vec<Source> = files
        .into_iter()
        .map(|(path, text)| Source::parse(path, &text))
        .collect();
    let test_modules: Vec<PathBuf> = sources
        .iter_mut()
        .flat_map(|source| std::mem::take(&mut source.test_modules))
        .collect();
    for source in &mut sources {
        let module = source.path.with_extension("");
        let declared = test_modules.iter().any(|tests| module.starts_with(tests));
        if declared || in_test_folder(&source.path) {
            source.shipped.clear();
        }
    }
    sources
}

fn in_test_folder(path: &Path) -> bool {
    path.components()
        .map(|component| component.as_os_str())
        .take_while(|name| *name != "src")
        .any(|name| name == "tests" || name == "benches")
}

/// Gives every path that `use` declarations bring in, written out: `use std::{env, fs::File}` gives
/// `std::env` and `std::fs::File`.
pub(super) fn imports(tokens: &[Token]) -> Vec<Token> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text == "use" {
            at = import_tree(tokens, at + 1, "", &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one tree of a `use` from `at` on and gives where it ends.
fn import_tree(tokens: &[Token], mut at: usize, prefix: &str, found: &mut Vec<Token>) -> usize {
    let mut path = prefix.to_owned();
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = import_tree(tokens, at, &path, found);
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            "," | "}" | ";" => break,
            // The new name says nothing about what comes in.
            "as" => at += 2,
            text => {
                path.push_str(text);
                at += 1;
            }
        }
    }
    if let Some(line) = tokens.get(at).map(|token| token.line) {
        found.push(Token { text: path, line });
    }
    at
}

/// Drops every item under an attribute that demands `test`, and names the file modules among them.
pub(super) fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let (mut shipped, mut modules, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        let Some((end, inner)) = test_attribute(&tokens[at..]) else {
            shipped.push(tokens[at].clone());
            at += 1;
            continue;
        };
        if inner {
            // `#![cfg(test)]` at the head: nothing of the file is shipped.
            return (Vec::new(), modules);
        }
        let item = &tokens[at + end..];
        let len = item_len(item);
        if let Some(module) = file_module(&item[..len]) {
            modules.push(module);
        }
        at += end + len;
    }
    (shipped, modules)
}

/// Recognises `#[cfg(test)]`, `#[cfg(all(.., test, ..))]` and `#[test]`, and the inner form with `!`;
/// gives the length of the attribute, and whether it is an inner one.
fn test_attribute(tokens: &[Token]) -> Option<(usize, bool)> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let inner = text(1) == "!";
    let open = 1 + usize::from(inner);
    if text(0) != "#" || text(open) != "[" {
        return None;
    }
    let end = open + group_len(&tokens[open..]);
    let content = &tokens[open + 1..end - 1];
    let demands_test = match content {
        [only] => only.text == "test",
        [cfg, open, predicate @ .., _] if cfg.text == "cfg" && open.text == "(" => {
            demands_test(predicate)
        }
        _ => false,
    };
    demands_test.then_some((end, inner))
}

fn demands_test(predicate: &[Token]) -> bool {
    match predicate {
        [only] => only.text == "test",
        [all, _, arguments @ .., _] if all.text == "all" => {
            split_arguments(arguments).into_iter().any(demands_test)
        }
        _ => false,
    }
}

fn split_arguments(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0;
    tokens
        .split(|token| {
            depth += match token.text.as_str() {
                "(" => 1,
                ")" => -1,
                _ => 0,
            };
            depth == 0 && token.text == ","
        })
        .collect()
}

/// Gives the length of an item with its further attributes: up to its block, or to its semicolon.
fn item_len(tokens: &[Token]) -> usize {
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            "{" => return at + group_len(&tokens[at..]),
            ";" => return at + 1,
            "(" | "[" => at += group_len(&tokens[at..]),
            _ => at += 1,
        }
    }
    at
}

/// Gives the length of the bracketed group at the start, brackets included.
pub(super) fn group_len(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

fn file_module(item: &[Token]) -> Option<String> {
    match item {
        [.., keyword, name, end] if keyword.text == "mod" && end.text == ";" => {
            Some(name.text.clone())
        }
        _ => None,
    }
}

#[test]
fn code_for_tests_only_is_left_out_and_nothing_else() {
    let cases = [
        (
            "#[cfg(test)] mod tests { fn a() { b } } fn c() {}",
            "fn c ( ) { }",
        ),
        ("#[cfg(all(steadfast_loom, test))] mod loom { a } b", "b"),
        ("#[cfg(test)] #[derive(A)] struct B([u8; 2]); c", "c"),
        ("#[cfg(test)] use a::b; c", "c"),
        ("#[test] fn a() -> [u8; 2] { b } c", "c"),
        ("#![cfg(test)] a", ""),
        ("#[cfg(not(test))] a", "# [ cfg ( not ( test ) ) ] a"),
        ("#[cfg(any(test, b))] a", "# [ cfg ( any ( test , b ) ) ] a"),
        (
            "#[cfg(all(not(test), b))] a",
            "# [ cfg ( all ( not ( test ) , b ) ) ] a",
        ),
    ];

    for (text, expected) in cases {
        let source = Source::parse(Path::new("a.rs"), text);

        assert_eq!(super::tokens::words(&source.shipped), expected, "{text}");
    }
}

#[test]
fn files_for_tests_only_ship_nothing() {
    let module = "mod shipped; #[cfg(test)] mod tests; #[cfg(test)] mod inside { mod b; }";
    let sources = parse([
        (Path::new("x/src/y/mod.rs"), module.to_owned()),
        (Path::new("x/src/y/shipped.rs"), "a".to_owned()),
        (Path::new("x/src/y/tests.rs"), "a".to_owned()),
        (Path::new("x/src/y/tests/deep.rs"), "a".to_owned()),
        (Path::new("x/src/z.rs"), module.to_owned()),
        (Path::new("x/src/z/tests.rs"), "a".to_owned()),
        (Path::new("x/src/tests.rs"), "a".to_owned()),
        (Path::new("x/tests/it/main.rs"), "a".to_owned()),
    ]);

    let shipping: Vec<_> = sources
        .iter()
        .filter(|source| !source.shipped.is_empty())
        .map(|source| source.path.to_str().unwrap())
        .collect();

    assert_eq!(
        shipping,
        [
            "x/src/y/mod.rs",
            "x/src/y/shipped.rs",
            "x/src/z.rs",
            "x/src/tests.rs"
        ]
    );
}

#[test]
fn imports_are_written_out() {
    let tokens = lex("pub use std::{env, fs::{self, File as F}, time::*}; use rand::Rng; a::b();");

    let paths: Vec<_> = imports(&tokens)
        .into_iter()
        .map(|token| token.text)
        .collect();

    assert_eq!(
        paths,
        [
            "std::env",
            "std::fs::self",
            "std::fs::File",
            "std::time::*",
            "rand::Rng"
        ]
    );
}
