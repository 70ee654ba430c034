//! The policy of the guard: what is in force, what would change, what does.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::IF_MATCH;
use steadfast::clock;
use steadfast::decide::policy::{FieldChange, FieldPath, Policy};
use steadfast::settings::{Level, Problems};
use steadfast::tower::PolicyDocument;
use steadfast::tower::policy::{Explanation, InForce, Origin, Override, Proposal};

use super::super::revisions::{Revisions, not_held};
use super::super::types::Tag;
use super::guard::{by, no_guard};
use super::*;

pub(super) async fn show(State(api): State<Api>) -> Result<Response<Body>, Problem> {
    let revisions = revisions_of(&api)?;
    let in_force = revisions.guard().in_force();
    let (revision, document) = (in_force.revision(), in_force.revision().document());
    let behind = revisions.behind();
    let policy = types::Policy {
        revision: revision.n(),
        hash: revision.hash().to_string(),
        name: document.name().to_owned(),
        document: document.text().to_owned(),
        author: revision.signed().author().to_owned(),
        reason: revision.signed().reason().to_owned(),
        since: time::text(revision.at()),
        base: revisions.first().hash().to_string(),
        base_name: revisions.first().name().to_owned(),
        behind: behind.map(|behind| types::Behind {
            revision: behind.tag.revision,
            hash: behind.hash,
            author: behind.author,
            why: behind.why,
        }),
        overrides: in_force.overrides().iter().map(held).collect(),
        not_held: revisions.not_held(),
        followers: revisions.followers(revision.n()).await?,
        warnings: warnings(document),
    };
    let tag = Tag::of(policy.revision, &policy.hash);
    Ok(with_etag(policy, tag))
}

pub(super) async fn explain(
    State(api): State<Api>,
    Asked(asked): Asked,
) -> Answer<types::Explained> {
    known(&asked, &["route", "dependency"])?;
    let revisions = revisions_of(&api)?;
    let in_force = revisions.guard().in_force();
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
    Ok(Json(types::Explained {
        because: Some(because(&in_force, revisions.first())),
        ..explanation(explained)
    }))
}

/// Says what is in force, and whether it is what the process was started with.
fn because(in_force: &InForce, first: &PolicyDocument) -> String {
    let (revision, since) = (in_force.revision(), time::text(in_force.revision().at()));
    let over = match revision.hash() == first.hash() {
        true => String::new(),
        false => format!(
            "; put over {}, which the process was started with",
            first.name()
        ),
    };
    format!(
        "revision {} since {since}, by {}{over}",
        revision.n(),
        revision.signed()
    )
}

