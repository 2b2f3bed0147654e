//! Text from elsewhere, made fit for a terminal: cleaned, put on one line, cut to a width.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How far the end of an escape sequence is looked for. A longer one is not one that a terminal would act on.
const LONGEST_SEQUENCE: usize = 4096;

/// `text` without anything that would move the cursor, change colours, ring, or turn the direction of writing round.
/// Newlines and tabs stay.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(is_unsafe) {
        out.push_str(&rest[..at]);
        let (instead, length) = replacement(&rest[at..]);
        out.push_str(instead);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// JSON text that means the same and has nothing in it that [`clean`] would take away. Such characters stand inside its
/// strings only, where they can be written as escapes.
pub(crate) fn escape_json(json: &str) -> Cow<'_, str> {
    if !json.contains(is_unsafe) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 64);
    for letter in json.chars() {
        if is_unsafe(letter) {
            // None of them is above the range that one escape reaches.
            out.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            out.push(letter);
        }
    }
    Cow::Owned(out)
}

fn is_unsafe(letter: char) -> bool {
    let turns_direction =
        matches!(letter, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks_line = matches!(letter, '\u{2028}' | '\u{2029}');
    (letter.is_control() && letter != '\n' && letter != '\t') || turns_direction || breaks_line || letter == '\u{feff}'
}

/// What to print instead of the unsafe character at the start of `text`, and how many bytes that stands for.
fn replacement(text: &str) -> (&'static str, usize) {
    let mut letters = text.chars();
    match letters.next() {
        Some('\r') if letters.next() == Some('\n') => ("", 1),
        // A lone one went back to overwrite the line, as progress bars do.
        Some('\r') => ("\n", 1),
        Some('\u{1b}') => ("", escape_length(text)),
        Some(letter @ ('\u{2028}' | '\u{2029}')) => ("\n", letter.len_utf8()),
        Some(letter) => ("", letter.len_utf8()),
        None => ("", 0),
    }
}

/// The length of the escape sequence at the start of `text`. What is not a whole sequence loses its escape character only:
/// otherwise a stray one could hide everything behind it.
fn escape_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let bytes = &bytes[..bytes.len().min(LONGEST_SEQUENCE)];
    let whole = match bytes.get(1) {
        Some(b'[') => csi_length(bytes),
        Some(b']' | b'P' | b'X' | b'^' | b'_') => string_length(bytes),
        Some(0x20..=0x2f) => bytes.get(2).filter(|byte| (0x30..=0x7e).contains(*byte)).map(|_| 3),
        Some(0x30..=0x7e) => Some(2),
        _ => None,
    };
    whole.unwrap_or(1)
}

fn csi_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().skip(2).position(|byte| !(0x20..=0x3f).contains(byte))? + 2;
    (0x40..=0x7e).contains(bytes.get(end)?).then_some(end + 1)
}

/// Such a sequence holds no other: the search ends at the next escape character, and so takes linear time over all.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().skip(1).position(|byte| matches!(byte, 0x07 | 0x1b))? + 1;
    match bytes.get(end..end + 2) {
        Some(b"\x1b\\") => Some(end + 2),
        _ => (bytes[end] == 0x07).then_some(end + 1),
    }
}

/// The beginning of `text`, cleaned, with every stretch of white space as one blank.
pub(crate) fn one_line(text: &str) -> String {
    // More than any line of a table shows; a message may have megabytes.
    let end = text.char_indices().nth(1000).map_or(text.len(), |(at, _)| at);
    clean(&text[..end]).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How many columns `text` takes.
pub(crate) fn columns(text: &str) -> usize {
    text.width()
}

/// The beginning of `text`, in `width` columns at most.
pub(crate) fn keep_start(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let end =
        fitting(text.char_indices().map(|(at, letter)| (at + letter.len_utf8(), letter)), width.saturating_sub(1));
    format!("{}{}", &text[..end.unwrap_or(0)], ellipsis(width))
}

/// The end of `text`, in `width` columns at most.
pub(crate) fn keep_end(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let start = fitting(text.char_indices().rev(), width.saturating_sub(1));
    format!("{}{}", ellipsis(width), &text[start.unwrap_or(text.len())..])
}

fn ellipsis(width: usize) -> &'static str {
    if width == 0 { "" } else { "…" }
}

