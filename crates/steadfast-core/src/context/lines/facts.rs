use std::fmt;

use crate::context::{self, Context, Keys};

/// What is known about the work at hand.
pub(super) struct Facts {
    block: Context,
    keys: Option<Keys>,
}

/// The value of a fact.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Text(&'a str),
    Shown(&'a dyn fmt::Display),
    Number(u64),
}

/// The names of facts that keys of the application cannot take.
const RESERVED: [&str; 8] = [
    "trace_id", "span_id", "route", "tier", "tenant", "job", "attempt", "change",
];

impl Facts {
    /// Reads the context; `None` where nothing is known.
    pub(super) fn at_hand() -> Option<Self> {
        let facts = context::with(|frame| {
            frame.node()?;
            let keys = frame.keys().filter(|keys| !keys.own().is_empty());
            Some(Self {
                block: frame.block(),
                keys: keys.cloned(),
            })
        });
        facts.filter(Facts::any)
    }

    /// Tells whether anything is known. The tier alone is nothing: everything has one.
    fn any(&self) -> bool {
        let block = &self.block;
        self.keys.is_some()
            || block.trace_id().is_some()
            || block.span_id().is_some()
            || block.route().is_some()
            || block.tenant().is_some()
            || block.job().is_some()
            || block.change().is_some()
    }

    /// Calls `tell` with each of them.
    pub(super) fn each(&self, mut tell: impl FnMut(&str, Value<'_>)) {
        let block = &self.block;
        if let Some(id) = block.trace_id() {
            tell("trace_id", Value::Shown(&id));
        }
        if let Some(id) = block.span_id() {
            tell("span_id", Value::Shown(&id));
        }
        if let Some(route) = block.route() {
            tell("route", Value::Text(route.as_str()));
        }
        tell("tier", Value::Number(u64::from(block.tier().number())));
        if let Some(tenant) = block.tenant() {
            tell("tenant", Value::Text(tenant));
        }
        if let Some(job) = block.job() {
            tell("job", Value::Number(job));
            tell("attempt", Value::Number(u64::from(block.attempt())));
        }
        if let Some(change) = block.change() {
            tell("change", Value::Number(change));
        }
        let own = self.keys.iter().flat_map(|keys| keys.own());
        for (key, value) in own.filter(|(key, _)| !RESERVED.contains(&key.as_str())) {
            tell(key.as_str(), Value::Text(value));
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Shown(shown) => shown.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}
