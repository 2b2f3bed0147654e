//! Fits text to a width: on one line, cut to a number of columns, or shortened to some of its lines.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::sanitize::sanitize;

/// How many characters of a text can end up on one line. A message may have megabytes, and no table shows more.
const MAX_LINE_CHARS: usize = 1000;

/// Returns the beginning of `text`, sanitized, with all white space between words replaced by single blanks.
pub(crate) fn single_line(text: &str) -> String {
    let end = text.char_indices().nth(MAX_LINE_CHARS).map_or(text.len(), |(at, _)| at);
    sanitize(&text[..end]).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns how many columns of a terminal `text` takes.
pub(crate) fn display_width(text: &str) -> usize {
    text.width()
}

/// Coloured text with its width. Escape sequences take no columns, so the width cannot be measured
/// afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PaintedText {
    pub(crate) text: String,
    pub(crate) width: usize,
}

/// Cuts `text` at its end to at most `width` columns.
pub(crate) fn keep_start(text: &str, width: usize) -> String {
    if display_width(text) <= width {
        return text.to_owned();
    }
    // One column is for the ellipsis.
    let ends = text.char_indices().map(|(at, letter)| (at + letter.len_utf8(), letter));
    let end = last_fitting(ends, width.saturating_sub(1));
    format!("{}{}", &text[..end.unwrap_or(0)], ellipsis(width))
}

/// Cuts `text` at its start to at most `width` columns.
pub(crate) fn keep_end(text: &str, width: usize) -> String {
    if display_width(text) <= width {
        return text.to_owned();
    }
    let start = last_fitting(text.char_indices().rev(), width.saturating_sub(1));
    format!("{}{}", ellipsis(width), &text[start.unwrap_or(text.len())..])
}

fn ellipsis(width: usize) -> &'static str {
    if width == 0 { "" } else { "…" }
}

/// Returns the offset of the last of these characters that still fits. The offset is the one that comes with the
/// character: its end when reading forward, its start when reading backward.
fn last_fitting(letters: impl Iterator<Item = (usize, char)>, width: usize) -> Option<usize> {
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
pub(crate) struct TextLimits {
    /// Lines from the start.
    pub(crate) first: usize,
    /// Lines from the end.
    pub(crate) last: usize,
    /// Characters of each line.
    pub(crate) line: usize,
}

impl TextLimits {
    /// For messages of users and agents.
    pub(crate) const SPEECH: Self = Self { first: 40, last: 10, line: 2000 };
    /// For the output of tools.
    pub(crate) const OUTPUT: Self = Self { first: 8, last: 4, line: 400 };
    /// For an overview.
    pub(crate) const SUMMARY: Self = Self { first: 3, last: 1, line: 160 };
}

/// Returns the lines of `text`, sanitized. With limits, the middle is left out, and a line in its place counts what is
/// missing.
pub(crate) fn lines(text: &str, limits: Option<TextLimits>) -> Vec<String> {
    let text = sanitize(text);
    let all: Vec<&str> = text.trim_end().lines().collect();
    let Some(limits) = limits else {
        return all.into_iter().map(str::to_owned).collect();
    };
    // Leaving out a single line would save nothing, because its replacement is a line, too.
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
    fn cutting_counts_columns() {
        assert_eq!(keep_start("日本語です", 5), "日本…");
        assert_eq!(keep_end("/home/dev/proj", 6), "…/proj");
        assert_eq!(keep_start("short", 5), "short");
        assert_eq!(keep_start("short", 0), "");
        assert_eq!(keep_end("日本", 1), "…");
    }

    #[test]
    fn a_shortened_text_counts_what_is_left_out() {
        let limits = Some(TextLimits { first: 2, last: 1, line: 5 });
        assert_eq!(lines("1\n2\n3\n4\n", limits), ["1", "2", "3", "4"]);
        assert_eq!(lines("1\n2\n3\n4\n5", limits), ["1", "2", "… 2 more lines", "5"]);
        assert_eq!(lines("1234567", limits), ["12345 … 2 more characters"]);
    }
}
