//! Pages of turns and items, told again from the bytes of the log that they stand in.

use std::ops::Range;
use std::path::PathBuf;

use selvedge_history::{TurnProjection, apply_view, is_never_shown};
use selvedge_protocol::{
    Cursor, ItemPosition, ItemQuery, ItemsView, Page, PageWindow, SortDirection, ThreadId, Turn, TurnId, TurnItem,
    TurnItemEntry, TurnQuery, TurnSelector, check_limit,
};
use selvedge_rollout::{Entry, FileStamp, RolloutReader};
use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, QueryBuilder, Row, Sqlite, SqliteConnection};

use crate::StateIndex;
use crate::error::Result;
use crate::row::Mark;
use crate::stamp::stamp_of_row;
use crate::told::{BytePlace, Tail, TurnRow};
use crate::update::blocking;
use crate::write::{signed, unsigned};

/// How much of a log that grew is read for a page. What is more is for a sync to read.
const MAX_TAIL: u64 = 16 << 20;

/// How many turns are looked up at once for a page of items.
const TURNS: usize = 64;

/// How often turns are selected for a page: again when the log has grown, and again when it was indexed meanwhile.
const ROUNDS: usize = 4;

impl StateIndex {
    /// The page of a thread's turns that a query asks for, as the log has them now. `is_live` says whether the thread's last
    /// turn may still be going on.
    ///
    /// Reads the turns on the page from the log, and what was appended since the last sync. Nothing when that would not
    /// tell them for sure: the index does not know the thread, or not as its files are now; a file is compressed; a turn
    /// depends on lines that are not its own. The whole log has the answer then. A segment that came since the last sync is not
    /// seen.
    ///
    /// Nothing also when there is no such turn as the query names.
    ///
    /// # Errors
    /// For a limit of 0 or a malformed cursor; when the database or the log cannot be read.
    pub async fn list_turns(&self, query: &TurnQuery, is_live: bool) -> Result<Option<Page<Turn>>> {
        check_limit(query.limit)?;
        let window = PageWindow::new(query.direction, query.cursor.as_ref())?;
        let view = query.items_view;
        let mut grown = None;
        for _ in 0..ROUNDS {
            let mut connection = self.database.readers.acquire().await?;
            // One transaction: files and turns as of one moment.
            let mut transaction = connection.begin().await?;
            let log = self.log_of(&mut transaction, query.thread_id, is_live, grown.take()).await?;
            let Some(log) = log else { return Ok(None) };
            let wanted = log.wanted(&mut transaction, query.turn.as_ref()).await?;
            let Some(wanted) = wanted else { return Ok(None) };
            let entries = log.turns_in(&mut transaction, &window, query.limit.saturating_add(1), wanted).await?;
            drop(transaction);
            drop(connection);
            let Page { items: entries, next_cursor } =
                Page::first_of(entries, query.limit, |last| window.cursor_after(last.place()));
            match blocking(move || log.read(|log| log.tell(entries, view))).await? {
                Reading::Done(turns) => return Ok(turns.map(|items| Page { items, next_cursor })),
                Reading::Grown(log) => grown = Some(log),
            }
        }
        Ok(None)
    }

    /// The page of the items of a thread's turns that a query asks for, as [`Self::list_turns`] gives turns.
    ///
    /// # Errors
    /// As [`Self::list_turns`].
    pub async fn list_items(&self, query: &ItemQuery, is_live: bool) -> Result<Option<Page<TurnItemEntry>>> {
        check_limit(query.limit)?;
        let items = PageWindow::new(query.direction, query.cursor.as_ref())?;
        let mut grown = None;
        for _ in 0..ROUNDS {
            let mut connection = self.database.readers.acquire().await?;
            let mut transaction = connection.begin().await?;
            let log = self.log_of(&mut transaction, query.thread_id, is_live, grown.take()).await?;
            let Some(log) = log else { return Ok(None) };
            let wanted = log.wanted(&mut transaction, query.turn.as_ref()).await?;
            let Some(wanted) = wanted else { return Ok(None) };
            let Selected { entries, positions, next_cursor } =
                log.items_in(&mut transaction, &items, query.limit, wanted).await?;
            drop(transaction);
            drop(connection);
            let tell = move |log: &ThreadLog| log.tell(entries, ItemsView::Full);
            match blocking(move || log.read(tell)).await? {
                Reading::Done(turns) => {
                    let items = turns.and_then(|turns| take_items(turns, &positions));
                    return Ok(items.map(|items| Page { items, next_cursor }));
                }
                Reading::Grown(log) => grown = Some(log),
            }
        }
        Ok(None)
    }

