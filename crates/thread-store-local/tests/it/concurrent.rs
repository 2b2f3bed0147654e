//! What several tasks, stores and processes do at the same time.

use std::fs::File;
use std::time::{Duration, Instant};

use selvedge_protocol::HistoryMode;
use selvedge_thread_store::{BatchId, ForkThread, StoreError, ThreadReader, ThreadStore, TurnCut};

use crate::home::TestHome;
use selvedge_thread_store_conformance::fixtures::{head, id, record, turn};

const MODE: HistoryMode = HistoryMode::Paginated;

/// A fork looks for its base and then refers to it; a deletion looks for forks and then deletes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fork_begins_in_a_thread_that_is_being_deleted() {
    let home = TestHome::empty();
    let (mut forked, mut deleted) = (0, 0);
    for n in 0..80 {
        let source = record(&home.store, n * 2 + 1, MODE, &["a", "b"]).await;
        let meta = head(n * 2 + 2, MODE);
        let fork = id(n * 2 + 2);
        let (forking, deleting) = (home.other(), home.other());
        let request = ForkThread { source, at: TurnCut::Latest, meta };
        // Which one is first is to differ, and how far it has come when the other begins.
        let lead = Duration::from_micros(u64::from(n) * u64::from(n) * 5);
        let (fork_after, delete_after) = if n % 2 == 0 { (lead, Duration::ZERO) } else { (Duration::ZERO, lead) };
        let forking = tokio::spawn(async move {
            tokio::time::sleep(fork_after).await;
            forking.fork_thread(request).await
        });
        let deleting = tokio::spawn(async move {
            tokio::time::sleep(delete_after).await;
            deleting.delete_thread(source).await
        });
        match (forking.await.unwrap(), deleting.await.unwrap()) {
            (Ok(made), Err(StoreError::HasDependents { dependents, .. })) => {
                assert_eq!((made, dependents), (fork, vec![fork]));
                let history = home.store.load_history(fork).await.unwrap();
                assert!(history.damage.is_empty() && history.inherited > 0);
                forked += 1;
            }
            (Err(StoreError::NotFound { .. }), Ok(())) => deleted += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(forked > 0 && deleted > 0, "{forked} forked, {deleted} deleted");
}

/// Another process is at the lock files of the home, and hangs. Whoever does not want to wait goes on.
#[tokio::test(flavor = "current_thread")]
async fn a_first_append_blocks_no_other_task() {
    let home = TestHome::empty();
    record(&home.store, 1, MODE, &["a"]).await;
    home.store.create_thread(head(2, MODE)).await.unwrap();
    let lock = File::options().write(true).open(home.path().join("thread-writer-locks/.coordination.lock")).unwrap();
    lock.lock().unwrap();
    let began = Instant::now();
    let batch = BatchId::generate();
    let items = turn(MODE, "a");
    let append = home.store.append_items(id(2), batch, &items);
    assert!(tokio::time::timeout(Duration::from_millis(200), append).await.is_err());
    assert!(began.elapsed() < Duration::from_millis(1000), "{:?}", began.elapsed());
    lock.unlock().unwrap();
    // The call that was given up may be at it still: the same batch takes effect once.
    home.store.append_items(id(2), batch, &items).await.unwrap();
    assert_eq!(home.store.load_history(id(2)).await.unwrap().lines.len(), 1 + items.len());
    home.store.shutdown_thread(id(2)).await.unwrap();
}
