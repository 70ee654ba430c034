//! A link in a document leads somewhere.

use std::path::{Component, Path, PathBuf};

use super::assert_none;
use super::repository;

/// Gives the links of a document that lead into this repository, each with its line.
fn local_links(markdown: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(markdown) {
        let line = without_code(line);
        let inline = line
            .match_indices("](")
            .filter_map(|(at, _)| link_target(&line[at + 2..]));
        // `[name]: target` at the start of a line.
        let definition = line
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("]: "))
            .map(|(_, target)| target.split_whitespace().next().unwrap_or(""))
            .map(|target| target.trim_matches(['<', '>']).to_owned());
        links.extend(
            inline
                .chain(definition)
                .filter(|target| is_local(target))
                .map(|target| (number, target)),
        );
    }
    links
}

/// Gives the lines outside fenced blocks.
fn prose(markdown: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fence: Option<&str> = None;
    markdown
        .lines()
        .enumerate()
        .filter_map(move |(number, line)| {
            let start = line.trim_start();
            let mark = ["```", "~~~"]
                .into_iter()
                .find(|mark| start.starts_with(mark));
            match (fence, mark) {
                (None, None) => return Some((number + 1, line)),
                (None, mark) => fence = mark,
                (Some(open), Some(mark)) if open == mark => fence = None,
                (Some(_), _) => {}
            }
            None
        })
}

/// Blanks what stands between backticks.
fn without_code(line: &str) -> String {
    let mut code = false;
    line.chars()
        .map(|c| {
            code ^= c == '`';
            if code { ' ' } else { c }
        })
        .collect()
}

/// Gives the target of `target)`, `target "title")` or `<target>)`.
fn link_target(rest: &str) -> Option<String> {
    let target = match rest.strip_prefix('<') {
        Some(rest) => rest.split('>').next()?,
        None => rest.split([')', ' ']).next()?,
    };
    Some(target.to_owned())
}

/// Not a URL, and not a path of rustdoc in a document that is included there.
fn is_local(target: &str) -> bool {
    !target.is_empty()
        && !target.contains("://")
        && !target.starts_with("mailto:")
        && !target.contains("::")
}

/// Gives the anchors that a document's headings make on the usual hosts: lower case, words joined by
/// hyphens, other punctuation dropped.
fn anchors(markdown: &str) -> Vec<String> {
    prose(markdown)
        .filter_map(|(_, line)| {
            let title = line.trim_start_matches('#');
            (title.len() < line.len()).then(|| title.trim())
        })
        .map(|title| {
            title
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

/// `read` gives a document's text, and `exists` knows files and folders.
fn violations(
    path: &Path,
    markdown: &str,
    exists: impl Fn(&Path) -> bool,
    read: impl Fn(&Path) -> Option<String>,
) -> Vec<String> {
    let mut violations = Vec::new();
    for (line, link) in local_links(markdown) {
        let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
        let target = if file.is_empty() {
            path.to_owned()
        } else {
            resolve(path, file)
        };
        if !exists(&target) {
            violations.push(format!(
                "{}:{line}: {link} leads to no file",
                path.display()
            ));
        } else if !anchor.is_empty()
            && target
                .extension()
                .is_some_and(|extension| extension == "md")
            && !read(&target).is_some_and(|text| anchors(&text).iter().any(|found| found == anchor))
        {
            violations.push(format!(
                "{}:{line}: {link} leads to no heading",
                path.display()
            ));
        }
    }
    violations
}

/// Resolves a link against the document it stands in; one that starts with `/` starts at the root.
fn resolve(document: &Path, link: &str) -> PathBuf {
    let start = if link.starts_with('/') {
        Path::new("")
    } else {
        document.parent().unwrap_or(Path::new(""))
    };
    let mut resolved = PathBuf::new();
    for component in start.join(link.trim_start_matches('/')).components() {
        match component {
            Component::ParentDir => {
                // A link out of the repository stays one, and leads to no file.
                if !resolved.pop() {
                    resolved.push("..");
                }
            }
            Component::CurDir => {}
            other => resolved.push(other),
        }
    }
    resolved
}

#[test]
fn local_links_in_documents_lead_somewhere() {
    let listed = |path: &Path| {
        repository::files()
            .iter()
            .any(|file| file.starts_with(path))
            || path == Path::new("")
    };

    let violations: Vec<String> = repository::texts("md")
        .flat_map(|(path, text)| violations(path, &text, listed, repository::text))
        .collect();

    assert_none(&violations);
}

#[test]
fn planted_dead_links_are_seen() {
    let files = ["README.md", "docs/a.md", "docs/b.md"];
    let found = |text: &str| {
        violations(
            Path::new("docs/a.md"),
            text,
            |path| files.iter().any(|file| Path::new(file).starts_with(path)),
            |_| Some("# B\n\n## What it's for, and *why*\n```\n# no heading\n```\n".to_owned()),
        )
        .len()
    };

    for alive in [
        "[b](b.md) [readme](../README.md), [root](/README.md \"title\") [folder](../docs)",
        "[b](b.md#what-its-for-and-why) [here](#b)",
        "[b]: <b.md>\n[url](https://example.com/x) [mail](mailto:a@example.com) [item](crate::scope)",
        "`[code](missing.md)`\n\n```\n[code](missing.md)\n```",
        "[b]: b.md \"title\"",
    ] {
        assert_eq!(found(alive), 0, "{alive}");
    }
    for dead in [
        "[c](c.md)",
        "fine\n\n[b](b.md) and [c](../c.md)",
        "[c]: c.md",
        "[out](../../README.md)",
        "[b](b.md#missing)",
        "[b](b.md#no-heading)",
        "[here](#missing)",
        "~~~\n~~~\n[c](<c.md>)",
    ] {
        assert_eq!(found(dead), 1, "{dead}");
    }
}
