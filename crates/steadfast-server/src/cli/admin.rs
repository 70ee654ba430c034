//! `steadfast admin`: who may use the API. Works on the store itself, with the rights of whoever can read
//! the configuration: so the first token needs none, and there are no default credentials.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use steadfast::store::Store;

use super::ask::print::{Printer, table};
use super::{OfServer, fail};
use crate::api::auth;
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
        /// How long it holds, an hour to a year.
        #[arg(long, value_name = "TIME", default_value = "2160h", value_parser = time)]
        expires_in: Duration,
    },
    /// Lists tokens, without what is secret of them.
    List,
    /// Revokes a token.
    Revoke {
        /// Its number.
        id: i64,
    },
}

pub(crate) fn run(options: Options) -> ExitCode {
    let printer = Printer::new(options.server.json);
    let Command::Token { command } = options.command;
    let work = || -> anyhow::Result<()> {
        let config = Config::load(std::slice::from_ref(&options.server.config))?;
        let place = config.store.config("steadfast admin")?;
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
        } => {
            let rights = match actions.is_empty() {
                true => auth::Rights::asked(Some(&role), None),
                false => auth::Rights::asked(None, Some(&actions)),
            };
            let rights = rights.map_err(|problem| anyhow::anyhow!(problem.line()))?;
            let made = auth::make(store, &name, &rights, expires_in).await;
            let made = made.map_err(|problem| anyhow::anyhow!(problem.line()))?;
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
        Token::Revoke { id } => {
            anyhow::ensure!(auth::revoke(store, id).await?, "no token {id} holds");
            printer.print(&id, || format!("token {id} is revoked"));
        }
    }
    Ok(())
}

fn time(text: &str) -> Result<Duration, String> {
    steadfast::settings::duration(text).map_err(|wrong| wrong.to_string())
}
