//! One thread's log as the index knows it: selects turns by the index, and reads them from the files.

use std::collections::HashMap;
use std::path::PathBuf;

use selvedge_history::{TurnProjection, apply_view};
use selvedge_protocol::log::Entry;
use selvedge_protocol::{
    Cursor, ItemPosition, ItemsView, Page, PageWindow, SortDirection, ThreadId, Turn, TurnId, TurnItem, TurnItemEntry,
    TurnSelector,
};
use selvedge_rollout::RolloutReader;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use crate::error::Result;
use crate::index::StateIndex;
use crate::indexed_file::{FileChange, IndexedFile, IndexedPart};
use crate::limits::{MAX_APPENDED_BYTES, MAX_UNREAD_BYTES, SINGLE_READS};
use crate::sql::{signed, unsigned};
use crate::turn_reader::{read_item, read_turn, read_turn_state};
use crate::turn_rows::{TURN_COLUMNS, read_turn_row};
use selvedge_history::turn_index::{ItemBytes, TurnResumePoint, TurnRow};

/// How many turns a page of items selects at a time.
const TURNS: usize = 64;

/// The files of a thread, and where its turns are in them.
///
/// The indexed turns are rows of the database. If the log has grown, the turns from the resume point on are held here, and the
/// rows from there on are ignored:
///
/// ```text
///   rows of the database:   0 … first-1 │ first …      (ignored)
///   appended turns:                     │ first … last
/// ```
#[derive(Debug)]
pub(crate) struct ThreadLog {
    thread_id: ThreadId,
    parts: Vec<IndexedPart>,
    resume_point: Option<TurnResumePoint>,
    is_live: bool,
    /// The turns from the resume point on, if the log has grown and was read.
    appended: Option<AppendedTurns>,
}

/// The turns of the end of a log, from the one on that was still open at the resume point.
#[derive(Debug)]
struct AppendedTurns {
    /// How many turns are before these.
    first: u64,
    turns: Vec<Turn>,
    /// The ids of turns to which the lines refer and that are not among these. If one of them is an indexed turn, the lines may
    /// have changed it.
    unresolved_turn_ids: Vec<TurnId>,
}

/// The turns that a query asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TurnChoice<'a> {
    All,
    Id(&'a TurnId),
    /// The turn with this index, counted from 0.
    Index(u64),
}

impl TurnChoice<'_> {
    fn includes(self, turn_index: u64, turn_id: &TurnId) -> bool {
        match self {
            Self::All => true,
            Self::Id(chosen) => chosen == turn_id,
            Self::Index(chosen) => chosen == turn_index,
        }
    }
}

/// A turn that was selected for a page.
#[derive(Debug)]
pub(crate) enum PageTurn {
    /// A turn of the index, which still has to be read.
    Indexed(TurnRow),
    /// A turn of the appended lines, with its index.
    Appended(u64, Box<Turn>),
}

impl PageTurn {
    pub(crate) fn turn_index(&self) -> u64 {
        match self {
            Self::Indexed(row) => row.turn_index,
            Self::Appended(turn_index, _) => *turn_index,
        }
    }

    fn item_count(&self) -> u64 {
        match self {
            Self::Indexed(row) => row.items.len() as u64,
            Self::Appended(_, turn) => turn.items.len() as u64,
        }
    }
}

/// The items of a page.
pub(crate) struct ItemSelection {
    /// The turns that have these items.
    pub(crate) turns: Vec<PageTurn>,
    pub(crate) items: Vec<SelectedItem>,
    pub(crate) next_cursor: Option<Cursor>,
}

/// An item of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SelectedItem {
    /// The position of the item in the thread ([`ItemPosition`]).
    pub(crate) position: u64,
    /// The index of its turn in [`ItemSelection::turns`].
    pub(crate) turn: usize,
}

/// The outcome of reading a log.
pub(crate) enum LogReading<T> {
    /// What was read. `None` if the whole log has to be read.
    Complete(Option<T>),
    /// The log has grown. The appended lines were read, and turns have to be selected again.
    Extended(ThreadLog),
}

