//! Consecutive turns of a thread with their numbers, read page by page. Of a long turn, a page has a part.
//!
//! The lines of a turn are known before its items are read, and it has at most one item for each. So a page first asks for turns without
//! items, and then for as many with their items as fit. A turn that does not fit alone is long: its items are a list of their own.
//!
//! ```text
//!              ┌ older turns
//! turn 7       │ head, all items
//! turn 8       │ head  ┌ older items │ items 301 to 400 │ newer items ┐
//!              └ newer turns
//! ```

use axum::http::StatusCode;
use selvedge_protocol::{
    Cursor, ItemPosition, ItemQuery, ItemsView, SortDirection, ThreadId, Turn, TurnId, TurnItemEntry, TurnQuery,
    TurnSelector,
};
use selvedge_thread_store::StoreError;

use crate::app::ViewerApp;
use crate::error::PageError;

/// The most turns on a page.
pub(crate) const LIMIT: usize = 20;

/// The most lines of the turns on a page together. A turn with more is long.
const MAX_LINES: u64 = 600;

/// How many items of a long turn are read at a time.
pub(crate) const MAX_ITEMS: usize = 100;

/// The longest text that a page shows at once, in bytes.
pub(crate) const MAX_TEXT: usize = 32 << 10;

/// How many items a link to an item shows before it.
const ITEMS_BEFORE: u64 = 20;

/// A turn with the items that a page shows of it.
pub(crate) struct ShownTurn {
    /// Its number, counted from 1. `None` if the cursors of the store do not tell it.
    pub(crate) number: Option<u64>,
    /// The turn, with these items only.
    pub(crate) turn: Turn,
    /// How many items of the turn are before these.
    pub(crate) first_item: u64,
    /// Where older items begin. `None` if there are none.
    pub(crate) older_items: Option<Cursor>,
    /// Where newer items begin. `None` if there are none.
    pub(crate) newer_items: Option<Cursor>,
}

impl ShownTurn {
    fn whole(number: Option<u64>, turn: Turn) -> Self {
        Self { number, turn, first_item: 0, older_items: None, newer_items: None }
    }

    /// Reads the newest items of a long turn.
    async fn end(app: &ViewerApp, id: ThreadId, number: Option<u64>, turn: Turn) -> Result<Self, StoreError> {
        let selector = number.map_or_else(|| TurnSelector::Id(turn.id.clone()), TurnSelector::Number);
        let page = app.store().list_items(&items_of(id, selector, SortDirection::Descending, None)).await?;
        let entries: Vec<TurnItemEntry> = page.items.into_iter().rev().collect();
        Ok(Self { older_items: page.next_cursor, ..Self::with(number, turn, entries) })
    }

    /// Reads the items of a long turn from the one on before which there are `first`.
    async fn part(app: &ViewerApp, id: ThreadId, number: u64, turn: Turn, first: u64) -> Result<Self, StoreError> {
        let at = Cursor::at_position(ItemPosition { turn: number - 1, item: first }.position());
        let selector = TurnSelector::Number(number);
        let query = items_of(id, selector, SortDirection::Ascending, Some(at.clone()));
        let page = app.store().list_items(&query).await?;
        let older_items = (first > 0).then_some(at);
        let newer_items = page.next_cursor;
        Ok(Self { first_item: first, older_items, newer_items, ..Self::with(Some(number), turn, page.items) })
    }

    fn with(number: Option<u64>, mut turn: Turn, entries: Vec<TurnItemEntry>) -> Self {
        let first_item = entries.first().map_or(0, |first| first.position.item);
        turn.items_view = ItemsView::Full;
        turn.item_positions = entries.iter().map(|entry| entry.line).collect();
        turn.items = entries.into_iter().map(|entry| entry.item).collect();
        Self { first_item, ..Self::whole(number, turn) }
    }

    /// Returns how many items the turn has up to the newest one that is shown.
    pub(crate) fn end_item(&self) -> u64 {
        self.first_item + self.turn.items.len() as u64
    }
}

