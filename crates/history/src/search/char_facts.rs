//! What a search needs to know about a character, from the tables of Unicode.
//!
//! Each of these facts takes several look-ups, and texts in other scripts than Latin need them for each character. So they are
//! computed once for each character of the Basic Multilingual Plane, where all but a few letters are.

use std::sync::atomic::{AtomicU32, Ordering};

use unicode_normalization::char::{canonical_combining_class, decompose_compatible, is_combining_mark};
use unicode_normalization::{IsNormalized, is_nfc_quick, is_nfkc_quick};
use unicode_script::{Script, UnicodeScript};

/// The facts of the characters that were asked for; 0 for others. Several threads may compute the same one.
static KNOWN: [AtomicU32; 0x1_0000] = [const { AtomicU32::new(0) }; 0x1_0000];

/// The facts of a character.
///
/// ```text
/// bits 0…20:  the character without case
/// bit 21:     whether that is all of its folded form
/// bit 22:     whether it continues a cluster
/// bit 23:     whether it is a mark
/// bits 24…25: how its script separates words, 0 for neither letter nor digit
/// bit 31:     always set
/// ```
#[derive(Clone, Copy, Debug)]
pub(super) struct CharFacts(u32);

impl CharFacts {
    pub(super) fn of(character: char) -> Self {
        let Some(known) = KNOWN.get(character as usize) else { return Self::compute(character) };
        // The number is complete by itself, so that no order with other memory is needed.
        match known.load(Ordering::Relaxed) {
            0 => {
                let facts = Self::compute(character);
                known.store(facts.0, Ordering::Relaxed);
                facts
            }
            facts => Self(facts),
        }
    }

    fn compute(character: char) -> Self {
        let folded = compute_simple_fold(character);
        let separation = match WordSeparation::of(character) {
            None => 0,
            Some(WordSeparation::Spaced) => 1,
            Some(WordSeparation::Attached) => 2,
            Some(WordSeparation::Unspaced) => 3,
        };
        Self(
            folded.map_or(0, u32::from)
                | u32::from(folded.is_some()) << 21
                | u32::from(compute_continues_cluster(character)) << 22
                | u32::from(is_combining_mark(character)) << 23
                | separation << 24
                | 1 << 31,
        )
    }

    /// Returns the folded form of the character, if it is one character, and the character is composed already.
    pub(super) fn simple_fold(self) -> Option<char> {
        char::from_u32(self.0 & 0x1f_ffff).filter(|_| self.has(21))
    }

    /// Returns whether the character can be composed with the one before it, or changes its place in the canonical order.
    pub(super) fn continues_cluster(self) -> bool {
        self.has(22)
    }

    /// Returns whether the character is a mark on the letter before it, such as an accent or a tone.
    pub(super) fn is_mark(self) -> bool {
        self.has(23)
    }

    /// Returns how the script of the character separates words. `None` if it is neither a letter nor a digit.
    pub(super) fn separation(self) -> Option<WordSeparation> {
        match self.0 >> 24 & 3 {
            0 => None,
            1 => Some(WordSeparation::Spaced),
            2 => Some(WordSeparation::Attached),
            _ => Some(WordSeparation::Unspaced),
        }
    }

    fn has(self, bit: u32) -> bool {
        self.0 >> bit & 1 != 0
    }
}

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
    fn of(character: char) -> Option<Self> {
        if !character.is_alphanumeric() || is_combining_mark(character) {
            return None;
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

/// Decomposes a character into those that Unicode regards as the same text, in every form (NFKD).
pub(super) fn decompose(character: char, emit: impl FnMut(char)) {
    // Korean letters that stand alone (`ㅠㅠ`) would become parts of syllables, and join the syllable before them.
    let stands_alone = matches!(character, '\u{3131}'..='\u{318e}' | '\u{ffa0}'..='\u{ffdc}');
    let mut emit = emit;
    if stands_alone { emit(character) } else { decompose_compatible(character, emit) }
}

/// Returns a character without case. The result may be longer or shorter than the character.
pub(super) fn fold_case(character: char) -> impl Iterator<Item = char> {
    // One conversion is not enough: only lower, upper, lower gives `ẞ`, `ß` and `SS` the same result, and so `ς`, `σ` and `Σ`.
    character.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

fn compute_simple_fold(character: char) -> Option<char> {
    let is_composed = is_nfkc_quick([character].into_iter()) == IsNormalized::Yes;
    let mut folded = fold_case(character);
    let first = folded.next()?;
    (is_composed && folded.next().is_none()).then_some(first)
}

fn compute_continues_cluster(character: char) -> bool {
    let mut first = None;
    decompose(character, |part| first = first.or(Some(part)));
    first.is_some_and(|first| {
        canonical_combining_class(first) != 0 || is_nfc_quick([first].into_iter()) == IsNormalized::Maybe
    })
}
