//! Pages of turns and items are those of the whole log.

use std::fs;

use selvedge_history::apply_view;
use selvedge_protocol::{
    Cursor, HistoryBase, HistoryMode, ItemPosition, ItemQuery, ItemsView, Page, SortDirection, ThreadId, Turn,
    TurnItemEntry, TurnQuery,
};
use selvedge_rollout::RolloutHome;
use selvedge_state::{IndexError, StateIndex};

use crate::homes::{Home, append, recorded, says, story, truth};

/// Returns a page of all entries, each with its position, as a store without an index computes it.
fn page<T: Clone>(direction: SortDirection, limit: usize, cursor: Option<&Cursor>, all: &[(u64, T)]) -> Page<T> {
    let bound = cursor.map(|cursor| cursor.position().unwrap());
    let is_descending = direction == SortDirection::Descending;
    let holds =
        |position: u64| bound.is_none_or(|bound| if is_descending { position < bound } else { position >= bound });
    let mut found: Vec<(u64, T)> = all.iter().filter(|(position, _)| holds(*position)).cloned().collect();
    if is_descending {
        found.reverse();
    }
    let is_last = found.len() <= limit;
    found.truncate(limit);
    let last = found.last().map(|(position, _)| position + u64::from(!is_descending));
    let next_cursor = last.filter(|_| !is_last).map(Cursor::at_position);
    Page { items: found.into_iter().map(|(_, entry)| entry).collect(), next_cursor }
}

fn item_entries(turns: &[Turn]) -> Vec<(u64, TurnItemEntry)> {
    let of_turn = |(place, turn): (u64, &Turn)| {
        let turn_id = turn.id.clone();
        let items = turn.items.clone();
        let items = items.into_iter().zip(turn.item_positions.clone());
        (place << 32..).zip(items).map(move |(position, (item, line))| {
            let entry = TurnItemEntry { turn_id: turn_id.clone(), item, position: ItemPosition::of(position), line };
            (position, entry)
        })
    };
    (0..).zip(turns).flat_map(of_turn).collect()
}

/// Compares all pages of a thread with its turns. Returns whether the index has them.
async fn compare(index: &StateIndex, id: ThreadId, turns: &[Turn]) -> bool {
    let all: Vec<(u64, Turn)> = (0..).zip(turns.iter().cloned()).collect();
    let items = item_entries(turns);
    let mut has_all = true;
    for direction in [SortDirection::Ascending, SortDirection::Descending] {
        for limit in [1 + turns.len() / 8, usize::MAX] {
            let mut query = TurnQuery { direction, limit, ..TurnQuery::all(id) };
            loop {
                let expected = page(direction, limit, query.cursor.as_ref(), &all);
                let given = index.list_turns(&query, false).await.unwrap();
                has_all &= given.is_some();
                if let Some(given) = given {
                    assert_eq!(given, expected, "turns of {id} {direction:?} {limit} {:?}", query.cursor);
                }
                query.cursor = expected.next_cursor;
                if query.cursor.is_none() {
                    break;
                }
            }
            let mut query = ItemQuery { direction, limit, ..ItemQuery::all(id) };
            loop {
                let expected = page(direction, limit, query.cursor.as_ref(), &items);
                let given = index.list_items(&query, false).await.unwrap();
                has_all &= given.is_some();
                if let Some(given) = given {
                    assert_eq!(given, expected, "items of {id} {direction:?} {limit} {:?}", query.cursor);
                }
                query.cursor = expected.next_cursor;
                if query.cursor.is_none() {
                    break;
                }
            }
        }
    }
    has_all
}

/// Compares all pages with the current log, if the index knows the newest file of the thread.
pub(crate) async fn is_true(index: &StateIndex, home: &RolloutHome, id: ThreadId) -> bool {
    let (turns, newest) = truth(home, id);
    if index
        .read_thread(id)
        .await
        .unwrap()
        .and_then(|thread| thread.location)
        .is_none_or(|location| newest.to_str() != Some(&*location))
    {
        return false;
    }
    let query = TurnQuery { direction: SortDirection::Descending, limit: 2, ..TurnQuery::all(id) };
    let newest = index.list_turns(&query, false).await.unwrap();
    let all = index.list_turns(&TurnQuery::all(id), false).await.unwrap();
    if let Some(page) = &newest {
        let expected: Vec<&Turn> = turns.iter().rev().take(2).collect();
        assert_eq!(page.items.iter().collect::<Vec<_>>(), expected);
    }
    if let Some(page) = &all {
        assert_eq!(page.items, turns);
    }
    all.is_some() && newest.is_some()
}

