//! The contract of a store: the life of a writer and every change.

use async_trait::async_trait;
use selvedge_protocol::{RolloutItem, SessionMeta, StoredThread, ThreadId, ThreadMetadataPatch};

use crate::{
    Appended, BatchId, ForkThread, MaintenanceProgress, MaintenanceReport, MaintenanceRequest, MetadataOrigin, Result,
    RevertThread, SegmentPart, ThreadReader, WriterState,
};

/// A store of threads: what [`ThreadReader`] reads, and who writes it.
///
/// # Rules for all methods
///
/// - **Who may call.** Any number of tasks may call any methods at once. Calls on one live thread take effect one after
///   another, in the order in which they began; calls on different threads do not wait for each other.
/// - **One writer.** A thread is live in one store at a time, over all processes and, for a shared store, all hosts. Who
///   else wants it gets [`StoreError::Conflict`](crate::StoreError::Conflict) naming the holder. A claim ends with
///   [`shutdown_thread`](Self::shutdown_thread), [`discard_thread`](Self::discard_thread), or the holder's process or lease. Readers need no claim.
/// - **Failure.** A method that returns an error has changed nothing and can be repeated, unless it says otherwise.
/// - **Cancellation.** A call whose future is dropped has either taken effect as a whole or not at all.
/// - **Time.** The store's clock says when a change was made: it stamps the lines, all of a batch alike. (The first line
///   of a thread may carry the time of its head.) Only when a thread was made is part of its head, as its id is.
/// - **Durability.** A store has a level, [`Durability`](selvedge_protocol::Durability), and whatever changes it returns when
///   the change is that durable: at level written it survives the end of the process, at level synced a power loss.
///   A change that is cut short leaves the old or the new, in each thread that it was about, and repeating it completes it.
/// - **Reads repair nothing** and do not fail for damage: what is intact is given, and
///   [`load_history`](ThreadReader::load_history) tells what is not.
/// - **Errors.** Besides those that a method names, any of them may fail with
///   [`StoreError::Backend`](crate::StoreError::Backend), with the cause as its source.
#[async_trait]
pub trait ThreadStore: ThreadReader {
    /// Makes a new thread and its writer.
    ///
    /// `meta.id` and `meta.timestamp` are required; `meta.history_mode` says how the log is kept: paginated, unless it says
    /// legacy. The thread is lazy: nothing is stored, no other process sees it and listings do not show it before the
    /// first append or [`persist_thread`](Self::persist_thread). Until then it is `NotFound` to every method that needs a stored thread.
    ///
    /// # Errors
    /// `InvalidRequest` without an id or a time, or with a `history_base` (that is what [`fork_thread`](Self::fork_thread) is for);
    /// `AlreadyExists` when a thread of this id is there already.
    async fn create_thread(&self, meta: SessionMeta) -> Result<()>;

    /// Makes a stored thread live: claims its writer and readies its log for appending.
    ///
    /// An unclean end (a torn last line) is sealed so that the next line stands alone, here or by the first append; nothing is
    /// taken away. An archived thread can be resumed where it is and stays archived.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when the thread is live already, here or elsewhere. A lazy thread of this store is live, so that
    /// resuming it is a `Conflict`; one of another store is not found.
    async fn resume_thread(&self, thread_id: ThreadId) -> Result<()>;

    /// Appends items to a live thread, in order, as one batch.
    ///
    /// When it returns, the items are readable by every other process and survive the death of this one; and a power loss
    /// too, in a store at level synced. Another process sees a prefix of the batch at worst, never a line out of order or
    /// two lines in one, and it may see what is not acknowledged yet. What to append is the
    /// caller's choice: the store applies no policy. It need not find out what the items say of the thread either: whoever
    /// appends tells that with [`update_thread_metadata`](Self::update_thread_metadata), behind the history. An empty batch does nothing.
    ///
    /// A batch takes effect once: the same call with the same id, after an answer that was lost or a call that was dropped,
    /// returns what the first came to, or does what it did not do. A store remembers at least the last 64 batches of a live
    /// writer. Batches are in the order in which their calls were polled first, whatever their size.
    ///
    /// # Errors
    /// `NotFound` (live) when the thread is not live here; `AlreadyExists` at the first append, when another process made a thread of
    /// the same id meanwhile; `Lost` when the thread was taken away from its writer. After an
    /// error none of the items are in the thread, and the same call can be repeated. A store that could not bring what it
    /// wrote to its level says so with every later append, until the thread was given up and resumed.
    async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended>;

