//! Refresh policy: how far the index has to be up to date before it may answer a query.
//!
//! | query | refresh |
//! | --- | --- |
//! | threads of a home, first page | a rescan for changes |
//! | threads of a home, further pages, and what belongs to a page | the last rescan, if it is recent, else a rescan |
//! | one thread | the files of that thread |
//! | turns of one thread | the same, however much there is to read: without the index, each page would read it all |
//!
//! A rescan does not find every change of an old file. So from time to time a background task compares every file.

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use selvedge_protocol::{Cursor, ThreadId};
use selvedge_rollout::now;
use selvedge_state::{IndexError, IndexGeneration, RefreshOutcome, StateIndex};

use super::handle::{HomeIndex, LastRescan};
use super::limits::{FULL_CHECK_INTERVAL, MAX_REFRESH_BYTES, MAX_THREADS_FILLED_INLINE, RESCAN_VALIDITY};
use super::runtime::with_timers;

/// An index that agreed with the logs when it was refreshed.
#[derive(Debug)]
pub(super) struct FreshIndex {
    pub(super) index: StateIndex,
    /// The generation of the index before the refresh.
    generation: IndexGeneration,
}

impl HomeIndex {
    /// Rescans the home for changes and refreshes the index. `None` if the logs have to answer.
    pub(super) async fn fresh(&self) -> Option<FreshIndex> {
        let index = self.open().await?;
        // Read before the refresh. If another process clears the index between here and the answer, the generation differs
        // then, and the answer is discarded. If it were read afterwards, a clearing during the refresh would not be noticed.
        let generation = self.answered(index.generation().await).await?;
        if !self.answered(self.refresh_or_fill(&index).await).await? {
            return None;
        }
        let generation = match generation {
            Some(generation) => generation,
            // The refresh has filled the index for the first time.
            None => self.answered(index.generation().await).await??,
        };
        self.state().last_rescan = Some(LastRescan { ended_at: Instant::now(), generation });
        Some(FreshIndex { generation, index })
    }

    /// Refreshes the index for a page. With a cursor it is a further page, which a recent rescan still serves.
    pub(super) async fn fresh_for_page(&self, cursor: Option<&Cursor>) -> Option<FreshIndex> {
        if cursor.is_some() { self.fresh_or_recent().await } else { self.fresh().await }
    }

    /// Refreshes the index for a query that belongs to one that was just answered. A recent rescan still serves it.
    pub(super) async fn fresh_or_recent(&self) -> Option<FreshIndex> {
        let last_rescan = self.state().last_rescan;
        match last_rescan.filter(|rescan| rescan.ended_at.elapsed() < RESCAN_VALIDITY) {
            Some(LastRescan { generation, .. }) => Some(FreshIndex { index: self.open().await?, generation }),
            None => self.fresh().await,
        }
    }

    /// Refreshes the index for a query about one thread, if there are at most `max_bytes` to read.
    pub(super) async fn refreshed_for(&self, thread_id: ThreadId, max_bytes: u64) -> Option<FreshIndex> {
        let index = self.open().await?;
        let generation = self.answered(index.generation().await).await??;
        let outcome = index.refresh_threads(HashSet::from([thread_id]), max_bytes).await;
        match self.answered(outcome).await? {
            RefreshOutcome::Fresh(_) => Some(FreshIndex { generation, index }),
            other => {
                tracing::info!(why = why_stale(&other), "the logs answer");
                None
            }
        }
    }

    /// Removes a thread that this store deleted from the index, so that none of its words stay in a file; also from the index in the
    /// home that this store does not use. A failure is logged: the next query through that index removes the thread then.
    pub(crate) async fn erase(&self, thread_id: ThreadId) {
        with_timers(async {
            if self.path().is_some_and(Path::exists)
                && let Some(index) = self.open().await
                && let Err(error) = erase_from(&index, thread_id).await
            {
                self.give_up(error).await;
            }
            if let Some(index) = self.open_unused().await {
                // The error is logged, and no query of this store uses that index.
                let _ = erase_from(&index, thread_id).await;
                index.close().await;
            }
        })
        .await;
    }

    /// Returns what the index answered. `None` if it failed, or was cleared meanwhile and may have answered from a part of the
    /// threads: then the logs have to answer.
    pub(super) async fn answer<T>(&self, fresh: &FreshIndex, outcome: Result<T, IndexError>) -> Option<T> {
        let answer = self.answered(outcome).await?;
        let generation = self.answered(fresh.index.generation().await).await?;
        if generation != Some(fresh.generation) {
            tracing::info!(why = "the index was cleared meanwhile", "the logs answer");
            return None;
        }
        Some(answer)
    }

    /// Refreshes the index, or fills it if the home is small. Returns whether it agrees with the logs now.
    async fn refresh_or_fill(&self, index: &StateIndex) -> Result<bool, IndexError> {
        match index.refresh(MAX_REFRESH_BYTES).await? {
            RefreshOutcome::Fresh(_) => {
                self.check_every_file_if_due(index).await?;
                Ok(true)
            }
            RefreshOutcome::Unfilled if !self.has_more_threads_than(MAX_THREADS_FILLED_INLINE).await => {
                index.update(|_| {}).await?;
                Ok(true)
            }
            stale => {
                tracing::info!(why = why_stale(&stale), "the logs answer");
                if !matches!(stale, RefreshOutcome::Hidden) {
                    self.update_in_background(index);
                }
                Ok(false)
            }
        }
    }

    /// Compares every file in the background, unless this process or another one has done so recently.
    async fn check_every_file_if_due(&self, index: &StateIndex) -> Result<(), IndexError> {
        // The time in memory first: it saves most queries from reading the one in the database, which all processes share.
        if self.state().last_full_check.is_some_and(|checked| checked.elapsed() < FULL_CHECK_INTERVAL) {
            return Ok(());
        }
        self.state().last_full_check = Some(Instant::now());
        let age = index.checked_at().await?.map(|at| now().as_millis().saturating_sub(at.as_millis()));
        // A negative age comes from a clock that was set back, and counts as due.
        if age.is_none_or(|age| u128::try_from(age).map_or(true, |age| age >= FULL_CHECK_INTERVAL.as_millis())) {
            self.update_in_background(index);
        }
        Ok(())
    }
}

async fn erase_from(index: &StateIndex, thread_id: ThreadId) -> Result<(), IndexError> {
    let outcome = index.erase_threads(HashSet::from([thread_id])).await;
    if let Err(error) = &outcome {
        tracing::warn!(%thread_id, %error, "the index still has words of a deleted thread; the next query removes them");
    }
    outcome.map(|_| ())
}

/// Returns why an index cannot answer after a refresh.
fn why_stale(outcome: &RefreshOutcome) -> &'static str {
    match outcome {
        RefreshOutcome::Fresh(_) => "the index is up to date",
        RefreshOutcome::Hidden => "a directory cannot be read",
        RefreshOutcome::Unfilled => "the index is not filled yet",
        RefreshOutcome::Behind { .. } => "the index has much to read",
    }
}
