//! Which turn of a live thread is open.

use selvedge_protocol::{EventMsg, RolloutItem, TurnContext, TurnId};

/// Follows the turns in the items that a live thread appends.
///
/// A turn that was open in the log before is not known: its writer is gone, so nothing will be recorded in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct TurnTracker {
    open: Option<TurnId>,
    /// The turn whose settings were appended last.
    with_settings: Option<TurnId>,
}

impl TurnTracker {
    /// Returns the turn that was begun and has not ended.
    pub(crate) fn open(&self) -> Option<&TurnId> {
        self.open.as_ref()
    }

    /// Returns whether the settings of this turn were appended.
    pub(crate) fn has_settings_of(&self, turn: &TurnId) -> bool {
        self.with_settings.as_ref() == Some(turn)
    }

    /// Takes an item that was appended.
    pub(crate) fn apply(&mut self, item: &RolloutItem) {
        match item {
            RolloutItem::EventMsg(EventMsg::TaskStarted(event)) => self.open.clone_from(&event.turn_id),
            RolloutItem::EventMsg(EventMsg::TaskComplete(event)) => self.end(event.turn_id.as_ref()),
            RolloutItem::EventMsg(EventMsg::TurnAborted(event)) => self.end(event.turn_id.as_ref()),
            // A rewind ends the open turn.
            RolloutItem::EventMsg(EventMsg::ThreadRolledBack(_)) => self.open = None,
            RolloutItem::TurnContext(context) => self.take_settings(context),
            _ => {}
        }
    }

    /// Notes that the thread was rewound, which ends the open turn.
    pub(crate) fn rewind(&mut self) {
        *self = Self::default();
    }

    fn end(&mut self, turn: Option<&TurnId>) {
        if turn.is_none() || turn == self.open.as_ref() {
            self.open = None;
        }
    }

    fn take_settings(&mut self, context: &TurnContext) {
        self.with_settings.clone_from(&context.turn_id);
    }
}
