//! The page on the life of a job is made from the table in `state`.

use std::fmt::Write as _;
use std::path::PathBuf;

use steadfast_jobs::State;
use steadfast_jobs::state::{Event, next};

const BEGIN: &str = "<!-- made from state.rs -->\n";
const END: &str = "<!-- end -->";

fn diagram() -> String {
    let mut text = String::from("```mermaid\nstateDiagram-v2\n");
    text.push_str("    [*] --> pending: enqueue\n    [*] --> waiting: enqueue, due later\n");
    for from in State::ALL {
        for to in State::ALL {
            let events = Event::ALL.into_iter();
            let events: Vec<&str> = events
                .filter(|event| next(from, *event) == Ok(to))
                .map(Event::as_str)
                .collect();
            if !events.is_empty() {
                let _ = writeln!(text, "    {from} --> {to}: {}", events.join(", "));
            }
        }
    }
    text.push_str("```\n");
    text
}

fn table() -> String {
    let mut text = String::from("| event | from | to | term grows |\n|---|---|---|---|\n");
    for event in Event::ALL {
        for to in State::ALL {
            let from: Vec<String> = State::ALL
                .into_iter()
                .filter(|from| next(*from, event) == Ok(to))
                .map(|from| from.to_string())
                .collect();
            if !from.is_empty() {
                let grows = if event.raises_term() { "yes" } else { "" };
                let _ = writeln!(text, "| {event} | {} | {to} | {grows} |", from.join(", "));
            }
        }
    }
    text
}

/// With `STEADFAST_BLESS=1` it is written.
#[test]
fn the_page_shows_every_transition_and_no_other() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/job-states.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(BEGIN).unwrap();
    let (_, tail) = rest.split_once(END).unwrap();
    let made = format!("{head}{BEGIN}\n{}\n{}\n{END}{tail}", diagram(), table());
    if std::env::var_os("STEADFAST_BLESS").is_some() {
        std::fs::write(&path, made).unwrap();
        return;
    }
    assert!(
        page == made,
        "the page is not what the table says: write it with STEADFAST_BLESS=1\n{made}"
    );
}
