//! Old compactions: what the model saw after one that does not say so itself.

use std::borrow::Cow;

use crate::shorten::shorten;

/// How many tokens of the user's own messages a compaction kept.
const KEPT_TOKENS: usize = 20_000;
const BYTES_PER_TOKEN: usize = 4;

/// How long the first line of a summary is at least that is the program's own, in bytes. Those that were seen have 399.
const MIN_PREAMBLE_BYTES: usize = 200;

/// What a compaction of mid 2025 to early 2026 kept, which left it to its reader: of the user's own messages the newest within
/// a limit. The oldest of these is cut to what is left of the limit; its text comes along then. Takes the messages that stood
/// from the newest on, and gives those that are kept in the order in which they are told again, oldest first.
///
/// Behind them comes the summary, told in the user's name; see [`summary_text`].
pub(crate) fn kept_messages<M: AsRef<str>>(
    newest_first: impl Iterator<Item = M>,
    summary: &str,
) -> Vec<(M, Option<String>)> {
    let preamble = preamble(summary);
    let is_own = |message: &M| preamble.is_none_or(|preamble| !message.as_ref().starts_with(preamble));
    let mut left = KEPT_TOKENS;
    let mut kept = Vec::new();
    for message in newest_first.filter(is_own) {
        if left == 0 {
            break;
        }
        let text = message.as_ref();
        let limit = left * BYTES_PER_TOKEN;
        left = left.saturating_sub(text.len().div_ceil(BYTES_PER_TOKEN));
        let cut = match shorten(text, limit) {
            Cow::Borrowed(_) => None,
            Cow::Owned(cut) => Some(cut),
        };
        kept.push((message, cut));
    }
    kept.reverse();
    kept
}

/// What such a compaction tells the model of a summary.
pub(crate) const fn summary_text(summary: &str) -> &str {
    if summary.is_empty() { "(no summary available)" } else { summary }
}

/// The line that a program puts in front of its summaries, always the same, with its end. A message that begins with it is the
/// summary of an earlier compaction, and the new one takes its place. Up to 0.58 programs put none there, and kept every
/// summary.
fn preamble(summary: &str) -> Option<&str> {
    let end = summary.find('\n').filter(|end| *end >= MIN_PREAMBLE_BYTES)?;
    summary.get(..=end)
}
