//! `steadfast policy`: what a service is told, and telling it something else.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;
use steadfast::clock;
use steadfast::tower::PolicyDocument;

use super::super::fail::{self, Mistaken};
use super::print::{Printer, agreed, plain, table};
use super::routes::left;
use super::{Why, more, query, suggest};
use crate::api::client::{Client, Refused};
use crate::api::problem::Problem;
use crate::api::routes::policy::{change, explanation, mistakes};
use crate::api::types::{
    Applied, Change, Difference, Explained, Followers, Held, Mistake, NewPolicy, Policy, Proposed,
    RevisionDetail, RevisionPage, Tag,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Prints the policy in force as it was written, and tells what is held against it.
    Show {
        /// An earlier revision.
        #[arg(long, value_name = "NUMBER")]
        revision: Option<u64>,
    },
    /// Shows every value in force for a route or a dependency, and where each comes from.
    Explain {
        /// The route or the dependency, as the policy names it.
        subject: String,
        /// Asks this file in place of a server.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Looks for mistakes in a policy; asks no server.
    Check {
        /// The policy.
        file: PathBuf,
    },
    /// Shows what a policy would change, and whether the server could follow it; or what differs between two revisions.
    Diff {
        /// The policy, or the number of a revision.
        #[arg(value_name = "FILE|NUMBER")]
        one: String,
        /// The number of the revision that is compared with it.
        #[arg(value_name = "NUMBER")]
        other: Option<u64>,
    },
    /// Puts a policy in force, in all processes that were started with the same one, and for those that will be. What it
    /// changes is shown first, and the number of changes has to be typed.
    Apply {
        /// The policy.
        file: PathBuf,
        /// The revision that is to be changed; that which is in force, if it is not said.
        #[arg(long, value_name = "NUMBER")]
        revision: Option<u64>,
        #[command(flatten)]
        how: How,
    },
    /// Puts the policy of an earlier revision in force again, as a new one; asks as `apply` does.
    Revert {
        /// The number of the revision.
        number: u64,
        #[command(flatten)]
        how: How,
    },
    /// Proposes timeouts and limits by what was seen, with the arithmetic, as a change.
    Suggest(suggest::Options),
    /// Lists the revisions that are kept in the store, the latest first.
    History {
        /// At most so many.
        #[arg(long, value_name = "NUMBER", default_value_t = 50)]
        limit: u32,
        /// Goes on where a page has ended.
        #[arg(long, value_name = "CURSOR")]
        cursor: Option<String>,
    },
}

/// How a policy is put in force.
#[derive(Debug, clap::Args)]
pub(crate) struct How {
    /// Only shows what it would change.
    #[arg(long)]
    dry_run: bool,
    /// How many changes are expected, in place of typing it.
    #[arg(long, value_name = "NUMBER")]
    yes: Option<usize>,
    #[command(flatten)]
    why: Why,
}

/// For how long it is waited until other processes have taken a revision: 10 s, five of their looks.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked whether they have: every 250 ms, as fast as people see it.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(crate) fn run(options: &super::Options, command: Command) -> ExitCode {
    // What a file says needs no server.
    match &command {
        Command::Check { file } => return offline(options, |printer| check(printer, file)),
        Command::Explain {
            subject,
            file: Some(file),
        } => return offline(options, |printer| explain(printer, subject, file)),
        Command::Suggest(what) if !what.needs_server() => {
            return offline(options, |printer| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(suggest::run(None, printer, what))
            });
        }
        _ => {}
    }
    super::run(options, async |client, printer| match command {
        Command::Show { revision } => show(client, printer, revision).await,
        Command::Explain { subject, .. } => {
            let found = match find(client, "route", &subject).await {
                Err(error) if is_unknown(&error) => {
                    let dependency = find(client, "dependency", &subject).await;
                    // Most often a route was meant.
                    dependency.map_err(|of| if is_unknown(&of) { error } else { of })
                }
                found => found,
            };
            let found = found?;
            if let Some(because) = &found.because {
                printer.talk(&plain(because));
            }
            printer.print(&found, || explained(&found));
            Ok(())
        }
        Command::Diff { one, other } => {
            let difference = match other {
                None => difference(client, written(client, &one).await?, None).await?,
                Some(other) => between(client, &one, other).await?,
            };
            printer.print(&difference, || shown(&difference));
            Ok(())
        }
        Command::Apply {
            file,
            revision,
            how,
        } => apply(client, printer, read(&file)?, revision, how).await,
        Command::Revert { number, how } => {
            let earlier = revision(client, number).await?;
            let written = (earlier.revision.name, earlier.document);
            apply(client, printer, written, None, how).await
        }
        Command::History { limit, cursor } => {
            let asked = [("limit", Some(limit.to_string())), ("cursor", cursor)];
            let path = query("/api/v1/policy/revisions", &asked);
            let page: RevisionPage = client.get(path).send().await?;
            printer.print(&page, || history(&page));
            more(printer, page.next.as_ref());
            Ok(())
        }
        Command::Suggest(what) => suggest::run(Some(client), printer, &what).await,
        Command::Check { .. } => Ok(()),
    })
}