/// Consecutive turns, oldest first.
pub(crate) struct Turns {
    pub(crate) turns: Vec<ShownTurn>,
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
        // The position of a descending cursor is the index of the oldest turn of its page.
        let number_of_oldest =
            |next: &Option<Cursor>| next.as_ref().map_or(Some(1), |next| next.position().ok().map(|index| index + 1));
        let direction = SortDirection::Descending;
        let mut states = states(id, direction, cursor.clone());
        let mut page = app.store().list_turns(&states).await?;
        let count = fitting(&page.items);
        if page.items.first().is_some_and(is_long) {
            if page.items.len() > 1 {
                // Where the turns before it begin.
                states.limit = 1;
                page = app.store().list_turns(&states).await?;
            }
            let number = number_of_oldest(&page.next_cursor);
            let mut turns = Vec::new();
            for turn in page.items {
                turns.push(ShownTurn::end(app, id, number, turn).await?);
            }
            return Ok(Self { turns, older: page.next_cursor, newer: None });
        }
        let page = app.store().list_turns(&whole(id, direction, cursor, count)).await?;
        let first = number_of_oldest(&page.next_cursor);
        let turns = (0..).zip(page.items.into_iter().rev());
        let turns = turns.map(|(offset, turn)| ShownTurn::whole(first.map(|first| first + offset), turn)).collect();
        Ok(Self { turns, older: page.next_cursor, newer: None })
    }

    pub(crate) async fn after(app: &ViewerApp, id: ThreadId, cursor: Cursor) -> Result<Self, StoreError> {
        Self::after_item(app, id, cursor, 0).await
    }

    /// If the first turn is long, its items begin with the one before which there are `item`.
    pub(crate) async fn after_item(
        app: &ViewerApp,
        id: ThreadId,
        cursor: Cursor,
        item: u64,
    ) -> Result<Self, StoreError> {
        let first = cursor.position().ok().map(|index| index + 1);
        let direction = SortDirection::Ascending;
        let page = app.store().list_turns(&states(id, direction, Some(cursor.clone()))).await?;
        let count = fitting(&page.items);
        if let Some(number) = first
            && page.items.first().is_some_and(is_long)
        {
            let has_newer = page.items.len() > 1 || page.next_cursor.is_some();
            let mut turns = Vec::new();
            if let Some(turn) = page.items.into_iter().next() {
                turns.push(ShownTurn::part(app, id, number, turn, item).await?);
            }
            return Ok(Self { turns, older: None, newer: has_newer.then(|| Cursor::at_position(number)) });
        }
        let page = app.store().list_turns(&whole(id, direction, Some(cursor), count)).await?;
        let turns = (0..).zip(page.items);
        let turns = turns.map(|(offset, turn)| ShownTurn::whole(first.map(|first| first + offset), turn)).collect();
        Ok(Self { turns, older: None, newer: page.next_cursor })
    }

    /// The turn with this id, and those after it. If several turns have it, the first one. `number` is where the turn may be, and `item`
    /// the number of the item that is wanted.
    pub(crate) async fn from_turn(
        app: &ViewerApp,
        id: ThreadId,
        turn: &str,
        number: Option<u64>,
        item: u64,
    ) -> Result<Self, PageError> {
        let turn = turn_of(app, id, turn, None).await?;
        let number = number_of(app, id, &turn, number).await?;
        Ok(Self::from_number(app, id, number, item).await?)
    }

    /// The turn with this number, and those after it.
    pub(crate) async fn from_number(app: &ViewerApp, id: ThreadId, number: u64, item: u64) -> Result<Self, StoreError> {
        let index = number.saturating_sub(1);
        let item = item.saturating_sub(ITEMS_BEFORE + 1);
        let mut page = Self::after_item(app, id, Cursor::at_position(index), item).await?;
        page.older = (index > 0).then(|| Cursor::at_position(index));
        Ok(page)
    }
}

/// Returns whether only a part of a turn fits on a page.
pub(crate) fn is_long(turn: &Turn) -> bool {
    lines(turn) > MAX_LINES
}

fn lines(turn: &Turn) -> u64 {
    turn.lines.end.saturating_sub(turn.lines.start)
}

/// Returns how many of these turns fit on a page: at least one, if there is one.
pub(crate) fn fitting(turns: &[Turn]) -> usize {
    let mut sum = 0;
    let fits = |turn: &&Turn| {
        sum += lines(turn);
        sum <= MAX_LINES
    };
    turns.iter().take_while(fits).count().max(1)
}

/// Reads a turn by its id, without its items. `start` distinguishes several turns with that id: it is the position of the first line of the
/// turn.
pub(crate) async fn turn_of(app: &ViewerApp, id: ThreadId, turn: &str, start: Option<u64>) -> Result<Turn, PageError> {
    let selector = TurnSelector::Id(TurnId::from(turn.to_owned()));
    let query =
        TurnQuery { turn: Some(selector), items_view: ItemsView::None, max_text: Some(MAX_TEXT), ..TurnQuery::all(id) };
    let turns = app.store().list_turns(&query).await?.items;
    turns.into_iter().find(|turn| start.is_none_or(|start| turn.lines.start == start)).ok_or_else(|| {
        PageError::new(StatusCode::NOT_FOUND, format!("the thread has no turn `{turn}`, or no longer at this place"))
    })
}

