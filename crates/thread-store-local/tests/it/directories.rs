//! Directories that are the same one through symbolic links, with and without an index.
#![cfg(unix)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use selvedge_protocol::{
    CwdFilter, SearchOrder, SearchQuery, SortDirection, StatsKey, StatsQuery, ThreadId, ThreadQuery,
};
use selvedge_thread_store::ThreadReader;
use selvedge_thread_store_local::LocalThreadStore;
use serde_json::json;

use crate::home::TestHome;

/// The directories of the threads, in a folder with these links:
///
/// ```text
/// link -> real         chain -> link        relative -> ./link/..   up -> real/proj/sub/..
/// circle -> circle     dangling -> nowhere
/// ```
const DIRECTORIES: [&str; 10] = [
    "real/proj",
    "link/proj",
    "real/proj/sub",
    "chain/proj/gone",
    "real/proj2",
    "nowhere/x",
    "dangling/x/y",
    "circle/x",
    "relative/real/proj",
    "up/sub",
];

fn thread_id(n: usize) -> ThreadId {
    format!("01a1000a-0000-7000-8000-{n:012x}").parse().unwrap()
}

/// Returns a home with a thread in each of these directories below `folder`.
fn home_of(folder: &Path) -> TestHome {
    let home = TestHome::empty();
    for (n, directory) in DIRECTORIES.iter().enumerate() {
        let line = |kind: &str, payload: serde_json::Value| {
            format!(
                "{}\n",
                json!({"timestamp": format!("2026-09-10T08:06:{n:02}.000Z"), "type": kind, "payload": payload})
            )
        };
        let cwd = folder.join(directory);
        let head = json!({"id": thread_id(n), "timestamp": "2026-09-10T08:06:00.000Z", "cwd": cwd, "source": "cli"});
        let prompt = json!({"type": "user_message", "message": "zebra", "images": []});
        home.put(thread_id(n), line("session_meta", head) + &line("event_msg", prompt));
    }
    home
}

fn folder_with_links() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("real/proj/sub")).unwrap();
    let link = |target: &str, name: &str| symlink(target, folder.path().join(name)).unwrap();
    symlink(folder.path().join("real"), folder.path().join("link")).unwrap();
    link("link", "chain");
    link("./link/..", "relative");
    link("real/proj/sub/..", "up");
    link("circle", "circle");
    link("nowhere", "dangling");
    folder
}

/// Returns the directories of the threads that a store finds: in lists in both directions, in a search, and in statistics.
async fn found(store: &LocalThreadStore, cwd: Vec<CwdFilter>) -> BTreeSet<&'static str> {
    let query = ThreadQuery { cwd, ..ThreadQuery::default() };
    let name = |id: ThreadId| DIRECTORIES[(0..DIRECTORIES.len()).find(|n| thread_id(*n) == id).unwrap()];
    let listed: BTreeSet<_> =
        store.list_threads(&query).await.unwrap().items.iter().map(|thread| name(thread.id)).collect();
    let ascending = ThreadQuery { direction: SortDirection::Ascending, ..query.clone() };
    let others = store.list_threads(&ascending).await.unwrap();
    assert_eq!(others.items.iter().map(|thread| name(thread.id)).collect::<BTreeSet<_>>(), listed);
    for order in [SearchOrder::Sorted, SearchOrder::Best] {
        let search = SearchQuery { text: "zebra".to_owned(), threads: query.clone(), order, hits_per_thread: 1 };
        let hits = store.search_threads(&search).await.unwrap();
        assert_eq!(hits.items.iter().map(|hit| name(hit.thread.id)).collect::<BTreeSet<_>>(), listed, "{order:?}");
        // One hit on each page, so that further pages resolve links as well.
        let mut search = SearchQuery { threads: ThreadQuery { limit: 1, ..query.clone() }, ..search };
        let mut paged = BTreeSet::new();
        loop {
            let page = store.search_threads(&search).await.unwrap();
            paged.extend(page.items.iter().map(|hit| name(hit.thread.id)));
            search.threads.cursor = page.next_cursor;
            if search.threads.cursor.is_none() {
                break;
            }
        }
        assert_eq!(paged, listed, "{order:?}");
    }
    let stats = StatsQuery { threads: query, ..StatsQuery::default() };
    assert_eq!(store.thread_stats(&stats).await.unwrap().total.threads, listed.len() as u64);
    listed
}