fn offline(
    options: &super::Options,
    work: impl FnOnce(&Printer) -> anyhow::Result<()>,
) -> ExitCode {
    match work(&Printer::new(options.json)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail::tell(&error, options.json),
    }
}

/// Reads a policy; what is no text is told where it is read as one.
pub(super) fn open(file: &Path) -> anyhow::Result<PolicyDocument> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let document = PolicyDocument::from_bytes(file.display().to_string(), &bytes);
    document.map_err(|problems| Mistaken(problems).into())
}

fn read(file: &Path) -> anyhow::Result<(String, String)> {
    let text = std::fs::read_to_string(file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    Ok((file.display().to_string(), text))
}

fn check(printer: &Printer, file: &Path) -> anyhow::Result<()> {
    let document = open(file)?;
    let warnings = document.warnings().map(mistakes).unwrap_or_default();
    let told = serde_json::json!({ "hash": document.hash().to_string(), "warnings": warnings });
    printer.print(&told, || {
        let policy = document.policy();
        let told = document.warnings().map(|warnings| format!("{warnings}\n"));
        format!(
            "{}{}: no mistakes; {} routes, {} dependencies",
            told.unwrap_or_default(),
            file.display(),
            policy.routes.len(),
            policy.dependencies.len()
        )
    });
    Ok(())
}

fn explain(printer: &Printer, subject: &str, file: &Path) -> anyhow::Result<()> {
    let document = open(file)?;
    let found = match document.policy().dependencies.contains_key(subject) {
        true => document.explain_dependency(subject),
        false => document.explain_route(subject),
    };
    // As a server tells it.
    let found = found.map_err(|unknown| Refused(Problem::not_found(unknown.to_string()).told()))?;
    let found = explanation(found);
    printer.print(&found, || explained(&found));
    Ok(())
}

async fn show(client: &Client, printer: &Printer, number: Option<u64>) -> anyhow::Result<()> {
    if let Some(n) = number {
        let detail = revision(client, n).await?;
        printer.print_document(&detail, &detail.document);
        return Ok(());
    }
    let policy: Policy = client.get("/api/v1/policy").send().await?;
    printer.talk(&format!(
        "revision {} since {}, by {}: {}",
        policy.revision,
        policy.since,
        plain(&policy.author),
        plain(&policy.reason)
    ));
    if policy.hash != policy.base {
        let first = plain(&policy.base_name);
        printer.talk(&format!(
            "it was put over {first}, which the process was started with"
        ));
    }
    if let Some(behind) = &policy.behind {
        printer.talk(&format!(
            "BEHIND revision {}, by {}, which this process cannot follow: {}",
            behind.revision,
            plain(&behind.author),
            plain(&behind.why)
        ));
    }
    for held in &policy.overrides {
        printer.talk(&told_held(held));
    }
    for held in &policy.not_held {
        printer.talk(&format!(
            "NOT HELD {} = {} for {} more, by {}: {}; {}",
            plain(&held.path),
            plain(&held.value),
            left(held.left_seconds),
            plain(&held.author),
            plain(&held.reason),
            plain(&held.why)
        ));
    }
    printer.print_document(&policy, &policy.document);
    Ok(())
}

pub(super) fn told_held(held: &Held) -> String {
    format!(
        "OVERRIDE {} = {} for {} more, by {}: {}",
        held.path,
        held.value,
        left(held.left_seconds),
        plain(&held.author),
        plain(&held.reason)
    )
}

/// Asks for all that is in force for a route or a dependency.
pub(super) async fn find(client: &Client, kind: &str, name: &str) -> anyhow::Result<Explained> {
    let asked = [(kind, Some(name.to_owned()))];
    let path = query("/api/v1/policy/explain", &asked);
    client.get(path).send().await
}

fn is_unknown(error: &anyhow::Error) -> bool {
    let refused = error.downcast_ref::<Refused>();
    refused.is_some_and(|Refused(problem)| problem.status == 404)
}

pub(super) fn explained(explained: &Explained) -> String {
    let mut text = String::new();
    for table in &explained.tables {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("[{}]\n", table.table));
        let widest = |of: fn(&crate::api::types::ExplainedValue) -> usize| {
            table.values.iter().map(of).max().unwrap_or_default()
        };
        let keys = widest(|value| value.key.chars().count());
        let values = widest(|value| value.value.as_ref().map_or(1, |text| text.chars().count()));
        for value in &table.values {
            let shown = value.value.as_deref().unwrap_or("-");
            text.push_str(&format!(
                "  {:keys$}  {shown:values$}  {}\n",
                value.key,
                plain(&value.origin)
            ));
        }
    }
    text
}

