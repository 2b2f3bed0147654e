//! The store: each method of the contract, wired to the file that does it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use selvedge_history::{ModelContext, head_identity};
use selvedge_protocol::{
    Cursor, Durability, ItemQuery, Page, RolloutItem, SearchHit, SearchQuery, SegmentId, SessionMeta, StatsQuery,
    StoredThread, ThreadId, ThreadMetadataPatch, ThreadQuery, ThreadStats, Turn, TurnItemEntry, TurnQuery,
    distinct_prefix_len,
};
use selvedge_rollout::{CachedHome, HomeFiles, NameIndex, ResolvedHistory, RolloutHome};
use selvedge_state::{IndexError, StateIndex};
use selvedge_thread_store::implement::{ChangeLog, RecentBatches, page_items, page_turns};
use selvedge_thread_store::{
    Appended, BatchId, ChangePage, ForkThread, LinePage, LinePosition, LineQuery, LineStart, MaintenanceProgress,
    MaintenanceReport, MaintenanceRequest, MetadataOrigin, Result, RevertThread, SegmentInfo, SegmentPart, StoreError,
    ThreadHistory, ThreadLookup, ThreadReader, ThreadStore, WriterState,
};

use crate::admin::HomeAdmin;
use crate::append::{Written, write_once};
use crate::cold_turns::ColdTurns;
use crate::error::{store_error, while_gone};
use crate::export::export;
use crate::index::{FreshIndex, HomeIndex, IndexLocation};
use crate::index_runtime::with_timers;
use crate::lines::KnownShares;
use crate::live::LiveThreads;
use crate::segments::OpenSegment;
use crate::sync::{self, GroupCommitQueue};
use crate::ticker::Ticker;

/// How a home is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HomeOptions {
    /// The level at which changes are acknowledged.
    pub durability: Durability,
    /// Where the index is.
    pub index: IndexLocation,
}

/// A store of threads in a home directory. Clones share the live threads.
#[derive(Clone, Debug)]
pub struct LocalThreadStore {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) home: RolloutHome,
    pub(crate) remembered: Arc<CachedHome>,
    pub(crate) index: HomeIndex,
    pub(crate) live: LiveThreads,
    /// The number of the newest claim that this store has made.
    pub(crate) claims: AtomicU64,
    pub(crate) cold_turns: ColdTurns,
    /// The newest reverts of threads that are not live here.
    pub(crate) reverts: Mutex<RecentBatches>,
    pub(crate) syncs: GroupCommitQueue,
    pub(crate) shares: KnownShares,
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) open_segment: OpenSegment,
    pub(crate) changes: Mutex<ChangeLog>,
}

impl Inner {
    pub(crate) fn files(&self) -> Result<Arc<HomeFiles>> {
        self.remembered.files().map_err(store_error)
    }

    /// This store wrote a thread: the index takes that in soon, and those who wait for it are woken.
    pub(crate) fn wrote(&self, thread_id: ThreadId) {
        self.index.wrote(thread_id);
        self.ticker.wrote();
    }

