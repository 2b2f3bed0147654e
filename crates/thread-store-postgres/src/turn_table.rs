//! The rows of turns, and what they were read from.

use selvedge_history::turn_index::{BytePosition, TurnResumePoint, TurnRow};
use selvedge_protocol::{ThreadId, TurnId};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{FromRow, Row};
use uuid::Uuid;

use crate::error::AttemptError;
use crate::host::PostgresHost;
use crate::rows::{to_i64, to_u64};
use crate::stored_lines::StoredChain;
use crate::tables::from_json;

/// The version of the projections. Those of another version are made again from the lines.
pub(crate) const PROJECTION_VERSION: i32 = 2;

/// How many rows one statement inserts at most.
const MAX_ROWS: usize = 2000;

/// The columns of a [`TurnRow`], in the order in which [`read_turn`] reads them.
const TURN: &str =
    "turn_index, turn_id, first_line, end_line, start_part, start_byte, end_part, end_byte, next_item, paginated,
    is_self_contained, items";

/// The segments that a history goes through. The bytes of the newest one can become more, and the prefixes of the others cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProjectedChain {
    /// All segments but the newest, oldest first, each with the end of its prefix.
    bases: Vec<(Uuid, u64)>,
    newest: Uuid,
    /// Whether a base is missing.
    is_incomplete: bool,
}

impl ProjectedChain {
    pub(crate) fn of(chain: &StoredChain) -> Self {
        let mut ends: Vec<(Uuid, u64)> = chain.ends().map(|(id, end)| (id.as_uuid(), end)).collect();
        let newest = ends.pop().map_or(Uuid::nil(), |(id, _)| id);
        Self { bases: ends, newest, is_incomplete: chain.is_incomplete() }
    }
}

/// A row of `projections`.
#[derive(Clone, Debug)]
pub(crate) struct StoredProjection {
    pub(crate) state: Uuid,
    version: i32,
    chain: ProjectedChain,
    /// The byte of the newest segment that follows the last line.
    pub(crate) projected_to: u64,
    pub(crate) turns: u64,
    pub(crate) resume_point: Option<TurnResumePoint>,
}

impl FromRow<'_, PgRow> for StoredProjection {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let resume_point: Option<&[u8]> = row.try_get("resume_point")?;
        let version = row.try_get("version")?;
        // Another version may have other JSON.
        let chain = if version == PROJECTION_VERSION { from_json(row.try_get("chain")?)? } else { Default::default() };
        Ok(Self {
            state: row.try_get("state")?,
            version,
            chain,
            projected_to: to_u64(row.try_get("projected_to")?),
            turns: to_u64(row.try_get("turns")?),
            resume_point: resume_point.and_then(|json| serde_json::from_slice(json).ok()),
        })
    }
}

impl StoredProjection {
    pub(crate) fn new(chain: ProjectedChain, projected_to: u64) -> Self {
        let (state, version) = (Uuid::now_v7(), PROJECTION_VERSION);
        Self { state, version, chain, projected_to, turns: 0, resume_point: None }
    }

    /// Returns whether the rows are those of a beginning of this history.
    pub(crate) fn is_of(&self, chain: &StoredChain) -> bool {
        self.version == PROJECTION_VERSION
            && self.projected_to <= chain.end()
            && self.chain == ProjectedChain::of(chain)
    }
}

/// Decodes a row of `turns`. `turns` is how many the thread has.
fn read_turn(row: &PgRow, turns: u64) -> sqlx::Result<TurnRow> {
    let number = |column: &str| -> sqlx::Result<u64> { Ok(to_u64(row.try_get(column)?)) };
    let position = |part: &str, byte: &str| -> sqlx::Result<BytePosition> {
        Ok(BytePosition { part: usize::try_from(number(part)?).unwrap_or(usize::MAX), byte: number(byte)? })
    };
    let turn_index = number("turn_index")?;
    Ok(TurnRow {
        turn_index,
        id: TurnId::from(String::from_utf8_lossy(row.try_get("turn_id")?).as_ref()),
        lines: number("first_line")?..number("end_line")?,
        next_item: number("next_item")?,
        paginated: row.try_get("paginated")?,
        start: position("start_part", "start_byte")?,
        end: position("end_part", "end_byte")?,
        is_self_contained: row.try_get("is_self_contained")?,
        items: TurnRow::unpack_items(row.try_get("items")?)
            .ok_or_else(|| sqlx::Error::Decode("items of a turn".into()))?,
        is_last: turn_index + 1 == turns,
    })
}

impl PostgresHost {
    /// Returns what the rows of a thread's turns were read from. `None` if there are none.
    pub(crate) async fn projection(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
    ) -> Result<Option<StoredProjection>, AttemptError> {
        let query = self.sql("SELECT * FROM @.projections WHERE namespace = $1 AND thread_id = $2");
        let query = sqlx::query_as(&query).bind(self.namespace()).bind(thread_id.as_uuid());
        Ok(query.fetch_optional(connection).await?)
    }