/// A document, and what it is called.
type Written = (String, String);

/// Gives the policy in a file, or that of a revision.
async fn written(client: &Client, what: &str) -> anyhow::Result<Written> {
    match what.parse() {
        Ok(number) => {
            let found = revision(client, number).await?;
            Ok((found.revision.name, found.document))
        }
        Err(_) => read(Path::new(what)),
    }
}

async fn revision(client: &Client, number: u64) -> anyhow::Result<RevisionDetail> {
    let path = format!("/api/v1/policy/revisions/{number}");
    client.get(path).send().await
}

/// Compares a document with what is in force; with that alone which was seen, if it is said.
async fn difference(
    client: &Client,
    (name, document): Written,
    seen: Option<&Tag>,
) -> anyhow::Result<Difference> {
    let proposed = Proposed { name, document };
    let asked = client.change("POST", "/api/v1/policy/diff", &proposed);
    match seen {
        Some(seen) => asked.over(seen).send().await,
        None => asked.send().await,
    }
}

/// Finds by what a revision is known: that which rules, or would, before one that is kept, since the service may have given
/// the number by itself.
async fn seen(client: &Client, number: u64) -> anyhow::Result<Tag> {
    let policy: Policy = client.get("/api/v1/policy").send().await?;
    let behind = policy.behind.filter(|behind| behind.revision == number);
    let hash = match behind {
        Some(behind) => behind.hash,
        None if policy.revision == number => policy.hash,
        None => revision(client, number).await?.revision.hash,
    };
    Ok(Tag::of(number, &hash))
}

/// Compares two revisions, whichever is in force.
async fn between(client: &Client, one: &str, other: u64) -> anyhow::Result<Difference> {
    let number = one.parse();
    let number = number.with_context(|| format!("{one:?} is no number of a revision"))?;
    let (before, after) = (
        revision(client, number).await?,
        revision(client, other).await?,
    );
    let hash = before.revision.hash.clone();
    let document = |of: RevisionDetail| {
        let document = PolicyDocument::new(of.revision.name, of.document);
        document.map_err(Mistaken)
    };
    let (before, after) = (document(before)?, document(after)?);
    let proposed = before.policy().changes(after.policy()).into_iter();
    Ok(Difference {
        revision: number,
        hash,
        changes: proposed.map(|of| change(of, Some(&after))).collect(),
        warnings: after.warnings().map(mistakes).unwrap_or_default(),
        refused: None,
    })
}

