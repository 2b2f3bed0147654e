//! The contract of a store, second part: the life of a writer, and every change.

use async_trait::async_trait;
use selvedge_protocol::{RolloutItem, SessionMeta, StoredThread, ThreadId, ThreadMetadataPatch};

use crate::{
    Appended, BatchId, ForkThread, MaintenanceProgress, MaintenanceReport, MaintenanceRequest, MetadataOrigin, Result,
    RevertThread, SegmentPart, ThreadReader, WriterState,
};

/// A store of threads: everything that [`ThreadReader`] reads, and everything that changes it.
///
/// # Rules for all methods
///
/// - **Concurrency.** Any number of tasks may call any methods at the same time. Calls on one live thread take effect
///   one after another, in the order in which they began. Calls on different threads do not wait for each other.
/// - **One writer.** A thread is live in one store at a time: across all processes and, for a shared store, across all
///   hosts. Any other store that tries to make it live gets [`Conflict`](crate::StoreError::Conflict), which names the
///   holder. A claim ends with [`shutdown_thread`](Self::shutdown_thread) or [`discard_thread`](Self::discard_thread),
///   or when the holder's process ends or its lease expires. Readers need no claim.
/// - **Failure.** A method that returns an error has changed nothing and can be repeated, unless its documentation says
///   otherwise.
/// - **Cancellation.** A call whose future is dropped has taken effect as a whole or not at all.
/// - **Time.** The store's clock determines when a change was made. It stamps the lines; all lines of a batch get the
///   same time. The first line of a thread may carry the time of its head instead. The creation time of a thread is
///   part of its head, as its id is.
/// - **Durability.** A store has a durability level, see [`Durability`](selvedge_protocol::Durability). A change is
///   that durable when the method returns: at level `written` it survives the end of the process, at level `synced`
///   also a power loss. A change that is interrupted leaves the old or the new state of each thread that it affects.
///   Repeating the call completes it.
/// - **Reads repair nothing.** They do not fail because of damage: what is intact is returned, and
///   [`load_history`](ThreadReader::load_history) reports the rest.
/// - **Errors.** In addition to the errors that it documents, any method may fail with
///   [`Backend`](crate::StoreError::Backend), which has the cause as its source.
///
/// # Words
///
/// "`NotFound` (live)" means [`NotFound`](crate::StoreError::NotFound) with `live: true`: the thread is not live in
/// this store. "The thread record" is what a list shows of a thread, a [`StoredThread`].
#[async_trait]
pub trait ThreadStore: ThreadReader {
    /// Creates a new thread and claims its writer.
    ///
    /// `meta.id` and `meta.timestamp` are required. `meta.history_mode` determines how the log is kept; the default is
    /// paginated.
    ///
    /// The thread is lazy until its first append or [`persist_thread`](Self::persist_thread): nothing is stored, no
    /// other process sees it and lists do not show it. Until then, every method that needs a stored thread returns
    /// `NotFound` for it.
    ///
    /// # Errors
    /// - `InvalidRequest` if the id or the time is missing, or if there is a `history_base`: use
    ///   [`fork_thread`](Self::fork_thread) for that.
    /// - `AlreadyExists` if a thread with this id exists.
    async fn create_thread(&self, meta: SessionMeta) -> Result<()>;

    /// Makes a stored thread live: claims its writer and prepares its log for appends.
    ///
    /// If the log ends with a torn line, that line is sealed, so that the next line stands alone. The store seals it
    /// here or with the first append. Nothing is removed. An archived thread can be resumed; it stays archived.
    ///
    /// # Errors
    /// - `NotFound` if there is no such thread, or if it is lazy in another store.
    /// - `Conflict` if the thread is live, in this store or in another one. A lazy thread of this store is live.
    async fn resume_thread(&self, thread_id: ThreadId) -> Result<()>;

    /// Appends items to a live thread, in order, as one batch.
    ///
    /// When this returns, every other process can read the items, and they survive the end of this process; at level
    /// `synced` they also survive a power loss. Until then another process sees a prefix of the batch at worst, never a
    /// line out of order and never two lines in one. It may see lines that are not acknowledged yet.
    ///
    /// The caller decides what to append: the store applies no policy. The store need not derive metadata from the
    /// items either. The caller stores that with [`update_thread_metadata`](Self::update_thread_metadata), after the
    /// history. An empty batch does nothing.
    ///
    /// A batch takes effect once. If the answer of a call was lost, or its future was dropped, the caller repeats the
    /// call with the same batch id. The repeated call returns the outcome of the first one, or does what the first one
    /// did not do. A store remembers at least the last 64 batches of a live writer. Batches are in the order in which
    /// their calls were first polled, whatever their sizes.
    ///
    /// # Errors
    /// After an error, none of the items are in the thread, and the same call can be repeated.
    /// - `NotFound` (live).
    /// - `AlreadyExists` at the first append, if another process created a thread with the same id meanwhile.
    /// - `Lost` if the thread was taken from its writer.
    /// - `Unsynced` if the store could not make what it wrote durable. Every later append returns it as well, until the
    ///   thread is given up and resumed.
    async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended>;

