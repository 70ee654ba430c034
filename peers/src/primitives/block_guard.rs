//! Block guard: one cleanup at the end of a block.

use std::hint::black_box;

use scopeguard::defer;

use crate::budget::Budget;
use crate::golang::Go;
use crate::work::{Tally, tally};
use crate::{Contender, Group, ours};

pub(super) fn group(go: Option<&Go>) -> Group {
    Group::new("block guard", "block")
        .ours(ours::block_guard())
        .peer(Contender::new("scopeguard defer!", scopeguard))
        .peer(Contender::new("hand-written Drop", hand_written))
        .peer_if(go.map(|go| go.contender("Go defer", "defer")))
        .budget(Budget::AtMost { ns: 5.0 })
}

fn scopeguard(blocks: u64) -> u64 {
    for block in 0..blocks {
        let tally = tally();
        defer! { tally.add() }
        black_box(block);
    }
    tally().take()
}

fn hand_written(blocks: u64) -> u64 {
    struct AddOnDrop(&'static Tally);

    impl Drop for AddOnDrop {
        fn drop(&mut self) {
            self.0.add();
        }
    }

    for block in 0..blocks {
        let _guard = AddOnDrop(tally());
        black_box(block);
    }
    tally().take()
}
