//! The terms of a search, and where they occur in a text.

use std::ops::Range;

use super::char_facts::WordSeparation;
use super::folding::{fold_text, unfold};
use super::words::{begins_word, separation_of};

/// A term with fewer characters, outside of quotes, matches only at the start of a word, if its script has spaces between words.
const MIN_ANYWHERE_CHARS: usize = 3;

/// Maximum number of matches in one text that are considered for a snippet.
const MAX_MATCHES: usize = 256;

/// A term of a search, folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchTerm {
    /// Matches anywhere.
    Anywhere(String),
    /// Matches where a word starts: a letter or digit at the beginning of the text, after another character, or after a letter of
    /// a script that separates words in another way ([`FoldedWord`](super::FoldedWord)).
    WordStart(String),
}

/// A range of a text where a term occurs.
pub(super) struct TermMatch {
    pub(super) range: Range<usize>,
    /// Index of the term.
    pub(super) term: usize,
}

impl SearchTerm {
    /// Returns the folded text of the term.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Anywhere(text) | Self::WordStart(text) => text,
        }
    }

    /// Creates a term from a word outside of quotes. A `*` at its end restricts it to word starts, as does a short length.
    ///
    /// Both mean something only where words have a start. A term that starts with neither letter nor digit matches anywhere,
    /// because it starts no word of a text; so does a term that starts with a letter of a script without spaces between
    /// words. A short term with such a letter, or with a Korean one, is a whole word, and matches anywhere as well.
    fn from_word(word: &str) -> Self {
        let stem = word.strip_suffix('*').filter(|stem| !stem.is_empty());
        let text = fold_text(stem.unwrap_or(word));
        let is_short = text.chars().nth(MIN_ANYWHERE_CHARS - 1).is_none();
        let asks_for_word_start = stem.is_some()
            || is_short && text.chars().filter_map(separation_of).all(|letter| letter == WordSeparation::Spaced);
        let first = text.chars().next().and_then(separation_of);
        let starts_words = first.is_some_and(|first| first != WordSeparation::Unspaced);
        if asks_for_word_start && starts_words { Self::WordStart(text) } else { Self::Anywhere(text) }
    }

    /// Returns where the term occurs in a folded text. The ranges do not overlap.
    pub(super) fn matches(&self, folded: &str) -> impl Iterator<Item = Range<usize>> {
        let term = self.text();
        let mut from = 0;
        std::iter::from_fn(move || {
            loop {
                let start = from + folded.get(from..)?.find(term)?;
                let end = start + term.len();
                if matches!(self, Self::Anywhere(_)) || begins_word(folded, start) {
                    from = end;
                    return Some(start..end);
                }
                // The match was rejected, but one that overlaps it may start a word.
                from = start + folded[start..].chars().next().map_or(1, char::len_utf8);
            }
        })
    }
}

/// Parses the text of a search: words, and phrases in double quotes. In a phrase, `""` is one quote.
pub(super) fn parse(text: &str) -> Vec<SearchTerm> {
    let mut terms = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (phrase, after) = parse_phrase(quoted);
            rest = after;
            if !phrase.trim().is_empty() {
                terms.push(SearchTerm::Anywhere(fold_text(&phrase)));
            }
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            terms.push(SearchTerm::from_word(&rest[..end]));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    terms
}

/// Returns the phrase after an opening quote, and the text after its closing quote. A phrase without a closing quote ends with
/// the text.
fn parse_phrase(quoted: &str) -> (String, &str) {
    let mut phrase = String::new();
    let mut rest = quoted;
    while let Some(quote) = rest.find('"') {
        phrase.push_str(&rest[..quote]);
        rest = &rest[quote + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                phrase.push('"');
                rest = after;
            }
            None => return (phrase, rest),
        }
    }
    phrase.push_str(rest);
    (phrase, "")
}

/// Returns where the terms occur in a text, ascending by start, as ranges of the original text: at most
/// [`MAX_MATCHES`], the first ones of each term.
pub(super) fn find_matches(terms: &[SearchTerm], text: &str) -> Vec<TermMatch> {
    let folded = fold_text(text);
    // Each term gets an equal part of the limit, so that a frequent one cannot hide the others.
    let per_term = (MAX_MATCHES / terms.len()).max(1);
    let mut found: Vec<TermMatch> = Vec::new();
    for (index, term) in terms.iter().enumerate() {
        found.extend(term.matches(&folded).take(per_term).map(|range| TermMatch { range, term: index }));
    }
    found.sort_by_key(|found| (found.range.start, found.range.end));
    found.truncate(MAX_MATCHES);
    unfold(text, folded.len(), found.iter_mut().map(|found| &mut found.range));
    found
}
