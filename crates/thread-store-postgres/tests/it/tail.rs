//! Readers that follow a thread while it is written and their connections break.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use selvedge_postgres_server::FaultyProxy;
use selvedge_protocol::HistoryMode;
use selvedge_thread_store::{BatchId, LineQuery, LineStart, ThreadReader, ThreadStore};
use selvedge_thread_store_conformance::fixtures::{id, record};

use crate::appends::numbered;
use crate::place::new_place;

/// Two readers, one of which waits for notifications and one of which polls, follow a thread over connections that are all cut again
/// and again. `SELVEDGE_TAIL_ITEMS=100000` makes the whole test: ten cuts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_misses_and_repeats_nothing() {
    const BATCH: usize = 50;
    let items: usize = std::env::var("SELVEDGE_TAIL_ITEMS").map_or(5000, |text| text.parse().unwrap());
    let place = new_place().await;
    let writer = place.open().await;
    record(&writer, 1, HistoryMode::Paginated, &[]).await;
    writer.resume_thread(id(1)).await.unwrap();
    let proxy = Arc::new(FaultyProxy::start(&place.schema.url()));
    let read = Arc::new(AtomicUsize::new(0));
    let mut readers = Vec::new();
    for parameters in ["listen=true", "listen=false"] {
        let (reader, read) = (place.open_behind(&proxy, parameters).await, Arc::clone(&read));
        readers.push(tokio::spawn(async move {
            let (mut seen, mut start) = (Vec::new(), LineStart::Beginning);
            while seen.len() < items + 1 {
                let page = reader.read_lines(&LineQuery::from(id(1), start)).await.unwrap();
                seen.extend(page.entries.iter().map(|entry| entry.line().unwrap().ordinal().unwrap()));
                read.store(seen.len(), Ordering::Relaxed);
                if page.is_end && seen.len() < items + 1 {
                    reader.wait_for_lines(id(1), &page.next).await.unwrap();
                }
                start = LineStart::At(page.next);
            }
            seen
        }));
    }
    let (mut number, mut cuts) = (0, 0);
    while number < items {
        let batch: Vec<_> = (number..number + BATCH).map(numbered).collect();
        writer.append_items(id(1), BatchId::generate(), &batch).await.unwrap();
        number += BATCH;
        if number * 11 / items > cuts && cuts < 10 {
            proxy.cut_all();
            cuts += 1;
        }
    }
    for reader in readers {
        let seen = tokio::time::timeout(Duration::from_secs(60), reader).await.unwrap().unwrap();
        assert!(seen.iter().copied().eq(0..=items as u64), "{} of {} lines", seen.len(), items + 1);
    }
    assert_eq!(cuts, 10);
}
