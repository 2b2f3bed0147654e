//! The result of a replay.

use selvedge_protocol::{ContextWindow, ResponseItem, TurnContext, WorldState};
use serde::Serialize;

use super::replay_options::ReplayOptions;
use crate::sent_history::sent_history;
use crate::truncation::truncate_output;

/// The state of a thread that a model needs to continue it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModelContext {
    /// The items that the model sees, verbatim and in order.
    pub history: Vec<ResponseItem>,
    /// Number of items at the beginning of `history` that a compaction put there.
    #[serde(skip)]
    pub compacted_items: usize,
    /// The world state that the model knows: the baseline for the next patch. `None` if the next record must be a full
    /// snapshot.
    pub world_state: Option<WorldState>,
    /// The context window that the thread is in.
    pub window: ContextWindow,
    /// The settings that the model was given last. `None` after a compaction, until they are written again.
    pub turn_context: Option<TurnContext>,
    /// The settings of the newest turn of the user. Compactions do not clear them.
    pub previous_settings: Option<TurnContext>,
    /// Problems in the items. None of them makes a thread unreadable.
    pub warnings: Vec<String>,
}

impl ModelContext {
    /// Applies the options of a replay to the history, as if the replay had had them.
    #[must_use]
    pub fn with_options(mut self, options: ReplayOptions) -> Self {
        if let Some(limit) = options.output_limit {
            for item in self.history.iter_mut().skip(self.compacted_items) {
                *item = truncate_output(item.clone(), limit);
            }
        }
        if options.as_sent {
            // From here on the items of the compaction cannot be told apart, and need not be.
            let replaced = std::mem::take(&mut self.compacted_items);
            self.history = sent_history(self.history, replaced);
        }
        self
    }
}
