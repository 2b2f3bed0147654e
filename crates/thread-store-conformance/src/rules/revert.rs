//! Rules about reverts.
//!
//! A revert of a paginated thread begins a new segment, whose base ends at the boundary. A revert of a legacy thread appends an
//! event that counts undone user messages. The rules check the same results for both.

use std::sync::Arc;

use selvedge_protocol::{
    GitInfoPatch, HistoryMode, RolloutItem, StoredThread, ThreadId, ThreadMetadataPatch, TurnBoundary,
};
use selvedge_thread_store::{BatchId, MetadataOrigin, RevertThread, StoreError, ThreadStore};

use crate::fixtures::{
    MODES, all_turns, assert_consecutive_ordinals, complete, continue_thread, head, id, is_conflict, is_invalid,
    is_missing, line_texts, model_prompts, record, second, shown_prompts, started, turn, turn_id, user,
};
use crate::rules::fork::fork;

/// Reverts a thread and returns its record. Asserts that the call returns the number of undone turns.
async fn revert(store: &dyn ThreadStore, thread_id: ThreadId, to: TurnBoundary) -> StoredThread {
    let before = all_turns(store, thread_id).await.len();
    let undone = store.revert_thread(RevertThread { thread_id, to, batch: BatchId::generate() }).await.unwrap();
    assert_eq!(all_turns(store, thread_id).await.len(), before - undone, "the returned number of undone turns");
    store.read_thread(thread_id).await.unwrap()
}

fn after(turn: &str) -> TurnBoundary {
    TurnBoundary::After(turn_id(turn))
}

fn before(turn: &str) -> TurnBoundary {
    TurnBoundary::Before(turn_id(turn))
}

async fn assert_turns(store: &dyn ThreadStore, thread_id: ThreadId, turns: &[&str]) {
    assert_eq!(shown_prompts(store, thread_id).await, turns, "shown to clients");
    assert_eq!(model_prompts(store, thread_id).await, turns, "sent to the model");
    let history = store.load_history(thread_id).await.unwrap();
    if history.mode == HistoryMode::Paginated {
        assert_consecutive_ordinals(&history);
    }
}

pub(super) async fn after_and_before(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let cases: [(TurnBoundary, &[&str]); 9] = [
            (TurnBoundary::BeforeNewest(0), &["a", "b", "c"]),
            (TurnBoundary::BeforeNewest(1), &["a", "b"]),
            (TurnBoundary::BeforeNewest(3), &[]),
            // More turns than the thread has.
            (TurnBoundary::BeforeNewest(u64::MAX), &[]),
            (after("c"), &["a", "b", "c"]),
            (before("c"), &["a", "b"]),
            (after("b"), &["a", "b"]),
            (after("a"), &["a"]),
            (before("b"), &["a"]),
        ];
        for (number, (to, turns)) in (n * 100..).zip(cases) {
            let thread = record(&*store, number, mode, &["a", "b", "c"]).await;
            let whole = store.load_history(thread).await.unwrap();
            let was = store.read_thread(thread).await.unwrap();
            let record = revert(&*store, thread, to).await;
            assert_eq!(record.created_at, was.created_at);
            // The preview is the first user message. A legacy log still contains it after a revert to before the first turn.
            assert_eq!(record.preview, was.preview.filter(|_| mode == HistoryMode::Legacy || !turns.is_empty()));
            assert_turns(&*store, thread, turns).await;
            let history = store.load_history(thread).await.unwrap();
            if mode == HistoryMode::Legacy {
                assert_eq!(
                    line_texts(&history)[..whole.lines.len()],
                    line_texts(&whole)[..],
                    "a legacy log keeps all lines"
                );
            }
            // The thread continues after a revert, and can be reverted again to the same boundary.
            continue_thread(&*store, thread, mode, &["d"]).await;
            assert_turns(&*store, thread, &[turns, &["d"]].concat()).await;
            revert(&*store, thread, before("d")).await;
            assert_turns(&*store, thread, turns).await;
        }
    }
}

pub(super) async fn to_latest(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let thread = record(&*store, n, mode, &["a", "b"]).await;
        let was = (store.load_history(thread).await.unwrap(), store.read_thread(thread).await.unwrap());
        for to in [TurnBoundary::Latest, after("b")] {
            revert(&*store, thread, to).await;
            let is = (store.load_history(thread).await.unwrap(), store.read_thread(thread).await.unwrap());
            assert_eq!(was, is);
        }
    }
}

pub(super) async fn before_the_first_turn(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let thread = record(&*store, n, mode, &["a", "b"]).await;
        let record = revert(&*store, thread, before("a")).await;
        assert_eq!(record.created_at, second(n.into()), "the time of creation is unchanged");
        assert_turns(&*store, thread, &[]).await;
        continue_thread(&*store, thread, mode, &["c"]).await;
        assert_turns(&*store, thread, &["c"]).await;
    }
}