/// The place of the last of these characters that still fits.
fn fitting(letters: impl Iterator<Item = (usize, char)>, width: usize) -> Option<usize> {
    let mut taken = 0;
    let mut last = None;
    for (at, letter) in letters {
        taken += letter.width().unwrap_or(0);
        if taken > width {
            break;
        }
        last = Some(at);
    }
    last
}

/// How much of a long text to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Lines from the start.
    pub(crate) first: usize,
    /// Lines from the end.
    pub(crate) last: usize,
    /// Characters of one line.
    pub(crate) line: usize,
}

impl Limits {
    /// For what was said.
    pub(crate) const SPEECH: Self = Self { first: 40, last: 10, line: 2000 };
    /// For what tools put out.
    pub(crate) const OUTPUT: Self = Self { first: 8, last: 4, line: 400 };
    /// For a glance.
    pub(crate) const GLANCE: Self = Self { first: 3, last: 1, line: 160 };
}

/// The lines of `text`, cleaned; with limits, without what is in the middle, and saying how much that was.
pub(crate) fn lines(text: &str, limits: Option<Limits>) -> Vec<String> {
    let text = clean(text);
    let all: Vec<&str> = text.trim_end().lines().collect();
    let Some(limits) = limits else {
        return all.into_iter().map(str::to_owned).collect();
    };
    // Leaving out a single line would put another in its place.
    if all.len() <= limits.first + limits.last + 1 {
        return all.into_iter().map(|line| shorten(line, limits.line)).collect();
    }
    let left_out = all.len() - limits.first - limits.last;
    let mut kept: Vec<String> = all[..limits.first].iter().map(|line| shorten(line, limits.line)).collect();
    kept.push(format!("… {left_out} more lines"));
    kept.extend(all[all.len() - limits.last..].iter().map(|line| shorten(line, limits.line)));
    kept
}

fn shorten(line: &str, length: usize) -> String {
    match line.char_indices().nth(length) {
        None => line.to_owned(),
        Some((end, _)) => format!("{} … {} more characters", &line[..end], line[end..].chars().count()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_go() {
        assert_eq!(clean("a\u{1b}[31mred\u{1b}[0m b"), "ared b");
        assert_eq!(clean("\u{1b}]0;title\u{7}after"), "after");
        assert_eq!(clean("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\"), "link");
        assert_eq!(clean("\u{1b}(Bx\u{1b}cy"), "xy");
    }

    #[test]
    fn a_broken_sequence_hides_nothing() {
        assert_eq!(clean("\u{1b}]0;no end, and all of this stays"), "]0;no end, and all of this stays");
        assert_eq!(clean("\u{1b}[12"), "[12");
        assert_eq!(clean("end\u{1b}"), "end");
        assert_eq!(clean("\u{1b}é"), "é");
    }

    #[test]
    fn control_characters_go_and_line_ends_stay() {
        assert_eq!(clean("a\u{8}\u{7f}\u{9b}b\tc\r\nd\re\u{2028}f\u{202e}g\0"), "ab\tc\nd\ne\nfg");
        assert!(matches!(clean("plain\n\ttext 日本"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_keeps_its_meaning() {
        assert_eq!(escape_json("{\n  \"a\": \"x\u{9b}31m\u{202e}\"\n}"), "{\n  \"a\": \"x\\u009b31m\\u202e\"\n}");
    }

    #[test]
    fn many_stray_escapes_take_linear_time() {
        let text = "\u{1b}]".repeat(200_000);
        assert_eq!(clean(&text).len(), 200_000);
    }

    #[test]
    fn cutting_counts_columns() {
        assert_eq!(keep_start("日本語です", 5), "日本…");
        assert_eq!(keep_end("/home/dev/proj", 6), "…/proj");
        assert_eq!(keep_start("short", 5), "short");
        assert_eq!(keep_start("short", 0), "");
        assert_eq!(keep_end("日本", 1), "…");
    }

    #[test]
    fn long_texts_say_what_is_left_out() {
        let limits = Some(Limits { first: 2, last: 1, line: 5 });
        assert_eq!(lines("1\n2\n3\n4\n", limits), ["1", "2", "3", "4"]);
        assert_eq!(lines("1\n2\n3\n4\n5", limits), ["1", "2", "… 2 more lines", "5"]);
        assert_eq!(lines("1234567", limits), ["12345 … 2 more characters"]);
    }
}
