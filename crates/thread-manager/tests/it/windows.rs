//! Context windows in everything that can happen to a thread.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::sync::Arc;

use selvedge_history::TokenBudget;
use selvedge_protocol::{
    Compacted, ContextWindow, ContextWindowMeta, HistoryMode, ResponseItem, SessionMeta, ThreadId, TurnBoundary,
    WindowId,
};
use selvedge_thread_manager::LiveThread;

use crate::support::{MODES, TestStores, fork, id, paginated, start, turn};

async fn compact(thread: &Arc<LiveThread>) -> ContextWindow {
    thread.compact("summary", vec![ResponseItem::user_text("summary")]).await.unwrap()
}

async fn of_store(stores: &TestStores, thread_id: ThreadId) -> ContextWindow {
    stores.store().load_model_context(thread_id).await.unwrap().window
}

async fn a_new_thread_gets_a_window(stores: TestStores) {
    let manager = stores.manager();
    let thread = start(&manager, 1, HistoryMode::Paginated, &[]).await;
    let window = thread.window().await;
    assert!(window.window_id.is_some());
    assert_eq!(window, ContextWindow::first(window.window_id));
    assert_eq!(window, of_store(&stores, id(1)).await);
}

async fn a_window_in_the_head_is_kept(stores: TestStores) {
    let mine = WindowId::new(paginated(1).timestamp.unwrap());
    let window = ContextWindowMeta { window_id: Some(mine), ..Default::default() };
    let meta = SessionMeta { context_window: Some(window), ..paginated(1) };
    let manager = stores.manager();
    let thread = manager.start(meta).await.unwrap();
    assert_eq!(thread.window().await.window_id, Some(mine));
}

async fn each_compaction_opens_a_window(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        let first = thread.window().await;
        let second = compact(&thread).await;
        let third = compact(&thread).await;
        assert_eq!((first.number, second.number, third.number), (0, 1, 2));
        assert_eq!((second.first_window_id, third.first_window_id), (first.window_id, first.window_id));
        assert_eq!((second.previous_window_id, third.previous_window_id), (first.window_id, second.window_id));
        assert!(second.window_id != first.window_id && third.window_id != second.window_id);
        assert_eq!(thread.window().await, third);
        assert_eq!(of_store(&stores, id(n)).await, third);
    }
}

async fn a_compaction_without_a_window_counts_as_in_the_log(stores: TestStores) {
    let manager = stores.manager();
    let thread = start(&manager, 1, HistoryMode::Legacy, &["a"]).await;
    let bare = Compacted { message: Some("summary".to_owned()), ..Default::default() };
    thread.append(&[bare.clone().into()]).await.unwrap();
    assert_eq!(thread.window().await, ContextWindow { number: 1, ..Default::default() });
    let numbered = compact(&thread).await;
    thread.append(&[bare.into()]).await.unwrap();
    assert_eq!(thread.window().await, numbered, "the newest that names one");
    assert_eq!(of_store(&stores, id(1)).await, numbered);
}

async fn a_resumed_thread_continues_in_its_window(stores: TestStores) {
    let thread = start(&stores.manager(), 1, HistoryMode::Paginated, &["a"]).await;
    let second = compact(&thread).await;
    thread.shutdown().await.unwrap();
    let resumed = stores.manager().resume(id(1)).await.unwrap();
    assert_eq!((resumed.context.window, resumed.live.window().await), (second, second));
    let third = compact(&resumed.live).await;
    assert_eq!((third.number, third.previous_window_id), (2, second.window_id));
}

async fn a_rewind_goes_back_to_the_earlier_window(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        let first = thread.window().await;
        let mut items = turn(mode, "b");
        let end = items.pop().unwrap();
        thread.append(&items).await.unwrap();
        compact(&thread).await;
        thread.append(&[end]).await.unwrap();
        manager.rewind(id(n), TurnBoundary::BeforeNewest(1)).await.unwrap();
        assert_eq!(thread.window().await, first);
        let again = compact(&thread).await;
        assert_eq!((again.number, again.previous_window_id), (1, first.window_id));
        assert_eq!(of_store(&stores, id(n)).await, again);
    }
}

async fn a_fork_has_windows_of_its_own(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        let source = thread.window().await;
        fork(&manager, id(n), n + 10, TurnBoundary::Latest).await;
        let fork = manager.resume(id(n + 10)).await.unwrap().live;
        let own = fork.window().await;
        assert_eq!(own, ContextWindow::first(own.window_id));
        assert!(own.window_id.is_some() && own.window_id != source.window_id);
        compact(&fork).await;
        assert_eq!((fork.window().await.number, thread.window().await), (1, source));
    }
}

/// The model is told the same windows before and after a resume.
async fn the_model_is_told_the_window_it_is_in(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a", "b"]).await;
        let first = thread.token_budget(None).await;
        let window = thread.window().await.window_id;
        assert_eq!((first.thread_id, first.tokens_left), (Some(id(n)), None));
        assert_eq!((first.first_window_id, first.window_id, first.previous_window_id), (window, window, None));
        let second = compact(&thread).await;
        let told = thread.token_budget(Some(500)).await;
        assert_eq!(told, TokenBudget::new(id(n), &second, Some(500)));
        assert_eq!((told.first_window_id, told.previous_window_id), (window, window));
        thread.append(&[told.to_item().into()]).await.unwrap();
        thread.shutdown().await.unwrap();
        let resumed = stores.manager().resume(id(n)).await.unwrap();
        assert_eq!(resumed.live.token_budget(Some(500)).await, told);
        let model_prompts: Vec<_> = resumed.context.history.iter().filter_map(TokenBudget::from_item).collect();
        assert_eq!(model_prompts, [told]);
        resumed.live.shutdown().await.unwrap();
    }
}

crate::over_both_stores! {
    a_new_thread_gets_a_window, a_window_in_the_head_is_kept, each_compaction_opens_a_window,
    a_compaction_without_a_window_counts_as_in_the_log, a_resumed_thread_continues_in_its_window,
    a_rewind_goes_back_to_the_earlier_window, a_fork_has_windows_of_its_own, the_model_is_told_the_window_it_is_in,
}
