//! Threads and segments as they are stored.

use std::time::Duration;

use selvedge_protocol::{SegmentId, SessionMeta, StoredThread, ThreadId, Timestamp};
use selvedge_thread_store::implement::{RecentBatches, Segment, SegmentTail};
use selvedge_thread_store::{Holder, SegmentInfo, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{FromRow, Postgres, Row};
use uuid::Uuid;

use crate::error::AttemptError;
use crate::host::PostgresHost;
use crate::line_blocks::lines_of;
use crate::list_columns::{self, RECORD_VERSION, WITHOUT_COLUMNS};
use crate::rows::{NewRow, RowArrays, column_names, column_parameters, to_i64, to_u64};

/// The version of a record that is behind the lines: it is folded again from the lines whenever it is read, until it is stored.
const BEHIND: i32 = 0;

/// How many rows and bytes one statement of a transaction inserts at most.
const MAX_INSERT: (usize, usize) = (5000, 8 << 20);

/// The columns of [`ThreadRow`].
pub(crate) const THREAD: &str = "thread_id, owner, owner_host, owner_process,
    (extract(epoch FROM claimed_at) * 1000)::bigint AS claimed_at,
    coalesce(owner IS NOT NULL AND expires_at > clock_timestamp(), false) AS is_live,
    (extract(epoch FROM expires_at - clock_timestamp()) * 1000)::bigint AS expires_in, epoch, is_unsettled, revision, segment_id, created_at, name, archived, record, record_version, folded_segment, folded_to,
    coalesce(owner IS NOT NULL AND expires_at < clock_timestamp() - interval '1 day', false) AS is_abandoned,
    epoch, is_unsettled, revision, segment_id, created_at, name, archived, record, record_version, folded_segment, folded_to,
    reverts";

/// What is stored of a thread whenever it changes, in the order of [`bind_stored`]. The columns of lists follow.
const STORED: [&str; 9] = [
    "folded_segment",
    "folded_to",
    "record_version",
    "is_unsettled",
    "segment_id",
    "name",
    "archived",
    "record",
    "reverts",
];

/// The columns of a stored record, of the table `t`.
pub(crate) const RECORD: &str = "t.thread_id, t.name, t.archived, t.record";

/// Reads a record from the columns [`RECORD`].
pub(crate) fn stored_record(row: &PgRow) -> sqlx::Result<StoredThread> {
    let name: Option<Vec<u8>> = row.try_get("name")?;
    let record: StoredThread = from_json(row.try_get("record")?)?;
    Ok(StoredThread {
        name: name.map(|name| String::from_utf8_lossy(&name).into_owned()),
        archived: row.try_get("archived")?,
        ..record
    })
}

/// A row of `threads`.
#[derive(Clone, Debug)]
pub(crate) struct ThreadRow {
    pub(crate) id: ThreadId,
    /// The claim that holds the writer. It may have expired.
    pub(crate) owner: Option<Uuid>,
    holder: Holder,
    since: Option<Timestamp>,
    /// Whether there is a claim that has not expired.
    pub(crate) is_live: bool,
    /// How long the claim is valid without a renewal.
    expires_in: Option<Duration>,
    /// Whether there is a claim that has expired a day ago.
    pub(crate) is_abandoned: bool,
    pub(crate) epoch: i64,
    pub(crate) is_unsettled: bool,
    pub(crate) revision: i64,
    pub(crate) segment_id: SegmentId,
    pub(crate) created_at: Timestamp,
    pub(crate) name: Option<String>,
    pub(crate) archived: bool,
    /// The record as it was folded, without the name and the archived flag.
    pub(crate) record: StoredThread,
    pub(crate) record_version: i32,
    pub(crate) folded_segment: SegmentId,
    pub(crate) folded_to: u64,
    pub(crate) reverts: RecentBatches,
}

impl FromRow<'_, PgRow> for ThreadRow {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let process: Option<i64> = row.try_get("owner_process")?;
        let since: Option<i64> = row.try_get("claimed_at")?;
        let expires_in: Option<i64> = row.try_get("expires_in")?;
        let name: Option<Vec<u8>> = row.try_get("name")?;
        Ok(Self {
            id: ThreadId::from_uuid(row.try_get("thread_id")?),
            owner: row.try_get("owner")?,
            holder: Holder {
                process_id: process.and_then(|process| u32::try_from(process).ok()),
                host: row.try_get("owner_host")?,
                held_for: None,
            },
            since: since.map(Timestamp::from_millis),
            is_live: row.try_get("is_live")?,
            expires_in: expires_in.and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis),
            is_abandoned: row.try_get("is_abandoned")?,
            epoch: row.try_get("epoch")?,
            is_unsettled: row.try_get("is_unsettled")?,
            revision: row.try_get("revision")?,
            segment_id: SegmentId::from_uuid(row.try_get("segment_id")?),
            created_at: Timestamp::from_millis(row.try_get("created_at")?),
            name: name.map(|name| String::from_utf8_lossy(&name).into_owned()),
            archived: row.try_get("archived")?,
            record: from_json(row.try_get("record")?)?,
            record_version: row.try_get("record_version")?,
            folded_segment: SegmentId::from_uuid(row.try_get("folded_segment")?),
            folded_to: to_u64(row.try_get("folded_to")?),
            reverts: from_json(row.try_get("reverts")?)?,
        })
    }
}

