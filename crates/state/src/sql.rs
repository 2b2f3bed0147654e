//! Helpers for SQL statements.

use selvedge_protocol::ThreadId;
use sqlx::query_builder::Separated;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use crate::error::Result;
use crate::limits::ROWS_PER_STATEMENT;

/// Inserts rows, [`ROWS_PER_STATEMENT`] with each statement. `insert` is the SQL before the values, `conflict` the SQL after
/// them.
pub(crate) async fn insert_rows<'a, T>(
    connection: &mut SqliteConnection,
    insert: &str,
    conflict: &str,
    rows: &'a [T],
    mut bind: impl FnMut(Separated<'_, 'a, Sqlite, &'static str>, &'a T),
) -> Result<()> {
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        let mut sql = QueryBuilder::new(insert);
        sql.push_values(chunk, &mut bind);
        sql.push(conflict);
        sql.build().persistent(is_usual_length(chunk.len())).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Returns whether a statement for this number of rows should stay prepared. Statements of other lengths are rarely used again,
/// and would remove those of the usual lengths from the cache.
pub(crate) const fn is_usual_length(rows: usize) -> bool {
    rows == ROWS_PER_STATEMENT || rows == 1
}

/// Returns ids of threads as a JSON array of hexadecimal strings, for `IN (SELECT unhex(value) FROM json_each(?))`. So one
/// statement serves any number of ids and can stay prepared.
pub(crate) fn ids_json<'a>(threads: impl IntoIterator<Item = &'a ThreadId>) -> String {
    uuids_json(threads.into_iter().map(ThreadId::as_uuid))
}

/// Returns ids as [`ids_json`] does.
pub(crate) fn uuids_json(ids: impl Iterator<Item = uuid::Uuid>) -> String {
    let mut array = String::from("[");
    for id in ids {
        if array.len() > 1 {
            array.push(',');
        }
        array.push_str(&format!("\"{}\"", id.simple()));
    }
    array.push(']');
    array
}

/// Returns numbers as a JSON array, for `IN (SELECT value FROM json_each(?))`.
pub(crate) fn numbers_json(numbers: &[i64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
    format!("[{}]", numbers.join(","))
}

/// Returns the signed integer with the same bits, because SQLite has no unsigned ones.
pub(crate) const fn signed(value: u64) -> i64 {
    value.cast_signed()
}

/// Returns the unsigned integer with the same bits.
pub(crate) const fn unsigned(value: i64) -> u64 {
    value.cast_unsigned()
}
