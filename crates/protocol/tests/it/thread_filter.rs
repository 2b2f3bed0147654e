//! Which threads match a query.

use selvedge_protocol::{
    ArchivedFilter, CwdFilter, GitInfo, Relation, SortDirection, StoredThread, ThreadFilter, ThreadLink, ThreadQuery,
    ThreadSortKey, Timestamp,
};
use serde_json::json;

use crate::support::{id, thread};

use SortDirection::Descending;
use ThreadSortKey::{CreatedAt, RecencyAt, UpdatedAt};

#[track_caller]
fn check(query: ThreadQuery, thread: &StoredThread, wanted: bool) {
    assert!(!query.needs_links());
    assert_eq!(ThreadFilter::new(&query, Vec::new).matches(thread), wanted, "{query:?}");
}

#[test]
fn the_default_query_matches_active_threads() {
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
fn a_query_matches_one_of_several_values() {
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
fn a_query_matches_working_directories() {
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
        let query = |cwd| ThreadQuery { cwd: vec![cwd], ..ThreadQuery::default() };
        check(query(CwdFilter::Exactly(wanted.to_owned())), &thread, exactly);
        check(query(CwdFilter::Under(wanted.to_owned())), &thread, under);
    }
    check(ThreadQuery { cwd: vec![CwdFilter::Under("/".to_owned())], ..ThreadQuery::default() }, &thread(), false);
}

#[test]
fn a_query_matches_branch_name_and_relation() {
    let related = StoredThread {
        git: Some(GitInfo { branch: Some("main".to_owned()), ..GitInfo::default() }),
        name: Some("Zebras".to_owned()),
        forked_from_id: Some(id(2)),
        parent_thread_id: Some(id(3)),
        ..thread()
    };
    let branch = |name: &str| ThreadQuery { git_branch: Some(name.to_owned()), ..ThreadQuery::default() };
    check(branch("main"), &related, true);
    check(branch("other"), &related, false);
    check(branch("main"), &thread(), false);
    for named in [true, false] {
        check(ThreadQuery { named: Some(named), ..ThreadQuery::default() }, &related, named);
        check(ThreadQuery { named: Some(named), ..ThreadQuery::default() }, &thread(), !named);
    }
    for (n, wanted) in [(1, false), (2, true), (3, true), (4, false)] {
        let query = ThreadQuery { relation: Some(Relation::ChildOf(id(n))), ..ThreadQuery::default() };
        check(query.clone(), &related, wanted);
        check(query, &thread(), false);
    }
}

#[test]
fn a_query_matches_a_repository() {
    let query = |wanted: &str| ThreadQuery { git_repository: Some(wanted.to_owned()), ..ThreadQuery::default() };
    let git = GitInfo { repository_url: Some("git@host.org:owner/name.git".into()), ..GitInfo::default() };
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
fn a_query_matches_descendants() {
    let link = |n, forked_from: Option<u8>, parent: Option<u8>| ThreadLink {
        id: id(n),
        forked_from_id: forked_from.map(id),
        parent_thread_id: parent.map(id),
    };
    // 1 has the fork 2, whose sub-agent 3 was forked to 4. The links of 5, 6 and 7 form a circle, and 8 comes from a
    // thread that was deleted.
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
fn a_query_matches_times_by_its_sort_key() {
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
fn a_query_matches_a_text_in_any_case() {
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