/// Reads one item of a turn. `index` counts its items from 0. `None` if the turn has fewer.
pub(crate) async fn nth_item(
    app: &ViewerApp,
    id: ThreadId,
    number: u64,
    index: u64,
    max_text: usize,
) -> Result<Option<TurnItemEntry>, StoreError> {
    let at = Cursor::at_position(ItemPosition { turn: number.saturating_sub(1), item: index }.position());
    let query = items_of(id, TurnSelector::Number(number), SortDirection::Ascending, Some(at));
    let query = ItemQuery { limit: 1, max_text: Some(max_text), ..query };
    Ok(app.store().list_items(&query).await?.items.into_iter().next())
}

/// Returns the index of the item of a turn that begins with the line at `position`, counted from 0. `None` if there is none.
pub(crate) async fn index_of_item(
    app: &ViewerApp,
    id: ThreadId,
    number: u64,
    turn: &Turn,
    position: u64,
) -> Result<Option<u64>, StoreError> {
    // Items are sorted by their first lines: a binary search for the first one that is not before the position.
    let (mut low, mut high) = (0, lines(turn));
    while low < high {
        let middle = low.midpoint(high);
        match nth_item(app, id, number, middle, 0).await? {
            Some(entry) if entry.line < position => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(nth_item(app, id, number, low, 0).await?.filter(|entry| entry.line == position).map(|_| low))
}

/// Returns the turn with this number. `None` if the thread has fewer turns.
pub(crate) async fn nth_turn(
    app: &ViewerApp,
    id: ThreadId,
    number: u64,
    items_view: ItemsView,
) -> Result<Option<Turn>, StoreError> {
    let turn = Some(TurnSelector::Number(number));
    let query = TurnQuery { turn, items_view, max_text: Some(MAX_TEXT), ..TurnQuery::all(id) };
    match app.store().list_turns(&query).await {
        Err(StoreError::TurnNotFound { .. }) => Ok(None),
        found => Ok(found?.items.into_iter().next()),
    }
}

/// Returns the number of turns of a thread.
pub(crate) async fn count_turns(app: &ViewerApp, id: ThreadId) -> Result<u64, StoreError> {
    let newest = TurnQuery { limit: 1, ..states(id, SortDirection::Descending, None) };
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
pub(crate) async fn number_of(
    app: &ViewerApp,
    id: ThreadId,
    turn: &Turn,
    guess: Option<u64>,
) -> Result<u64, StoreError> {
    let start = turn.lines.start;
    if let Some(guess) = guess.filter(|guess| *guess > 0)
        && nth_turn(app, id, guess, ItemsView::None).await?.is_some_and(|other| other.lines.start == start)
    {
        return Ok(guess);
    }
    // The first item with this id of a turn tells it, unless several turns have the id.
    let of_turn = TurnSelector::Id(turn.id.clone());
    let first = ItemQuery { limit: 1, max_text: Some(0), ..items_of(id, of_turn, SortDirection::Ascending, None) };
    if let Some(entry) = app.store().list_items(&first).await?.items.first()
        && turn.lines.contains(&entry.line)
    {
        return Ok(entry.position.turn + 1);
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

/// A query for the turns of a page without their items.
fn states(id: ThreadId, direction: SortDirection, cursor: Option<Cursor>) -> TurnQuery {
    TurnQuery { limit: LIMIT, items_view: ItemsView::None, ..whole(id, direction, cursor, LIMIT) }
}

/// A query for turns with all their items.
fn whole(id: ThreadId, direction: SortDirection, cursor: Option<Cursor>, limit: usize) -> TurnQuery {
    TurnQuery { direction, limit, cursor, max_text: Some(MAX_TEXT), ..TurnQuery::all(id) }
}

/// A query for items of a long turn.
pub(crate) fn items_of(
    id: ThreadId,
    turn: TurnSelector,
    direction: SortDirection,
    cursor: Option<Cursor>,
) -> ItemQuery {
    let max_text = Some(MAX_TEXT);
    ItemQuery { turn: Some(turn), direction, limit: MAX_ITEMS, cursor, max_text, ..ItemQuery::all(id) }
}