    /// Returns what the writer of a live thread has come to.
    ///
    /// # Errors
    /// `NotFound` (live).
    async fn writer_state(&self, thread_id: ThreadId) -> Result<WriterState>;

    /// Makes a lazy thread visible: writes its first line. Does nothing to any other live thread.
    ///
    /// # Errors
    /// `NotFound` (live); `AlreadyExists` when another process made a thread of the same id meanwhile.
    async fn persist_thread(&self, thread_id: ThreadId) -> Result<()>;

    /// Returns once everything that was appended before is as durable as the store's level.
    ///
    /// # Errors
    /// `NotFound` (live).
    async fn flush_thread(&self, thread_id: ThreadId) -> Result<()>;

    /// Returns once everything that was appended before survives a power loss, whatever the store's level: for who appends
    /// at level written and wants to be sure of it now and then. Calls for one thread at the same time share the work.
    ///
    /// # Errors
    /// `NotFound` (live). After another error it is not known how much survives; what was acknowledged is still as durable
    /// as the store's level, and nothing is appended any more until the thread was given up and resumed.
    async fn sync_thread(&self, thread_id: ThreadId) -> Result<()>;

    /// Ends a thread's life in this store: flushes and gives up the writer. The thread is cold afterwards, or gone
    /// when it was still lazy.
    ///
    /// # Errors
    /// `NotFound` (live). After a failed flush the thread is still live; [`discard_thread`](Self::discard_thread) gives it up all the same.
    async fn shutdown_thread(&self, thread_id: ThreadId) -> Result<()>;

    /// Gives up a writer without further ado. A lazy thread leaves no trace; one that is stored keeps all that was
    /// appended.
    ///
    /// # Errors
    /// `NotFound` (live).
    async fn discard_thread(&self, thread_id: ThreadId) -> Result<()>;

    /// Changes a thread's metadata, field by field and literally, and gives the row as it is then. The only way to write
    /// metadata; an empty patch writes nothing.
    ///
    /// An `Derived` patch repeats what the log says: it sets the row, and is no line of the log. A store that derives its
    /// rows from the log, because others write there, too, may know it before. It sets no name. An `Explicit` one is kept, until the log or
    /// another patch says otherwise later. The same patch twice is the same as once.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it has to be kept in the log and another process holds the writer.
    async fn update_thread_metadata(
        &self,
        thread_id: ThreadId,
        patch: &ThreadMetadataPatch,
        origin: MetadataOrigin,
    ) -> Result<StoredThread>;

    /// Archives a thread: it leaves the default listing and keeps everything. What is archived already stays so.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while the thread is live, here or elsewhere.
    async fn archive_thread(&self, thread_id: ThreadId) -> Result<StoredThread>;

    /// Brings a thread back from the archive. What is active already stays so.
    ///
    /// # Errors
    /// As [`archive_thread`](Self::archive_thread).
    async fn unarchive_thread(&self, thread_id: ThreadId) -> Result<StoredThread>;

    /// Deletes a thread with all its segments.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while the thread is live; `HasDependents`, with all of them, near and far, in the order of their ids,
    /// while histories of other threads go through it. [`detach_thread`](Self::detach_thread) gives those threads histories of
    /// their own.
    async fn delete_thread(&self, thread_id: ThreadId) -> Result<()>;

