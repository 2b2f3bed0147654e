//! What a replay changes in the history that it gives.

use crate::truncation::OutputLimit;

/// Options of a replay. By default all items are kept verbatim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayOptions {
    /// Whether the history is as Codex sends it:
    ///
    /// - A call without an output gets the output `aborted` (a search for tools: no tools).
    /// - An output without a call of its kind is left out, unless it has the tools that a server found.
    /// - Items of a kind that Codex does not know are left out, and so are those without a field that Codex needs, with a part of
    ///   an unknown type, or of role `system`.
    /// - In the replacement history of the newest compaction, an unknown item becomes `{"type":"other"}`, and nothing else is
    ///   left out but outputs without a call.
    ///
    /// Codex does not read two kinds of lines at all, which it never writes itself: those with a lone surrogate escape, and
    /// compactions with another number of metadata than of items. Their items are in the history nevertheless.
    pub as_sent: bool,
    /// Maximum length of a tool output. A longer one keeps its beginning and its end. The replacement history of a compaction
    /// is not truncated.
    pub output_limit: Option<OutputLimit>,
}
