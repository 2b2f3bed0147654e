//! The index of a store's home: opened when it is needed first, filled and kept up to date behind the answers.
//!
//! A question looks around for what changed ([`StateIndex::refresh`]) and is answered by the index. While there is none, or much
//! has changed, or it is busy or broken, the answer comes from the logs, and a task brings the index up to date meanwhile.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use selvedge_protocol::{Cursor, Page, SearchHit, SearchQuery, ThreadId};
use selvedge_rollout::{CachedHome, now};
use selvedge_state::{IndexError, IndexGeneration, RefreshOutcome, StateIndex, UpdateProgress};
use selvedge_thread_store::StoreError;
use tokio::task::AbortHandle;

use crate::index_runtime;

/// How much is read before a question is answered. What takes longer is left to the background, and the logs answer.
const READ_FIRST: u64 = 8 << 20;

/// How many threads an index is filled with before the first question is answered.
const FILL_FIRST: usize = 200;

/// How often every file is looked at, for as long as there are questions.
const FULL_LOOK: Duration = Duration::from_secs(30);

/// How long a look around serves the pages that follow the first one.
const ONE_LOOK: Duration = Duration::from_millis(50);

/// How long an index that failed is left alone.
const RECOVERY: Duration = Duration::from_secs(2);

/// How long the background waits for the answer that is being given.
const HEAD_START: Duration = Duration::from_millis(150);

/// How long appends gather before the index takes them in.
const GATHERING: Duration = Duration::from_millis(100);

/// How many times as long as it took to take appends in the index leaves the writers alone.
const REST: u32 = 9;

/// Where a store keeps its index, if it keeps one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum IndexLocation {
    /// In the home, as `selvedge-index.sqlite`.
    #[default]
    InHome,
    /// In this file: for a home that cannot be written to.
    At(PathBuf),
    /// No index: every answer comes from the logs.
    Disabled,
}

/// The index of a store.
#[derive(Clone, Debug)]
pub(crate) struct HomeIndex {
    inner: Arc<Inner>,
}

/// An index that says what the logs say.
#[derive(Debug)]
pub(crate) struct FreshIndex {
    pub(crate) index: StateIndex,
    filling: IndexGeneration,
}

#[derive(Debug)]
struct Inner {
    remembered: Arc<CachedHome>,
    path: Option<PathBuf>,
    opened: tokio::sync::Mutex<Option<StateIndex>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the index failed last.
    failed_at: Option<Instant>,
    /// The task that brings it up to date.
    filling: Option<AbortHandle>,
    progress: Option<UpdateProgress>,
    /// When a look around ended, and which filling of the index it was; nothing when this process wrote since.
    looked_around: Option<(Instant, IndexGeneration)>,
    /// When this process last began to look at every file.
    looked_at: Option<Instant>,
    /// Threads that were written and that no task has taken in yet.
    written: HashSet<ThreadId>,
    gathering: Option<AbortHandle>,
}

impl Drop for State {
    fn drop(&mut self) {
        for task in self.filling.iter().chain(&self.gathering) {
            task.abort();
        }
    }
}

