//! The items of a compaction.

use selvedge_history::TurnFormat;
use selvedge_protocol::{
    Compacted, ContextWindow, EventMsg, ItemContent, ItemId, ResponseItem, RolloutItem, TaskCompleteEvent,
    TaskStartedEvent, Timestamp, TurnId, TurnItem,
};

/// What a compaction replaces the history of the model with.
#[derive(Debug)]
pub(crate) struct Compaction<'a> {
    pub(crate) message: &'a str,
    pub(crate) replacement_history: &'a [ResponseItem],
    /// The context window that begins.
    pub(crate) window: ContextWindow,
    pub(crate) at: Timestamp,
}

impl Compaction<'_> {
    /// Adds the items of a compaction within a turn to `batch`: what the model sees from now on, and what a client shows.
    pub(crate) fn within(&self, turn_id: &TurnId, item_id: ItemId, format: &TurnFormat, batch: &mut Vec<RolloutItem>) {
        let at = Some(self.at);
        let item =
            TurnItem { started_at: at, completed_at: at, ..TurnItem::new(item_id, ItemContent::ContextCompaction) };
        batch.push(Compacted::new(self.message, self.replacement_history.to_vec(), self.window).into());
        batch.extend(format.events(turn_id, &item).into_iter().map(RolloutItem::from));
    }

    /// Returns the items of a compaction that is a turn of its own, as Codex records one that the user asks for.
    pub(crate) fn as_turn(&self, turn_id: &TurnId, item_id: ItemId, format: &TurnFormat) -> Vec<RolloutItem> {
        let seconds = self.at.as_seconds();
        let started =
            TaskStartedEvent { turn_id: Some(turn_id.clone()), started_at: Some(seconds), ..Default::default() };
        let complete = TaskCompleteEvent {
            turn_id: Some(turn_id.clone()),
            started_at: Some(seconds),
            completed_at: Some(seconds),
            duration_ms: Some(0),
            ..Default::default()
        };
        let mut batch = vec![EventMsg::from(started).into()];
        self.within(turn_id, item_id, format, &mut batch);
        batch.push(EventMsg::from(complete).into());
        batch
    }
}
