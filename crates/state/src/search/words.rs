//! Splits texts into the words that are indexed, and search terms into patterns of words.
//!
//! A word is a sequence of letters and digits of the folded text, as in [`SearchTerm`]. Of a word that is longer than [`LONGEST`]
//! characters, overlapping pieces are indexed. They begin [`PIECE`] characters apart, so that any [`PIECE`] consecutive
//! characters of the word are within one of them:
//!
//! ```text
//! word of 130:   0                                                            130
//! pieces:        ├─────────────┤ 64
//!                       ├─────────────┤
//!                32     └──── 64 ─────┘ …
//! ```

use selvedge_history::{SearchTerm, fold_text};

/// The longest word that is indexed as one, in characters.
pub(crate) const LONGEST: usize = 64;

/// The distance in characters at which the pieces of a longer word begin. The pattern of a part of a word is never longer, so
/// that it is within one piece.
pub(crate) const PIECE: usize = 32;

/// Calls `take` with each word of a text. `buffer` is memory that the calls reuse.
pub(crate) fn for_each_word(text: &str, buffer: &mut Vec<u8>, mut take: impl FnMut(&[u8])) {
    // Nearly all text is ASCII, which needs no folding and no allocation.
    if !text.is_ascii() {
        let folded = fold_text(text);
        folded.split(|c: char| !c.is_alphanumeric()).for_each(|word| pieces(word, &mut take));
        return;
    }
    let mut end_word = |buffer: &mut Vec<u8>| {
        match buffer.len() {
            0 => {}
            1..=LONGEST => take(buffer),
            // Lossless: the buffer holds ASCII.
            _ => pieces(&String::from_utf8_lossy(buffer), &mut take),
        }
        buffer.clear();
    };
    buffer.clear();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            buffer.push(byte.to_ascii_lowercase());
        } else {
            end_word(buffer);
        }
    }
    end_word(buffer);
}

/// Calls `take` with a word, or with its pieces if it is too long.
fn pieces(word: &str, take: &mut impl FnMut(&[u8])) {
    if word.is_empty() {
        return;
    }
    // Offsets are counted in characters, because a piece must not cut one in two.
    let mut rest = word;
    loop {
        let end = rest.char_indices().nth(LONGEST).map_or(rest.len(), |(at, _)| at);
        take(&rest.as_bytes()[..end]);
        if end == rest.len() {
            return;
        }
        rest = &rest[rest.char_indices().nth(PIECE).map_or(rest.len(), |(at, _)| at)..];
    }
}

/// Which indexed words can be part of a match of a term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WordPattern {
    /// This word.
    Exactly(String),
    /// Words that begin with this.
    Beginning(String),
    /// Words that end with this.
    Ending(String),
    /// Words that contain this.
    Containing(String),
}

impl WordPattern {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Exactly(text) | Self::Beginning(text) | Self::Ending(text) | Self::Containing(text) => text,
        }
    }

    pub(crate) fn matches(&self, word: &[u8]) -> bool {
        match self {
            Self::Exactly(text) => word == text.as_bytes(),
            Self::Beginning(text) => word.starts_with(text.as_bytes()),
            Self::Ending(text) => word.ends_with(text.as_bytes()),
            Self::Containing(text) => memchr::memmem::find(word, text.as_bytes()).is_some(),
        }
    }
}

/// Returns the patterns that the words of an item must match if the item contains the terms: one for each word of each term.
/// `None` if the terms determine too little of any word.
pub(crate) fn patterns(terms: &[SearchTerm]) -> Option<Vec<WordPattern>> {
    // A term is text, and need not begin or end where a word does. Within the term, words are complete. Its first word can be the
    // end of a longer word, and its last word the beginning of one:
    //
    // term `src/main.rs`:   Ending("src")  Exactly("main")  Beginning("rs")
    // term `loom`:          Containing("loom")
    let mut patterns: Vec<WordPattern> = Vec::new();
    for term in terms {
        let text = term.text();
        // Offset of the next word in the term.
        let mut offset = 0;
        for word in text.split(|c: char| !c.is_alphanumeric()) {
            // Only at the ends of the term can more letters follow or precede.
            let may_go_on = offset + word.len() == text.len();
            let may_begin_before = offset == 0 && matches!(term, SearchTerm::Anywhere(_));
            offset += word.len() + text[offset + word.len()..].chars().next().map_or(0, char::len_utf8);
            patterns.extend(pattern(word, may_begin_before, may_go_on).filter(|found| !patterns.contains(found)));
        }
    }
    (!patterns.is_empty()).then_some(patterns)
}