impl ThreadRow {
    /// Creates the row of a new thread that nobody has claimed. The caller sets its record.
    pub(crate) fn new(id: ThreadId, segment_id: SegmentId, created_at: Timestamp, now: Timestamp) -> Self {
        Self {
            id,
            owner: None,
            holder: Holder::default(),
            since: None,
            is_live: false,
            expires_in: None,
            is_abandoned: false,
            epoch: 1,
            is_unsettled: false,
            // By the clock, so that a thread that is created again after its deletion does not repeat a version.
            revision: now.as_millis().saturating_mul(1000),
            segment_id,
            created_at,
            name: None,
            archived: false,
            record: StoredThread::new(id, created_at),
            record_version: RECORD_VERSION,
            folded_segment: segment_id,
            folded_to: 0,
            reverts: RecentBatches::default(),
        }
    }

    /// Returns the thread record as it is stored.
    pub(crate) fn stored_record(&self) -> StoredThread {
        StoredThread { name: self.name.clone(), archived: self.archived, ..self.record.clone() }
    }

    /// Sets the thread record, and the position of the lines in it.
    pub(crate) fn set_record(&mut self, record: StoredThread, folded_segment: SegmentId, folded_to: u64) {
        self.record = StoredThread { name: None, archived: false, ..record };
        (self.record_version, self.folded_segment, self.folded_to) = (RECORD_VERSION, folded_segment, folded_to);
    }

    /// Notes that lines came that are not in the record.
    pub(crate) fn set_behind(&mut self) {
        (self.record_version, self.is_unsettled) = (BEHIND, true);
    }

    /// Returns whether the record has to be folded again from the whole history.
    pub(crate) fn is_behind(&self) -> bool {
        !matches!(self.record_version, RECORD_VERSION | WITHOUT_COLUMNS) || self.folded_segment != self.segment_id
    }

    /// Fails if the thread is live, except for the claim `except`.
    pub(crate) fn check_cold(&self, except: Option<Uuid>) -> Result<(), StoreError> {
        if self.is_live && (self.owner.is_none() || self.owner != except) { Err(self.conflict()) } else { Ok(()) }
    }

    /// Creates the error for a caller that needs the writer.
    pub(crate) fn conflict(&self) -> StoreError {
        let holder = Holder { held_for: self.expires_in, ..self.holder.clone() };
        StoreError::Conflict { thread_id: self.id, holder, since: self.since }
    }

    /// Returns what happened to the claim of a writer that no longer holds the thread.
    pub(crate) fn loss(&self) -> String {
        match self.owner {
            Some(_) => format!("{} has claimed it", self.holder),
            None => "its claim has expired or was released".to_owned(),
        }
    }
}

/// How a row of a thread is locked by a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowLock {
    /// Not at all.
    None,
    /// Against deletion and claims. Appends and other readers of this kind go on.
    Shared,
    /// Against everything: appends wait, and the transaction waits for those that are on the way.
    Exclusive,
}

