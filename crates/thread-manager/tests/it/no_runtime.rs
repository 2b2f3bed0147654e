//! Without a Tokio runtime a call works as far as its store does, or says what is missing. It never panics.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use selvedge_protocol::{Durability, HistoryMode, ResponseItem, SearchQuery, ThreadQuery, TurnBoundary};
use selvedge_thread_manager::{NewThread, ThreadManager, TurnSettings};
use selvedge_thread_store::{BatchId, LineQuery, LineStart, Result, StoreError, ThreadReader, ThreadStore};
use selvedge_thread_store_local::{HomeOptions, IndexLocation, LocalThreadStore};

use crate::support::{TestStores, id, paginated, turn};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this OS thread, without a runtime.
fn run<T>(work: impl Future<Output = T>) -> T {
    assert!(tokio::runtime::Handle::try_current().is_err());
    let (mut work, waker) = (pin!(work), Waker::from(Arc::new(Unpark(std::thread::current()))));
    loop {
        if let Poll::Ready(value) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        std::thread::park();
    }
}

fn says_what_to_do<T: std::fmt::Debug>(outcome: Result<T>) {
    let error = outcome.unwrap_err();
    assert!(matches!(&error, StoreError::Backend { .. }), "{error:?}");
    assert!(error.to_string().contains("Tokio runtime") && error.to_string().contains("Runtime::enter"), "{error}");
}

#[test]
fn a_store_in_memory_needs_no_runtime() {
    run(async {
        let manager = TestStores::memory().manager();
        let thread = manager.start(NewThread::in_dir("/srv").id(id(1))).await.unwrap();
        for text in ["one", "two"] {
            let turn = thread.begin_turn(TurnSettings::default()).await.unwrap();
            turn.user_message(text).await.unwrap();
            turn.complete().await.unwrap();
        }
        drop(thread.begin_turn(TurnSettings::default()).await.unwrap());
        thread.compact("SUMMARY", vec![ResponseItem::user_text("SUMMARY")]).await.unwrap();
        manager.rewind(id(1), TurnBoundary::BeforeNewest(1)).await.unwrap();
        assert_eq!(thread.model_input().await.unwrap().len(), 1);
        drop(manager.begin(NewThread::in_dir("/srv").id(id(2))).await.unwrap());
        assert_eq!(manager.shutdown_all(Duration::from_secs(60)).await.closed, [id(1)]);
        assert_eq!(manager.open(id(1)).await.unwrap().id(), id(1));
    });
}

#[test]
fn a_store_over_files_says_that_it_needs_a_runtime() {
    for index in [IndexLocation::InHome, IndexLocation::Disabled] {
        let home = tempfile::tempdir().unwrap();
        let options = HomeOptions { index, durability: Durability::Synced };
        let store = LocalThreadStore::open_with(home.path(), options);
        let manager = ThreadManager::new(Arc::new(store.clone()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let thread = runtime.block_on(async {
            let thread = manager.start(paginated(1)).await.unwrap();
            thread.append(&turn(HistoryMode::Paginated, "one")).await.unwrap();
            thread
        });
        run(async {
            says_what_to_do(manager.start(paginated(2)).await);
            says_what_to_do(thread.append(&turn(HistoryMode::Paginated, "two")).await);
            says_what_to_do(thread.flush().await);
            says_what_to_do(store.append_items(id(1), BatchId::generate(), &[]).await);
            says_what_to_do(store.load_history(id(1)).await);
            says_what_to_do(store.read_lines(&LineQuery::from(id(1), LineStart::End)).await);
            says_what_to_do(store.export(id(1), &mut Vec::new()).await);
            // The index has a runtime of its own. So these may work; they must not panic.
            let _ = store.list_threads(&ThreadQuery::default()).await;
            let _ = store.search_threads(&SearchQuery::new("one")).await;
            let _ = store.read_thread(id(1)).await;
            let report = manager.shutdown_all(Duration::from_secs(60)).await;
            assert_eq!(report.failed.len(), 1, "{report:?}");
        });
        // What failed can be repeated where it works.
        runtime.block_on(async {
            thread.append(&turn(HistoryMode::Paginated, "two")).await.unwrap();
            thread.shutdown().await.unwrap();
            assert_eq!(store.load_history(id(1)).await.unwrap().lines.len(), 9);
        });
    }
}
