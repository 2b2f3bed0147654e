//! The sums that a run prints at its end.

/// What happened to the writers of a run.
#[derive(Default)]
pub(super) struct CrashTotals {
    pub(super) deaths: u64,
    pub(super) acknowledged: u64,
    /// How many of those were at durability level `synced`.
    pub(super) synced: u64,
    /// How many operations were in flight when their writer died.
    pub(super) in_flight: u64,
}

impl CrashTotals {
    pub(super) fn add(&mut self, other: &Self) {
        self.deaths += other.deaths;
        self.acknowledged += other.acknowledged;
        self.synced += other.synced;
        self.in_flight += other.in_flight;
    }
}
