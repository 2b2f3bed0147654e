//! The queries that the index answers. `None` means that the logs have to answer.

use std::path::PathBuf;

use selvedge_protocol::{
    ItemQuery, Page, StatsQuery, StoredThread, ThreadId, ThreadQuery, ThreadStats, Turn, TurnId, TurnItemEntry,
    TurnQuery, distinct_prefix_len,
};
use selvedge_state::{IndexError, StateIndex};

use super::directories::resolve_links;
use super::freshness::FreshIndex;
use super::handle::HomeIndex;
use super::limits::MAX_REFRESH_BYTES;
use super::runtime::with_timers;
use crate::read::directories::unite_linked_groups;

impl HomeIndex {
    /// Returns how many characters distinguish these ids from all others of the home.
    pub(crate) async fn distinct_prefix_len(&self, thread_ids: &[ThreadId]) -> Option<usize> {
        let answer = |index: StateIndex| async move {
            let neighbours = index.neighbours(thread_ids).await?;
            Ok(Some(distinct_prefix_len(thread_ids, neighbours)))
        };
        self.query(self.fresh_or_recent(), answer).await
    }

    /// Returns what happened in the threads of a query, and what was spent.
    pub(crate) async fn thread_stats(&self, query: &StatsQuery) -> Option<ThreadStats> {
        let answer = |index: StateIndex| async move {
            let threads = resolve_links(&index, &query.threads).await?.into_owned();
            let query = StatsQuery { threads, ..query.clone() };
            let stats = index.stats(&query).await?;
            // The task fails only if the runtime is shut down. Then the caller is dropped as well.
            Ok(tokio::task::spawn_blocking(move || unite_linked_groups(&query, stats)).await.ok())
        };
        self.query(self.fresh(), answer).await
    }

    /// Returns the record of a thread.
    pub(crate) async fn read_thread(&self, thread_id: ThreadId) -> Option<StoredThread> {
        self.query(self.refreshed_for(thread_id, MAX_REFRESH_BYTES), |index: StateIndex| async move {
            index.read_thread(thread_id).await
        })
        .await
    }

    /// Returns a page of threads.
    pub(crate) async fn list_threads(&self, query: &ThreadQuery) -> Option<Page<StoredThread>> {
        let answer = |index: StateIndex| async move {
            let query = resolve_links(&index, query).await?;
            index.list_threads(&query).await.map(Some)
        };
        self.query(self.fresh_for_page(query.cursor.as_ref()), answer).await
    }

    /// Returns a page of turns.
    pub(crate) async fn list_turns(&self, query: &TurnQuery, is_live: bool) -> Option<Page<Turn>> {
        self.query(self.refreshed_for(query.thread_id, u64::MAX), |index: StateIndex| async move {
            index.list_turns(query, is_live).await
        })
        .await
    }

    /// Returns a page of items.
    pub(crate) async fn list_items(&self, query: &ItemQuery, is_live: bool) -> Option<Page<TurnItemEntry>> {
        self.query(self.refreshed_for(query.thread_id, u64::MAX), |index: StateIndex| async move {
            index.list_items(query, is_live).await
        })
        .await
    }

    /// Returns where the newest turn with this id begins: the file, the index of the file in the history, and the byte.
    pub(crate) async fn turn_start(&self, thread_id: ThreadId, turn_id: &TurnId) -> Option<(PathBuf, usize, u64)> {
        self.query(self.refreshed_for(thread_id, u64::MAX), |index: StateIndex| async move {
            let start = index.turn_start(thread_id, turn_id).await?;
            Ok(start.map(|(path, start)| (path, start.part, start.byte)))
        })
        .await
    }

    /// Asks the index. `None` if there is no index, if it is not fresh, busy or broken, or if it was cleared meanwhile. `fresh`
    /// refreshes the index as far as the query needs.
    async fn query<T, A>(
        &self,
        fresh: impl Future<Output = Option<FreshIndex>> + Send,
        answer: impl FnOnce(StateIndex) -> A + Send,
    ) -> Option<T>
    where
        T: Send + 'static,
        A: Future<Output = Result<Option<T>, IndexError>> + Send,
    {
        let answer = async {
            let fresh = fresh.await?;
            let outcome = answer(fresh.index.clone()).await;
            self.answer(&fresh, outcome).await?
        };
        with_timers(answer).await
    }
}
