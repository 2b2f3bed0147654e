//! Appends: one statement, checked by the claim of its writer, together with those of other threads.

use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use selvedge_protocol::{HistoryMode, ResponseItem, RolloutItem, SortDirection};
use selvedge_thread_store::{BatchId, LineQuery, LineStart, Recovery, StoreError, ThreadReader, ThreadStore};
use selvedge_thread_store_conformance::fixtures::{assert_consecutive_ordinals, head, id, record, turn};
use selvedge_thread_store_postgres::PostgresThreadStore;
use sqlx::{Connection, Executor};

use crate::place::{new_place, options_of};

const MODE: HistoryMode = HistoryMode::Paginated;

/// Returns an item that can be told from all others.
pub(crate) fn numbered(number: usize) -> RolloutItem {
    ResponseItem::user_text(&number.to_string()).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_threads_append_together_and_each_in_its_order() {
    const THREADS: u32 = 64;
    const BATCHES: usize = 20;
    let place = new_place().await;
    let store = place.open().await;
    let writers = (1..=THREADS).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            store.create_thread(head(n, MODE)).await.unwrap();
            for batch in 0..BATCHES {
                let appended = store.append_items(id(n), BatchId::generate(), &[numbered(batch)]).await.unwrap();
                assert_eq!(appended.last_ordinal, Some(batch as u64 + 1));
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    for n in 1..=THREADS {
        let history = store.load_history(id(n)).await.unwrap();
        assert_consecutive_ordinals(&history);
        let items: Vec<_> = history.lines[1..].iter().map(|line| line.item()).collect();
        assert_eq!(items, (0..BATCHES).map(numbered).collect::<Vec<_>>(), "thread {n}");
    }
    // Some statements carried several threads.
    let rows = place.schema.execute(&place.sql("SELECT count(*) FROM @.lines WHERE start_byte > 0"));
    let statements =
        place.schema.execute(&place.sql("SELECT count(DISTINCT xmin::text) FROM @.lines WHERE start_byte > 0"));
    let (rows, statements): (usize, usize) = (rows.parse().unwrap(), statements.parse().unwrap());
    assert!(statements < rows, "{rows} rows in {statements} statements");
}

/// Sixteen threads append together, and something happened to one of them behind the back of the store. Returns how many lines this
/// one has.
#[expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]
async fn append_beside(change: &str) -> usize {
    let place = new_place().await;
    let store = place.open().await;
    for n in 1..=16 {
        record(&store, n, MODE, &[]).await;
        store.resume_thread(id(n)).await.unwrap();
    }
    let change = format!("{change} WHERE namespace = $1 AND thread_id = '{}'", id(7).as_uuid());
    assert_eq!(place.execute(&change).await, 1);
    let appends = (1..=16).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { (n, store.append_items(id(n), BatchId::generate(), &turn(MODE, "a")).await) })
    });
    for append in appends.collect::<Vec<_>>() {
        match append.await.unwrap() {
            (7, outcome) => assert!(matches!(outcome, Err(StoreError::Lost { .. })), "{outcome:?}"),
            (n, outcome) => assert!(outcome.is_ok(), "thread {n}: {outcome:?}"),
        }
    }
    store.load_history(id(7)).await.unwrap().lines.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_thread_fails_alone() {
    assert_eq!(append_beside("UPDATE @.threads SET epoch = epoch + 1").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thread_with_lines_of_another_writer_fails_alone() {
    let insert = "INSERT INTO @.lines (namespace, thread_id, segment_id, start_byte, ordinal, at, kind, bytes)
        SELECT namespace, thread_id, segment_id, start_byte + octet_length(bytes), ordinal + 1, at, kind, bytes FROM @.lines";
    assert_eq!(append_beside(insert).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_waits_for_a_claim_writes_nothing() {
    let place = new_place().await;
    let store = place.open().await;
    for n in 1..=2 {
        record(&store, n, MODE, &["a"]).await;
        store.resume_thread(id(n)).await.unwrap();
    }
    let before = store.load_history(id(1)).await.unwrap();
    // A claim has locked the row of the thread, and is not committed.
    let mut other = place.connection().await;
    let mut claim = other.begin().await.unwrap();
    let row = format!("thread_id = '{}'", id(1).as_uuid());
    claim.execute(&*place.sql(&format!("SELECT 1 FROM @.threads WHERE {row} FOR UPDATE"))).await.unwrap();
    let append = {
        let store = store.clone();
        tokio::spawn(async move { store.append_items(id(1), BatchId::generate(), &turn(MODE, "x")).await })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!append.is_finished(), "the append waits for the claim");
    for name in ["b", "c", "d"] {
        store.append_items(id(2), BatchId::generate(), &turn(MODE, name)).await.unwrap();
    }
    let take = format!("UPDATE @.threads SET owner = gen_random_uuid(), epoch = epoch + 1 WHERE {row}");
    claim.execute(&*place.sql(&take)).await.unwrap();
    claim.commit().await.unwrap();
    let error = append.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Lost { .. }), "{error:?}");
    assert_eq!(error.recovery(), Recovery::Resume);
    assert_eq!(store.load_history(id(1)).await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_lines_are_one_statement() {
    let place = new_place().await;
    let store = place.open().await;
    record(&store, 1, MODE, &[]).await;
    store.resume_thread(id(1)).await.unwrap();
    let items: Vec<_> = (0..10_000).map(numbered).collect();
    let appended = store.append_items(id(1), BatchId::generate(), &items).await.unwrap();
    assert_eq!((appended.lines, appended.last_ordinal), (10_000, Some(10_000)));
    let transactions = place.sql("SELECT count(DISTINCT xmin::text) FROM @.lines WHERE start_byte > 0");
    assert_eq!(place.schema.execute(&transactions), "1");
}

/// The trap of a feed of changes: a transaction that began first is committed last, when readers have passed its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_of_a_late_transaction_is_skipped() {
    let place = new_place().await;
    let (store, other) = (place.open().await, place.open().await);
    for n in 1..=2 {
        record(&store, n, MODE, &["a"]).await;
    }
    let page = other.list_changes(None, 100).await.unwrap();
    assert_eq!(page.changes.len(), 2);
    // The change of the first thread is in a transaction that stays open while the second thread changes and readers see that.
    let mut connection = place.connection().await;
    let mut late = connection.begin().await.unwrap();
    let row = format!("thread_id = '{}'", id(1).as_uuid());
    let change = format!("UPDATE @.threads SET revision = revision + 1, name = 'late' WHERE {row}");
    late.execute(&*place.sql(&change)).await.unwrap();
    store.resume_thread(id(2)).await.unwrap();
    store.append_items(id(2), BatchId::generate(), &turn(MODE, "b")).await.unwrap();
    let page = other.list_changes(Some(&page.next), 100).await.unwrap();
    assert_eq!(page.changes.iter().map(|change| change.thread_id()).collect::<Vec<_>>(), [id(2)]);
    assert!(other.list_changes(Some(&page.next), 100).await.unwrap().changes.is_empty());
    late.commit().await.unwrap();
    other.wait_for_changes(&page.next).await.unwrap();
    let page = other.list_changes(Some(&page.next), 100).await.unwrap();
    assert!(page.changes.iter().any(|change| change.thread_id() == id(1)), "{page:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_elsewhere_is_woken() {
    let place = new_place().await;
    let (store, other) = (place.open().await, place.open().await);
    record(&store, 1, MODE, &["a"]).await;
    let end = other.read_lines(&LineQuery::from(id(1), LineStart::End)).await.unwrap().next;
    let waiting = {
        let (other, end) = (other.clone(), end.clone());
        tokio::spawn(async move { other.wait_for_lines(id(1), &end).await })
    };
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "nothing has changed");
    store.resume_thread(id(1)).await.unwrap();
    store.append_items(id(1), BatchId::generate(), &turn(MODE, "b")).await.unwrap();
    tokio::time::timeout(Duration::from_secs(2), waiting).await.unwrap().unwrap().unwrap();
    let query = LineQuery::from(id(1), LineStart::At(end));
    assert_eq!(other.read_lines(&query).await.unwrap().entries.len(), turn(MODE, "b").len());
}

/// Drops a call after a time, which can be shorter than the steps of a timer.
async fn run_for<T>(limit: Duration, call: impl Future<Output = T>) {
    let (mut call, began) = (pin!(call), Instant::now());
    std::future::poll_fn(|context| {
        if call.as_mut().poll(context).is_ready() || began.elapsed() >= limit {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Calls are dropped at every moment. What comes after them on the same connections sees the newest state and takes effect.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_leaves_no_open_transaction() {
    const CALLS: u32 = 300;
    let place = new_place().await;
    let mut options = options_of(&place.schema.url(), "pool=2");
    (options.schema, options.namespace) = (place.options.schema.clone(), place.options.namespace.clone());
    let (store, other) = (PostgresThreadStore::connect(&options).await.unwrap(), place.open().await);
    record(&store, 1, MODE, &["a"]).await;
    record(&store, 2, MODE, &["a"]).await;
    other.resume_thread(id(1)).await.unwrap();
    let newest =
        LineQuery { direction: SortDirection::Descending, max_lines: 1, ..LineQuery::from(id(1), LineStart::End) };
    for number in 0..CALLS {
        // A call takes about 2 ms, so that most are dropped somewhere in the middle.
        let limit = Duration::from_micros(u64::from(number % 100 * 20));
        match number % 3 {
            0 => run_for(limit, store.read_lines(&newest)).await,
            1 => run_for(limit, store.read_thread(id(1))).await,
            _ => run_for(limit, store.archive_thread(id(2))).await,
        }
        let item = numbered(number as usize);
        other.append_items(id(1), BatchId::generate(), std::slice::from_ref(&item)).await.unwrap();
        let line = store.read_lines(&newest).await.unwrap().entries.remove(0).line().unwrap();
        assert_eq!(line.item(), item, "after {number} calls");
        let is_archived = number % 2 == 0;
        let change = if is_archived { store.archive_thread(id(2)).await } else { store.unarchive_thread(id(2)).await };
        assert_eq!(change.unwrap().archived, is_archived);
        assert_eq!(other.read_thread(id(2)).await.unwrap().archived, is_archived, "after {number} calls");
    }
}
