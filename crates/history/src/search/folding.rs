//! Folding of texts, and the conversion of ranges in a folded text to ranges in the original.
//!
//! The folded form is close to the `NFKC_Casefold` of Unicode. It differs in what people type alike: one space for each run of white
//! space, `i` also for the Turkish `İ` and `ı`, and `'` for curly apostrophes. Korean letters that stand alone stay as they are.

use std::ops::Range;

use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

use super::char_facts::{CharFacts, decompose, fold_case};

/// The dot of `İ`, which is `I` with this mark if it is decomposed.
const DOT_ABOVE: char = '\u{307}';

/// Returns the form in which texts are compared.
///
/// - Without case, in every script: `STRASSE` and `straße` are equal.
/// - With one space for each run of white space.
/// - With one form of what Unicode regards as the same text: a letter and its accent in one or two characters, Korean syllables in
///   one character or in letters, full-width and half-width forms, ligatures. Accents count: `é` is not `e`.
#[must_use]
pub fn fold_text(text: &str) -> String {
    let mut folding = Folding::with_capacity(text.len());
    clusters(text).for_each(|cluster| folding.push(cluster));
    folding.text
}

/// Converts ranges in a folded text, ascending by start, to the ranges of whole clusters in `text` that they come from.
pub(super) fn unfold<'a>(text: &str, folded_len: usize, ranges: impl Iterator<Item = &'a mut Range<usize>>) {
    // Equal length in ASCII means that no white space was merged: each byte maps to itself.
    if text.is_ascii() && text.len() == folded_len {
        return;
    }
    // For each cluster its end in the folded text and in the original. The ends ascend, so the cluster at a folded offset is found by
    // binary search. White space that was merged into the white space before it has the same end.
    let mut folding = Folding::with_capacity(folded_len);
    let mut end = 0;
    let ends = clusters(text).map(|cluster| {
        folding.push(cluster);
        let start = end;
        end += cluster.len();
        (folding.text.len(), start..end)
    });
    let ends: Vec<_> = ends.collect();
    let cluster = |folded_offset: usize| {
        let index = ends.partition_point(|(end, _)| *end <= folded_offset);
        ends.get(index).map_or(text.len()..text.len(), |(_, range)| range.clone())
    };
    for range in ranges {
        *range = cluster(range.start).start..cluster(range.end.saturating_sub(1)).end;
    }
}

/// Splits a text into clusters: a character, and the characters behind it that can be composed or reordered with it. Each cluster
/// can be normalized by itself.
fn clusters(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        // Nearly all text is ASCII, and no ASCII character continues a cluster.
        let end = match rest.as_bytes() {
            [] => return None,
            [first] | [first, 0..0x80, ..] if first.is_ascii() => 1,
            _ => {
                let mut later = rest.char_indices().skip(1);
                later
                    .find(|(_, character)| !CharFacts::of(*character).continues_cluster())
                    .map_or(rest.len(), |(end, _)| end)
            }
        };
        let (cluster, after) = rest.split_at(end);
        rest = after;
        Some(cluster)
    })
}

/// A folded text that grows by one cluster at a time.
struct Folding {
    text: String,
    is_after_space: bool,
    /// Memory that the clusters reuse.
    buffer: String,
}

impl Folding {
    fn with_capacity(bytes: usize) -> Self {
        Self { text: String::with_capacity(bytes), is_after_space: false, buffer: String::new() }
    }

    fn push(&mut self, cluster: &str) {
        if let [byte] = cluster.as_bytes() {
            self.push_char(char::from(byte.to_ascii_lowercase()));
            return;
        }
        // Most clusters are normalized already, and each of their characters has one without case.
        let mut characters = cluster.chars();
        let first = characters.next().and_then(|character| CharFacts::of(character).simple_fold());
        if let Some(first) = first
            && characters.as_str().is_empty()
        {
            self.push_char(first);
            return;
        }
        let is_simple = || cluster.chars().all(|character| CharFacts::of(character).simple_fold().is_some());
        if is_nfkc_quick(cluster.chars()) == IsNormalized::Yes && is_simple() {
            cluster
                .chars()
                .filter_map(|character| CharFacts::of(character).simple_fold())
                .for_each(|c| self.push_char(c));
            return;
        }
        // Case is folded between decomposition and composition: `Ϊ́` has no composed form, and `ΐ` has one.
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut base = '\0';
        for character in cluster.chars() {
            decompose(character, |part| {
                for folded in fold_case(part) {
                    if canonical_combining_class(folded) == 0 {
                        base = folded;
                    }
                    // An `i` has its dot anyway.
                    if (base, folded) != ('i', DOT_ABOVE) {
                        buffer.push(folded);
                    }
                }
            });
        }
        for character in buffer.nfc() {
            self.push_char(character);
        }
        self.buffer = buffer;
    }

    /// Appends a folded character, or merges it into the white space before it.
    fn push_char(&mut self, character: char) {
        let is_space = character.is_whitespace();
        match character {
            _ if is_space && self.is_after_space => {}
            _ if is_space => self.text.push(' '),
            '\u{2018}' | '\u{2019}' => self.text.push('\''),
            _ => self.text.push(character),
        }
        self.is_after_space = is_space;
    }
}
