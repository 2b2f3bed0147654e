//! Numbers with what they count: `1 thread`, `2 threads`.

use std::fmt::Display;

/// Returns a number with a noun, in the plural unless the number is 1. The plural of the noun ends with `s`.
pub(crate) fn counted<N: Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let ending = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn only_one_is_singular() {
        assert_eq!([0, 1, 2].map(|count: usize| counted(count, "turn")), ["0 turns", "1 turn", "2 turns"]);
    }
}
