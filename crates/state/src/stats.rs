//! Statistics: sums of what happened in threads.

use selvedge_history::{StatsFold, ThreadActivity};
use selvedge_protocol::{StatsKey, StatsQuery, ThreadQuery, ThreadStats, Timestamp};
use sqlx::{QueryBuilder, Row, Sqlite};

use crate::error::Result;
use crate::index::StateIndex;
use crate::list::push_filters;
use crate::sql::unsigned;

impl StateIndex {
    /// Returns sums over the threads that the index knows.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
        let selection = query.selection();
        let rows = select(query, &selection).build().fetch_all(&self.database.readers).await?;
        let mut fold = StatsFold::new(query);
        for row in &rows {
            let created_at = Timestamp::from_millis(row.try_get(0)?);
            let activity: ThreadActivity =
                serde_json::from_str(row.try_get(3)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
            fold.add(created_at, row.try_get(1)?, &activity, unsigned(row.try_get(2)?));
        }
        Ok(fold.finish())
    }
}

/// Returns the statement that gives one row for each thread. The sums are made from them by [`StatsFold`]: as without an
/// index, and beyond the integers of SQLite.
fn select<'a>(query: &StatsQuery, selection: &'a ThreadQuery) -> QueryBuilder<'a, Sqlite> {
    let mut sql = QueryBuilder::new("SELECT created_at, ");
    sql.push(match query.by {
        StatsKey::Day => "NULL",
        StatsKey::Project => "coalesce(git_repository, cwd)",
        StatsKey::Model => "model",
        StatsKey::Source => "source",
    });
    sql.push(
        ", coalesce((SELECT sum(size) FROM segments WHERE thread_id = threads.id), 0), counts \
        FROM threads JOIN activities ON activities.thread_id = threads.id WHERE ",
    );
    push_filters(&mut sql, selection);
    sql
}
