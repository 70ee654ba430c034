//! Which cell a value belongs to, and how large the values of a cell are.
//!
//! Cells are equally wide within an octave and twice as wide in the next one: the leading
//! [`SUB_BITS`] + 1 bits of a value are its cell, so finding it takes a shift and no logarithm.

use super::Sketch;

/// Values are counted in units of 64 ns, which no caller of a clock can tell apart.
const UNIT_BITS: u32 = 6;

/// 32 cells an octave, so that a cell is at most 1/32 wider than its smallest value.
const SUB_BITS: u32 = 5;
const SUB: u64 = 1 << SUB_BITS;

/// Values from 2^37 ns on count into the last cell.
const RANGE_BITS: u32 = 37;

/// The number of cells: one octave's worth below the first full octave, then one for each.
pub(super) const CELLS: usize = ((RANGE_BITS - UNIT_BITS - SUB_BITS + 1) << SUB_BITS) as usize;

const _: () = assert!(Sketch::LONGEST_NS == (1 << RANGE_BITS) - 1);
const _: () = assert!(Sketch::SHORTEST_NS == 1 << (UNIT_BITS + SUB_BITS));

/// Returns the cell of a value, which is below [`CELLS`].
pub(super) fn cell_of(value_ns: u64) -> usize {
    let units = value_ns.min(Sketch::LONGEST_NS) >> UNIT_BITS;
    if units < SUB {
        return units as usize;
    }
    let shift = units.ilog2() - SUB_BITS;
    let within = (units >> shift) - SUB;
    (u64::from(shift + 1) * SUB + within) as usize
}

/// Returns the largest value that belongs to a cell.
pub(super) fn upper_of(cell: usize) -> u64 {
    let cell = cell as u64;
    let end_units = if cell < SUB {
        cell + 1
    } else {
        (SUB + cell % SUB + 1) << (cell / SUB - 1)
    };
    (end_units << UNIT_BITS) - 1
}

#[cfg(all(test, not(steadfast_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cells_follow_each_other_without_gap_or_overlap() {
        for cell in 0..CELLS {
            assert_eq!(cell_of(upper_of(cell)), cell);
            if cell + 1 < CELLS {
                assert_eq!(cell_of(upper_of(cell) + 1), cell + 1);
            }
        }
        assert_eq!(cell_of(0), 0);
        assert_eq!(upper_of(CELLS - 1), Sketch::LONGEST_NS);
        assert_eq!(cell_of(u64::MAX), CELLS - 1);
    }

    proptest! {
        #[test]
        fn a_value_is_overstated_by_at_most_the_promised_part(
            value in Sketch::SHORTEST_NS..=Sketch::LONGEST_NS,
        ) {
            let upper = upper_of(cell_of(value));

            prop_assert!(upper >= value);
            prop_assert!((upper - value) as f64 <= value as f64 * Sketch::RELATIVE_ERROR);
        }

        #[test]
        fn a_short_value_is_overstated_by_less_than_a_unit(value in 0..Sketch::SHORTEST_NS) {
            let upper = upper_of(cell_of(value));

            prop_assert!(upper >= value && upper - value < 1 << UNIT_BITS);
        }
    }
}
