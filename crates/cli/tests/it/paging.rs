//! Pages of a list that are read while other processes write.

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use selvedge_protocol::{ArchivedFilter, SortDirection, ThreadQuery, ThreadSortKey};
use selvedge_thread_store::ThreadReader;
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore};

use crate::support::{Home, message, small_log};

/// Enough threads that the index is filled in the background while the first pages are read.
const THREADS: usize = 220;

/// What happens to a thread while pages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Quiet,
    AppendedTo,
    Renamed,
    Archived,
    Deleted,
}

/// Returns the fate of a thread. Each fate is spread over the whole list, and most threads stay as they are.
fn fate(number: usize) -> Fate {
    match number % 22 {
        3 => Fate::AppendedTo,
        8 => Fate::Renamed,
        13 => Fate::Archived,
        18 => Fate::Deleted,
        _ => Fate::Quiet,
    }
}

fn id(number: usize) -> String {
    format!("01a1fd5d-0000-7000-8000-{number:012}")
}

#[test]
fn pages_neither_skip_nor_repeat_while_other_processes_write() {
    check_pages(IndexLocation::InHome, 9);
}

#[test]
fn pages_of_logs_neither_skip_nor_repeat_while_other_processes_write() {
    check_pages(IndexLocation::Disabled, 70);
}

/// Reads all pages in every order, again and again, until the other processes are done.
fn check_pages(index: IndexLocation, limit: usize) {
    let home = Home::empty();
    for number in 0..THREADS {
        // Groups of threads have the same times, so that a page may end inside of one.
        let log = small_log(&id(number)).replace("09:00:0", &format!("09:{:02}:0", number / 7));
        home.write(&id(number), log.as_bytes());
    }
    let store = LocalThreadStore::open_with(home.path(), index);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let is_written = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| append_until_over(&home, &is_written));
        scope.spawn(|| {
            change_threads(&home);
            is_written.store(true, Ordering::Relaxed);
        });
        let mut rounds = 0;
        while !is_written.load(Ordering::Relaxed) || rounds < 2 {
            rounds += 1;
            for sort in [ThreadSortKey::CreatedAt, ThreadSortKey::UpdatedAt] {
                for direction in [SortDirection::Descending, SortDirection::Ascending] {
                    for archived in [ArchivedFilter::All, ArchivedFilter::Active] {
                        let query = ThreadQuery { sort, direction, archived, limit, ..ThreadQuery::default() };
                        check_counts(&query, &runtime.block_on(read_all_pages(&store, query.clone())));
                    }
                }
            }
        }
        runtime.block_on(store.close());
    });
}

/// Returns how often each thread is on the pages.
async fn read_all_pages(store: &LocalThreadStore, mut query: ThreadQuery) -> HashMap<String, usize> {
    let mut found = HashMap::new();
    loop {
        let page = store.list_threads(&query).await.unwrap();
        page.items.iter().for_each(|thread| *found.entry(thread.id.to_string()).or_default() += 1);
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            return found;
        }
    }
}

/// Checks what the contract promises. A thread that exists all the time and keeps its sort key is on the pages exactly
/// once. A thread that gets a later time comes at most once in descending order, and at least once in ascending order.
fn check_counts(query: &ThreadQuery, found: &HashMap<String, usize>) {
    for number in 0..THREADS {
        let times = found.get(&id(number)).copied().unwrap_or_default();
        let is_promised = match fate(number) {
            Fate::AppendedTo if query.sort == ThreadSortKey::UpdatedAt => match query.direction {
                SortDirection::Descending => times <= 1,
                SortDirection::Ascending => times >= 1,
            },
            Fate::Deleted => times <= 1,
            Fate::Archived if query.archived == ArchivedFilter::Active => times <= 1,
            Fate::Quiet | Fate::AppendedTo | Fate::Renamed | Fate::Archived => times == 1,
        };
        assert!(is_promised, "thread {number}, {:?}, comes {times} times: {query:?}", fate(number));
    }
}

fn with_fate(wanted: Fate) -> impl Iterator<Item = String> {
    (0..THREADS).filter(move |number| fate(*number) == wanted).map(id)
}

/// Other processes append to one thread after another, and then begin with the first again.
fn append_until_over(home: &Home, is_over: &AtomicBool) {
    for thread in with_fate(Fate::AppendedTo).collect::<Vec<_>>().iter().cycle() {
        let mut child = home.spawn_append(thread);
        let mut stdin = child.stdin.take().unwrap();
        for number in 0..5 {
            stdin.write_all(message(&format!("more {number}")).as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(stdin);
        assert!(child.wait_with_output().unwrap().status.success());
        if is_over.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Other processes rename, archive and delete threads.
fn change_threads(home: &Home) {
    let (renamed, archived, deleted) = (with_fate(Fate::Renamed), with_fate(Fate::Archived), with_fate(Fate::Deleted));
    for ((renamed, archived), deleted) in renamed.zip(archived).zip(deleted) {
        home.ok(&["rename", &renamed, "another name"]);
        home.ok(&["archive", &archived]);
        home.ok(&["delete", &deleted, "--yes"]);
    }
}
