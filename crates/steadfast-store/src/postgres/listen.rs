//! Wake-ups from the server.

use std::sync::{Arc, Weak};
use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use steadfast_core::cancel::Cancel;
use steadfast_core::decide::backoff::Backoff;
use steadfast_core::{clock, rng};

use crate::wake::{Hub, Wake};

/// How long the connection may be silent before it is asked whether it lives: 20 s.
const SILENCE: Duration = Duration::from_secs(20);

/// How long it then has to answer: 5 s.
const ANSWER: Duration = Duration::from_secs(5);

/// What stands between channel and payload: nobody writes it by accident.
const SEPARATOR: char = '\u{1f}';

/// Gives the text of a wake-up.
pub(crate) fn message(channel: &str, payload: &str) -> String {
    format!("{channel}{SEPARATOR}{payload}")
}

/// Gives the channel of PostgreSQL that all wake-ups of a schema go through: one LISTEN for all.
pub(crate) fn channel(schema: &str) -> String {
    format!("{schema}_wake")
}

/// Listens until the store is closed, on a connection of its own that is made anew when it is lost.
pub(crate) async fn listen(
    options: PgConnectOptions,
    channel: String,
    hub: Weak<Hub>,
    closing: Cancel,
) {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5))
        .expect("within the range of backoffs");
    let mut failures = 0;
    loop {
        let listening = hear(&options, &channel, &hub, &mut failures);
        let ended = tokio::select! {
            _ = closing.cancelled() => return,
            ended = listening => ended,
        };
        match ended {
            Ok(()) => return,
            Err(error) => {
                failures += 1;
                tracing::warn!(target: "steadfast::store", %error, failures, "no wake-ups until it is connected again");
            }
        }
        let pause = backoff.delay(failures, rng::bits());
        tokio::select! {
            _ = closing.cancelled() => return,
            () = clock::sleep(pause) => {}
        }
    }
}

/// Ends with an error when the connection is lost, and without one when nobody is there to hear.
async fn hear(
    options: &PgConnectOptions,
    channel: &str,
    hub: &Weak<Hub>,
    failures: &mut u32,
) -> Result<(), sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ANSWER)
        .connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(channel).await?;
    *failures = 0;
    // Whatever was sent before is lost.
    match hub.upgrade() {
        Some(hub) => hub.tell_everything(),
        None => return Ok(()),
    }
    loop {
        let heard = clock::timeout(SILENCE, listener.try_recv()).await;
        let Some(hub) = hub.upgrade() else {
            return Ok(());
        };
        match heard {
            Ok(Ok(Some(notification))) => tell(&hub, notification.payload()),
            // The connection was lost.
            Ok(Ok(None)) => return Err(sqlx::Error::WorkerCrashed),
            Ok(Err(error)) => return Err(error),
            Err(_) => match clock::timeout(ANSWER, listener.execute("SELECT 1")).await {
                Ok(answered) => {
                    answered?;
                }
                Err(_) => return Err(sqlx::Error::PoolTimedOut),
            },
        }
    }
}

fn tell(hub: &Arc<Hub>, message: &str) {
    if let Some((channel, payload)) = message.split_once(SEPARATOR) {
        hub.tell(channel, Wake::Payload(payload.into()));
    }
}