impl ThreadLog {
    /// Loads the files of a thread as the index knows them, without access to the files themselves. `None` if the index does not
    /// know them well enough.
    ///
    /// `extended` is the log of the last round, with its appended turns. It is returned again if the index knows the same of the
    /// files as then.
    pub(crate) async fn load(
        index: &StateIndex,
        connection: &mut SqliteConnection,
        thread_id: ThreadId,
        is_live: bool,
        extended: Option<Self>,
    ) -> Result<Option<Self>> {
        let root = index.home.root();
        let sql = "SELECT segments.path, size, modified_ns, inode, indexed_bytes, last_line_start, last_line_hash, tail \
            FROM threads JOIN segments ON segments.path = threads.path WHERE threads.id = ? AND NOT is_incomplete";
        let row = sqlx::query(sql).bind(thread_id.as_uuid()).fetch_optional(&mut *connection).await?;
        let Some(row) = row else { return Ok(None) };
        let Some(newest) = IndexedFile::read(&row, 0, root)? else { return Ok(None) };
        let resume_point: Option<&str> = row.try_get(7)?;
        let resume_point: Option<TurnResumePoint> = resume_point.and_then(|json| serde_json::from_str(json).ok());
        let mut parts = Vec::new();
        let sql = "SELECT path, size, modified_ns, inode, indexed_bytes, last_line_start, last_line_hash, part, end_byte \
            FROM bases LEFT JOIN segments USING (segment_id) WHERE bases.thread_id = ? ORDER BY part";
        for (part, row) in (0..).zip(sqlx::query(sql).bind(thread_id.as_uuid()).fetch_all(&mut *connection).await?) {
            // Each part must be there exactly once. Two files with the same segment, or none, make the chain ambiguous.
            let is_next = row.try_get::<Option<i64>, _>(7)? == Some(part);
            let Some(file) = IndexedFile::read(&row, 0, root)?.filter(|_| is_next) else { return Ok(None) };
            parts.push(IndexedPart { file, end: unsigned(row.try_get(8)?) });
        }
        parts.push(IndexedPart { file: newest, end: u64::MAX });
        // A compressed file cannot be read from an offset.
        if parts.iter().any(|part| part.file.path.extension().is_some_and(|extension| extension == "zst")) {
            return Ok(None);
        }
        let is_same = |log: &Self| (&log.parts, log.resume_point) == (&parts, resume_point);
        let Some(extended) = extended.filter(is_same) else {
            return Ok(Some(Self { thread_id, parts, resume_point, is_live, appended: None }));
        };
        for turn_id in extended.appended.iter().flat_map(|appended| &appended.unresolved_turn_ids) {
            if extended.has_turn_before(connection, turn_id, extended.first_appended()).await? {
                return Ok(None);
            }
        }
        Ok(Some(extended))
    }

    /// Compares the files with what the index knows of them. If they are the same, calls `read_selected`, which reads what was
    /// selected. If the log has grown, reads the appended lines instead.
    pub(crate) fn read<T>(mut self, read_selected: impl FnOnce(&Self) -> Result<Option<T>>) -> Result<LogReading<T>> {
        // Only the change of the newest file remains, which is the last part. A base that grew is no change: its inherited prefix
        // is the same.
        let mut grown_to = None;
        for part in &self.parts {
            grown_to = match part.file.change() {
                FileChange::None => None,
                FileChange::Grown(size) => Some(size),
                FileChange::Other => return Ok(LogReading::Complete(None)),
            };
        }
        // What is appended after the appended lines were read is left to the next query. Otherwise a log that grows all the time
        // would never give a page.
        let (Some(size), None) = (grown_to, &self.appended) else {
            return Ok(LogReading::Complete(read_selected(&self)?));
        };
        let Some((point, newest)) = self.resume_point.zip(self.parts.last()) else {
            return Ok(LogReading::Complete(None));
        };
        if size.saturating_sub(point.byte) > MAX_APPENDED_BYTES {
            // The open turn is too long to be read for one page. What was appended since the last update is left to the next query, too.
            let is_recent = size.saturating_sub(newest.file.indexed_bytes()) <= MAX_UNREAD_BYTES;
            return Ok(LogReading::Complete(if is_recent { read_selected(&self)? } else { None }));
        }
        self.appended = self.read_appended(&point)?;
        Ok(if self.appended.is_some() { LogReading::Extended(self) } else { LogReading::Complete(None) })
    }

