//! What to write about the surroundings, and when.

use selvedge_protocol::{WorldState, WorldStateRecord};

/// Turns snapshots into the shortest records that bring a reader up to date.
///
/// The caller appends what the model sees first and the record after it, in one batch. A crash between the two can then
/// only make an update come twice, never not at all.
#[derive(Clone, Debug, Default)]
pub struct WorldStateTracker {
    baseline: Option<WorldState>,
}

impl WorldStateTracker {
    /// Nothing has been told yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { baseline: None }
    }

    /// Goes on from what replay found.
    #[must_use]
    pub const fn restored(baseline: Option<WorldState>) -> Self {
        Self { baseline }
    }

    /// The record that makes `current` known, and takes it as told: a whole snapshot when nothing has been told, a patch
    /// when something else has, nothing when the same has.
    pub fn record(&mut self, current: &WorldState) -> Option<WorldStateRecord> {
        let record = match &self.baseline {
            None => WorldStateRecord::snapshot(current),
            Some(baseline) => WorldStateRecord::patch(baseline.diff(current)?),
        };
        self.baseline = Some(current.clone());
        Some(record)
    }

    /// Forgets what has been told, as the model has: its history was replaced, or rolled back behind the telling.
    pub fn clear(&mut self) {
        self.baseline = None;
    }

    /// What the model has been told.
    #[must_use]
    pub const fn baseline(&self) -> Option<&WorldState> {
        self.baseline.as_ref()
    }
}
