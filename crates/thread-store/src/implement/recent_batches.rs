//! The newest changes of a thread, which a store remembers so that each takes effect once.

use serde::{Deserialize, Serialize};

use crate::{Appended, BatchId};

/// How many changes are remembered. [`append_items`](crate::ThreadStore::append_items) promises this number.
const CAPACITY: usize = 64;

/// The outcome of a change that has a batch id. A repeated call returns it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchOutcome {
    /// The result of an append.
    Appended(Appended),
    /// How many turns a revert has undone.
    Reverted(usize),
}

/// The newest changes of a thread with their outcomes. Serialized as a list, the oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(BatchId, BatchOutcome)>", into = "Vec<(BatchId, BatchOutcome)>")]
pub struct RecentBatches {
    /// A ring buffer. The newest change is before `next`. Once the ring is full, the oldest one is at `next`.
    ring: Vec<(BatchId, BatchOutcome)>,
    next: usize,
    /// The highest id that was ever added, as a number. A higher id is new and needs no search. This is the usual case
    /// of an append, because the ids of a process count up.
    highest: u128,
}

impl RecentBatches {
    /// Returns the outcome of a change. `None` if the change is new or no longer remembered.
    #[must_use]
    #[inline]
    pub fn find(&self, batch: BatchId) -> Option<BatchOutcome> {
        // Not exact for ids of several processes: an id that is not higher may still be new, and is searched for.
        if self.highest < batch.as_uuid().as_u128() {
            return None;
        }
        self.ring.iter().find(|(id, _)| *id == batch).map(|(_, outcome)| *outcome)
    }

    /// Remembers the outcome of a change. A full ring forgets its oldest one.
    #[inline]
    pub fn push(&mut self, batch: BatchId, outcome: BatchOutcome) {
        // The ring grows to its capacity once. From then on each change replaces the oldest one.
        match self.ring.get_mut(self.next) {
            Some(oldest) => *oldest = (batch, outcome),
            None => self.ring.push((batch, outcome)),
        }
        self.next = (self.next + 1) % CAPACITY;
        self.highest = self.highest.max(batch.as_uuid().as_u128());
    }

    /// Returns the newest change. `None` if there is none.
    #[must_use]
    pub fn last(&self) -> Option<BatchId> {
        // In an empty ring this is the last index of a full one, at which there is nothing.
        let newest = (self.next + CAPACITY - 1) % CAPACITY;
        self.ring.get(newest).map(|(id, _)| *id)
    }
}

impl From<Vec<(BatchId, BatchOutcome)>> for RecentBatches {
    fn from(changes: Vec<(BatchId, BatchOutcome)>) -> Self {
        let mut recent = Self::default();
        changes.into_iter().for_each(|(batch, outcome)| recent.push(batch, outcome));
        recent
    }
}

impl From<RecentBatches> for Vec<(BatchId, BatchOutcome)> {
    fn from(RecentBatches { mut ring, next, .. }: RecentBatches) -> Self {
        if ring.len() == CAPACITY {
            ring.rotate_left(next);
        }
        ring
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_changes_are_remembered_whatever_the_order_of_their_ids() {
        let mut ids: Vec<BatchId> = (0..100).map(|_| BatchId::generate()).collect();
        assert!(ids.windows(2).all(|pair| pair[0].as_uuid() < pair[1].as_uuid()));
        for _ in 0..2 {
            let mut recent = RecentBatches::default();
            for (number, id) in ids.iter().enumerate() {
                assert_eq!(recent.find(*id), None);
                recent.push(*id, BatchOutcome::Reverted(number));
                assert_eq!(recent.last(), Some(*id));
            }
            for (number, id) in ids.iter().enumerate() {
                let expected = (number >= ids.len() - CAPACITY).then_some(BatchOutcome::Reverted(number));
                assert_eq!(recent.find(*id), expected);
            }
            ids.reverse();
        }
    }

    #[test]
    fn remembered_changes_survive_serialization() {
        for count in [0, 1, CAPACITY, CAPACITY + 1, 100] {
            let mut recent = RecentBatches::default();
            let ids: Vec<BatchId> = (0..count).map(|_| BatchId::generate()).collect();
            ids.iter().for_each(|id| recent.push(*id, BatchOutcome::Reverted(1)));
            let stored = serde_json::to_string(&recent).unwrap();
            let read: RecentBatches = serde_json::from_str(&stored).unwrap();
            assert_eq!(read.last(), ids.last().copied());
            for id in &ids {
                assert_eq!(read.find(*id), recent.find(*id));
            }
        }
    }
}
