//! Recover around a call that does not panic: the price of being ready.

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::budget::Budget;
use crate::golang::Go;
use crate::work::tally;
use crate::{Contender, Group, ours};

pub(super) fn group(go: Option<&Go>) -> Group {
    Group::new("recover, no panic", "call")
        .ours(ours::recover_call())
        .peer(Contender::new("bare call, nothing caught", bare))
        .peer(Contender::new("std catch_unwind", caught))
        .peer_if(go.map(|go| go.contender("Go defer with recover", "recover")))
        .budget(Budget::AtMost { ns: 2.0 })
}

fn bare(calls: u64) -> u64 {
    for call in 0..calls {
        black_box(work(call));
    }
    tally().take()
}

fn caught(calls: u64) -> u64 {
    for call in 0..calls {
        let _ = black_box(catch_unwind(AssertUnwindSafe(|| work(call))));
    }
    tally().take()
}

/// Not inlined: a body whose insides the compiler sees needs no catch at all.
#[inline(never)]
pub(crate) fn work(call: u64) -> u64 {
    tally().add();
    black_box(call)
}
