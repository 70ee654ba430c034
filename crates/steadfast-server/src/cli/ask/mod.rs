//! Commands that ask a server, by its API alone.

pub(crate) mod audit;
mod bulk;
pub(crate) mod jobs;
pub(crate) mod nodes;
pub(crate) mod panics;
pub(crate) mod policy;
pub(crate) mod print;
pub(crate) mod routes;
pub(crate) mod schedules;
pub(crate) mod status;
mod suggest;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::builder::FalseyValueParser;
use serde::Serialize;

use super::fail::{self, InClear, NoToken};
use crate::api::client::{Barred, Client, Refused, is_in_clear};
use print::Printer;

/// Whom to ask, as whom, and how to print.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The server to ask.
    #[arg(
        long,
        global = true,
        help_heading = "Server",
        env = "STEADFAST_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:4011"
    )]
    server: String,

    /// A file with the token; without it, the variable STEADFAST_TOKEN has it.
    #[arg(long, global = true, help_heading = "Server", value_name = "FILE")]
    token_file: Option<PathBuf>,

    #[command(flatten)]
    trust: Trust,

    /// Prints JSON, with the version of its form, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// To whom a token is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Trust {
    /// A file with the certificates by which a server is trusted, in PEM, and by no others; without it, the
    /// roots of the public web.
    #[arg(
        long,
        global = true,
        help_heading = "Server",
        env = "STEADFAST_CA",
        value_name = "FILE"
    )]
    ca: Option<PathBuf>,

    /// Sends the token to another machine by http://, too, where whoever is on the way can read it.
    #[arg(long, global = true, help_heading = "Server", env = "STEADFAST_IN_CLEAR", value_parser = FalseyValueParser::new())]
    in_clear: bool,
}

impl Trust {
    /// Makes what asks a server, unless the token is none, or would cross the network in clear and nobody has said that it may.
    pub(crate) fn client(&self, server: &str, token: &str) -> anyhow::Result<Client> {
        if token.contains(|char: char| char.is_whitespace() || char.is_control()) {
            return Err(Barred::NoToken.into());
        }
        let client = Client::new(server, token, self.ca.as_deref())?;
        if !self.in_clear && !token.is_empty() && is_in_clear(server) {
            return Err(anyhow::anyhow!("{server} is another machine, by http://").context(InClear));
        }
        Ok(client)
    }
}

/// Why something is changed.
#[derive(Debug, clap::Args)]
pub(crate) struct Why {
    /// Why: it stands in the audit.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

impl Options {
    fn token(&self) -> anyhow::Result<String> {
        Ok(match &self.token_file {
            Some(path) => std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the token in {}", path.display()))?,
            None => std::env::var("STEADFAST_TOKEN").unwrap_or_default(),
        })
    }
}

/// Asks, prints, and says by the exit code how it went.
pub(crate) fn run(
    options: &Options,
    ask: impl AsyncFnOnce(&Client, &Printer) -> anyhow::Result<()>,
) -> ExitCode {
    let printer = Printer::new(options.json);
    let asked = || -> anyhow::Result<()> {
        let token = options.token()?;
        let token = token.trim();
        let client = options.trust.client(&options.server, token)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let asked = runtime.block_on(ask(&client, &printer));
        asked.map_err(|error| match error.downcast_ref() {
            Some(Refused(problem)) if problem.status == 401 && token.is_empty() => NoToken.into(),
            _ => error,
        })
    };
    match asked() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail::tell(&error, options.json),
    }
}

/// A hand on something that ends by itself.
#[derive(Debug, clap::Args)]
pub(crate) struct ForAWhile {
    /// For how long, a day at most; it ends by itself.
    #[arg(long = "for", value_name = "TIME", default_value = "15m")]
    pub(crate) lasts: String,

    /// Only tells what it would change.
    #[arg(long)]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) why: Why,
}

/// Adds what was said to a path, as its query.
fn query(path: &str, asked: &[(&str, Option<String>)]) -> String {
    let mut path = path.to_owned();
    let said = asked
        .iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)));
    for (number, (name, value)) in said.enumerate() {
        path.push(if number == 0 { '?' } else { '&' });
        path.push_str(&format!("{name}={}", crate::api::client::part(value)));
    }
    path
}

/// A page with where the next one begins, as it is told to people.
fn more(printer: &Printer, next: Option<&String>) {
    if let Some(next) = next {
        printer.talk(&format!("There are more: --cursor {}", print::plain(next)));
    }
}

/// What is printed of an action.
fn done<T: Serialize>(printer: &Printer, done: &T, line: &str) {
    printer.print(done, || line.to_owned());
}
