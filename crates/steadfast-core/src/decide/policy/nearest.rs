//! The name that was probably meant.

/// Returns the known name that is nearest to a given one, if any is near enough to be meant.
///
/// Near enough is a distance of a third of the letters, and at least one: a letter too many, one
/// missing, one other, or two neighbors swapped, each counts one.
pub fn nearest_name<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (given.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (distance(given, name), name))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, name)| name)
}

/// The optimal string alignment distance, by three rows of its table.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_if_it_is_near() {
        let check = |given, known: &[&'static str], expect| {
            assert_eq!(
                nearest_name(given, known.iter().copied()),
                expect,
                "{given}"
            );
        };

        check("fsat", &["slow", "fast"], Some("fast"));
        check("paymnets", &["payments", "payouts"], Some("payments"));
        check("f", &["g"], Some("g"));
        check("fast", &["slow", "live"], None);
        check("fast", &[], None);
        check("default", &["defaults", "default2"], Some("default2"));
    }

    #[test]
    fn each_slip_counts_one() {
        let check = |a, b, expect| {
            assert_eq!(distance(a, b), expect, "{a} {b}");
            assert_eq!(distance(b, a), expect, "{b} {a}");
        };

        check("", "", 0);
        check("", "abc", 3);
        check("abc", "abc", 0);
        check("abc", "abd", 1);
        check("abc", "ab", 1);
        check("abc", "acb", 1);
        check("abcd", "badc", 2);
        check("größe", "grösse", 2);
    }
}
