//! What the source of a project says of traps: as far as words alone tell it, without types.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::Package;

/// The shortest period that is taken for a schedule: half a day. What is begun anew more often than once between two deploys
/// runs all the same.
const SCHEDULE_LEAST: u64 = 12 * 60 * 60;

/// The longest, about a year: beyond, people mean that it never ends.
const SCHEDULE_MOST: u64 = 400 * 24 * 60 * 60;

/// How many files of a package are read: 10,000, more than any has.
const FILES_MAX: usize = 10_000;

/// The largest file that is read: 1 MiB. A larger one was written by a program.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How deep the brackets of a file that is read are at most: 200, more than people nest.
const NESTING_MAX: usize = 200;

/// What is not of the program itself: its tests, and the sources of others.
const ASIDE: &[&str] = &[
    "benches",
    "examples",
    "node_modules",
    "target",
    "tests",
    "tests.rs",
    "vendor",
];

/// What wakes up after a while.
const TIMERS: &[&str] = &["interval", "interval_at", "sleep"];

/// Where a package has a timer in its process with the period of a schedule, such as `src/main.rs:12`.
pub(super) fn timers(package: &Package) -> Vec<String> {
    let mut folders: Vec<&Path> = package
        .targets
        .iter()
        .filter(|target| target.is_released())
        .filter_map(|target| target.src_path.parent())
        .collect();
    folders.sort_unstable();
    // One below another is read with that.
    folders.dedup_by(|inner, outer| inner.starts_with(outer));
    let mut files = Vec::new();
    for folder in folders {
        gather(folder, &mut files);
    }
    files.sort_unstable();
    let root = package.manifest_path.parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let name = file.strip_prefix(root).unwrap_or(&file).display();
        found.extend(lines(&text).iter().map(|line| format!("{name}:{line}")));
    }
    found
}

/// Adds the files of a folder, but for those of tests, and of other packages below it.
fn gather(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(found) = entry.metadata() else {
            continue;
        };
        let name = name.to_string_lossy();
        let is_aside = ASIDE.contains(&&*name);
        if is_aside || name.starts_with('.') || files.len() == FILES_MAX {
            continue;
        }
        if found.is_dir() {
            if !path.join("Cargo.toml").exists() {
                gather(&path, files);
            }
        } else if name.ends_with(".rs") && is_read(&path) {
            files.push(path);
        }
    }
}

/// Whether there is a file of a size that is read; a pipe, or a device, would never end.
fn is_read(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() <= FILE_BYTES_MAX)
}

/// How deep brackets are, wherever they stand.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Gives the lines of timers with the period of a schedule; none of what is no Rust.
fn lines(text: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    if nesting(text) <= NESTING_MAX
        && let Ok(tokens) = text.parse()
    {
        let mut seen = Seen {
            constants: BTreeMap::new(),
            lines: &mut lines,
        };
        // A constant may stand below what uses it.
        let tokens: TokenStream = tokens;
        seen.walk(tokens.clone());
        seen.lines.clear();
        seen.walk(tokens);
    }
    lines
}

struct Seen<'l> {
    /// What constants stand for: a number, or a length of time in seconds.
    constants: BTreeMap<String, u64>,
    lines: &'l mut Vec<usize>,
}

impl Seen<'_> {
    fn walk(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if is_test(&tokens[at..]) {
                at += item(&tokens[at..]);
                continue;
            }
            self.constant(&tokens[at..]);
            if let TokenTree::Group(group) = &tokens[at] {
                let before = &tokens[..at];
                if is_timer(before) && self.is_schedule(group.stream()) {
                    self.lines.push(group.span_open().start().line);
                }
                self.walk(group.stream());
            }
            at += 1;
        }
    }

    /// Notes what begins here, if it is a constant whose value can be told.
    fn constant(&mut self, tokens: &[TokenTree]) {
        let [TokenTree::Ident(word), TokenTree::Ident(name), rest @ ..] = tokens else {
            return;
        };
        if word != "const" {
            return;
        }
        let is = |token: &TokenTree, sign| matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign);
        let mut parts = rest.split(|token| is(token, ';'));
        let declared = parts.next().unwrap_or_default();
        let value = declared.splitn(2, |token| is(token, '=')).nth(1);
        if let Some(value) = value.and_then(|value| self.product(value)) {
            self.constants.insert(name.to_string(), value);
        }
    }

    /// Whether the last argument is the period of a schedule.
    fn is_schedule(&self, arguments: TokenStream) -> bool {
        let arguments: Vec<TokenTree> = arguments.into_iter().collect();
        let mut parts = arguments
            .split(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ','));
        let last = parts.rfind(|part| !part.is_empty());
        let seconds = last.and_then(|last| self.product(last));
        seconds.is_some_and(|seconds| (SCHEDULE_LEAST..=SCHEDULE_MOST).contains(&seconds))
    }

    fn product(&self, tokens: &[TokenTree]) -> Option<u64> {
        let mut factors = tokens
            .split(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '*'));
        factors.try_fold(1_u64, |product, factor| {
            product.checked_mul(self.factor(factor)?)
        })
    }

    fn factor(&self, tokens: &[TokenTree]) -> Option<u64> {
        match tokens {
            [TokenTree::Literal(literal)] => number(&literal.to_string()),
            [.., TokenTree::Ident(name)] => self.constants.get(&name.to_string()).copied(),
            [TokenTree::Group(group)] => self.product(&Vec::from_iter(group.stream())),
            [.., TokenTree::Ident(unit), TokenTree::Group(group)] => {
                let many = self.product(&Vec::from_iter(group.stream()))?;
                let (by, seconds) = match unit.to_string().as_str() {
                    "from_millis" => (1000, 1),
                    "from_secs" => (1, 1),
                    "from_mins" => (1, 60),
                    "from_hours" => (1, 60 * 60),
                    "from_days" => (1, 24 * 60 * 60),
                    "from_weeks" => (1, 7 * 24 * 60 * 60),
                    _ => return None,
                };
                Some(many.checked_mul(seconds)? / by)
            }
            _ => None,
        }
    }
}

