//! Keys of words: numbers that a database can index, to find the texts that may contain the terms of a search.
//!
//! A text can contain the terms only if it has all keys of the search. The reverse is not so: [`TextSearch`] decides.
//!
//! The words are those of [`words`](super::words). The keys of a word are its trigrams: three consecutive bytes of `␁word␂`. With the marks at
//! its ends, `lo*` and `ing` at the end of a word have keys, too. Words in scripts without spaces are grams, which a pattern only
//! ever determines from their beginnings; their keys are hashes of all their beginnings.
//!
//! ```text
//! loom:   ␁lo  loo  oom  om␂        key = the three bytes as a number
//! 评审:   评  评审                   key = hash, below 0
//! ```

use std::collections::HashSet;

use super::words::{WordPattern, for_each_word, is_gram, patterns};
use crate::search::TextSearch;

/// The bytes before and after a word. No word contains them.
const START: u8 = 1;
const END: u8 = 2;

/// Collects the keys of texts.
#[derive(Debug, Default)]
pub struct WordKeys {
    keys: HashSet<i32>,
    /// The words whose keys are there. Most words of a text were seen before.
    words: HashSet<Box<[u8]>>,
    /// Memory that the calls reuse.
    buffer: Vec<u8>,
}

impl WordKeys {
    /// Adds the keys of the words of a text.
    pub fn add_text(&mut self, text: &str) {
        let Self { keys, words, buffer } = self;
        for_each_word(text, buffer, |word| {
            if words.contains(word) {
                return;
            }
            words.insert(word.into());
            if is_gram(word) {
                keys.extend(beginnings(word).map(gram_key));
            } else {
                keys.extend(trigrams(&[&[START], word, &[END]].concat()));
            }
        });
    }

    /// Returns the keys in ascending order.
    #[must_use]
    pub fn into_sorted(self) -> Vec<i32> {
        sorted(self.keys)
    }
}

/// Returns the keys that the texts of an item, or a name, have if they contain the terms of a search, in ascending order. Empty if the
/// terms determine none: then each text may contain them.
#[must_use]
pub fn search_keys(search: &TextSearch) -> Vec<i32> {
    let mut keys = HashSet::new();
    for pattern in patterns(search.terms()).unwrap_or_default() {
        let text = pattern.text().as_bytes();
        if is_gram(text) {
            keys.insert(gram_key(text));
            continue;
        }
        let (start, end): (&[u8], &[u8]) = match pattern {
            WordPattern::Exactly(_) => (&[START], &[END]),
            WordPattern::Beginning(_) => (&[START], &[]),
            WordPattern::Ending(_) => (&[], &[END]),
            WordPattern::Containing(_) => (&[], &[]),
        };
        keys.extend(trigrams(&[start, text, end].concat()));
    }
    sorted(keys)
}

fn sorted(keys: HashSet<i32>) -> Vec<i32> {
    let mut keys: Vec<i32> = keys.into_iter().collect();
    keys.sort_unstable();
    keys
}

fn trigrams(bytes: &[u8]) -> impl Iterator<Item = i32> {
    bytes.windows(3).map(|trigram| trigram.iter().fold(0, |number, byte| number << 8 | i32::from(*byte)))
}

/// Returns all beginnings of a gram that end with a character.
fn beginnings(gram: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_boundary = |at: &usize| gram.get(*at).is_none_or(|byte| !(0x80..0xc0).contains(byte));
    (1..=gram.len()).filter(is_boundary).map(|end| &gram[..end])
}

/// Returns the key of the beginning of a gram: FNV-1a, with the sign bit, which no trigram has.
fn gram_key(beginning: &[u8]) -> i32 {
    let hash = beginning.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    (hash | 1 << 31).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn has_all_keys(search: &TextSearch, text: &str) -> bool {
        let mut keys = WordKeys::default();
        keys.add_text(text);
        let keys = keys.into_sorted();
        search_keys(search).iter().all(|key| keys.binary_search(key).is_ok())
    }

    #[test]
    fn keys_are_the_trigrams_of_words_and_the_beginnings_of_grams() {
        let keys = |text: &str| search_keys(&TextSearch::new(text).unwrap());
        assert_eq!(keys("loom"), [0x6c_6f_6f, 0x6f_6f_6d]);
        assert_eq!(keys("loom*"), [0x01_6c_6f, 0x6c_6f_6f, 0x6f_6f_6d]);
        assert_eq!(keys("x+"), [0x01_78_02]);
        assert!(keys("->").is_empty());
        assert_eq!(keys("会").len(), 1);
        let search = |text: &str| TextSearch::new(text).unwrap();
        for (text, term) in [("heirlooms", "loom"), ("项目评审会议", "评审会"), ("会\u{302}议", "会"), ("ΟΔΟΣ", "οδ")]
        {
            assert!(has_all_keys(&search(term), text), "{term} in {text}");
        }
        assert!(!has_all_keys(&search("loom*"), "heirlooms"));
        assert!(!has_all_keys(&search("目评"), "项目 评审"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn a_text_with_the_terms_has_their_keys(
            text in "[abAB0 .会议ม่서울é\u{302}-]{0,90}",
            (from, len) in (0..80_usize, 1..70_usize),
            quoted in any::<bool>(),
        ) {
            // A part of the text, so that most searches find something.
            let part: String = text.chars().skip(from).take(len).collect();
            let asked = if quoted { format!("\"{part}\"") } else { part };
            let Ok(search) = TextSearch::new(&asked) else { return Ok(()) };
            if search.count(&[&text]).is_some() {
                prop_assert!(has_all_keys(&search, &text), "{asked:?} in {text:?}");
            }
        }
    }
}
