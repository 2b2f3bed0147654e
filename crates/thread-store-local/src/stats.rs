//! Sums over threads without an index: every thread in question is read.

use std::sync::Arc;

use selvedge_history::StatsFold;
use selvedge_protocol::{StatsQuery, ThreadFilter, ThreadId, ThreadLink, ThreadStats};
use selvedge_rollout::HomeFiles;
use selvedge_thread_store::Result;

use crate::error::look_at;
use crate::store::{Inner, LocalThreadStore};

impl LocalThreadStore {
    /// Sums over threads: how many, their turns, tokens and bytes, by day, project, model or source. The index answers where
    /// it can; else every thread in question is read.
    ///
    /// # Errors
    /// `Backend` when the home cannot be read. A thread that cannot be read is left out, and the log says so.
    pub async fn stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
        let index = &self.inner.index;
        if let Some(fresh) = index.fresh().await
            && let Some(stats) = index.answer(&fresh, fresh.index.stats(query).await).await
        {
            return Ok(stats);
        }
        let query = query.clone();
        self.blocking(move |store| store.stats(&query)).await
    }
}

impl Inner {
    fn stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
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