    /// Returns the path of a part. `None` if one of the files has changed.
    pub(crate) fn unchanged_path(&self, part: usize) -> Option<PathBuf> {
        let is_unchanged = self.parts.iter().all(|part| part.file.change() == FileChange::None);
        self.parts.get(part).filter(|_| is_unchanged).map(|part| part.file.path.clone())
    }

    /// Reads turns, and reduces each to what the view shows. `None` if one of them cannot be read from its lines.
    pub(crate) fn read_turns(
        &self,
        selected: Vec<PageTurn>,
        view: ItemsView,
        max_text: Option<usize>,
    ) -> Result<Option<Vec<Turn>>> {
        let mut turns = Vec::with_capacity(selected.len());
        for selected in selected {
            let mut turn = match selected {
                PageTurn::Appended(_, turn) => *turn,
                PageTurn::Indexed(row) => {
                    let turn = match view {
                        ItemsView::None => read_turn_state(&self.parts, &row, self.is_live)?,
                        _ => read_turn(&self.parts, &row, self.is_live, max_text)?,
                    };
                    let Some(turn) = turn else { return Ok(None) };
                    turn
                }
            };
            // One by one: all items of many turns take far more memory than what is shown of them.
            apply_view(&mut turn, view);
            turns.push(turn);
        }
        Ok(Some(turns))
    }

    /// Reads the items with these indexes of a turn, in the given order. `None` if they cannot be read from its lines.
    pub(crate) fn read_items(
        &self,
        turn: PageTurn,
        indexes: &[usize],
        max_text: Option<usize>,
    ) -> Result<Option<Vec<TurnItemEntry>>> {
        let turn_index = turn.turn_index();
        let entry = |turn_id: &TurnId, index: usize, item: TurnItem, line: u64| {
            let position = ItemPosition { turn: turn_index, item: index as u64 };
            TurnItemEntry { turn_id: turn_id.clone(), item, position, line }
        };
        let row = match turn {
            // A few items of many, each with lines of its own: the others need not be read.
            PageTurn::Indexed(row) if row.items.len() > SINGLE_READS * indexes.len() && row.is_self_contained => row,
            turn => {
                let turn = self.read_turns(vec![turn], ItemsView::Full, max_text)?.and_then(|mut turns| turns.pop());
                let Some(turn) = turn else { return Ok(None) };
                // An item can be large, so that it is moved out of its turn and not cloned.
                let mut items: Vec<Option<TurnItem>> = turn.items.into_iter().map(Some).collect();
                let take = |index: &usize| {
                    let line = *turn.item_positions.get(*index)?;
                    Some(entry(&turn.id, *index, items.get_mut(*index)?.take()?, line))
                };
                return Ok(indexes.iter().map(take).collect());
            }
        };
        // Those that depend on other lines of the turn are read with it, once for all.
        let is_dependent = |index: &&usize| row.items.get(**index).is_some_and(|item| item.from == ItemBytes::Turn);
        let mut dependent = HashMap::new();
        if indexes.iter().any(|index| is_dependent(&index)) {
            let Some(turn) = read_turn(&self.parts, &row, self.is_live, max_text)? else { return Ok(None) };
            let mut items: Vec<Option<TurnItem>> = turn.items.into_iter().map(Some).collect();
            let found = indexes.iter().filter(is_dependent);
            dependent.extend(found.filter_map(|index| Some((*index, items.get_mut(*index)?.take()?))));
        }
        let mut entries = Vec::with_capacity(indexes.len());
        for index in indexes {
            let item = match dependent.remove(index) {
                Some(item) => Some(item),
                None => read_item(&self.parts, &row, *index as u64, max_text)?,
            };
            let (Some(item), Some(item_row)) = (item, row.items.get(*index)) else { return Ok(None) };
            entries.push(entry(&row.id, *index, item, row.lines.start + item_row.line));
        }
        Ok(Some(entries))
    }

