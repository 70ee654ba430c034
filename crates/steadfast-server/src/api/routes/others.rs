//! Nodes, the audit, tokens.

use axum::Json;
use axum::extract::{Request, State};

use super::super::{audit as audits, auth};
use super::*;

pub(super) async fn nodes(State(api): State<Api>, Asked(asked): Asked) -> Answer<types::NodePage> {
    let (before, limit) = page(&asked)?;
    let nodes = api.0.store.nodes(Some(before), limit).await?;
    let items: Vec<types::Node> = nodes
        .into_iter()
        .map(|node| types::Node {
            id: node.id,
            service: node.service,
            version: node.version,
            host: node.host,
            pid: node.pid,
            started: time::text(node.started),
            last_beat_seconds: node.last_beat.as_secs(),
            ended: node.ended.map(time::text),
        })
        .collect();
    let next = next(items.last().map(|node| node.id), items.len(), limit);
    Ok(Json(types::NodePage { items, next }))
}

pub(super) async fn audit(State(api): State<Api>, Asked(asked): Asked) -> Answer<types::AuditPage> {
    known(&asked, &["cursor", "limit", "actor", "action", "since"])?;
    let limit = limit(&asked, "limit", PAGE, PAGE_MAX)?;
    let before = cursor::<i64>(&asked)?.unwrap_or(i64::MAX);
    let which = audits::Which {
        actor: asked.get("actor").cloned(),
        action: asked.get("action").cloned(),
        since: asked.get("since").map(|since| moment(since)).transpose()?,
    };
    let (items, next) = audits::list(&api.0.store, before, limit, &which).await?;
    let next = next.map(|next| next.to_string());
    Ok(Json(types::AuditPage { items, next }))
}

pub(super) async fn tokens(
    State(api): State<Api>,
    Asked(asked): Asked,
) -> Answer<types::TokenPage> {
    let (before, limit) = page(&asked)?;
    let items = auth::list(&api.0.store, before, limit).await?;
    let next = next(items.last().map(|token| token.id), items.len(), limit);
    Ok(Json(types::TokenPage { items, next }))
}

pub(super) async fn make_token(
    State(api): State<Api>,
    request: Request,
) -> Answer<types::MadeToken> {
    let actor = actor(&request)?;
    let (new, detail): (types::NewToken, _) = body(request).await?;
    let holds = length(&new.expires_in)?;
    let rights = auth::Rights::asked(new.role.as_deref(), new.actions.as_deref())?;
    if let Some(action) = actor.rights.lacks(&rights) {
        let title = format!(
            "your token may not do {}, and so makes none that may",
            action.0
        );
        return Err(Problem::forbidden(title).with_fix("use a token that may, or ask for less"));
    }
    let entry = entry(
        &actor,
        format!("token of {}", new.name),
        &new.reason,
        detail,
    );
    let store = api.0.store.clone();
    let made = async move { auth::make(&store, &actor, &new.name, &rights, holds).await };
    Ok(Json(api.change(entry, made).await?))
}

pub(super) async fn revoke_token(
    State(api): State<Api>,
    Path(id): Path<i64>,
    request: Request,
) -> Answer<types::Done> {
    let (actor, reason, detail) = reason(request).await?;
    let entry = entry(&actor, format!("token {id}"), &reason.reason, detail);
    let store = api.0.store.clone();
    let revoked = async move { auth::revoke(&store, id).await };
    let warning = api.change(entry, revoked).await?;
    let Json(done) = done("revoked", None);
    Ok(Json(types::Done { warning, ..done }))
}

fn entry(actor: &Actor, subject: String, reason: &str, detail: String) -> Entry {
    Entry {
        actor: actor.name.clone(),
        action: "tokens.write",
        subject,
        reason: reason.to_owned(),
        detail,
    }
}

fn page(asked: &BTreeMap<String, String>) -> Result<(i64, usize), Problem> {
    known(asked, &["cursor", "limit"])?;
    let before = cursor::<i64>(asked)?.unwrap_or(i64::MAX);
    Ok((before, limit(asked, "limit", PAGE, PAGE_MAX)?))
}

fn next(last: Option<i64>, found: usize, limit: usize) -> Option<String> {
    last.filter(|_| found == limit).map(|last| last.to_string())
}
