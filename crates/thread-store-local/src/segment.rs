//! Where the next segment of a thread goes.

use std::time::Duration;

use selvedge_protocol::{SegmentId, Timestamp};
use selvedge_rollout::{HomeFiles, ResolvedHistory, RolloutFile, RolloutFileName};

use crate::store::Inner;

impl Inner {
    /// The file of a segment that begins at `at` and is newer than all others of the thread, also when the clock went back
    /// meanwhile: the newest one is the one that counts. It is where the newest one is, active or archived.
    pub(crate) fn next_segment(&self, files: &HomeFiles, resolved: &ResolvedHistory, at: Timestamp) -> RolloutFile {
        let segments = files.segments(resolved.thread_id).iter();
        let newest = segments.clone().filter_map(|file| file.name.later_segment?.made_at()).max();
        let after_newest = newest.map(|newest| newest.saturating_add(Duration::from_millis(1)));
        let segment_id = SegmentId::new(after_newest.map_or(at, |after| after.max(at)));
        let mut name = RolloutFileName::new(at, resolved.thread_id, Some(segment_id));
        // There are readers that go by the local time in the name.
        name.created = segments.map(|file| file.name.created).fold(name.created, Ord::max);
        let archived = resolved.newest().archived;
        let path = if archived { self.home.archived_path(&name) } else { self.home.active_path(&name) };
        RolloutFile { path, name, archived }
    }
}
