//! A value that is long initialized, read again.

use std::hint::black_box;
use std::sync::OnceLock;

use tokio::sync::OnceCell;

use crate::golang::Go;
use crate::work::on_one_thread;
use crate::{Contender, Group, ours};

/// A read that counts itself: each adds this to the sum.
const VALUE: u64 = 1;

pub(super) fn group(go: Option<&Go>) -> Group {
    Group::new("once, hot read", "read")
        .ours(ours::once_get())
        .peer(Contender::new("std OnceLock::get_or_init", std_once))
        .peer(on_one_thread("tokio OnceCell::get_or_init", tokio_once))
        .peer(Contender::new("tokio OnceCell::get", tokio_once_get))
        .peer_if(go.map(|go| go.contender("Go sync.Once", "once")))
}

fn std_once(reads: u64) -> u64 {
    static CELL: OnceLock<u64> = OnceLock::new();

    let mut sum = 0;
    for _ in 0..reads {
        sum += black_box(&CELL).get_or_init(|| VALUE);
    }
    sum
}

async fn tokio_once(reads: u64) -> u64 {
    static CELL: OnceCell<u64> = OnceCell::const_new();

    let mut sum = 0;
    for _ in 0..reads {
        sum += black_box(&CELL).get_or_init(async || VALUE).await;
    }
    sum
}

fn tokio_once_get(reads: u64) -> u64 {
    static CELL: OnceCell<u64> = OnceCell::const_new_with(VALUE);

    let mut sum = 0;
    for _ in 0..reads {
        sum += black_box(&CELL).get().copied().unwrap_or(0);
    }
    sum
}
