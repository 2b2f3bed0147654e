//! Windows as the log names them, and as the model is told of them.
#![expect(clippy::unwrap_used, reason = "a check is a test, though another function carries the attribute")]

use std::sync::Arc;

use selvedge_history::TokenBudget;
use selvedge_protocol::{
    ContextWindow, EventMsg, HistoryMode, ResponseItem, RolloutItem, SessionMeta, ThreadId, ThreadRolledBackEvent,
    WindowId,
};
use selvedge_thread_manager::{LiveThread, RewindTo};
use selvedge_thread_store::TurnBoundary;

use crate::support::{MODES, Place, complete, fork, id, message, start, started, turn, user_said};

async fn compact(thread: &Arc<LiveThread>) -> ContextWindow {
    thread.compact("summary", vec![ResponseItem::user_text("summary")]).await.unwrap()
}

/// A turn in which the history is compacted before the user speaks.
async fn compacted_turn(thread: &Arc<LiveThread>, name: &str) -> ContextWindow {
    thread.append(&[started(name)]).await.unwrap();
    let window = compact(thread).await;
    let mode = thread.mode();
    thread.append(&[message(name), user_said(mode, name, name), complete(name)]).await.unwrap();
    window
}

/// The windows that a thread's history names: those of heads, and those that compactions open.
async fn written(place: &Place, thread_id: ThreadId) -> (Vec<(ThreadId, Option<WindowId>)>, Vec<ContextWindow>) {
    let history = place.store().load_history(thread_id).await.unwrap();
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

async fn the_log_names_every_window(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        let first = thread.window().await.window_id.unwrap();
        let one = compacted_turn(&thread, "b").await;
        thread.shutdown().await.unwrap();
        let thread = place.manager().resume(id(n)).await.unwrap().live;
        let two = compacted_turn(&thread, "c").await;
        assert_eq!(written(&place, id(n)).await, (vec![(id(n), Some(first))], vec![one, two]));
        let chain = [one, two].map(|window| (window.number, window.first_window_id, window.previous_window_id));
        assert_eq!(chain, [(1, Some(first), Some(first)), (2, Some(first), one.window_id)]);
        let ids = [first, one.window_id.unwrap(), two.window_id.unwrap()];
        assert!(ids.into_iter().all(is_v7), "{ids:?}");
        assert!(ids.is_sorted_by(|earlier, later| earlier != later), "{ids:?}");
    }
}

/// Whatever does not reach behind the newest compaction leaves the window as it is, and its name in the log.
async fn a_window_outlasts_resume_rollback_and_revert(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let thread = start(&place.manager(), n, mode, &["a"]).await;
        let first = thread.window().await.window_id;
        let window = compacted_turn(&thread, "b").await;
        let budget = thread.token_budget(None).await;
        for name in ["c", "d", "e"] {
            thread.append(&turn(mode, name)).await.unwrap();
        }
        thread.shutdown().await.unwrap();
        // Undone while it is cold, and while it is live.
        let manager = place.manager();
        manager.rewind(id(n), RewindTo::Turns(1)).await.unwrap();
        let resumed = manager.resume(id(n)).await.unwrap();
        assert_eq!((resumed.context.window, resumed.live.window().await), (window, window));
        manager.rewind(id(n), RewindTo::Cut(TurnBoundary::After("b".into()))).await.unwrap();
        assert_eq!(resumed.live.window().await, window);
        assert_eq!(resumed.live.token_budget(None).await, budget);
        let next = compacted_turn(&resumed.live, "f").await;
        assert_eq!((next.number, next.first_window_id, next.previous_window_id), (2, first, window.window_id));
        let (heads, compactions) = written(&place, id(n)).await;
        assert!(heads.iter().all(|head| *head == (id(n), first)), "every segment begins with the first: {heads:?}");
        // Of three segments, the one that was left for good is no part of the history.
        assert_eq!(heads.len(), if mode == HistoryMode::Paginated { 2 } else { 1 }, "{heads:?}");
        assert_eq!(compactions, [window, next]);
    }
}

/// Behind the compaction the earlier window counts again, and a new one is opened in its turn; the one that was undone is
/// never used a second time.
async fn an_undone_window_does_not_come_back(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        let first = thread.window().await;
        let undone = compacted_turn(&thread, "b").await;
        thread.append(&turn(mode, "c")).await.unwrap();
        manager.rewind(id(n), RewindTo::Turns(2)).await.unwrap();
        assert_eq!(thread.window().await, first);
        thread.shutdown().await.unwrap();
        let resumed = place.manager().resume(id(n)).await.unwrap();
        assert_eq!(resumed.context.window, first);
        let again = compacted_turn(&resumed.live, "d").await;
        assert_eq!((again.number, again.previous_window_id), (undone.number, first.window_id));
        assert_ne!(again.window_id, undone.window_id);
    }
}

