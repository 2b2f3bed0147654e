//! Consecutive turns of a thread with their numbers, read page by page.

use axum::http::StatusCode;
use selvedge_protocol::{Cursor, ItemsView, SortDirection, ThreadId, Turn, TurnId, TurnQuery, TurnSelector};
use selvedge_thread_store::StoreError;

use crate::app::ViewerApp;
use crate::error::PageError;

/// Turns on a page.
pub(crate) const LIMIT: usize = 20;

/// Consecutive turns, oldest first.
pub(crate) struct Turns {
    pub(crate) turns: Vec<Turn>,
    /// The number of the first turn, counted from 1. `None` if the cursors of the store do not tell it.
    pub(crate) first: Option<u64>,
    /// Where older turns begin. `None` if there are none, or if the page that asks has them.
    pub(crate) older: Option<Cursor>,
    /// Where newer turns begin. `None` if there are none, or if the page that asks has them.
    pub(crate) newer: Option<Cursor>,
}

impl Turns {
    pub(crate) async fn newest(app: &ViewerApp, id: ThreadId) -> Result<Self, StoreError> {
        Self::before(app, id, None).await
    }

    pub(crate) async fn before(app: &ViewerApp, id: ThreadId, cursor: Option<Cursor>) -> Result<Self, StoreError> {
        let page = app.store().list_turns(&query(id, SortDirection::Descending, cursor)).await?;
        // The position of a descending cursor is the index of the oldest turn of its page.
        let index = page.next_cursor.as_ref().map_or(Some(0), |cursor| cursor.position().ok());
        let turns = page.items.into_iter().rev().collect();
        Ok(Self { turns, first: index.map(|index| index + 1), older: page.next_cursor, newer: None })
    }

    pub(crate) async fn after(app: &ViewerApp, id: ThreadId, cursor: Cursor) -> Result<Self, StoreError> {
        let first = cursor.position().ok().map(|index| index + 1);
        let page = app.store().list_turns(&query(id, SortDirection::Ascending, Some(cursor))).await?;
        Ok(Self { turns: page.items, first, older: None, newer: page.next_cursor })
    }

    /// The turn with this id, and those after it. If several turns have it, the first one. `number` is where the turn may be.
    pub(crate) async fn from_turn(
        app: &ViewerApp,
        id: ThreadId,
        turn: &str,
        number: Option<u64>,
    ) -> Result<Self, PageError> {
        let turn = turn_of(app, id, turn, None, ItemsView::None).await?;
        let number = number_of(app, id, &turn, number).await?;
        let index = number - 1;
        let mut page = Self::after(app, id, Cursor::at_position(index)).await?;
        page.older = (index > 0).then(|| Cursor::at_position(index));
        Ok(page)
    }

    /// Returns each turn with its number.
    pub(crate) fn numbered(self) -> impl Iterator<Item = (Option<u64>, Turn)> {
        let first = self.first;
        (0..).zip(self.turns).map(move |(offset, turn)| (first.map(|first| first + offset), turn))
    }
}

/// Reads a turn by its id. `start` distinguishes several turns with that id: it is the position of the first line of the turn.
pub(crate) async fn turn_of(
    app: &ViewerApp,
    id: ThreadId,
    turn: &str,
    start: Option<u64>,
    items_view: ItemsView,
) -> Result<Turn, PageError> {
    let selector = TurnSelector::Id(TurnId::from(turn.to_owned()));
    let query = TurnQuery { turn: Some(selector), items_view, ..TurnQuery::all(id) };
    let turns = app.store().list_turns(&query).await?.items;
    turns.into_iter().find(|turn| start.is_none_or(|start| turn.lines.start == start)).ok_or_else(|| {
        PageError::new(StatusCode::NOT_FOUND, format!("the thread has no turn `{turn}`, or no longer at this place"))
    })
}

/// Returns the turn with this number. `None` if the thread has fewer turns.
pub(crate) async fn nth_turn(
    app: &ViewerApp,
    id: ThreadId,
    number: u64,
    items_view: ItemsView,
) -> Result<Option<Turn>, StoreError> {
    let query = TurnQuery { turn: Some(TurnSelector::Number(number)), items_view, ..TurnQuery::all(id) };
    match app.store().list_turns(&query).await {
        Err(StoreError::TurnNotFound { .. }) => Ok(None),
        found => Ok(found?.items.into_iter().next()),
    }
}

/// Returns the number of turns of a thread.
pub(crate) async fn count_turns(app: &ViewerApp, id: ThreadId) -> Result<u64, StoreError> {
    let newest = TurnQuery { limit: 1, items_view: ItemsView::None, ..query(id, SortDirection::Descending, None) };
    let page = app.store().list_turns(&newest).await?;
    let Some(cursor) = page.next_cursor else { return Ok(page.items.len() as u64) };
    // A store with cursors of its own has to be asked for all turns.
    if let Ok(index) = cursor.position() {
        return Ok(index + 1);
    }
    let all = TurnQuery { items_view: ItemsView::None, ..TurnQuery::all(id) };
    Ok(app.store().list_turns(&all).await?.items.len() as u64)
}

/// Returns the number of a turn. `guess` is tried first.
async fn number_of(app: &ViewerApp, id: ThreadId, turn: &Turn, guess: Option<u64>) -> Result<u64, StoreError> {
    let start = turn.lines.start;
    if let Some(guess) = guess.filter(|guess| *guess > 0)
        && nth_turn(app, id, guess, ItemsView::None).await?.is_some_and(|other| other.lines.start == start)
    {
        return Ok(guess);
    }
    // Turns are sorted by their first lines: a binary search.
    let (mut low, mut high) = (1, count_turns(app, id).await?.max(1));
    while low < high {
        let middle = low.midpoint(high);
        match nth_turn(app, id, middle, ItemsView::None).await? {
            Some(other) if other.lines.start < start => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

fn query(id: ThreadId, direction: SortDirection, cursor: Option<Cursor>) -> TurnQuery {
    TurnQuery { thread_id: id, turn: None, direction, limit: LIMIT, cursor, items_view: ItemsView::Full }
}
