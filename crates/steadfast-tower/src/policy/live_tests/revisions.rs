//! What comes in force, under which number, and what is kept of it.

use super::*;

#[test]
fn a_proposal_changes_nothing_until_it_is_applied() {
    let live = live();

    let proposal = live.propose(with_permits(100), signed("less"));

    assert_eq!(permits(&live), 200);
    assert_eq!(proposal.changes().len(), 1);
    let revision = live.apply(proposal, at(1)).unwrap();
    assert_eq!(permits(&live), 100);
    assert_eq!(revision.n(), 2);
    assert_eq!(revision.signed().reason(), "less");
    assert_eq!(revision.at(), at(1));
    assert_eq!(revision.hash(), with_permits(100).hash());
    assert_eq!(revision.namespace().as_str(), "shop");
}

#[test]
fn a_proposal_shows_what_it_would_change_and_where() {
    let text = SHOP
        .replace("permits = 200", "permits = 100")
        .replace("queue_wait", "queue = 50\nqueue_wait")
        .replace("not_ready = \"5s\"\n", "");
    let hash = |document: &PolicyDocument| format!("{:#}", document.hash());
    let (before, after) = (document(SHOP), document(&text));

    let proposal = live().propose(after.clone(), signed("black friday"));

    assert_eq!(
        proposal.to_string(),
        format!(
            "shop revision 1 ({}) to {}, by ann: black friday\n\
             - admissions.http.permits = 200    policy.toml:3:1\n\
             + admissions.http.permits = 100    policy.toml:3:1\n\
             - admissions.http.queue = 100    default\n\
             + admissions.http.queue = 50    policy.toml:4:1\n\
             - drain.not_ready = \"5s\"    policy.toml:51:1\n",
            hash(&before),
            hash(&after)
        )
    );
}

#[test]
fn a_proposal_tells_that_nothing_would_change_and_what_is_to_be_warned_of() {
    let comment = live().propose(document(&format!("{SHOP}# end\n")), signed("comment"));
    let shadow = SHOP.replace("[timeouts.call]\n", "[timeouts.call]\nshadow = true\n");
    let shadow = live().propose(document(&shadow), signed("try"));

    assert!(
        comment
            .to_string()
            .ends_with("nothing that is in force would change\n")
    );
    assert!(
        shadow
            .to_string()
            .contains("warning[P034]: timeouts.call.shadow")
    );
}

#[test]
fn a_proposal_for_another_revision_is_refused() {
    let live = live();
    let late = live.propose(with_permits(50), signed("late"));
    change(&live, with_permits(100));

    let refused = live.apply(late, at(2)).unwrap_err();

    assert_eq!(
        refused.to_string(),
        "it was made for revision 1, and revision 2 is in force"
    );
    assert_eq!(permits(&live), 100);
}

#[test]
fn a_revert_is_the_next_revision_with_an_earlier_document() {
    let live = live();
    change(&live, with_permits(100));

    let reverted = live.revert(1, signed("worse"), at(2)).unwrap();

    assert_eq!(reverted.n(), 3);
    assert_eq!(permits(&live), 200);
    let kept: Vec<u64> = live.history().iter().map(|revision| revision.n()).collect();
    assert_eq!(kept, [1, 2, 3]);
}

#[test]
fn of_the_history_the_newest_are_kept() {
    let live = live();
    for permits in 0..60 {
        change(&live, with_permits(100 + permits));
    }

    let history = live.history();
    assert_eq!(history.len(), LivePolicy::HISTORY_MAX);
    assert_eq!(history.last().map(|revision| revision.n()), Some(61));
    let refused = live.revert(1, signed("too late"), at(2)).unwrap_err();
    assert_eq!(refused.to_string(), "revision 1 is not among the last 50");
}

#[test]
fn a_reader_keeps_what_it_has_while_others_change_it() {
    let live = live();
    let before = live.in_force();

    change(&live, with_permits(100));

    assert_eq!(before.revision().n(), 1);
    assert_eq!(before.policy().admissions["http"].permits.most().get(), 200);
    assert_eq!(live.in_force().revision().n(), 2);
}

#[test]
fn a_revision_that_is_kept_elsewhere_comes_in_force_under_its_own_number_and_overrides_go_on() {
    let live = live();
    let told = Arc::new(Told::default());
    live.observe(&told);
    hold(&live, "admissions.http.queue", "7").unwrap();
    told.take();
    let kept = |n, permits| Revision::new("shop", n, with_permits(permits), signed("kept"), at(3));

    live.adopt(kept(7, 150), at(4)).unwrap();

    assert_eq!(told.take(), ["admissions.http.permits 200 150"]);
    let in_force = live.in_force();
    assert_eq!(in_force.revision().n(), 7);
    assert_eq!(in_force.revision().at(), at(3));
    assert_eq!(in_force.overrides().len(), 1);
    let numbers = |live: &LivePolicy| -> Vec<u64> {
        live.history().iter().map(|revision| revision.n()).collect()
    };
    assert_eq!(numbers(&live), [1, 7]);

    // What was put in force here alone has the number of another one there.
    assert_eq!(change(&live, with_permits(180)), 8);
    live.adopt(kept(8, 160), at(5)).unwrap();
    assert_eq!(numbers(&live), [1, 7, 8]);
    assert_eq!(permits(&live), 160);
    assert_eq!(change(&live, with_permits(170)), 9);
}