    /// The names of the home's threads. A thread without its name is still a thread: an index that cannot be read is told
    /// in the log and counts as empty.
    pub(crate) fn names(&self) -> NameIndex {
        NameIndex::load(&self.home).unwrap_or_else(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::warn!("names are not shown: {error}: {source}");
            NameIndex::default()
        })
    }

    /// The segments of a thread's history, as they are now.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn resolve_now(&self, thread_id: ThreadId) -> Result<ResolvedHistory> {
        Ok(self.resolve(self.files()?, thread_id)?.1)
    }

    /// The segments of a thread's history and the files in which they were found: these, unless something was moved since.
    /// One attempt, for work that [`while_gone`] repeats.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn resolve(
        &self,
        files: Arc<HomeFiles>,
        thread_id: ThreadId,
    ) -> Result<(Arc<HomeFiles>, ResolvedHistory)> {
        let (files, resolved) = self.remembered.try_resolve(files, thread_id).map_err(store_error)?;
        Ok((files, resolved.ok_or(StoreError::not_found(thread_id))?))
    }

    /// Reads the history of a thread that was found in these files, and looks for them again while one is not where it was.
    ///
    /// # Errors
    /// `NotFound`; those of `read`.
    pub(crate) fn read_found<T>(
        &self,
        files: &Arc<HomeFiles>,
        thread_id: ThreadId,
        read: impl Fn(&HomeFiles, &ResolvedHistory) -> Result<T>,
    ) -> Result<T> {
        self.with_found(files, |files| {
            let (files, resolved) = self.resolve(Arc::clone(files), thread_id)?;
            read(&files, &resolved)
        })
    }

    /// Does work with files that were found, and with those that are found now while one is not where it was.
    ///
    /// # Errors
    /// Those of the work.
    pub(crate) fn with_found<T>(
        &self,
        files: &Arc<HomeFiles>,
        work: impl Fn(&Arc<HomeFiles>) -> Result<T>,
    ) -> Result<T> {
        let mut found = Some(Arc::clone(files));
        while_gone(|| work(&found.take().map_or_else(|| self.files(), Ok)?))
    }
}

impl LocalThreadStore {
    /// The store of the home at this path. Reads nothing and makes nothing: a home that is missing is empty, and is made
    /// by the first thread that is written.
    #[must_use]
    pub fn open(home: impl Into<PathBuf>) -> Self {
        Self::of(RolloutHome::new(home))
    }

    /// The same, of a store that acknowledges at this level whatever changes the home: what was appended, made, moved or
    /// removed when a call returns. [`open`](Self::open) is at level written.
    #[must_use]
    pub fn open_with(home: impl Into<PathBuf>, durability: Durability) -> Self {
        Self::of(RolloutHome::new(home).with_durability(durability))
    }

    /// The same with all that can be chosen.
    #[must_use]
    pub fn open_with_options(home: impl Into<PathBuf>, options: HomeOptions) -> Self {
        Self::with(RolloutHome::new(home).with_durability(options.durability), options.index)
    }

    /// The store of this home, at its level and with its effects on files.
    #[must_use]
    pub fn of(home: RolloutHome) -> Self {
        Self::with(home, IndexLocation::default())
    }

    /// The same, with its index at this location.
    #[must_use]
    pub fn with(home: RolloutHome, index: IndexLocation) -> Self {
        let remembered = Arc::new(CachedHome::new(home.clone()));
        let index = HomeIndex::new(Arc::clone(&remembered), index);
        let (live, syncs) = (LiveThreads::default(), GroupCommitQueue::default());
        let (shares, ticker) = (KnownShares::default(), Arc::default());
        Self {
            inner: Arc::new(Inner {
                home,
                remembered,
                index,
                live,
                claims: AtomicU64::new(0),
                cold_turns: ColdTurns::default(),
                reverts: Mutex::default(),
                syncs,
                shares,
                ticker,
                open_segment: OpenSegment::default(),
                changes: Mutex::default(),
            }),
        }
    }

    /// The home.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.inner.home.root()
    }

    /// Returns the administration of the home's files: checks and repairs, compression, the index.
    #[must_use]
    pub fn admin(&self) -> HomeAdmin {
        HomeAdmin::new(self.clone())
    }

    /// Ends what goes on in the background, and closes the index. The store can be used further, and opens it again.
    pub async fn close(&self) {
        with_timers(self.inner.index.close()).await;
    }

    /// The level at which changes are acknowledged.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.inner.home.durability()
    }

    /// Does work that waits for files on a thread that may wait.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        match tokio::task::spawn_blocking(move || work(&inner)).await {
            Ok(result) => result,
            Err(error) => Err(StoreError::backend("a task of the store did not finish", error)),
        }
    }
}

impl LocalThreadStore {
    /// The same for work that reads what other processes may move meanwhile: if a file is not where it was found, the work is
    /// done again.
    pub(crate) async fn reading<T: Send + 'static>(
        &self,
        work: impl Fn(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.blocking(move |store| while_gone(|| work(store))).await
    }

