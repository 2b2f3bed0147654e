//! Lone surrogate escapes: JSON that no Rust string can hold.
//!
//! `\ud83d\ude00` is one character in JSON, written as a pair of escapes. A program that cuts a text in the middle of
//! such a character writes one half of the pair. JSON allows that, but the half is no character, so `serde_json`
//! refuses the string. A reader would lose a whole field because of it.
//!
//! The text of a line keeps the escape. The typed views are parsed from a text in which U+FFFD, the replacement
//! character, stands in its place. Both escapes have six bytes, so every offset is the same in both texts.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// The escape of U+FFFD, which replaces a lone surrogate.
const REPLACEMENT: &str = "\\ufffd";

/// Returns a JSON text in which each lone surrogate escape is replaced with `\ufffd`. It is as long as `json`, which is
/// returned itself if it contains no such escape.
///
/// ```
/// use selvedge_protocol::without_lone_surrogates;
///
/// assert_eq!(without_lone_surrogates(r#""cut \ud83d here""#), r#""cut \ufffd here""#);
/// for whole in [r#""\ud83d\ude00""#, r#""\\ud83d""#] {
///     assert_eq!(without_lone_surrogates(whole), whole);
/// }
/// ```
#[must_use]
pub fn without_lone_surrogates(json: &str) -> Cow<'_, str> {
    // Most texts contain no `\u` at all, and the search for it costs little beside the parse that follows.
    //
    //     text   "a \ud83d\ude00 b \ud83d c \\ud83d"
    //               ^ a pair       ^ alone  ^ a backslash, and then the letters `ud83d`
    let bytes = json.as_bytes();
    let mut clean = String::new();
    // Invariant: `clean` contains the text before `copied`, and every escape before `from` was looked at.
    let (mut copied, mut from) = (0, 0);
    while let Some(at) = memchr::memmem::find(&bytes[from..], b"\\u").map(|at| from + at) {
        // A backslash that is itself escaped begins no escape: the number of backslashes up to this one is even then.
        let backslashes = bytes[from..=at].iter().rev().take_while(|byte| **byte == b'\\').count();
        from = at + 2;
        if backslashes % 2 == 0 {
            continue;
        }
        match surrogate_at(bytes, at) {
            Some(Half::High) if surrogate_at(bytes, at + REPLACEMENT.len()) == Some(Half::Low) => {
                from = at + 2 * REPLACEMENT.len();
            }
            Some(_) => {
                clean.push_str(&json[copied..at]);
                clean.push_str(REPLACEMENT);
                from = at + REPLACEMENT.len();
                copied = from;
            }
            None => {}
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    clean.push_str(&json[copied..]);
    Cow::Owned(clean)
}

/// Returns a JSON value without lone surrogate escapes.
pub(crate) fn readable(json: Box<RawValue>) -> Box<RawValue> {
    match without_lone_surrogates(json.get()) {
        Cow::Borrowed(_) => json,
        // The replaced text is JSON if the text was.
        Cow::Owned(clean) => RawValue::from_string(clean).unwrap_or(json),
    }
}

/// One half of the pair of escapes that makes a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    /// `\ud800` to `\udbff`, the first half.
    High,
    /// `\udc00` to `\udfff`, the second half.
    Low,
}

/// Returns which half of a pair the escape at `at` is. `None` if it is another escape, or none.
fn surrogate_at(bytes: &[u8], at: usize) -> Option<Half> {
    let escape = bytes.get(at..at + REPLACEMENT.len())?.strip_prefix(b"\\u")?;
    if !escape.iter().all(u8::is_ascii_hexdigit) || !escape[0].eq_ignore_ascii_case(&b'd') {
        return None;
    }
    match escape[1].to_ascii_lowercase() {
        b'8' | b'9' | b'a' | b'b' => Some(Half::High),
        b'c'..=b'f' => Some(Half::Low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_halves_without_their_other_half_are_replaced() {
        for (text, clean) in [
            (r"\ud83d", r"\ufffd"),
            (r"\uDBFF\uDFFF", r"\uDBFF\uDFFF"),
            (r"\ude00\ud83d", r"\ufffd\ufffd"),
            (r"\ud83d\ud83d\ude00\ude00", r"\ufffd\ud83d\ude00\ufffd"),
            (r"\ud83d\n\ude00", r"\ufffd\n\ufffd"),
            (r"\\ud83d\\\ud83d\\\\ud83d", r"\\ud83d\\\ufffd\\\\ud83d"),
            (r"\u00e9\ud7ff\ue000", r"\u00e9\ud7ff\ue000"),
            (r"\ud83d\\ude00", r"\ufffd\\ude00"),
            (r"é\uD83Dé", r"é\ufffdé"),
            (r"\ud83d\u", r"\ufffd\u"),
            (r"\ud8", r"\ud8"),
            (r"\ud8é0", r"\ud8é0"),
            ("", ""),
        ] {
            assert_eq!(without_lone_surrogates(text), clean, "{text:?}");
            assert_eq!(matches!(without_lone_surrogates(text), Cow::Borrowed(_)), text == clean, "{text:?}");
        }
    }

    #[test]
    fn the_cost_does_not_grow_with_the_backslashes_before_an_escape() {
        let text = r"\\".repeat(1 << 19) + &r"\ud83d".repeat(1 << 16);
        assert_eq!(without_lone_surrogates(&text), r"\\".repeat(1 << 19) + &r"\ufffd".repeat(1 << 16));
    }
}
