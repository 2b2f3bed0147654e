//! The words of a folded text, in scripts with and without spaces between words.

use unicode_normalization::char::is_combining_mark;
use unicode_script::{Script, UnicodeScript};

use super::folding::stands_for_itself;

/// How a script separates its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WordSeparation {
    /// By spaces, as most scripts do.
    Spaced,
    /// By spaces, but what other languages write as short words is attached (Korean). A word of one or two letters is often a
    /// part of what is between two spaces.
    Attached,
    /// Not at all (Chinese, Japanese, Thai, …). Only a dictionary can tell where a word begins, so each letter may begin one.
    Unspaced,
}

impl WordSeparation {
    /// Returns how the script of a character separates words. `None` if it is neither a letter nor a digit.
    pub(super) fn of(character: char) -> Option<Self> {
        // Most text is in these ranges, which need no look into the tables of Unicode: ASCII, ideographs, Korean syllables.
        match character {
            '\0'..='\x7f' => return character.is_ascii_alphanumeric().then_some(Self::Spaced),
            '\u{4e00}'..='\u{9fff}' => return Some(Self::Unspaced),
            '\u{ac00}'..='\u{d7a3}' => return Some(Self::Attached),
            _ if !character.is_alphanumeric() || is_mark(character) => return None,
            _ => {}
        }
        Some(match character.script() {
            Script::Hangul => Self::Attached,
            // Shared by some scripts, such as `ー` by both kinds of kana, or by all.
            Script::Common | Script::Inherited => {
                let scripts = character.script_extension();
                let is_of_some = !scripts.is_common() && !scripts.is_inherited();
                if is_of_some && scripts.iter().any(is_unspaced) { Self::Unspaced } else { Self::Spaced }
            }
            script if is_unspaced(script) => Self::Unspaced,
            _ => Self::Spaced,
        })
    }
}

/// Returns whether a script is written without anything between words.
fn is_unspaced(script: Script) -> bool {
    // The scripts whose lines break between any two letters or by a dictionary (Unicode Standard Annex #14, classes ID and SA), and
    // two that traditionally have no spaces either: Balinese and Javanese.
    matches!(
        script,
        Script::Ahom
            | Script::Balinese
            | Script::Bopomofo
            | Script::Han
            | Script::Hiragana
            | Script::Javanese
            | Script::Katakana
            | Script::Khitan_Small_Script
            | Script::Khmer
            | Script::Lao
            | Script::Myanmar
            | Script::New_Tai_Lue
            | Script::Nushu
            | Script::Tai_Le
            | Script::Tai_Tham
            | Script::Tai_Viet
            | Script::Tangut
            | Script::Thai
            | Script::Yi
    )
}

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
        let (start, separation) = rest.find_map(|(at, letter)| Some((offset + at, WordSeparation::of(letter)?)))?;
        let ends_word = |letter: char| WordSeparation::of(letter) != Some(separation) && !is_mark(letter);
        let end = rest.find(|(_, letter)| ends_word(*letter)).map_or(folded.len(), |(at, _)| offset + at);
        offset = end;
        let is_unspaced = separation == WordSeparation::Unspaced;
        Some(FoldedWord { text: &folded[start..end], offset: start, is_unspaced })
    })
}

/// Returns whether a character is a mark on the letter before it, such as an accent or a tone.
#[must_use]
pub fn is_mark(character: char) -> bool {
    // The first marks of Unicode begin at U+0300.
    character >= '\u{300}' && !stands_for_itself(character) && is_combining_mark(character)
}

/// Returns whether a word can begin at an offset of a folded text, where a letter or digit is.
pub(super) fn begins_word(folded: &str, offset: usize) -> bool {
    let separation = folded[offset..].chars().next().and_then(WordSeparation::of);
    let before = folded[..offset].chars().rev().find(|character| !is_mark(*character)).and_then(WordSeparation::of);
    separation == Some(WordSeparation::Unspaced) || before.is_none() || before != separation
}