pub(super) async fn into_the_inherited_history(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let source = record(&*store, n, mode, &["a", "b"]).await;
        let thread = fork(&*store, source, n + 10, TurnBoundary::Latest).await;
        continue_thread(&*store, thread, mode, &["c"]).await;
        let record = revert(&*store, thread, after("a")).await;
        assert_eq!((record.created_at, record.forked_from_id), (second(i64::from(n) + 10), Some(source)));
        assert_turns(&*store, thread, &["a"]).await;
        continue_thread(&*store, thread, mode, &["d"]).await;
        assert_turns(&*store, thread, &["a", "d"]).await;
        assert_turns(&*store, source, &["a", "b"]).await;
        // The inherited history is still in the segments of the source. A legacy fork has its own copy.
        if mode == HistoryMode::Paginated {
            assert!(matches!(store.delete_thread(source).await, Err(StoreError::HasDependents { .. })));
        }
        revert(&*store, thread, before("a")).await;
        assert_turns(&*store, thread, &[]).await;
        continue_thread(&*store, thread, mode, &["e"]).await;
        assert_turns(&*store, thread, &["e"]).await;
        assert_turns(&*store, source, &["a", "b"]).await;
    }
}

pub(super) async fn of_a_live_thread(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        store.create_thread(head(n, mode)).await.unwrap();
        for name in ["a", "b", "c"] {
            store.append_items(id(n), BatchId::generate(), &turn(mode, name)).await.unwrap();
        }
        revert(&*store, id(n), after("a")).await;
        assert_turns(&*store, id(n), &["a"]).await;
        store.append_items(id(n), BatchId::generate(), &turn(mode, "d")).await.unwrap();
        assert_turns(&*store, id(n), &["a", "d"]).await;
        // The second revert undoes a turn that has no end yet.
        store.append_items(id(n), BatchId::generate(), &[started("e")]).await.unwrap();
        store.append_items(id(n), BatchId::generate(), &user(mode, "e", "ask e")).await.unwrap();
        revert(&*store, id(n), before("e")).await;
        store.append_items(id(n), BatchId::generate(), &turn(mode, "f")).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
        assert_turns(&*store, id(n), &["a", "d", "f"]).await;
    }
}

pub(super) async fn undoes_steering(store: Arc<dyn ThreadStore>) {
    // The undone turn has two user messages. A legacy revert counts messages, so that it must count both.
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        store.resume_thread(id(n)).await.unwrap();
        let mut items = vec![started("b")];
        items.extend(user(mode, "b", "ask b"));
        items.extend(user(mode, "b", "ask more"));
        items.push(complete("b"));
        store.append_items(id(n), BatchId::generate(), &items).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
        revert(&*store, id(n), after("a")).await;
        assert_eq!(model_prompts(&*store, id(n)).await, ["a"]);
        assert_turns(&*store, id(n), &["a"]).await;
    }
}

pub(super) async fn of_an_incomplete_turn(store: Arc<dyn ThreadStore>) {
    // A writer that is killed can leave the first lines of a batch alone: the message for the model, without the event that shows the
    // message to clients.
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        store.resume_thread(id(n)).await.unwrap();
        let for_model = user(mode, "b", "ask b").swap_remove(0);
        assert!(matches!(for_model, RolloutItem::ResponseItem(_)));
        store.append_items(id(n), BatchId::generate(), &[started("b"), for_model]).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
        continue_thread(&*store, id(n), mode, &["c", "d"]).await;
        assert_eq!(model_prompts(&*store, id(n)).await, ["a", "b", "c", "d"]);
        revert(&*store, id(n), after("a")).await;
        assert_turns(&*store, id(n), &["a"]).await;
    }
}

pub(super) async fn to_between_turns(store: Arc<dyn ThreadStore>) {
    // The message `x` is between the turns `a` and `b` and belongs to neither. No event shows it, so it is an implicit turn:
    //
    //      a   x   b
    //        │   └── before b: keeps x
    //        └────── after a: undoes x
    for (n, mode) in (1..).zip(MODES) {
        for (number, (to, kept)) in (n * 100..).zip([(before("b"), &["a", "x"][..]), (after("a"), &["a"])]) {
            record(&*store, number, mode, &["a"]).await;
            store.resume_thread(id(number)).await.unwrap();
            store
                .append_items(id(number), BatchId::generate(), &[user(mode, "x", "ask x").swap_remove(0)])
                .await
                .unwrap();
            store.shutdown_thread(id(number)).await.unwrap();
            continue_thread(&*store, id(number), mode, &["b"]).await;
            assert_eq!(model_prompts(&*store, id(number)).await, ["a", "x", "b"]);
            revert(&*store, id(number), to).await;
            assert_eq!(model_prompts(&*store, id(number)).await, kept);
            assert_eq!(shown_prompts(&*store, id(number)).await, kept);
        }
    }
}