    /// The files of a thread as the index knows them; `None` if it does not know them well enough. Looks at no file. `grown` is
    /// what this gave before, with what was appended since; it is given back if the index still says the same of the files.
    async fn log_of(
        &self,
        connection: &mut SqliteConnection,
        thread_id: ThreadId,
        is_live: bool,
        grown: Option<ThreadLog>,
    ) -> Result<Option<ThreadLog>> {
        let sql = "SELECT segments.path, size, modified_ns, inode, indexed_bytes, last_line_start, last_line_hash, tail \
            FROM threads JOIN segments ON segments.path = threads.path WHERE threads.id = ? AND NOT is_incomplete";
        let row = sqlx::query(sql).bind(thread_id.as_uuid()).fetch_optional(&mut *connection).await?;
        let Some(row) = row else { return Ok(None) };
        let Some(newest) = IndexedFile::of(&row, 0, self)? else { return Ok(None) };
        let tail: Option<&str> = row.try_get(7)?;
        let tail: Option<Tail> = tail.and_then(|tail| serde_json::from_str(tail).ok());
        let mut parts = Vec::new();
        let sql = "SELECT path, size, modified_ns, inode, indexed_bytes, last_line_start, last_line_hash, part, end_byte \
            FROM bases LEFT JOIN segments USING (segment_id) WHERE bases.thread_id = ? ORDER BY part";
        for (place, row) in (0..).zip(sqlx::query(sql).bind(thread_id.as_uuid()).fetch_all(&mut *connection).await?) {
            let is_next = row.try_get::<Option<i64>, _>(7)? == Some(place);
            let Some(file) = IndexedFile::of(&row, 0, self)?.filter(|_| is_next) else { return Ok(None) };
            parts.push(Part { file, end: unsigned(row.try_get(8)?) });
        }
        parts.push(Part { file: newest, end: u64::MAX });
        if parts.iter().any(|part| part.file.path.extension().is_some_and(|extension| extension == "zst")) {
            return Ok(None);
        }
        let Some(grown) = grown.filter(|grown| (&grown.parts, grown.tail) == (&parts, tail)) else {
            return Ok(Some(ThreadLog { thread_id, parts, tail, is_live, fresh: None }));
        };
        for turn_id in grown.fresh.iter().flat_map(|fresh| &fresh.unresolved_turn_ids) {
            if grown.has_turn_before(connection, turn_id, grown.first_fresh()).await? {
                return Ok(None);
            }
        }
        Ok(Some(grown))
    }
}

/// The turns that a query asks for.
#[derive(Clone, Copy, Debug)]
enum Wanted<'a> {
    All,
    Id(&'a TurnId),
    /// The one at this place, counted from 0.
    At(u64),
}

impl Wanted<'_> {
    fn is_it(self, place: u64, turn_id: &TurnId) -> bool {
        match self {
            Self::All => true,
            Self::Id(wanted) => wanted == turn_id,
            Self::At(wanted) => wanted == place,
        }
    }
}

/// The items of a page.
struct Selected {
    /// The turns that they are of.
    entries: Vec<TurnEntry>,
    /// The position of each item, and which of the turns it is of.
    positions: Vec<(u64, usize)>,
    next_cursor: Option<Cursor>,
}