/// Returns the pattern of a word of a term. `None` if it determines too little.
fn pattern(word: &str, may_begin_before: bool, may_go_on: bool) -> Option<WordPattern> {
    let len = word.chars().count();
    let first = || word.chars().take(PIECE).collect::<String>();
    let last = || word.chars().skip(len.saturating_sub(PIECE)).collect::<String>();
    Some(match (may_begin_before, may_go_on) {
        _ if len == 0 => return None,
        // A trigram filter cannot help here: nearly every block has such a word.
        (true, _) if len < 3 => return None,
        // Long words are indexed in pieces, so that a pattern may be no longer than what one piece surely has.
        (true, true) => WordPattern::Containing(first()),
        (true, false) => WordPattern::Ending(last()),
        (false, true) => WordPattern::Beginning(first()),
        // A whole word that was indexed in pieces: the first piece begins like it.
        (false, false) if len > LONGEST => WordPattern::Beginning(first()),
        (false, false) => WordPattern::Exactly(word.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use selvedge_history::TextSearch;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for_each_word(text, &mut Vec::new(), |word| found.push(String::from_utf8(word.to_vec()).unwrap()));
        found
    }

    fn of(text: &str) -> Option<Vec<WordPattern>> {
        patterns(TextSearch::new(text).unwrap().terms())
    }

    #[test]
    fn words_are_sequences_of_letters_and_digits_in_lower_case() {
        assert_eq!(words("Run `cargo test -p Foo_bar2`."), ["run", "cargo", "test", "p", "foo", "bar2"]);
        assert_eq!(words("Straße, ΟΔΟΣ"), ["strasse", "οδοσ"]);
        assert_eq!(words(""), Vec::<String>::new());
    }

    #[test]
    fn every_part_of_a_long_word_is_within_a_piece_of_it() {
        for len in [63, 64, 65, 95, 96, 97, 200] {
            for letters in ["abcdefghijk", "äöüßabc"] {
                let word: String = fold_text(&letters.chars().cycle().take(len).collect::<String>());
                let found = words(&word);
                let characters: Vec<char> = word.chars().collect();
                for piece in characters.windows(PIECE) {
                    let piece: String = piece.iter().collect();
                    assert!(found.iter().any(|found| found.contains(&piece)));
                }
                let end: String = characters[characters.len() - PIECE..].iter().collect();
                assert!(found.iter().any(|found| found.ends_with(&end)), "{len}");
            }
        }
    }

    #[test]
    fn a_term_determines_patterns_of_words() {
        use WordPattern::{Beginning, Containing, Ending, Exactly};
        assert_eq!(of("loom"), Some(vec![Containing("loom".into())]));
        assert_eq!(of("lo"), Some(vec![Beginning("lo".into())]));
        assert_eq!(of("loom*"), Some(vec![Beginning("loom".into())]));
        assert_eq!(of("src/main.rs"), Some(vec![Ending("src".into()), Exactly("main".into()), Beginning("rs".into())]));
        assert_eq!(
            of("\"the loom\" the"),
            Some(vec![Ending("the".into()), Beginning("loom".into()), Containing("the".into())])
        );
        assert_eq!(of("a.bcd"), Some(vec![Beginning("bcd".into())]));
        assert_eq!(of("-> =="), None);
        assert_eq!(of("x+"), Some(vec![Exactly("x".into())]));
        assert_eq!(of("x->"), None);
    }
}