/// A row of `segments`.
#[derive(Clone, Debug)]
pub(crate) struct StoredSegment {
    pub(crate) thread_id: ThreadId,
    pub(crate) id: SegmentId,
    pub(crate) created: Timestamp,
    pub(crate) file_name: Option<String>,
    pub(crate) head: Option<SessionMeta>,
    pub(crate) is_paginated: bool,
    pub(crate) holds_a_line: bool,
    pub(crate) is_visible: bool,
}

impl FromRow<'_, PgRow> for StoredSegment {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let head: Option<&[u8]> = row.try_get("head")?;
        let file_name: Option<Vec<u8>> = row.try_get("file_name")?;
        Ok(Self {
            thread_id: ThreadId::from_uuid(row.try_get("thread_id")?),
            id: SegmentId::from_uuid(row.try_get("segment_id")?),
            created: Timestamp::from_millis(row.try_get("created_at")?),
            file_name: file_name.map(|name| String::from_utf8_lossy(&name).into_owned()),
            head: head.map(from_json).transpose()?,
            is_paginated: row.try_get("is_paginated")?,
            holds_a_line: row.try_get("holds_a_line")?,
            is_visible: row.try_get("is_visible")?,
        })
    }
}

impl StoredSegment {
    /// Creates the row of a segment that is loaded.
    pub(crate) fn of(segment: &Segment) -> Self {
        Self {
            thread_id: segment.thread_id,
            id: segment.id,
            created: segment.created,
            file_name: segment.file_name.clone(),
            head: segment.head(),
            is_paginated: segment.mode() == selvedge_protocol::HistoryMode::Paginated,
            holds_a_line: segment.holds_a_line(),
            is_visible: true,
        }
    }

    /// Creates the row of a segment without bytes, which is not visible yet.
    pub(crate) fn incomplete(info: &SegmentInfo) -> Self {
        Self {
            thread_id: info.thread_id,
            id: info.id,
            created: info.created,
            file_name: info.file_name.clone(),
            head: None,
            is_paginated: false,
            holds_a_line: false,
            is_visible: false,
        }
    }

    /// Creates the segment, without its bytes.
    pub(crate) fn without_bytes(&self) -> Segment {
        let mut segment = Segment::new(self.id, self.thread_id, self.created);
        segment.file_name.clone_from(&self.file_name);
        segment
    }

    /// Returns the segment that this one continues.
    pub(crate) fn base_id(&self) -> Option<SegmentId> {
        self.head.as_ref()?.history_base.as_ref()?.thread_id
    }

    /// Returns the ordinal of the first line.
    pub(crate) fn first_ordinal(&self) -> u64 {
        let base = self.head.as_ref().and_then(|head| head.history_base.as_ref());
        base.and_then(|base| base.end_ordinal_exclusive).unwrap_or(0)
    }
}

impl PostgresHost {
    /// Returns the row of a thread. `None` if there is no such thread.
    pub(crate) async fn find_thread(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
        lock: RowLock,
    ) -> Result<Option<ThreadRow>, AttemptError> {
        let lock = match lock {
            RowLock::None => "",
            RowLock::Shared => "FOR KEY SHARE",
            RowLock::Exclusive => "FOR UPDATE",
        };
        let query = self.sql(&format!("SELECT {THREAD} FROM @.threads WHERE namespace = $1 AND thread_id = $2 {lock}"));
        let query = sqlx::query_as(&query).bind(self.namespace()).bind(thread_id.as_uuid());
        Ok(query.fetch_optional(connection).await?)
    }

    /// Returns the row of a thread that must exist.
    pub(crate) async fn thread(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
        lock: RowLock,
    ) -> Result<ThreadRow, AttemptError> {
        Ok(self.find_thread(connection, thread_id, lock).await?.ok_or(StoreError::not_found(thread_id))?)
    }

    /// Returns the rows of all threads of the namespace.
    pub(crate) async fn threads(&self, connection: &mut PgConnection) -> Result<Vec<ThreadRow>, AttemptError> {
        let query = self.sql(&format!("SELECT {THREAD} FROM @.threads WHERE namespace = $1"));
        Ok(sqlx::query_as(&query).bind(self.namespace()).fetch_all(connection).await?)
    }

