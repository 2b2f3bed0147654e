//! Statistics without an index: every candidate thread is read.

use std::sync::Arc;

use selvedge_history::StatsFold;
use selvedge_protocol::{StatsQuery, ThreadFilter, ThreadId, ThreadLink, ThreadStats};
use selvedge_rollout::HomeFiles;
use selvedge_thread_store::Result;

use super::directories::{unite_linked_groups, with_links_resolved};
use super::list::directories;
use crate::error::stat;
use crate::store_core::StoreCore;

/// How large a thread is.
struct ThreadSize {
    turns: u64,
    /// Bytes on disk of its segments.
    bytes: u64,
}

impl StoreCore {
    pub(crate) fn stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
        let files = self.files()?;
        let records = self.candidate_records(&query.threads, &files, &self.names());
        let threads = with_links_resolved(&query.threads, directories(&records));
        let filter = ThreadFilter::new(&threads, || records.iter().map(ThreadLink::of));
        let mut fold = StatsFold::new(query);
        for thread in records.iter().filter(|thread| filter.matches(thread)) {
            match self.measure(&files, thread.id) {
                Ok(ThreadSize { turns, bytes }) => fold.thread(thread, turns, bytes),
                // One unreadable thread must not take the numbers of all others away.
                Err(error) => tracing::warn!(thread_id = %thread.id, %error, "thread left out of the statistics"),
            }
        }
        Ok(unite_linked_groups(query, fold.finish()))
    }

    /// Counts the turns of a thread's history, and the bytes of its own segments.
    fn measure(&self, files: &Arc<HomeFiles>, thread_id: ThreadId) -> Result<ThreadSize> {
        self.read_found(files, thread_id, |files, resolved| {
            let turns = self.project_turns(resolved)?.turns.finish().len() as u64;
            let sizes = files.segments(thread_id).iter().map(|file| Ok(stat(&file.path)?.len()));
            Ok(ThreadSize { turns, bytes: sizes.sum::<Result<u64>>()? })
        })
    }
}
