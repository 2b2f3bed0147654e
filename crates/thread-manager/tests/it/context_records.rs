//! How the log records what the model is told: in one batch, the message before the record. And what a crash leaves of
//! it.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use selvedge_history::ModelContext;
use selvedge_protocol::{
    Compacted, EventMsg, HistoryMode, ResponseItem, RolloutItem, ThreadRolledBackEvent, TurnBoundary, WorldState,
    WorldStateRecord,
};
use selvedge_thread_manager::{LiveThread, ResumedThread, ThreadManager};
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore};
use serde_json::json;

use crate::support::{
    MODES, TestStores, complete, head, id, kinds, message, start, started, surroundings, turn, user_message,
    without_update_time, world_state_records,
};
use crate::watched_store::{Call, WatchedStore};

/// Returns the `n`-th message about the surroundings.
fn context_message(n: usize) -> RolloutItem {
    message(&format!("<environment_context>{n}</environment_context>"))
}

fn world(n: usize) -> WorldState {
    let world = json!({"n": {"is": n, format!("only {n}"): [n]}, "parity": n % 2, "constant": "é🧵"});
    WorldState::new(world).unwrap()
}

#[tokio::test]
async fn a_context_message_and_its_record_are_one_batch() {
    let store = WatchedStore::new();
    for (n, mode) in (1..).zip(MODES) {
        let thread = start(&store.manager(), n, mode, &["a"]).await;
        store.forget();
        thread.append_context(&[context_message(1), message("x")], &world(1)).await.unwrap();
        thread.append_context(&[context_message(2)], &world(2)).await.unwrap();
        thread.append_context(&[context_message(2)], &world(2)).await.unwrap();
        thread.append_context(&[], &world(2)).await.unwrap();
        thread.append_context(&[], &world(3)).await.unwrap();
        let batches = store.calls().into_iter().filter_map(|call| match call {
            Call::Append(kinds) => Some(kinds.join(" ")),
            _ => None,
        });
        let expected = [
            "response_item response_item world_state",
            "response_item world_state",
            "response_item",
            "",
            "world_state",
        ];
        assert_eq!(batches.collect::<Vec<_>>(), expected);
    }
}

/// After a compaction in the same batch, the model no longer knows what it was told before. It knows what it is told
/// with it.
async fn a_record_in_the_batch_of_a_compaction_is_full(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        for (n, next) in [(n, 1), (n + 10, 2)] {
            let thread = start(&stores.manager(), n, mode, &["a"]).await;
            thread.append_context(&[context_message(1)], &world(1)).await.unwrap();
            let window = thread.window().await.next(head(n, mode).timestamp.unwrap());
            let compacted = Compacted::new("summary", vec![ResponseItem::user_text("summary")], window);
            thread.append_context(&[compacted.into(), context_message(next)], &world(next)).await.unwrap();
            let whole = |n| (true, world(n).into_value());
            assert_eq!(world_state_records(&*stores.store(), id(n)).await, [whole(1), whole(next)]);
            assert_eq!(thread.world_state().await, Some(world(next)));
            let context = stores.store().load_model_context(id(n)).await.unwrap();
            assert_eq!((context.world_state, context.window), (Some(world(next)), window));
            assert!(context.warnings.is_empty(), "{:?}", context.warnings);
        }
    }
}

/// The state that a rollback in the same batch restores is only in the log, so the record is full.
async fn a_record_in_the_batch_of_a_rollback_is_full(stores: TestStores) {
    let thread = start(&stores.manager(), 1, HistoryMode::Legacy, &[]).await;
    for n in [1, 2] {
        turn_with_context(&thread, n).await;
    }
    let event = ThreadRolledBackEvent { num_turns: Some(1), ..Default::default() };
    thread.append_context(&[EventMsg::from(event).into(), context_message(3)], &world(3)).await.unwrap();
    assert_eq!(thread.world_state().await, Some(world(3)));
    let context = stores.store().load_model_context(id(1)).await.unwrap();
    assert_eq!(context.world_state, Some(world(3)));
}

/// A record that the caller wrote itself is not written a second time.
async fn a_record_in_the_batch_is_not_written_twice(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let thread = start(&stores.manager(), n, mode, &["a"]).await;
        let own = WorldStateRecord::snapshot(&world(1));
        thread.append_context(&[context_message(1), own.into()], &world(1)).await.unwrap();
        assert_eq!(world_state_records(&*stores.store(), id(n)).await, [(true, world(1).into_value())]);
        assert_eq!(thread.world_state().await, Some(world(1)));
    }
}

