//! Whether sending a call twice has the effect of sending it once.

use std::sync::Arc;

use http::HeaderName;
use http::request::Parts;
use steadfast_core::decide::budget::Replay;
use steadfast_core::recover;

/// Says of calls that are not safe by their method or key that they are.
pub(crate) type Repeatable = Arc<dyn Fn(&Parts) -> bool + Send + Sync>;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Judges a call. An idempotency key counts where the target `honors_keys`.
pub(crate) fn of(request: &Parts, honors_keys: bool, repeatable: Option<&Repeatable>) -> Replay {
    let key = || request.headers.get(IDEMPOTENCY_KEY);
    let has_key = honors_keys && key().is_some_and(|key| !key.is_empty());
    match Replay::of_method(request.method.as_str(), has_key) {
        // One that panics has not said yes.
        Replay::Unsafe
            if repeatable
                .is_some_and(|repeatable| recover(|| repeatable(request)).unwrap_or(false)) =>
        {
            Replay::Safe
        }
        replay => replay,
    }
}
