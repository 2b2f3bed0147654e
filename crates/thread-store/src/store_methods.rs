//! The list of the methods of the contract, for wrappers of stores.

/// Calls a macro with every method of [`ThreadReader`](crate::ThreadReader) and [`ThreadStore`](crate::ThreadStore), for a wrapper
/// that treats them alike:
///
/// ```text
/// callback! {
///     ThreadReader { fn load_history(thread_id: ThreadId) -> ThreadHistory [Some(thread_id)]; … }
///     ThreadStore { … }
/// }
/// ```
///
/// The answer is the one of `Ok`. The expression in brackets is the thread that the call is about, an `Option<ThreadId>`. The types must
/// be imported where the macro is called. The list exists only once: with a further required method of the contract, every wrapper
/// fails to compile until it is here.
#[macro_export]
macro_rules! for_each_store_method {
    ($callback:ident) => {
        $callback! {
            ThreadReader {
                fn load_history(thread_id: ThreadId) -> ThreadHistory [Some(thread_id)];
                fn read_lines(query: &LineQuery) -> LinePage [Some(query.thread_id)];
                fn wait_for_lines(thread_id: ThreadId, after: &LinePosition) -> () [Some(thread_id)];
                fn list_changes(after: Option<&Cursor>, limit: usize) -> ChangePage [None];
                fn wait_for_changes(after: &Cursor) -> () [None];
                fn list_segments(thread_id: ThreadId) -> Vec<SegmentInfo> [Some(thread_id)];
                fn read_segment(thread_id: ThreadId, segment: SegmentId, at: u64, max_bytes: usize) -> Vec<u8> [Some(thread_id)];
                fn export(thread_id: ThreadId, out: &mut (dyn Write + Send)) -> u64 [Some(thread_id)];
                fn load_model_context(thread_id: ThreadId) -> ModelContext [Some(thread_id)];
                fn read_thread(thread_id: ThreadId) -> StoredThread [Some(thread_id)];
                fn read_session_meta(thread_id: ThreadId) -> Option<SessionMeta> [Some(thread_id)];
                fn find_threads(lookup: &ThreadLookup) -> Vec<ThreadId> [None];
                fn distinct_prefix_len(thread_ids: &[ThreadId]) -> usize [None];
                fn thread_stats(query: &StatsQuery) -> ThreadStats [None];
                fn list_threads(query: &ThreadQuery) -> Page<StoredThread> [None];
                fn search_threads(query: &SearchQuery) -> Page<SearchHit> [None];
                fn list_turns(query: &TurnQuery) -> Page<Turn> [Some(query.thread_id)];
                fn list_items(query: &ItemQuery) -> Page<TurnItemEntry> [Some(query.thread_id)];
            }
            ThreadStore {
                fn create_thread(meta: SessionMeta) -> () [meta.id];
                fn resume_thread(thread_id: ThreadId) -> () [Some(thread_id)];
                fn append_items(thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Appended [Some(thread_id)];
                fn writer_state(thread_id: ThreadId) -> WriterState [Some(thread_id)];
                fn persist_thread(thread_id: ThreadId) -> () [Some(thread_id)];
                fn flush_thread(thread_id: ThreadId) -> () [Some(thread_id)];
                fn sync_thread(thread_id: ThreadId) -> () [Some(thread_id)];
                fn shutdown_thread(thread_id: ThreadId) -> () [Some(thread_id)];
                fn discard_thread(thread_id: ThreadId) -> () [Some(thread_id)];
                fn update_thread_metadata(
                    thread_id: ThreadId, patch: &ThreadMetadataPatch, origin: MetadataOrigin
                ) -> StoredThread [Some(thread_id)];
                fn archive_thread(thread_id: ThreadId) -> StoredThread [Some(thread_id)];
                fn unarchive_thread(thread_id: ThreadId) -> StoredThread [Some(thread_id)];
                fn delete_thread(thread_id: ThreadId) -> () [Some(thread_id)];
                fn detach_thread(thread_id: ThreadId) -> StoredThread [Some(thread_id)];
                fn fork_thread(request: ForkThread) -> ThreadId [Some(request.source)];
                fn revert_thread(request: RevertThread) -> usize [Some(request.thread_id)];
                fn import_segment(part: SegmentPart<'_>) -> u64 [Some(part.info.thread_id)];
                fn maintain(
                    request: &MaintenanceRequest, progress: &mut (dyn FnMut(MaintenanceProgress) + Send)
                ) -> MaintenanceReport [None];
            }
        }
    };
}
