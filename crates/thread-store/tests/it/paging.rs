//! What stores share: pages and cuts out of whole lists.

use selvedge_history::TextSearch;
use selvedge_protocol::{
    HistoryMode, ItemId, ItemsView, RolloutLine, SearchOrder, SearchQuery, StoredThread, ThreadQuery, Turn, TurnItem,
    TurnStatus,
};
use selvedge_thread_store::cut::{CutPoint, base_length, find_cut};
use selvedge_thread_store::paging::page_hits;
use selvedge_thread_store::{StoreError, TurnCut};

use crate::contract::{head, id, second};

fn turn(name: &str, lines: std::ops::Range<u64>, user_messages: usize) -> Turn {
    let item =
        |n| TurnItem::UserMessage { id: ItemId::from(format!("{name}{n}")), text: String::new(), images: vec![] };
    Turn {
        id: name.into(),
        status: TurnStatus::Completed,
        started_at: None,
        completed_at: None,
        duration_ms: None,
        error: None,
        items_view: ItemsView::Full,
        items: (0..user_messages).map(item).collect(),
        lines,
        item_positions: Vec::new(),
    }
}

#[test]
fn a_cut_tells_where_it_is_and_what_it_undoes() {
    let turns = [turn("a", 1..4, 1), turn("b", 4..9, 2), turn("c", 10..12, 0)];
    let found = |cut| find_cut(id(1), &turns, 15, &cut).unwrap();
    let point =
        |position, undone_turns, undone_user_messages| CutPoint { position, undone_turns, undone_user_messages };
    assert_eq!(found(TurnCut::Latest), point(15, 0, 0));
    assert_eq!(found(TurnCut::After("c".into())), point(12, 0, 0));
    assert_eq!(found(TurnCut::Before("c".into())), point(10, 1, 0));
    assert_eq!(found(TurnCut::After("b".into())), point(9, 1, 0));
    assert_eq!(found(TurnCut::Before("b".into())), point(4, 2, 2));
    assert_eq!(found(TurnCut::Before("a".into())), point(1, 3, 3));
    let unknown = find_cut(id(1), &turns, 15, &TurnCut::After("z".into()));
    assert!(matches!(unknown, Err(StoreError::TurnNotFound { .. })));
}

#[test]
fn headers_alone_are_no_base() {
    let header = RolloutLine::new(second(0), Some(0), &head(1, HistoryMode::Paginated).into());
    let other = RolloutLine::parse(r#"{"type":"event_msg","payload":{}}"#).unwrap();
    let lines = [header.clone(), header, other.clone(), other];
    assert_eq!([0, 1, 2, 3, 4, 9].map(|position| base_length(&lines, position)), [0, 0, 0, 3, 4, 4]);
}

#[test]
fn a_page_of_hits_reads_no_more_threads_than_it_needs() {
    let threads = (1..=9).map(|n| {
        let name = if n % 2 == 0 { "even" } else { "odd" };
        StoredThread { name: Some(name.into()), ..StoredThread::new(id(n), second(n.into())) }
    });
    let search = TextSearch::new("even").unwrap();
    let query = SearchQuery {
        text: "even".into(),
        threads: ThreadQuery { limit: 2, ..ThreadQuery::default() },
        order: SearchOrder::Sorted,
        hits_per_thread: 1,
    };
    let mut asked = Vec::new();
    let page = page_hits(&query, threads, |thread| {
        asked.push(thread.id);
        Ok(search.hits(thread, &[], query.order, 1))
    })
    .unwrap();
    assert_eq!(page.items.iter().map(|hit| hit.thread.id).collect::<Vec<_>>(), [8, 6].map(id));
    assert!(page.next_cursor.is_some());
    assert_eq!(asked, [9, 8, 7, 6, 5, 4].map(id));
}
