//! What a replay was told of the world, so that a rollback finds what was known before.

use selvedge_protocol::{WorldState, WorldStatePatch};

/// The snapshots and patches of a thread in order, as a journal from which every state that a rollback can go back to is
/// made again.
///
/// To keep the states themselves would take memory that grows with the number of turns times the size of a state.
#[derive(Debug, Default)]
pub(crate) struct WorldJournal {
    records: Vec<WorldRecord>,
}

#[derive(Debug)]
enum WorldRecord {
    Snapshot(WorldState),
    Patch(WorldStatePatch),
}

/// A state, as a place in the journal: its newest snapshot, and the patches behind that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct JournaledWorld {
    /// The record that is the snapshot. `None` if nothing is known of the world.
    snapshot: Option<usize>,
    /// How many records there are up to the last patch.
    end: usize,
}

impl JournaledWorld {
    /// Whether something is known of the world.
    pub(crate) const fn is_known(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Forgets what was known.
    pub(crate) const fn clear(&mut self) {
        self.snapshot = None;
    }
}

impl WorldJournal {
    /// Makes `world`, which is the newest state, into this snapshot.
    pub(crate) fn set(&mut self, world: &mut JournaledWorld, snapshot: WorldState) {
        self.add(world, WorldRecord::Snapshot(snapshot));
        world.snapshot = Some(world.end - 1);
    }

    /// Patches `world`, which is the newest state, and of which something is known.
    pub(crate) fn patch(&mut self, world: &mut JournaledWorld, patch: WorldStatePatch) {
        self.add(world, WorldRecord::Patch(patch));
    }

    /// The state.
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

    /// What stands behind `world` was told in turns that were undone since.
    fn add(&mut self, world: &mut JournaledWorld, record: WorldRecord) {
        self.records.truncate(world.end);
        self.records.push(record);
        world.end = self.records.len();
    }
}
