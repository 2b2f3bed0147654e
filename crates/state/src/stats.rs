//! Sums over threads.

use selvedge_history::StatsFold;
use selvedge_protocol::{StatsCounts, StatsKey, StatsQuery, ThreadStats, day_text};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use crate::StateIndex;
use crate::error::Result;
use crate::list::push_filters;
use crate::write::unsigned;

/// The kinds of tokens, as a row's record names them.
const TOKENS: [&str; 5] =
    ["input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens", "total_tokens"];

impl StateIndex {
    /// Sums over the threads that the index knows.
    ///
    /// # Errors
    /// When the database cannot be read.
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

/// The statement for one row of each group. It must say the same as [`StatsFold`] and [`StatsCounts::of`].
fn select(query: &StatsQuery) -> QueryBuilder<'_, Sqlite> {
    let mut sql = QueryBuilder::new("SELECT key, count(*), sum(turns), sum(bytes)");
    for name in TOKENS {
        sql.push(format_args!(", sum({name})"));
    }
    sql.push(" FROM (SELECT ");
    push_key(&mut sql, query);
    // The last turn says how many there are, and all others need not be looked at.
    sql.push(
        " AS key, \
        coalesce((SELECT place + 1 FROM turns WHERE thread_id = threads.id ORDER BY place DESC LIMIT 1), 0) AS turns, \
        coalesce((SELECT sum(size) FROM segments WHERE thread_id = threads.id), 0) AS bytes",
    );
    for name in TOKENS {
        let path = format!("'$.token_usage.{name}'");
        // What is no count was kept as it was spelt.
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
            sql.push("coalesce(git_repository, iif(cwd = '', '/', cwd))");
        }
        StatsKey::Model => {
            sql.push("model");
        }
        StatsKey::Source => {
            sql.push("source");
        }
    }
}

/// The number of the day, rounded down also before 1970.
fn push_day(sql: &mut QueryBuilder<'_, Sqlite>, query: &StatsQuery) {
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
    sql.push("(");
    push_local(sql);
    sql.push(" - ((");
    push_local(sql);
    sql.push(" % 86400000) + 86400000) % 86400000) / 86400000");
}
