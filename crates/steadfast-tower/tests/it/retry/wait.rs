//! When an attempt begins.

use steadfast_core::clock;
use steadfast_core::context;
use tower::{Layer, ServiceExt};

use crate::support::get;

use super::{MILLI, Target, answer, layer, status};

#[tokio::test(start_paused = true)]
async fn the_wait_is_drawn_from_the_backoff() {
    let target = Target::that_answers([status(503), status(503)]);

    layer(3)
        .layer(target.clone())
        .oneshot(get("/"))
        .await
        .unwrap();

    assert_eq!(target.waits_ms(), [0, 100, 300]);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed_up_to_a_cap() {
    for (value, waits) in [
        ("2", &[0, 2_100][..]),
        ("5", &[0, 5_100]),
        ("6", &[0]),
        ("99999999999999999999", &[0]),
        ("Sun, 06 Nov 1994 12:00:02 GMT", &[0, 2_100]),
        ("Sun, 06 Nov 1994 13:00:00 GMT", &[0]),
        ("-1", &[0, 100]),
        ("soon", &[0, 100]),
        ("", &[0, 100]),
    ] {
        let date = ("date", "Sun, 06 Nov 1994 12:00:00 GMT");
        let target = Target::that_answers([answer(503, &[("retry-after", value), date])]);

        layer(2)
            .layer(target.clone())
            .oneshot(get("/"))
            .await
            .unwrap();

        assert_eq!(target.waits_ms(), waits, "{value:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_after_the_deadline_and_nobody_waits_for_one() {
    for (left_ms, headers, waits) in [
        (101, &[][..], &[0, 100][..]),
        (100, &[][..], &[0]),
        (3_000, &[("retry-after", "2")][..], &[0, 2_100]),
        (2_000, &[("retry-after", "2")][..], &[0]),
    ] {
        let target = Target::that_answers([answer(503, headers)]);
        let deadline = clock::now() + left_ms * MILLI;
        let begun = clock::now();
        let client = layer(2).layer(target.clone());

        let call = context::current().with_deadline(deadline);
        let call = call.run(|| client.oneshot(get("/")));
        context::current()
            .with_deadline(deadline)
            .wrap(call)
            .await
            .unwrap();

        assert_eq!(target.waits_ms(), waits, "{left_ms}");
        let took = clock::now() - begun;
        assert_eq!(took.as_millis(), *waits.last().unwrap(), "given up at once");
    }
}
