use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use steadfast_core::Context;
use steadfast_core::context::{Name, Tier};
use steadfast_core::decide::policy;

use super::clients::Clients;
use crate::admission::UserOf;
use crate::keys::OwnKeys;
use crate::streams::Budget;
use crate::timeout::BodyTimes;
use crate::{admission, rate_limit, timeout};

/// What governs the requests of one route.
pub(super) struct Route {
    /// As the policy names it.
    pub(super) key: String,
    /// What metrics and lines call it: the template.
    pub(super) name: Name,
    /// The methods of the policy.
    #[cfg_attr(
        not(feature = "axum"),
        expect(dead_code, reason = "routes are asked with axum")
    )]
    pub(super) methods: Vec<Method>,
    pub(super) tier: Tier,
    pub(super) deadline: Option<Duration>,
    pub(super) rate: Option<Arc<rate_limit::Buckets>>,
    /// The rate has to know who the client is.
    pub(super) is_per_client: bool,
    pub(super) admission: Option<Arc<admission::Shared>>,
    pub(super) clients: Arc<Clients>,
    /// Whose turn it is, where requests may have to wait.
    pub(super) user_of: Option<UserOf>,
    pub(super) timeout: Option<Arc<timeout::Shared>>,
    pub(super) body: BodyTimes,
    /// The budget of its streams, or of those that it turns out to have.
    pub(super) streams: Option<Arc<Budget>>,
    pub(super) is_stream: bool,
}

/// How one route stands: what [`Guard::routes`](super::Guard::routes) tells.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RouteStatus {
    /// Its name in the policy: `GET /orders/{id}`, or a template for all methods.
    pub name: String,
    /// Who goes first.
    pub tier: Tier,
    /// Whether its answers do not end by themselves.
    pub is_stream: bool,
    /// How long a usual request may take until its answer begins, now.
    pub timeout: Option<Duration>,
}

/// The routes of a policy.
pub(super) struct Routes {
    /// By template; each in order of the search.
    by_template: HashMap<String, Vec<Arc<Route>>, OwnKeys>,
    /// What governs all that has no route of its own, if anything does.
    unmatched: Option<Arc<Route>>,
}

/// The key of what no other route has.
pub(super) const UNMATCHED: &str = crate::route::UNMATCHED.as_str();

impl Routes {
    pub(super) fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        let mut by_template: HashMap<String, Vec<Arc<Route>>, OwnKeys> = HashMap::default();
        for route in routes {
            let of_template = by_template.entry(route.template().to_owned()).or_default();
            of_template.push(Arc::new(route));
        }
        for of_template in by_template.values_mut() {
            of_template.sort_by_key(|route| route.rank());
        }
        let unmatched = by_template.remove(UNMATCHED);
        Self {
            by_template,
            unmatched: unmatched.and_then(|of| of.into_iter().next()),
        }
    }

    /// Gives what governs a request of this method to this template.
    pub(super) fn find(&self, method: &Method, template: Option<&str>) -> Option<&Arc<Route>> {
        let of_template = template.and_then(|template| self.by_template.get(template));
        let found = of_template.and_then(|of| of.iter().find(|route| route.governs(method)));
        found.or(self.unmatched.as_ref())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.by_template.values().flatten().chain(&self.unmatched)
    }
}

impl Route {
    /// What is known of a request because it is to this route.
    pub(super) fn facts(&self, context: Context) -> Context {
        context.with_route(self.name).with_tier(self.tier)
    }

    pub(super) fn template(&self) -> &str {
        template_of(&self.key)
    }

    pub(super) fn status(&self) -> RouteStatus {
        RouteStatus {
            name: self.key.clone(),
            tier: self.tier,
            is_stream: self.is_stream,
            timeout: self.timeout.as_ref().map(|timeout| timeout.usual()),
        }
    }

    /// Where it is searched: the one of a single method goes before the one of all, and that of `HEAD`
    /// before that of `GET`.
    fn rank(&self) -> u8 {
        match policy::Route::split_name(&self.key).0 {
            Some("HEAD") => 0,
            Some(_) => 1,
            None => 2,
        }
    }

    /// A key without a method is for all of them: a request of a method that the policy does not
    /// list is not to go ungoverned. A `HEAD` without a key of its own is a `GET`, whose handler does
    /// its work: it is not to go past the limits of that.
    fn governs(&self, method: &Method) -> bool {
        let (of, _) = policy::Route::split_name(&self.key);
        of.is_none_or(|of| of == method.as_str() || of == "GET" && *method == Method::HEAD)
    }
}

/// A question to the router: who governs a request of this method to this path?
#[cfg(feature = "axum")]
pub(crate) struct Example {
    /// The key of the policy that should.
    pub(crate) key: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    /// The policy says this method itself, so the router has to have it.
    pub(crate) is_said: bool,
}

/// What a route is asked with whose policy says no methods: a handler that goes past the guard may
/// have any of them. Not `OPTIONS`, which layers for browsers answer by themselves.
#[cfg(feature = "axum")]
const ASKED: [Method; 6] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

#[cfg(feature = "axum")]
impl Routes {
    /// Gives for each route of the policy what reaches it.
    pub(super) fn examples(&self) -> Vec<Example> {
        let mut examples = Vec::new();
        for (template, of_template) in &self.by_template {
            let path = example_of(template);
            for route in of_template {
                let said: &[Method] = match route.methods.is_empty() {
                    true => &ASKED,
                    false => &route.methods,
                };
                // Where one method has a policy of its own, the others are asked.
                let own = |method: &&Method| {
                    let found = self.find(method, Some(template));
                    found.is_some_and(|found| Arc::ptr_eq(found, route))
                };
                examples.extend(said.iter().filter(own).map(|method| Example {
                    key: route.key.clone(),
                    method: method.clone(),
                    path: path.clone(),
                    is_said: !route.methods.is_empty(),
                }));
            }
        }
        examples.extend(self.unmatched.iter().map(|route| Example {
            key: route.key.clone(),
            method: route.methods.first().cloned().unwrap_or(Method::GET),
            // As good as any that no route has.
            path: "/.well-known/steadfast/unmatched".to_owned(),
            is_said: false,
        }));
        examples
    }
}

/// Gives a path that a template matches: `/orders/steadfast-probe` for `/orders/{id}`; a name that
/// no other route has beside it.
#[cfg(feature = "axum")]
pub(crate) fn example_of(template: &str) -> String {
    let mut path = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        path.push_str(&rest[..at]);
        rest = &rest[at..];
        // Doubled, they stand for themselves.
        if let Some(after) = rest.strip_prefix("{{") {
            path.push('{');
            rest = after;
        } else if let Some(after) = rest.strip_prefix("}}") {
            path.push('}');
            rest = after;
        } else {
            path.push_str("steadfast-probe");
            rest = rest.split_once('}').map_or("", |(_, after)| after);
        }
    }
    path.push_str(rest);
    path
}

/// Gives the template of a key: `GET /orders` or `/orders`.
pub(super) fn template_of(key: &str) -> &str {
    policy::Route::split_name(key).1
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Route").field(&self.key).finish()
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.all().map(|route| &route.key))
            .finish()
    }
}
