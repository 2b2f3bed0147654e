//! Walks through the candidate threads of a search, in the order of a query.

use std::collections::VecDeque;

use selvedge_protocol::{ThreadCursor, ThreadId, ThreadQuery, Timestamp};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use crate::error::Result;
use crate::list::{column, push_filters, push_order};
use crate::search::candidates::SearchCandidates;
use crate::sql::ids_json;

/// Up to how many candidates the SQL statement names them. If there are more, it reads all threads in order, and the walk skips
/// those that are no candidates.
const MAX_NAMED_IDS: usize = 500;

/// How many rows are loaded at a time.
pub(super) const ROWS: usize = 512;

/// A walk through the threads that are candidates and match the filters of the query.
pub(super) struct ThreadWalk<'a> {
    query: &'a ThreadQuery,
    candidates: &'a SearchCandidates,
    /// The ids of the candidates as JSON, if they are few.
    ids: Option<String>,
    /// The thread after which the walk continues.
    after: Option<ThreadCursor>,
    /// The first and the last thread of the walk, if it is limited.
    between: Option<(ThreadCursor, ThreadCursor)>,
    /// Threads that are loaded and were not returned yet.
    ready: VecDeque<ThreadCursor>,
    is_all_loaded: bool,
}

impl<'a> ThreadWalk<'a> {
    /// Creates a walk that begins after a thread.
    pub(super) fn after(query: &'a ThreadQuery, candidates: &'a SearchCandidates, after: Option<ThreadCursor>) -> Self {
        let count = candidates.count();
        let ids = (count <= MAX_NAMED_IDS).then(|| ids_json(candidates.ids()));
        Self { query, candidates, ids, after, between: None, ready: VecDeque::new(), is_all_loaded: count == 0 }
    }

    /// Creates a walk from one thread to another one, both included.
    pub(super) fn between(
        query: &'a ThreadQuery,
        candidates: &'a SearchCandidates,
        first: ThreadCursor,
        last: ThreadCursor,
    ) -> Self {
        Self { between: Some((first, last)), ..Self::after(query, candidates, None) }
    }

    /// Returns the next threads, `count` at most. At the end it returns none.
    pub(super) async fn next(&mut self, connection: &mut SqliteConnection, count: usize) -> Result<Vec<ThreadCursor>> {
        while self.ready.len() < count && !self.is_all_loaded {
            self.load(connection).await?;
        }
        let count = count.min(self.ready.len());
        Ok(self.ready.drain(..count).collect())
    }

    /// Returns whether the walk has surely ended. It may have ended without knowing it.
    pub(super) fn is_at_end(&self) -> bool {
        self.is_all_loaded && self.ready.is_empty()
    }

    async fn load(&mut self, connection: &mut SqliteConnection) -> Result<()> {
        let at = column(self.query.sort);
        let mut sql = QueryBuilder::<Sqlite>::new(format!("SELECT id, {at} FROM threads WHERE "));
        push_filters(&mut sql, self.query);
        if let Some(ids) = &self.ids {
            sql.push(" AND id IN (SELECT unhex(value) FROM json_each(").push_bind(ids).push("))");
        }
        if let Some((first, last)) = self.between {
            // Only a ranking has limits, and it walks from the newest thread to the oldest.
            for (compare, thread) in [("<=", first), (">=", last)] {
                sql.push(format_args!(" AND ({at}, id) {compare} (")).push_bind(thread.at.as_millis());
                sql.push(", ").push_bind(thread.id.as_uuid()).push(")");
            }
        }
        push_order(&mut sql, self.query, self.after, ROWS);
        let rows = sql.build().fetch_all(connection).await?;
        self.is_all_loaded = rows.len() < ROWS;
        for row in rows {
            let (id, at) = (ThreadId::from_uuid(row.try_get(0)?), Timestamp::from_millis(row.try_get(1)?));
            let thread = ThreadCursor { at, id };
            self.after = Some(thread);
            if self.candidates.contains(&id) {
                self.ready.push_back(thread);
            }
        }
        Ok(())
    }
}