    /// Returns the rows of these threads, in any order, as far as they exist.
    pub(crate) async fn threads_with_ids<'a>(
        &self,
        connection: &mut PgConnection,
        threads: impl Iterator<Item = &'a ThreadId>,
    ) -> Result<Vec<ThreadRow>, AttemptError> {
        let query = self.sql(&format!("SELECT {THREAD} FROM @.threads WHERE namespace = $1 AND thread_id = ANY($2)"));
        let threads: Vec<Uuid> = threads.map(|id| id.as_uuid()).collect();
        Ok(sqlx::query_as(&query).bind(self.namespace()).bind(threads).fetch_all(connection).await?)
    }

    /// Inserts the row of a thread. Returns whether there was none.
    pub(crate) async fn insert_thread(
        &self,
        connection: &mut PgConnection,
        thread: &ThreadRow,
    ) -> Result<bool, AttemptError> {
        let columns = stored_columns();
        let parameters: Vec<String> = (10..).take(columns.len()).map(|number| format!("${number}")).collect();
        let query = self.sql(&format!(
            "INSERT INTO @.threads (namespace, thread_id, owner, owner_host, owner_process, claimed_at, expires_at, epoch, revision,
                created_at, {})
            VALUES ($1, $2, $3, $4, $5, CASE WHEN $3 IS NOT NULL THEN clock_timestamp() END,
                CASE WHEN $3 IS NOT NULL THEN clock_timestamp() + $6 * interval '1 millisecond' END, $7, $8, $9, {})
            ON CONFLICT DO NOTHING",
            columns.join(", "),
            parameters.join(", ")
        ));
        let query = sqlx::query(&query)
            .bind(self.namespace())
            .bind(thread.id.as_uuid())
            .bind(thread.owner)
            .bind(thread.owner.and(self.holder().host))
            .bind(thread.owner.map(|_| i64::from(std::process::id())))
            .bind(self.lease_millis())
            .bind(thread.epoch)
            .bind(thread.revision)
            .bind(thread.created_at.as_millis());
        Ok(bind_stored(query, thread)?.execute(connection).await?.rows_affected() == 1)
    }

    /// Stores everything of a thread but its claim, if nothing changed it since the row was read. Returns whether that is so.
    pub(crate) async fn update_thread(
        &self,
        connection: &mut PgConnection,
        thread: &ThreadRow,
    ) -> Result<bool, AttemptError> {
        // The projections keep their version if the new record has the same lines as the old one, and the thread the same name.
        let query = self.sql(&format!(
            "UPDATE @.threads SET revision = revision + 1,
                projection_version = CASE WHEN folded_segment = $4 AND folded_to = $5 AND $6 <> {BEHIND}
                    AND name IS NOT DISTINCT FROM $9 THEN projection_version ELSE 0 END,
                {}
            WHERE namespace = $1 AND thread_id = $2 AND revision = $3",
            list_columns::assignments(&stored_columns(), 4)
        ));
        let query = sqlx::query(&query).bind(self.namespace()).bind(thread.id.as_uuid()).bind(thread.revision);
        Ok(bind_stored(query, thread)?.execute(connection).await?.rows_affected() == 1)
    }

    /// Stores everything of a thread but its claim. In a transaction that has locked the row, nothing can have changed it; otherwise
    /// the operation begins again.
    pub(crate) async fn put_thread(
        &self,
        connection: &mut PgConnection,
        thread: &ThreadRow,
    ) -> Result<(), AttemptError> {
        if self.update_thread(connection, thread).await? { Ok(()) } else { Err(AttemptError::Overtaken) }
    }

    /// Notes of threads that their histories changed before their own lines, so that their records are behind.
    pub(crate) async fn set_all_behind(
        &self,
        connection: &mut PgConnection,
        threads: &[ThreadId],
    ) -> Result<(), AttemptError> {
        if threads.is_empty() {
            return Ok(());
        }
        let query = self.sql(
            "UPDATE @.threads SET record_version = $3, is_unsettled = true, revision = revision + 1, projection_version = 0
            WHERE namespace = $1 AND thread_id = ANY($2)",
        );
        let threads: Vec<Uuid> = threads.iter().map(|id| id.as_uuid()).collect();
        sqlx::query(&query).bind(self.namespace()).bind(threads).bind(BEHIND).execute(connection).await?;
        Ok(())
    }

    /// Returns the length of a lease, as statements take it.
    pub(crate) fn lease_millis(&self) -> f64 {
        self.options().lease.as_secs_f64() * 1000.0
    }

    /// Returns the rows of a thread's own segments, in any order, invisible ones too.
    pub(crate) async fn segments(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
    ) -> Result<Vec<StoredSegment>, AttemptError> {
        let query = self.sql("SELECT * FROM @.segments WHERE namespace = $1 AND thread_id = $2");
        Ok(sqlx::query_as(&query).bind(self.namespace()).bind(thread_id.as_uuid()).fetch_all(connection).await?)
    }

    /// Returns the thread of a segment. `None` if there is no such segment.
    pub(crate) async fn segment_owner(
        &self,
        connection: &mut PgConnection,
        id: SegmentId,
    ) -> Result<Option<ThreadId>, AttemptError> {
        let query = self.sql("SELECT thread_id FROM @.segment_owners WHERE namespace = $1 AND segment_id = $2");
        let query = sqlx::query_scalar(&query).bind(self.namespace()).bind(id.as_uuid());
        Ok(query.fetch_optional(connection).await?.map(ThreadId::from_uuid))
    }

    /// Notes the thread of a segment. Fails if another thread has a segment with this id.
    pub(crate) async fn put_segment_owner(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
        id: SegmentId,
    ) -> Result<(), AttemptError> {
        let query = self.sql(
            "INSERT INTO @.segment_owners (namespace, segment_id, thread_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        );
        let query = sqlx::query(&query).bind(self.namespace()).bind(id.as_uuid()).bind(thread_id.as_uuid());
        let is_new = query.execute(&mut *connection).await?.rows_affected() == 1;
        if !is_new && self.segment_owner(connection, id).await? != Some(thread_id) {
            return Err(StoreError::AlreadyExists { thread_id }.into());
        }
        Ok(())
    }

    /// Stores the row of a segment, or replaces it. Fails if another thread has a segment with this id.
    pub(crate) async fn put_segment(
        &self,
        connection: &mut PgConnection,
        segment: &StoredSegment,
    ) -> Result<(), AttemptError> {
        let StoredSegment { thread_id, id, .. } = *segment;
        self.put_segment_owner(connection, thread_id, id).await?;
        let query = self.sql(
            "INSERT INTO @.segments (namespace, thread_id, segment_id, created_at, file_name, head, base_id, is_paginated,
                holds_a_line, is_visible)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
        );
        let query = sqlx::query(&query)
            .bind(self.namespace())
            .bind(thread_id.as_uuid())
            .bind(id.as_uuid())
            .bind(segment.created.as_millis())
            .bind(segment.file_name.as_ref().map(String::as_bytes))
            .bind(segment.head.as_ref().map(to_json).transpose()?)
            .bind(segment.base_id().map(|id| id.as_uuid()))
            .bind(segment.is_paginated)
            .bind(segment.holds_a_line)
            .bind(segment.is_visible);
        if query.execute(&mut *connection).await?.rows_affected() == 1 {
            return Ok(());
        }
        // `ON CONFLICT DO UPDATE` names a unique index, which the tables of an engine that passes rows on need not have.
        let query = self.sql(
            "UPDATE @.segments SET head = $4, base_id = $5, is_paginated = $6, holds_a_line = $7, is_visible = $8
            WHERE namespace = $1 AND thread_id = $2 AND segment_id = $3",
        );
        let query = sqlx::query(&query)
            .bind(self.namespace())
            .bind(thread_id.as_uuid())
            .bind(id.as_uuid())
            .bind(segment.head.as_ref().map(to_json).transpose()?)
            .bind(segment.base_id().map(|id| id.as_uuid()))
            .bind(segment.is_paginated)
            .bind(segment.holds_a_line)
            .bind(segment.is_visible);
        query.execute(connection).await?;
        Ok(())
    }

    /// Inserts rows into a segment. The caller has locked the thread, so nothing else writes there.
    pub(crate) async fn insert_rows(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
        segment_id: SegmentId,
        rows: &[NewRow],
    ) -> Result<(), AttemptError> {
        let (names, parameters) = (column_names(), column_parameters(4));
        let query = self.sql(&format!(
            "INSERT INTO @.lines (namespace, thread_id, segment_id, {names})
            SELECT $1, $2, $3, l.* FROM unnest({parameters}) AS l({names})"
        ));
        let mut rest = rows;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |row: &&NewRow| {
                let is_first = bytes == 0;
                bytes += row.len();
                is_first || bytes <= MAX_INSERT.1
            };
            let (now, later) = rest.split_at(rest.iter().take(MAX_INSERT.0).take_while(fits).count());
            let query = sqlx::query(&query).bind(self.namespace()).bind(thread_id.as_uuid()).bind(segment_id.as_uuid());
            now.iter().collect::<RowArrays>().bind(query).execute(&mut *connection).await?;
            rest = later;
        }
        Ok(())
    }

    /// Removes the segments of a thread that were not copied in completely. The thread itself does not exist.
    pub(crate) async fn remove_incomplete(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
    ) -> Result<(), AttemptError> {
        if self.segments(connection, thread_id).await?.is_empty() {
            return Ok(());
        }
        self.remove_segments(connection, thread_id).await
    }

    /// Removes the segments of a thread, with their bytes.
    pub(crate) async fn remove_segments(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
    ) -> Result<(), AttemptError> {
        let own: Vec<Uuid> = self.segments(connection, thread_id).await?.iter().map(|own| own.id.as_uuid()).collect();
        let query = self.sql("DELETE FROM @.segment_owners WHERE namespace = $1 AND segment_id = ANY($2)");
        sqlx::query(&query).bind(self.namespace()).bind(own).execute(&mut *connection).await?;
        // The row of the projections first: whoever writes them holds its lock, and writes nothing once it is gone.
        for table in ["projections", "turns", "search_blocks", "lines", "segments"] {
            let query = self.sql(&format!("DELETE FROM @.{table} WHERE namespace = $1 AND thread_id = $2"));
            sqlx::query(&query).bind(self.namespace()).bind(thread_id.as_uuid()).execute(&mut *connection).await?;
        }
        Ok(())
    }

    /// Returns the byte after the last row of a segment, and whether the last line lacks its newline.
    pub(crate) async fn end_of(
        &self,
        connection: &mut PgConnection,
        thread_id: ThreadId,
        segment_id: SegmentId,
    ) -> Result<(u64, bool), AttemptError> {
        let query = self.sql(
            "SELECT start_byte + octet_length(bytes), substring(bytes FROM octet_length(bytes)) <> '\\x0a'::bytea FROM @.lines
            WHERE namespace = $1 AND thread_id = $2 AND segment_id = $3 ORDER BY start_byte DESC LIMIT 1",
        );
        let query = sqlx::query_as(&query).bind(self.namespace()).bind(thread_id.as_uuid()).bind(segment_id.as_uuid());
        let end: Option<(i64, bool)> = query.fetch_optional(connection).await?;
        Ok(end.map_or((0, false), |(end, is_torn)| (to_u64(end), is_torn)))
    }

    /// Returns what an append has to know of a segment: its tail, and the byte after its last row.
    pub(crate) async fn tail_of(
        &self,
        connection: &mut PgConnection,
        segment: &StoredSegment,
    ) -> Result<(SegmentTail, u64), AttemptError> {
        let (end, is_torn) = self.end_of(connection, segment.thread_id, segment.id).await?;
        if !segment.is_paginated {
            return Ok((SegmentTail { is_torn, ..SegmentTail::default() }, end));
        }
        // A copy can cut a line anywhere, and its pieces are rows without an ordinal. A row with an ordinal is a whole line, so the bytes
        // from the last one on begin with a line, and are split again.
        let query = self.sql(
            "SELECT ordinal, bytes FROM @.lines
            WHERE namespace = $1 AND thread_id = $2 AND segment_id = $3 AND start_byte >= coalesce(
                (SELECT start_byte FROM @.lines WHERE namespace = $1 AND thread_id = $2 AND segment_id = $3
                AND ordinal IS NOT NULL ORDER BY start_byte DESC LIMIT 1), 0)
            ORDER BY start_byte",
        );
        let query = sqlx::query_as(&query).bind(self.namespace()).bind(segment.thread_id.as_uuid());
        let rows: Vec<(Option<i64>, Vec<u8>)> = query.bind(segment.id.as_uuid()).fetch_all(connection).await?;
        let bytes: Vec<u8> = rows.iter().flat_map(|(_, bytes)| bytes).copied().collect();
        let read = lines_of(&bytes, 0).filter_map(|record| record.line.ordinal()).last();
        // A line that was damaged since has its ordinal in the column only.
        let last = read.or(rows.first().and_then(|(ordinal, _)| *ordinal).map(to_u64));
        let next_ordinal = last.map_or(segment.first_ordinal(), |last| last.saturating_add(1));
        Ok((SegmentTail { mode: selvedge_protocol::HistoryMode::Paginated, next_ordinal, is_torn }, end))
    }

    /// Returns the bytes of a segment in a range, or fewer if the segment ends before.
    pub(crate) async fn bytes(
        &self,
        connection: &mut PgConnection,
        (thread_id, segment_id): (ThreadId, SegmentId),
        range: std::ops::Range<u64>,
    ) -> Result<Vec<u8>, AttemptError> {
        // The row with the first byte begins at that byte or before it, so it is the last one up to there.
        let query = self.sql(
            "SELECT start_byte, bytes FROM @.lines
            WHERE namespace = $1 AND thread_id = $2 AND segment_id = $3 AND start_byte < $5 AND start_byte >= coalesce(
                (SELECT start_byte FROM @.lines WHERE namespace = $1 AND thread_id = $2 AND segment_id = $3 AND start_byte <= $4
                ORDER BY start_byte DESC LIMIT 1), 0)
            ORDER BY start_byte",
        );
        let query = sqlx::query_as(&query)
            .bind(self.namespace())
            .bind(thread_id.as_uuid())
            .bind(segment_id.as_uuid())
            .bind(to_i64(range.start))
            .bind(to_i64(range.end));
        let rows: Vec<(i64, Vec<u8>)> = query.fetch_all(connection).await?;
        let first = rows.first().map_or(0, |(start, _)| to_u64(*start));
        let mut bytes = Vec::with_capacity(rows.iter().map(|(_, bytes)| bytes.len()).sum());
        rows.iter().for_each(|(_, row)| bytes.extend_from_slice(row));
        let index = |at: u64| usize::try_from(at.saturating_sub(first)).unwrap_or(usize::MAX).min(bytes.len());
        let (start, end) = (index(range.start), index(range.end));
        bytes.truncate(end);
        bytes.drain(..start.min(end));
        Ok(bytes)
    }
}

