//! The implementation of `ThreadReader`. Each method answers from one snapshot of the database.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use selvedge_history::ModelContext;
use selvedge_protocol::{
    Cursor, ItemQuery, Page, SearchHit, SearchQuery, SegmentId, SessionMeta, StatsQuery, StoredThread, ThreadId,
    ThreadQuery, ThreadStats, Turn, TurnItemEntry, TurnQuery, check_limit, distinct_prefix_len,
};
use selvedge_thread_store::implement::{MAX_SEGMENT_READ, page_items, page_turns, read_lines};
use selvedge_thread_store::{
    ChangePage, LinePage, LinePosition, LineQuery, LineStart, Result, SegmentInfo, StoreError, ThreadLookup,
    ThreadReader,
};
use sqlx::postgres::PgConnection;

use crate::PostgresThreadStore;
use crate::error::AttemptError;
use crate::history::sort_segments;
use crate::host::{PostgresHost, end};
use crate::stored_lines::StoredLines;
use crate::tables::{RowLock, ThreadRow};
use crate::turns::{ThreadTurns, item_page, turn_page};

/// How often a caller that waits for lines looks whether other processes changed the thread.
const LINES_POLL: Duration = Duration::from_millis(100);

/// How often a caller that waits for changes compares the versions of all threads.
const CHANGES_POLL: Duration = Duration::from_millis(500);

impl PostgresHost {
    /// Returns a page of lines.
    async fn lines(self: &Arc<Self>, query: &LineQuery) -> Result<LinePage, AttemptError> {
        let asked = query.clone();
        let page = self.over_stored_lines(query.thread_id, move |lines| {
            if let LineStart::Turn(turn_id) = &asked.start {
                lines.set_turn_start(ThreadTurns::load(lines)?.start_of(turn_id)?);
            }
            read_lines(lines, &asked)
        });
        if let Some(page) = page.await? {
            return Ok(page);
        }
        if let LineStart::Turn(_) = query.start {
            self.fold_later([query.thread_id]);
        }
        self.loaded_lines(query).await
    }

    /// Returns a page of lines of a history that is loaded as a whole. A position can be in a segment that the thread has
    /// abandoned, so any segment can be asked for.
    async fn loaded_lines(&self, query: &LineQuery) -> Result<LinePage, AttemptError> {
        let mut snapshot = self.snapshot().await?;
        let connection = &mut *snapshot;
        let (chain, mut loaded) = self.chain_of(connection, query.thread_id).await?;
        loaded.solve(self, connection, |finder| chain.read_lines(query, |id| finder.find(id))).await
    }

    /// Returns the rows of all threads, with exact records except for threads that other processes write.
    async fn listed_threads(self: &Arc<Self>, connection: &mut PgConnection) -> Result<Vec<ThreadRow>, AttemptError> {
        let mut threads = self.threads(connection).await?;
        self.make_exact(connection, &mut threads).await?;
        Ok(threads)
    }

    /// Answers from the rows of turns, or else from the whole history. Then the rows are written soon.
    async fn from_turns<T: Send + 'static>(
        self: &Arc<Self>,
        thread_id: ThreadId,
        by_rows: impl Fn(&StoredLines) -> Result<T> + Clone + Send + 'static,
        by_turns: impl FnOnce(Vec<Turn>) -> Result<T>,
    ) -> Result<T> {
        let page = self.reading(|| self.over_stored_lines(thread_id, by_rows.clone())).await?;
        if let Some(page) = page {
            return Ok(page);
        }
        self.fold_later([thread_id]);
        by_turns(self.whole_history(thread_id).await?.turns())
    }

    async fn list_changes(self: &Arc<Self>, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
        check_limit(limit)?;
        // Locked before the snapshot is taken, so that the log never gets an older state after a newer one.
        let mut changes = self.changes.lock().await;
        'again: loop {
            self.update_feed(&mut changes).await?;
            let changes = changes.log();
            let mut ends = HashMap::new();
            for (thread_id, version, _) in changes.after(after, limit)? {
                if version.is_none() {
                    continue;
                }
                let query = LineQuery::from(thread_id, LineStart::End);
                // An end that is newer than the version is reported again with the next version.
                match self.reading(|| self.lines(&query)).await {
                    Ok(page) => drop(ends.insert(thread_id, page.next)),
                    // It was deleted meanwhile.
                    Err(StoreError::NotFound { .. }) => continue 'again,
                    Err(error) => return Err(error),
                }
            }
            return changes
                .page(after, limit, |thread_id| ends.get(&thread_id).cloned().ok_or(StoreError::not_found(thread_id)));
        }
    }

    /// Returns when a thread has another version. This process may poll for that, and other processes change the thread.
    async fn wait_for_version(&self, thread_id: ThreadId, known: Option<&String>) -> Result<()> {
        while self.version(thread_id).await?.as_ref() == known {
            tokio::time::sleep(LINES_POLL).await;
        }
        Ok(())
    }
}