/// Takes the items at these positions out of their turns; `None` if there is none at one of them.
fn take_items(turns: Vec<Turn>, positions: &[(u64, usize)]) -> Option<Vec<TurnItemEntry>> {
    let mut turns: Vec<_> = turns.into_iter().map(items_of).collect();
    let entry = |(position, at): &(u64, usize)| {
        let (turn_id, items) = turns.get_mut(*at)?;
        let item = items.get_mut(usize::try_from(ItemPosition::of(*position).item).ok()?)?.take()?;
        Some(TurnItemEntry { turn_id: turn_id.clone(), item })
    };
    positions.iter().map(entry).collect()
}

/// What a turn is taken apart into, so that its items can be given away one by one.
fn items_of(turn: Turn) -> (TurnId, Vec<Option<TurnItem>>) {
    (turn.id, turn.items.into_iter().map(Some).collect())
}

/// A file as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IndexedFile {
    pub(crate) path: PathBuf,
    stamp: FileStamp,
    mark: Mark,
}

/// What became of a file since it was indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileChange {
    None,
    /// It has so many bytes now.
    Grown(u64),
    /// It was moved, removed or written anew.
    Other,
}

impl IndexedFile {
    /// From `path, size, modified_ns, inode, indexed_bytes, last_line_start, last_line_hash`, which stand from column `first`
    /// on; `None` if there is no such row.
    pub(crate) fn of(row: &SqliteRow, first: usize, index: &StateIndex) -> Result<Option<Self>> {
        let number = |column: usize| -> Result<u64> { Ok(unsigned(row.try_get(first + column)?)) };
        let Some(path) = row.try_get::<Option<&str>, _>(first)? else { return Ok(None) };
        let path = index.home.root().join(path);
        let stamp = stamp_of_row(row, first + 1)?;
        let mark = Mark { end: number(4)?, last_line_start: number(5)?, last_line_hash: number(6)? };
        Ok(Some(Self { path, stamp, mark }))
    }

    /// Looks at the file.
    fn change(&self) -> FileChange {
        match FileStamp::read(&self.path) {
            Ok(stamp) if stamp == self.stamp => FileChange::None,
            Ok(stamp) if self.mark.is_grown(&self.path, &self.stamp, &stamp) => FileChange::Grown(stamp.size),
            _ => FileChange::Other,
        }
    }

    /// Whether what was indexed of the file still stands in it. Looks at the file.
    pub(crate) fn is_there(&self) -> bool {
        self.change() != FileChange::Other
    }
}

/// A turn on its way onto a page.
#[derive(Debug)]
enum TurnEntry {
    /// One that stands in the index.
    Known(TurnRow),
    /// One that was told from what was appended since.
    Fresh(u64, Box<Turn>),
}

impl TurnEntry {
    fn place(&self) -> u64 {
        match self {
            Self::Known(row) => row.place,
            Self::Fresh(place, _) => *place,
        }
    }

    fn item_count(&self) -> u64 {
        match self {
            Self::Known(row) => row.items.len() as u64,
            Self::Fresh(_, turn) => turn.items.len() as u64,
        }
    }
}

/// A file of a history, and just past which byte its share ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) file: IndexedFile,
    pub(crate) end: u64,
}

/// Where a thread's turns stand, as the index knows.
#[derive(Debug)]
struct ThreadLog {
    thread_id: ThreadId,
    parts: Vec<Part>,
    tail: Option<Tail>,
    is_live: bool,
    /// What was appended since the log was indexed, if it was read.
    fresh: Option<FreshTurns>,
}

/// The turns that the end of a log tells, from the one on that may have gone on.
#[derive(Debug)]
struct FreshTurns {
    /// How many turns stand before them.
    first: u64,
    turns: Vec<Turn>,
    /// Turns before these of which the lines speak if there are such.
    unresolved_turn_ids: Vec<TurnId>,
}

