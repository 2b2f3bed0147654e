//! Rules about detach, which makes a thread independent of its source.

use std::sync::Arc;

use selvedge_protocol::{
    Compacted, ContextWindow, HistoryMode, ResponseItem, RolloutItem, StoredThread, ThreadId, ThreadMetadataPatch,
    Timestamp, Turn, TurnBoundary, WorldState, WorldStateRecord,
};
use selvedge_thread_store::{BatchId, MetadataOrigin, RevertThread, StoreError, ThreadHistory, ThreadStore};
use serde_json::json;

use crate::fixtures::{
    MODES, all_turns, append_with_metadata, assert_consecutive_ordinals, continue_thread, head, id, is_conflict,
    is_missing, line_texts, model_prompts, record, second, shown_prompts, started, turn, turn_id,
};
use crate::rules::fork::fork;

const MODE: HistoryMode = HistoryMode::Paginated;

/// Everything that a reader gets of a thread, except its location and the first line of its history.
#[derive(Debug, PartialEq)]
struct ThreadSnapshot {
    record: StoredThread,
    turns: Vec<Turn>,
    history: Vec<ResponseItem>,
    world_state: Option<WorldState>,
    window: ContextWindow,
    lines: Vec<(String, String)>,
}

/// Reads a thread in every way.
async fn snapshot(store: &dyn ThreadStore, thread_id: ThreadId) -> ThreadSnapshot {
    let context = store.load_model_context(thread_id).await.unwrap();
    let history = store.load_history(thread_id).await.unwrap();
    ThreadSnapshot {
        record: StoredThread { location: None, ..store.read_thread(thread_id).await.unwrap() },
        turns: all_turns(store, thread_id).await,
        history: context.history,
        world_state: context.world_state,
        window: context.window,
        lines: history.lines[1..].iter().map(|line| (line.kind().to_owned(), line.payload().to_owned())).collect(),
    }
}