    /// Returns the state of a live thread's writer: where the thread ends, its last batch, and its epoch.
    ///
    /// # Errors
    /// - `NotFound` (live).
    async fn writer_state(&self, thread_id: ThreadId) -> Result<WriterState>;

    /// Makes a lazy thread visible: writes its first line. Does nothing to any other live thread.
    ///
    /// # Errors
    /// - `NotFound` (live).
    /// - `AlreadyExists` if another process created a thread with the same id meanwhile.
    async fn persist_thread(&self, thread_id: ThreadId) -> Result<()>;

    /// Returns when everything that was appended before is as durable as the store's level.
    ///
    /// # Errors
    /// - `NotFound` (live).
    async fn flush_thread(&self, thread_id: ThreadId) -> Result<()>;

    /// Returns when everything that was appended before survives a power loss, whatever the store's level.
    ///
    /// This is for callers that append at level `written` and need the guarantee at certain points. Calls for one
    /// thread at the same time share one fsync.
    ///
    /// # Errors
    /// - `NotFound` (live).
    /// - After any other error it is unknown how much survives a power loss. What was acknowledged is still as durable
    ///   as the store's level. Appends fail until the thread is given up and resumed.
    async fn sync_thread(&self, thread_id: ThreadId) -> Result<()>;

    /// Flushes a live thread and gives up its writer. The thread is cold afterwards; a lazy thread is gone.
    ///
    /// # Errors
    /// - `NotFound` (live).
    /// - The error of the flush. The thread is still live then; [`discard_thread`](Self::discard_thread) gives it up in
    ///   any case.
    async fn shutdown_thread(&self, thread_id: ThreadId) -> Result<()>;

    /// Releases the writer of a live thread without a flush. A lazy thread leaves no trace; a stored thread keeps
    /// everything that was appended.
    ///
    /// # Errors
    /// - `NotFound` (live).
    async fn discard_thread(&self, thread_id: ThreadId) -> Result<()>;

    /// Changes the metadata of a thread, field by field and literally, and returns the new thread record.
    ///
    /// This is the only way to write metadata. An empty patch writes nothing. Applying the same patch twice has the
    /// same result as applying it once.
    ///
    /// `origin` determines what the store does with the patch:
    ///
    /// - A [`Derived`](MetadataOrigin::Derived) patch repeats what the log contains. It changes the thread record and
    ///   writes no line. A store that derives its records from the log, because other programs write there too, may
    ///   have the facts before. It sets no name, because names are explicit.
    /// - An [`Explicit`](MetadataOrigin::Explicit) patch was set by a user. The store keeps it until a later line of
    ///   the log or a later patch replaces it.
    ///
    /// # Errors
    /// - `NotFound` if there is no such thread.
    /// - `Conflict` if the patch has to be written to the log and another process holds the writer.
    async fn update_thread_metadata(
        &self,
        thread_id: ThreadId,
        patch: &ThreadMetadataPatch,
        origin: MetadataOrigin,
    ) -> Result<StoredThread>;

    /// Archives a thread and returns its record. The thread leaves the default list and keeps everything. An archived
    /// thread stays archived.
    ///
    /// # Errors
    /// - `NotFound` if there is no such thread.
    /// - `Conflict` if the thread is live, in this store or in another one.
    async fn archive_thread(&self, thread_id: ThreadId) -> Result<StoredThread>;

    /// Brings a thread back from the archive and returns its record. An active thread stays active.
    ///
    /// # Errors
    /// The errors of [`archive_thread`](Self::archive_thread).
    async fn unarchive_thread(&self, thread_id: ThreadId) -> Result<StoredThread>;

    /// Deletes a thread with all its segments.
    ///
    /// # Errors
    /// - `NotFound` if there is no such thread.
    /// - `Conflict` if the thread is live, in this store or in another one.
    /// - `HasDependents` if histories of other threads go through this one. The error has all these threads, direct and
    ///   indirect ones, in the order of their ids. [`detach_thread`](Self::detach_thread) gives such a thread a history
    ///   of its own.
    async fn delete_thread(&self, thread_id: ThreadId) -> Result<()>;

