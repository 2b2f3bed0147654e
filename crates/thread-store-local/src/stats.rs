//! Sums over threads without an index: every thread in question is read.

use std::sync::Arc;

use selvedge_history::StatsFold;
use selvedge_protocol::{StatsQuery, ThreadFilter, ThreadId, ThreadLink, ThreadStats};
use selvedge_rollout::HomeFiles;
use selvedge_thread_store::Result;

use crate::error::look_at;
use crate::store::Inner;

impl Inner {
    pub(crate) fn stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
        let files = self.files()?;
        let rows = self.rows_for(&query.threads, &files, &self.names());
        let filter = ThreadFilter::new(&query.threads, || rows.iter().map(ThreadLink::of));
        let mut fold = StatsFold::new(query);
        for thread in rows.iter().filter(|thread| filter.matches(thread)) {
            match self.count(&files, thread.id) {
                Ok((turns, bytes)) => fold.thread(thread, turns, bytes),
                Err(error) => tracing::warn!(thread_id = %thread.id, %error, "thread left out of the sums"),
            }
        }
        Ok(fold.finish())
    }

    /// The turns of a thread, and how much the files of it that count take up.
    fn count(&self, files: &Arc<HomeFiles>, thread_id: ThreadId) -> Result<(u64, u64)> {
        self.read_found(files, thread_id, |files, resolved| {
            let turns = self.turns_of(resolved)?.0.finish().len() as u64;
            let sizes = files.segments(thread_id).iter().map(|file| Ok(look_at(&file.path)?.len()));
            Ok((turns, sizes.sum::<Result<u64>>()?))
        })
    }
}