/// Lists and clients show the same before and after the model is told something.
async fn world_state_is_not_visible_to_clients(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &["a"]).await;
        thread.flush().await.unwrap();
        let store = stores.store();
        let query = selvedge_protocol::TurnQuery::all(id(n));
        let before = (without_update_time(thread.metadata().await), store.list_turns(&query).await.unwrap());
        let world = json!({"title": "t", "preview": "p", "name": "n", "cwd": "/other", "model": "other"});
        thread.append_context(&[context_message(1)], &WorldState::new(world).unwrap()).await.unwrap();
        let context = message("<environment_context>a better preview</environment_context>");
        thread.append_context(&[context], &surroundings("/b")).await.unwrap();
        thread.flush().await.unwrap();
        assert_eq!((without_update_time(thread.metadata().await), store.list_turns(&query).await.unwrap()), before);
        assert_eq!(without_update_time(store.read_thread(id(n)).await.unwrap()), before.0);
    }
}

/// Forks of both kinds have the records: a copy contains them, and a reference leads to them.
async fn forks_of_both_kinds_have_the_records(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &[]).await;
        for turn in [1, 2] {
            turn_with_context(&thread, turn).await;
        }
        crate::support::fork(&manager, id(n), n + 10, selvedge_protocol::TurnBoundary::Latest).await;
        let store = stores.store();
        assert_eq!(world_state_records(&*store, id(n + 10)).await, world_state_records(&*store, id(n)).await);
        let history = store.load_history(id(n + 10)).await.unwrap();
        let own = history.lines[history.inherited..].iter().filter(|line| line.kind() == "world_state").count();
        assert_eq!(own, if mode == HistoryMode::Legacy { 2 } else { 0 }, "by copy, and by reference");
        let fork = manager.resume(id(n + 10)).await.unwrap();
        assert_eq!((fork.context.world_state, fork.live.world_state().await), (Some(world(2)), Some(world(2))));
        // What the model of the fork is told does not affect the source, and vice versa.
        fork.live.append_context(&[context_message(3)], &world(3)).await.unwrap();
        assert_eq!(thread.world_state().await, Some(world(2)));
        assert_eq!(store.load_model_context(id(n)).await.unwrap().world_state, Some(world(2)));
        thread.append_context(&[context_message(4)], &world(4)).await.unwrap();
        assert_eq!(store.load_model_context(id(n + 10)).await.unwrap().world_state, Some(world(3)));
    }
}

crate::over_both_stores! {
    a_record_in_the_batch_of_a_compaction_is_full, a_record_in_the_batch_of_a_rollback_is_full,
    a_record_in_the_batch_is_not_written_twice, world_state_is_not_visible_to_clients,
    forks_of_both_kinds_have_the_records,
}

#[derive(Clone, Debug)]
enum Step {
    /// A turn that tells the newest surroundings, or the same as before.
    Turn { changes: bool, compacts: bool },
    /// A rollback that stays after the newest compaction. Before it, the model sees less than it was told.
    Undo,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (prop::bool::weighted(0.8), prop::bool::weighted(0.2))
            .prop_map(|(changes, compacts)| Step::Turn { changes, compacts }),
        1 => Just(Step::Undo),
    ];
    prop::collection::vec(step, 3..7)
}

async fn turn_with_context(thread: &Arc<LiveThread>, n: usize) {
    let (mode, name) = (thread.mode(), format!("turn {n}"));
    thread.append(&[started(&name)]).await.unwrap();
    thread.append_context(&[context_message(n)], &world(n)).await.unwrap();
    thread.append(&[message(&name), user_message(mode, &name, &name), complete(&name)]).await.unwrap();
}

