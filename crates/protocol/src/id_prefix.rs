//! Short ids for people: how long a prefix must be to identify a thread.

use crate::ThreadId;

/// The shortest prefix that is shown, in characters.
const MIN_PREFIX_LEN: usize = 8;

/// The lengths of a thread id's text at which a group of hexadecimal digits ends. A prefix that ends with a group is
/// easier to read and to select than one that ends within it.
const GROUP_ENDS: [usize; 5] = [8, 13, 18, 23, 36];

/// Returns the length of the prefix, in characters, that distinguishes the ids `shown` from each other and from
/// `others`.
///
/// All shown ids get the same length. It is at least 8 and ends with a group of digits. `others` can come in any order
/// and can contain the shown ids.
///
/// `others` need not contain all ids of a store. The id that shares the longest prefix with a shown id is always one of
/// its neighbours in the sort order. So a store with an ordered index passes the two neighbours of each shown id.
///
/// ```
/// use selvedge_protocol::{ThreadId, distinct_prefix_len};
///
/// let shown: ThreadId = "01a1fd5d-aacb-7641-837d-630af077ebd5".parse()?;
/// let other: ThreadId = "01a1fd5d-bbbb-7641-837d-630af077ebd5".parse()?;
/// assert_eq!(distinct_prefix_len(&[shown], []), 8); // 01a1fd5d
/// assert_eq!(distinct_prefix_len(&[shown], [other]), 13); // 01a1fd5d-aacb
/// # Ok::<(), selvedge_protocol::IdError>(())
/// ```
#[must_use]
pub fn distinct_prefix_len(shown: &[ThreadId], others: impl IntoIterator<Item = ThreadId>) -> usize {
    let mut shown = shown.to_vec();
    shown.sort_unstable();
    shown.dedup();
    // In sorted order, the longest common prefix of any two ids is that of two neighbours. So each id is compared with
    // its neighbours only: the shown ids among themselves, and each other id with the shown ids beside its position.
    let among_shown = shown.windows(2).map(|pair| common_digits(pair[0], pair[1])).max();
    let with_others = others.into_iter().filter_map(|other| {
        // `Ok` means that `other` is itself a shown id, from which nothing has to distinguish it.
        let at = shown.binary_search(&other).err()?;
        let beside = [at.checked_sub(1), Some(at)].into_iter().flatten().filter_map(|at| shown.get(at));
        beside.map(|id| common_digits(*id, other)).max()
    });
    let longest = with_others.max().max(among_shown).unwrap_or(0);
    // One digit more than the longest common prefix, rounded up to the end of a group.
    let needed = text_len(longest + 1).max(MIN_PREFIX_LEN);
    GROUP_ENDS.into_iter().find(|end| *end >= needed).unwrap_or(36)
}

/// Returns the number of leading hexadecimal digits that two ids have in common.
fn common_digits(one: ThreadId, other: ThreadId) -> usize {
    let differing = one.as_uuid().as_u128() ^ other.as_uuid().as_u128();
    // Four bits make a digit.
    differing.leading_zeros() as usize / 4
}

/// Returns the length of the text of the first `digits` digits, with the hyphens between its groups.
fn text_len(digits: usize) -> usize {
    // The groups have 8, 4, 4, 4 and 12 digits; a hyphen counts only if a digit follows it.
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
    fn the_prefix_ends_with_the_group_that_distinguishes_all_ids() {
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
    fn the_neighbours_of_a_shown_id_determine_the_length() {
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
