//! The journal of world-state records in a replay, from which a rollback restores an earlier state.

use selvedge_protocol::{WorldState, WorldStatePatch};

/// The snapshots and patches of a thread in order. Every state that a rollback can restore is a prefix of this journal.
///
/// Keeping the states themselves was rejected: memory grew with the number of turns times the size of a state.
#[derive(Debug, Default)]
pub(crate) struct WorldJournal {
    records: Vec<WorldRecord>,
}

#[derive(Debug)]
enum WorldRecord {
    Snapshot(WorldState),
    Patch(WorldStatePatch),
}

/// A world state, as a position in the journal: its newest snapshot, and the end of the patches after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct JournaledWorld {
    /// Index of the snapshot. `None` if no world state is known.
    snapshot: Option<usize>,
    /// Number of records up to and including the last patch.
    end: usize,
}

impl JournaledWorld {
    /// Returns whether a world state is known.
    pub(crate) const fn is_known(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Forgets the world state.
    pub(crate) const fn clear(&mut self) {
        self.snapshot = None;
    }
}

impl WorldJournal {
    /// Replaces `world`, which is the newest state, by a snapshot.
    pub(crate) fn set(&mut self, world: &mut JournaledWorld, snapshot: WorldState) {
        self.append(world, WorldRecord::Snapshot(snapshot));
        world.snapshot = Some(world.end - 1);
    }

    /// Patches `world`, which is the newest state and is known.
    pub(crate) fn patch(&mut self, world: &mut JournaledWorld, patch: WorldStatePatch) {
        self.append(world, WorldRecord::Patch(patch));
    }

    /// Returns the state at a position, by applying its patches.
    pub(crate) fn into_state(mut self, world: &JournaledWorld) -> Option<WorldState> {
        self.records.truncate(world.end);
        let mut state = None;
        for record in self.records.drain(world.snapshot?..) {
            match (&mut state, record) {
                (_, WorldRecord::Snapshot(snapshot)) => state = Some(snapshot),
                (Some(state), WorldRecord::Patch(patch)) => state.apply(&patch),
                (None, WorldRecord::Patch(_)) => {}
            }
        }
        state
    }

    fn append(&mut self, world: &mut JournaledWorld, record: WorldRecord) {
        // Records after `world` belong to turns that were undone. No state refers to them any more.
        self.records.truncate(world.end);
        self.records.push(record);
        world.end = self.records.len();
    }
}