impl HomeIndex {
    pub(crate) fn new(remembered: Arc<CachedHome>, location: IndexLocation) -> Self {
        let path = match location {
            IndexLocation::InHome => Some(StateIndex::path_in(remembered.home())),
            IndexLocation::At(path) => Some(path),
            IndexLocation::Disabled => None,
        };
        let inner = Inner { remembered, path, opened: tokio::sync::Mutex::default(), state: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Returns where the database is, `None` if there is to be none.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }

    /// The index, opened; nothing where there is none to be had.
    pub(crate) async fn open(&self) -> Option<StateIndex> {
        let path = self.inner.path.as_ref()?;
        if self.state().failed_at.is_some_and(|failed_at| failed_at.elapsed() < RECOVERY) {
            return None;
        }
        let mut opened = self.inner.opened.lock().await;
        if let Some(index) = &*opened {
            return Some(index.clone());
        }
        // A home without threads needs none, and one that is missing is not made to be asked.
        if !path.exists() && !self.has_more_threads_than(0).await {
            return None;
        }
        match StateIndex::open_with(Arc::clone(&self.inner.remembered), path).await {
            Ok(index) => {
                *opened = Some(index.clone());
                Some(index)
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    /// The index, as fresh as a look around makes it; nothing when the logs have to answer.
    pub(crate) async fn fresh(&self) -> Option<FreshIndex> {
        let index = self.open().await?;
        // Before the look: what is cleared afterwards is seen by the answer.
        let filling = self.answered(index.filling().await).await?;
        if !self.answered(self.freshen(&index).await).await? {
            return None;
        }
        let filling = match filling {
            Some(filling) => filling,
            None => self.answered(index.filling().await).await??,
        };
        self.state().looked_around = Some((Instant::now(), filling));
        Some(FreshIndex { filling, index })
    }

    /// The same for a page that follows another one if it has a cursor: who turns pages quickly looks around once in a while.
    pub(crate) async fn fresh_for_page(&self, cursor: Option<&Cursor>) -> Option<FreshIndex> {
        if cursor.is_some() { self.fresh_for_more().await } else { self.fresh().await }
    }

    /// The same for a question that belongs to one just answered: the look around for that one serves it.
    pub(crate) async fn fresh_for_more(&self) -> Option<FreshIndex> {
        let looked_around = self.state().looked_around;
        match looked_around.filter(|(at, _)| at.elapsed() < ONE_LOOK) {
            Some((_, filling)) => Some(FreshIndex { index: self.open().await?, filling }),
            None => self.fresh().await,
        }
    }

    /// The same for a question about one thread.
    pub(crate) async fn fresh_of(&self, thread_id: ThreadId) -> Option<FreshIndex> {
        let index = self.open().await?;
        let filling = self.answered(index.filling().await).await??;
        let freshness = index.refresh_threads(HashSet::from([thread_id]), READ_FIRST).await;
        let is_fresh = matches!(self.answered(freshness).await?, RefreshOutcome::Fresh(_));
        is_fresh.then(|| FreshIndex { filling, index })
    }

    /// The page of a search; nothing when the logs have to answer.
    ///
    /// # Errors
    /// `CursorExpired` for a page that follows another one of the index's own ranking, when the index does not answer.
    pub(crate) async fn search_threads(&self, query: &SearchQuery) -> Result<Option<Page<SearchHit>>, StoreError> {
        if StateIndex::is_ranked_here(query) {
            return self.continue_ranking(query).await;
        }
        let Some(fresh) = self.fresh_for_page(query.threads.cursor.as_ref()).await else { return Ok(None) };
        let outcome = fresh.index.search_threads(query).await;
        Ok(self.answer(&fresh, outcome).await.flatten())
    }

    /// The next page of a ranking, from the index as it is: it alone knows how the pages before were ranked, and to bring it up to
    /// date would make the page wait for those who write. What is shown is read from the logs.
    async fn continue_ranking(&self, query: &SearchQuery) -> Result<Option<Page<SearchHit>>, StoreError> {
        if let Some(index) = self.open().await {
            match index.continue_ranking(query).await {
                Ok(Some(page)) => return Ok(Some(page)),
                Ok(None) => {}
                // The logs say the same of a question that is none.
                Err(IndexError::Cursor(_) | IndexError::ZeroLimit) => return Ok(None),
                Err(error) => self.gave_up(error).await,
            }
        }
        let reason = "the index that ranked the pages before it does not answer now".to_owned();
        Err(StoreError::CursorExpired { reason })
    }

    /// What the index answered; nothing when it could not, or was made anew meanwhile, and the logs have to.
    pub(crate) async fn answer<T>(&self, fresh: &FreshIndex, outcome: Result<T, IndexError>) -> Option<T> {
        let answer = self.answered(outcome).await?;
        let filling = self.answered(fresh.index.filling().await).await?;
        (filling == Some(fresh.filling)).then_some(answer)
    }

    async fn answered<T>(&self, outcome: Result<T, IndexError>) -> Option<T> {
        match outcome {
            Ok(answer) => Some(answer),
            // The logs say the same of a question that is none.
            Err(IndexError::Cursor(_) | IndexError::ZeroLimit) => None,
            Err(error) => {
                self.gave_up(error).await;
                None
            }
        }
    }

    /// Whether the index says what the logs say.
    async fn freshen(&self, index: &StateIndex) -> Result<bool, IndexError> {
        match index.refresh(READ_FIRST).await? {
            RefreshOutcome::Fresh(_) => {
                self.look_at_every_file(index).await?;
                Ok(true)
            }
            RefreshOutcome::Unfilled if !self.has_more_threads_than(FILL_FIRST).await => {
                index.update(|_| {}).await?;
                Ok(true)
            }
            RefreshOutcome::Unfilled | RefreshOutcome::Behind { .. } => {
                tracing::info!("the index is being filled; the answer comes from the logs");
                self.fill(index);
                Ok(false)
            }
        }
    }

    /// Whether the home has more threads than so many, or cannot be read.
    async fn has_more_threads_than(&self, most: usize) -> bool {
        let remembered = Arc::clone(&self.inner.remembered);
        let look = tokio::task::spawn_blocking(move || {
            remembered.files().is_ok_and(|files| files.threads().nth(most).is_none())
        });
        !look.await.is_ok_and(|has_no_more| has_no_more)
    }

    /// Looks at every file, in the background, if nobody has for a while.
    async fn look_at_every_file(&self, index: &StateIndex) -> Result<(), IndexError> {
        if self.state().looked_at.is_some_and(|looked_at| looked_at.elapsed() < FULL_LOOK) {
            return Ok(());
        }
        self.state().looked_at = Some(Instant::now());
        let age = index.checked_at().await?.map(|at| now().as_millis().saturating_sub(at.as_millis()));
        if age.is_none_or(|age| u128::try_from(age).map_or(true, |age| age >= FULL_LOOK.as_millis())) {
            self.fill(index);
        }
        Ok(())
    }

    /// Brings the index up to date in the background, unless that is being done.
    fn fill(&self, index: &StateIndex) {
        let mut state = self.state();
        if state.filling.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (index, inner) = (index.clone(), Arc::downgrade(&self.inner));
        let task = index_runtime::spawn(async move {
            tokio::time::sleep(HEAD_START).await;
            let told = inner.clone();
            let outcome = index
                .update(move |progress| {
                    if let Some(inner) = told.upgrade() {
                        lock(&inner.state).progress = Some(progress);
                    }
                })
                .await;
            let Some(inner) = inner.upgrade() else { return };
            lock(&inner.state).progress = None;
            match outcome {
                Ok(report) => tracing::debug!(?report, "the index is up to date"),
                Err(error) => Self { inner }.gave_up(error).await,
            }
        });
        state.filling = Some(task.abort_handle());
        state.progress.get_or_insert_default();
    }

    /// How far the background is with bringing the index up to date; nothing while it is not at it.
    pub(crate) fn progress(&self) -> Option<UpdateProgress> {
        self.state().progress
    }

    /// Ends the tasks in the background and closes the index.
    pub(crate) async fn close(&self) {
        let tasks = {
            let mut state = self.state();
            [state.filling.take(), state.gathering.take()]
        };
        tasks.iter().flatten().for_each(AbortHandle::abort);
        if let Some(index) = self.inner.opened.lock().await.take() {
            index.close().await;
        }
    }

    /// A thread was written by this store: the index takes that in soon.
    pub(crate) fn wrote(&self, thread_id: ThreadId) {
        if self.inner.path.is_none() {
            return;
        }
        let mut state = self.state();
        state.written.insert(thread_id);
        state.looked_around = None;
        if state.gathering.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let inner = Arc::downgrade(&self.inner);
        let task = index_runtime::spawn(async move {
            let mut rest = GATHERING;
            loop {
                tokio::time::sleep(rest).await;
                let Some(inner) = inner.upgrade() else { return };
                let index = Self { inner };
                let written = {
                    let mut state = index.state();
                    if state.written.is_empty() {
                        // Whoever writes next finds no task, as long as this lock is held.
                        state.gathering = None;
                        return;
                    }
                    std::mem::take(&mut state.written)
                };
                let began = Instant::now();
                index.take_in(written).await;
                // Who writes without a pause is not slowed down by it: a question takes in by itself what it needs.
                rest = GATHERING.max(began.elapsed() * REST);
            }
        });
        state.gathering = Some(task.abort_handle());
    }

    async fn take_in(&self, written: HashSet<ThreadId>) {
        let Some(index) = self.open().await else { return };
        let outcome = match index.refresh_threads(written, READ_FIRST).await {
            Ok(RefreshOutcome::Fresh(_)) => Ok(()),
            Ok(RefreshOutcome::Unfilled | RefreshOutcome::Behind { .. }) => {
                self.fill(&index);
                Ok(())
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            self.gave_up(error).await;
        }
    }

    /// The index did not answer, and the logs do.
    async fn gave_up(&self, error: IndexError) {
        match &error {
            // Others are at it: the next question may find it free.
            IndexError::Busy(_) => tracing::info!(%error, "the answer comes from the logs"),
            error if error.is_gone() => tracing::info!(%error, "the answer comes from the logs"),
            // Opened again, a damaged file is set aside.
            error => {
                self.failed(error);
                *self.inner.opened.lock().await = None;
            }
        }
    }

    fn failed(&self, error: &IndexError) {
        let reason = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        tracing::warn!("answers come from the logs: {error}: {reason}");
        self.state().failed_at = Some(Instant::now());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.inner.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
