//! The changes that a store remembers, so that each takes effect once.

use serde::{Deserialize, Serialize};

use crate::{Appended, BatchId};

/// How many changes are remembered.
const REMEMBERED: usize = 64;

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchOutcome {
    /// What an append came to.
    Appended(Appended),
    /// How many turns a revert undid.
    Reverted(usize),
}

/// The newest changes of a thread. It is stored as a list of them, the oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(BatchId, BatchOutcome)>", into = "Vec<(BatchId, BatchOutcome)>")]
pub struct RecentBatches {
    /// A ring: the newest stands before `next`, and the oldest at it once the ring is full.
    ring: Vec<(BatchId, BatchOutcome)>,
    next: usize,
    /// The highest id of all that were remembered, as a number. The ids of a process count up, so that a higher one is new.
    highest: u128,
}

impl RecentBatches {
    /// Returns what a change came to. `None` if it is not remembered.
    #[must_use]
    #[inline]
    pub fn find(&self, batch: BatchId) -> Option<BatchOutcome> {
        if self.highest < batch.as_uuid().as_u128() {
            return None;
        }
        self.ring.iter().find(|(id, _)| *id == batch).map(|(_, done)| *done)
    }

    /// Remembers what a change came to.
    #[inline]
    pub fn push(&mut self, batch: BatchId, done: BatchOutcome) {
        match self.ring.get_mut(self.next) {
            Some(oldest) => *oldest = (batch, done),
            None => self.ring.push((batch, done)),
        }
        self.next = (self.next + 1) % REMEMBERED;
        self.highest = self.highest.max(batch.as_uuid().as_u128());
    }

    /// Returns the newest change.
    #[must_use]
    pub fn last(&self) -> Option<BatchId> {
        let newest = (self.next + REMEMBERED - 1) % REMEMBERED;
        self.ring.get(newest).map(|(id, _)| *id)
    }
}

impl From<Vec<(BatchId, BatchOutcome)>> for RecentBatches {
    fn from(changes: Vec<(BatchId, BatchOutcome)>) -> Self {
        let mut recent = Self::default();
        changes.into_iter().for_each(|(batch, done)| recent.push(batch, done));
        recent
    }
}

impl From<RecentBatches> for Vec<(BatchId, BatchOutcome)> {
    fn from(RecentBatches { mut ring, next, .. }: RecentBatches) -> Self {
        if ring.len() == REMEMBERED {
            ring.rotate_left(next);
        }
        ring
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_remembered_in_any_order_of_ids() {
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
                let expected = (number >= ids.len() - REMEMBERED).then_some(BatchOutcome::Reverted(number));
                assert_eq!(recent.find(*id), expected);
            }
            ids.reverse();
        }
    }
    #[test]
    fn what_is_remembered_can_be_stored() {
        for count in [0, 1, REMEMBERED, REMEMBERED + 1, 100] {
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
