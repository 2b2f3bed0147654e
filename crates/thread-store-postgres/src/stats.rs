//! Statistics: what happened in each thread, folded from its lines a block at a time.

use selvedge_history::{ActivityFold, StatsFold, ThreadActivity};
use selvedge_protocol::{StatsQuery, StoredThread, ThreadFilter, ThreadLink, ThreadStats};
use selvedge_thread_store::Result;
use selvedge_thread_store::implement::activity_of;
use sqlx::postgres::PgConnection;

use crate::error::AttemptError;
use crate::history::{LoadedSegments, sort_segments};
use crate::host::{PostgresHost, end};
use crate::tables::StoredSegment;

impl PostgresHost {
    /// Returns the sums over these threads that match a query.
    ///
    /// Each thread is read in a snapshot of its own: reading all of them takes longer than one attempt may take, and a snapshot of that
    /// length keeps the server from removing old rows.
    pub(crate) async fn sums(&self, query: &StatsQuery, threads: &[StoredThread]) -> Result<ThreadStats> {
        let selection = query.selection();
        let filter = ThreadFilter::new(&selection, || threads.iter().map(ThreadLink::of));
        let mut fold = StatsFold::new(query);
        for thread in threads.iter().filter(|thread| filter.matches(thread)) {
            let measure = self.reading(async || {
                let mut snapshot = self.snapshot().await?;
                let measure = self.measure(&mut snapshot, thread).await?;
                end(snapshot).await;
                Ok(measure)
            });
            // One that was deleted meanwhile has no segments.
            if let Some((activity, bytes)) = measure.await? {
                fold.thread(thread, &activity, bytes);
            }
        }
        Ok(fold.finish())
    }

    /// Returns what happened in a thread, and how many bytes its own segments have together. `None` if it has no segments.
    async fn measure(
        &self,
        connection: &mut PgConnection,
        thread: &StoredThread,
    ) -> Result<Option<(ThreadActivity, u64)>, AttemptError> {
        let mut own = self.segments(connection, thread.id).await?;
        own.retain(|segment| segment.is_visible);
        sort_segments(thread.id, &mut own);
        let mut fold = ActivityFold::new(thread.id, thread.created_at, own.len());
        let mut bytes = 0;
        for segment in &own {
            let Some(chain) = self.stored_chain(connection, thread.id, segment.id).await? else {
                return self.measure_loaded(connection, thread, &own).await.map(Some);
            };
            fold.begin_segment();
            if chain.is_incomplete() {
                fold.miss_base_lines();
            }
            let mut places = chain.places().rev();
            let Some((newest, end)) = places.next() else { continue };
            // Of the lines before its own, only the newest count and the newest model matter.
            for (place, end) in places {
                if self.find_line_back(connection, place, end, |line| fold.observe_base_back(line)).await? {
                    break;
                }
            }
            self.for_each_line(connection, newest, 0..end, |record| fold.observe(&record.line, record.range.end))
                .await?;
            bytes += end;
        }
        Ok((!own.is_empty()).then(|| (fold.finish().0, bytes)))
    }

    /// Measures a thread with whole segments, because the prefixes that it inherits cannot be found otherwise.
    async fn measure_loaded(
        &self,
        connection: &mut PgConnection,
        thread: &StoredThread,
        own: &[StoredSegment],
    ) -> Result<(ThreadActivity, u64), AttemptError> {
        let (mut loaded, mut chains, mut bytes) = (LoadedSegments::default(), Vec::new(), 0);
        for segment in own {
            let chain = loaded.chain_from(self, connection, segment.id, false).await?;
            bytes += chain.as_ref().map_or(0, |chain| chain.newest().size());
            chains.extend(chain);
        }
        Ok((activity_of(thread, &chains), bytes))
    }
}