/// Detaches a thread that depends on others, and returns its new history.
///
/// Asserts that readers get what they got before, and that the thread depends on no other thread.
async fn detach(store: &dyn ThreadStore, thread_id: ThreadId) -> ThreadHistory {
    let before = snapshot(store, thread_id).await;
    assert!(store.load_history(thread_id).await.unwrap().inherited > 0);
    let record = store.detach_thread(thread_id).await.unwrap();
    assert_eq!(record, store.read_thread(thread_id).await.unwrap());
    assert_eq!(snapshot(store, thread_id).await, before);
    let history = store.load_history(thread_id).await.unwrap();
    assert_eq!((history.inherited, history.mode), (0, MODE));
    assert_consecutive_ordinals(&history);
    let RolloutItem::SessionMeta(head) = history.lines[0].item() else { panic!("the first line is not a head") };
    assert_eq!((head.id, &head.history_base), (Some(thread_id), &None));
    assert!(head.copied_base.is_some(), "the head records the origin of the history");
    let heads = line_texts(&history).into_iter().filter(|line| line.contains(r#""type":"session_meta""#));
    assert_eq!(heads.count(), 1, "other programs take every head for the beginning of a thread");
    history
}

/// Returns the threads that prevent a deletion.
fn dependents(outcome: Result<(), StoreError>) -> Vec<ThreadId> {
    match outcome {
        Err(StoreError::HasDependents { dependents, .. }) => dependents,
        other => panic!("{other:?}"),
    }
}

async fn assert_turns(store: &dyn ThreadStore, thread_id: ThreadId, turns: &[&str]) {
    assert_eq!(shown_prompts(store, thread_id).await, turns, "shown to clients");
    assert_eq!(model_prompts(store, thread_id).await, turns, "sent to the model");
    assert_consecutive_ordinals(&store.load_history(thread_id).await.unwrap());
}

pub(super) async fn frees_the_source(store: Arc<dyn ThreadStore>) {
    let source = record(&*store, 1, MODE, &["a", "b"]).await;
    let forks = [
        fork(&*store, source, 11, TurnBoundary::Latest).await,
        fork(&*store, source, 12, TurnBoundary::After(turn_id("a"))).await,
        fork(&*store, source, 13, TurnBoundary::Before(turn_id("a"))).await,
    ];
    continue_thread(&*store, forks[1], MODE, &["c"]).await;
    let whole = store.load_history(source).await.unwrap();
    detach(&*store, forks[0]).await;
    assert_eq!(dependents(store.delete_thread(source).await), [forks[1]]);
    detach(&*store, forks[1]).await;
    assert_eq!(store.load_history(source).await.unwrap(), whole, "the source is unchanged");
    store.delete_thread(source).await.unwrap();
    assert_turns(&*store, forks[0], &["a", "b"]).await;
    assert_turns(&*store, forks[1], &["a", "c"]).await;
    assert_turns(&*store, forks[2], &[]).await;
    assert_eq!(store.read_thread(forks[0]).await.unwrap().forked_from_id, Some(source));
}

pub(super) async fn is_continued(store: Arc<dyn ThreadStore>) {
    let source = record(&*store, 1, MODE, &["a", "b"]).await;
    let thread = fork(&*store, source, 11, TurnBoundary::Latest).await;
    detach(&*store, thread).await;
    store.delete_thread(source).await.unwrap();
    continue_thread(&*store, thread, MODE, &["c", "d"]).await;
    assert_turns(&*store, thread, &["a", "b", "c", "d"]).await;
    let again = fork(&*store, thread, 12, TurnBoundary::After(turn_id("a"))).await;
    continue_thread(&*store, again, MODE, &["e"]).await;
    assert_turns(&*store, again, &["a", "e"]).await;
    assert_eq!(dependents(store.delete_thread(thread).await), [again]);
    let created_at = store.read_thread(thread).await.unwrap().created_at;
    // Both boundaries: one in the lines after the detach, one in the copied lines.
    for (to, turns) in
        [(TurnBoundary::After(turn_id("c")), &["a", "b", "c"][..]), (TurnBoundary::After(turn_id("a")), &["a"])]
    {
        store.revert_thread(RevertThread { thread_id: thread, to, batch: BatchId::generate() }).await.unwrap();
        assert_turns(&*store, thread, turns).await;
        assert_eq!(
            store.read_thread(thread).await.unwrap().created_at,
            created_at,
            "the time of creation is unchanged"
        );
    }
    continue_thread(&*store, thread, MODE, &["f"]).await;
    assert_turns(&*store, thread, &["a", "f"]).await;
    detach(&*store, again).await;
    store.delete_thread(thread).await.unwrap();
    assert_turns(&*store, again, &["a", "e"]).await;
}

pub(super) async fn keeps_dependents(store: Arc<dyn ThreadStore>) {
    // The last thread of a chain goes through both others:
    //
    //      first:  a
    //      middle: a (of first) b
    //      last:   a (of first) b (of middle) c
    //
    // The detach of `middle` copies `a` for `middle` only. The history of `last` still goes through the old segments.
    let first = record(&*store, 1, MODE, &["a"]).await;
    let middle = fork(&*store, first, 11, TurnBoundary::Latest).await;
    continue_thread(&*store, middle, MODE, &["b"]).await;
    let last = fork(&*store, middle, 12, TurnBoundary::Latest).await;
    continue_thread(&*store, last, MODE, &["c"]).await;
    assert_eq!(dependents(store.delete_thread(first).await), [middle, last]);
    detach(&*store, middle).await;
    assert_eq!(dependents(store.delete_thread(first).await), [last]);
    assert_eq!(dependents(store.delete_thread(middle).await), [last]);
    assert_turns(&*store, last, &["a", "b", "c"]).await;
    let history = detach(&*store, last).await;
    let heads = history.lines.iter().filter_map(|line| match line.item() {
        RolloutItem::SessionMeta(head) => head.id,
        _ => None,
    });
    assert_eq!(heads.collect::<Vec<_>>(), [last, middle, last], "the heads of the other threads are copied history");
    store.delete_thread(first).await.unwrap();
    store.delete_thread(middle).await.unwrap();
    assert_turns(&*store, last, &["a", "b", "c"]).await;
}

pub(super) async fn of_a_reverted_thread(store: Arc<dyn ThreadStore>) {
    let source = record(&*store, 1, MODE, &["a", "b"]).await;
    let thread = fork(&*store, source, 11, TurnBoundary::Latest).await;
    continue_thread(&*store, thread, MODE, &["c", "d"]).await;
    let revert = async |to| {
        store.revert_thread(RevertThread { thread_id: thread, to, batch: BatchId::generate() }).await.unwrap();
    };
    revert(TurnBoundary::After(turn_id("c"))).await;
    continue_thread(&*store, thread, MODE, &["e"]).await;
    // A fork that begins in a segment which the detach replaces.
    let on_it = fork(&*store, thread, 12, TurnBoundary::After(turn_id("c"))).await;
    detach(&*store, thread).await;
    assert_turns(&*store, thread, &["a", "b", "c", "e"]).await;
    assert_turns(&*store, on_it, &["a", "b", "c"]).await;
    revert(TurnBoundary::After(turn_id("a"))).await;
    assert_turns(&*store, thread, &["a"]).await;

    // A revert into the inherited history, followed by a detach.
    let other = fork(&*store, source, 13, TurnBoundary::Latest).await;
    continue_thread(&*store, other, MODE, &["c"]).await;
    store
        .revert_thread(RevertThread {
            thread_id: other,
            to: TurnBoundary::After(turn_id("a")),
            batch: BatchId::generate(),
        })
        .await
        .unwrap();
    detach(&*store, other).await;
    assert_eq!(store.read_thread(other).await.unwrap().created_at, second(13));
    assert_turns(&*store, other, &["a"]).await;

    // After a revert to before the first turn, the thread depends on no other thread.
    let third = fork(&*store, source, 14, TurnBoundary::Latest).await;
    store
        .revert_thread(RevertThread {
            thread_id: third,
            to: TurnBoundary::Before(turn_id("a")),
            batch: BatchId::generate(),
        })
        .await
        .unwrap();
    assert_eq!(dependents(store.delete_thread(source).await), [on_it]);
}

pub(super) async fn keeps_metadata_and_world_state(store: Arc<dyn ThreadStore>) {
    let source = record(&*store, 1, MODE, &["a"]).await;
    let world = |cwd: &str| WorldState::new(json!({"environment": {"cwd": cwd}, "tools": ["x"]})).unwrap();
    store.resume_thread(source).await.unwrap();
    store
        .append_items(source, BatchId::generate(), &[WorldStateRecord::snapshot(&world("/one")).into()])
        .await
        .unwrap();
    store.shutdown_thread(source).await.unwrap();
    let thread = fork(&*store, source, 11, TurnBoundary::Latest).await;
    let metadata = ThreadMetadataPatch {
        name: Some(Some("a name".into())),
        preview: Some(Some("a label".into())),
        created_at: Some(second(-1000)),
        ..Default::default()
    };
    store.update_thread_metadata(thread, &metadata, MetadataOrigin::Explicit).await.unwrap();
    // The world state is spread over both threads: a snapshot in the source, and a patch in the fork.
    let patch = world("/one").diff(&world("/two")).unwrap();
    store.resume_thread(thread).await.unwrap();
    append_with_metadata(&*store, thread, &[WorldStateRecord::patch(patch).into()]).await;
    store.shutdown_thread(thread).await.unwrap();
    detach(&*store, thread).await;
    let record = store.read_thread(thread).await.unwrap();
    assert_eq!((record.name.as_deref(), record.preview.as_deref()), (Some("a name"), Some("a label")));
    assert_eq!((record.created_at, record.archived), (second(-1000), false));
    let context = store.load_model_context(thread).await.unwrap();
    assert_eq!(context.world_state, Some(world("/two")));
    assert!(context.warnings.is_empty());
}

pub(super) async fn keeps_compactions(store: Arc<dyn ThreadStore>) {
    let source = record(&*store, 1, MODE, &["a", "b"]).await;
    let compacted = Compacted {
        message: Some("summary".into()),
        replacement_history: Some(vec![ResponseItem::user_text("summary")]),
        window_number: Some(1),
        ..Default::default()
    };
    store.resume_thread(source).await.unwrap();
    append_with_metadata(&*store, source, &[started("c"), compacted.into()]).await;
    append_with_metadata(&*store, source, &turn(MODE, "d")).await;
    store.shutdown_thread(source).await.unwrap();
    let thread = fork(&*store, source, 11, TurnBoundary::Latest).await;
    continue_thread(&*store, thread, MODE, &["e"]).await;
    detach(&*store, thread).await;
    store.delete_thread(source).await.unwrap();
    // The model gets the summary instead of the turns before the compaction.
    assert_eq!(model_prompts(&*store, thread).await, ["summary", "d", "e"]);
    let to = TurnBoundary::After(turn_id("d"));
    store.revert_thread(RevertThread { thread_id: thread, to, batch: BatchId::generate() }).await.unwrap();
    assert_eq!(store.load_model_context(thread).await.unwrap().window.number, 0, "a context window of its own");
}

pub(super) async fn of_an_independent_thread(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let plain = record(&*store, n, mode, &["a", "b"]).await;
        let reverted = record(&*store, n + 10, mode, &["a", "b"]).await;
        let to = TurnBoundary::After(turn_id("a"));
        store.revert_thread(RevertThread { thread_id: reverted, to, batch: BatchId::generate() }).await.unwrap();
        let mut independent = vec![plain, reverted];
        // A legacy fork copies its history.
        if mode == HistoryMode::Legacy {
            independent.push(fork(&*store, plain, n + 20, TurnBoundary::Latest).await);
        }
        for thread in independent {
            let was = (store.load_history(thread).await.unwrap(), store.read_thread(thread).await.unwrap());
            for _ in 0..2 {
                assert_eq!(store.detach_thread(thread).await.unwrap(), was.1);
            }
            assert_eq!((store.load_history(thread).await.unwrap(), store.read_thread(thread).await.unwrap()), was);
        }
    }
}

pub(super) async fn archived_and_twice(store: Arc<dyn ThreadStore>) {
    let source = record(&*store, 1, MODE, &["a"]).await;
    let thread = fork(&*store, source, 11, TurnBoundary::Latest).await;
    store.archive_thread(source).await.unwrap();
    store.archive_thread(thread).await.unwrap();
    let history = detach(&*store, thread).await;
    let record = store.read_thread(thread).await.unwrap();
    assert!(record.archived);
    assert_eq!(store.detach_thread(thread).await.unwrap(), record);
    assert_eq!(store.load_history(thread).await.unwrap(), history);
    store.unarchive_thread(thread).await.unwrap();
    store.delete_thread(source).await.unwrap();
    assert_turns(&*store, thread, &["a"]).await;
    store.delete_thread(thread).await.unwrap();
    assert!(is_missing(store.read_thread(thread).await, false), "all its segments are deleted");
}

pub(super) async fn refusals(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    assert!(is_missing(store.detach_thread(id(1)).await, false));
    let source = record(&*store, 1, MODE, &["a"]).await;
    let thread = fork(&*store, source, 11, TurnBoundary::Latest).await;
    store.create_thread(head(2, MODE)).await.unwrap();
    assert!(is_missing(store.detach_thread(id(2)).await, false), "a lazy thread is not stored");
    store.discard_thread(id(2)).await.unwrap();
    store.resume_thread(thread).await.unwrap();
    let was = store.load_history(thread).await.unwrap();
    assert!(is_conflict(store.detach_thread(thread).await), "live here");
    assert!(is_conflict(other.detach_thread(thread).await), "live in another host");
    assert_eq!(store.load_history(thread).await.unwrap(), was);
    append_with_metadata(&*store, thread, &turn(MODE, "b")).await;
    store.shutdown_thread(thread).await.unwrap();
    // The source is live in the other host, which does not prevent the detach.
    other.resume_thread(source).await.unwrap();
    detach(&*store, thread).await;
    append_with_metadata(&*other, source, &turn(MODE, "c")).await;
    other.shutdown_thread(source).await.unwrap();
    assert_turns(&*other, thread, &["a", "b"]).await;
    assert!(other.read_thread(thread).await.unwrap().updated_at > Timestamp::default());
}