/// What came of reading a log.
enum Reading<T> {
    /// This; `None` if the whole log has to be read.
    Done(Option<T>),
    /// The log has grown: what was appended was read, and turns have to be selected again.
    Grown(ThreadLog),
}

impl ThreadLog {
    /// Looks at the files, and reads what was selected if they are as the index knows them, and otherwise what was appended.
    fn read<T>(mut self, tell: impl FnOnce(&Self) -> Result<Option<T>>) -> Result<Reading<T>> {
        let mut size = None;
        for part in &self.parts {
            size = match part.file.change() {
                FileChange::None => None,
                FileChange::Grown(size) => Some(size),
                FileChange::Other => return Ok(Reading::Done(None)),
            };
        }
        let (Some(size), None) = (size, &self.fresh) else { return Ok(Reading::Done(tell(&self)?)) };
        let Some(tail) = self.tail.filter(|tail| size.saturating_sub(tail.byte) <= MAX_TAIL) else {
            return Ok(Reading::Done(None));
        };
        self.fresh = self.tell_tail(&tail)?;
        Ok(if self.fresh.is_some() { Reading::Grown(self) } else { Reading::Done(None) })
    }

    fn fresh_turns(&self) -> &[Turn] {
        self.fresh.as_ref().map_or(&[], |fresh| &fresh.turns)
    }

    /// How many turns stand before the fresh ones.
    fn first_fresh(&self) -> u64 {
        self.fresh.as_ref().map_or(u64::MAX, |fresh| fresh.first)
    }

    /// The items of a window that a query asks for.
    async fn items_in(
        &self,
        connection: &mut SqliteConnection,
        items: &PageWindow,
        limit: usize,
        wanted: Wanted<'_>,
    ) -> Result<Selected> {
        let mut turns = items.to_turn_window();
        let mut entries: Vec<TurnEntry> = Vec::new();
        let mut positions: Vec<(u64, usize)> = Vec::new();
        while positions.len() <= limit {
            let found = self.turns_in(connection, &turns, TURNS, wanted).await?;
            let Some(last) = found.last() else { break };
            turns = turns.behind(last.place());
            for entry in found {
                let first = ItemPosition { turn: entry.place(), item: 0 }.position();
                let places = first..first + entry.item_count();
                let at = entries.len();
                let within = places.filter(|position| items.holds(*position)).map(|position| (position, at));
                positions.extend(items.in_order(within));
                entries.push(entry);
            }
        }
        let Page { items: positions, next_cursor } =
            Page::first_of(positions, limit, |(last, _)| items.cursor_after(*last));
        entries.truncate(positions.last().map_or(0, |(_, at)| at + 1));
        Ok(Selected { entries, positions, next_cursor })
    }

    /// The first turns of a window, `limit` at most.
    async fn turns_in(
        &self,
        connection: &mut SqliteConnection,
        window: &PageWindow,
        limit: usize,
        wanted: Wanted<'_>,
    ) -> Result<Vec<TurnEntry>> {
        let first_fresh = self.first_fresh();
        let fresh = self.fresh.iter().flat_map(|fresh| (fresh.first..).zip(&fresh.turns));
        let fresh = fresh.filter(|(place, turn)| window.holds(*place) && wanted.is_it(*place, &turn.id));
        let fresh = window.in_order(fresh.map(|(place, turn)| TurnEntry::Fresh(place, Box::new(turn.clone()))));
        let missing = match window.direction {
            SortDirection::Ascending => limit,
            SortDirection::Descending => limit.saturating_sub(fresh.len()),
        };
        let rows = select_turns(connection, self.thread_id, window, first_fresh, missing, wanted).await?;
        let known = rows.into_iter().map(TurnEntry::Known);
        let mut found: Vec<TurnEntry> = match window.direction {
            SortDirection::Ascending => known.chain(fresh).collect(),
            SortDirection::Descending => fresh.into_iter().chain(known).collect(),
        };
        found.truncate(limit);
        Ok(found)
    }