pub(super) async fn of_a_turn_without_messages(store: Arc<dyn ThreadStore>) {
    // A new segment can undo any turn. An event that counts user messages cannot undo a turn without one.
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        store.resume_thread(id(n)).await.unwrap();
        store.append_items(id(n), BatchId::generate(), &[started("b"), complete("b")]).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
        let was = store.load_history(id(n)).await.unwrap();
        let request = RevertThread { thread_id: id(n), to: after("a"), batch: BatchId::generate() };
        let outcome = store.revert_thread(request).await;
        match mode {
            HistoryMode::Paginated => {
                outcome.unwrap();
                assert_eq!(all_turns(&*store, id(n)).await.len(), 1);
            }
            HistoryMode::Legacy => {
                assert!(is_invalid(outcome));
                assert_eq!(store.load_history(id(n)).await.unwrap(), was);
            }
        }
    }
}

pub(super) async fn keeps_explicit_metadata(store: Arc<dyn ThreadStore>) {
    // A revert undoes turns. It does not undo explicit patches, even if they are newer than the boundary.
    for (n, mode) in (1..).zip(MODES) {
        for (number, to) in (n * 100..).zip([before("b"), before("a")]) {
            let thread = record(&*store, number, mode, &["a", "b"]).await;
            let git = Some(Some(GitInfoPatch { branch: Some(Some("dev".into())), ..Default::default() }));
            let patches = [
                ThreadMetadataPatch { git: Some(None), agent_role: Some(Some("r".into())), ..Default::default() },
                ThreadMetadataPatch { git, name: Some(Some("name".into())), ..Default::default() },
                ThreadMetadataPatch { cwd: Some(None), ..Default::default() },
            ];
            for patch in patches {
                store.update_thread_metadata(thread, &patch, MetadataOrigin::Explicit).await.unwrap();
            }
            continue_thread(&*store, thread, mode, &["c"]).await;
            let record = revert(&*store, thread, to).await;
            assert_eq!((record.name.as_deref(), record.agent_role.as_deref()), (Some("name"), Some("r")));
            assert_eq!((record.git.unwrap().branch.as_deref(), record.cwd), (Some("dev"), None));
            assert_eq!(record.created_at, head(number, mode).timestamp.unwrap());
        }
    }
}

pub(super) async fn fork_of_a_reverted_thread(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let thread = record(&*store, n, mode, &["a", "b", "c"]).await;
        let of_old = fork(&*store, thread, n + 10, TurnBoundary::Latest).await;
        revert(&*store, thread, after("a")).await;
        continue_thread(&*store, thread, mode, &["d", "e"]).await;
        // The old fork keeps the undone turns, and the new one cannot reach them.
        let of_new = fork(&*store, thread, n + 20, after("d")).await;
        assert_turns(&*store, of_old, &["a", "b", "c"]).await;
        assert_turns(&*store, of_new, &["a", "d"]).await;
        let gone = store.fork_thread(selvedge_thread_store::ForkThread {
            source: thread,
            at: after("b"),
            meta: head(n + 30, mode),
        });
        assert!(matches!(gone.await, Err(StoreError::TurnNotFound { .. })), "the turn was undone");
        if mode == HistoryMode::Paginated {
            let Err(StoreError::HasDependents { dependents, .. }) = store.delete_thread(thread).await else {
                panic!("a fork of an abandoned segment depends on the thread, too");
            };
            assert_eq!(dependents.len(), 2);
        }
    }
}

pub(super) async fn refusals(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let request = |to| RevertThread { thread_id: id(n), to, batch: BatchId::generate() };
        for to in [TurnBoundary::Latest, after("a")] {
            assert!(is_missing(store.revert_thread(request(to)).await, false));
        }
        record(&*store, n, mode, &["a", "b"]).await;
        let was = store.load_history(id(n)).await.unwrap();
        for to in [after("z"), before("z")] {
            assert!(matches!(store.revert_thread(request(to)).await, Err(StoreError::TurnNotFound { .. })));
        }
        assert_eq!(store.load_history(id(n)).await.unwrap(), was);
        revert(&*store, id(n), after("a")).await;
        let undone = store.revert_thread(request(after("b"))).await;
        assert!(matches!(undone, Err(StoreError::TurnNotFound { .. })), "an undone turn does not exist");
    }
}

pub(super) async fn conflicts(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a", "b"]).await;
        store.resume_thread(id(n)).await.unwrap();
        let request = RevertThread { thread_id: id(n), to: after("a"), batch: BatchId::generate() };
        assert!(is_conflict(other.revert_thread(request.clone()).await));
        assert_turns(&*other, id(n), &["a", "b"]).await;
        store.shutdown_thread(id(n)).await.unwrap();
        other.revert_thread(request).await.unwrap();
        assert_turns(&*store, id(n), &["a"]).await;
        store.resume_thread(id(n)).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
    }
}
