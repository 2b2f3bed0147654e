//! Rules about the recovery that an error advises: retry later, give up, or start over.

use std::sync::Arc;

use selvedge_protocol::{Cursor, HistoryMode, ItemQuery, SessionMeta, ThreadQuery, TurnBoundary};
use selvedge_thread_store::{
    BatchId, ForkThread, LineQuery, LineStart, Recovery, Result, RevertThread, StoreError, ThreadStore,
};

use crate::fixtures::{head, id, record, shown_prompts, turn, turn_id};
use crate::{NotApplicable, StorePlace};

const MODE: HistoryMode = HistoryMode::Paginated;

fn error<T>(outcome: Result<T>) -> StoreError {
    outcome.err().expect("this call must fail")
}

pub(super) async fn retry_later(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    record(&*store, 1, MODE, &["a"]).await;
    store.resume_thread(id(1)).await.unwrap();
    for _ in 0..2 {
        let conflicts = [
            error(other.resume_thread(id(1)).await),
            error(other.archive_thread(id(1)).await),
            error(other.detach_thread(id(1)).await),
            error(other.delete_thread(id(1)).await),
        ];
        for conflict in conflicts {
            assert!(matches!(conflict, StoreError::Conflict { .. }), "{conflict:?}");
            assert_eq!(conflict.recovery(), Recovery::RetryLater);
        }
    }
    store.shutdown_thread(id(1)).await.unwrap();
    other.resume_thread(id(1)).await.expect("the thread is free now");
    other.append_items(id(1), BatchId::generate(), &turn(MODE, "b")).await.unwrap();
    other.shutdown_thread(id(1)).await.unwrap();
    assert_eq!(shown_prompts(&*other, id(1)).await, ["a", "b"]);
}

pub(super) async fn give_up(store: Arc<dyn ThreadStore>) {
    // Makes each hopeless call twice.
    let source = record(&*store, 1, MODE, &["a", "b"]).await;
    let fork = ForkThread { source, at: TurnBoundary::Latest, meta: head(2, MODE) };
    store.fork_thread(fork.clone()).await.unwrap();
    let before = store.load_history(source).await.unwrap();
    let unknown = TurnBoundary::After(turn_id("z"));
    let revert = RevertThread { thread_id: source, to: unknown, batch: BatchId::generate() };
    for _ in 0..2 {
        let errors = [
            ("not found", error(store.read_thread(id(9)).await)),
            ("not live", error(store.append_items(source, BatchId::generate(), &turn(MODE, "c")).await)),
            ("turn", error(store.revert_thread(revert.clone()).await)),
            (
                "turn of items",
                error(store.list_items(&ItemQuery { turn: Some(turn_id("z").into()), ..ItemQuery::all(source) }).await),
            ),
            ("taken by a fork", error(store.fork_thread(fork.clone()).await)),
            ("taken", error(store.create_thread(head(1, MODE)).await)),
            ("no id", error(store.create_thread(SessionMeta { id: None, ..head(3, MODE) }).await)),
            ("no room", error(store.list_threads(&ThreadQuery { limit: 0, ..ThreadQuery::default() }).await)),
            ("dependents", error(store.delete_thread(source).await)),
        ];
        for (what, error) in errors {
            assert_eq!(error.recovery(), Recovery::GiveUp, "{what}: {error:?}");
        }
    }
    assert_eq!(store.load_history(source).await.unwrap(), before);
}

pub(super) async fn start_over_without_a_cursor(store: Arc<dyn ThreadStore>) {
    record(&*store, 1, MODE, &["a"]).await;
    // The cursor is well formed, but no store issued it.
    let foreign: Cursor = format!("v1.{}.1", id(1).as_uuid().simple()).into();
    let expired = error(store.list_changes(Some(&foreign), 10).await);
    assert_eq!(expired.recovery(), Recovery::StartOver, "{expired:?}");
    assert_eq!(store.list_changes(None, 10).await.unwrap().changes.len(), 1, "a call without a cursor succeeds");
}

pub(super) async fn start_over_at_a_valid_position(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    // The line before a position is overwritten without the knowledge of the store.
    let store = place.open_host().await;
    let thread_id = record(&*store, 1, MODE, &["a", "b"]).await;
    let lines = LineQuery { max_lines: 4, ..LineQuery::from(thread_id, LineStart::Beginning) };
    let page = store.read_lines(&lines).await.unwrap();
    let last = page.entries.last().unwrap();
    place.damage(thread_id, &last.at, &vec![b'x'; last.bytes.len() - 1]).await?;
    let gone = error(store.read_lines(&LineQuery::from(thread_id, LineStart::At(page.next))).await);
    assert!(matches!(gone, StoreError::PositionGone { .. }), "{gone:?}");
    assert_eq!(gone.recovery(), Recovery::StartOver);
    store.read_lines(&lines).await.expect("a read from the beginning succeeds");
    store
        .read_lines(&LineQuery::from(thread_id, LineStart::At(last.at.clone())))
        .await
        .expect("the position before the damage is valid");
    Ok(())
}
