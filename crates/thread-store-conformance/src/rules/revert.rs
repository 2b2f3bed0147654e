//! Going back.

use std::sync::Arc;

use selvedge_protocol::{GitInfoPatch, HistoryMode, RolloutItem, StoredThread, ThreadId, ThreadMetadataPatch};
use selvedge_thread_store::{BatchId, MetadataOrigin, RevertThread, StoreError, ThreadStore, TurnBoundary};

use crate::fixtures::{
    MODES, all_turns, asked, assert_counted, complete, go_on, head, heard, id, is_conflict, is_invalid, is_missing,
    record, second, started, texts, turn, turn_id, user,
};
use crate::rules::branch::fork;

/// Goes back, and gives the row of the thread as it is then.
async fn revert(store: &dyn ThreadStore, thread_id: ThreadId, to: TurnBoundary) -> StoredThread {
    let before = all_turns(store, thread_id).await.len();
    let undone = store.revert_thread(RevertThread { thread_id, to, batch: BatchId::generate() }).await.unwrap();
    assert_eq!(all_turns(store, thread_id).await.len(), before - undone, "it says how many turns it undid");
    store.read_thread(thread_id).await.unwrap()
}

fn after(turn: &str) -> TurnBoundary {
    TurnBoundary::After(turn_id(turn))
}

fn before(turn: &str) -> TurnBoundary {
    TurnBoundary::Before(turn_id(turn))
}

async fn assert_turns(store: &dyn ThreadStore, thread_id: ThreadId, turns: &[&str]) {
    assert_eq!(asked(store, thread_id).await, turns, "what shows");
    assert_eq!(heard(store, thread_id).await, turns, "what the model sees");
    let history = store.load_history(thread_id).await.unwrap();
    if history.mode == HistoryMode::Paginated {
        assert_counted(&history);
    }
}

pub(super) async fn after_and_before(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let cases: [(TurnBoundary, &[&str]); 9] = [
            (TurnBoundary::BeforeNewest(0), &["a", "b", "c"]),
            (TurnBoundary::BeforeNewest(1), &["a", "b"]),
            (TurnBoundary::BeforeNewest(3), &[]),
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
            let row = revert(&*store, thread, to).await;
            assert_eq!(row.created_at, was.created_at);
            assert_eq!(row.preview, was.preview.filter(|_| mode == HistoryMode::Legacy || !turns.is_empty()));
            assert_turns(&*store, thread, turns).await;
            let history = store.load_history(thread).await.unwrap();
            if mode == HistoryMode::Legacy {
                assert_eq!(texts(&history)[..whole.lines.len()], texts(&whole)[..], "nothing is taken away");
            }
            go_on(&*store, thread, mode, &["d"]).await;
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
        let row = revert(&*store, thread, before("a")).await;
        assert_eq!(row.created_at, second(n.into()), "the thread is as old as it was");
        assert_turns(&*store, thread, &[]).await;
        go_on(&*store, thread, mode, &["c"]).await;
        assert_turns(&*store, thread, &["c"]).await;
    }
}

pub(super) async fn inside_the_inherited(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let source = record(&*store, n, mode, &["a", "b"]).await;
        let thread = fork(&*store, source, n + 10, TurnBoundary::Latest).await;
        go_on(&*store, thread, mode, &["c"]).await;
        let row = revert(&*store, thread, after("a")).await;
        assert_eq!((row.created_at, row.forked_from_id), (second(i64::from(n) + 10), Some(source)));
        assert_turns(&*store, thread, &["a"]).await;
        go_on(&*store, thread, mode, &["d"]).await;
        assert_turns(&*store, thread, &["a", "d"]).await;
        assert_turns(&*store, source, &["a", "b"]).await;
        if mode == HistoryMode::Paginated {
            assert!(matches!(store.delete_thread(source).await, Err(StoreError::HasDependents { .. })));
        }
        revert(&*store, thread, before("a")).await;
        assert_turns(&*store, thread, &[]).await;
        go_on(&*store, thread, mode, &["e"]).await;
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
        store.append_items(id(n), BatchId::generate(), &[started("e")]).await.unwrap();
        store.append_items(id(n), BatchId::generate(), &user(mode, "e", "ask e")).await.unwrap();
        revert(&*store, id(n), before("e")).await;
        store.append_items(id(n), BatchId::generate(), &turn(mode, "f")).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
        assert_turns(&*store, id(n), &["a", "d", "f"]).await;
    }
}

