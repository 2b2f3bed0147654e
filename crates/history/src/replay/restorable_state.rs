//! The state that a rollback restores, except the history.

use std::sync::Arc;

use selvedge_protocol::{Compacted, ContextWindow, TurnContext};

use crate::world_journal::JournaledWorld;

/// The state that a rollback restores, except the history. Every turn of the user has a copy from before it; a copy increments a
/// few reference counts, for a thread of any size.
#[derive(Clone, Debug, Default)]
pub(super) struct RestorableState {
    pub(super) world_state: JournaledWorld,
    pub(super) turn_context: Option<Arc<TurnContext>>,
    pub(super) previous_settings: Option<Arc<TurnContext>>,
    /// The newest context window that a compaction named.
    pub(super) window: Option<ContextWindow>,
    /// Number of compactions that are not undone.
    pub(super) compactions: u64,
    /// Whether one of them has no window number.
    pub(super) has_unnumbered: bool,
    /// Number of compactions with a replacement history so far, undone ones included. A rollback does not restore it.
    pub(super) read_compactions: u64,
    /// Whether `world_state` and `turn_context` depend on lines before the start of a replay of the tail, which were not read.
    pub(super) is_unknown: bool,
    /// The same for `previous_settings`.
    pub(super) has_unknown_settings: bool,
}

impl RestorableState {
    /// Applies a compaction: the model loses its world state and settings, and a window begins.
    pub(super) fn compact(&mut self, compacted: &Compacted) {
        // After a compaction the program describes the environment again: settings, and a full snapshot of the world state.
        self.world_state.clear();
        self.turn_context = None;
        self.compactions += 1;
        match compacted.window_number {
            Some(number) => {
                self.window = Some(ContextWindow {
                    number,
                    first_window_id: compacted.first_window_id,
                    previous_window_id: compacted.previous_window_id,
                    window_id: compacted.window_id,
                });
            }
            None => self.has_unnumbered = true,
        }
    }

    /// The open turn has its first message of the user: the settings that were written since its start (`before`) become those
    /// of a turn of the user.
    pub(super) fn adopt_turn_settings(&mut self, before: &Self) {
        if let Some(settings) = &self.turn_context
            && !before.turn_context.as_ref().is_some_and(|old| Arc::ptr_eq(old, settings))
        {
            self.previous_settings = Some(Arc::clone(settings));
            self.has_unknown_settings = false;
        }
    }

    /// Forgets the windows of the source of a fork: a fork counts its own. The model's history and world state stay.
    pub(super) fn forget_windows(&mut self) {
        self.window = None;
        self.compactions = 0;
        self.has_unnumbered = false;
    }
}
