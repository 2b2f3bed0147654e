//! Wraps a store, in order to change some of its calls.

use std::fmt::Debug;
use std::io::Write;

use async_trait::async_trait;
use selvedge_history::ModelContext;
use selvedge_protocol::{
    Cursor, ItemQuery, Page, RolloutItem, SearchHit, SearchQuery, SegmentId, SessionMeta, StatsQuery, StoredThread,
    ThreadId, ThreadMetadataPatch, ThreadQuery, ThreadStats, Turn, TurnItemEntry, TurnQuery,
};
use selvedge_thread_store::{
    Appended, BatchId, ChangePage, ForkThread, LinePage, LinePosition, LineQuery, MaintenanceProgress,
    MaintenanceReport, MaintenanceRequest, MetadataOrigin, Result, RevertThread, SegmentInfo, SegmentPart,
    ThreadHistory, ThreadLookup, ThreadReader, ThreadStore, WriterState,
};

/// The store that a [`StoreWrapper`] makes.
///
/// A blanket `impl` of the store traits for every `StoreWrapper` is not possible, because these traits belong to another crate.
#[derive(Clone, Debug)]
pub struct Wrapped<W>(pub W);

/// Makes the trait `StoreWrapper`, whose default methods forward every call, and the store traits for `Wrapped`.
///
/// The list of methods exists only once. If the contract gets another required method, the list without it does not compile.
macro_rules! wrapper {
    ($($contract:ident { $(fn $method:ident($($name:ident: $argument:ty),*) -> $answer:ty;)* })*) => {
        /// A wrapper around a store that changes some of its calls. The default of every method forwards the call.
        #[async_trait]
        pub trait StoreWrapper: Debug + Send + Sync + 'static {
            /// Returns the wrapped store.
            fn inner(&self) -> &dyn ThreadStore;

            $($(
                /// Forwards the call to the wrapped store.
                async fn $method(&self $(, $name: $argument)*) -> Result<$answer> {
                    self.inner().$method($($name),*).await
                }
            )*)*
        }

        $(
            #[async_trait]
            impl<W: StoreWrapper> $contract for Wrapped<W> {
                $(
                    async fn $method(&self $(, $name: $argument)*) -> Result<$answer> {
                        self.0.$method($($name),*).await
                    }
                )*
            }
        )*
    };
}

wrapper! {
    ThreadReader {
        fn load_history(thread_id: ThreadId) -> ThreadHistory;
        fn read_lines(query: &LineQuery) -> LinePage;
        fn wait_for_lines(thread_id: ThreadId, after: &LinePosition) -> ();
        fn list_changes(after: Option<&Cursor>, limit: usize) -> ChangePage;
        fn wait_for_changes(after: &Cursor) -> ();
        fn list_segments(thread_id: ThreadId) -> Vec<SegmentInfo>;
        fn read_segment(thread_id: ThreadId, segment: SegmentId, at: u64, max_bytes: usize) -> Vec<u8>;
        fn export(thread_id: ThreadId, out: &mut (dyn Write + Send)) -> u64;
        fn load_model_context(thread_id: ThreadId) -> ModelContext;
        fn read_thread(thread_id: ThreadId) -> StoredThread;
        fn read_session_meta(thread_id: ThreadId) -> Option<SessionMeta>;
        fn find_threads(lookup: &ThreadLookup) -> Vec<ThreadId>;
        fn distinct_prefix_len(thread_ids: &[ThreadId]) -> usize;
        fn thread_stats(query: &StatsQuery) -> ThreadStats;
        fn list_threads(query: &ThreadQuery) -> Page<StoredThread>;
        fn search_threads(query: &SearchQuery) -> Page<SearchHit>;
        fn list_turns(query: &TurnQuery) -> Page<Turn>;
        fn list_items(query: &ItemQuery) -> Page<TurnItemEntry>;
    }
    ThreadStore {
        fn create_thread(meta: SessionMeta) -> ();
        fn resume_thread(thread_id: ThreadId) -> ();
        fn append_items(thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Appended;
        fn writer_state(thread_id: ThreadId) -> WriterState;
        fn persist_thread(thread_id: ThreadId) -> ();
        fn flush_thread(thread_id: ThreadId) -> ();
        fn sync_thread(thread_id: ThreadId) -> ();
        fn shutdown_thread(thread_id: ThreadId) -> ();
        fn discard_thread(thread_id: ThreadId) -> ();
        fn update_thread_metadata(
            thread_id: ThreadId, patch: &ThreadMetadataPatch, origin: MetadataOrigin
        ) -> StoredThread;
        fn archive_thread(thread_id: ThreadId) -> StoredThread;
        fn unarchive_thread(thread_id: ThreadId) -> StoredThread;
        fn delete_thread(thread_id: ThreadId) -> ();
        fn detach_thread(thread_id: ThreadId) -> StoredThread;
        fn fork_thread(request: ForkThread) -> ThreadId;
        fn revert_thread(request: RevertThread) -> usize;
        fn import_segment(part: SegmentPart<'_>) -> u64;
        fn maintain(
            request: &MaintenanceRequest, progress: &mut (dyn FnMut(MaintenanceProgress) + Send)
        ) -> MaintenanceReport;
    }
}
