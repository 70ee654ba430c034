//! The policy of the guard: what is in force, what would change, what does.

use std::time::SystemTime;

use axum::Json;
use axum::extract::{Query, Request, State};
use axum::http::HeaderMap;
use axum::http::header::IF_MATCH;
use steadfast::clock;
use steadfast::decide::policy::{FieldChange, FieldPath, Policy};
use steadfast::settings::{Level, Problems};
use steadfast::tower::policy::{
    ApplyError, Explanation, InvalidOverride, Origin, Override, Proposal, Revision,
};
use steadfast::tower::{Guard, PolicyDocument};

use super::guard::{by, guard};
use super::*;

pub(super) async fn show(State(api): State<Api>) -> Result<Response<Body>, Problem> {
    let in_force = guard(&api)?.in_force();
    let (revision, document) = (in_force.revision(), in_force.revision().document());
    let policy = types::Policy {
        revision: revision.n(),
        hash: revision.hash().to_string(),
        name: document.name().to_owned(),
        document: document.text().to_owned(),
        author: revision.signed().author().to_owned(),
        reason: revision.signed().reason().to_owned(),
        since: time::text(revision.at()),
        overrides: in_force.overrides().iter().map(held).collect(),
        warnings: warnings(document),
    };
    Ok(with_etag(policy, revision.n()))
}

pub(super) async fn explain(
    State(api): State<Api>,
    Query(asked): Asked,
) -> Answer<types::Explained> {
    known(&asked, &["route", "dependency"])?;
    let in_force = guard(&api)?.in_force();
    let explained = match (asked.get("route"), asked.get("dependency")) {
        (Some(route), None) => in_force.explain_route(route),
        (None, Some(dependency)) => in_force.explain_dependency(dependency),
        _ => {
            return Err(Problem::refused(
                "say a route or a dependency, and one of them",
            ));
        }
    };
    let explained = explained.map_err(|unknown| Problem::not_found(unknown.to_string()))?;
    Ok(Json(explanation(explained)))
}

pub(super) async fn diff(State(api): State<Api>, request: Request) -> Answer<types::Difference> {
    let actor = actor(&request)?;
    let (proposed, _): (types::Proposed, _) = body(request).await?;
    let guard = guard(&api)?;
    let document = document(&proposed.name, &proposed.document)?;
    let proposal = guard.propose(document, by(&actor, "to be looked at")?);
    let refused = guard.check_proposal(&proposal).err();
    Ok(Json(types::Difference {
        revision: proposal.base().n(),
        changes: changes(&proposal),
        warnings: warnings(proposal.document()),
        refused: refused.map(|refused| refused.to_string()),
    }))
}

pub(super) async fn apply(
    State(api): State<Api>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let actor = actor(&request)?;
    let expected = expected(request.headers())?;
    let (new, detail): (types::NewPolicy, _) = body(request).await?;
    let guard = guard(&api)?;
    let document = document(&new.name, &new.document)?;
    let subject = format!("policy {:#} over revision {expected}", document.hash());
    let entry = entry(&actor, "policy.write", subject, &new.reason, detail);
    let by = by(&actor, &new.reason)?;
    let applied = audited(&api.0.store, entry, async {
        let proposal = guard.propose(document, by);
        if proposal.base().n() != expected {
            return Err(outdated(guard));
        }
        let (changes, warnings) = (changes(&proposal), warnings(proposal.document()));
        let before = guard.in_force();
        let revision = guard.apply_proposal(proposal);
        let revision = revision.map_err(|error| not_applied(guard, &error))?;
        let after = guard.in_force();
        let ended = before.overrides().iter();
        let ended = ended.filter(|one| !after.overrides().contains(one));
        Ok(types::Applied {
            revision: revision.n(),
            changes,
            warnings,
            overrides_ended: ended.map(|one| one.path().to_string()).collect(),
        })
    });
    let applied = applied.await?;
    let revision = applied.revision;
    Ok(with_etag(applied, revision))
}

pub(super) async fn revisions(
    State(api): State<Api>,
    Query(asked): Asked,
) -> Answer<types::RevisionPage> {
    known(&asked, &["cursor", "limit"])?;
    let before = cursor::<u64>(&asked)?.unwrap_or(u64::MAX);
    let limit = limit(&asked, "limit", PAGE, PAGE_MAX)?;
    let history = guard(&api)?.live().history();
    let older = history.iter().enumerate().rev();
    let older = older.filter(|(_, revision)| revision.n() < before);
    let items: Vec<_> = older
        .take(limit)
        .map(|(at, revision)| shown(revision, at.checked_sub(1).map(|at| history[at].as_ref())))
        .collect();
    let next = items.last().filter(|last| {
        let first = history.first().map_or(0, |first| first.n());
        items.len() == limit && last.revision > first
    });
    Ok(Json(types::RevisionPage {
        next: next.map(|last| last.revision.to_string()),
        items,
    }))
}

