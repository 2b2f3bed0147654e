//! Splits texts into the words that are indexed, and search terms into patterns of words.
//!
//! Words are those of the folded text ([`folded_words`]). Of a word that is longer than 64 characters, overlapping
//! pieces are indexed. They begin 32 characters apart, so that any 32 consecutive characters of the word are within one of them:
//!
//! ```text
//! word of 130:   0                                                            130
//! pieces:        ├─────────────┤ 64
//!                       ├─────────────┤
//!                32     └──── 64 ─────┘ …
//! ```
//!
//! In a script without spaces between words, such as Chinese, *grams* are indexed instead: each letter with the letter behind it,
//! both with their marks, and the last one alone. A search for several letters finds their grams, and a search for one letter
//! finds the grams that begin with it. Letters occur in far more orders than pairs of them, so that the grams of a text take less
//! space than its clauses would.
//!
//! ```text
//! text 项目评审会议:   项目  目评  评审  审会  会议  议
//! term 评审会:         评审  审会*          term 会:  会*
//! ```

use crate::search::{FoldedWord, SearchTerm, fold_text, folded_words, is_mark};

/// The longest word that is indexed as one, in characters.
const LONGEST: usize = 64;

/// The distance in characters at which the pieces of a longer word begin. The pattern of a part of a word is never longer, so
/// that it is within one piece.
const PIECE: usize = 32;

