//! `steadfast policy suggest`: which timeouts and limits follow from what a service has seen.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use steadfast::decide::policy::{Policy, Route};
use steadfast::settings::duration;
use steadfast::tower::PolicyDocument;
use steadfast::tower::prometheus::{AskError, Prometheus};

use super::super::fail::Mistaken;
use super::policy::{open, told};
use super::print::Printer;
use crate::api::client::Client;
use crate::api::types::{self, Change, Guarded};
use crate::suggest::{Seen, Suggestion, edit, suggest};
use crate::traffic::Durations;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("from").args(["prometheus", "observed"]).required(true))]
pub(crate) struct Options {
    /// Asks this Prometheus what requests took.
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,

    /// Asks the server what requests took since its process has started.
    #[arg(long)]
    observed: bool,

    /// How far back a Prometheus is asked: 5m to 30d.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "1d",
        conflicts_with = "observed"
    )]
    window: String,

    /// Further labels, where a Prometheus knows several services: job="shop".
    #[arg(long, value_name = "LABELS", conflicts_with = "observed")]
    selector: Option<String>,

    /// The policy; that which is in force in the server, if it is not said.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Writes the changed policy here.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Options {
    /// Whether a server has to be asked.
    pub(super) fn needs_server(&self) -> bool {
        self.observed || self.file.is_none()
    }
}

pub(super) async fn run(
    client: Option<&Client>,
    printer: &Printer,
    options: &Options,
) -> anyhow::Result<()> {
    let server = || client.context("no server is known");
    let document = match &options.file {
        Some(file) => open(file)?,
        None => {
            let policy: types::Policy = server()?.get("/api/v1/policy").send().await?;
            let document = PolicyDocument::new(policy.name, policy.document);
            document.map_err(Mistaken)?
        }
    };
    let seen = match &options.prometheus {
        None => observed(server()?).await?,
        Some(url) => measured(url, document.policy(), options).await?,
    };
    let suggestion = suggest(document.policy(), &seen);
    let edited = edit(&document, &suggestion.changes);
    let changes = match &edited {
        Ok(text) => {
            let after = PolicyDocument::new(document.name(), text);
            changes(&document, &after.map_err(Mistaken)?)
        }
        Err(_) => Vec::new(),
    };
    let shown = json!({
        "data": suggestion.data.iter().map(|(route, seen)| json!({ "route": route, "seen": seen })).collect::<Vec<_>>(),
        "proposals": suggestion.changes.iter().map(|change| json!({
            "path": change.path.to_string(), "value": change.value, "because": change.because,
        })).collect::<Vec<_>>(),
        "left": suggestion.left.iter().map(|(what, why)| json!({ "what": what, "because": why })).collect::<Vec<_>>(),
        "changes": changes,
    });
    printer.print(&shown, || text(&suggestion, &changes));
    let edited = edited.map_err(|error| anyhow::anyhow!("{error}: change it by hand"))?;
    if let Some(output) = &options.output {
        std::fs::write(output, edited)
            .with_context(|| format!("cannot write {}", output.display()))?;
    }
    Ok(())
}

fn text(suggestion: &Suggestion, changes: &[Change]) -> String {
    let mut text = String::from("what was seen\n");
    for (route, seen) in &suggestion.data {
        text.push_str(&format!("  {route}: {seen}\n"));
    }
    text.push_str("what follows\n");
    for change in &suggestion.changes {
        text.push_str(&format!(
            "  {} = {}: {}\n",
            change.path, change.value, change.because
        ));
    }
    for (what, why) in &suggestion.left {
        text.push_str(&format!("  {what} is left: {why}\n"));
    }
    if suggestion.changes.is_empty() {
        text.push_str("nothing is proposed");
    } else {
        text.push_str("the change\n");
        text.push_str(&told(changes));
    }
    text
}

fn changes(before: &PolicyDocument, after: &PolicyDocument) -> Vec<Change> {
    let changes = before.policy().changes(after.policy()).into_iter();
    changes
        .map(|change| Change {
            place: after
                .place(&change.path)
                .map(|place| format!("{}:{place}", after.name())),
            path: change.path.to_string(),
            before: change.before,
            after: change.after,
        })
        .collect()
}

