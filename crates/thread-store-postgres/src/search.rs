//! Searches: the database proposes blocks of turns by the keys of their words, and [`TextSearch`] decides.
//!
//! Candidates are the turns of blocks that have all keys of the search, and threads whose projections do not have every line. A name
//! is a block without turns. Only the records and the turns of candidates are read. Of a thread with lines that came after its projections, these are
//! the turns of its blocks, too, and the turns that came since.

use std::collections::HashMap;
use std::sync::Arc;

use selvedge_history::ranking::keys::search_keys;
use selvedge_history::{TextSearch, ThreadHits};
use selvedge_protocol::{Page, SearchHit, SearchQuery, ThreadId, Turn};
use selvedge_thread_store::implement::page_hits;
use selvedge_thread_store::{Result, StoreError};
use sqlx::postgres::PgConnection;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::error::AttemptError;
use crate::host::{PostgresHost, end, outcome_of};
use crate::rows::to_u64;
use crate::stored_lines::StoredLines;
use crate::tables::ThreadRow;
use crate::turn_table::PROJECTION_VERSION;
use crate::turns::ThreadTurns;

/// What may have hits in a thread.
#[derive(Default)]
struct CandidateThread {
    /// The turns in rows, in their order, each range with its end. They count only if `is_projected`.
    turns: Vec<(u64, u64)>,
    /// Whether the projections have every line, so that no other turn can have a hit.
    is_projected: bool,
}

/// The threads that may have hits.
type ThreadCandidates = HashMap<ThreadId, CandidateThread>;

impl PostgresHost {
    /// Returns the page of hits that a search asks for.
    pub(crate) async fn search(self: &Arc<Self>, query: &SearchQuery) -> Result<Page<SearchHit>> {
        // The text is parsed before anything is read, so that an invalid one is refused immediately.
        let search = TextSearch::new(&query.text)?;
        let keys = search_keys(&search);
        // A filter by descent needs the links of all threads.
        let needs_all = keys.is_empty() || query.threads.needs_links();
        let (candidates, records) = self
            .reading(async || {
                let mut snapshot = self.snapshot().await?;
                let candidates = self.search_candidates(&mut snapshot, &keys).await?;
                let mut threads = match needs_all {
                    true => self.threads(&mut snapshot).await?,
                    false => self.threads_with_ids(&mut snapshot, candidates.keys()).await?,
                };
                self.make_exact(&mut snapshot, &mut threads).await?;
                end(snapshot).await;
                Ok((candidates, threads.iter().map(ThreadRow::stored_record).collect::<Vec<_>>()))
            })
            .await?;
        let behind = candidates.iter().filter(|(_, candidate)| !candidate.is_projected);
        self.fold_later(behind.map(|(thread_id, _)| *thread_id));
        let (host, runtime, query, mut candidates) = (Arc::clone(self), Handle::current(), query.clone(), candidates);
        let keys = Arc::new(keys);
        let deciding = tokio::task::spawn_blocking(move || {
            page_hits(&query, records, |thread| {
                let candidate = match candidates.remove(&thread.id) {
                    Some(candidate) => candidate,
                    None if keys.is_empty() => CandidateThread::default(),
                    None => return Ok(ThreadHits::default()),
                };
                let turns = match runtime.block_on(host.candidate_turns(thread.id, candidate, Arc::clone(&keys))) {
                    // It was deleted meanwhile.
                    Err(StoreError::NotFound { .. }) => Vec::new(),
                    turns => turns?,
                };
                let numbered = turns.iter().map(|(index, turn)| (index + 1, turn));
                Ok(search.hits_among(thread, numbered, query.order, query.hits_per_thread))
            })
        });
        outcome_of(deciding).await?
    }

