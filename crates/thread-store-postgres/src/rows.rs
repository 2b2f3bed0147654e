//! The rows of `lines`: from items and bytes, and as arrays that a statement takes.

use selvedge_protocol::log::{RawContent, split_raw};
use selvedge_protocol::{RolloutItem, RolloutLine, Timestamp};
use selvedge_thread_store::BatchId;
use selvedge_thread_store::implement::SegmentTail;
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use uuid::Uuid;

/// How many bytes a row has at most if its line is copied in. A row of PostgreSQL can have 1 GiB, and a client holds it in
/// memory as a whole.
const MAX_COPIED_ROW: usize = 8 << 20;

/// The columns of [`RowArrays`], in its order, with the types of their arrays.
const COLUMNS: [(&str, &str); 8] = [
    ("start_byte", "bigint[]"),
    ("ordinal", "bigint[]"),
    ("at", "bigint[]"),
    ("batch", "uuid[]"),
    ("batch_lines", "integer[]"),
    ("kind", "text[]"),
    ("damage", "text[]"),
    ("bytes", "bytea[]"),
];

/// A new row of `lines`.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    start_byte: u64,
    ordinal: Option<i64>,
    at: Option<i64>,
    batch: Option<(Uuid, i32)>,
    kind: Option<String>,
    damage: Option<String>,
    bytes: Vec<u8>,
}

impl NewRow {
    /// Creates the row of bytes whose content is not described: white space, or a part of a line.
    fn plain(start_byte: u64, bytes: &[u8]) -> Self {
        let (ordinal, at, batch, kind, damage) = Default::default();
        Self { start_byte, ordinal, at, batch, kind, damage, bytes: bytes.to_vec() }
    }

    /// Takes over what the columns say of an intact line.
    fn describe(&mut self, line: &RolloutLine) {
        // A column that cannot hold the value stays empty: the bytes have it.
        self.ordinal = line.ordinal().and_then(|ordinal| i64::try_from(ordinal).ok());
        self.at = line.timestamp().map(Timestamp::as_millis);
        self.kind = Some(line.kind().replace('\0', "\u{fffd}"));
    }

    /// Notes that a batch of `lines` lines begins with the row.
    pub(crate) fn set_batch(&mut self, batch: Uuid, lines: i32) {
        self.batch = Some((batch, lines));
    }

    /// Returns how many bytes the row has.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// The rows of an append.
#[derive(Clone, Debug, Default)]
pub(crate) struct EncodedRows {
    pub(crate) rows: Vec<NewRow>,
    /// The lines as they were encoded.
    pub(crate) lines: Vec<RolloutLine>,
    /// The byte after the last row.
    pub(crate) end: u64,
}

/// Encodes items as rows that follow the byte `end` of a segment, all with the time `at`. A torn line at the end of the
/// segment gets its newline first.
pub(crate) fn encode_items(
    tail: &mut SegmentTail,
    end: u64,
    at: Timestamp,
    items: &[RolloutItem],
    batch: Option<BatchId>,
) -> EncodedRows {
    let mut encoded = EncodedRows { end, ..EncodedRows::default() };
    if items.is_empty() {
        return encoded;
    }
    if std::mem::take(&mut tail.is_torn) {
        encoded.rows.push(NewRow::plain(end, b"\n"));
        encoded.end += 1;
    }
    for (number, item) in items.iter().enumerate() {
        let line = tail.next_line(at, item);
        let mut row = NewRow::plain(encoded.end, line.text().as_bytes());
        row.bytes.push(b'\n');
        row.describe(&line);
        if number == 0 {
            row.batch = batch.map(|batch| (batch.as_uuid(), i32::try_from(items.len()).unwrap_or(i32::MAX)));
        }
        encoded.end += row.len() as u64;
        encoded.rows.push(row);
        encoded.lines.push(line);
    }
    encoded
}

/// Splits bytes that are copied to the offset `start` of a segment into rows. `is_start` reports whether a line begins with
/// the first byte.
pub(crate) fn split_rows(bytes: &[u8], mut start: u64, mut is_start: bool) -> Vec<NewRow> {
    let mut rows = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let is_whole = is_start && line.ends_with(b"\n");
        for piece in line.chunks(MAX_COPIED_ROW) {
            let mut row = NewRow::plain(start, piece);
            if is_whole && piece.len() == line.len() {
                for entry in split_raw(piece, start, 0) {
                    match entry.content {
                        RawContent::Line(line) => row.describe(&line),
                        RawContent::Damage { kind, .. } => {
                            row.damage = Some(kind.to_string().replace('\0', "\u{fffd}"))
                        }
                        RawContent::Blank => {}
                    }
                }
            }
            start += piece.len() as u64;
            rows.push(row);
        }
        is_start = line.ends_with(b"\n");
    }
    rows
}

/// The values of rows, column by column, as a statement takes them.
#[derive(Debug, Default)]
pub(crate) struct RowArrays<'r> {
    start_byte: Vec<i64>,
    ordinal: Vec<Option<i64>>,
    at: Vec<Option<i64>>,
    batch: Vec<Option<Uuid>>,
    batch_lines: Vec<Option<i32>>,
    kind: Vec<Option<&'r str>>,
    damage: Vec<Option<&'r str>>,
    bytes: Vec<&'r [u8]>,
}

impl<'r> RowArrays<'r> {
    pub(crate) fn push(&mut self, row: &'r NewRow) {
        // A segment has fewer bytes than an i64 can count.
        self.start_byte.push(to_i64(row.start_byte));
        self.ordinal.push(row.ordinal);
        self.at.push(row.at);
        self.batch.push(row.batch.map(|(batch, _)| batch));
        self.batch_lines.push(row.batch.map(|(_, lines)| lines));
        self.kind.push(row.kind.as_deref());
        self.damage.push(row.damage.as_deref());
        self.bytes.push(&row.bytes);
    }

    /// Adds the arrays to the arguments of a statement, in the order of [`column_names`].
    pub(crate) fn bind<'q>(self, query: Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments>
    where
        'r: 'q,
    {
        query
            .bind(self.start_byte)
            .bind(self.ordinal)
            .bind(self.at)
            .bind(self.batch)
            .bind(self.batch_lines)
            .bind(self.kind)
            .bind(self.damage)
            .bind(self.bytes)
    }
}

impl<'r> FromIterator<&'r NewRow> for RowArrays<'r> {
    fn from_iter<I: IntoIterator<Item = &'r NewRow>>(rows: I) -> Self {
        let mut arrays = Self::default();
        rows.into_iter().for_each(|row| arrays.push(row));
        arrays
    }
}

/// Returns the names of the columns of [`RowArrays`], separated by commas.
pub(crate) fn column_names() -> String {
    COLUMNS.map(|(name, _)| name).join(", ")
}

/// Returns the parameters of [`RowArrays`] as the arguments of `unnest`, the first one with the number `first`.
pub(crate) fn column_parameters(first: usize) -> String {
    let parameters = COLUMNS.iter().enumerate().map(|(n, (_, kind))| format!("${}::{kind}", first + n));
    parameters.collect::<Vec<_>>().join(", ")
}

pub(crate) fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn to_u64(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}
