//! Where cuts are, and what they undo.

use selvedge_history::{CutPoint, TurnProjection, UnknownTurn, base_length, find_cut};
use selvedge_protocol::{HistoryMode, LineError, ResponseItem, RolloutLine, SessionMeta, ThreadId, Timestamp, TurnCut};
use serde_json::{Value, json};

fn id(n: u8) -> ThreadId {
    format!("01a1fd5d-aacb-7641-837d-0000000000{n:02x}").parse().unwrap()
}

fn second(n: i64) -> Timestamp {
    Timestamp::from_seconds(n)
}

fn head(n: u8, mode: HistoryMode) -> SessionMeta {
    SessionMeta { history_mode: Some(mode), ..SessionMeta::new(id(n), second(0)) }
}

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
    assert!(matches!(unknown, Err(UnknownTurn { .. })));
}

#[test]
fn headers_alone_are_no_base() {
    let header = RolloutLine::new(second(0), Some(0), &head(1, HistoryMode::Paginated).into());
    let other = RolloutLine::parse(r#"{"type":"event_msg","payload":{}}"#).unwrap();
    let lines = [header.clone(), header, other.clone(), other];
    assert_eq!([0, 1, 2, 3, 4, 9].map(|position| base_length(&lines, position)), [0, 0, 0, 3, 4, 4]);
}
