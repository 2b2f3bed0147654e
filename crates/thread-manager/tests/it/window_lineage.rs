//! Context windows: the ids in the log, and the ids in the message to the model.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::sync::Arc;

use selvedge_history::TokenBudget;
use selvedge_protocol::{
    ContextWindow, EventMsg, HistoryMode, ResponseItem, RolloutItem, SessionMeta, ThreadId, ThreadRolledBackEvent,
    TurnBoundary, WindowId,
};
use selvedge_thread_manager::LiveThread;

use crate::support::{MODES, TestStores, complete, fork, id, message, start, started, turn, user_message};

async fn compact(thread: &Arc<LiveThread>) -> ContextWindow {
    thread.compact("summary", vec![ResponseItem::user_text("summary")]).await.unwrap()
}

/// Records a turn in which the history is compacted before the user message.
async fn compacted_turn(thread: &Arc<LiveThread>, name: &str) -> ContextWindow {
    thread.append(&[started(name)]).await.unwrap();
    let window = compact(thread).await;
    let mode = thread.mode();
    thread.append(&[message(name), user_message(mode, name, name), complete(name)]).await.unwrap();
    window
}

/// Returns the windows that a history names: those of its heads, and those that compactions open.
async fn written(stores: &TestStores, thread_id: ThreadId) -> (Vec<(ThreadId, Option<WindowId>)>, Vec<ContextWindow>) {
    let history = stores.store().load_history(thread_id).await.unwrap();
    let (mut heads, mut compactions) = (Vec::new(), Vec::new());
    for line in &history.lines {
        match line.item() {
            RolloutItem::SessionMeta(head) => heads.push((head.id.unwrap(), head.window_id())),
            RolloutItem::Compacted(compacted) => compactions.push(ContextWindow {
                number: compacted.window_number.unwrap(),
                first_window_id: compacted.first_window_id,
                previous_window_id: compacted.previous_window_id,
                window_id: compacted.window_id,
            }),
            _ => {}
        }
    }
    (heads, compactions)
}

fn is_v7(id: WindowId) -> bool {
    let text = id.to_string();
    text.len() == 36 && text.as_bytes()[14] == b'7' && b"89ab".contains(&text.as_bytes()[19])
}

async fn the_log_names_every_window(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        let first = thread.window().await.window_id.unwrap();
        let one = compacted_turn(&thread, "b").await;
        thread.shutdown().await.unwrap();
        let thread = stores.manager().resume(id(n)).await.unwrap().live;
        let two = compacted_turn(&thread, "c").await;
        assert_eq!(written(&stores, id(n)).await, (vec![(id(n), Some(first))], vec![one, two]));
        let chain = [one, two].map(|window| (window.number, window.first_window_id, window.previous_window_id));
        assert_eq!(chain, [(1, Some(first), Some(first)), (2, Some(first), one.window_id)]);
        let ids = [first, one.window_id.unwrap(), two.window_id.unwrap()];
        assert!(ids.into_iter().all(is_v7), "{ids:?}");
        assert!(ids.is_sorted_by(|earlier, later| earlier != later), "{ids:?}");
    }
}

/// A rewind that stays after the newest compaction changes neither the window nor its name in the log.
async fn a_window_outlasts_resume_rollback_and_revert(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let thread = start(&stores.manager(), n, mode, &["a"]).await;
        let first = thread.window().await.window_id;
        let window = compacted_turn(&thread, "b").await;
        let budget = thread.token_budget(None).await;
        for name in ["c", "d", "e"] {
            thread.append(&turn(mode, name)).await.unwrap();
        }
        thread.shutdown().await.unwrap();
        // The first rewind is of a cold thread, the second one of a live thread.
        let manager = stores.manager();
        manager.rewind(id(n), TurnBoundary::BeforeNewest(1)).await.unwrap();
        let resumed = manager.resume(id(n)).await.unwrap();
        assert_eq!((resumed.context.window, resumed.live.window().await), (window, window));
        manager.rewind(id(n), TurnBoundary::After("b".into())).await.unwrap();
        assert_eq!(resumed.live.window().await, window);
        assert_eq!(resumed.live.token_budget(None).await, budget);
        let next = compacted_turn(&resumed.live, "f").await;
        assert_eq!((next.number, next.first_window_id, next.previous_window_id), (2, first, window.window_id));
        let (heads, compactions) = written(&stores, id(n)).await;
        assert!(heads.iter().all(|head| *head == (id(n), first)), "every segment begins with the first: {heads:?}");
        // Of three segments, the abandoned one is not part of the history.
        assert_eq!(heads.len(), if mode == HistoryMode::Paginated { 2 } else { 1 }, "{heads:?}");
        assert_eq!(compactions, [window, next]);
    }
}