pub(super) async fn diff(State(api): State<Api>, request: Request) -> Answer<types::Difference> {
    let actor = actor(&request)?;
    let seen = seen(request.headers())?;
    let (proposed, _): (types::Proposed, _) = body(request).await?;
    let revisions = revisions_of(&api)?;
    if let Some(seen) = seen {
        revisions.check(&seen).await?;
    }
    let guard = revisions.guard();
    let document = document(&proposed.name, &proposed.document)?;
    let proposal = guard.propose(document, by(&actor, "to be looked at")?);
    let refused = guard.check_proposal(&proposal).err();
    Ok(Json(types::Difference {
        revision: proposal.base().n(),
        hash: proposal.base().hash().to_string(),
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
    let seen = seen(request.headers())?.ok_or_else(|| {
        Problem::no_precondition("say which revision is to be changed").with_fix(SEND_THE_TAG)
    })?;
    let (new, detail): (types::NewPolicy, _) = body(request).await?;
    let revisions = revisions_of(&api)?;
    let document = document(&new.name, &new.document)?;
    let hash = document.hash();
    let subject = format!("policy {hash:#} over revision {}", seen.revision);
    let entry = entry(&actor, "policy.write", subject, &new.reason, detail);
    let by = by(&actor, &new.reason)?;
    let revisions = revisions.clone();
    let applied = async move {
        let applied = revisions.apply(seen, document, by).await?;
        // It is in force already, whatever the store says of that.
        let followers = revisions.followers(applied.revision).await;
        let unknown = types::Followers {
            processes: 0,
            taken: 0,
        };
        Ok((applied, followers.unwrap_or(unknown)))
    };
    let (applied, followers) = api.change(entry, applied).await?;
    let revision = applied.revision;
    let applied = types::Applied {
        revision,
        changes: changes(&applied.proposal),
        warnings: warnings(applied.proposal.document()),
        overrides_ended: applied.ended,
        followers,
    };
    Ok(with_etag(applied, Tag::of(revision, &hash.to_string())))
}

pub(super) async fn revisions(
    State(api): State<Api>,
    Asked(asked): Asked,
) -> Answer<types::RevisionPage> {
    known(&asked, &["cursor", "limit"])?;
    let before = cursor::<u64>(&asked)?.unwrap_or(u64::MAX);
    let limit = limit(&asked, "limit", PAGE, PAGE_MAX)?;
    // One more, to know whether the page is the last.
    let mut items = revisions_of(&api)?.list(before, limit + 1).await?;
    let is_last = items.len() <= limit;
    items.truncate(limit);
    let next = items.last().filter(|_| !is_last);
    Ok(Json(types::RevisionPage {
        next: next.map(|last| last.revision.to_string()),
        items,
    }))
}

pub(super) async fn revision(
    State(api): State<Api>,
    Path(n): Path<u64>,
) -> Result<Response<Body>, Problem> {
    let found = revisions_of(&api)?.find(n).await?;
    let found = found.ok_or_else(|| {
        Problem::not_found(format!("there is no revision {n}"))
            .with_fix("`steadfast policy history` lists them")
    })?;
    let tag = Tag::of(n, &found.revision.hash);
    Ok(with_etag(found, tag))
}

pub(super) async fn hold(State(api): State<Api>, request: Request) -> Answer<types::Overridden> {
    let actor = actor(&request)?;
    let (new, detail): (types::NewOverride, _) = body(request).await?;
    let revisions = revisions_of(&api)?;
    let guard = revisions.guard();
    let (path, lasts) = (field(&new.path)?, length(&new.lasts)?);
    let by = by(&actor, &new.reason)?;
    // Before it holds: then nothing would change any more.
    let changed = guard
        .try_hold(path.clone(), &new.value, lasts, by.clone())
        .map_err(|refused| not_held(&refused))?;
    let find = || {
        let in_force = guard.in_force();
        let mut all = in_force.overrides().iter();
        all.find(|one| *one.path() == path).map(held)
    };
    let replaced = match new.dry_run {
        true => find(),
        false => {
            let entry = entry(
                &actor,
                "policy.override",
                path.to_string(),
                &new.reason,
                detail,
            );
            let (revisions, path, value) = (revisions.clone(), path.clone(), new.value);
            let hold = async move { revisions.hold(&path, &value, lasts, by).await };
            api.change(entry, hold).await?.as_ref().map(held)
        }
    };
    Ok(Json(types::Overridden {
        held: find().filter(|_| !new.dry_run),
        replaced,
        changes: changed.into_iter().map(|of| change(of, None)).collect(),
        holds_for: users(guard.in_force().policy(), &path),
        dry_run: new.dry_run,
    }))
}

pub(super) async fn end_hold(State(api): State<Api>, request: Request) -> Answer<types::Done> {
    let actor = actor(&request)?;
    let (end, detail): (types::EndOverride, _) = body(request).await?;
    let revisions = revisions_of(&api)?;
    let path = field(&end.path)?;
    let entry = entry(
        &actor,
        "policy.override",
        path.to_string(),
        &end.reason,
        detail,
    );
    let revisions = revisions.clone();
    let ended = async move {
        match revisions.end_hold(&path).await? {
            true => Ok(done("ended", None)),
            false => Err(Problem::not_found(format!("no override of {path} holds"))
                .with_fix("`steadfast policy show` lists those that do")),
        }
    };
    api.change(entry, ended).await
}

/// The revisions of the guard, if one was given to the API.
fn revisions_of(api: &Api) -> Result<&Arc<Revisions>, Problem> {
    api.0.revisions.as_ref().ok_or_else(no_guard)
}

fn entry(
    actor: &Actor,
    action: &'static str,
    subject: String,
    reason: &str,
    detail: String,
) -> Entry {
    Entry {
        actor: actor.name.clone(),
        action,
        subject,
        reason: reason.to_owned(),
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

const SEND_THE_TAG: &str = "send If-Match with the ETag of the policy that was seen";

/// Which policy was seen, if that is said.
fn seen(headers: &HeaderMap) -> Result<Option<Tag>, Problem> {
    let said = headers.get(IF_MATCH).map(|tag| {
        let tag = tag.to_str().ok().and_then(|tag| tag.parse().ok());
        tag.ok_or_else(|| Problem::changed("the policy never had this ETag").with_fix(SEND_THE_TAG))
    });
    said.transpose()
}

fn changes(proposal: &Proposal) -> Vec<types::Change> {
    let changes = proposal.changes().iter();
    changes
        .map(|of| change(of.clone(), Some(proposal.document())))
        .collect()
}

/// How a field differs, and where the new value stands.
pub(crate) fn change(change: FieldChange, document: Option<&PolicyDocument>) -> types::Change {
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
        because: None,
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
