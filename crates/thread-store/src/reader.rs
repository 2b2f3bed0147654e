//! The contract of a reader: everything that needs no writer.

use std::io::Write;

use async_trait::async_trait;
use selvedge_history::ModelContext;
use selvedge_protocol::{
    Cursor, ItemQuery, Page, SearchHit, SearchQuery, SegmentId, SessionMeta, StatsQuery, StoredThread, ThreadId,
    ThreadQuery, ThreadStats, Turn, TurnItemEntry, TurnQuery,
};

use crate::{
    ChangePage, LinePage, LinePosition, LineQuery, Result, SegmentInfo, ThreadHistory, ThreadLookup, provided,
};

/// Reads the threads of a store: what a list, a viewer, an export or a copy needs.
///
/// Methods with a body are made of the others; a store that can do better has its own.
///
/// Readers take no lock and need no claim. They repair nothing and do not fail for damage: what is intact is returned, and
/// [`load_history`](Self::load_history) tells what is not.
#[async_trait]
pub trait ThreadReader: Send + Sync + std::fmt::Debug + 'static {
    /// Loads a thread's whole history: inherited lines first, every intact line, and what could not be read.
    ///
    /// # Errors
    /// `NotFound`; a lazy thread is not found.
    async fn load_history(&self, thread_id: ThreadId) -> Result<ThreadHistory> {
        provided::load_history(self, thread_id).await
    }

    /// Reads a page of a thread's history, entry by entry: every byte of it, damage and white space too. This is what exports,
    /// copies and tails stand on. Memory is bounded by the page, and by the longest line.
    ///
    /// Positions stay valid over appends, the archive, compression and [`detach_thread`](crate::ThreadStore::detach_thread), and when
    /// the store is opened again. If
    /// the place that the query begins at was undone by a rewind, the page says so in
    /// [`rewound_to`](LinePage::rewound_to) and goes on from the last place before it that was not. What follows the last line
    /// without a newline is no entry while the thread has a live writer.
    ///
    /// # Errors
    /// `NotFound`; `PositionGone` if the line before the position was changed or is gone; `TurnNotFound`; `InvalidRequest` for a
    /// page without room, or a position that is malformed or of another thread.
    async fn read_lines(&self, query: &LineQuery) -> Result<LinePage>;

    /// Returns when there may be something behind a position: more entries, or a rewind that undid the position. It may return
    /// for nothing. To follow a thread, alternate it with [`read_lines`](Self::read_lines) from where the last page ended: no
    /// entry is missed and none comes twice.
    ///
    /// It waits without end; a caller that wants no more drops the future.
    ///
    /// # Errors
    /// As [`read_lines`](Self::read_lines).
    async fn wait_for_lines(&self, thread_id: ThreadId, after: &LinePosition) -> Result<()>;

    /// Returns a page of what changed in the store behind a cursor, the oldest change first; without a cursor, every thread that
    /// is there. Changes are told at least once: by how a thread is now, and not by what was done to it.
    ///
    /// A cursor may expire when the store is opened again, or when the store has forgotten threads that were deleted behind it.
    ///
    /// # Errors
    /// `CursorExpired` if the store cannot say any more what changed since: begin without a cursor; `InvalidRequest` for a limit
    /// of 0 or a malformed cursor.
    async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage>;

    /// Returns when something may have changed behind a cursor. It may return for nothing, and waits without end otherwise.
    ///
    /// # Errors
    /// As [`list_changes`](Self::list_changes).
    async fn wait_for_changes(&self, after: &Cursor) -> Result<()>;

    /// Returns the thread's own segments, oldest first, those too that its history does not go through any more. Segments of
    /// other threads that it builds on are theirs.
    ///
    /// # Errors
    /// `NotFound`.
    async fn list_segments(&self, thread_id: ThreadId) -> Result<Vec<SegmentInfo>>;

    /// Reads bytes of a segment from `at` on, at most `max_bytes` of them and 16 MiB; none at its end. They are the bytes as
    /// they were written, damage too, whether the store compresses them or not.
    ///
    /// # Errors
    /// `NotFound` if the thread has no such segment.
    async fn read_segment(&self, thread_id: ThreadId, segment: SegmentId, at: u64, max_bytes: usize)
    -> Result<Vec<u8>>;

    /// Writes a thread's whole history to `out` as it is stored, byte for byte, damaged stretches too, and returns how many
    /// bytes that were. What was inherited by reference comes first. Memory is bounded, whatever the size.
    ///
    /// # Errors
    /// `NotFound`; `Backend` if `out` cannot be written; `Corrupt` if the history begins in a segment that is missing, after
    /// everything that is there was written.
    async fn export(&self, thread_id: ThreadId, out: &mut (dyn Write + Send)) -> Result<u64> {
        provided::export(self, thread_id, out).await
    }

    /// Loads what the model sees next: the replay of the whole history.
    ///
    /// # Errors
    /// `NotFound`.
    async fn load_model_context(&self, thread_id: ThreadId) -> Result<ModelContext>;

    /// Reads a thread's metadata, live or cold, archived or not.
    ///
    /// # Errors
    /// `NotFound`.
    async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread>;

    /// Reads the head of a thread's newest segment: where and by whom it was made, and how its log is kept. Costs that line
    /// alone, unlike [`read_thread`](Self::read_thread), which knows what came later. `None` if it was lost to damage.
    ///
    /// # Errors
    /// `NotFound`.
    async fn read_session_meta(&self, thread_id: ThreadId) -> Result<Option<SessionMeta>>;

    /// Returns the threads that a person means by what was typed, active and archived ones, in the order of their ids; none
    /// if there is no such thread.
    async fn find_threads(&self, lookup: &ThreadLookup) -> Result<Vec<ThreadId>>;

    /// Returns how many characters of their texts tell these ids apart from each other and from the ids of all other threads of
    /// the store, as [`distinct_prefix_len`](selvedge_protocol::distinct_prefix_len) says.
    async fn distinct_prefix_len(&self, thread_ids: &[ThreadId]) -> Result<usize>;

    /// Sums over threads: how many, their turns, tokens and bytes, by day, project, model or source. A thread that cannot be
    /// read is left out.
    async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats>;

    /// Gives a page of threads.
    ///
    /// Pages are keyset pages over (sort time, id): going through them by cursor gives every thread that is there all the
    /// time exactly once, whatever else is added, changed or removed meanwhile. A thread whose sort time changes
    /// meanwhile may show at both places or at its new one only.
    ///
    /// # Errors
    /// `InvalidRequest` for a limit of 0, or a cursor that is malformed or of another sort key or direction.
    async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>>;

    /// Gives a page of places where a text stands, by the rules of [`SearchQuery::text`]: in names, and in what users and
    /// agents said, thought and ran. Which places those are is the same in every store. How well a thread fits is the store's
    /// own measure.
    ///
    /// The pages are those of the threads that have a hit, in the order of the query; a thread's hits are never torn over
    /// two pages. Going through them by cursor skips no thread and repeats none, as
    /// [`list_threads`](Self::list_threads) says, with how well a thread fits as part of its place.
    ///
    /// # Errors
    /// `InvalidRequest` for a text without a term, a limit of 0, or a cursor that is malformed or of another order.
    async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>>;

    /// Returns a page of a thread's turns, or one turn, as they are after everything that was undone.
    ///
    /// A last turn without an end is in progress while the thread is live anywhere: in this store or in another one over the same
    /// threads. Of a cold thread it is interrupted.
    ///
    /// # Errors
    /// `NotFound`; `TurnNotFound`; `InvalidRequest` for a limit of 0 or a malformed cursor.
    async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>>;

    /// Gives a page of a thread's items, or of one turn's.
    ///
    /// # Errors
    /// `NotFound`; `TurnNotFound`; `InvalidRequest` for a limit of 0 or a malformed cursor.
    async fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>>;
}
