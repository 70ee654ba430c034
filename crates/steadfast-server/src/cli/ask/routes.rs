//! `steadfast routes`: what a service serves and calls, and a hand on it for a while.

use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;

use super::policy::{explained, find, told, told_held};
use super::print::{Printer, plain, table};
use super::{ForAWhile, Why, done};
use crate::api::client::{Client, Refused, part};
use crate::api::problem::Problem;
use crate::api::types::{
    Dependency, Done, EndOverride, Explained, Force, Guarded, NewOverride, Overridden, Policy,
    Release, Route,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists routes and what they call, with what became of requests in the last minute.
    List,
    /// Shows a route: its traffic, every value in force for it, and where each comes from.
    Show {
        /// The route, as the policy names it: "GET /orders/{id}".
        route: String,
    },
    /// Holds a value of the policy of a route for a while; it ends by itself.
    Set {
        /// The route, as the policy names it.
        route: String,
        /// The key, and the value as a policy has it: tier=core, timeouts.page.timeout=2s.
        #[arg(value_name = "KEY=VALUE")]
        setting: String,
        #[command(flatten)]
        hold: ForAWhile,
    },
    /// Ends what is held of a route before its time.
    Reset {
        /// The route, as the policy names it.
        route: String,
        /// The key that was set.
        key: String,
        /// Only tells what it would end.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Shows the breakers of what is called, or takes a hand to them for a while.
    #[command(group = clap::ArgGroup::new("hand").args(["open", "closed", "disabled", "release"]))]
    Breaker {
        /// What is called, as the policy names it.
        dependency: String,
        /// Rejects all calls.
        #[arg(long, requires = "reason")]
        open: bool,
        /// Lets all calls pass, and counts them.
        #[arg(long, requires = "reason")]
        closed: bool,
        /// Lets all calls pass, as if there were no breaker.
        #[arg(long, requires = "reason")]
        disabled: bool,
        /// Ends what is held before its time.
        #[arg(long, requires = "reason")]
        release: bool,
        /// Only the breaker of this endpoint: payments.example:443.
        #[arg(long, value_name = "HOST:PORT", requires = "hand")]
        endpoint: Option<String>,
        /// For how long, a day at most; it ends by itself.
        #[arg(long = "for", value_name = "TIME", default_value = "15m")]
        lasts: String,
        /// Only tells how they stand.
        #[arg(long, requires = "hand", conflicts_with = "release")]
        dry_run: bool,
        /// Why: it stands in the audit.
        #[arg(long, value_name = "TEXT", requires = "hand")]
        reason: Option<String>,
    },
}

pub(crate) fn run(options: &super::Options, command: Command) -> ExitCode {
    super::run(options, async |client, printer| match command {
        Command::List => {
            let guarded = guarded(client).await?;
            printer.print(&guarded, || listed(&guarded));
            Ok(())
        }
        Command::Show { route } => show(client, printer, &route).await,
        Command::Set {
            route,
            setting,
            hold,
        } => set(client, printer, &route, &setting, hold).await,
        Command::Reset {
            route,
            key,
            dry_run,
            why,
        } => {
            let explained = find(client, "route", &route).await?;
            let path = path(&explained, &key)?;
            if dry_run {
                let policy: Policy = client.get("/api/v1/policy").send().await?;
                let mut held = policy.overrides.iter();
                let held = held.find(|held| held.path == path).ok_or_else(|| {
                    Refused(Problem::not_found(format!("no override of {path} holds")).told())
                })?;
                printer.print(held, || format!("{}\nnothing was changed", told_held(held)));
                return Ok(());
            }
            let end = EndOverride {
                path: path.clone(),
                reason: why.reason,
            };
            let ended = client.change("DELETE", "/api/v1/policy/overrides", &end);
            let ended: Done = ended.send().await?;
            done(printer, &ended, &format!("{path} is as the document says"));
            Ok(())
        }
        Command::Breaker {
            dependency,
            open,
            closed,
            disabled,
            release,
            endpoint,
            lasts,
            dry_run,
            reason,
        } => {
            let path = format!("/api/v1/breakers/{}", part(&dependency));
            let reason = reason.unwrap_or_default();
            let words = [(open, "open"), (closed, "closed"), (disabled, "disabled")];
            let word = words.into_iter().find(|(is, _)| *is).map(|(_, word)| word);
            let shown: Dependency = match word {
                _ if release => {
                    let release = Release { endpoint, reason };
                    client.change("DELETE", path, &release).send().await?
                }
                Some(word) => {
                    let force = Force {
                        state: word.to_owned(),
                        endpoint,
                        lasts: lasts.clone(),
                        dry_run,
                        reason,
                    };
                    client.change("POST", path, &force).send().await?
                }
                None => {
                    find(client, "dependency", &dependency).await?;
                    let all = guarded(client).await?.dependencies;
                    let mut found = all.into_iter().filter(|one| one.name == dependency);
                    found.next().context("it was taken out of the policy")?
                }
            };
            if let Some(word) = word.filter(|_| dry_run) {
                printer.talk(&format!("would be forced {word} for {lasts}; now:"));
            }
            for before in &shown.replaced {
                printer.talk(&format!(
                    "warning: this ends {} for {} more, by {}: {}",
                    before.state,
                    left(before.left_seconds),
                    plain(&before.author),
                    plain(&before.reason)
                ));
            }
            printer.print(&shown, || breakers(&shown));
            Ok(())
        }
    })
}

async fn guarded(client: &Client) -> anyhow::Result<Guarded> {
    client.get("/api/v1/routes").send().await
}

/// Over what [`row`] gives.
const HEAD: [&str; 8] = [
    "ROUTE",
    "TIER",
    "RATE",
    "P99",
    "5XX",
    "REJECTED",
    "TIMEOUT",
    "IN FLIGHT",
];

fn listed(guarded: &Guarded) -> String {
    let rows: Vec<_> = guarded.routes.iter().map(row).collect();
    let mut text = table(HEAD, &rows);
    if !guarded.dependencies.is_empty() {
        let rows: Vec<_> = guarded.dependencies.iter().map(called).collect();
        let head = ["CALLED", "DONE", "FAILED", "REJECTED", "TIMEOUT", "BREAKER"];
        text.push('\n');
        text.push_str(&table(head, &rows));
    }
    text + "\n" + &guarded.armed
}

fn row(route: &Route) -> [String; 8] {
    let lately = &route.lately;
    let rejected: Vec<String> = lately
        .rejected
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    [
        route.name.clone(),
        route.tier.clone(),
        format!("{:.1}/s", lately.per_second),
        seconds(lately.p99_seconds),
        lately.failed.to_string(),
        match rejected.is_empty() {
            true => "0".to_owned(),
            false => rejected.join(", "),
        },
        seconds(route.timeout_seconds),
        in_flight(route),
    ]
}

fn in_flight(route: &Route) -> String {
    match (&route.admission, route.in_flight, route.limit) {
        (Some(admission), Some(in_flight), Some(limit)) => {
            format!("{in_flight:.0} of {limit:.0} ({admission})")
        }
        _ => "-".to_owned(),
    }
}

fn called(dependency: &Dependency) -> [String; 6] {
    let states: Vec<String> = dependency
        .endpoints
        .iter()
        .map(|endpoint| match &endpoint.forced {
            Some(forced) => format!(
                "{} (forced, {} left)",
                forced.state,
                left(forced.left_seconds)
            ),
            None => endpoint.state.clone(),
        })
        .collect();
    [
        dependency.name.clone(),
        dependency.succeeded.to_string(),
        dependency.failed.to_string(),
        dependency.rejected.to_string(),
        seconds(dependency.timeout_seconds),
        match (dependency.is_used, states.is_empty()) {
            (false, _) => "nobody calls it by the guard".to_owned(),
            (true, true) => "-".to_owned(),
            (true, false) => states.join(", "),
        },
    ]
}

/// A length of time as people read it: `85 ms`, `2.5 s`.
pub(crate) fn seconds(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds < 0.001 => format!("{:.0} µs", seconds * 1e6),
        Some(seconds) if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        Some(seconds) => format!("{} s", (seconds * 10.0).round() / 10.0),
    }
}

