//! Pages of turns and items, read from the bytes of the log that the index names.

use std::path::PathBuf;

use selvedge_history::turn_index::BytePosition;
use selvedge_protocol::{
    ItemPosition, ItemQuery, Page, PageWindow, SortDirection, ThreadId, Turn, TurnId, TurnItemEntry, TurnQuery,
    check_limit,
};
use sqlx::Connection;

use crate::blocking::blocking;
use crate::error::Result;
use crate::index::StateIndex;
use crate::limits::PAGE_ROUNDS;
use crate::thread_log::{ItemSelection, LogReading, PageTurn, SelectedItem, ThreadLog, TurnChoice};

// Both queries run in rounds:
//
//   1. In a transaction: load the files of the thread, and select the turns of the page.
//   2. Without it: compare the files, and read the selected turns from them.
//
// If step 2 finds that the log has grown, it reads the appended lines instead, and the next round selects among the indexed and
// the appended turns together. If the index caught up with the log meanwhile, the appended turns are stale, and another round
// starts over. Every page is therefore consistent: its turns are those of one state of the index and one state of the log.

impl StateIndex {
    /// Returns a page of a thread's turns, as the log has them now. `is_live` is whether the last turn of the thread can still be
    /// running.
    ///
    /// Reads the turns of the page from the log, and the lines that were appended since the last update. A segment that was
    /// created since the last update is not seen. While a turn of more than 16 MiB is open, the page is that of the last update, as
    /// long as at most 1 MiB was appended since.
    ///
    /// `None` if the index cannot determine the page, so that the whole log has to be read:
    ///
    /// - the index does not know the thread, or its files have changed otherwise than by growing;
    /// - one of its files is compressed;
    /// - a turn depends on lines that are not its own;
    /// - there is no turn that matches the query.
    ///
    /// # Errors
    /// If the limit is 0 or the cursor malformed, or if the database or the log cannot be read.
    pub async fn list_turns(&self, query: &TurnQuery, is_live: bool) -> Result<Option<Page<Turn>>> {
        check_limit(query.limit)?;
        let window = PageWindow::new(query.direction, query.cursor.as_ref())?;
        let (view, max_text) = (query.items_view, query.max_text);
        let mut extended = None;
        for _ in 0..PAGE_ROUNDS {
            let mut connection = self.database.readers.acquire().await?;
            let mut transaction = connection.begin().await?;
            let log = ThreadLog::load(self, &mut transaction, query.thread_id, is_live, extended.take()).await?;
            let Some(log) = log else { return Ok(None) };
            let choice = log.choose(&mut transaction, query.turn.as_ref()).await?;
            let Some(choice) = choice else { return Ok(None) };
            // One turn more than the page has, to know whether another page follows.
            let turns = log.select_turns(&mut transaction, &window, query.limit.saturating_add(1), choice).await?;
            drop(transaction);
            drop(connection);
            let Page { items: turns, next_cursor } =
                Page::first_of(turns, query.limit, |last| window.cursor_after(last.turn_index()));
            match blocking(move || log.read(|log| log.read_turns(turns, view, max_text))).await? {
                LogReading::Complete(turns) => return Ok(turns.map(|items| Page { items, next_cursor })),
                LogReading::Extended(log) => extended = Some(log),
            }
        }
        Ok(None)
    }

    /// Returns a page of the items of a thread's turns. `None` in the same cases as [`Self::list_turns`].
    ///
    /// # Errors
    /// As [`Self::list_turns`].
    pub async fn list_items(&self, query: &ItemQuery, is_live: bool) -> Result<Option<Page<TurnItemEntry>>> {
        check_limit(query.limit)?;
        let window = PageWindow::new(query.direction, query.cursor.as_ref())?;
        let mut extended = None;
        for _ in 0..PAGE_ROUNDS {
            let mut connection = self.database.readers.acquire().await?;
            let mut transaction = connection.begin().await?;
            let log = ThreadLog::load(self, &mut transaction, query.thread_id, is_live, extended.take()).await?;
            let Some(log) = log else { return Ok(None) };
            let choice = log.choose(&mut transaction, query.turn.as_ref()).await?;
            let Some(choice) = choice else { return Ok(None) };
            let ItemSelection { turns, items, next_cursor } =
                log.select_items(&mut transaction, &window, query.limit, choice).await?;
            drop(transaction);
            drop(connection);
            let max_text = query.max_text;
            match blocking(move || log.read(|log| read_selected(log, turns, &items, max_text))).await? {
                LogReading::Complete(items) => return Ok(items.map(|items| Page { items, next_cursor })),
                LogReading::Extended(log) => extended = Some(log),
            }
        }
        Ok(None)
    }

    /// Returns where the newest turn with this id begins: the file, the index of the file among those of the history, oldest first, and
    /// the byte in it. `None` if the index does not know the turn, or if a file of the thread has changed since the last update.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn turn_start(&self, thread_id: ThreadId, turn_id: &TurnId) -> Result<Option<(PathBuf, BytePosition)>> {
        let mut connection = self.database.readers.acquire().await?;
        let mut transaction = connection.begin().await?;
        let Some(log) = ThreadLog::load(self, &mut transaction, thread_id, false, None).await? else { return Ok(None) };
        let newest = PageWindow { direction: SortDirection::Descending, bound: None };
        let found = log.select_turns(&mut transaction, &newest, 1, TurnChoice::Id(turn_id)).await?;
        drop(transaction);
        drop(connection);
        let Some(PageTurn::Indexed(row)) = found.into_iter().next() else { return Ok(None) };
        blocking(move || Ok(log.unchanged_path(row.start.part).map(|path| (path, row.start)))).await
    }
}

/// Reads the selected items of these turns. `None` if a turn has no such item.
fn read_selected(
    log: &ThreadLog,
    turns: Vec<PageTurn>,
    selected: &[SelectedItem],
    max_text: Option<usize>,
) -> Result<Option<Vec<TurnItemEntry>>> {
    let mut entries = Vec::with_capacity(selected.len());
    let mut of_turns = selected.chunk_by(|one, next| one.turn == next.turn).peekable();
    for (number, turn) in turns.into_iter().enumerate() {
        // Turns can be without items.
        let Some(items) = of_turns.next_if(|items| items[0].turn == number) else { continue };
        let index = |selected: &SelectedItem| usize::try_from(ItemPosition::of(selected.position).item).ok();
        let Some(indexes) = items.iter().map(index).collect::<Option<Vec<usize>>>() else { return Ok(None) };
        let Some(found) = log.read_items(turn, &indexes, max_text)? else { return Ok(None) };
        entries.extend(found);
    }
    Ok(Some(entries))
}
