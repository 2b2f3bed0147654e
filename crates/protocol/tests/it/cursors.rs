//! Cursors of positions and of listings.

use std::cmp::Ordering;

use proptest::prelude::*;
use selvedge_protocol::{Cursor, Page, SortDirection, ThreadCursor, ThreadSortKey, Timestamp};

use crate::support::{at, id, thread};

use SortDirection::{Ascending, Descending};
use ThreadSortKey::{CreatedAt, RecencyAt, UpdatedAt};

const ORDERS: [(ThreadSortKey, SortDirection); 6] = [
    (CreatedAt, Ascending),
    (CreatedAt, Descending),
    (UpdatedAt, Ascending),
    (UpdatedAt, Descending),
    (RecencyAt, Ascending),
    (RecencyAt, Descending),
];

#[test]
fn a_cursor_of_a_position_round_trips() {
    for position in [0, 1, u64::MAX] {
        let cursor = Cursor::at_position(position);
        assert_eq!(cursor.position(), Ok(position));
        assert_eq!(Cursor::from(cursor.to_string()), cursor);
        assert_eq!(serde_json::to_value(&cursor).unwrap(), cursor.as_str());
    }
    for text in ["", "p1.", "p1.x", "p1.-1", "p1.18446744073709551616", "p2.1", "1", "t1.ud.0.x", "p1.1 ", "\u{0}"] {
        let error = Cursor::from(text.to_owned()).position().unwrap_err();
        assert_eq!(error.to_string(), format!("not a cursor of this query: {text:?}"));
    }
}

#[test]
fn a_cursor_of_one_listing_is_refused_by_another() {
    let position = ThreadCursor { at: at("2026-11-21T09:08:56.680Z"), id: id(7) };
    for (sort, direction) in ORDERS {
        let cursor = position.encode(sort, direction);
        for (other_sort, other_direction) in ORDERS {
            let decoded = ThreadCursor::decode(&cursor, other_sort, other_direction);
            assert_eq!(decoded.is_ok(), (sort, direction) == (other_sort, other_direction));
            assert_eq!(decoded.ok().filter(|decoded| *decoded != position), None);
        }
    }
}

#[test]
fn a_malformed_cursor_is_refused() {
    let whole =
        ThreadCursor { at: at("2026-11-21T09:08:56.680Z"), id: id(7) }.encode(UpdatedAt, Descending).to_string();
    let cuts = (0..whole.len()).map(|cut| whole[..cut].to_owned());
    let others = ["x", "....", "t1.ud..", "t1.ud.x.y", "p1.3", "日本", "\u{0}"].map(str::to_owned);
    let changed = [
        format!("{whole}."),
        format!("{whole}0"),
        format!(" {whole}"),
        whole.replace("t1", "t2"),
        whole.replacen("17", "1x", 1),
    ];
    for text in cuts.chain(others).chain(changed) {
        let error = ThreadCursor::decode(&Cursor::from(text.clone()), UpdatedAt, Descending).unwrap_err();
        assert_eq!(error.text, text);
    }
}

#[test]
fn positions_are_ordered_by_time_and_then_by_id() {
    let position = |millis, n| ThreadCursor { at: Timestamp::from_millis(millis), id: id(n) };
    let ascending = [position(-1, 9), position(0, 1), position(0, 2), position(5, 0)];
    for (one, left) in ascending.iter().enumerate() {
        for (other, right) in ascending.iter().enumerate() {
            assert_eq!(left.cmp(right, Ascending), one.cmp(&other));
            assert_eq!(left.cmp(right, Descending), other.cmp(&one));
        }
    }
    assert_eq!(Descending.order(Ordering::Less), Ordering::Greater);
    let thread = thread();
    for (sort, time) in [(CreatedAt, thread.created_at), (UpdatedAt, thread.updated_at), (RecencyAt, thread.recency_at)]
    {
        assert_eq!(ThreadCursor::of(&thread, sort), ThreadCursor { at: time, id: thread.id });
    }
}

#[test]
fn a_page_keeps_its_cursor() {
    let page = Page { items: vec![1, 2], next_cursor: Some(Cursor::at_position(2)) };
    assert_eq!(page.map(|n| n * 2), Page { items: vec![2, 4], next_cursor: Some(Cursor::at_position(2)) });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn thread_cursors_round_trip(millis in -62_167_219_200_000_i64..=253_402_207_200_000, n: u8, order in 0_usize..6) {
        let position = ThreadCursor { at: Timestamp::from_millis(millis), id: id(n) };
        let (sort, direction) = ORDERS[order];
        prop_assert_eq!(ThreadCursor::decode(&position.encode(sort, direction), sort, direction), Ok(position));
    }

    #[test]
    fn no_text_makes_a_cursor_panic(text in "(t1\\.)?[cur][ad]\\.[-+0-9]{0,25}\\.[-{}0-9a-f]{0,40}|\\PC*") {
        let cursor = Cursor::from(text);
        let _ = ThreadCursor::decode(&cursor, UpdatedAt, Descending);
        let _ = cursor.position();
    }
}