    /// Reads the turns from the resume point on. `None` if the lines change earlier turns.
    fn read_appended(&self, point: &TurnResumePoint) -> Result<Option<AppendedTurns>> {
        let Some(newest) = self.parts.last() else { return Ok(None) };
        let mut turns = TurnProjection::resume(point.restart()).live(self.is_live);
        let mut position = point.position;
        for entry in RolloutReader::open_range(&newest.file.path, point.byte..u64::MAX)? {
            if let Entry::Line(record) = entry? {
                turns.push(position, &record.line);
                position += 1;
            }
        }
        if turns.affects_earlier_turns() {
            return Ok(None);
        }
        let unresolved_turn_ids = turns.unresolved_turn_ids().iter().cloned().collect();
        Ok(Some(AppendedTurns { first: point.turns, turns: turns.finish(), unresolved_turn_ids }))
    }

    /// Returns the first turns of a window, `limit` at most.
    pub(crate) async fn select_turns(
        &self,
        connection: &mut SqliteConnection,
        window: &PageWindow,
        limit: usize,
        choice: TurnChoice<'_>,
    ) -> Result<Vec<PageTurn>> {
        let appended = self.appended.iter().flat_map(|appended| (appended.first..).zip(&appended.turns));
        let appended =
            appended.filter(|(turn_index, turn)| window.holds(*turn_index) && choice.includes(*turn_index, &turn.id));
        let appended =
            window.in_order(appended.map(|(turn_index, turn)| PageTurn::Appended(turn_index, Box::new(turn.clone()))));
        // Appended turns come behind all indexed ones: last in ascending order, first in descending order.
        let missing = match window.direction {
            SortDirection::Ascending => limit,
            SortDirection::Descending => limit.saturating_sub(appended.len()),
        };
        let rows = select_turn_rows(connection, self.thread_id, window, self.first_appended(), missing, choice).await?;
        let indexed = rows.into_iter().map(PageTurn::Indexed);
        let mut selected: Vec<PageTurn> = match window.direction {
            SortDirection::Ascending => indexed.chain(appended).collect(),
            SortDirection::Descending => appended.into_iter().chain(indexed).collect(),
        };
        selected.truncate(limit);
        Ok(selected)
    }

    /// Returns the first items of a window, `limit` at most, with the cursor of the next page.
    pub(crate) async fn select_items(
        &self,
        connection: &mut SqliteConnection,
        window: &PageWindow,
        limit: usize,
        choice: TurnChoice<'_>,
    ) -> Result<ItemSelection> {
        let mut turn_window = window.to_turn_window();
        let mut turns: Vec<PageTurn> = Vec::new();
        let mut items: Vec<SelectedItem> = Vec::new();
        // One item more than the page has, to know whether another page follows. Turns can be without items.
        while items.len() <= limit {
            let found = self.select_turns(connection, &turn_window, TURNS, choice).await?;
            let Some(last) = found.last() else { break };
            // Items are selected turn by turn, because only the row of a turn contains the number of its items.
            turn_window = turn_window.behind(last.turn_index());
            for found in found {
                let first = ItemPosition { turn: found.turn_index(), item: 0 }.position();
                let positions = (first..first + found.item_count()).filter(|position| window.holds(*position));
                let turn = turns.len();
                items.extend(window.in_order(positions.map(|position| SelectedItem { position, turn })));
                turns.push(found);
            }
        }
        let Page { items, next_cursor } = Page::first_of(items, limit, |last| window.cursor_after(last.position));
        // Turns of which no item is on the page need not be read.
        turns.truncate(items.last().map_or(0, |last| last.turn + 1));
        Ok(ItemSelection { turns, items, next_cursor })
    }