/// What the process of a server has seen since it has started.
async fn observed(client: &Client) -> anyhow::Result<BTreeMap<String, Seen>> {
    let guarded: Guarded = client.get("/api/v1/routes").send().await?;
    let seconds = guarded.seconds as f64;
    let routes = guarded.routes.into_iter().map(|route| {
        let total = route.total;
        let buckets = total.durations.iter();
        let buckets = buckets.map(|of| (of.up_to_seconds.unwrap_or(f64::INFINITY), of.count));
        let seen = Seen {
            durations: Durations {
                buckets: buckets.collect(),
                seconds: total.duration_seconds,
            },
            cut: total.rejected.get("timed-out").copied().unwrap_or_default(),
            per_second: match seconds > 0.0 {
                true => total.requests as f64 / seconds,
                false => 0.0,
            },
            seconds,
        };
        (route.name, seen)
    });
    Ok(routes.collect())
}

type Http = legacy::Client<hyper_rustls::HttpsConnector<HttpConnector>, Body>;

/// What a Prometheus knows.
async fn measured(
    url: &str,
    policy: &Policy,
    options: &Options,
) -> anyhow::Result<BTreeMap<String, Seen>> {
    let window = window(&options.window)?;
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_http1()
        .build();
    let client: Http = legacy::Client::builder(TokioExecutor::new()).build(connector);
    let mut prometheus = Prometheus::new(client, url)?;
    let shown = without_password(url);
    let mut seen = BTreeMap::new();
    for name in policy.routes.keys() {
        let asked = Asked {
            window: &options.window,
            labels: labels(name, policy, options.selector.as_deref()),
            template: Route::split_name(name).1,
            selector: options.selector.as_deref(),
        };
        let of_route = asked.ask(&mut prometheus, window.as_secs_f64()).await;
        let of_route =
            of_route.with_context(|| format!("cannot learn about {name} from {shown}"))?;
        if let Some(of_route) = of_route {
            seen.insert(name.clone(), of_route);
        }
    }
    Ok(seen)
}

/// A URL as it may be told: of what stands before an `@` in its authority, only that it was there.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{path}"),
        None => url.to_owned(),
    }
}

fn window(text: &str) -> anyhow::Result<Duration> {
    let window = duration(text).map_err(|wrong| anyhow::anyhow!("--window: {wrong}"))?;
    let (least, most) = (
        Duration::from_secs(300),
        Duration::from_secs(30 * 24 * 3_600),
    );
    anyhow::ensure!(
        (least..=most).contains(&window),
        "--window is not within 5m to 30d"
    );
    Ok(window)
}

/// What is asked about one route.
struct Asked<'a> {
    window: &'a str,
    labels: String,
    template: &'a str,
    selector: Option<&'a str>,
}

/// The labels of the requests of a route.
fn labels(name: &str, policy: &Policy, selector: Option<&str>) -> String {
    let (method, template) = Route::split_name(name);
    let mut labels = format!("http_route={}", quoted(template));
    match method {
        Some(method) => labels.push_str(&format!(",http_request_method={method:?}")),
        None => {
            let own = policy.routes.keys().filter_map(|other| {
                let (method, of) = Route::split_name(other);
                method.filter(|_| of == template)
            });
            let own: Vec<&str> = own.collect();
            if !own.is_empty() {
                labels.push_str(&format!(",http_request_method!~\"{}\"", own.join("|")));
            }
        }
    }
    if let Some(selector) = selector {
        labels.push_str(&format!(",{selector}"));
    }
    labels
}