/// When a rewind undoes a compaction, the window before it is the current one again. The next compaction opens a new
/// window; the undone window is never used again.
async fn an_undone_window_is_not_used_again(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        let first = thread.window().await;
        let undone = compacted_turn(&thread, "b").await;
        thread.append(&turn(mode, "c")).await.unwrap();
        manager.rewind(id(n), TurnBoundary::BeforeNewest(2)).await.unwrap();
        assert_eq!(thread.window().await, first);
        thread.shutdown().await.unwrap();
        let resumed = stores.manager().resume(id(n)).await.unwrap();
        assert_eq!(resumed.context.window, first);
        let again = compacted_turn(&resumed.live, "d").await;
        assert_eq!((again.number, again.previous_window_id), (undone.number, first.window_id));
        assert_ne!(again.window_id, undone.window_id);
    }
}

/// Forks of forks, each with a window of its own. A compaction in one does not affect the others.
async fn each_fork_has_windows_of_its_own(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        fork(&manager, id(n), n + 10, TurnBoundary::Latest).await;
        let child = manager.resume(id(n + 10)).await.unwrap().live;
        fork(&manager, id(n + 10), n + 20, TurnBoundary::Before("a".into())).await;
        let grandchild = manager.resume(id(n + 20)).await.unwrap().live;
        let threads = [&thread, &child, &grandchild];
        let mut windows = Vec::new();
        for thread in threads {
            let window = thread.window().await;
            assert_eq!(window, ContextWindow::first(window.window_id));
            assert!(is_v7(window.window_id.unwrap()));
            let (heads, _) = written(&stores, thread.id()).await;
            assert!(heads.contains(&(thread.id(), window.window_id)), "{heads:?}");
            windows.push(window);
        }
        assert!(windows[0] != windows[1] && windows[1] != windows[2] && windows[0] != windows[2]);
        let opened = compacted_turn(&child, "b").await;
        assert_eq!((opened.number, opened.first_window_id), (1, windows[1].window_id));
        assert_eq!([thread.window().await, grandchild.window().await], [windows[0], windows[2]]);
        for thread in threads {
            let stored = stores.store().load_model_context(thread.id()).await.unwrap().window;
            assert_eq!(stored, thread.window().await);
            let told = thread.token_budget(None).await;
            assert_eq!((told.thread_id, told.first_window_id), (Some(thread.id()), stored.first_window_id));
        }
    }
}

async fn begins_with_a_new_window(stores: &TestStores, mode: HistoryMode) {
    let manager = stores.manager();
    let thread = start(&manager, 1, mode, &["a"]).await;
    let source = compacted_turn(&thread, "b").await;
    fork(&manager, id(1), 2, TurnBoundary::Latest).await;
    let fork = manager.resume(id(2)).await.unwrap();
    let own = fork.live.window().await;
    assert_eq!((own, fork.context.window), (ContextWindow::first(own.window_id), own));
    assert_ne!(own.window_id, source.first_window_id);
    let opened = compacted_turn(&fork.live, "c").await;
    assert_eq!((opened.number, opened.first_window_id, opened.previous_window_id), (1, own.window_id, own.window_id));
    manager.rewind(id(2), TurnBoundary::BeforeNewest(1)).await.unwrap();
    assert_eq!(fork.live.window().await, own);
    fork.live.shutdown().await.unwrap();
    assert_eq!(manager.resume(id(2)).await.unwrap().context.window, own);
    assert_eq!(thread.window().await, source);
}