    /// Returns which turns a query asks for. `None` if there is no such turn.
    pub(crate) async fn choose<'a>(
        &self,
        connection: &mut SqliteConnection,
        selector: Option<&'a TurnSelector>,
    ) -> Result<Option<TurnChoice<'a>>> {
        Ok(match selector {
            None => Some(TurnChoice::All),
            Some(TurnSelector::Id(turn_id)) => {
                let appended = self.appended.iter().flat_map(|appended| &appended.turns);
                let is_appended = appended.into_iter().any(|turn| turn.id == *turn_id);
                let exists = is_appended || self.has_turn_before(connection, turn_id, self.first_appended()).await?;
                exists.then_some(TurnChoice::Id(turn_id))
            }
            Some(selector @ (TurnSelector::Number(_) | TurnSelector::NumberFromEnd(_))) => {
                selector.turn_index(self.count_turns(connection).await?).map(TurnChoice::Index)
            }
        })
    }

    async fn count_turns(&self, connection: &mut SqliteConnection) -> Result<u64> {
        if let Some(appended) = &self.appended {
            return Ok(appended.first + appended.turns.len() as u64);
        }
        let sql = "SELECT coalesce(max(place) + 1, 0) FROM turns WHERE thread_id = ?";
        Ok(unsigned(sqlx::query_scalar(sql).bind(self.thread_id.as_uuid()).fetch_one(connection).await?))
    }

    /// Returns whether the index has a turn with this id among the first `turns` turns.
    async fn has_turn_before(&self, connection: &mut SqliteConnection, turn_id: &TurnId, turns: u64) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM turns WHERE thread_id = ? AND place < ? AND turn_id = ?)";
        let query = sqlx::query_scalar(sql).bind(self.thread_id.as_uuid()).bind(clamped(turns)).bind(turn_id.as_str());
        Ok(query.fetch_one(connection).await?)
    }

    /// Returns how many turns are before the appended ones. Without appended turns, all indexed ones count.
    fn first_appended(&self) -> u64 {
        self.appended.as_ref().map_or(u64::MAX, |appended| appended.first)
    }
}

/// Returns the rows of the first turns of a window, `limit` at most, of those before the turn index `before`.
async fn select_turn_rows(
    connection: &mut SqliteConnection,
    thread_id: ThreadId,
    window: &PageWindow,
    before: u64,
    limit: usize,
    choice: TurnChoice<'_>,
) -> Result<Vec<TurnRow>> {
    let mut sql = QueryBuilder::<Sqlite>::new(format!("SELECT {TURN_COLUMNS} FROM turns WHERE thread_id = "));
    sql.push_bind(thread_id.as_uuid());
    // The bound of a window is the lowest index in ascending order, and the end, exclusive, in descending order.
    let (order, before) = match window.direction {
        SortDirection::Ascending => {
            sql.push(" AND place >= ").push_bind(clamped(window.bound.unwrap_or(0)));
            ("ASC", before)
        }
        SortDirection::Descending => ("DESC", before.min(window.bound.unwrap_or(u64::MAX))),
    };
    sql.push(" AND place < ").push_bind(clamped(before));
    match choice {
        TurnChoice::All => {}
        TurnChoice::Id(turn_id) => {
            sql.push(" AND turn_id = ").push_bind(turn_id.as_str());
        }
        TurnChoice::Index(turn_index) => {
            sql.push(" AND place = ").push_bind(clamped(turn_index));
        }
    }
    sql.push(format_args!(" ORDER BY place {order} LIMIT "));
    sql.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    sql.build().fetch_all(connection).await?.iter().map(read_turn_row).collect()
}

/// Returns a number to compare a column with. Numbers above the largest of SQLite are in no row.
fn clamped(value: u64) -> i64 {
    signed(value.min(i64::MAX.cast_unsigned()))
}
