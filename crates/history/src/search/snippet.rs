//! The part of a text that shows a hit.

use std::ops::Range;

use super::terms::TermMatch;

/// How many characters a snippet shows on either side of the matches.
const CONTEXT_CHARS: usize = 60;

/// Maximum number of bytes from the first match that a snippet is chosen for to the last.
const MAX_FOCUS_BYTES: usize = 160;

/// A part of a text, with the terms that were found in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snippet {
    /// The part, on one line. `…` marks where the text continues.
    pub text: String,
    /// Byte ranges of the terms in `text`: ascending, with gaps between them.
    pub highlights: Vec<(usize, usize)>,
}

/// Returns the part of `text` around the best group of matches. The matches are sorted.
pub(super) fn make_snippet(text: &str, matches: &[TermMatch]) -> Snippet {
    let focus = best_focus(matches);
    let (before, after) = (&text[..focus.start], &text[focus.end..]);
    let from = before.char_indices().rev().take(CONTEXT_CHARS).last().map_or(before.len(), |(offset, _)| offset);
    let to = focus.end + after.char_indices().nth(CONTEXT_CHARS).map_or(after.len(), |(offset, _)| offset);
    let mut snippet = Snippet { text: String::new(), highlights: Vec::new() };
    if from > 0 {
        snippet.text.push('…');
    }
    // Copies text and matches alternately. Matches of different terms can overlap or touch: `done` is how far the text is
    // copied, so that nothing is copied twice, and touching highlights are merged.
    let mut done = from;
    for TermMatch { range, .. } in matches.iter().filter(|found| found.range.start >= from && found.range.end <= to) {
        let start = range.start.max(done);
        push_printable(&mut snippet.text, &text[done..start]);
        let highlight_start = snippet.text.len();
        push_printable(&mut snippet.text, &text[start..range.end.max(start)]);
        done = range.end.max(start);
        let highlight_end = snippet.text.len();
        match snippet.highlights.last_mut() {
            Some(last) if last.1 == highlight_start => last.1 = highlight_end,
            _ => snippet.highlights.push((highlight_start, highlight_end)),
        }
    }
    push_printable(&mut snippet.text, &text[done..to]);
    if to < text.len() {
        snippet.text.push('…');
    }
    snippet
}

/// Returns the range with the most different terms within [`MAX_FOCUS_BYTES`]; of several, the first.
fn best_focus(matches: &[TermMatch]) -> Range<usize> {
    let mut best = (0, 0..0);
    for (index, TermMatch { range: first, .. }) in matches.iter().enumerate() {
        // A term that is longer than the limit is a group by itself.
        let limit = first.start + MAX_FOCUS_BYTES.max(first.len());
        let close = matches[index..].iter().take_while(|found| found.range.start <= first.start + MAX_FOCUS_BYTES);
        let close = close.filter(|found| found.range.end <= limit);
        let (mut terms, mut end) = (Vec::new(), first.end);
        for found in close {
            end = end.max(found.range.end);
            if !terms.contains(&found.term) {
                terms.push(found.term);
            }
        }
        if terms.len() > best.0 {
            best = (terms.len(), first.start..end);
        }
    }
    best.1
}

/// Appends a text, with a space for each control character: a snippet is one line, and a transcript must not control a
/// terminal.
fn push_printable(out: &mut String, text: &str) {
    out.extend(text.chars().map(|character| if character.is_control() { ' ' } else { character }));
}