    /// Returns the rows of these turns, in their order. `turns` is how many the thread has.
    pub(crate) async fn turn_rows(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
        indexes: &[u64],
        turns: u64,
    ) -> Result<Vec<TurnRow>, AttemptError> {
        let (Some(first), Some(last)) = (indexes.iter().min(), indexes.iter().max()) else { return Ok(Vec::new()) };
        // A page is a range of turns, and only a few turns are chosen otherwise.
        let query = self.sql(&format!(
            "SELECT {TURN} FROM @.turns WHERE namespace = $1 AND thread_id = $2 AND turn_index BETWEEN $3 AND $4
            AND (turn_index = ANY($5) OR $5 IS NULL) ORDER BY turn_index"
        ));
        let is_range = last - first + 1 == indexes.len() as u64;
        let chosen = (!is_range).then(|| indexes.iter().map(|index| to_i64(*index)).collect::<Vec<_>>());
        let query = sqlx::query(&query).bind(self.namespace()).bind(thread_id.as_uuid());
        let query = query.bind(to_i64(*first)).bind(to_i64(*last)).bind(chosen);
        let rows = query.fetch_all(connection).await?;
        rows.iter().map(|row| Ok(read_turn(row, turns)?)).collect()
    }

    /// Returns the indexes of the turns with one of these ids among the first `before` turns, in their order.
    pub(crate) async fn turns_with_ids(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
        ids: &[&TurnId],
        before: u64,
    ) -> Result<Vec<u64>, AttemptError> {
        let query = self.sql(
            "SELECT turn_index FROM @.turns WHERE namespace = $1 AND thread_id = $2 AND turn_index < $3 AND turn_id = ANY($4)
            ORDER BY turn_index",
        );
        let ids: Vec<&[u8]> = ids.iter().map(|id| id.as_str().as_bytes()).collect();
        let query = sqlx::query_scalar(&query).bind(self.namespace()).bind(thread_id.as_uuid());
        let found: Vec<i64> = query.bind(to_i64(before)).bind(ids).fetch_all(connection).await?;
        Ok(found.into_iter().map(to_u64).collect())
    }

    /// Creates the row of a thread's projections if there is none.
    pub(crate) async fn begin_projection(&self, thread_id: ThreadId) -> Result<(), AttemptError> {
        // The lock excludes a deletion, which would leave the new row behind.
        let query = self.sql(
            "INSERT INTO @.projections (namespace, thread_id, state, version, chain, projected_to, turns)
            SELECT namespace, thread_id, $3, 0, '', 0, 0 FROM (
                SELECT namespace, thread_id FROM @.threads WHERE namespace = $1 AND thread_id = $2 FOR KEY SHARE
            ) t ON CONFLICT DO NOTHING",
        );
        let query = sqlx::query(&query).bind(self.namespace()).bind(thread_id.as_uuid()).bind(Uuid::now_v7());
        query.execute(&self.pool).await?;
        Ok(())
    }

    /// Replaces the row of a thread's projections, if it still has the state `before`. Returns whether that is so. The row is locked
    /// then.
    pub(crate) async fn put_projection(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
        before: Uuid,
        projection: &StoredProjection,
    ) -> Result<bool, AttemptError> {
        let query = self.sql(
            "UPDATE @.projections SET state = $4, version = $5, chain = $6, projected_to = $7, turns = $8, resume_point = $9
            WHERE namespace = $1 AND thread_id = $2 AND state = $3",
        );
        let query = sqlx::query(&query)
            .bind(self.namespace())
            .bind(thread_id.as_uuid())
            .bind(before)
            .bind(projection.state)
            .bind(projection.version)
            .bind(crate::tables::to_json(&projection.chain)?)
            .bind(to_i64(projection.projected_to))
            .bind(to_i64(projection.turns))
            .bind(projection.resume_point.as_ref().map(crate::tables::to_json).transpose()?);
        Ok(query.execute(connection).await?.rows_affected() == 1)
    }

    /// Replaces the rows of a thread's turns from `first` on.
    pub(crate) async fn put_turns(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
        first: u64,
        turns: &[TurnRow],
    ) -> Result<(), AttemptError> {
        let query = self.sql("DELETE FROM @.turns WHERE namespace = $1 AND thread_id = $2 AND turn_index >= $3");
        let query = sqlx::query(&query).bind(self.namespace()).bind(thread_id.as_uuid()).bind(to_i64(first));
        query.execute(&mut *connection).await?;
        let query = self.sql(&format!(
            "INSERT INTO @.turns (namespace, thread_id, {TURN}) SELECT $1, $2, t.* FROM unnest($3::bigint[], $4::bytea[],
                $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::boolean[],
                $13::boolean[], $14::bytea[]) AS t({TURN})"
        ));
        for turns in turns.chunks(MAX_ROWS) {
            let numbers =
                |number: fn(&TurnRow) -> u64| turns.iter().map(|turn| to_i64(number(turn))).collect::<Vec<_>>();
            let query = sqlx::query(&query)
                .bind(self.namespace())
                .bind(thread_id.as_uuid())
                .bind(numbers(|turn| turn.turn_index))
                .bind(turns.iter().map(|turn| turn.id.as_str().as_bytes()).collect::<Vec<_>>())
                .bind(numbers(|turn| turn.lines.start))
                .bind(numbers(|turn| turn.lines.end))
                .bind(numbers(|turn| turn.start.part as u64))
                .bind(numbers(|turn| turn.start.byte))
                .bind(numbers(|turn| turn.end.part as u64))
                .bind(numbers(|turn| turn.end.byte))
                .bind(numbers(|turn| turn.next_item))
                .bind(turns.iter().map(|turn| turn.paginated).collect::<Vec<_>>())
                .bind(turns.iter().map(|turn| turn.is_self_contained).collect::<Vec<_>>())
                .bind(turns.iter().map(TurnRow::pack_items).collect::<Vec<_>>());
            query.execute(&mut *connection).await?;
        }
        Ok(())
    }
}