    /// Which turns a query asks for; `None` if there is none like that.
    async fn wanted<'a>(
        &self,
        connection: &mut SqliteConnection,
        selector: Option<&'a TurnSelector>,
    ) -> Result<Option<Wanted<'a>>> {
        Ok(match selector {
            None => Some(Wanted::All),
            Some(TurnSelector::Id(turn_id)) => {
                let is_fresh = self.fresh_turns().iter().any(|turn| turn.id == *turn_id);
                let is_there = is_fresh || self.has_turn_before(connection, turn_id, self.first_fresh()).await?;
                is_there.then_some(Wanted::Id(turn_id))
            }
            Some(selector @ (TurnSelector::Number(_) | TurnSelector::NumberFromEnd(_))) => {
                selector.place(self.count(connection).await?).map(Wanted::At)
            }
        })
    }

    /// How many turns there are.
    async fn count(&self, connection: &mut SqliteConnection) -> Result<u64> {
        if let Some(fresh) = &self.fresh {
            return Ok(fresh.first + fresh.turns.len() as u64);
        }
        let sql = "SELECT coalesce(max(place) + 1, 0) FROM turns WHERE thread_id = ?";
        Ok(unsigned(sqlx::query_scalar(sql).bind(self.thread_id.as_uuid()).fetch_one(connection).await?))
    }

    async fn has_turn_before(&self, connection: &mut SqliteConnection, turn_id: &TurnId, place: u64) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM turns WHERE thread_id = ? AND place < ? AND turn_id = ?)";
        let query = sqlx::query_scalar(sql).bind(self.thread_id.as_uuid()).bind(clamped(place)).bind(turn_id.as_str());
        Ok(query.fetch_one(connection).await?)
    }

    /// The turns of what was appended; `None` if they depend on what stands before.
    fn tell_tail(&self, tail: &Tail) -> Result<Option<FreshTurns>> {
        let Some(newest) = self.parts.last() else { return Ok(None) };
        let mut turns = TurnProjection::resume(tail.restart()).live(self.is_live);
        let mut position = tail.restart().position;
        for entry in RolloutReader::open_range(&newest.file.path, tail.byte..u64::MAX)? {
            if let Entry::Line(record) = entry? {
                turns.push(position, &record.line);
                position += 1;
            }
        }
        if turns.affects_earlier_turns() {
            return Ok(None);
        }
        let unresolved_turn_ids = turns.unresolved_turn_ids().iter().cloned().collect();
        Ok(Some(FreshTurns { first: tail.turns, turns: turns.finish(), unresolved_turn_ids }))
    }

    /// Tells turns, as a view shows them; nothing when one of them cannot be told from its lines.
    fn tell(&self, entries: Vec<TurnEntry>, view: ItemsView) -> Result<Option<Vec<Turn>>> {
        let mut turns = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut turn = match entry {
                TurnEntry::Fresh(_, turn) => *turn,
                TurnEntry::Known(row) => match tell_turn(&self.parts, &row, self.is_live)? {
                    Some(turn) => turn,
                    None => return Ok(None),
                },
            };
            // One by one: the items of many turns are far more than what is shown of them.
            apply_view(&mut turn, view);
            turns.push(turn);
        }
        Ok(Some(turns))
    }
}

/// Tells a turn from its lines; nothing when they do not tell it, or not any more.
pub(crate) fn tell_turn(parts: &[Part], row: &TurnRow, is_live: bool) -> Result<Option<Turn>> {
    if !row.is_self_contained {
        return Ok(None);
    }
    // A turn that is not the last one has ended, one way or another.
    let mut turns = TurnProjection::resume(row.restart()).live(is_live && row.is_last);
    let mut position = row.lines.start;
    for (part, range) in ranges(parts, row.start, row.end) {
        for entry in RolloutReader::open_range(&part.file.path, range)?.skipping(is_never_shown) {
            if let Entry::Line(record) = entry? {
                turns.push(position, &record.line);
                position += 1;
            }
        }
    }
    let mut turns = turns.finish();
    let Some(mut turn) = turns.pop().filter(|turn| turn.id == row.id && turn.items.len() == row.items.len()) else {
        return Ok(None);
    };
    if !turns.is_empty() {
        return Ok(None);
    }
    // Lines were passed over, so that those that were counted are fewer.
    turn.lines = row.lines.clone();
    turn.item_positions = row.items.iter().map(|item| row.lines.start + item.line).collect();
    Ok(Some(turn))
}

