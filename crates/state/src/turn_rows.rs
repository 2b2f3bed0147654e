//! The rows of turns in the database.

use selvedge_history::turn_index::{BytePosition, TurnRow};
use selvedge_protocol::TurnId;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::error::Result;
use crate::sql::unsigned;

/// The columns of a [`TurnRow`], in the order in which [`read_turn_row`] reads them. How many turns are before
/// a turn is in the column `place`.
pub(crate) const TURN_COLUMNS: &str = "place, turn_id, first_line, end_line, start_part, start_byte, end_part, end_byte, \
    next_item, paginated, is_self_contained, items, \
    NOT EXISTS (SELECT 1 FROM turns AS later WHERE later.thread_id = turns.thread_id AND later.place = turns.place + 1)";

pub(crate) fn read_turn_row(row: &SqliteRow) -> Result<TurnRow> {
    let number = |column: usize| -> Result<u64> { Ok(unsigned(row.try_get(column)?)) };
    let position = |column: usize| -> Result<BytePosition> {
        let part = usize::try_from(number(column)?).unwrap_or(usize::MAX);
        Ok(BytePosition { part, byte: number(column + 1)? })
    };
    let items: &[u8] = row.try_get(11)?;
    Ok(TurnRow {
        turn_index: number(0)?,
        id: TurnId::from(row.try_get::<&str, _>(1)?),
        lines: number(2)?..number(3)?,
        start: position(4)?,
        end: position(6)?,
        next_item: number(8)?,
        paginated: row.try_get(9)?,
        is_self_contained: row.try_get(10)?,
        items: TurnRow::unpack_items(items).ok_or_else(|| sqlx::Error::Decode("items of a turn".into()))?,
        is_last: row.try_get(12)?,
    })
}
