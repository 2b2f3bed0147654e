//! The words of a folded text, in scripts with and without spaces between words.

use super::char_facts::{CharFacts, WordSeparation};

/// A word of a folded text: letters and digits, with the marks on them.
///
/// A word ends where the script changes to one that separates words in another way: `第3章` is three words. In a script without
/// spaces, a word is all letters up to the next other character, and each of them may begin what a person calls a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoldedWord<'a> {
    /// The word.
    pub text: &'a str,
    /// Where it begins in the folded text, in bytes.
    pub offset: usize,
    /// Whether it is of a script without spaces between words.
    pub is_unspaced: bool,
}

/// Returns the words of a folded text in their order.
///
/// Marks that follow no letter or digit belong to no word.
pub fn folded_words(folded: &str) -> impl Iterator<Item = FoldedWord<'_>> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        let mut rest = folded[offset..].char_indices();
        let (start, separation) = rest.find_map(|(at, letter)| Some((offset + at, separation_of(letter)?)))?;
        let ends_word = |letter: char| separation_of(letter) != Some(separation) && !is_mark(letter);
        let end = rest.find(|(_, letter)| ends_word(*letter)).map_or(folded.len(), |(at, _)| offset + at);
        offset = end;
        let is_unspaced = separation == WordSeparation::Unspaced;
        Some(FoldedWord { text: &folded[start..end], offset: start, is_unspaced })
    })
}

/// Returns whether a character is a mark on the letter before it, such as an accent or a tone.
#[must_use]
pub fn is_mark(character: char) -> bool {
    CharFacts::of(character).is_mark()
}

/// Returns whether a word can begin at an offset of a folded text, where a letter or digit is.
pub(super) fn begins_word(folded: &str, offset: usize) -> bool {
    let separation = folded[offset..].chars().next().and_then(separation_of);
    let before = folded[..offset].chars().rev().find(|character| !is_mark(*character)).and_then(separation_of);
    separation == Some(WordSeparation::Unspaced) || before.is_none() || before != separation
}

/// Returns how the script of a character separates words. `None` if it is neither a letter nor a digit.
pub(super) fn separation_of(character: char) -> Option<WordSeparation> {
    CharFacts::of(character).separation()
}