    /// Gives a thread that builds on others a history of its own, a full copy, so that those others can be deleted; and
    /// gives its row. What builds on no other thread already stays as it is.
    ///
    /// Readers are told the same as before: lines and ordinals, turns, context and metadata. Only the history's first line,
    /// a head, is now one of the thread itself, and no line is inherited by reference any more. Damaged stretches are
    /// copied like everything else. Neither the threads that were built on nor those that build on this one are changed:
    /// the latter go on building on what they did, and so on the former, until they are detached themselves.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` while the thread is live, here or elsewhere; `Corrupt` when part of what the thread builds on
    /// is gone as a whole: a copy would make it look as if it had never been there.
    async fn detach_thread(&self, thread_id: ThreadId) -> Result<StoredThread>;

    /// Makes a new thread that begins with the history of another, and gives its id. The new thread is cold. The source
    /// may be live, cold or archived, and is not changed.
    ///
    /// In paginated mode the fork refers to the source's lines: it costs the way back from the end to where the source is
    /// left, whatever the size. Therefore no row comes with it; [`read_thread`](ThreadReader::read_thread) has it for who
    /// wants it. In legacy mode the fork copies the lines, damaged ones too. A fork has no name and a context window of its own.
    ///
    /// The head of the fork is what was asked for, completed in two steps: what it does not say, it has from the newest head of
    /// the source ([`inherit_head`](selvedge_history::inherit_head)); where it comes from, its mode and its window are set by
    /// [`fork_head`](selvedge_history::fork_head).
    ///
    /// # Errors
    /// `NotFound`; `TurnNotFound`; `InvalidRequest` without an id or a time; `AlreadyExists` when a thread of this id is there
    /// already.
    async fn fork_thread(&self, request: ForkThread) -> Result<ThreadId>;

    /// Undoes a thread's newest turns and says how many they were. Nothing is taken from the log: in paginated mode a new
    /// segment begins at the point to go back to, in legacy mode a `thread_rolled_back` event is appended. Going back to
    /// the latest changes nothing. A revert takes effect once, as a batch does. What was set of the thread explicitly stays set. As a fork, it costs the way back
    /// from the end, and no row comes with it.
    ///
    /// A thread that is live in this store stays live, and its next append goes behind the point gone back to.
    ///
    /// # Errors
    /// `NotFound`; `TurnNotFound`; `Conflict` when the thread is live elsewhere; `InvalidRequest` in legacy mode when nobody
    /// spoke in the turns to undo: the event counts what users said and cannot mean them.
    async fn revert_thread(&self, request: RevertThread) -> Result<usize>;

    /// Copies bytes of a segment into the store: the other half of [`read_segment`](ThreadReader::read_segment). Returns how many
    /// bytes of the segment the store has then, from its beginning on, so that a copy that broke off goes on there.
    ///
    /// Parts come in order, from the first byte on or from where the store said; a part that is there already is compared and
    /// not written again. The segment and its thread become visible with the last part, all at once; one that is visible
    /// already grows. The segments that it builds on may come later. The bytes are kept as they are, whatever they hold.
    /// Names, and whether a thread is archived, are not part of a segment.
    ///
    /// # Errors
    /// `InvalidRequest` for a part behind what the store has, or an id or file name that cannot be; `AlreadyExists` if the
    /// store has a segment of this id that holds something else; `Conflict` if a visible thread would have to change while
    /// a writer holds it.
    async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64>;

    /// Does the housekeeping of the storage, thread by thread, and tells `progress` before each and at the end. Nothing that a
    /// reader is told changes, threads that somebody writes are left alone, and a store that has nothing to do says so in the
    /// report. Dropping the call leaves what is done done.
    ///
    /// # Errors
    /// When it cannot be found out what there is to do. What fails for one thread is in the report.
    async fn maintain(
        &self,
        request: &MaintenanceRequest,
        progress: &mut (dyn FnMut(MaintenanceProgress) + Send),
    ) -> Result<MaintenanceReport>;
}
