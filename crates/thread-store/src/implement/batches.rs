//! The changes that a store remembers, so that each takes effect once.

use std::collections::VecDeque;

use crate::{Appended, BatchId};

/// How many changes are remembered.
const REMEMBERED: usize = 64;

/// What a change came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done<T = Appended> {
    /// What an append came to.
    Appended(T),
    /// How many turns a revert undid.
    Reverted(usize),
}

/// The newest changes of a thread.
#[derive(Clone, Debug)]
pub struct RecentBatches<T = Appended> {
    newest_last: VecDeque<(BatchId, Done<T>)>,
    /// The highest id of all that were remembered. The ids of a process count up, so that a higher one is new.
    highest: Option<BatchId>,
}

impl<T> Default for RecentBatches<T> {
    fn default() -> Self {
        Self { newest_last: VecDeque::new(), highest: None }
    }
}

impl<T> RecentBatches<T> {
    /// Returns what a change came to. `None` if it is not remembered.
    #[must_use]
    pub fn find(&self, batch: BatchId) -> Option<&Done<T>> {
        if self.highest.is_none_or(|highest| highest.as_uuid() < batch.as_uuid()) {
            return None;
        }
        self.newest_last.iter().rev().find(|(id, _)| *id == batch).map(|(_, done)| done)
    }

    /// Remembers what a change came to.
    pub fn push(&mut self, batch: BatchId, done: Done<T>) {
        if self.newest_last.len() == REMEMBERED {
            self.newest_last.pop_front();
        }
        self.newest_last.push_back((batch, done));
        if self.highest.is_none_or(|highest| highest.as_uuid() < batch.as_uuid()) {
            self.highest = Some(batch);
        }
    }

    /// Returns the newest change.
    #[must_use]
    pub fn last(&self) -> Option<BatchId> {
        self.newest_last.back().map(|(id, _)| *id)
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
            let mut recent: RecentBatches<usize> = RecentBatches::default();
            for (number, id) in ids.iter().enumerate() {
                assert_eq!(recent.find(*id), None);
                recent.push(*id, Done::Appended(number));
                assert_eq!(recent.last(), Some(*id));
            }
            for (number, id) in ids.iter().enumerate() {
                let expected = (number >= ids.len() - REMEMBERED).then_some(Done::Appended(number));
                assert_eq!(recent.find(*id).cloned(), expected);
            }
            ids.reverse();
        }
    }
}
