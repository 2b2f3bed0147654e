//! Case folding, and the conversion of ranges in a folded text to ranges in the original.

use std::ops::Range;

/// Returns the form in which texts are compared: without case, and with one space for each run of white space.
#[must_use]
pub fn fold_text(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut is_after_space = false;
    for character in text.chars() {
        let is_space = character.is_whitespace();
        match character {
            _ if is_space && is_after_space => {}
            _ if is_space => folded.push(' '),
            _ if character.is_ascii() => folded.push(character.to_ascii_lowercase()),
            _ => folded.extend(fold_char(character)),
        }
        is_after_space = is_space;
    }
    folded
}

/// Returns a character without case. The result may be longer or shorter than the character.
fn fold_char(character: char) -> impl Iterator<Item = char> {
    // One conversion is not enough: only lower, upper, lower gives `ẞ`, `ß` and `SS` the same result, and so `ς`, `σ` and `Σ`.
    character.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// Converts ranges in a folded text, ascending by start, to the ranges of whole characters in `text` that they come from.
pub(super) fn unfold<'a>(text: &str, folded_len: usize, ranges: impl Iterator<Item = &'a mut Range<usize>>) {
    // Equal length in ASCII means that no white space was merged: each byte maps to itself.
    if text.is_ascii() && text.len() == folded_len {
        return;
    }
    // For each character its end in the folded text, and its range in the original. The ends ascend, so the character at
    // a folded offset is found by binary search. White space that was merged into the white space before it has the same end.
    let mut folded_end = 0;
    let mut is_after_space = false;
    let ends = text.char_indices().map(|(start, character)| {
        let is_space = character.is_whitespace();
        folded_end += match is_space {
            true => usize::from(!is_after_space),
            false => fold_char(character).map(char::len_utf8).sum(),
        };
        is_after_space = is_space;
        (folded_end, start..start + character.len_utf8())
    });
    let ends: Vec<_> = ends.collect();
    let character = |folded_offset: usize| {
        let index = ends.partition_point(|(end, _)| *end <= folded_offset);
        ends.get(index).map_or(text.len()..text.len(), |(_, range)| range.clone())
    };
    for range in ranges {
        *range = character(range.start).start..character(range.end.saturating_sub(1)).end;
    }
}