pub(super) async fn revision(
    State(api): State<Api>,
    Path(n): Path<u64>,
) -> Answer<types::RevisionDetail> {
    let history = guard(&api)?.live().history();
    let at = history.iter().position(|revision| revision.n() == n);
    let at = at.ok_or_else(|| {
        Problem::not_found(format!("revision {n} is not kept"))
            .with_fix("`steadfast policy history` lists those that are")
    })?;
    Ok(Json(types::RevisionDetail {
        revision: shown(
            &history[at],
            at.checked_sub(1).map(|at| history[at].as_ref()),
        ),
        document: history[at].document().text().to_owned(),
    }))
}

pub(super) async fn hold(State(api): State<Api>, request: Request) -> Answer<types::Overridden> {
    let actor = actor(&request)?;
    let (new, detail): (types::NewOverride, _) = body(request).await?;
    let guard = guard(&api)?;
    let (path, lasts) = (field(&new.path)?, length(&new.lasts)?);
    let by = by(&actor, &new.reason)?;
    // Before it holds: then nothing would change any more.
    let changed = guard
        .try_hold(path.clone(), &new.value, lasts, by.clone())
        .map_err(|refused| not_held(&refused))?;
    if !new.dry_run {
        let entry = entry(
            &actor,
            "policy.override",
            path.to_string(),
            &new.reason,
            detail,
        );
        let done = async {
            guard
                .hold(path.clone(), &new.value, lasts, by)
                .map_err(|refused| not_held(&refused))
        };
        audited(&api.0.store, entry, done).await?;
    }
    let in_force = guard.in_force();
    let is_held = |one: &&Override| !new.dry_run && *one.path() == path;
    Ok(Json(types::Overridden {
        held: in_force.overrides().iter().find(is_held).map(held),
        changes: changed.into_iter().map(|of| change(of, None)).collect(),
        holds_for: users(in_force.policy(), &path),
        dry_run: new.dry_run,
    }))
}

pub(super) async fn end_hold(State(api): State<Api>, request: Request) -> Answer<types::Done> {
    let actor = actor(&request)?;
    let (end, detail): (types::EndOverride, _) = body(request).await?;
    let guard = guard(&api)?;
    let path = field(&end.path)?;
    let entry = entry(
        &actor,
        "policy.override",
        path.to_string(),
        &end.reason,
        detail,
    );
    let ended = async {
        match guard.release(&path) {
            true => Ok(done("ended", None)),
            false => Err(Problem::not_found(format!("no override of {path} holds"))
                .with_fix("`steadfast policy show` lists those that do")),
        }
    };
    audited(&api.0.store, entry, ended).await
}

fn entry<'a>(
    actor: &'a Actor,
    action: &'static str,
    subject: String,
    reason: &'a str,
    detail: String,
) -> Entry<'a> {
    Entry {
        actor,
        action,
        subject,
        reason,
        detail,
    }
}

fn document(name: &str, text: &str) -> Result<PolicyDocument, Problem> {
    PolicyDocument::new(name, text)
        .map_err(|problems| Problem::mistaken("the policy has mistakes").with_mistakes(&problems))
}

fn field(path: &str) -> Result<FieldPath, Problem> {
    path.parse().map_err(|error| {
        Problem::refused(format!("{error}"))
            .with_fix("write it as timeouts.page.timeout, or routes.\"GET /orders\".tier")
    })
}

/// Which revision is to be changed.
fn expected(headers: &HeaderMap) -> Result<u64, Problem> {
    let tag = headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
    let tag = tag.ok_or_else(|| {
        Problem::no_precondition("say which revision is to be changed")
            .with_fix("send If-Match with the ETag of the policy that was seen")
    })?;
    tag.trim_matches('"')
        .parse()
        .map_err(|_| Problem::changed("the policy never had this ETag"))
}

fn outdated(guard: &Guard) -> Problem {
    let n = guard.in_force().revision().n();
    Problem::changed(format!("revision {n} is in force by now"))
        .with_fix("look at what has changed, and decide anew")
}

fn not_applied(guard: &Guard, error: &ApplyError) -> Problem {
    match error.is_outdated() {
        true => outdated(guard),
        false => Problem::unfit(error.to_string()),
    }
}