#[async_trait]
impl ThreadReader for PostgresThreadStore {
    async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
        let host = &self.host;
        host.reading(|| host.lines(query)).await
    }

    async fn wait_for_lines(&self, thread_id: ThreadId, after: &LinePosition) -> Result<()> {
        loop {
            // The version is read before the lines, so a change in between ends the wait.
            let known = self.host.version(thread_id).await?;
            tokio::select! {
                outcome = self.host.signal.wait_for_lines(self, thread_id, after) => return outcome,
                outcome = self.host.wait_for_version(thread_id, known.as_ref()) => outcome?,
            }
        }
    }

    async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
        self.host.list_changes(after, limit).await
    }

    async fn wait_for_changes(&self, after: &Cursor) -> Result<()> {
        loop {
            let waiting = self.host.signal.wait_for_changes(self, after);
            // The signal checks once when it begins to wait, so each timeout is a check.
            if let Ok(outcome) = tokio::time::timeout(CHANGES_POLL, waiting).await {
                return outcome;
            }
        }
    }

    async fn list_segments(&self, thread_id: ThreadId) -> Result<Vec<SegmentInfo>> {
        let host = &self.host;
        host.reading(async || {
            let mut snapshot = host.snapshot().await?;
            let thread = host.thread(&mut snapshot, thread_id, RowLock::None).await?;
            let route = host.route(&mut snapshot, thread_id, thread.segment_id).await?;
            // A segment that the thread has abandoned is listed, too, so that a copy of the thread is complete.
            let mut own = host.segments(&mut snapshot, thread_id).await?;
            own.retain(|segment| segment.is_visible);
            sort_segments(thread_id, &mut own);
            let mut infos = Vec::new();
            for segment in own {
                let (bytes, _) = host.end_of(&mut snapshot, thread_id, segment.id).await?;
                infos.push(SegmentInfo {
                    thread_id,
                    id: segment.id,
                    created: segment.created,
                    file_name: segment.file_name,
                    base: segment.head.and_then(|head| head.history_base),
                    bytes,
                    is_current: route.iter().any(|(id, _)| *id == segment.id),
                });
            }
            end(snapshot).await;
            Ok(infos)
        })
        .await
    }

    async fn read_segment(
        &self,
        thread_id: ThreadId,
        segment: SegmentId,
        at: u64,
        max_bytes: usize,
    ) -> Result<Vec<u8>> {
        let host = &self.host;
        host.reading(async || {
            let mut snapshot = host.snapshot().await?;
            host.thread(&mut snapshot, thread_id, RowLock::None).await?;
            // Bytes are returned as they are stored, damage included.
            let own = host.segments(&mut snapshot, thread_id).await?;
            if !own.iter().any(|own| own.is_visible && own.id == segment) {
                return Err(StoreError::not_found(thread_id).into());
            }
            let range = at..at.saturating_add(max_bytes.min(MAX_SEGMENT_READ) as u64);
            let bytes = host.bytes(&mut snapshot, (thread_id, segment), range).await?;
            end(snapshot).await;
            Ok(bytes)
        })
        .await
    }

    async fn load_model_context(&self, thread_id: ThreadId) -> Result<ModelContext> {
        let host = &self.host;
        let context = host.reading(|| host.over_stored_lines(thread_id, StoredLines::model_context)).await?;
        if let Some(context) = context {
            return Ok(context);
        }
        Ok(self.host.whole_history(thread_id).await?.model_context())
    }

    async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        let host = &self.host;
        host.reading(async || {
            let mut snapshot = host.snapshot().await?;
            let mut thread = host.thread(&mut snapshot, thread_id, RowLock::None).await?;
            host.fold_later(thread.is_behind().then_some(thread_id));
            let record = host.exact_record(&mut snapshot, &mut thread).await?;
            end(snapshot).await;
            Ok(record)
        })
        .await
    }

    async fn read_session_meta(&self, thread_id: ThreadId) -> Result<Option<SessionMeta>> {
        let host = &self.host;
        host.reading(async || {
            let mut snapshot = host.snapshot().await?;
            let thread = host.thread(&mut snapshot, thread_id, RowLock::None).await?;
            let own = host.segments(&mut snapshot, thread_id).await?;
            end(snapshot).await;
            Ok(own.into_iter().find(|own| own.id == thread.segment_id).and_then(|own| own.head))
        })
        .await
    }

    async fn find_threads(&self, lookup: &ThreadLookup) -> Result<Vec<ThreadId>> {
        self.host.find_ids(lookup).await
    }

    async fn distinct_prefix_len(&self, thread_ids: &[ThreadId]) -> Result<usize> {
        Ok(distinct_prefix_len(thread_ids, self.host.neighbours(thread_ids).await?))
    }

    async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
        let host = &self.host;
        let listed = host.reading(async || {
            let mut snapshot = host.snapshot().await?;
            let threads = host.listed_threads(&mut snapshot).await?;
            end(snapshot).await;
            Ok(threads.iter().map(ThreadRow::stored_record).collect::<Vec<_>>())
        });
        host.sums(query, &listed.await?).await
    }

    async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
        self.host.list_threads(query).await
    }

    async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
        self.host.search(query).await
    }

    async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
        let asked = query.clone();
        let by_rows = move |lines: &StoredLines| turn_page(lines, &asked);
        self.host.from_turns(query.thread_id, by_rows, |turns| page_turns(query, turns)).await
    }

    async fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>> {
        let asked = query.clone();
        let by_rows = move |lines: &StoredLines| item_page(lines, &asked);
        self.host.from_turns(query.thread_id, by_rows, |turns| page_items(query, turns)).await
    }
}
