//! What stores share: pages and cuts out of whole lists.

use selvedge_history::{TextSearch, TurnProjection};
use selvedge_protocol::{
    HistoryMode, LineError, ResponseItem, RolloutLine, SearchOrder, SearchQuery, StoredThread, ThreadQuery,
};
use selvedge_thread_store::cut::{CutPoint, base_length, find_cut};
use selvedge_thread_store::paging::page_hits;
use selvedge_thread_store::{StoreError, TurnCut};
use serde_json::{Value, json};

use crate::contract::{head, id, second};

/// A thread of three turns. In the second one the user spoke twice, and the event that shows the second message was lost; in the
/// third nobody spoke.
fn turns() -> Result<TurnProjection, LineError> {
    let event = |payload: Value| ("event_msg", payload);
    let started = |turn: &str| event(json!({"type": "task_started", "turn_id": turn}));
    let complete = |turn: &str| event(json!({"type": "task_complete", "turn_id": turn}));
    let shown = |text: &str| event(json!({"type": "user_message", "message": text}));
    let told = |text: &str| ("response_item", json!(ResponseItem::user_text(text)));
    let agent = event(json!({"type": "agent_message", "message": "an answer"}));
    let lines = [
        ("session_meta", json!({})),
        started("a"),
        shown("one"),
        complete("a"),
        started("b"),
        told("two"),
        shown("two"),
        agent,
        told("three"),
        started("c"),
        complete("c"),
        event(json!({"type": "token_count"})),
    ];
    let mut turns = TurnProjection::new();
    for (position, (kind, payload)) in (0..).zip(lines) {
        let line = json!({"timestamp": "2026-11-21T09:00:00.000Z", "type": kind, "payload": payload});
        turns.push(position, &RolloutLine::parse(&line.to_string())?);
    }
    Ok(turns)
}

#[test]
fn a_cut_tells_where_it_is_and_what_it_undoes() {
    let found = |cut| find_cut(id(1), turns().unwrap(), 12, &cut).unwrap();
    let point = |position, undone_turns, undone_messages| CutPoint { position, undone_turns, undone_messages };
    assert_eq!(found(TurnCut::Latest), point(12, 0, 0));
    assert_eq!(found(TurnCut::After("c".into())), point(11, 0, 0));
    assert_eq!(found(TurnCut::Before("c".into())), point(9, 1, 0));
    assert_eq!(found(TurnCut::After("b".into())), point(9, 1, 0));
    assert_eq!(found(TurnCut::Before("b".into())), point(4, 2, 2));
    assert_eq!(found(TurnCut::Before("a".into())), point(1, 3, 3));
    assert_eq!(found(TurnCut::BeforeNewest(2)), point(4, 2, 2));
    let unknown = find_cut(id(1), turns().unwrap(), 12, &TurnCut::After("z".into()));
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
