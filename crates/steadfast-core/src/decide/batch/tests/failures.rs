//! Bad rows are found and given up, and the circuit opens when there are too many.

use std::collections::BTreeSet;

use super::*;

/// Gives the rows in the order in which they were decided, those given up, and the transactions.
fn search(rows: usize, bad: &BTreeSet<usize>) -> (Vec<usize>, BTreeSet<usize>, u32) {
    let mut search = Search::new(rows);
    let (mut seen, mut given_up) = (Vec::new(), BTreeSet::new());
    while let Some(part) = search.next() {
        match search.ended(!part.clone().any(|row| bad.contains(&row))) {
            Tried::Written => seen.extend(part),
            Tried::Halved => assert!(part.len() > 1),
            Tried::Bad(row) => {
                seen.push(row);
                given_up.insert(row);
            }
        }
    }
    (seen, given_up, search.transactions())
}

#[test]
fn one_bad_row_is_found_by_twice_the_halvings_wherever_it_is() {
    for rows in 2..=256_usize {
        let most = 2 * f64::from(rows as u32).log2().ceil() as u32;
        for bad in 0..rows {
            let (_, given_up, transactions) = search(rows, &[bad].into());
            assert_eq!(given_up, [bad].into());
            assert!(
                transactions <= most,
                "{bad} of {rows}: {transactions}, at most {most}"
            );
        }
    }
}

#[test]
fn rows_that_fail_only_together_are_all_written() {
    let mut search = Search::new(16);
    let mut written = 0;

    // Rows 3 and 12 exclude each other within one transaction, and are fine apart.
    while let Some(part) = search.next() {
        let together = part.contains(&3) && part.contains(&12);
        assert!(!matches!(search.ended(!together), Tried::Bad(_)));
        written += if together { 0 } else { part.len() };
    }

    assert_eq!(written, 16);
}

#[test]
fn what_a_search_has_not_decided_is_told_in_order() {
    let mut search = Search::new(8);
    let tried = search.next().unwrap();
    assert_eq!(tried, 0..4);
    search.ended(true);

    assert_eq!(search.undecided().collect::<Vec<_>>(), [4, 5, 6, 7]);
}

proptest! {
    #[test]
    fn a_search_writes_each_good_row_once_in_order_and_gives_up_the_bad_ones(
        rows in 1usize..300,
        bad in prop::collection::btree_set(0usize..300, 0..12),
    ) {
        let bad: BTreeSet<_> = bad.into_iter().filter(|row| *row < rows).collect();
        let (seen, given_up, transactions) = search(rows, &bad);

        let all: Vec<_> = (0..rows).collect();
        prop_assert_eq!(seen, all);
        prop_assert_eq!(&given_up, &bad);
        let halvings = f64::from(rows as u32).log2().ceil() as usize;
        let most = 2 * halvings * bad.len().max(1);
        prop_assert!(rows == 1 || transactions as usize <= most, "{transactions} of {most}");
    }
}

#[test]
fn a_circuit_opens_after_bad_rows_in_a_row_and_tries_one_after_each_wait() {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1)).unwrap();
    let mut circuit = Circuit::new(2, backoff.with_jitter(Jitter::None));

    assert!(!circuit.bad(0, 0));
    circuit.written();
    assert!(
        !circuit.bad(0, 0),
        "a written row in between starts the count anew"
    );
    assert!(circuit.bad(0, 0));
    assert_eq!(circuit.state(99 * MS), CircuitState::Open(100 * MS));
    assert_eq!(circuit.state(100 * MS), CircuitState::HalfOpen(1));

    assert!(circuit.bad(100 * MS, 0));
    assert_eq!(circuit.state(101 * MS), CircuitState::Open(300 * MS));
    assert_eq!(circuit.state(300 * MS), CircuitState::HalfOpen(2));
    circuit.written();
    assert!(circuit.state(300 * MS).is_closed());
    circuit.open(400 * MS, 0);
    assert_eq!(circuit.state(400 * MS), CircuitState::Open(500 * MS));
    let tried = (0..6).map(|_| {
        let CircuitState::HalfOpen(rows) = circuit.state(u64::MAX) else {
            panic!("it is half-open by then");
        };
        circuit.open(400 * MS, 0);
        rows
    });
    assert_eq!(tried.collect::<Vec<_>>(), [1, 2, 4, 8, 16, 16]);
}
