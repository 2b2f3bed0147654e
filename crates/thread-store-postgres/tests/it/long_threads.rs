//! Threads that are much longer than what is asked of them.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use selvedge_history::MetadataFold;
use selvedge_protocol::{
    Compacted, HistoryMode, ResponseItem, RolloutItem, RolloutLine, SortDirection, StatsQuery, TurnBoundary,
    TurnContext, TurnQuery,
};
use selvedge_thread_store::{
    BatchId, ForkThread, LineQuery, LineStart, RevertThread, SegmentPart, StoreError, ThreadReader, ThreadStore,
};
use selvedge_thread_store_conformance::fixtures::{head, id, model_prompts, record, second, started, turn};
use selvedge_thread_store_postgres::PostgresThreadStore;

use crate::place::new_place;
use crate::projections::projected;

const MODE: HistoryMode = HistoryMode::Paginated;

/// The size of the part before the end, in items of 100 kB.
const OLD_ITEMS: usize = 100;

/// Returns how long a read took, the fastest of a few, as the machine is busy.
async fn fastest<F: Future>(read: impl Fn() -> F) -> Duration {
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        read().await;
        fastest = fastest.min(began.elapsed());
    }
    fastest
}

/// Records a thread of 10 MB with a compaction and a turn at its end.
async fn long_thread(store: &PostgresThreadStore) {
    record(store, 1, MODE, &["a"]).await;
    store.resume_thread(id(1)).await.unwrap();
    let old: RolloutItem = ResponseItem::user_text(&"old ".repeat(25_000)).into();
    for _ in 0..OLD_ITEMS / 20 {
        store.append_items(id(1), BatchId::generate(), &vec![old.clone(); 20]).await.unwrap();
    }
    let compacted = Compacted {
        message: Some("summary".into()),
        replacement_history: Some(vec![ResponseItem::user_text("kept")]),
        window_number: Some(1),
        ..Compacted::default()
    };
    // A turn begins with its context, as programs record it.
    let context: RolloutItem = TurnContext { model: Some("m".into()), ..TurnContext::default() }.into();
    for (name, also) in [("b", vec![context.clone(), compacted.into()]), ("c", vec![context])] {
        let mut items = turn(MODE, name);
        items.splice(1..1, also);
        store.append_items(id(1), BatchId::generate(), &items).await.unwrap();
    }
    store.shutdown_thread(id(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_near_the_end_do_not_load_the_thread() {
    let place = new_place().await;
    let store = place.open().await;
    long_thread(&store).await;
    let whole = fastest(|| async { store.list_turns(&TurnQuery::all(id(1))).await.unwrap() }).await;
    assert_eq!(model_prompts(&store, id(1)).await, ["kept", "b", "c"]);
    let context = fastest(|| async { store.load_model_context(id(1)).await.unwrap() }).await;
    let query =
        LineQuery { direction: SortDirection::Descending, max_lines: 5, ..LineQuery::from(id(1), LineStart::End) };
    let page = fastest(|| async { store.read_lines(&query).await.unwrap() }).await;
    println!("whole {whole:?}, context {context:?}, page {page:?}");
    assert!(context < whole / 4 && page < whole / 4, "whole {whole:?}, context {context:?}, page {page:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forks_and_reverts_near_the_end_do_not_load_the_thread() {
    let place = new_place().await;
    let store = place.open().await;
    long_thread(&store).await;
    projected(&place).await;
    let whole = fastest(|| async { store.load_history(id(1)).await.unwrap() }).await;
    let newest = TurnQuery { direction: SortDirection::Descending, limit: 2, ..TurnQuery::all(id(1)) };
    let turns = store.list_turns(&newest).await.unwrap().items;
    let number = AtomicU32::new(10);
    let fork = fastest(|| async {
        let meta = head(number.fetch_add(1, Ordering::Relaxed), MODE);
        let fork = ForkThread { source: id(1), at: TurnBoundary::After(turns[1].id.clone()), meta };
        store.fork_thread(fork).await.unwrap();
    })
    .await;
    // The record follows, and is exact whoever asks.
    let lines = store.load_history(id(10)).await.unwrap().lines;
    let created = store.read_thread(id(10)).await.unwrap().created_at;
    let mut fold = MetadataFold::new(id(10), created);
    lines.iter().for_each(|line| drop(fold.observe_line(line)));
    assert_eq!(store.read_thread(id(10)).await.unwrap(), fold.into_thread());
    let mut revert = Duration::MAX;
    for _ in 0..2 {
        projected(&place).await;
        let began = Instant::now();
        let request = RevertThread { thread_id: id(1), to: TurnBoundary::BeforeNewest(1), batch: BatchId::generate() };
        assert_eq!(store.revert_thread(request).await.unwrap(), 1);
        revert = revert.min(began.elapsed());
    }
    println!("whole {whole:?}, fork {fork:?}, revert {revert:?}");
    assert!(fork < whole / 3 && revert < whole / 3, "whole {whole:?}, fork {fork:?}, revert {revert:?}");
}

/// A thread is read in blocks of 1 MiB. Each line counts something here, so none may be lost where a block ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_count_every_line_of_a_long_thread() {
    const TURNS: usize = 20_000;
    let place = new_place().await;
    let store = place.open().await;
    record(&store, 1, MODE, &[]).await;
    store.resume_thread(id(1)).await.unwrap();
    let turns: Vec<RolloutItem> = (0..TURNS).map(|turn| started(&format!("t{turn}"))).collect();
    for batch in turns.chunks(TURNS / 4) {
        store.append_items(id(1), BatchId::generate(), batch).await.unwrap();
    }
    store.shutdown_thread(id(1)).await.unwrap();
    assert!(store.list_segments(id(1)).await.unwrap()[0].bytes > 2 << 20);
    let stats = store.thread_stats(&StatsQuery::default()).await.unwrap();
    assert_eq!(stats.total.turns, TURNS as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_walk_backwards_meets_the_lines_of_a_walk_forwards() {
    let place = new_place().await;
    let store = place.open().await;
    long_thread(&store).await;
    // The lines are longer than the first blocks of a read, and shorter than the last ones.
    let mut walks = Vec::new();
    for (start, direction) in
        [(LineStart::Beginning, SortDirection::Ascending), (LineStart::End, SortDirection::Descending)]
    {
        let mut query = LineQuery { direction, max_lines: 50, max_bytes: usize::MAX, ..LineQuery::from(id(1), start) };
        let mut lines = Vec::new();
        loop {
            let page = store.read_lines(&query).await.unwrap();
            lines.extend(page.entries.into_iter().map(|entry| (entry.at, entry.bytes)));
            query.start = LineStart::At(page.next);
            if page.is_end {
                break;
            }
        }
        walks.push(lines);
    }
    walks[1].reverse();
    assert!(walks[0] == walks[1], "{} lines forwards, {} backwards", walks[0].len(), walks[1].len());
    let (bytes, size): (usize, u64) =
        (walks[0].iter().map(|(_, bytes)| bytes.len()).sum(), store.list_segments(id(1)).await.unwrap()[0].bytes);
    assert_eq!(bytes as u64, size);
}

/// A segment of a live thread is copied in, part by part. The thread is written meanwhile, and only the last part has to wait for the
/// end of its writer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_go_on_while_a_segment_is_copied_in() {
    const PART: usize = 1 << 20;
    let place = new_place().await;
    let (store, other) = (place.open().await, place.open().await);
    record(&store, 1, MODE, &["a"]).await;
    store.resume_thread(id(1)).await.unwrap();
    let item: RolloutItem = ResponseItem::user_text(&"words ".repeat(100)).into();
    let line = RolloutLine::new(second(1), None, &item).text().to_owned() + "\n";
    let bytes = line.repeat(10 * PART / line.len()).into_bytes();
    let mut info = store.list_segments(id(1)).await.unwrap().remove(0);
    (info.id, info.bytes, info.is_current) = (id(77).into(), bytes.len() as u64, false);
    let part = |number: usize, bytes: &'static [u8]| (number * PART, bytes);
    let parts: Vec<_> = bytes.leak().chunks(PART).enumerate().map(|(number, bytes)| part(number, bytes)).collect();
    let (last, others) = parts.split_last().unwrap();
    let copying = {
        let (other, info, others) = (other.clone(), info.clone(), others.to_vec());
        tokio::spawn(async move {
            for (at, bytes) in others {
                let part = SegmentPart { info: &info, at: at as u64, bytes, is_last: false };
                other.import_segment(part).await.unwrap();
            }
        })
    };
    let mut appends = 0;
    while !copying.is_finished() {
        store.append_items(id(1), BatchId::generate(), std::slice::from_ref(&item)).await.unwrap();
        appends += 1;
    }
    copying.await.unwrap();
    assert!(appends >= 20, "{appends} appends while 9 MB were copied in");
    let last = SegmentPart { info: &info, at: last.0 as u64, bytes: last.1, is_last: true };
    let error = other.import_segment(last).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error:?}");
    store.shutdown_thread(id(1)).await.unwrap();
    other.import_segment(last).await.unwrap();
    assert_eq!(store.list_segments(id(1)).await.unwrap().len(), 2);
}
