//! Which parts of a transcript a document contains.

use selvedge_protocol::ItemContent;

/// Which parts of a transcript a document contains. Messages, plans and reviews are always there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TranscriptParts {
    /// Commands, changes of files, calls of tools, searches and other steps of the agent.
    pub tools: bool,
    /// The reasoning of the model.
    pub reasoning: bool,
    /// Images whose bytes are in the transcript. Without them, a text says where an image was.
    pub images: bool,
}

impl Default for TranscriptParts {
    /// Everything.
    fn default() -> Self {
        Self { tools: true, reasoning: true, images: true }
    }
}

impl TranscriptParts {
    /// Returns whether a document contains this item.
    #[must_use]
    pub fn contain(&self, content: &ItemContent) -> bool {
        match content {
            ItemContent::Reasoning { .. } => self.reasoning,
            ItemContent::CommandExecution { .. }
            | ItemContent::FileChange { .. }
            | ItemContent::ToolCall { .. }
            | ItemContent::WebSearch { .. }
            | ItemContent::Other(_) => self.tools,
            _ => true,
        }
    }
}
