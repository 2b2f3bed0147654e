//! How much of an id tells it apart from others: short ids for people.

use crate::ThreadId;

/// How many characters of an id are shown at least.
const SHORTEST: usize = 8;

/// Where the groups of hexadecimal digits end in the text of an id. A prefix that ends with a group is easier to read and to
/// select than one that ends within it.
const GROUP_ENDS: [usize; 5] = [8, 13, 18, 23, 36];

/// Returns how many characters of their texts tell the ids `shown` apart from each other and from `others`: the end of a
/// group of digits, at least 8. `others` may come in any order and may hold the shown ids.
///
/// Of all others, the one that shares the longest prefix with an id is a neighbour of it in the order of ids. So a store
/// with an ordered index need not give all ids: the two neighbours of each shown one are enough.
#[must_use]
pub fn distinct_prefix_len(shown: &[ThreadId], others: impl IntoIterator<Item = ThreadId>) -> usize {
    let mut shown = shown.to_vec();
    shown.sort_unstable();
    shown.dedup();
    let among_shown = shown.windows(2).map(|pair| common_digits(pair[0], pair[1])).max();
    let with_others = others.into_iter().filter_map(|other| {
        let at = shown.binary_search(&other).err()?;
        let beside = [at.checked_sub(1), Some(at)].into_iter().flatten().filter_map(|at| shown.get(at));
        beside.map(|id| common_digits(*id, other)).max()
    });
    let longest = with_others.max().max(among_shown).unwrap_or(0);
    let needed = text_len(longest + 1).max(SHORTEST);
    GROUP_ENDS.into_iter().find(|end| *end >= needed).unwrap_or(36)
}

/// How many hexadecimal digits two ids have in common at the beginning.
fn common_digits(one: ThreadId, other: ThreadId) -> usize {
    let differing = one.as_uuid().as_u128() ^ other.as_uuid().as_u128();
    differing.leading_zeros() as usize / 4
}

/// How long the text of so many digits is with the hyphens between its groups.
fn text_len(digits: usize) -> usize {
    digits + [8, 12, 16, 20].into_iter().filter(|end| digits > *end).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ThreadId {
        text.parse().unwrap()
    }

    const A: &str = "01a1fd5d-aacb-7641-837d-630af077ebd5";

    #[test]
    fn the_end_of_a_group_that_tells_all_apart() {
        let others = [
            ("f1a1fd5d-aacb-7641-837d-630af077ebd5", 8),
            ("01a1fd5e-aacb-7641-837d-630af077ebd5", 8),
            ("01a1fd5d-bacb-7641-837d-630af077ebd5", 13),
            ("01a1fd5d-aacc-7641-837d-630af077ebd5", 13),
            ("01a1fd5d-aacb-7642-837d-630af077ebd5", 18),
            ("01a1fd5d-aacb-7641-837e-630af077ebd5", 23),
            ("01a1fd5d-aacb-7641-837d-630af077ebd6", 36),
            (A, 8),
        ];
        for (other, expected) in others {
            assert_eq!(distinct_prefix_len(&[id(A)], [id(other)]), expected, "{other}");
            assert_eq!(distinct_prefix_len(&[id(A), id(other)], []), expected, "{other}");
        }
        assert_eq!(distinct_prefix_len(&[], [id(A)]), 8);
    }

    #[test]
    fn neighbours_are_enough() {
        let all: Vec<ThreadId> =
            (0..2000_u128).map(|n| ThreadId::from_uuid(uuid::Uuid::from_u128(((n * n * 7) << 90) | n))).collect();
        let mut sorted = all.clone();
        sorted.sort_unstable();
        for at in (1..sorted.len() - 1).step_by(97) {
            let shown = [sorted[at]];
            let neighbours = [sorted[at - 1], sorted[at + 1]];
            assert_eq!(distinct_prefix_len(&shown, all.clone()), distinct_prefix_len(&shown, neighbours));
        }
    }
}
