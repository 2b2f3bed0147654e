//! Pages of whole lists.

use selvedge_history::TextSearch;
use selvedge_protocol::{SearchOrder, SearchQuery, StoredThread, ThreadId, ThreadQuery, Timestamp};
use selvedge_thread_store::implement::page_hits;

#[expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]
fn id(n: u32) -> ThreadId {
    format!("01a1fd5d-0000-7000-8000-{n:012x}").parse().unwrap()
}

#[test]
fn a_page_of_hits_reads_no_more_threads_than_it_needs() {
    let threads = (1..=9).map(|n| {
        let name = if n % 2 == 0 { "even" } else { "odd" };
        StoredThread {
            name: Some(name.into()),
            ..StoredThread::new(id(n), Timestamp::from_millis(i64::from(n) * 1000))
        }
    });
    let search = TextSearch::new("even").unwrap();
    let query = SearchQuery {
        text: "even".into(),
        threads: ThreadQuery { limit: 2, ..ThreadQuery::default() },
        order: SearchOrder::Sorted,
        hits_per_thread: 1,
    };
    let mut searched = Vec::new();
    let page = page_hits(&query, threads, |thread| {
        searched.push(thread.id);
        Ok(search.hits(thread, &[], query.order, 1))
    })
    .unwrap();
    assert_eq!(page.items.iter().map(|hit| hit.thread.id).collect::<Vec<_>>(), [8, 6].map(id));
    assert!(page.next_cursor.is_some());
    assert_eq!(searched, [9, 8, 7, 6, 5, 4].map(id));
}
