//! Handles that give up their writer while they are idle.

use std::time::Duration;

use selvedge_protocol::{HistoryMode, ResponseItem, TurnBoundary};
use selvedge_thread_manager::{LiveThread, ThreadManager, TurnSettings};

use crate::support::{MODES, TestStores, eventually, head, id, is_conflict, model_prompts, paginated, start, turn};

const TIMEOUT: Duration = Duration::from_millis(30);

/// Waits until another process can claim the thread, and claims it.
async fn claimed_by(other: &ThreadManager) -> std::sync::Arc<LiveThread> {
    eventually(async || other.open(id(1)).await.ok()).await
}

#[tokio::test]
async fn an_idle_thread_gives_up_its_writer_and_the_next_call_claims_it_again() {
    for (mode, stores) in MODES.into_iter().flat_map(|mode| [(mode, TestStores::memory()), (mode, TestStores::local())])
    {
        let manager = stores.manager().with_idle_timeout(TIMEOUT);
        let thread = start(&manager, 1, mode, &["one"]).await;
        let peer = stores.manager();
        let theirs = claimed_by(&peer).await;
        assert!(manager.live(id(1)).is_some(), "the handle stays");
        theirs.append(&turn(mode, "two")).await.unwrap();
        theirs.compact("SUMMARY", vec![ResponseItem::user_text("SUMMARY")]).await.unwrap();

        // A reader needs no writer.
        assert_eq!(thread.model_input().await.unwrap().len(), 1);
        assert_eq!(thread.window().await.number, 1);
        thread.flush().await.unwrap();
        assert!(is_conflict(&thread.append(&turn(mode, "three")).await), "{mode:?}");
        assert!(is_conflict(&manager.open(id(1)).await));
        theirs.shutdown().await.unwrap();

        let again = manager.open(id(1)).await.unwrap();
        assert!(std::sync::Arc::ptr_eq(&again, &thread));
        thread.append(&turn(mode, "three")).await.unwrap();
        assert_eq!(model_prompts(&*stores.store(), id(1)).await, ["SUMMARY", "three"], "{mode:?}");

        claimed_by(&peer).await.shutdown().await.unwrap();
        assert_eq!(manager.resume(id(1)).await.unwrap().context.history.len(), 2);
        claimed_by(&peer).await.shutdown().await.unwrap();
        assert_eq!(manager.rewind(id(1), TurnBoundary::BeforeNewest(1)).await.unwrap(), 1);
        claimed_by(&peer).await.shutdown().await.unwrap();
        assert_eq!(manager.shutdown_all(Duration::from_secs(60)).await.closed, [id(1)]);
    }
}

#[tokio::test]
async fn neither_an_open_turn_nor_a_thread_without_a_log_is_given_up() {
    let stores = TestStores::local();
    let manager = stores.manager().with_idle_timeout(TIMEOUT);
    let lazy = manager.start(paginated(2)).await.unwrap();
    let thread = manager.start(head(1, HistoryMode::Paginated)).await.unwrap();
    let turn = thread.begin_turn(TurnSettings::default()).await.unwrap();
    turn.user_message("one").await.unwrap();
    tokio::time::sleep(10 * TIMEOUT).await;
    let peer = stores.manager();
    assert!(is_conflict(&peer.open(id(1)).await));
    turn.complete().await.unwrap();
    claimed_by(&peer).await.shutdown().await.unwrap();
    lazy.append(&crate::support::turn(HistoryMode::Paginated, "late")).await.unwrap();
}

#[tokio::test]
async fn by_default_no_thread_is_given_up() {
    let stores = TestStores::local();
    let _thread = start(&stores.manager(), 1, HistoryMode::Paginated, &["one"]).await;
    tokio::time::sleep(10 * TIMEOUT).await;
    assert!(is_conflict(&stores.manager().open(id(1)).await));
}

#[tokio::test]
async fn a_live_thread_keeps_no_history_in_memory() {
    let stores = TestStores::local();
    let thread = start(&stores.manager(), 1, HistoryMode::Paginated, &["one"]).await;
    let turn = thread.begin_turn(TurnSettings::default()).await.unwrap();
    for _ in 0..1000 {
        turn.agent_message("x".repeat(1000)).await.unwrap();
    }
    turn.complete().await.unwrap();
    assert_eq!(thread.model_input().await.unwrap().len(), 1001);
    // `Debug` shows every field of the handle, of its state and of the store. Some keep the newest batches and the last bytes.
    let held = format!("{thread:?}");
    assert!(held.contains("LiveState") && held.contains("LiveClaim"), "{held}");
    assert!(held.len() < 200_000, "{} of 1 MB", held.len());
}
