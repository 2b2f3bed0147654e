//! Compactions without a replacement history: what the model sees after one.
//!
//! From mid 2025 to early 2026 a `compacted` line held a summary only. Its reader works out which messages are retained.

use crate::truncation::{OutputLimit, TruncatedText};

/// How many tokens of the user's own messages a compaction retains.
const RETAINED_TOKENS: usize = 20_000;
const BYTES_PER_TOKEN: usize = 4;

/// Minimum length in bytes of the first line of a summary that the program wrote. The known ones have 399 bytes.
const MIN_PREAMBLE_BYTES: usize = 200;

/// A message that a compaction retains.
pub(crate) struct RetainedMessage<M> {
    pub(crate) message: M,
    /// The text that is left, if the message is truncated.
    pub(crate) truncated: Option<TruncatedText>,
}

/// Returns the messages that a compaction without a replacement history retains: the newest of the user's own messages, up to a
/// limit. The oldest retained message is truncated to the rest of the limit. Takes the messages before the compaction from the
/// newest on, and returns the retained ones with the oldest first.
///
/// The summary follows them, as a message of role `user`; see [`summary_text`].
pub(crate) fn retained_messages<M: AsRef<str>>(
    newest_first: impl Iterator<Item = M>,
    summary: &str,
) -> Vec<RetainedMessage<M>> {
    let preamble = preamble(summary);
    let is_own = |message: &M| preamble.is_none_or(|preamble| !message.as_ref().starts_with(preamble));
    let mut tokens_left = RETAINED_TOKENS;
    let mut retained = Vec::new();
    for message in newest_first.filter(is_own) {
        if tokens_left == 0 {
            break;
        }
        let text = message.as_ref();
        let truncated = OutputLimit::Tokens(tokens_left).truncate(text);
        tokens_left = tokens_left.saturating_sub(text.len().div_ceil(BYTES_PER_TOKEN));
        retained.push(RetainedMessage { message, truncated });
    }
    retained.reverse();
    retained
}

/// Returns the text that represents a summary in the model's history.
pub(crate) const fn summary_text(summary: &str) -> &str {
    if summary.is_empty() { "(no summary available)" } else { summary }
}

/// Returns the first line of a summary, with its line end, if the program wrote that line: it is always the same. A message that
/// begins with it is the summary of an earlier compaction, which the new one replaces. Programs up to 0.58 wrote no such line
/// and retained every summary.
fn preamble(summary: &str) -> Option<&str> {
    let end = summary.find('\n').filter(|end| *end >= MIN_PREAMBLE_BYTES)?;
    summary.get(..=end)
}