/// Whether what stands before arguments is a timer: a function of that name, and no method.
fn is_timer(before: &[TokenTree]) -> bool {
    match before {
        [.., TokenTree::Punct(dot), TokenTree::Ident(_)] if dot.as_char() == '.' => false,
        [.., TokenTree::Ident(word), TokenTree::Ident(_)] if word == "fn" => false,
        [.., TokenTree::Ident(name)] => TIMERS.contains(&name.to_string().as_str()),
        _ => false,
    }
}

/// Whether an attribute begins here that makes a test of what follows.
fn is_test(tokens: &[TokenTree]) -> bool {
    fn has(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(word) => word == "test",
            TokenTree::Group(group) => has(group.stream()),
            _ => false,
        })
    }
    let [TokenTree::Punct(sign), TokenTree::Group(group), ..] = tokens else {
        return false;
    };
    sign.as_char() == '#' && group.delimiter() == Delimiter::Bracket && has(group.stream())
}

/// How many tokens an item has: up to its block, or its semicolon.
fn item(tokens: &[TokenTree]) -> usize {
    let end = tokens.iter().position(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(sign) => sign.as_char() == ';',
        _ => false,
    });
    end.map_or(tokens.len(), |end| end + 1)
}

/// The number of a literal such as `86_400u64`.
fn number(literal: &str) -> Option<u64> {
    let digits: String = literal.chars().filter(|sign| *sign != '_').collect();
    let digits = digits.trim_end_matches("u64").trim_end_matches("u32");
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_never_end_is_not_read() {
        let deep = 100_000;
        let text = format!("fn main() {{ {}{} }}", "(".repeat(deep), ")".repeat(deep));
        assert_eq!(lines(&text), Vec::<usize>::new());
        assert!(!is_read(Path::new("/dev/zero")));
    }

    #[test]
    fn a_period_of_half_a_day_or_more_is_found_however_it_is_written() {
        for written in [
            "let mut ticks = tokio::time::interval(Duration::from_secs(24 * 60 * 60));",
            "time::sleep(std::time::Duration::from_millis(86_400_000u64)).await;",
            "interval_at(Instant::now() + first, Duration::from_hours(12))",
            "spawn(async { loop { sleep(Duration::from_days(7)).await } })",
            "let ticks = interval(DAY * 7); const HOUR: u64 = 60 * 60; const DAY: Duration = Duration::from_secs(24 * HOUR);",
            "interval(7 * times::DAY); mod times { const DAY: Duration = Duration::from_mins(24 * 60); }",
            "interval(Duration::from_secs((24 * 60) * 60),)",
        ] {
            assert_eq!(
                lines(&format!("\nfn main() {{ {written} }}")),
                [2],
                "{written}"
            );
        }
    }

    #[test]
    fn what_is_short_or_endless_or_no_timer_or_a_test_is_left_in_peace() {
        for written in [
            "interval(Duration::from_secs(60 * 60))",
            "sleep(Duration::from_secs(86400 * 365 * 30))",
            "sleep(Duration::from_secs(u64::MAX))",
            "interval(period)",
            "interval()",
            "builder.interval(Duration::from_days(1))",
            "timeout(Duration::from_days(1), work)",
            "// interval(Duration::from_days(1))",
            "let text = \"interval(Duration::from_days(1))\";",
            "#[cfg(test)] mod tests { fn a() { sleep(Duration::from_days(1)) } }",
            "#[tokio::test(start_paused = true)] async fn a() { sleep(Duration::from_days(1)).await }",
            "fn interval(Duration::from_days(1)) {}",
            "{ { no rust",
        ] {
            assert_eq!(lines(written), Vec::<usize>::new(), "{written}");
        }
    }
}
