//! The changes that a store remembers, so that each takes effect once.

use crate::{Appended, BatchId};

/// How many changes are remembered.
const REMEMBERED: usize = 64;

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// What an append came to.
    Appended(Appended),
    /// How many turns a revert undid.
    Reverted(usize),
}

/// The newest changes of a thread.
#[derive(Clone, Debug, Default)]
pub struct RecentBatches {
    /// A ring: the newest stands before `next`, and the oldest at it once the ring is full.
    ring: Vec<(BatchId, Done)>,
    next: usize,
    /// The highest id of all that were remembered, as a number. The ids of a process count up, so that a higher one is new.
    highest: u128,
}

impl RecentBatches {
    /// Returns what a change came to. `None` if it is not remembered.
    #[must_use]
    #[inline]
    pub fn find(&self, batch: BatchId) -> Option<Done> {
        if self.highest < batch.as_uuid().as_u128() {
            return None;
        }
        self.ring.iter().find(|(id, _)| *id == batch).map(|(_, done)| *done)
    }

    /// Remembers what a change came to.
    #[inline]
    pub fn push(&mut self, batch: BatchId, done: Done) {
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
                recent.push(*id, Done::Reverted(number));
                assert_eq!(recent.last(), Some(*id));
            }
            for (number, id) in ids.iter().enumerate() {
                let expected = (number >= ids.len() - REMEMBERED).then_some(Done::Reverted(number));
                assert_eq!(recent.find(*id), expected);
            }
            ids.reverse();
        }
    }
}