/// Puts a document in force in place of a revision once its changes are agreed to, or only shows them.
async fn apply(
    client: &Client,
    printer: &Printer,
    written: Written,
    over: Option<u64>,
    how: How,
) -> anyhow::Result<()> {
    let over = match over {
        Some(number) => Some(seen(client, number).await?),
        None => None,
    };
    // What is to be put in force is refused where it is noted.
    let seen = over.as_ref().filter(|_| how.dry_run);
    let difference = difference(client, written.clone(), seen).await?;
    let count = difference.changes.len();
    if how.dry_run {
        printer.print(&difference, || shown(&difference) + &undone(&difference));
        return Ok(());
    }
    // What cannot be put in force is refused with why, and nobody is asked before.
    if count > 0 && difference.refused.is_none() {
        if how.yes.is_none() {
            printer.talk(shown(&difference).trim_end());
        }
        agreed(how.yes, count, "values of the policy")?;
    }
    let (name, document) = written;
    let new = NewPolicy {
        name,
        document,
        reason: how.why.reason,
    };
    let over = over.unwrap_or_else(|| Tag::of(difference.revision, &difference.hash));
    let asked = client.change("PUT", "/api/v1/policy", &new).over(&over);
    let mut applied: Applied = asked.send().await?;
    let begun = clock::now();
    while !is_taken_by_all(&applied.followers) && clock::now() - begun < TAKEN_WITHIN {
        clock::sleep(LOOK_EVERY).await;
        let policy: anyhow::Result<Policy> = client.get("/api/v1/policy").send().await;
        // It is in force, whoever cannot be asked now.
        let Ok(policy) = policy else {
            continue;
        };
        if policy.revision != applied.revision {
            // Somebody else has put the next one in force.
            break;
        }
        applied.followers = policy.followers;
    }
    printer.print(&applied, || put_in_force(&applied));
    Ok(())
}

fn is_taken_by_all(followers: &Followers) -> bool {
    followers.processes > 0 && followers.taken == followers.processes
}

/// That a dry run has changed nothing, and what does.
fn undone(difference: &Difference) -> String {
    let how = match difference.refused {
        Some(_) => String::new(),
        None => super::bulk::how(difference.changes.len()),
    };
    format!("\nnothing was changed{how}")
}

fn shown(difference: &Difference) -> String {
    let mut text = format!("against revision {}\n", difference.revision);
    text.push_str(&told(&difference.changes));
    text.push_str(&warned(&difference.warnings));
    if let Some(refused) = &difference.refused {
        text.push_str(&format!("\nthe server cannot follow it: {refused}\n"));
    }
    text
}

fn put_in_force(applied: &Applied) -> String {
    let mut text = told(&applied.changes) + &warned(&applied.warnings);
    for path in &applied.overrides_ended {
        text.push_str(&format!(
            "the override of {path} has ended: it does not fit any more\n"
        ));
    }
    let (revision, followers) = (applied.revision, &applied.followers);
    let (taken, processes) = (followers.taken, followers.processes);
    text.push_str(&match processes {
        0 => format!("revision {revision} is in force; in how many processes could not be told"),
        _ => format!("revision {revision} is in force in {taken} of {processes} processes"),
    });
    if taken < processes {
        text.push_str(
            "\nthe others have not taken it, as their logs say, or have ended within the last 15 s",
        );
    }
    text
}

/// Changes, line by line, with where the new values stand.
pub(super) fn told(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "nothing that is in force would change\n".to_owned();
    }
    let mut text = String::new();
    for change in changes {
        if let Some(before) = &change.before {
            text.push_str(&format!("- {} = {}\n", change.path, plain(before)));
        }
        if let Some(after) = &change.after {
            let place = change
                .place
                .as_ref()
                .map(|place| format!("    {}", plain(place)));
            text.push_str(&format!(
                "+ {} = {}{}\n",
                change.path,
                plain(after),
                place.unwrap_or_default()
            ));
        }
    }
    text
}

fn warned(warnings: &[Mistake]) -> String {
    let mut text = String::new();
    for warning in warnings {
        let code = warning.code.as_deref().unwrap_or("-");
        let (file, line) = (&warning.file, warning.line);
        text.push_str(&format!(
            "warning[{code}] {}:{line}: {}\n",
            plain(file),
            plain(&warning.message)
        ));
        if let Some(fix) = &warning.fix {
            text.push_str(&format!("  fix: {}\n", plain(fix)));
        }
    }
    text
}

fn history(page: &RevisionPage) -> String {
    let rows = page.items.iter().map(|revision| {
        [
            revision.revision.to_string(),
            revision.at.clone(),
            revision
                .changes
                .map_or_else(|| "-".to_owned(), |n| n.to_string()),
            revision.hash.chars().take(12).collect(),
            revision.author.clone(),
            revision.reason.clone(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    table(
        ["REVISION", "AT", "CHANGES", "HASH", "AUTHOR", "REASON"],
        &rows,
    )
}