/// Writes a thread. Returns its log, its home, and the number of the newest surroundings.
async fn written(steps: &[Step], mode: HistoryMode) -> (PathBuf, tempfile::TempDir, usize) {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager_at(dir.path());
    let thread = start(&manager, 1, mode, &[]).await;
    let (mut n, mut turns_of_window) = (0, 0);
    for step in steps {
        match step {
            Step::Turn { changes, compacts } => {
                if *compacts {
                    thread.compact("summary", vec![ResponseItem::user_text("summary")]).await.unwrap();
                    turns_of_window = 0;
                }
                n += usize::from(*changes);
                turns_of_window += 1;
                turn_with_context(&thread, n).await;
            }
            // In a paginated thread this would begin another file.
            Step::Undo if mode == HistoryMode::Legacy && turns_of_window > 0 => {
                turns_of_window -= 1;
                manager.rewind(id(1), TurnBoundary::BeforeNewest(1)).await.unwrap();
            }
            Step::Undo => {}
        }
    }
    thread.shutdown().await.unwrap();
    let path = manager.store().read_thread(id(1)).await.unwrap().location.unwrap().into();
    (path, dir, n)
}

/// Answers come from the logs: an index for each of so many homes would take most of the time.
fn manager_at(home: &Path) -> ThreadManager {
    ThreadManager::new(Arc::new(LocalThreadStore::open_with(home, IndexLocation::Disabled)))
}

/// Returns the number of the newest message about the surroundings that the model still sees.
fn seen(context: &ModelContext) -> Option<usize> {
    context.history.iter().rev().find_map(|item| {
        let text = item.texts().concat();
        text.strip_prefix("<environment_context>")?.strip_suffix("</environment_context>")?.parse().ok()
    })
}

/// Resumes what a crash left of a log, as another process would, and tells the newest surroundings.
async fn continue_after_crash(log: &Path, home: &Path, bytes: &[u8], n: usize) {
    let other = tempfile::tempdir().unwrap();
    let path = other.path().join(log.strip_prefix(home).unwrap());
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let ResumedThread { live, context } = manager_at(other.path()).resume(id(1)).await.unwrap();
    assert_eq!(live.world_state().await, context.world_state);
    let seen = seen(&context);
    let recorded = context.world_state.map(|state| state.section("n").unwrap()["is"].as_u64().unwrap() as usize);
    assert!(recorded <= seen, "{recorded:?} is recorded and {seen:?} was seen, of {} bytes", bytes.len());
    live.append_context(&[context_message(n)], &world(n)).await.unwrap();
    live.shutdown().await.unwrap();
    let manager = manager_at(other.path());
    assert_eq!(manager.store().load_model_context(id(1)).await.unwrap().world_state, Some(world(n)));
    let kinds = kinds(&**manager.store(), id(1)).await;
    let records = if recorded == Some(n) { 0 } else { 1 };
    assert_eq!(kinds.iter().rev().take_while(|kind| *kind == "world_state").count(), records, "{kinds:?}");
}

/// Cuts the log after each of its lines, and in the middle of each line.
async fn crashes(steps: &[Step], mode: HistoryMode) {
    let (path, home, n) = written(steps, mode).await;
    let bytes = std::fs::read(&path).unwrap();
    let ends: Vec<usize> = (1..=bytes.len()).filter(|end| bytes[end - 1] == b'\n').collect();
    for (start, end) in ends.iter().zip(&ends[1..]) {
        for cut in [*end, (start + end) / 2, end - 1] {
            continue_after_crash(&path, home.path(), &bytes[..cut], n).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 200, ..ProptestConfig::with_cases(4) })]

    /// Wherever a crash cuts the log, the recorded state is what the model saw, or something older.
    #[test]
    fn a_crash_leaves_no_record_of_something_the_model_did_not_see(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for mode in MODES {
                crashes(&steps, mode).await;
            }
        });
    }
}

/// What was acknowledged before a failure stays. A message that failed is appended again with its record.
#[tokio::test]
async fn a_context_message_that_failed_is_appended_again() {
    let store = WatchedStore::new();
    let thread = start(&store.manager(), 1, HistoryMode::Paginated, &["a"]).await;
    thread.append_context(&[context_message(1)], &world(1)).await.unwrap();
    store.fail(crate::watched_store::Op::Append, 1);
    thread.append_context(&[context_message(2)], &world(2)).await.unwrap_err();
    assert_eq!(thread.world_state().await, Some(world(1)));
    thread.append_context(&[context_message(2)], &world(2)).await.unwrap();
    assert_eq!(world_state_records(&store, id(1)).await.len(), 2);
    thread.append(&turn(HistoryMode::Paginated, "b")).await.unwrap();
    assert_eq!(thread.world_state().await, Some(world(2)));
}