    /// Asks the index, and the logs if that does not answer: there is none, it does not know, it is busy or broken, or it was made
    /// anew meanwhile. `fresh` is the index as far up to date as the question needs it.
    async fn ask<T, A>(
        &self,
        fresh: impl Future<Output = Option<FreshIndex>> + Send,
        from_index: impl FnOnce(StateIndex) -> A + Send,
        from_logs: impl Fn(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        A: Future<Output = Result<Option<T>, IndexError>> + Send,
    {
        let answer = with_timers(async {
            let fresh = fresh.await?;
            let outcome = from_index(fresh.index.clone()).await;
            self.inner.index.answer(&fresh, outcome).await?
        });
        match answer.await {
            Some(answer) => Ok(answer),
            None => self.reading(from_logs).await,
        }
    }

    /// Whether somebody writes a thread, so that its last turn may be going on: this store, or another process that holds the
    /// writer lock.
    async fn is_live(&self, thread_id: ThreadId) -> Result<bool> {
        if self.inner.live.find(thread_id).is_some() {
            return Ok(true);
        }
        self.blocking(move |store| Ok(store.has_writer(thread_id))).await
    }

    /// The same for work that writes a thread: the index takes that in soon.
    pub(crate) async fn writing<T: Send + 'static>(
        &self,
        thread_id: ThreadId,
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // Said by whoever does the work, who goes on with it when nobody waits any more.
        let work = move |store: &Inner| {
            let outcome = work(store);
            store.wrote(thread_id);
            outcome
        };
        self.blocking(work).await
    }

    /// The same for a thread that is not live here: a call that was dropped while it was at work is finished before the next one
    /// begins, so that repeating it finds the thread as it was or as it is afterwards.
    async fn changing<T: Send + 'static>(
        &self,
        thread_id: ThreadId,
        work: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = self.inner.cold_turns.wait(thread_id).await;
        let work = move |store: &Inner| {
            let _turn = turn;
            work(store)
        };
        self.writing(thread_id, work).await
    }
}

#[async_trait]
impl ThreadReader for LocalThreadStore {
    async fn load_history(&self, thread_id: ThreadId) -> Result<ThreadHistory> {
        self.reading(move |store| store.load_history(thread_id)).await
    }

    async fn load_model_context(&self, thread_id: ThreadId) -> Result<ModelContext> {
        self.reading(move |store| store.load_model_context(thread_id)).await
    }

