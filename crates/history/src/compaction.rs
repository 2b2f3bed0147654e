//! Old compactions: what the model saw after one that does not say so itself.

use selvedge_protocol::ResponseItem;

use crate::shorten::shorten;

/// How many tokens of the user's own messages a compaction kept.
const KEPT_TOKENS: usize = 20_000;
const BYTES_PER_TOKEN: usize = 4;

/// How long the first line of a summary is at least that is the program's own, in bytes. Those that were seen have 399.
const MIN_PREAMBLE_BYTES: usize = 200;

/// Whether a compaction with this summary leaves out `message`, because that is the summary of an earlier one.
///
/// Programs tell a summary from the user's words by the line that they put in front of it, always the same; so it is known
/// here by having the line in front that the new one has. Up to 0.58 they put none there, and kept every summary.
pub(crate) fn replaces_summary(summary: &str, message: &str) -> bool {
    let preamble = |text: &'_ str| text.find('\n').filter(|end| *end >= MIN_PREAMBLE_BYTES);
    preamble(summary).is_some_and(|end| message.as_bytes().get(..=end) == summary.as_bytes().get(..=end))
}

/// The history after a compaction of mid 2025 to early 2026, which left it to its reader: the user's own messages, the
/// newest of them within a limit, and then the summary, told in the user's name. The oldest message that is kept is cut
/// to what is left of the limit.
pub(crate) fn rebuilt_history(messages: Vec<String>, summary: &str) -> Vec<ResponseItem> {
    let mut left = KEPT_TOKENS;
    let mut kept = Vec::new();
    for message in messages.into_iter().rev() {
        if left == 0 {
            break;
        }
        let limit = left * BYTES_PER_TOKEN;
        left = left.saturating_sub(message.len().div_ceil(BYTES_PER_TOKEN));
        kept.push(ResponseItem::user_text(&shorten(&message, limit)));
    }
    kept.reverse();
    let summary = if summary.is_empty() { "(no summary available)" } else { summary };
    kept.push(ResponseItem::user_text(summary));
    kept
}
