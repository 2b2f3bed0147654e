//! Statistics without an index: every candidate thread is read.

use std::sync::Arc;

use selvedge_history::{StatsFold, ThreadActivity};
use selvedge_protocol::{StatsQuery, ThreadFilter, ThreadId, ThreadLink, ThreadStats};
use selvedge_rollout::HomeFiles;
use selvedge_thread_store::Result;

use super::directories::{unite_linked_groups, with_links_resolved};
use super::list::directories;
use crate::error::{stat, store_error};
use crate::store_core::StoreCore;

/// What happened in a thread, and how large it is.
struct ThreadMeasure {
    activity: ThreadActivity,
    /// Bytes on disk of its segments.
    bytes: u64,
}

impl StoreCore {
    pub(crate) fn stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
        let files = self.files()?;
        let selection = query.selection();
        let records = self.candidate_records(&selection, &files, &self.names());
        let selection = with_links_resolved(&selection, directories(&records));
        let filter = ThreadFilter::new(&selection, || records.iter().map(ThreadLink::of));
        let mut fold = StatsFold::new(query);
        for thread in records.iter().filter(|thread| filter.matches(thread)) {
            match self.measure(&files, thread.id) {
                Ok(ThreadMeasure { activity, bytes }) => fold.thread(thread, &activity, bytes),
                // One unreadable thread must not take the numbers of all others away.
                Err(error) => tracing::warn!(thread_id = %thread.id, %error, "thread left out of the statistics"),
            }
        }
        Ok(unite_linked_groups(query, fold.finish()))
    }

    /// Reads what happened in a thread, and the size of its own segments.
    fn measure(&self, files: &Arc<HomeFiles>, thread_id: ThreadId) -> Result<ThreadMeasure> {
        self.read_found(files, thread_id, |files, resolved| {
            let activity = resolved.read_activity(files).map_err(store_error)?;
            let sizes = files.segments(thread_id).iter().map(|file| Ok(stat(&file.path)?.len()));
            Ok(ThreadMeasure { activity, bytes: sizes.sum::<Result<u64>>()? })
        })
    }
}
