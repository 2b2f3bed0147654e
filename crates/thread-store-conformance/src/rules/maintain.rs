//! The rule about maintenance.

use std::sync::Arc;

use selvedge_protocol::Timestamp;
use selvedge_thread_store::{MaintenanceProgress, MaintenanceRequest, StoreError, ThreadStore};

use crate::fixtures::{MODES, continue_thread, id, record, shown_prompts};

pub(super) async fn changes_no_answer(store: Arc<dyn ThreadStore>) {
    // Compares all histories before and after maintenance. One thread is live meanwhile, and the others are continued afterwards.
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a", "b"]).await;
    }
    record(&*store, 3, MODES[1], &["live"]).await;
    store.resume_thread(id(3)).await.unwrap();
    let before = [1, 2, 3].map(|n| store.load_history(id(n)));
    let before = await_all(before).await;
    // No thread is this old.
    let no_thread = MaintenanceRequest { updated_before: Timestamp::from_millis(0) };
    assert!(store.maintain(&no_thread, &mut |_| {}).await.unwrap().is_nothing());

    let every_thread = MaintenanceRequest { updated_before: Timestamp::from_millis(i64::MAX / 2) };
    let mut reported: Vec<MaintenanceProgress> = Vec::new();
    let report = store.maintain(&every_thread, &mut |progress| reported.push(progress)).await.unwrap();
    assert!(
        report
            .left
            .iter()
            .all(|(thread_id, error)| { *thread_id == id(3) && matches!(error, StoreError::Conflict { .. }) })
    );
    let last = reported.last().unwrap();
    assert_eq!((last.threads_done, last.bytes_done), (last.threads, last.bytes), "the last progress reports the end");
    assert!(reported.is_sorted_by_key(|progress| progress.threads_done));
    assert_eq!(await_all([1, 2, 3].map(|n| store.load_history(id(n)))).await, before);
    assert!(
        report.is_nothing() || store.maintain(&every_thread, &mut |_| {}).await.unwrap().threads == 0,
        "a second run has nothing to do"
    );

    for (n, mode) in (1..).zip(MODES) {
        continue_thread(&*store, id(n), mode, &["c"]).await;
        assert_eq!(shown_prompts(&*store, id(n)).await, ["a", "b", "c"]);
    }
    store.shutdown_thread(id(3)).await.unwrap();
    assert_eq!(shown_prompts(&*store, id(3)).await, ["live"]);
}

async fn await_all<T>(calls: [impl Future<Output = selvedge_thread_store::Result<T>>; 3]) -> Vec<T> {
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}