/// Calls `take` with each word of a text. `buffer` is memory that the calls reuse.
pub fn for_each_word(text: &str, buffer: &mut Vec<u8>, mut take: impl FnMut(&[u8])) {
    // Nearly all text is ASCII, which needs no folding and no allocation.
    if !text.is_ascii() {
        let folded = fold_text(text);
        for word in folded_words(&folded) {
            if word.is_unspaced { grams(word.text, &mut take) } else { pieces(word.text, &mut take) }
        }
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

/// Calls `take` with each gram of a word in a script without spaces.
fn grams(word: &str, take: &mut impl FnMut(&[u8])) {
    for_each_gram(word, |gram, _| take(gram.as_bytes()));
}

/// Calls `take` with each gram of a word, and with whether it is the last one, which has one letter. A gram with more than
/// [`LONGEST`] characters, which has as many marks, is cut there.
fn for_each_gram<'a>(word: &'a str, mut take: impl FnMut(&'a str, bool)) {
    let gram = |start: usize, end: usize| {
        let gram = &word[start..end];
        // No letter takes more than 4 bytes.
        if gram.len() <= LONGEST {
            return gram;
        }
        &gram[..gram.char_indices().nth(LONGEST).map_or(gram.len(), |(end, _)| end)]
    };
    // Where the last two letters begin.
    let (mut first, mut second) = (0, None);
    for (at, _) in word.char_indices().skip(1).filter(|(_, character)| !is_mark(*character)) {
        if let Some(second) = second {
            take(gram(first, at), false);
            first = second;
        }
        second = Some(at);
    }
    if let Some(second) = second {
        take(gram(first, word.len()), false);
        first = second;
    }
    take(gram(first, word.len()), true);
}

/// Returns whether an indexed word is a gram.
#[must_use]
pub fn is_gram(word: &[u8]) -> bool {
    if word.first().is_none_or(u8::is_ascii) {
        return false;
    }
    let word = std::str::from_utf8(word).unwrap_or_default();
    folded_words(word).next().is_some_and(|word| word.is_unspaced)
}

/// Which indexed words can be part of a match of a term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WordPattern {
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
    /// Returns the part of the word that the pattern determines.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Exactly(text) | Self::Beginning(text) | Self::Ending(text) | Self::Containing(text) => text,
        }
    }

    /// Returns whether an indexed word can be part of a match.
    #[must_use]
    pub fn matches(&self, word: &[u8]) -> bool {
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
#[must_use]
pub fn patterns(terms: &[SearchTerm]) -> Option<Vec<WordPattern>> {
    // A term is text, and need not begin or end where a word does. Within the term, words are complete. Its first word can be the
    // end of a longer word, and its last word the beginning of one:
    //
    // term `src/main.rs`:   Ending("src")  Exactly("main")  Beginning("rs")
    // term `loom`:          Containing("loom")
    let mut patterns: Vec<WordPattern> = Vec::new();
    for term in terms {
        let text = term.text();
        for FoldedWord { text: word, offset, is_unspaced } in folded_words(text) {
            // Only at the ends of the term can more letters follow or precede. Marks belong to a letter that precedes the term.
            let may_go_on = offset + word.len() == text.len();
            let may_begin_before = matches!(term, SearchTerm::Anywhere(_)) && text[..offset].chars().all(is_mark);
            let mut add = |pattern: WordPattern| {
                if !patterns.contains(&pattern) {
                    patterns.push(pattern);
                }
            };
            if is_unspaced {
                gram_patterns(word, may_go_on).for_each(add);
            } else if let Some(pattern) = pattern(word, may_begin_before, may_go_on) {
                add(pattern);
            }
        }
    }
    (!patterns.is_empty()).then_some(patterns)
}

/// Returns the patterns of a word of a term in a script without spaces.
fn gram_patterns(word: &str, may_go_on: bool) -> impl Iterator<Item = WordPattern> {
    let mut grams: Vec<(&str, bool)> = Vec::new();
    for_each_gram(word, |gram, is_last| grams.push((gram, is_last)));
    // The text can go on with a letter or with marks on the last one. The gram of the last letter alone says no more than the gram before
    // it, if there is one.
    let has_several = grams.len() > 1;
    let letters_end = grams.len() - 1;
    grams.into_iter().enumerate().filter_map(move |(at, (gram, is_last))| match is_last {
        true if !may_go_on => Some(WordPattern::Exactly(gram.to_owned())),
        true if has_several => None,
        true => Some(WordPattern::Beginning(gram.to_owned())),
        false if may_go_on && at + 1 == letters_end => Some(WordPattern::Beginning(gram.to_owned())),
        false => Some(WordPattern::Exactly(gram.to_owned())),
    })
}

/// Returns the pattern of a word of a term. `None` if it determines too little.
fn pattern(word: &str, may_begin_before: bool, may_go_on: bool) -> Option<WordPattern> {
    let len = word.chars().count();
    let first = || word.chars().take(PIECE).collect::<String>();
    let last = || word.chars().skip(len.saturating_sub(PIECE)).collect::<String>();
    Some(match (may_begin_before, may_go_on) {
        // Without a trigram of bytes, the filters cannot help, and nearly every block has such a word. A Korean letter is a trigram.
        (true, _) if word.len() < 3 => return None,
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
    use super::*;
    use crate::search::TextSearch;

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
        assert_eq!(of("\"a\u{301}\""), None, "a composed letter of two bytes");
        assert_eq!(of("\"\u{302}bcd\""), Some(vec![Containing("bcd".into())]), "its mark is on a letter before it");
        assert_eq!(of("-\u{302}bcd"), Some(vec![Beginning("bcd".into())]));
        assert_eq!(of("색"), Some(vec![Containing("색".into())]));
        assert_eq!(of("색*"), Some(vec![Beginning("색".into())]));
    }

    #[test]
    fn grams_are_indexed_in_scripts_without_spaces() {
        assert_eq!(words("项目评审,会 v2会议"), ["项目", "目评", "评审", "审", "会", "v2", "会议", "议"]);
        assert_eq!(words("API서버의 한"), ["api", "서버의", "한"]);
        // A letter has its marks: ไ, ม่, มี.
        assert_eq!(words("ไม่มี"), ["ไม่", "ม่มี", "มี"]);
        assert_eq!(words("ｶﾞ\u{302}ー"), ["ガ\u{302}ー", "ー"]);
        let marks = "\u{e48}".repeat(100);
        assert_eq!(words(&format!("ม{marks}มม"))[0].chars().count(), LONGEST);
        assert!(words("项目 ไม่มี ー").iter().all(|word| is_gram(word.as_bytes())));
        assert!(!["api", "서버", "é", "3"].iter().any(|word| is_gram(word.as_bytes())));
    }

    #[test]
    fn a_term_determines_grams() {
        use WordPattern::{Beginning, Containing, Ending, Exactly};
        assert_eq!(of("会"), Some(vec![Beginning("会".into())]));
        assert_eq!(of("会议*"), Some(vec![Beginning("会议".into())]));
        assert_eq!(of("评审会"), Some(vec![Exactly("评审".into()), Beginning("审会".into())]));
        assert_eq!(of("会议,会"), Some(vec![Exactly("会议".into()), Exactly("议".into()), Beginning("会".into())]));
        assert_eq!(of("v23会"), Some(vec![Ending("v23".into()), Beginning("会".into())]));
        assert_eq!(of("会v2"), Some(vec![Exactly("会".into()), Beginning("v2".into())]));
        assert_eq!(of("会서버"), Some(vec![Exactly("会".into()), Beginning("서버".into())]));
        assert_eq!(of("서버会"), Some(vec![Ending("서버".into()), Beginning("会".into())]));
        assert_eq!(of("한会"), Some(vec![Ending("한".into()), Beginning("会".into())]));
        assert_eq!(of("\"\u{e48}ม\""), Some(vec![Beginning("ม".into())]));
        assert_eq!(of("\"\u{e48}abc\""), Some(vec![Containing("abc".into())]));
    }
}