    /// Copies the whole history of a thread that builds on other threads into the thread, and returns its record. The other
    /// threads can be deleted then. A thread that builds on no other thread stays as it is.
    ///
    /// Readers get the same as before: lines and ordinals, turns, model context and metadata. There are two exceptions:
    /// the first line of the history, a head, now belongs to the thread itself, and no line is inherited by reference
    /// any more. Damaged ranges are copied like everything else.
    ///
    /// No other thread changes, neither those that this thread was built on nor those that are built on it. The latter
    /// still go through the same segments as before, until they are detached themselves.
    ///
    /// # Errors
    /// - `NotFound` if there is no such thread.
    /// - `Conflict` if the thread is live, in this store or in another one.
    /// - `Corrupt` if a part of what the thread builds on is missing. A copy would look as if that part had never
    ///   existed.
    async fn detach_thread(&self, thread_id: ThreadId) -> Result<StoredThread>;

    /// Creates a new thread that begins with the history of another one, and returns its id. The new thread is cold.
    /// The source may be live, cold or archived, and does not change.
    ///
    /// In paginated mode the fork refers to the lines of the source. The cost depends on the distance from the end of
    /// the source to the fork point, not on the size of the source. So no thread record is returned;
    /// [`read_thread`](ThreadReader::read_thread) derives it. In legacy mode the fork copies the lines, damaged ones
    /// too. A fork has no name, and a context window of its own.
    ///
    /// The head of the fork is the requested one, completed in two steps:
    ///
    /// 1. Fields that it lacks come from the newest head of the source
    ///    ([`inherit_head`](selvedge_history::inherit_head)).
    /// 2. [`fork_head`](selvedge_history::fork_head) sets where the history comes from, the mode and the context
    ///    window.
    ///
    /// # Errors
    /// - `NotFound` if there is no such source.
    /// - `TurnNotFound` if the source has no such turn.
    /// - `InvalidRequest` if the id or the time is missing in the head.
    /// - `AlreadyExists` if a thread with the id of the head exists.
    async fn fork_thread(&self, request: ForkThread) -> Result<ThreadId>;

    /// Undoes the newest turns of a thread and returns how many they were.
    ///
    /// Nothing is removed from the log. In paginated mode a new segment begins at the boundary. In legacy mode a
    /// `thread_rolled_back` event is appended. A revert to [`Latest`](selvedge_protocol::TurnBoundary::Latest) changes nothing. A
    /// revert takes effect once, as a batch does. Metadata that was set explicitly stays set.
    ///
    /// A thread that is live in this store stays live, and its next append follows the boundary.
    ///
    /// The cost depends on the distance from the end to the boundary, as for a fork, and no thread record is returned.
    ///
    /// # Errors
    /// - `NotFound` if there is no such thread.
    /// - `TurnNotFound` if the thread has no such turn.
    /// - `Conflict` if the thread is live in another store.
    /// - `InvalidRequest` in legacy mode, if no user message is in the turns to undo: the event counts user messages
    ///   and cannot refer to such turns.
    async fn revert_thread(&self, request: RevertThread) -> Result<usize>;

    /// Copies bytes of a segment into the store: the counterpart of [`read_segment`](ThreadReader::read_segment).
    /// Returns how many bytes of the segment the store has now, from its beginning. A copy that was interrupted
    /// continues there.
    ///
    /// Parts come in order: from the first byte, or from the offset that the store returned. A part that the store has
    /// already is compared and not written again. The bytes are kept as they are, whatever they contain.
    ///
    /// The segment and its thread become visible with the last part, in one step. A segment that is visible already
    /// grows. The segments that it builds on may be copied later. Names, and whether a thread is archived, are not part
    /// of a segment.
    ///
    /// # Errors
    /// - `InvalidRequest` if the part begins after the bytes that the store has, or if the id or the file name is not
    ///   possible.
    /// - `AlreadyExists` if the store has a segment with this id and other content.
    /// - `Conflict` if a visible thread would change and has a writer.
    async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64>;

    /// Does maintenance of the storage, thread by thread. Calls `progress` before each thread and at the end.
    ///
    /// Nothing changes for readers. Threads that have a writer are skipped. A store that has nothing to do reports
    /// that. Dropping the call keeps what was done so far.
    ///
    /// # Errors
    /// Any error means that the store could not find out what there is to do. Errors of single threads are in the
    /// report.
    async fn maintain(
        &self,
        request: &MaintenanceRequest,
        progress: &mut (dyn FnMut(MaintenanceProgress) + Send),
    ) -> Result<MaintenanceReport>;
}
