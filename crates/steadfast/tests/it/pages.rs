use std::net::SocketAddr;

use axum::Router;
use steadfast::BoxError;
use steadfast::tower::{PolicyDocument, Reason};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::client;
use crate::document::Document;

/// The programs of the pages, as `cargo build --examples` builds them; `main` is not called here.
#[path = "../../examples/protect_a_route.rs"]
#[expect(dead_code, unreachable_pub, reason = "a program of its own")]
mod protect_a_route;
#[path = "../../examples/reading_a_rejection.rs"]
#[expect(dead_code, unreachable_pub, reason = "a program of its own")]
mod reading_a_rejection;

/// A server in the background, until this is dropped.
struct Server {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Server {
    fn start<F>(app: F) -> Self
    where
        F: Future<Output = Result<Router, BoxError>>,
    {
        let runtime = Runtime::new().unwrap();
        let address = runtime.block_on(async {
            let app = app.await.unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            steadfast::spawn("page", async { axum::serve(listener, app).await });
            address
        });
        Self {
            address,
            _runtime: runtime,
        }
    }
}

/// Asks the server what the page asks, in order, and compares the answers.
fn converse(page: &mut Document, server: &Server) {
    let blocks: Vec<_> = page
        .blocks("console")
        .into_iter()
        .map(str::to_owned)
        .collect();
    let blocks = blocks
        .into_iter()
        .filter(|block| block.starts_with("$ curl "));
    for block in blocks {
        let mut actual = String::new();
        for command in block.lines().filter_map(|line| line.strip_prefix("$ ")) {
            let answer = client::run(command, server.address);
            actual += &format!("$ {command}\n{}\n", answer.trim_end());
        }
        page.expect("console", &block, &actual);
    }
}

/// The first block of Rust is the program, as it is built, without what it says of itself.
fn shows_program(page: &mut Document, program: &str) {
    let of_itself = |line: &&str| !line.trim_start().starts_with("//") && !line.starts_with("#![");
    let program = program.lines().filter(of_itself);
    let program: String = program.map(|line| format!("{line}\n")).collect();
    let shown = page.blocks("rust,no_run")[0].to_owned();
    page.expect("rust,no_run", &shown, program.trim_start());
}

#[test]
fn a_route_is_protected_as_the_guide_shows() {
    let mut page = Document::open("docs/guide/protect-a-route.md");
    shows_program(&mut page, include_str!("../../examples/protect_a_route.rs"));

    let server = Server::start(protect_a_route::app());

    converse(&mut page, &server);
}

#[test]
fn the_program_of_the_nightly_job_is_the_one_that_is_built() {
    let mut page = Document::open("docs/guide/a-nightly-job.md");

    shows_program(&mut page, include_str!("../../examples/nightly_job.rs"));
}

#[test]
fn rejections_are_what_the_page_shows() {
    let mut page = Document::open("docs/how-to/reading-a-rejection.md");
    let program = include_str!("../../examples/reading_a_rejection.rs");
    shows_program(&mut page, program);

    let server = Server::start(reading_a_rejection::app());

    converse(&mut page, &server);
}

#[test]
fn the_table_of_reasons_has_their_names_and_their_statuses() {
    let page = Document::open("docs/how-to/reading-a-rejection.md");

    let rows = page.rows_that_begin_with("| `");

    let reasons = rows.iter().filter_map(|row| {
        let mut cells = row.split('|').map(|cell| cell.trim().trim_matches('`'));
        Some((Reason::named(cells.nth(1)?)?, cells.next()?.to_owned()))
    });
    let reasons: Vec<_> = reasons.collect();
    assert_eq!(reasons.len(), 9, "{reasons:?}");
    for (reason, status) in reasons {
        assert_eq!(reason.status().as_str(), status, "{reason}");
    }
}

/// The blocks of a page are one policy, without a mistake in it.
#[test]
fn the_policies_of_all_pages_are_accepted() {
    for name in PAGES {
        let page = Document::open(name);
        let policy = page.blocks("toml").join("\n");
        if let Err(problems) = PolicyDocument::new(*name, &policy) {
            panic!("{name} shows a policy that is refused:\n{problems}\n{policy}");
        }
    }
}

/// A policy that is shown to be refused is, with what stands below it.
#[test]
fn what_the_pages_show_refused_is_refused_with_what_they_say() {
    for name in PAGES {
        let mut page = Document::open(name);
        let blocks = |page: &Document, language| -> Vec<String> {
            page.blocks(language)
                .into_iter()
                .map(str::to_owned)
                .collect()
        };
        let (refused, told) = (
            blocks(&page, "toml,refused"),
            blocks(&page, "text,problems"),
        );
        assert_eq!(refused.len(), told.len(), "{name}");
        for (policy, told) in refused.iter().zip(&told) {
            let problems = PolicyDocument::new("policy.toml", policy).unwrap_err();
            page.expect("text,problems", told, &problems.to_string());
        }
    }
}

const PAGES: &[&str] = &[
    "docs/guide/protect-a-route.md",
    "docs/how-to/tiers.md",
    "docs/how-to/shadow-mode.md",
    "docs/how-to/timeouts.md",
    "docs/how-to/reading-a-rejection.md",
    "docs/how-to/outgoing-calls.md",
    "docs/how-to/breakers.md",
    "docs/migration/from-tower-and-tower-http.md",
    "docs/migration/from-tower-resilience.md",
    "docs/migration/from-tower-governor.md",
];
