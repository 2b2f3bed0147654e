//! Queries, cursors and pages.

use std::cmp::Ordering;

use proptest::prelude::*;
use selvedge_protocol::{
    ArchivedFilter, Cursor, CwdFilter, GitInfo, Page, Relation, SortDirection, StoredThread, ThreadCursor,
    ThreadFilter, ThreadId, ThreadLink, ThreadQuery, ThreadSortKey, Timestamp,
};
use serde_json::json;

use crate::support::at;

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

fn id(n: u8) -> ThreadId {
    format!("01a1fd5d-aacb-7641-837d-0000000000{n:02x}").parse().unwrap()
}

fn thread() -> StoredThread {
    StoredThread {
        updated_at: at("2026-11-22T00:00:00Z"),
        recency_at: at("2026-11-21T12:00:00Z"),
        ..StoredThread::new(id(1), at("2026-11-21T00:00:00Z"))
    }
}

#[test]
fn a_cursor_of_a_place_goes_round() {
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
fn a_cursor_of_one_listing_is_none_of_another() {
    let place = ThreadCursor { at: at("2026-11-21T09:08:56.680Z"), id: id(7) };
    for (sort, direction) in ORDERS {
        let cursor = place.encode(sort, direction);
        for (other_sort, other_direction) in ORDERS {
            let decoded = ThreadCursor::decode(&cursor, other_sort, other_direction);
            assert_eq!(decoded.is_ok(), (sort, direction) == (other_sort, other_direction));
            assert_eq!(decoded.ok().filter(|decoded| *decoded != place), None);
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
fn places_are_ordered_by_time_and_then_by_id() {
    let place = |millis, n| ThreadCursor { at: Timestamp::from_millis(millis), id: id(n) };
    let ascending = [place(-1, 9), place(0, 1), place(0, 2), place(5, 0)];
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

#[track_caller]
fn check(query: ThreadQuery, thread: &StoredThread, wanted: bool) {
    assert!(!query.needs_links());
    assert_eq!(ThreadFilter::new(&query, Vec::new).matches(thread), wanted, "{query:?}");
}

#[test]
fn the_default_asks_for_active_threads() {
    let query = ThreadQuery::default();
    assert_eq!((query.sort, query.direction, query.limit), (UpdatedAt, Descending, 50));
    let archived = StoredThread { archived: true, ..thread() };
    for (filter, active_wanted, archived_wanted) in [
        (ArchivedFilter::Active, true, false),
        (ArchivedFilter::Archived, false, true),
        (ArchivedFilter::All, true, true),
    ] {
        let query = ThreadQuery { archived: filter, ..ThreadQuery::default() };
        check(query.clone(), &thread(), active_wanted);
        check(query, &archived, archived_wanted);
    }
}

#[test]
fn asks_for_one_of_several() {
    let known = StoredThread {
        source: Some(json!("cli")),
        model_provider: Some("p".to_owned()),
        model: Some("m".to_owned()),
        ..thread()
    };
    let of = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (names, wanted) in [
        (of(&[]), true),
        (of(&["x", "cli", "p", "m"]), true),
        (of(&["x"]), false),
        (of(&["CLI", "P", "M", "c"]), false),
    ] {
        let queries = [
            ThreadQuery { sources: names.clone(), ..ThreadQuery::default() },
            ThreadQuery { model_providers: names.clone(), ..ThreadQuery::default() },
            ThreadQuery { models: names.clone(), ..ThreadQuery::default() },
        ];
        for query in queries {
            check(query.clone(), &known, wanted);
            check(query, &thread(), names.is_empty());
        }
    }
    let sub_agent = StoredThread { source: Some(json!({"subagent": {"x": 1}})), ..thread() };
    check(ThreadQuery { sources: of(&["subagent"]), ..ThreadQuery::default() }, &sub_agent, true);
    check(ThreadQuery { sources: of(&["x"]), ..ThreadQuery::default() }, &sub_agent, false);
    for odd in [json!({}), json!(7), json!(["cli"])] {
        check(
            ThreadQuery { sources: of(&["cli"]), ..ThreadQuery::default() },
            &StoredThread { source: Some(odd), ..thread() },
            false,
        );
    }
}

#[test]
fn asks_for_working_directories() {
    let cases = [
        ("/a/b", "/a/b", true, true),
        ("/a/b/", "/a/b", true, true),
        ("/a/b", "/a/b/", true, true),
        ("/a/b/c", "/a/b", false, true),
        ("/a/bc", "/a/b", false, false),
        ("/a", "/a/b", false, false),
        ("/a/b", "/", false, true),
        ("/", "/", true, true),
        ("/A/b", "/a/b", false, false),
    ];
    for (cwd, wanted, exactly, under) in cases {
        let thread = StoredThread { cwd: Some(cwd.to_owned()), ..thread() };
        let query = |cwd| ThreadQuery { cwd: Some(cwd), ..ThreadQuery::default() };
        check(query(CwdFilter::Exactly(wanted.to_owned())), &thread, exactly);
        check(query(CwdFilter::Under(wanted.to_owned())), &thread, under);
    }
    check(ThreadQuery { cwd: Some(CwdFilter::Under("/".to_owned())), ..ThreadQuery::default() }, &thread(), false);
}

#[test]
fn asks_for_branch_name_and_kin() {
    let kin = StoredThread {
        git: Some(GitInfo { branch: Some("main".to_owned()), ..GitInfo::default() }),
        name: Some("Zebras".to_owned()),
        forked_from_id: Some(id(2)),
        parent_thread_id: Some(id(3)),
        ..thread()
    };
    let branch = |name: &str| ThreadQuery { git_branch: Some(name.to_owned()), ..ThreadQuery::default() };
    check(branch("main"), &kin, true);
    check(branch("other"), &kin, false);
    check(branch("main"), &thread(), false);
    for named in [true, false] {
        check(ThreadQuery { named: Some(named), ..ThreadQuery::default() }, &kin, named);
        check(ThreadQuery { named: Some(named), ..ThreadQuery::default() }, &thread(), !named);
    }
    for (n, wanted) in [(1, false), (2, true), (3, true), (4, false)] {
        let query = ThreadQuery { relation: Some(Relation::ChildOf(id(n))), ..ThreadQuery::default() };
        check(query.clone(), &kin, wanted);
        check(query, &thread(), false);
    }
}

#[test]
fn asks_for_a_repository() {
    let query = |wanted: &str| ThreadQuery { git_repository: Some(wanted.to_owned()), ..ThreadQuery::default() };
    let git = GitInfo { repository_url: Some("git@host.org:owner/name.git".to_owned()), ..GitInfo::default() };
    let cloned = StoredThread { git: Some(git), ..thread() };
    check(query("https://host.org/owner/name"), &cloned, true);
    check(query("owner/name"), &cloned, true);
    check(query("other/name"), &cloned, false);
    for unknown in [thread(), StoredThread { git: Some(GitInfo::default()), ..thread() }] {
        check(query("owner/name"), &unknown, false);
        check(query(""), &unknown, false);
    }
}

#[test]
fn asks_for_descendants() {
    let link = |n, forked_from: Option<u8>, parent: Option<u8>| ThreadLink {
        id: id(n),
        forked_from_id: forked_from.map(id),
        parent_thread_id: parent.map(id),
    };
    // 1 has the fork 2, whose sub-agent 3 was forked to 4; 5, 6 and 7 go in a circle, and 8 comes from one that is gone.
    let links = [
        link(1, None, None),
        link(2, Some(1), None),
        link(3, None, Some(2)),
        link(4, Some(3), Some(2)),
        link(5, Some(7), None),
        link(6, Some(5), None),
        link(7, None, Some(6)),
        link(8, Some(9), None),
        link(10, Some(10), None),
    ];
    for (ancestor, wanted) in
        [(1, vec![2, 3, 4]), (2, vec![3, 4]), (4, vec![]), (5, vec![6, 7]), (9, vec![8]), (10, vec![]), (11, vec![])]
    {
        let query = ThreadQuery { relation: Some(Relation::DescendantOf(id(ancestor))), ..ThreadQuery::default() };
        assert!(query.needs_links());
        let filter = ThreadFilter::new(&query, || links);
        let found: Vec<u8> = (1..=11).filter(|n| filter.matches(&StoredThread { id: id(*n), ..thread() })).collect();
        assert_eq!(found, wanted, "descendants of {ancestor}");
    }
}

#[test]
fn asks_for_times_by_the_sort_key() {
    let thread = thread();
    for (sort, time) in [(CreatedAt, thread.created_at), (UpdatedAt, thread.updated_at), (RecencyAt, thread.recency_at)]
    {
        let later = Timestamp::from_millis(time.as_millis() + 1);
        let query = |since, until| ThreadQuery { sort, since, until, ..ThreadQuery::default() };
        check(query(Some(time), None), &thread, true);
        check(query(Some(later), None), &thread, false);
        check(query(None, Some(time)), &thread, false);
        check(query(None, Some(later)), &thread, true);
        check(query(Some(time), Some(later)), &thread, true);
    }
}

#[test]
fn asks_for_a_text_in_any_case() {
    let named =
        StoredThread { name: Some("Über ZEBRAS".to_owned()), preview: Some("first\nquestion".to_owned()), ..thread() };
    for (term, wanted) in
        [("zebra", true), ("ÜBER", true), ("QUESTION", true), ("zebras question", false), ("", true), ("lion", false)]
    {
        check(ThreadQuery { search_term: Some(term.to_owned()), ..ThreadQuery::default() }, &named, wanted);
    }
    check(ThreadQuery { search_term: Some("x".to_owned()), ..ThreadQuery::default() }, &thread(), false);
}

#[test]
fn all_conditions_must_hold() {
    let query = ThreadQuery { named: Some(true), models: vec!["m".to_owned()], ..ThreadQuery::default() };
    let both = StoredThread { name: Some("n".to_owned()), model: Some("m".to_owned()), ..thread() };
    check(query.clone(), &both, true);
    check(query.clone(), &StoredThread { name: None, ..both.clone() }, false);
    check(query, &StoredThread { model: None, ..both }, false);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cursors_go_round(millis in -62_167_219_200_000_i64..=253_402_207_200_000, n: u8, order in 0_usize..6) {
        let place = ThreadCursor { at: Timestamp::from_millis(millis), id: id(n) };
        let (sort, direction) = ORDERS[order];
        prop_assert_eq!(ThreadCursor::decode(&place.encode(sort, direction), sort, direction), Ok(place));
    }

    #[test]
    fn no_text_makes_a_cursor_panic(text in "(t1\\.)?[cur][ad]\\.[-+0-9]{0,25}\\.[-{}0-9a-f]{0,40}|\\PC*") {
        let cursor = Cursor::from(text);
        let _ = ThreadCursor::decode(&cursor, UpdatedAt, Descending);
        let _ = cursor.position();
    }
}
