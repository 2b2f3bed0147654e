//! Housekeeping.

use std::sync::Arc;

use selvedge_protocol::Timestamp;
use selvedge_thread_store::{MaintenanceProgress, MaintenanceRequest, StoreError, ThreadStore};

use crate::fixtures::{MODES, asked, go_on, id, record};

/// Readers are told the same before and after, writers go on, and who writes is left alone.
pub(super) async fn keeps_what_is_told(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a", "b"]).await;
    }
    record(&*store, 3, MODES[1], &["live"]).await;
    store.resume_thread(id(3)).await.unwrap();
    let before = [1, 2, 3].map(|n| store.load_history(id(n)));
    let before = futures(before).await;
    let nobody = MaintenanceRequest { updated_before: Timestamp::from_millis(0) };
    assert!(store.maintain(&nobody, &mut |_| {}).await.unwrap().is_nothing());

    let everybody = MaintenanceRequest { updated_before: Timestamp::from_millis(i64::MAX / 2) };
    let mut told: Vec<MaintenanceProgress> = Vec::new();
    let report = store.maintain(&everybody, &mut |progress| told.push(progress)).await.unwrap();
    assert!(
        report
            .left
            .iter()
            .all(|(thread_id, error)| { *thread_id == id(3) && matches!(error, StoreError::Conflict { .. }) })
    );
    let last = told.last().unwrap();
    assert_eq!((last.threads_done, last.bytes_done), (last.threads, last.bytes), "the end is told");
    assert!(told.is_sorted_by_key(|progress| progress.threads_done));
    assert_eq!(futures([1, 2, 3].map(|n| store.load_history(id(n)))).await, before);
    assert!(
        report.is_nothing() || store.maintain(&everybody, &mut |_| {}).await.unwrap().threads == 0,
        "once is enough"
    );

    for (n, mode) in (1..).zip(MODES) {
        go_on(&*store, id(n), mode, &["c"]).await;
        assert_eq!(asked(&*store, id(n)).await, ["a", "b", "c"]);
    }
    store.shutdown_thread(id(3)).await.unwrap();
    assert_eq!(asked(&*store, id(3)).await, ["live"]);
}

async fn futures<T>(calls: [impl Future<Output = selvedge_thread_store::Result<T>>; 3]) -> Vec<T> {
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers
}