#[tokio::test]
async fn a_filter_finds_a_directory_through_links_on_either_side() {
    let folder = folder_with_links();
    let at = |directory: &str| folder.path().join(directory).to_str().unwrap().to_owned();
    let proj = &["real/proj", "link/proj", "relative/real/proj"][..];
    let sub = &["real/proj/sub", "up/sub"][..];
    let below = &[proj, sub, &["chain/proj/gone"]].concat()[..];
    let exactly: &[(&str, &[&str])] = &[
        ("real/proj", proj),
        ("link/proj", proj),
        ("chain/proj", proj),
        ("chain/x/../proj/", proj),
        ("relative/chain/proj", proj),
        ("up", proj),
        ("link/proj/sub", sub),
        // The directory has vanished, and the links on the way to it have not.
        ("real/proj/gone", &["chain/proj/gone"]),
        ("link/proj/gone", &["chain/proj/gone"]),
        ("dangling/x", &["nowhere/x"]),
        ("nowhere/x/y", &["dangling/x/y"]),
        // A circle leads nowhere, so the path is compared as it is.
        ("circle/x", &["circle/x"]),
        ("circle/./x/", &["circle/x"]),
        ("real", &[]),
        ("real/proj2", &["real/proj2"]),
    ];
    let under: &[(&str, &[&str])] =
        &[("link/proj", below), ("up", below), ("dangling", &["nowhere/x", "dangling/x/y"])];
    for home in [home_of(folder.path()), home_of(folder.path()).without_index()] {
        for (wanted, expected) in exactly {
            let expected = expected.iter().copied().collect();
            assert_eq!(found(&home.store, vec![CwdFilter::Exactly(at(wanted))]).await, expected, "{wanted}");
        }
        for (wanted, expected) in under {
            let expected = expected.iter().copied().collect();
            assert_eq!(found(&home.store, vec![CwdFilter::Under(at(wanted))]).await, expected, "{wanted}");
        }
        let both = vec![CwdFilter::Exactly(at("circle/x")), CwdFilter::Exactly(at("link/proj2"))];
        assert_eq!(found(&home.store, both).await, BTreeSet::from(["circle/x", "real/proj2"]));
    }
}

#[tokio::test]
async fn a_link_that_has_vanished_is_a_directory_of_its_own() {
    let folder = folder_with_links();
    let at = |directory: &str| folder.path().join(directory).to_str().unwrap().to_owned();
    for home in [home_of(folder.path()), home_of(folder.path()).without_index()] {
        let exactly = async |wanted: &str| found(&home.store, vec![CwdFilter::Exactly(at(wanted))]).await;
        assert_eq!(exactly("link/proj").await.len(), 3);
        fs::remove_file(at("link")).unwrap();
        assert_eq!(exactly("link/proj").await, BTreeSet::from(["link/proj"]));
        assert_eq!(exactly("real/proj").await, BTreeSet::from(["real/proj", "relative/real/proj"]));
        symlink(at("real"), at("link")).unwrap();
        fs::remove_dir_all(at("real")).unwrap();
        assert_eq!(exactly("real/proj").await.len(), 3, "a vanished directory is where the links to it lead");
        fs::create_dir_all(at("real/proj/sub")).unwrap();
    }
}

#[tokio::test]
async fn statistics_by_project_unite_what_links_lead_to() {
    let folder = folder_with_links();
    let at = |directory: &str| Some(folder.path().join(directory).to_str().unwrap().to_owned());
    for home in [home_of(folder.path()), home_of(folder.path()).without_index()] {
        let query = StatsQuery { by: StatsKey::Project, ..StatsQuery::default() };
        let stats = home.store.thread_stats(&query).await.unwrap();
        let groups: Vec<_> = stats.groups.into_iter().map(|group| (group.key, group.counts.threads)).collect();
        let expected = [
            (at("link/proj"), 3),
            (at("real/proj/sub"), 2),
            (at("circle/x"), 1),
            (at("chain/proj/gone"), 1),
            (at("dangling/x/y"), 1),
            (at("nowhere/x"), 1),
            (at("real/proj2"), 1),
        ];
        assert_eq!(groups.iter().collect::<BTreeSet<_>>(), expected.iter().collect::<BTreeSet<_>>());
        assert_eq!(groups[..2], expected[..2], "the largest group is first");
        assert_eq!(stats.total.threads, DIRECTORIES.len() as u64);
        let narrowed = ThreadQuery { cwd: vec![CwdFilter::Under(at("link").unwrap())], ..ThreadQuery::default() };
        let stats = home.store.thread_stats(&StatsQuery { threads: narrowed, ..query }).await.unwrap();
        assert_eq!((stats.groups.len(), stats.total.threads), (4, 7));
    }
}