/// As a text of a query, whose quotes nothing in it ends.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Asked<'_> {
    /// Gives nothing for a route without requests.
    async fn ask(
        &self,
        prometheus: &mut Prometheus<Http>,
        seconds: f64,
    ) -> Result<Option<Seen>, AskError> {
        let (window, labels) = (self.window, &self.labels);
        // Those that were served: what failed at once is no measure of what takes long.
        let served = format!("{labels},http_response_status_code!~\"5..|429\",error_type=\"\"");
        let metric = "http_server_request_duration_seconds";
        let query = format!("sum by (le) (increase({metric}_bucket{{{served}}}[{window}]))");
        let cumulative = prometheus.values::<Body, _>(&query, "le").await?;
        let buckets = buckets(cumulative);
        if buckets.iter().all(|(_, count)| *count == 0) {
            return Ok(None);
        }
        let query = format!("sum(increase({metric}_sum{{{served}}}[{window}]))");
        let sum = prometheus.value::<Body, _>(&query).await?;
        let step = (seconds / 500.0).max(15.0).round();
        let peak =
            format!("max_over_time(sum(rate({metric}_count{{{labels}}}[1m]))[{window}:{step}s])");
        let peak = known(prometheus.value::<Body, _>(&peak).await)?;
        let since = format!(
            "time() - min(min_over_time(timestamp({metric}_count{{{labels}}})[{window}:{step}s]))"
        );
        let since = known(prometheus.value::<Body, _>(&since).await)?;
        let selector = self.selector.map(|selector| format!(",{selector}"));
        let query = format!(
            "sum(increase(steadfast_rejections_total{{route={},reason=\"timed-out\"{}}}[{window}]))",
            quoted(self.template),
            selector.unwrap_or_default()
        );
        // Where nothing was cut off, there is no such series.
        let cut = known(prometheus.value::<Body, _>(&query).await)?;
        Ok(Some(Seen {
            durations: Durations {
                buckets,
                seconds: sum,
            },
            cut: cut.unwrap_or_default().round() as u64,
            // Without a peak nothing is known of the rate, over however long.
            per_second: peak.unwrap_or_default(),
            seconds: peak.and(since).unwrap_or_default().min(seconds),
        }))
    }
}

/// What Prometheus knows; that it knows nothing is an answer, too.
fn known(answer: Result<f64, AskError>) -> Result<Option<f64>, AskError> {
    match answer {
        Err(error) if error.is_nothing() => Ok(None),
        answer => answer.map(Some),
    }
}

/// From how many were up to each bound to how many were between two of them.
fn buckets(cumulative: Vec<(String, f64)>) -> Vec<(f64, u64)> {
    let mut bounds: Vec<(f64, f64)> = cumulative
        .into_iter()
        .filter_map(|(bound, count)| match bound.as_str() {
            "+Inf" => Some((f64::INFINITY, count)),
            bound => Some((bound.parse().ok()?, count)),
        })
        .collect();
    bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut before = 0.0;
    bounds
        .into_iter()
        .map(|(bound, count)| {
            let of_this = (count - before).max(0.0).round();
            before = count.max(before);
            (bound, of_this as u64)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_asked_for_by_its_labels_and_none_of_them_leaves_its_quotes() {
        let policy = PolicyDocument::new(
            "policy.toml",
            "[timeouts.page]\ntimeout = \"1s\"\n[routes.\"/a\"]\ntimeout = \"page\"\n[routes.\"PUT /a\"]\ntimeout = \"page\"\n",
        )
        .unwrap();
        let of = |name, selector| labels(name, policy.policy(), selector);

        assert_eq!(
            of("PUT /a", None),
            "http_route=\"/a\",http_request_method=\"PUT\""
        );
        assert_eq!(
            of("/a", Some("job=\"shop\"")),
            "http_route=\"/a\",http_request_method!~\"PUT\",job=\"shop\""
        );
        assert_eq!(of("/a\"b", None), "http_route=\"/a\\\"b\"");
    }

    #[test]
    fn counts_up_to_a_bound_become_counts_between_bounds() {
        let cumulative = [("+Inf", 5.2), ("0.1", 1.9), ("0.5", 5.1)];
        let cumulative = cumulative.map(|(bound, count)| (bound.to_owned(), count));

        assert_eq!(
            buckets(cumulative.to_vec()),
            [(0.1, 2), (0.5, 3), (f64::INFINITY, 0)]
        );
    }

    #[test]
    fn a_window_has_its_bounds() {
        assert_eq!(window("1d").unwrap(), Duration::from_secs(86_400));
        for wrong in ["1m", "31d", "99999999999999999d", "soon"] {
            assert!(window(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_not_told() {
        for (url, shown) in [
            ("http://u:secret@here:9090/x@y", "http://…@here:9090/x@y"),
            ("https://here:9090", "https://here:9090"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