fn not_held(refused: &InvalidOverride) -> Problem {
    match refused.problems() {
        Some(problems) => {
            Problem::mistaken("with it the policy would have mistakes").with_mistakes(problems)
        }
        None if refused.is_unknown() => Problem::not_found(refused.to_string()),
        None => Problem::refused(refused.to_string()),
    }
}

fn changes(proposal: &Proposal) -> Vec<types::Change> {
    let changes = proposal.changes().iter();
    changes
        .map(|of| change(of.clone(), Some(proposal.document())))
        .collect()
}

fn change(change: FieldChange, document: Option<&PolicyDocument>) -> types::Change {
    let place = document
        .filter(|_| change.after.is_some())
        .and_then(|document| {
            Some(format!(
                "{}:{}",
                document.name(),
                document.place(&change.path)?
            ))
        });
    types::Change {
        path: change.path.to_string(),
        before: change.before,
        after: change.after,
        place,
    }
}

/// The routes and dependencies that a field is of, or that name its table.
fn users(policy: &Policy, path: &FieldPath) -> Vec<String> {
    let [section, name, ..] = path.segments() else {
        // A table of the whole service.
        return policy.routes.keys().cloned().collect();
    };
    let names = |named: &[&Option<String>]| named.iter().any(|one| one.as_ref() == Some(name));
    let routes = policy
        .routes
        .iter()
        .filter(|(key, route)| match section.as_str() {
            "routes" => *key == name,
            "timeouts" => names(&[&route.timeout]),
            "admissions" => names(&[&route.admission]),
            "rates" => names(&[&route.quota]),
            "streams" => names(&[&route.stream]),
            _ => false,
        });
    let dependencies = policy.dependencies.iter();
    let dependencies = dependencies.filter(|(key, of)| match section.as_str() {
        "dependencies" => *key == name,
        "timeouts" => names(&[&of.timeout]),
        "admissions" => names(&[&of.admission]),
        "breakers" => names(&[&of.breaker]),
        "retries" => names(&[&of.retry]),
        "hedges" => names(&[&of.hedge]),
        _ => false,
    });
    let routes = routes.map(|(key, _)| key);
    routes
        .chain(dependencies.map(|(key, _)| key))
        .cloned()
        .collect()
}

fn held(one: &Override) -> types::Held {
    let left = SystemTime::from(one.until()).duration_since(clock::timestamp().into());
    types::Held {
        path: one.path().to_string(),
        value: one.value().to_owned(),
        until: time::text(one.until()),
        left_seconds: left.unwrap_or_default().as_secs(),
        author: one.signed().author().to_owned(),
        reason: one.signed().reason().to_owned(),
    }
}

fn shown(revision: &Revision, before: Option<&Revision>) -> types::Revision {
    let document = revision.document();
    let changes = before.map(|before| {
        let before = before.document().policy();
        before.changes(document.policy()).len() as u64
    });
    types::Revision {
        revision: revision.n(),
        hash: revision.hash().to_string(),
        name: document.name().to_owned(),
        author: revision.signed().author().to_owned(),
        reason: revision.signed().reason().to_owned(),
        at: time::text(revision.at()),
        changes,
    }
}

fn warnings(document: &PolicyDocument) -> Vec<types::Mistake> {
    document.warnings().map(mistakes).unwrap_or_default()
}

/// What is wrong with a document, one by one.
pub(crate) fn mistakes(problems: &Problems) -> Vec<types::Mistake> {
    let told = problems.iter().map(|problem| types::Mistake {
        level: match problem.level() {
            Level::Error => "error",
            Level::Warning => "warning",
        }
        .to_owned(),
        code: problem.code().map(ToOwned::to_owned),
        file: problem.file().to_owned(),
        line: problem.place().line as u64,
        column: problem.place().column as u64,
        message: problem.message().to_owned(),
        fix: problem.fix().map(ToOwned::to_owned),
    });
    told.collect()
}

/// An explanation as the API gives it.
pub(crate) fn explanation(explained: Explanation) -> types::Explained {
    let value = |value: steadfast::tower::policy::ExplainedValue| types::ExplainedValue {
        key: value.key,
        value: value.value,
        origin: origin(&value.origin),
    };
    let tables = explained.tables.into_iter();
    types::Explained {
        subject: explained.subject,
        tables: tables
            .map(|table| types::ExplainedTable {
                table: table.table,
                values: table.values.into_iter().map(value).collect(),
            })
            .collect(),
    }
}

/// Where a value comes from; of what ends by itself also what is left.
fn origin(origin: &Origin) -> String {
    let Origin::Override { until_unix_ms, .. } = origin else {
        return origin.to_string();
    };
    let left_ms = until_unix_ms - clock::timestamp().unix_millis();
    format!("{origin}; {} s are left", left_ms.max(0) / 1_000)
}