/// A turn in which the user spoke twice goes as a whole: the model sees neither.
pub(super) async fn counts_steering(store: Arc<dyn ThreadStore>) {
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
        assert_eq!(heard(&*store, id(n)).await, ["a"]);
        assert_turns(&*store, id(n), &["a"]).await;
    }
}

/// Of what a writer appended before it was killed, the first lines may be there alone: the message that the model is told, and
/// not the event that shows it.
pub(super) async fn of_a_torn_turn(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        store.resume_thread(id(n)).await.unwrap();
        let told = user(mode, "b", "ask b").swap_remove(0);
        assert!(matches!(told, RolloutItem::ResponseItem(_)));
        store.append_items(id(n), BatchId::generate(), &[started("b"), told]).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
        go_on(&*store, id(n), mode, &["c", "d"]).await;
        assert_eq!(heard(&*store, id(n)).await, ["a", "b", "c", "d"]);
        revert(&*store, id(n), after("a")).await;
        assert_turns(&*store, id(n), &["a"]).await;
    }
}

/// A message that the model was told between two turns belongs to neither: going back to before the second keeps it, to
/// behind the first undoes it.
pub(super) async fn to_between_turns(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        for (number, (to, standing)) in (n * 100..).zip([(before("b"), &["a", "x"][..]), (after("a"), &["a"])]) {
            record(&*store, number, mode, &["a"]).await;
            store.resume_thread(id(number)).await.unwrap();
            store
                .append_items(id(number), BatchId::generate(), &[user(mode, "x", "ask x").swap_remove(0)])
                .await
                .unwrap();
            store.shutdown_thread(id(number)).await.unwrap();
            go_on(&*store, id(number), mode, &["b"]).await;
            assert_eq!(heard(&*store, id(number)).await, ["a", "x", "b"]);
            revert(&*store, id(number), to).await;
            assert_eq!(heard(&*store, id(number)).await, standing);
            assert_eq!(asked(&*store, id(number)).await, ["a"]);
        }
    }
}

/// A turn in which nobody spoke can be undone by a segment, and not by an event that counts what users said.
pub(super) async fn of_a_silent_turn(store: Arc<dyn ThreadStore>) {
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

/// Going back undoes what was said, not what the thread was labelled meanwhile.
pub(super) async fn keeps_labels(store: Arc<dyn ThreadStore>) {
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
            go_on(&*store, thread, mode, &["c"]).await;
            let row = revert(&*store, thread, to).await;
            assert_eq!((row.name.as_deref(), row.agent_role.as_deref()), (Some("name"), Some("r")));
            assert_eq!((row.git.unwrap().branch.as_deref(), row.cwd), (Some("dev"), None));
            assert_eq!(row.created_at, head(number, mode).timestamp.unwrap());
        }
    }
}

pub(super) async fn fork_of_reverted(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let thread = record(&*store, n, mode, &["a", "b", "c"]).await;
        let of_old = fork(&*store, thread, n + 10, TurnBoundary::Latest).await;
        revert(&*store, thread, after("a")).await;
        go_on(&*store, thread, mode, &["d", "e"]).await;
        let of_new = fork(&*store, thread, n + 20, after("d")).await;
        assert_turns(&*store, of_old, &["a", "b", "c"]).await;
        assert_turns(&*store, of_new, &["a", "d"]).await;
        let gone = store.fork_thread(selvedge_thread_store::ForkThread {
            source: thread,
            at: after("b"),
            meta: head(n + 30, mode),
        });
        assert!(matches!(gone.await, Err(StoreError::TurnNotFound { .. })), "it was undone");
        if mode == HistoryMode::Paginated {
            let Err(StoreError::HasDependents { dependents, .. }) = store.delete_thread(thread).await else {
                panic!("an abandoned segment counts too");
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
        assert!(matches!(undone, Err(StoreError::TurnNotFound { .. })), "what was undone is gone");
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
