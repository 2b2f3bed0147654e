//! Decides when a live thread writes world-state records, and whether as a snapshot or as a patch.

use selvedge_protocol::{WorldState, WorldStateRecord};

/// Turns snapshots into the shortest records that update a reader.
///
/// The caller appends, in one batch, first the items that the model sees and then the record. After a crash between the two,
/// the model gets an update twice. In the other order it would never get it.
#[derive(Clone, Debug, Default)]
pub struct WorldStateTracker {
    baseline: Option<WorldState>,
}

impl WorldStateTracker {
    /// Creates a tracker for a model that knows no world state.
    #[must_use]
    pub const fn new() -> Self {
        Self { baseline: None }
    }

    /// Creates a tracker that continues from the world state of a replay.
    #[must_use]
    pub const fn restored(baseline: Option<WorldState>) -> Self {
        Self { baseline }
    }

    /// Returns the record that makes `current` known to the model, and assumes that it is written: a full snapshot if the model
    /// knows no world state, a patch if it knows another one, `None` if it knows this one.
    pub fn record(&mut self, current: &WorldState) -> Option<WorldStateRecord> {
        let record = match &self.baseline {
            None => WorldStateRecord::snapshot(current),
            Some(baseline) => WorldStateRecord::patch(baseline.diff(current)?),
        };
        self.baseline = Some(current.clone());
        Some(record)
    }

    /// Forgets the world state, because the model has: its history was replaced, or a rollback undid the record.
    pub fn clear(&mut self) {
        self.baseline = None;
    }

    /// Returns the world state that the model knows.
    #[must_use]
    pub const fn baseline(&self) -> Option<&WorldState> {
        self.baseline.as_ref()
    }
}