/// What is left of a time: `14m 3s`.
pub(crate) fn left(seconds: u64) -> String {
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

async fn show(client: &Client, printer: &Printer, name: &str) -> anyhow::Result<()> {
    let values = find(client, "route", name).await?;
    let guarded = guarded(client).await?;
    let found = guarded.routes.iter().find(|route| {
        // It may also be asked for by the method and template of a request.
        route.name == name || values.subject == format!("routes.{:?}", route.name)
    });
    let shown = serde_json::json!({ "route": found, "explained": values });
    printer.print(&shown, || {
        let traffic = found.map_or_else(String::new, |route| {
            table(HEAD, &[row(route)]) + &since(route) + "\n\n"
        });
        traffic + &explained(&values)
    });
    Ok(())
}

fn since(route: &Route) -> String {
    let total = &route.total;
    let rejected: u64 = total.rejected.values().sum();
    format!(
        "{} requests since the start, {} of them answered with 5xx, {rejected} rejected",
        total.requests, total.failed
    )
}

async fn set(
    client: &Client,
    printer: &Printer,
    route: &str,
    setting: &str,
    hold: ForAWhile,
) -> anyhow::Result<()> {
    let (key, value) = setting
        .split_once('=')
        .with_context(|| format!("{setting:?} is not KEY=VALUE, such as tier=core"))?;
    let explained = find(client, "route", route).await?;
    let new = NewOverride {
        path: path(&explained, key.trim())?,
        value: value.trim().to_owned(),
        lasts: hold.lasts,
        dry_run: hold.dry_run,
        reason: hold.why.reason,
    };
    let asked = client.change("POST", "/api/v1/policy/overrides", &new);
    let answer: Overridden = asked.send().await?;
    if let Some(before) = &answer.replaced {
        let ends = if answer.dry_run { "would end" } else { "ends" };
        printer.talk(&format!(
            "warning: this {ends} {} = {} for {} more, by {}: {}",
            plain(&before.path),
            plain(&before.value),
            left(before.left_seconds),
            plain(&before.author),
            plain(&before.reason)
        ));
    }
    printer.print(&answer, || overridden(&answer));
    Ok(())
}

/// Finds the field that is meant: a key of the route itself, or one with its table.
fn path(explained: &Explained, key: &str) -> anyhow::Result<String> {
    let own = explained.tables.first();
    let has = |key: &str| own.is_some_and(|own| own.values.iter().any(|value| value.key == key));
    if key.contains('.') {
        return Ok(key.to_owned());
    }
    if has(key) {
        return Ok(format!("{}.{key}", explained.subject));
    }
    let elsewhere = explained.tables.iter().skip(1).find_map(|table| {
        let found = table.values.iter().any(|value| value.key == key);
        found.then(|| format!("{}.{key}", table.table))
    });
    match elsewhere {
        // It holds for others as well: whoever means that says it.
        Some(path) => anyhow::bail!("the route has no {key} of its own; say {path}"),
        None => Ok(format!("{}.{key}", explained.subject)),
    }
}

fn overridden(answer: &Overridden) -> String {
    let mut text = told(&answer.changes);
    match &answer.held {
        Some(held) => text.push_str(&format!(
            "it holds until {} ({} left), and then ends by itself",
            held.until,
            left(held.left_seconds)
        )),
        None => text.push_str("nothing was changed"),
    }
    if answer.holds_for.len() > 1 {
        text.push_str(&format!("\nit is for {}", answer.holds_for.join(", ")));
    }
    text
}

fn breakers(dependency: &Dependency) -> String {
    if !dependency.is_used {
        return format!("{}: nobody calls it by the guard", dependency.name);
    }
    if dependency.endpoints.is_empty() {
        return format!("{}: no endpoint was called yet", dependency.name);
    }
    let lines = dependency.endpoints.iter().map(|of| of.line.clone());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_short_to_read() {
        let told = [0.0005, 0.085, 1.0, 2.54].map(|of| seconds(Some(of)));

        assert_eq!(told, ["500 µs", "85 ms", "1 s", "2.5 s"]);
        assert_eq!(seconds(None), "-");
        assert_eq!(
            [59, 843, 7_260].map(left),
            ["59s", "14m 3s", "2h 1m"].map(str::to_owned)
        );
    }
}
