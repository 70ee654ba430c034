//! `steadfast admin`: who may use the API. Works on the store itself, with the rights of whoever can read
//! the configuration: so the first token needs none, and there are no default credentials.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use steadfast::store::Store;

use super::ask::print::{Printer, table};
use super::{OfServer, fail};
use crate::api::audit::{Audit, Entry};
use crate::api::auth::{self, Actor};
use crate::api::client::Refused;
use crate::api::problem::Problem;
use crate::config::Config;
use crate::sql;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    server: OfServer,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tokens, by which machines and people are known.
    Token {
        #[command(subcommand)]
        command: Token,
    },
}

#[derive(Debug, Subcommand)]
enum Token {
    /// Makes a token, and prints it this once.
    Create {
        /// Whose it is.
        #[arg(long, value_name = "NAME")]
        name: String,
        /// What it may do: viewer, operator or admin.
        #[arg(long, value_name = "ROLE", default_value = "viewer")]
        role: String,
        /// What it may do, action by action, in place of a role; can be given many times.
        #[arg(long = "action", value_name = "ACTION", conflicts_with = "role", value_parser = auth::ACTIONS.concat())]
        actions: Vec<String>,
        /// How long it holds, an hour to a year: `720h`, `30d`.
        #[arg(long, value_name = "TIME", default_value = "2160h", value_parser = time)]
        expires_in: Duration,
        #[command(flatten)]
        why: Why,
    },
    /// Lists tokens, without what is secret of them.
    List,
    /// Revokes a token, and with it those that it has made by the API.
    Revoke {
        /// Its number.
        id: i64,
        #[command(flatten)]
        why: Why,
    },
}

/// Why a token is made or revoked.
#[derive(Debug, clap::Args)]
struct Why {
    /// Why: it stands in the audit, with the user and the host where it was done.
    #[arg(long, value_name = "TEXT", default_value = "by hand, at the store")]
    reason: String,
}

pub(crate) fn run(options: Options) -> ExitCode {
    let printer = Printer::new(options.server.json);
    let Command::Token { command } = options.command;
    let work = || -> anyhow::Result<()> {
        let config = Config::load(std::slice::from_ref(&options.server.config))?;
        let place = config.store.config("steadfast admin")?;
        // A token in a store of its own is of no use to any server.
        fail::NoStore::check(&place)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let store = Store::open(place).await?;
            let done = match store.migrate(&sql::PACKAGE).await {
                Ok(()) => act(&store, command, &printer).await,
                Err(error) => Err(error.into()),
            };
            store.close().await;
            done
        })
    };
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail::tell(&error, options.server.json),
    }
}

async fn act(store: &Store, command: Token, printer: &Printer) -> anyhow::Result<()> {
    match command {
        Token::Create {
            name,
            role,
            actions,
            expires_in,
            why,
        } => {
            let rights = match actions.is_empty() {
                true => auth::Rights::asked(Some(&role), None),
                false => auth::Rights::asked(None, Some(&actions)),
            };
            let rights = rights.map_err(refused)?;
            let asked = serde_json::json!({ "name": name, "may": rights.to_string() });
            let (of, at) = (name.clone(), store.clone());
            let subject = format!("token of {name}");
            let may = rights.clone();
            let work =
                async move { auth::make(&at, &Actor::at_the_store(), &of, &may, expires_in).await };
            let made = change(store, subject, &asked, why, work).await?;
            printer.talk(&format!(
                "token {} of {name} ({rights}) holds until {}; it is shown this once:",
                made.id, made.expires
            ));
            printer.print(&made, || made.token.clone());
        }
        Token::List => {
            let tokens = auth::list(store, i64::MAX, 500).await?;
            let rows = tokens.iter().map(|token| {
                let state = match &token.revoked {
                    Some(revoked) => format!("revoked {revoked}"),
                    None => format!("until {}", token.expires),
                };
                [
                    token.id.to_string(),
                    token.name.clone(),
                    match (&token.role, &token.actions) {
                        (Some(role), _) => role.clone(),
                        (None, actions) => actions.clone().unwrap_or_default().join(" "),
                    },
                    state,
                ]
            });
            let rows: Vec<_> = rows.collect();
            printer.print(&tokens, || table(["ID", "NAME", "MAY", "HOLDS"], &rows));
        }
        Token::Revoke { id, why } => {
            let asked = serde_json::json!({ "token": id });
            let at = store.clone();
            let work = async move { auth::revoke(&at, id).await };
            let warning = change(store, format!("token {id}"), &asked, why, work).await?;
            if let Some(warning) = warning {
                printer.talk(&format!("warning: {warning}"));
            }
            printer.print(&id, || format!("token {id} is revoked"));
        }
    }
    Ok(())
}

/// Changes something, with an entry in the audit.
async fn change<T: Send + 'static>(
    store: &Store,
    subject: String,
    asked: &serde_json::Value,
    why: Why,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> anyhow::Result<T> {
    let entry = Entry {
        actor: Actor::at_the_store().name,
        action: "tokens.write",
        subject,
        reason: why.reason,
        detail: asked.to_string(),
    };
    let done = Audit::new(store).done(entry, work).await;
    done.map_err(refused)
}

fn refused(problem: Problem) -> anyhow::Error {
    Refused(problem.told()).into()
}

fn time(text: &str) -> Result<Duration, String> {
    steadfast::settings::duration(text).map_err(|wrong| wrong.to_string())
}
