//! The contract of a reader: everything that needs no writer.

use async_trait::async_trait;
use selvedge_history::ModelContext;
use selvedge_protocol::{
    ItemQuery, Page, SearchHit, SearchQuery, StoredThread, ThreadId, ThreadQuery, Turn, TurnItemEntry, TurnQuery,
};

use crate::{Result, ThreadHistory};

/// Reads the threads of a store: what a list, a viewer, an export or a copy needs.
///
/// Readers take no lock and need no claim. They repair nothing and do not fail for damage: what is intact is returned, and
/// [`load_history`](Self::load_history) tells what is not.
#[async_trait]
pub trait ThreadReader: Send + Sync + std::fmt::Debug + 'static {
    /// Loads a thread's whole history: inherited lines first, every intact line, and what could not be read.
    ///
    /// # Errors
    /// `NotFound`; a lazy thread is not found.
    async fn load_history(&self, thread_id: ThreadId) -> Result<ThreadHistory>;

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

    /// Gives a page of a thread's turns, as they are after everything that was undone.
    ///
    /// # Errors
    /// `NotFound`; `InvalidRequest` for a limit of 0 or a malformed cursor.
    async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>>;

    /// Gives a page of a thread's items, or of one turn's.
    ///
    /// # Errors
    /// `NotFound`; `TurnNotFound`; `InvalidRequest` for a limit of 0 or a malformed cursor.
    async fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>>;
}
