//! Statistics: sums over threads.

use selvedge_history::StatsFold;
use selvedge_protocol::{StatsCounts, StatsKey, StatsQuery, ThreadStats, day_text};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use crate::error::Result;
use crate::index::StateIndex;
use crate::list::push_filters;
use crate::sql::unsigned;

/// The kinds of tokens, by their names in a record.
const TOKENS: [&str; 5] =
    ["input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens", "total_tokens"];

impl StateIndex {
    /// Returns sums over the threads that the index knows.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
        let rows = select(query).build().fetch_all(&self.database.readers).await?;
        let mut fold = StatsFold::new(query);
        for row in &rows {
            let key = match query.by {
                StatsKey::Day => Some(day_text(row.try_get(0)?)),
                _ => row.try_get(0)?,
            };
            fold.group(key, counts(row)?);
        }
        Ok(fold.finish())
    }
}

fn counts(row: &SqliteRow) -> Result<StatsCounts> {
    let count = |column: usize| -> Result<u64> { Ok(unsigned(row.try_get(column)?)) };
    Ok(StatsCounts {
        threads: count(1)?,
        turns: count(2)?,
        bytes: count(3)?,
        input_tokens: count(4)?,
        cached_input_tokens: count(5)?,
        output_tokens: count(6)?,
        reasoning_output_tokens: count(7)?,
        total_tokens: count(8)?,
    })
}

/// Returns the statement that computes one row per group. It must agree with [`StatsFold`] and [`StatsCounts::of`].
fn select(query: &StatsQuery) -> QueryBuilder<'_, Sqlite> {
    let mut sql = QueryBuilder::new("SELECT key, count(*), sum(turns), sum(bytes)");
    for name in TOKENS {
        sql.push(format_args!(", sum({name})"));
    }
    // The inner query computes key and numbers per thread, the outer one sums them up per key.
    sql.push(" FROM (SELECT ");
    push_key(&mut sql, query);
    // The index of the last turn is found by one search of the primary key. `count(*)` would read all turns.
    sql.push(
        " AS key, \
        coalesce((SELECT place + 1 FROM turns WHERE thread_id = threads.id ORDER BY place DESC LIMIT 1), 0) AS turns, \
        coalesce((SELECT sum(size) FROM segments WHERE thread_id = threads.id), 0) AS bytes",
    );
    for name in TOKENS {
        let path = format!("'$.token_usage.{name}'");
        // A record keeps values that are not counts as they are in the log. They count as 0, and too large ones are clamped.
        sql.push(format_args!(", CASE WHEN json_type(record, {path}) = 'integer' THEN "));
        sql.push(format_args!("max(0, min(json_extract(record, {path}), {})) ", StatsCounts::MAX_TOKENS_PER_THREAD));
        sql.push(format_args!("ELSE 0 END AS {name}"));
    }
    sql.push(" FROM threads WHERE ");
    push_filters(&mut sql, &query.threads);
    sql.push(") GROUP BY key");
    sql
}

fn push_key(sql: &mut QueryBuilder<'_, Sqlite>, query: &StatsQuery) {
    match query.by {
        StatsKey::Day => push_day(sql, query),
        StatsKey::Project => {
            sql.push("coalesce(git_repository, cwd)");
        }
        StatsKey::Model => {
            sql.push("model");
        }
        StatsKey::Source => {
            sql.push("source");
        }
    }
}

/// Adds the number of the day since 1970, in local time.
fn push_day(sql: &mut QueryBuilder<'_, Sqlite>, query: &StatsQuery) {
    // The offset from UTC changes with daylight saving time: the latest change before the time of the thread counts.
    let push_local = |sql: &mut QueryBuilder<'_, Sqlite>| {
        if query.offsets.is_empty() {
            sql.push("created_at");
            return;
        }
        sql.push("(created_at + CASE");
        for offset in query.offsets.iter().rev() {
            sql.push(format_args!(" WHEN created_at >= {}", offset.since.as_millis()));
            sql.push(format_args!(" THEN {}", i64::from(offset.seconds) * 1000));
        }
        sql.push(" ELSE 0 END)");
    };
    // Integer division rounds towards zero. Subtracting a remainder that is never negative rounds down, also before 1970:
    // (t - ((t % day) + day) % day) / day.
    sql.push("(");
    push_local(sql);
    sql.push(" - ((");
    push_local(sql);
    sql.push(" % 86400000) + 86400000) % 86400000) / 86400000");
}
