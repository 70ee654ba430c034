use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use steadfast_core::context::{Name, Tier};

use crate::{admission, rate_limit, timeout};

/// What governs the requests of one route.
pub(super) struct Route {
    /// As the policy names it.
    pub(super) key: String,
    /// What metrics and lines call it: the template.
    pub(super) name: Name,
    /// The methods of the policy.
    pub(super) methods: Vec<Method>,
    pub(super) tier: Tier,
    pub(super) deadline: Option<Duration>,
    pub(super) rate: Option<Arc<rate_limit::Buckets>>,
    pub(super) admission: Option<Arc<admission::Shared>>,
    pub(super) user_of: Option<admission::UserOf>,
    pub(super) timeout: Option<Arc<timeout::Shared>>,
    pub(super) is_stream: bool,
}

/// The routes of a policy.
pub(super) struct Routes {
    /// By template; each in order of the search.
    by_template: HashMap<String, Vec<Arc<Route>>>,
}

impl Routes {
    pub(super) fn new(routes: impl IntoIterator<Item = Route>) -> Self {
        let mut by_template: HashMap<String, Vec<Arc<Route>>> = HashMap::new();
        for route in routes {
            let of_template = by_template.entry(route.template().to_owned()).or_default();
            // The one of a single method goes before the one of all.
            let at = if route.of_one_method() { 0 } else { of_template.len() };
            of_template.insert(at, Arc::new(route));
        }
        Self { by_template }
    }

    /// Gives what governs a request of this method to this template.
    pub(super) fn find(&self, method: &Method, template: &str) -> Option<&Arc<Route>> {
        let of_template = self.by_template.get(template)?;
        of_template.iter().find(|route| route.governs(method))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.by_template.values().flatten()
    }
}

impl Route {
    pub(super) fn template(&self) -> &str {
        template_of(&self.key)
    }

    fn of_one_method(&self) -> bool {
        self.template().len() < self.key.len()
    }

    /// A key without a method is for all of them: a request of a method that the policy does not
    /// list is not to go ungoverned.
    fn governs(&self, method: &Method) -> bool {
        match self.key.split_once(' ') {
            Some((of, _)) => of == method.as_str(),
            None => true,
        }
    }
}

/// Gives the template of a key: `GET /orders` or `/orders`.
pub(super) fn template_of(key: &str) -> &str {
    match key.split_once(' ') {
        Some((_, template)) => template,
        None => key,
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.all().map(|route| &route.key)).finish()
    }
}