    /// Finds the threads that may have hits. If there are no keys, all threads may, and this finds those whose projections are behind.
    async fn search_candidates(
        &self,
        connection: &mut PgConnection,
        keys: &[i32],
    ) -> Result<ThreadCandidates, AttemptError> {
        let mut candidates: ThreadCandidates = HashMap::new();
        if !keys.is_empty() {
            self.add_projected(connection, keys, &mut candidates).await?;
        }
        // The version is part of the text: of a parameter the server assumes that many rows differ, and reads all of them.
        let query = self.sql(&format!(
            "SELECT thread_id FROM @.threads
            WHERE namespace = $1 AND (projection_version < {PROJECTION_VERSION} OR projection_version > {PROJECTION_VERSION})"
        ));
        let query = sqlx::query_scalar(&query).bind(self.namespace());
        let behind: Vec<Uuid> = query.fetch_all(&mut *connection).await?;
        for thread_id in behind {
            candidates.entry(ThreadId::from_uuid(thread_id)).or_default().is_projected = false;
        }
        Ok(candidates)
    }

    /// Adds the threads with blocks that have these keys. The block of a name has no turns.
    async fn add_projected(
        &self,
        connection: &mut PgConnection,
        keys: &[i32],
        candidates: &mut ThreadCandidates,
    ) -> Result<(), AttemptError> {
        // The keys are part of the text, so that the server plans for their frequency. For a parameter it assumes a common one, and
        // compares the keys of all blocks.
        let keys: Vec<String> = keys.iter().map(i32::to_string).collect();
        let query = self.sql(&format!(
            "SELECT thread_id, first_turn, end_turn FROM @.search_blocks
            WHERE namespace = $1 AND keys @> '{{{}}}'::integer[] ORDER BY thread_id, first_turn",
            keys.join(",")
        ));
        let query = sqlx::query_as(&query).bind(self.namespace()).persistent(false);
        let blocks: Vec<(Uuid, i64, i64)> = query.fetch_all(&mut *connection).await?;
        for (thread_id, first, end) in blocks {
            let thread = candidates.entry(ThreadId::from_uuid(thread_id)).or_default();
            thread.is_projected = true;
            thread.turns.push((to_u64(first), to_u64(end)));
        }
        Ok(())
    }

    /// Returns the ranges of turns of a thread's blocks that have all these keys.
    async fn blocks_of(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
        keys: &[i32],
    ) -> Result<Vec<(u64, u64)>, AttemptError> {
        let query = self.sql(
            "SELECT first_turn, end_turn FROM @.search_blocks
            WHERE namespace = $1 AND thread_id = $2 AND keys @> $3 ORDER BY first_turn",
        );
        let query = sqlx::query_as(&query).bind(self.namespace()).bind(thread_id.as_uuid()).bind(keys);
        let blocks: Vec<(i64, i64)> = query.fetch_all(connection).await?;
        Ok(blocks.into_iter().map(|(first, end)| (to_u64(first), to_u64(end))).collect())
    }

    /// Returns turns of a thread with their indexes, among them all that may have hits.
    async fn candidate_turns(
        self: &Arc<Self>,
        thread_id: ThreadId,
        candidate: CandidateThread,
        keys: Arc<Vec<i32>>,
    ) -> Result<Vec<(u64, Turn)>> {
        let read = self
            .reading(|| {
                let ranges = candidate.is_projected.then(|| candidate.turns.clone());
                let keys = Arc::clone(&keys);
                self.over_stored_lines(thread_id, move |lines| turns_in(lines, ranges, &keys))
            })
            .await?;
        match read {
            Some(turns) => Ok(turns),
            None => Ok((0..).zip(self.whole_history(thread_id).await?.turns()).collect()),
        }
    }
}

/// Reads the turns of these ranges of rows, and those in no row. If the ranges are not known, since the rows may have changed after the
/// candidates were found, they are those with these keys now.
fn turns_in(lines: &StoredLines, ranges: Option<Vec<(u64, u64)>>, keys: &[i32]) -> Result<Vec<(u64, Turn)>> {
    let turns = ThreadTurns::load(lines)?;
    let (thread_id, stored) = (lines.thread().id, turns.first_new());
    let ranges = match ranges {
        Some(ranges) => ranges,
        None if keys.is_empty() => vec![(0, stored)],
        None => lines.ask(async |host, connection| host.blocks_of(connection, thread_id, keys).await)?,
    };
    let indexes: Vec<u64> = ranges.iter().flat_map(|(first, end)| *first..(*end).min(stored)).collect();
    let read = turns.read(&indexes)?;
    let newer = turns.newer().map(|(index, turn)| (index, turn.clone()));
    Ok(indexes.into_iter().zip(read).chain(newer).collect())
}
