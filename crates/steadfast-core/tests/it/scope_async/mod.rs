//! Async scopes that run to their end.

mod causes;
mod children;
mod cleanups;
mod early_and_late;
mod limits;

use std::time::Duration;

use steadfast_core::{BoxError, Scope, scope};

const SECOND: Duration = Duration::from_secs(1);

/// Gives a handle that has outlived its scope, which had a limit of a second.
async fn handle_of_ended() -> Scope<(), BoxError> {
    let mut kept = None;
    scope("over")
        .cleanup_limit(SECOND)
        .run(async |s| {
            kept = Some(s);
            Ok(())
        })
        .await
        .unwrap();
    kept.unwrap()
}
