//! Texts as the words that are indexed of them.
//!
//! A word is a run of letters and digits of the folded text, as [`SearchTerm`] has it. Of a very long run overlapping pieces are
//! indexed, so that whatever stands in it stands in one of them, up to [`PIECE`] characters.

use selvedge_history::{SearchTerm, fold_text};

/// The longest word that is indexed as it is, in characters.
pub(crate) const LONGEST: usize = 64;

/// How far apart the pieces of longer ones begin: what is no longer than this stands whole in one of them.
pub(crate) const PIECE: usize = 32;

/// Calls `take` with every word of a text.
pub(crate) fn for_each_word(text: &str, room: &mut Vec<u8>, mut take: impl FnMut(&[u8])) {
    if !text.is_ascii() {
        let folded = fold_text(text);
        folded.split(|c: char| !c.is_alphanumeric()).for_each(|word| pieces(word, &mut take));
        return;
    }
    let mut end_word = |room: &mut Vec<u8>| {
        match room.len() {
            0 => {}
            1..=LONGEST => take(room),
            _ => pieces(&String::from_utf8_lossy(room), &mut take),
        }
        room.clear();
    };
    room.clear();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            room.push(byte.to_ascii_lowercase());
        } else {
            end_word(room);
        }
    }
    end_word(room);
}

/// A word, or what is indexed in its place when it is too long.
fn pieces(word: &str, take: &mut impl FnMut(&[u8])) {
    if word.is_empty() {
        return;
    }
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

/// Which indexed words can be part of a place where a term stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WordPattern {
    /// This one.
    Exactly(String),
    /// Those that begin so.
    Beginning(String),
    /// Those that end so.
    Ending(String),
    /// Those in which it stands.
    Holding(String),
}

impl WordPattern {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Exactly(text) | Self::Beginning(text) | Self::Ending(text) | Self::Holding(text) => text,
        }
    }

    pub(crate) fn matches(&self, word: &[u8]) -> bool {
        match self {
            Self::Exactly(text) => word == text.as_bytes(),
            Self::Beginning(text) => word.starts_with(text.as_bytes()),
            Self::Ending(text) => word.ends_with(text.as_bytes()),
            Self::Holding(text) => memchr::memmem::find(word, text.as_bytes()).is_some(),
        }
    }
}

/// What must be true of the words of an item in which the terms stand, one pattern for each word of each term. Nothing for terms
/// that say too little of any word.
pub(crate) fn patterns(terms: &[SearchTerm]) -> Option<Vec<WordPattern>> {
    let mut patterns: Vec<WordPattern> = Vec::new();
    for term in terms {
        let text = term.text();
        let mut at = 0;
        for word in text.split(|c: char| !c.is_alphanumeric()) {
            // A word of the term goes on where nothing stands between it and what is around the term.
            let may_go_on = at + word.len() == text.len();
            let may_begin_before = at == 0 && matches!(term, SearchTerm::Anywhere(_));
            at += word.len() + text[at + word.len()..].chars().next().map_or(0, char::len_utf8);
            patterns.extend(pattern(word, may_begin_before, may_go_on).filter(|found| !patterns.contains(found)));
        }
    }
    (!patterns.is_empty()).then_some(patterns)
}

fn pattern(word: &str, may_begin_before: bool, may_go_on: bool) -> Option<WordPattern> {
    let len = word.chars().count();
    let first = || word.chars().take(PIECE).collect::<String>();
    let last = || word.chars().skip(len.saturating_sub(PIECE)).collect::<String>();
    Some(match (may_begin_before, may_go_on) {
        _ if len == 0 => return None,
        // Almost every word holds so little, and nothing tells which.
        (true, _) if len < 3 => return None,
        (true, true) => WordPattern::Holding(first()),
        (true, false) => WordPattern::Ending(last()),
        (false, true) => WordPattern::Beginning(first()),
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
    fn words_are_runs_of_letters_and_digits_in_one_case() {
        assert_eq!(words("Run `cargo test -p Foo_bar2`."), ["run", "cargo", "test", "p", "foo", "bar2"]);
        assert_eq!(words("Straße, ΟΔΟΣ"), ["strasse", "οδοσ"]);
        assert_eq!(words(""), Vec::<String>::new());
    }

    #[test]
    fn whatever_stands_in_a_long_word_stands_in_a_piece_of_it() {
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
    fn a_term_says_what_its_words_are() {
        use WordPattern::{Beginning, Ending, Exactly, Holding};
        assert_eq!(of("loom"), Some(vec![Holding("loom".into())]));
        assert_eq!(of("lo"), Some(vec![Beginning("lo".into())]));
        assert_eq!(of("loom*"), Some(vec![Beginning("loom".into())]));
        assert_eq!(of("src/main.rs"), Some(vec![Ending("src".into()), Exactly("main".into()), Beginning("rs".into())]));
        assert_eq!(
            of("\"the loom\" the"),
            Some(vec![Ending("the".into()), Beginning("loom".into()), Holding("the".into())])
        );
        assert_eq!(of("a.bcd"), Some(vec![Beginning("bcd".into())]));
        assert_eq!(of("-> =="), None);
        assert_eq!(of("x+"), Some(vec![Exactly("x".into())]));
        assert_eq!(of("x->"), None);
    }
}
