//! The result of a replay.

use selvedge_protocol::{ContextWindow, ResponseItem, TurnContext, WorldState};
use serde::Serialize;

/// The state of a thread that a model needs to continue it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ModelContext {
    /// The items that the model sees, verbatim and in order.
    pub history: Vec<ResponseItem>,
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