    async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
        let query = query.clone();
        self.reading(move |store| store.read_lines(&query)).await
    }

    async fn wait_for_lines(&self, thread_id: ThreadId, after: &LinePosition) -> Result<()> {
        let start = LineStart::At(after.clone());
        self.wait_for_lines(LineQuery { max_lines: 1, ..LineQuery::from(thread_id, start) }).await
    }

    async fn export(&self, thread_id: ThreadId, out: &mut (dyn Write + Send)) -> Result<u64> {
        export(&self.inner, thread_id, out).await
    }

    async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
        let after = after.cloned();
        self.reading(move |store| store.list_changes(after.as_ref(), limit)).await
    }

    async fn wait_for_changes(&self, after: &Cursor) -> Result<()> {
        self.wait_for_changes_after(after).await
    }

    async fn list_segments(&self, thread_id: ThreadId) -> Result<Vec<SegmentInfo>> {
        self.reading(move |store| store.list_segments(thread_id)).await
    }

    async fn read_segment(
        &self,
        thread_id: ThreadId,
        segment: SegmentId,
        at: u64,
        max_bytes: usize,
    ) -> Result<Vec<u8>> {
        self.reading(move |store| store.read_segment(thread_id, segment, at, max_bytes)).await
    }

    async fn read_session_meta(&self, thread_id: ThreadId) -> Result<Option<SessionMeta>> {
        self.blocking(move |store| store.head(thread_id)).await
    }

    async fn find_threads(&self, lookup: &ThreadLookup) -> Result<Vec<ThreadId>> {
        let lookup = lookup.clone();
        self.blocking(move |store| store.find_threads(&lookup)).await
    }

    async fn distinct_prefix_len(&self, thread_ids: &[ThreadId]) -> Result<usize> {
        let shown = thread_ids.to_vec();
        let from_index = |index: StateIndex| async move {
            let neighbours = index.neighbours(thread_ids).await?;
            Ok(Some(distinct_prefix_len(thread_ids, neighbours)))
        };
        let from_logs =
            move |store: &Inner| Ok(distinct_prefix_len(&shown, store.files()?.threads().map(|(id, _)| id)));
        self.ask(self.inner.index.fresh_for_more(), from_index, from_logs).await
    }

    async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
        let wanted = query.clone();
        let from_index = |index: StateIndex| async move { index.stats(query).await.map(Some) };
        self.ask(self.inner.index.fresh(), from_index, move |store| store.stats(&wanted)).await
    }

    async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        let from_index = |index: StateIndex| async move { index.read_thread(thread_id).await };
        self.ask(self.inner.index.fresh_of(thread_id), from_index, move |store| store.read_thread(thread_id)).await
    }

    async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
        let wanted = query.clone();
        let fresh = self.inner.index.fresh_for_page(query.cursor.as_ref());
        let from_index = |index: StateIndex| async move { index.list_threads(query).await.map(Some) };
        self.ask(fresh, from_index, move |store| store.list_threads(&wanted)).await
    }

    async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
        if let Some(page) = with_timers(self.inner.index.search_threads(query)).await? {
            return Ok(page);
        }
        let query = query.clone();
        self.blocking(move |store| store.search_threads(&query)).await
    }

    async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
        let wanted = query.clone();
        let is_live = self.is_live(query.thread_id).await?;
        let from_index = |index: StateIndex| async move { index.list_turns(query, is_live).await };
        let from_logs = move |store: &Inner| page_turns(&wanted, store.turns(wanted.thread_id)?);
        self.ask(self.inner.index.fresh_of(query.thread_id), from_index, from_logs).await
    }

    async fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>> {
        let wanted = query.clone();
        let is_live = self.is_live(query.thread_id).await?;
        let from_index = |index: StateIndex| async move { index.list_items(query, is_live).await };
        let from_logs = move |store: &Inner| page_items(&wanted, store.turns(wanted.thread_id)?);
        self.ask(self.inner.index.fresh_of(query.thread_id), from_index, from_logs).await
    }
}

