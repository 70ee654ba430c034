//! What was useful for a minute on one machine stays there.

use std::path::Path;

use super::assert_none;
use super::repository;
use super::source;
use super::tokens;

/// Folders of one machine. Put together here, so that this file passes its own rule.
const MACHINE_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Where packages are fetched from is the business of whoever builds, and of the lock file.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("registry.npmjs", ".org"),
    concat!("proxy.golang", ".org"),
    concat!("deb.debian", ".org"),
];

const UNFINISHED: &[&str] = &["dbg!", "todo!", "unimplemented!"];

fn words(path: &Path, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let place = format!("{}:{}", path.display(), number + 1);
        for folder in MACHINE_PATHS
            .iter()
            .filter(|folder| names_folder(line, folder))
        {
            violations.push(format!("{place}: names {folder}, a folder of one machine"));
        }
        for host in REGISTRY_HOSTS.iter().filter(|host| line.contains(**host)) {
            violations.push(format!("{place}: names the registry host {host}"));
        }
    }
    violations
}

/// An absolute path only: `docs/work/` and `https://host/work/` are somebody else's folders.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"_-.}*".contains(c))
    })
}

fn unfinished(path: &Path, text: &str) -> Vec<String> {
    let sources = source::parse([(path, text.to_owned())]);
    UNFINISHED
        .iter()
        .flat_map(|word| {
            tokens::lines_with(&sources[0].all, word)
                .into_iter()
                .map(move |line| (line, word))
        })
        .map(|(line, word)| format!("{}:{line}: {word} is left", path.display()))
        .collect()
}

#[test]
fn no_file_names_a_path_of_one_machine_or_a_registry_host() {
    let violations: Vec<String> = repository::files()
        .iter()
        .filter(|file| file.extension().is_none_or(|extension| extension != "lock"))
        .filter_map(|file| Some(words(file, &repository::text(file)?)))
        .flatten()
        .collect();

    assert_none(&violations);
}

#[test]
fn no_code_is_left_unfinished() {
    let violations: Vec<String> = repository::texts("rs")
        .flat_map(|(path, text)| unfinished(path, &text))
        .collect();

    assert_none(&violations);
}

#[test]
fn planted_words_are_seen() {
    let path = Path::new("a.md");

    for folder in MACHINE_PATHS {
        assert_eq!(
            words(path, &format!("fine\nsee `{folder}a`")).len(),
            1,
            "{folder}"
        );
        assert_none(&words(path, &format!("see docs{folder}a")));
        assert_none(&words(path, &format!("see https://example.com{folder}a")));
    }
    for host in REGISTRY_HOSTS {
        assert_eq!(words(path, &format!("https://{host}/a")).len(), 1, "{host}");
    }
}

#[test]
fn planted_unfinished_code_is_seen() {
    let path = Path::new("a.rs");

    for word in UNFINISHED {
        assert_eq!(
            unfinished(path, &format!("fn a() {{ {word}(b) }}")).len(),
            1,
            "{word}"
        );
        assert_none(&unfinished(
            path,
            &format!("// {word}()\nfn a() {{ b(\"{word}()\") }}"),
        ));
    }
}