/// The inherited history is compacted. Its windows belong to the source.
async fn a_fork_of_a_compacted_thread_begins_with_a_new_window(stores: TestStores) {
    begins_with_a_new_window(&stores, HistoryMode::Paginated).await;
}

/// The same for a legacy fork, which copies the compaction.
#[tokio::test]
async fn a_copied_fork_of_a_compacted_thread_begins_with_a_new_window() {
    for stores in [TestStores::memory(), TestStores::local()] {
        begins_with_a_new_window(&stores, HistoryMode::Legacy).await;
    }
}

/// An event that undoes inherited turns does not bring back the windows of those turns.
#[tokio::test]
async fn a_rollback_of_inherited_turns_keeps_the_window_of_the_fork() {
    let mode = HistoryMode::Paginated;
    for stores in [TestStores::memory(), TestStores::local()] {
        let manager = stores.manager();
        let thread = start(&manager, 1, mode, &["a"]).await;
        compacted_turn(&thread, "b").await;
        thread.append(&turn(mode, "c")).await.unwrap();
        fork(&manager, id(1), 2, TurnBoundary::Latest).await;
        let fork = manager.resume(id(2)).await.unwrap().live;
        let own = ContextWindow::first(fork.window().await.window_id);
        for name in ["d", "e"] {
            fork.append(&turn(mode, name)).await.unwrap();
        }
        for undone in 1..=4 {
            let event = ThreadRolledBackEvent { num_turns: Some(1), ..Default::default() };
            fork.append(&[EventMsg::from(event).into()]).await.unwrap();
            assert_eq!(fork.window().await, own, "{undone} turns undone");
        }
    }
}

/// The message to the model agrees with the state of the thread: with and without a previous window and a number of
/// tokens left.
async fn the_token_budget_names_the_windows(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        let first = thread.window().await.window_id.unwrap();
        for tokens_left in [None, Some(0), Some(u64::MAX)] {
            let item = thread.token_budget(tokens_left).await.to_item();
            thread.append(&[item.into()]).await.unwrap();
        }
        let second = compacted_turn(&thread, "b").await.window_id.unwrap();
        thread.append(&[thread.token_budget(Some(12)).await.to_item().into()]).await.unwrap();
        let history = stores.store().load_history(id(n)).await.unwrap();
        let budgets = history.lines.iter().filter_map(|line| match line.item() {
            RolloutItem::ResponseItem(item) => TokenBudget::from_item(&item),
            _ => None,
        });
        let budget = |window_id, previous_window_id, tokens_left| TokenBudget {
            thread_id: Some(id(n)),
            first_window_id: Some(first),
            window_id: Some(window_id),
            previous_window_id,
            tokens_left,
            ..TokenBudget::default()
        };
        let expected = [
            budget(first, None, None),
            budget(first, None, Some(0)),
            budget(first, None, Some(u64::MAX)),
            budget(second, Some(first), Some(12)),
        ];
        assert_eq!(budgets.collect::<Vec<_>>(), expected);
    }
}

crate::over_both_stores! {
    the_log_names_every_window, a_window_outlasts_resume_rollback_and_revert, an_undone_window_is_not_used_again,
    each_fork_has_windows_of_its_own, a_fork_of_a_compacted_thread_begins_with_a_new_window,
    the_token_budget_names_the_windows,
}

/// The log begins with the window with which the thread was started.
#[tokio::test]
async fn a_head_has_the_window_of_its_thread() {
    let stores = TestStores::local();
    let mine = WindowId::new(selvedge_protocol::Timestamp::from_seconds(1_795_252_000));
    let mut meta: SessionMeta = crate::support::paginated(1);
    meta.context_window.get_or_insert_default().window_id = Some(mine);
    let thread = stores.manager().start(meta).await.unwrap();
    thread.append(&turn(HistoryMode::Paginated, "a")).await.unwrap();
    assert_eq!(written(&stores, id(1)).await.0, [(id(1), Some(mine))]);
    assert_eq!(thread.window().await, ContextWindow::first(Some(mine)));
}