/// The bytes between two places.
fn ranges(parts: &[Part], start: BytePlace, end: BytePlace) -> impl Iterator<Item = (&Part, Range<u64>)> {
    parts.iter().enumerate().take(end.part.saturating_add(1)).skip(start.part).map(move |(at, part)| {
        let from = if at == start.part { start.byte } else { 0 };
        let to = if at == end.part { end.byte } else { part.end };
        (part, from..to)
    })
}

async fn select_turns(
    connection: &mut SqliteConnection,
    thread_id: ThreadId,
    window: &PageWindow,
    before: u64,
    limit: usize,
    wanted: Wanted<'_>,
) -> Result<Vec<TurnRow>> {
    let mut sql = QueryBuilder::<Sqlite>::new(format!("SELECT {TURN_COLUMNS} FROM turns WHERE thread_id = "));
    sql.push_bind(thread_id.as_uuid());
    let (order, before) = match window.direction {
        SortDirection::Ascending => {
            sql.push(" AND place >= ").push_bind(clamped(window.bound.unwrap_or(0)));
            ("ASC", before)
        }
        SortDirection::Descending => ("DESC", before.min(window.bound.unwrap_or(u64::MAX))),
    };
    sql.push(" AND place < ").push_bind(clamped(before));
    match wanted {
        Wanted::All => {}
        Wanted::Id(turn_id) => {
            sql.push(" AND turn_id = ").push_bind(turn_id.as_str());
        }
        Wanted::At(place) => {
            sql.push(" AND place = ").push_bind(clamped(place));
        }
    }
    sql.push(format_args!(" ORDER BY place {order} LIMIT "));
    sql.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    sql.build().fetch_all(connection).await?.iter().map(turn_row).collect()
}

/// The columns of a [`TurnRow`], in the order in which [`turn_row`] takes them.
pub(crate) const TURN_COLUMNS: &str = "place, turn_id, first_line, end_line, start_part, start_byte, end_part, end_byte, \
    next_item, paginated, is_self_contained, items, \
    NOT EXISTS (SELECT 1 FROM turns AS later WHERE later.thread_id = turns.thread_id AND later.place = turns.place + 1)";

pub(crate) fn turn_row(row: &SqliteRow) -> Result<TurnRow> {
    let number = |column: usize| -> Result<u64> { Ok(unsigned(row.try_get(column)?)) };
    let place = |column: usize| -> Result<BytePlace> {
        let part = usize::try_from(number(column)?).unwrap_or(usize::MAX);
        Ok(BytePlace { part, byte: number(column + 1)? })
    };
    let items: &[u8] = row.try_get(11)?;
    Ok(TurnRow {
        place: number(0)?,
        id: TurnId::from(row.try_get::<&str, _>(1)?),
        lines: number(2)?..number(3)?,
        start: place(4)?,
        end: place(6)?,
        next_item: number(8)?,
        paginated: row.try_get(9)?,
        is_self_contained: row.try_get(10)?,
        items: TurnRow::unpack_items(items).ok_or_else(|| sqlx::Error::Decode("items of a turn".into()))?,
        is_last: row.try_get(12)?,
    })
}

/// A number for a comparison; no row has one that is too large for SQLite.
fn clamped(value: u64) -> i64 {
    signed(value.min(i64::MAX.cast_unsigned()))
}
