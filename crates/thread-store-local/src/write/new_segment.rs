//! Beginning a segment: its name, the durability of what it refers to, and copying bytes into it.

use std::io::{self, Read, Write};
use std::time::Duration;

use selvedge_protocol::{SegmentId, Timestamp};
use selvedge_rollout::{HomeFiles, ResolvedHistory, RolloutFile, RolloutFileName};
use selvedge_thread_store::Result;

use crate::error::store_error;
use crate::store_core::StoreCore;

impl StoreCore {
    /// Returns the file of a segment that begins at `at`. It is newer than all other segments of the thread, because the newest
    /// one counts. It is active or archived as the newest one is.
    pub(crate) fn next_segment(&self, files: &HomeFiles, resolved: &ResolvedHistory, at: Timestamp) -> RolloutFile {
        let segments = files.segments(resolved.thread_id).iter();
        // Segments are ordered by the time in their id. For example, with the newest one of 12:00:05 and a clock that was set back
        // to 12:00:03, the next one is of 12:00:05.001.
        let newest = segments.clone().filter_map(|file| file.name.later_segment?.made_at()).max();
        let after_newest = newest.map(|newest| newest.saturating_add(Duration::from_millis(1)));
        let segment_id = SegmentId::new(after_newest.map_or(at, |after| after.max(at)));
        let mut name = RolloutFileName::new(at, resolved.thread_id, Some(segment_id));
        // Some readers order segments by the local time in the name instead, which can go back, too.
        name.created = segments.map(|file| file.name.created).fold(name.created, Ord::max);
        let archived = resolved.newest().archived;
        let path = if archived { self.home.archived_path(&name) } else { self.home.active_path(&name) };
        RolloutFile { path, name, archived }
    }

    /// Makes a history durable that a new segment is about to refer to, at any durability level.
    ///
    /// Without this, a power loss could keep the reference and lose bytes before its end. A later writer would put other lines in
    /// their place, and these would silently become part of the new history.
    pub(crate) fn sync_bases(&self, resolved: &ResolvedHistory) -> Result<()> {
        resolved.parts.iter().try_for_each(|part| self.home.sync_file(&part.file.path)).map_err(store_error)
    }
}

/// Copies bytes as they are, and a newline if they do not end in one: what follows them begins on a line of its own.
pub(crate) fn copy_ending_in_newline(mut bytes: impl Read, out: &mut dyn Write) -> io::Result<()> {
    let mut block = vec![0; 1 << 16];
    let mut last = b'\n';
    loop {
        let len = bytes.read(&mut block)?;
        let Some(end) = block[..len].last() else { break };
        last = *end;
        out.write_all(&block[..len])?;
    }
    if last == b'\n' { Ok(()) } else { out.write_all(b"\n") }
}