/// Forks of forks, each in a window of its own; what happens in one is nothing to the others.
async fn each_fork_counts_for_itself(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
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
            let (heads, _) = written(&place, thread.id()).await;
            assert!(heads.contains(&(thread.id(), window.window_id)), "{heads:?}");
            windows.push(window);
        }
        assert!(windows[0] != windows[1] && windows[1] != windows[2] && windows[0] != windows[2]);
        let opened = compacted_turn(&child, "b").await;
        assert_eq!((opened.number, opened.first_window_id), (1, windows[1].window_id));
        assert_eq!([thread.window().await, grandchild.window().await], [windows[0], windows[2]]);
        for thread in threads {
            let stored = place.store().load_model_context(thread.id()).await.unwrap().window;
            assert_eq!(stored, thread.window().await);
            let told = thread.token_budget(None).await;
            assert_eq!((told.thread_id, told.first_window_id), (thread.id(), stored.first_window_id));
        }
    }
}

async fn begins_anew(place: &Place, mode: HistoryMode) {
    let manager = place.manager();
    let thread = start(&manager, 1, mode, &["a"]).await;
    let source = compacted_turn(&thread, "b").await;
    fork(&manager, id(1), 2, TurnBoundary::Latest).await;
    let fork = manager.resume(id(2)).await.unwrap();
    let own = fork.live.window().await;
    assert_eq!((own, fork.context.window), (ContextWindow::first(own.window_id), own));
    assert_ne!(own.window_id, source.first_window_id);
    let opened = compacted_turn(&fork.live, "c").await;
    assert_eq!((opened.number, opened.first_window_id, opened.previous_window_id), (1, own.window_id, own.window_id));
    manager.rewind(id(2), RewindTo::Turns(1)).await.unwrap();
    assert_eq!(fork.live.window().await, own);
    fork.live.shutdown().await.unwrap();
    assert_eq!(manager.resume(id(2)).await.unwrap().context.window, own);
    assert_eq!(thread.window().await, source);
}

/// What was inherited is compacted; the windows of that are the source's.
async fn a_fork_of_a_compacted_thread_begins_anew(place: Place) {
    begins_anew(&place, HistoryMode::Paginated).await;
}

/// The same where the compaction was copied.
#[tokio::test]
async fn a_copied_fork_of_a_compacted_thread_begins_anew() {
    for place in [Place::memory(), Place::local()] {
        begins_anew(&place, HistoryMode::Legacy).await;
    }
}

/// An event that undoes turns of the source does not bring back the windows that those turns were in.
#[tokio::test]
async fn a_rollback_into_what_was_inherited_stays_in_the_own_window() {
    let mode = HistoryMode::Paginated;
    for place in [Place::memory(), Place::local()] {
        let manager = place.manager();
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

/// What the model reads says the same as the thread's state: with and without a previous window, and tokens left.
async fn what_the_model_reads_names_the_windows(place: Place) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = place.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        let first = thread.window().await.window_id.unwrap();
        for tokens_left in [None, Some(0), Some(u64::MAX)] {
            let item = thread.token_budget(tokens_left).await.to_item();
            thread.append(&[item.into()]).await.unwrap();
        }
        let second = compacted_turn(&thread, "b").await.window_id.unwrap();
        thread.append(&[thread.token_budget(Some(12)).await.to_item().into()]).await.unwrap();
        let history = place.store().load_history(id(n)).await.unwrap();
        let budgets = history.lines.iter().filter_map(|line| match line.item() {
            RolloutItem::ResponseItem(item) => TokenBudget::from_item(&item),
            _ => None,
        });
        let budget = |window_id, previous_window_id, tokens_left| TokenBudget {
            thread_id: id(n),
            first_window_id: Some(first),
            window_id: Some(window_id),
            previous_window_id,
            tokens_left,
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
    the_log_names_every_window, a_window_outlasts_resume_rollback_and_revert, an_undone_window_does_not_come_back,
    each_fork_counts_for_itself, a_fork_of_a_compacted_thread_begins_anew, what_the_model_reads_names_the_windows,
}

/// A window that a thread is started with is the one that its log begins with.
#[tokio::test]
async fn a_head_has_the_window_of_its_thread() {
    let place = Place::local();
    let mine = WindowId::new(selvedge_protocol::Timestamp::from_seconds(1_795_252_000));
    let mut meta: SessionMeta = crate::support::paginated(1);
    meta.context_window.get_or_insert_default().window_id = Some(mine);
    let thread = place.manager().start(meta).await.unwrap();
    thread.append(&turn(HistoryMode::Paginated, "a")).await.unwrap();
    assert_eq!(written(&place, id(1)).await.0, [(id(1), Some(mine))]);
    assert_eq!(thread.window().await, ContextWindow::first(Some(mine)));
}
