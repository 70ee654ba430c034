//! A page of the documents, by its fenced blocks.

use std::fs;
use std::path::PathBuf;

/// A page, and where it is.
pub(crate) struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    pub(crate) fn open(name: &str) -> Self {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let path = root.join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { path, text }
    }

    /// Gives the blocks that begin with exactly this after the fence.
    pub(crate) fn blocks(&self, language: &str) -> Vec<&str> {
        let fence = format!("```{language}\n");
        let parts = self.text.split(&fence).skip(1);
        parts
            .map(|part| part.split("```").next().unwrap())
            .collect()
    }

    pub(crate) fn rows_that_begin_with(&self, start: &str) -> Vec<&str> {
        let lines = self.text.lines();
        lines.filter(|line| line.starts_with(start)).collect()
    }

    /// Compares a block with what it should be, ids and times masked; with `STEADFAST_BLESS` set
    /// it is written instead.
    pub(crate) fn expect(&mut self, language: &str, block: &str, actual: &str) {
        if masked(block) == masked(actual) {
            return;
        }
        if std::env::var_os("STEADFAST_BLESS").is_some() {
            let fenced = |text| format!("```{language}\n{text}```");
            self.text = self.text.replacen(&fenced(block), &fenced(actual), 1);
            fs::write(&self.path, &self.text).unwrap();
            return;
        }
        let path = self.path.display();
        panic!("{path} shows\n{block}\nand what happens is\n{actual}\nSTEADFAST_BLESS=1 writes it");
    }
}

/// Blanks what is another one each time: ids, dates, and fractions of measured or drawn times, whose
/// digits count in the length.
fn masked(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(": ") {
        Some((name @ ("date" | "content-length"), _)) => format!("{name}: …"),
        _ => without_fractions(&without_ids(line)),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn without_ids(line: &str) -> String {
    let parts = line.split_inclusive(|c: char| !c.is_ascii_hexdigit());
    let parts = parts.map(|part| {
        let digits = part.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
        match digits.len() {
            16 | 32 => part.replace(digits, "…"),
            _ => part.to_owned(),
        }
    });
    parts.collect()
}

/// Numbers with more than three decimals were measured or drawn, not set.
fn without_fractions(line: &str) -> String {
    let parts = line.split_inclusive(|c: char| !c.is_ascii_digit() && c != '.');
    let parts = parts.map(|part| {
        let number = part.trim_end_matches(|c: char| !c.is_ascii_digit());
        match number.split_once('.') {
            Some((_, decimals)) if decimals.len() > 3 => part.replace(number, "…"),
            _ => part.to_owned(),
        }
    });
    parts.collect()
}

#[test]
fn what_differs_each_time_is_masked_and_nothing_else() {
    let id = "0af7651916cd43dd8448eb211c80319c";
    assert_eq!(masked(&format!("x-request-id: {id}")), "x-request-id: …");
    assert_eq!(masked("date: Mon, 23 Nov 2026"), "date: …");
    assert_eq!(masked("content-length: 235"), "content-length: …");
    assert_eq!(
        masked(r#""retry_after":0.35062,"limit":0.1"#),
        r#""retry_after":…,"limit":0.1"#
    );
    assert_eq!(masked("status 500, added 17"), "status 500, added 17");
}
