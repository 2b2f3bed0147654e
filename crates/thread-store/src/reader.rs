//! The contract of a store, first part: everything that needs no writer.

use std::io::Write;

use async_trait::async_trait;
use selvedge_history::ModelContext;
use selvedge_protocol::{
    Cursor, ItemQuery, Page, SearchHit, SearchQuery, SegmentId, SessionMeta, StatsQuery, StoredThread, ThreadId,
    ThreadQuery, ThreadStats, Turn, TurnItemEntry, TurnQuery,
};

use crate::history_walk::{HistoryCollector, HistoryExporter};
use crate::{ChangePage, LinePage, LinePosition, LineQuery, Result, SegmentInfo, ThreadHistory, ThreadLookup};

/// Reads the threads of a store: everything that a list, a viewer, an export or a copy needs.
///
/// Methods with a default body are built from the others. A store that can do better overrides them.
///
/// Readers take no lock and need no claim. They repair nothing and do not fail because of damage: they return what is
/// intact, and [`load_history`](Self::load_history) reports the rest.
///
/// No method finds a lazy thread: only its writer knows of it.
#[async_trait]
pub trait ThreadReader: Send + Sync + std::fmt::Debug + 'static {
    /// Loads the whole history of a thread: all intact lines, inherited ones first, and a list of what could not be
    /// read.
    ///
    /// # Errors
    /// - `NotFound` if there is no such thread, or if it is lazy.
    async fn load_history(&self, thread_id: ThreadId) -> Result<ThreadHistory> {
        // A head that was lost to damage leaves the default, legacy, as for any log that does not name its mode.
        let mode = self.read_session_meta(thread_id).await?.map(|head| head.mode()).unwrap_or_default();
        let mut collector = HistoryCollector::new(thread_id, mode);
        while let Some(query) = collector.next_query() {
            collector.accept(self.read_lines(&query).await?)?;
        }
        Ok(collector.finish())
    }

    /// Reads a page of a thread's history, entry by entry. The entries contain every byte of it, also damage and white
    /// space.
    ///
    /// Exports, copies and tails are built on this method. Memory is bounded by the page and by the longest line.
    ///
    /// Positions stay valid when the thread grows, is archived, is compressed or is
    /// [detached](crate::ThreadStore::detach_thread), and when the store is opened again. If a rewind has undone the
    /// position at which the query begins, the page reports that in [`rewound_to`](LinePage::rewound_to). Its entries
    /// then continue from the last position before it that is still valid.
    ///
    /// While the thread has a live writer, bytes after the last newline are not an entry yet.
    ///
    /// # Errors
    /// - `NotFound` if there is no such thread.
    /// - `PositionGone` if the line before the position was changed or removed.
    /// - `TurnNotFound` if the query begins at a turn that the thread does not have.
    /// - `InvalidRequest` if the page has no room, or if the position is malformed or belongs to another thread.
    async fn read_lines(&self, query: &LineQuery) -> Result<LinePage>;

    /// Waits until there may be something after a position: more entries, or a rewind that has undone the position.
    ///
    /// It may return although nothing changed. To follow a thread, call this and [`read_lines`](Self::read_lines)
    /// alternately, each time from the end of the last page: no entry is missed and no entry comes twice.
    ///
    /// There is no timeout: a caller that does not want to wait any longer drops the future.
    ///
    /// # Errors
    /// The errors of [`read_lines`](Self::read_lines).
    async fn wait_for_lines(&self, thread_id: ThreadId, after: &LinePosition) -> Result<()>;

    /// Returns a page of the changes in the store after a cursor, the oldest change first. Without a cursor, it returns
    /// every thread that exists.
    ///
    /// Every change is reported at least once. A change reports the present state of a thread, not the operation.
    ///
    /// A cursor may expire when the store is opened again, or when the store has forgotten threads that were deleted
    /// after it.
    ///
    /// # Errors
    /// - `CursorExpired` if the store no longer knows what changed since the cursor. Start again without a cursor.
    /// - `InvalidRequest` if the limit is 0 or the cursor is malformed.
    async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage>;

    /// Waits until something may have changed after a cursor. It may return although nothing changed. There is no
    /// timeout.
    ///
    /// # Errors
    /// The errors of [`list_changes`](Self::list_changes).
    async fn wait_for_changes(&self, after: &Cursor) -> Result<()>;

    /// Returns the segments of a thread, oldest first, including abandoned ones, which its history no longer goes
    /// through. Segments of other threads that it builds on are not included.
    ///
    /// # Errors
    /// - `NotFound` if there is no such thread.
    async fn list_segments(&self, thread_id: ThreadId) -> Result<Vec<SegmentInfo>>;

    /// Reads bytes of a segment from the offset `at`: at most `max_bytes`, and at most 16 MiB. Returns no bytes at the
    /// end of the segment.
    ///
    /// The bytes are those that were written, including damage, whether or not the store compresses them.
    ///
    /// # Errors
    /// - `NotFound` if the thread has no such segment.
    async fn read_segment(&self, thread_id: ThreadId, segment: SegmentId, at: u64, max_bytes: usize)
    -> Result<Vec<u8>>;

    /// Writes the whole history of a thread to `out`, byte for byte as it is stored, and returns how many bytes that
    /// were.
    ///
    /// Damaged ranges are included. What the thread inherits by reference comes first. Memory is bounded, whatever the
    /// size of the history.
    ///
    /// # Errors
    /// - `NotFound` if there is no such thread.
    /// - `Backend` if `out` cannot be written.
    /// - `Corrupt` if the history begins in a segment that is missing. Everything that exists was written before.
    async fn export(&self, thread_id: ThreadId, out: &mut (dyn Write + Send)) -> Result<u64> {
        let mut exporter = HistoryExporter::new(thread_id, out);
        while let Some(query) = exporter.next_query() {
            exporter.accept(self.read_lines(&query).await?)?;
        }
        exporter.finish()
    }

    /// Loads what the model sees next: the replay of the whole history.
    ///
    /// # Errors
    /// - `NotFound` if there is no such thread.
    async fn load_model_context(&self, thread_id: ThreadId) -> Result<ModelContext>;

    /// Reads the metadata of a thread: its thread record. The thread may be live or cold, active or archived.
    ///
    /// # Errors
    /// - `NotFound` if there is no such thread.
    async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread>;

    /// Reads the head of a thread's newest segment: where and by which program it was made, and how its log is kept.
    /// `None` if the head was lost to damage.
    ///
    /// This reads one line, unlike [`read_thread`](Self::read_thread), which includes everything that came later.
    ///
    /// # Errors
    /// - `NotFound` if there is no such thread.
    async fn read_session_meta(&self, thread_id: ThreadId) -> Result<Option<SessionMeta>>;

    /// Returns the threads that match what a person typed, active and archived ones, in the order of their ids. The
    /// list is empty if there is no such thread.
    async fn find_threads(&self, lookup: &ThreadLookup) -> Result<Vec<ThreadId>>;

    /// Returns how many leading characters distinguish the texts of these ids from each other and from the ids of all
    /// other threads of the store, as [`distinct_prefix_len`](selvedge_protocol::distinct_prefix_len) defines it.
    async fn distinct_prefix_len(&self, thread_ids: &[ThreadId]) -> Result<usize>;

    /// Returns what happened in threads: how many there are, their turns, the tokens that they spent, and their bytes, by
    /// day, project, model or source. A thread that cannot be read is left out. Directories are compared as in
    /// [`list_threads`](Self::list_threads): all spellings of one are one project.
    ///
    /// Each turn and each token counts once, in the thread that did it, when it happened, and for the model that was
    /// used. A fork does not count what it inherited, and a sub-agent not what it copied. A rewind gives nothing back.
    /// The tokens of a thread's record, in contrast, are what its program says.
    async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats>;

    /// Returns a page of threads.
    ///
    /// Pages are keyset pages over (sort time, id). A walk over all pages by cursor returns every thread that exists
    /// during the whole walk exactly once, whatever is added, changed or removed meanwhile. A thread whose sort time
    /// changes during the walk may appear at both positions, or at the new one only.
    ///
    /// A filter by directory compares [`DirectoryPath::key`](selvedge_protocol::DirectoryPath::key), never texts. A store on
    /// the machine of the directories may resolve symbolic links in addition.
    ///
    /// # Errors
    /// - `InvalidRequest` if the limit is 0, or if the cursor is malformed or belongs to another sort key or direction.
    async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>>;

    /// Returns a page of search hits, by the rules of [`SearchQuery::text`]: in names, and in what users and agents
    /// said, thought and ran.
    ///
    /// Every store finds the same hits. How well a thread matches is measured by each store in its own way.
    ///
    /// The pages are those of the threads that have a hit, in the order of the query. The hits of one thread are never
    /// split over two pages. A walk over all pages by cursor skips no thread and repeats none, as
    /// [`list_threads`](Self::list_threads) describes; how well a thread matches is part of its position.
    ///
    /// # Errors
    /// - `InvalidRequest` if the text has no term, if the limit is 0, or if the cursor is malformed or belongs to
    ///   another order.
    async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>>;

    /// Returns a page of a thread's turns, or one turn. Turns that were undone are not included.
    ///
    /// A last turn without an end is *in progress* while the thread is live, in this store or in another one over the
    /// same threads. In a cold thread it is *interrupted*.
    ///
    /// # Errors
    /// - `NotFound` if there is no such thread.
    /// - `TurnNotFound` if the thread does not have the requested turn.
    /// - `InvalidRequest` if the limit is 0 or the cursor is malformed.
    async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>>;

    /// Returns a page of a thread's items, or of the items of one turn.
    ///
    /// # Errors
    /// - `NotFound` if there is no such thread.
    /// - `TurnNotFound` if the thread does not have the requested turn.
    /// - `InvalidRequest` if the limit is 0 or the cursor is malformed.
    async fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>>;
}
