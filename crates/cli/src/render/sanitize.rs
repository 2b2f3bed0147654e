//! Makes text from elsewhere safe to print on a terminal.
//!
//! A transcript can hold anything: what a model wrote, what a command printed, what a repository contains. Escape
//! sequences in it could move the cursor, hide text or change the title of the window, and would show the reader
//! something else than the log contains.

use std::borrow::Cow;

/// How far to search for the end of an escape sequence. Terminals do not act on longer ones.
const MAX_SEQUENCE_LEN: usize = 4096;

/// Returns `text` without anything that moves the cursor, changes colours, rings the bell or reverses the writing
/// direction. Newlines and tabs stay.
pub(crate) fn sanitize(text: &str) -> Cow<'_, str> {
    // Nearly all text is safe, and is not copied.
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(is_unsafe) {
        out.push_str(&rest[..at]);
        let (replacement, length) = replacement(&rest[at..]);
        out.push_str(replacement);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Returns JSON with the same meaning, in which the characters that [`sanitize`] removes are escaped. They occur only
/// inside strings, where an escape means the same.
pub(crate) fn escape_json(json: &str) -> Cow<'_, str> {
    if !json.contains(is_unsafe) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 64);
    for letter in json.chars() {
        if is_unsafe(letter) {
            // All unsafe characters are below U+10000, so one `\u` escape is enough.
            out.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            out.push(letter);
        }
    }
    Cow::Owned(out)
}

fn is_unsafe(letter: char) -> bool {
    // `is_control` covers C0, DEL and C1. The C1 control U+009B begins a control sequence without an escape character.
    // The other ranges print nothing either: bidirectional marks, embeddings and isolates, the two line separators, and
    // the byte order mark.
    let reverses_direction =
        matches!(letter, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks_line = matches!(letter, '\u{2028}' | '\u{2029}');
    let is_control = letter.is_control() && letter != '\n' && letter != '\t';
    is_control || reverses_direction || breaks_line || letter == '\u{feff}'
}

/// Returns what to print instead of the unsafe character at the start of `text`, and how many bytes that replaces.
fn replacement(text: &str) -> (&'static str, usize) {
    let mut letters = text.chars();
    match letters.next() {
        Some('\r') if letters.next() == Some('\n') => ("", 1),
        // A single carriage return goes back to overwrite the line, as progress bars do. Each version gets a line.
        Some('\r') => ("\n", 1),
        Some('\u{1b}') => ("", escape_len(text)),
        Some(letter @ ('\u{2028}' | '\u{2029}')) => ("\n", letter.len_utf8()),
        Some(letter) => ("", letter.len_utf8()),
        None => ("", 0),
    }
}

/// Returns the length of the escape sequence at the start of `text`.
///
/// An incomplete sequence loses only its escape character. If everything up to a missing end were removed, one stray
/// character could hide the whole rest of the text.
fn escape_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let bytes = &bytes[..bytes.len().min(MAX_SEQUENCE_LEN)];
    // The second byte determines the kind of the sequence (ECMA-48):
    //   ESC [ …            control sequence (CSI): colours, cursor
    //   ESC ] P X ^ _ …    control string: titles, links, device data
    //   ESC SP…/ x         two intermediate bytes: character sets
    //   ESC 0…~            a single function
    let complete = match bytes.get(1) {
        Some(b'[') => control_sequence_len(bytes),
        Some(b']' | b'P' | b'X' | b'^' | b'_') => control_string_len(bytes),
        Some(0x20..=0x2f) => bytes.get(2).filter(|byte| (0x30..=0x7e).contains(*byte)).map(|_| 3),
        Some(0x30..=0x7e) => Some(2),
        _ => None,
    };
    complete.unwrap_or(1)
}

/// A control sequence is `ESC [`, any number of parameter bytes (0x20 to 0x3f), and one final byte (0x40 to 0x7e).
fn control_sequence_len(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().skip(2).position(|byte| !(0x20..=0x3f).contains(byte))? + 2;
    (0x40..=0x7e).contains(bytes.get(end)?).then_some(end + 1)
}

/// A control string ends with BEL or with `ESC \`. It contains no other escape character, so the search stops at
/// the next one. That keeps the time linear over a text full of unfinished strings.
fn control_string_len(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().skip(1).position(|byte| matches!(byte, 0x07 | 0x1b))? + 1;
    match bytes.get(end..end + 2) {
        Some(b"\x1b\\") => Some(end + 2),
        _ => (bytes[end] == 0x07).then_some(end + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_removed() {
        assert_eq!(sanitize("a\u{1b}[31mred\u{1b}[0m b"), "ared b");
        assert_eq!(sanitize("\u{1b}]0;title\u{7}after"), "after");
        assert_eq!(sanitize("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\"), "link");
        assert_eq!(sanitize("\u{1b}(Bx\u{1b}cy"), "xy");
    }

    #[test]
    fn a_broken_sequence_hides_nothing() {
        assert_eq!(sanitize("\u{1b}]0;no end, and all of this stays"), "]0;no end, and all of this stays");
        assert_eq!(sanitize("\u{1b}[12"), "[12");
        assert_eq!(sanitize("end\u{1b}"), "end");
        assert_eq!(sanitize("\u{1b}é"), "é");
    }

    #[test]
    fn control_characters_are_removed_and_line_ends_stay() {
        assert_eq!(sanitize("a\u{8}\u{7f}\u{9b}b\tc\r\nd\re\u{2028}f\u{202e}g\0"), "ab\tc\nd\ne\nfg");
        assert!(matches!(sanitize("plain\n\ttext 日本"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_keeps_its_meaning() {
        assert_eq!(escape_json("{\n  \"a\": \"x\u{9b}31m\u{202e}\"\n}"), "{\n  \"a\": \"x\\u009b31m\\u202e\"\n}");
    }

    #[test]
    fn many_stray_escapes_take_linear_time() {
        let text = "\u{1b}]".repeat(200_000);
        assert_eq!(sanitize(&text).len(), 200_000);
    }
}