#[tokio::test]
async fn pages_of_recorded_threads_are_those_of_the_log() {
    let mut missing = Vec::new();
    for (name, home) in recorded() {
        let index = home.index().await;
        index.update(|_| {}).await.unwrap();
        for (id, _) in home.home.files().unwrap().threads() {
            let (turns, newest) = truth(&home.home, id);
            if !compare(&index, id, &turns).await {
                missing.push(format!("{name} {}", newest.file_name().unwrap().to_str().unwrap()));
            }
            for turn in &turns {
                let query = ItemQuery { turn: Some(turn.id.clone().into()), limit: 2, ..ItemQuery::all(id) };
                let entries: Vec<_> =
                    item_entries(&turns).into_iter().filter(|(_, entry)| entry.turn_id == turn.id).collect();
                if let Some(given) = index.list_items(&query, false).await.unwrap() {
                    assert_eq!(given, page(query.direction, 2, None, &entries));
                }
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new(), "threads that have to be read whole");
}

#[tokio::test]
async fn views_of_pages_are_views_of_whole_turns() {
    let home = Home::new();
    let (id, path) = home.legacy_thread();
    append(&path, &(story(0) + &story(1) + &story(2)));
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    for view in [ItemsView::None, ItemsView::Summary, ItemsView::Full] {
        let mut turns = truth(&home.home, id).0;
        turns.iter_mut().for_each(|turn| apply_view(turn, view));
        let query = TurnQuery { items_view: view, ..TurnQuery::all(id) };
        assert_eq!(index.list_turns(&query, false).await.unwrap().unwrap().items, turns);
    }
}

#[tokio::test]
async fn turns_that_were_appended_since_the_update_are_on_the_page() {
    let home = Home::new();
    let (id, path) = home.legacy_thread();
    append(&path, &(story(0) + &story(1)));
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    append(&path, &(story(4) + &story(7)));
    let (turns, _) = truth(&home.home, id);
    assert_eq!(turns.len(), 3);
    assert!(compare(&index, id, &turns).await);
    let live = index.list_turns(&TurnQuery::all(id), true).await.unwrap().unwrap();
    assert_eq!(live.items[2].status, selvedge_protocol::TurnStatus::InProgress);
    assert_eq!(live.items[..2], turns[..2]);
}

#[tokio::test]
async fn an_appended_rollback_is_left_to_the_log() {
    let home = Home::new();
    let (id, path) = home.legacy_thread();
    append(&path, &(story(0) + &story(16) + &story(32)));
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    append(&path, &story(16 + 14));
    assert_eq!(index.list_turns(&TurnQuery::all(id), false).await.unwrap(), None);
    index.update(|_| {}).await.unwrap();
    let (turns, _) = truth(&home.home, id);
    assert_eq!(turns.len(), 2);
    assert!(compare(&index, id, &turns).await);
    append(&path, &story(0));
    let report = index.update(|_| {}).await.unwrap();
    assert_eq!((report.read_tail, report.read_whole), (1, 0), "the update after a rollback is incremental");
}

#[tokio::test]
async fn a_late_item_of_an_old_turn_is_left_to_the_log() {
    let home = Home::new();
    let (id, path) = home.legacy_thread();
    append(&path, &(story(0) + &story(16) + &story(4)));
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    append(&path, &story(16 + 9));
    assert_eq!(index.list_turns(&TurnQuery::all(id), false).await.unwrap(), None);
    let report = index.update(|_| {}).await.unwrap();
    assert_eq!(report.read_whole, 1);
    let oldest = TurnQuery { limit: 1, ..TurnQuery::all(id) };
    let page = index.list_turns(&oldest, false).await.unwrap().unwrap();
    assert_eq!(page.items, truth(&home.home, id).0[..1]);
    assert_eq!(index.list_turns(&TurnQuery::all(id), false).await.unwrap(), None, "two turns depend on each other");
}

#[tokio::test]
async fn inherited_turns_are_read_from_the_files_of_the_base() {
    let home = Home::new();
    let (parent, parent_path) = home.thread_with(|meta| meta.history_mode = Some(HistoryMode::Paginated));
    append(&parent_path, &(story(0) + &story(1) + &story(4)));
    let len = fs::metadata(&parent_path).unwrap().len();
    let (fork, fork_path) = home.thread_with(|meta| {
        meta.history_mode = Some(HistoryMode::Paginated);
        meta.history_base = Some(HistoryBase {
            thread_id: Some(selvedge_protocol::SegmentId::from_uuid(parent.as_uuid())),
            end_byte_offset: Some(len),
            ..HistoryBase::default()
        });
    });
    append(&fork_path, &(story(10) + &story(2)));
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    let (turns, _) = truth(&home.home, fork);
    assert_eq!(turns.len(), 4);
    assert!(compare(&index, fork, &turns).await, "one of the turns is in both files");
    append(&parent_path, &story(3));
    assert!(compare(&index, fork, &turns).await, "later lines of the parent do not matter");
    fs::write(&parent_path, says("something else")).unwrap();
    assert_eq!(index.list_turns(&TurnQuery::all(fork), false).await.unwrap(), None);
}

#[tokio::test]
async fn a_replaced_file_is_left_to_the_log() {
    let home = Home::new();
    let (id, path) = home.legacy_thread();
    append(&path, &(story(0) + &story(1)));
    let index = home.index().await;
    assert_eq!(index.list_turns(&TurnQuery::all(id), false).await.unwrap(), None, "not indexed yet");
    index.update(|_| {}).await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("question", "request") + &story(2)).unwrap();
    assert_eq!(index.list_turns(&TurnQuery::all(id), false).await.unwrap(), None);
}

#[tokio::test]
async fn an_impossible_page_is_refused() {
    let home = Home::new();
    let (id, _) = home.legacy_thread();
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    let empty = TurnQuery { limit: 0, ..TurnQuery::all(id) };
    assert!(matches!(index.list_turns(&empty, false).await, Err(IndexError::ZeroLimit)));
    let cursor = Some(Cursor::from("nonsense".to_owned()));
    let query = ItemQuery { cursor, ..ItemQuery::all(id) };
    assert!(matches!(index.list_items(&query, false).await, Err(IndexError::Cursor(_))));
}
