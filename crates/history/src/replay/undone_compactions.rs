//! A set of compactions that rollbacks undo.

use std::ops::Range;

/// Numbers of undone compactions. The number of a compaction is the count of those before it that have a replacement history.
///
/// The numbers are kept as ranges: ascending, and with gaps between them.
#[derive(Debug, Default)]
pub(super) struct UndoneCompactions(Vec<Range<u64>>);

impl UndoneCompactions {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a range that ends at the newest compaction. It absorbs the ranges that it covers or touches, so that repeated
    /// rollbacks over the same compactions do not grow the set.
    pub(super) fn add_newest(&mut self, mut range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some(last) = self.0.pop_if(|last| last.end >= range.start) {
            range.start = range.start.min(last.start);
        }
        self.0.push(range);
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        let first_after = self.0.partition_point(|range| range.end <= number);
        self.0.get(first_after).is_some_and(|range| range.contains(&number))
    }
}