#[async_trait]
impl ThreadStore for LocalThreadStore {
    async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
        // Nothing is written yet.
        self.blocking(move |store| store.create(meta)).await
    }

    async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.blocking(move |store| store.resume(thread_id)).await
    }

    async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
        let live = self.inner.live.get(thread_id)?;
        if Inner::is_large(items) || !live.is_begun() {
            // The turn goes along, so that a batch that is written elsewhere is not overtaken.
            let mut turn = live.turn().await;
            let items = items.to_vec();
            let work = move |store: &Inner| {
                let written = write_once(&live, &mut turn, batch, &items)?;
                drop(turn);
                store.settle(&live, written)
            };
            return self.writing(thread_id, work).await;
        }
        let at_once = match live.turns.at_once() {
            Some(mut turn) => Some(write_once(&live, turn.recent(), batch, items)?),
            None => None,
        };
        let written = match at_once {
            Some(written) => written,
            None => write_once(&live, &mut *live.turn().await, batch, items)?,
        };
        let appended = written.appended();
        self.inner.wrote(thread_id);
        if self.durability() == Durability::Synced {
            match written {
                Written::Now(batch) => sync::settle(&self.inner, live, batch).await?,
                Written::Before(_) => self.blocking(move |store| store.settle(&live, written).map(drop)).await?,
            }
        }
        Ok(appended)
    }

    async fn writer_state(&self, thread_id: ThreadId) -> Result<WriterState> {
        let live = self.inner.live.get(thread_id)?;
        let turn = live.turn().await;
        self.reading(move |store| store.writer_state(thread_id, &live, &turn)).await
    }

    async fn persist_thread(&self, thread_id: ThreadId) -> Result<()> {
        let turn = self.inner.live.get(thread_id)?.turn().await;
        self.writing(thread_id, move |store| {
            let _turn = turn;
            store.persist(thread_id)
        })
        .await
    }

    async fn flush_thread(&self, thread_id: ThreadId) -> Result<()> {
        // What was appended before is written then.
        drop(self.inner.live.get(thread_id)?.turn().await);
        self.blocking(move |store| store.flush(thread_id)).await
    }

    async fn sync_thread(&self, thread_id: ThreadId) -> Result<()> {
        drop(self.inner.live.get(thread_id)?.turn().await);
        self.blocking(move |store| store.sync(thread_id)).await
    }

    async fn shutdown_thread(&self, thread_id: ThreadId) -> Result<()> {
        let turn = self.inner.live.get(thread_id)?.turn().await;
        self.writing(thread_id, move |store| {
            let _turn = turn;
            store.shutdown(thread_id)
        })
        .await
    }

    async fn discard_thread(&self, thread_id: ThreadId) -> Result<()> {
        let turn = self.inner.live.get(thread_id)?.turn().await;
        self.blocking(move |store| {
            let _turn = turn;
            store.discard(thread_id)
        })
        .await
    }

    async fn update_thread_metadata(
        &self,
        thread_id: ThreadId,
        patch: &ThreadMetadataPatch,
        origin: MetadataOrigin,
    ) -> Result<StoredThread> {
        if origin == MetadataOrigin::Derived {
            if let Some(row) = self.inner.observe_metadata(thread_id, patch, None) {
                return Ok(row);
            }
            let row = self.read_thread(thread_id).await?;
            return Ok(self.inner.observe_metadata(thread_id, patch, Some(row.clone())).unwrap_or(row));
        }
        let (before, patch) = (self.read_thread(thread_id).await?, patch.clone());
        self.writing(thread_id, move |store| store.set_metadata(&before, &patch)).await?;
        self.read_thread(thread_id).await
    }

    async fn archive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.changing(thread_id, move |store| store.archive(thread_id)).await?;
        self.read_thread(thread_id).await
    }

    async fn unarchive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.changing(thread_id, move |store| store.unarchive(thread_id)).await?;
        self.read_thread(thread_id).await
    }

    async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
        self.changing(thread_id, move |store| store.delete(thread_id)).await
    }

    async fn detach_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
        self.changing(thread_id, move |store| store.detach(thread_id)).await?;
        self.read_thread(thread_id).await
    }

    async fn fork_thread(&self, request: ForkThread) -> Result<ThreadId> {
        let (thread_id, _) = head_identity(&request.meta)?;
        self.changing(thread_id, move |store| while_gone(|| store.fork(&request))).await
    }

    async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
        let thread_id = request.thread_id;
        let Some(live) = self.inner.live.find(thread_id) else {
            return self.changing(thread_id, move |store| store.revert(&request, None)).await;
        };
        let mut turn = live.turn().await;
        self.writing(thread_id, move |store| store.revert(&request, Some((&live, &mut turn)))).await
    }

    async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64> {
        let (info, bytes) = (part.info.clone(), part.bytes.to_vec());
        let SegmentPart { at, is_last, .. } = part;
        let import =
            move |store: &Inner| store.import_segment(&info, SegmentPart { info: &info, at, bytes: &bytes, is_last });
        self.changing(part.info.thread_id, import).await
    }

    async fn maintain(
        &self,
        request: &MaintenanceRequest,
        progress: &mut (dyn FnMut(MaintenanceProgress) + Send),
    ) -> Result<MaintenanceReport> {
        self.admin().maintain(request, progress).await
    }
}