/// Returns the columns that [`bind_stored`] has values for.
fn stored_columns() -> Vec<&'static str> {
    [&STORED[..], &list_columns::COLUMNS].concat()
}

/// Adds the values of [`stored_columns`] to the arguments of a statement.
fn bind_stored<'q>(
    query: Query<'q, Postgres, PgArguments>,
    thread: &'q ThreadRow,
) -> Result<Query<'q, Postgres, PgArguments>, StoreError> {
    let query = query
        .bind(thread.folded_segment.as_uuid())
        .bind(to_i64(thread.folded_to))
        .bind(thread.record_version)
        .bind(thread.is_unsettled)
        .bind(thread.segment_id.as_uuid())
        .bind(thread.name.as_ref().map(String::as_bytes))
        .bind(thread.archived)
        .bind(to_json(&thread.record)?)
        .bind(to_json(&thread.reverts)?);
    Ok(list_columns::bind(query, &thread.record))
}

/// Encodes a value for a column with JSON.
pub(crate) fn to_json(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|error| StoreError::backend("cannot encode a record", error))
}

/// Decodes a value of [`to_json`].
pub(crate) fn from_json<T: DeserializeOwned>(json: &[u8]) -> sqlx::Result<T> {
    serde_json::from_slice(json).map_err(|error| sqlx::Error::Decode(error.into()))
}
