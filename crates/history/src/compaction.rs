//! Old compactions: what the model saw after one that does not say so itself.

use selvedge_protocol::ResponseItem;

use crate::shorten::shorten;

/// How many tokens of the user's own messages a compaction kept.
const KEPT_TOKENS: usize = 20_000;
const BYTES_PER_TOKEN: usize = 4;

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
