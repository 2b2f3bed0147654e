//! Giving a thread a history of its own.

use std::sync::Arc;

use selvedge_protocol::{
    Compacted, ContextWindow, HistoryMode, ResponseItem, RolloutItem, StoredThread, ThreadId, ThreadMetadataPatch,
    Timestamp, Turn, WorldState, WorldStateRecord,
};
use selvedge_thread_store::{
    BatchId, MetadataOrigin, RevertThread, StoreError, ThreadHistory, ThreadStore, TurnBoundary,
};
use serde_json::json;

use crate::fixtures::{
    MODES, all_turns, append_and_tell, asked, assert_counted, go_on, head, heard, id, is_conflict, is_missing, record,
    second, started, texts, turn, turn_id,
};
use crate::rules::branch::fork;

const MODE: HistoryMode = HistoryMode::Paginated;

/// What a reader is told of a thread, but for its history's first line and what is where.
#[derive(Debug, PartialEq)]
struct Told {
    row: StoredThread,
    turns: Vec<Turn>,
    history: Vec<ResponseItem>,
    world_state: Option<WorldState>,
    window: ContextWindow,
    lines: Vec<(String, String)>,
}

async fn told(store: &dyn ThreadStore, thread_id: ThreadId) -> Told {
    let context = store.load_model_context(thread_id).await.unwrap();
    let history = store.load_history(thread_id).await.unwrap();
    Told {
        row: StoredThread { location: None, ..store.read_thread(thread_id).await.unwrap() },
        turns: all_turns(store, thread_id).await,
        history: context.history,
        world_state: context.world_state,
        window: context.window,
        lines: history.lines[1..].iter().map(|line| (line.kind().to_owned(), line.payload().to_owned())).collect(),
    }
}

/// Detaches a thread that builds on others: it says what it said, and stands alone.
async fn detach(store: &dyn ThreadStore, thread_id: ThreadId) -> ThreadHistory {
    let before = told(store, thread_id).await;
    assert!(store.load_history(thread_id).await.unwrap().inherited > 0);
    let row = store.detach_thread(thread_id).await.unwrap();
    assert_eq!(row, store.read_thread(thread_id).await.unwrap());
    assert_eq!(told(store, thread_id).await, before);
    let history = store.load_history(thread_id).await.unwrap();
    assert_eq!((history.inherited, history.mode), (0, MODE));
    assert_counted(&history);
    let RolloutItem::SessionMeta(head) = history.lines[0].item() else { panic!("no head") };
    assert_eq!((head.id, &head.history_base), (Some(thread_id), &None));
    assert!(head.copied_base.is_some(), "it says where the history began");
    let heads = texts(&history).into_iter().filter(|line| line.contains(r#""type":"session_meta""#));
    assert_eq!(heads.count(), 1, "other programs take any other for the beginning");
    history
}

fn dependents(outcome: Result<(), StoreError>) -> Vec<ThreadId> {
    match outcome {
        Err(StoreError::HasDependents { dependents, .. }) => dependents,
        other => panic!("{other:?}"),
    }
}

async fn assert_turns(store: &dyn ThreadStore, thread_id: ThreadId, turns: &[&str]) {
    assert_eq!(asked(store, thread_id).await, turns, "what shows");
    assert_eq!(heard(store, thread_id).await, turns, "what the model sees");
    assert_counted(&store.load_history(thread_id).await.unwrap());
}

pub(super) async fn frees_the_source(store: Arc<dyn ThreadStore>) {
    let source = record(&*store, 1, MODE, &["a", "b"]).await;
    let forks = [
        fork(&*store, source, 11, TurnBoundary::Latest).await,
        fork(&*store, source, 12, TurnBoundary::After(turn_id("a"))).await,
        fork(&*store, source, 13, TurnBoundary::Before(turn_id("a"))).await,
    ];
    go_on(&*store, forks[1], MODE, &["c"]).await;
    let whole = store.load_history(source).await.unwrap();
    detach(&*store, forks[0]).await;
    assert_eq!(dependents(store.delete_thread(source).await), [forks[1]]);
    detach(&*store, forks[1]).await;
    assert_eq!(store.load_history(source).await.unwrap(), whole, "the source is as it was");
    store.delete_thread(source).await.unwrap();
    assert_turns(&*store, forks[0], &["a", "b"]).await;
    assert_turns(&*store, forks[1], &["a", "c"]).await;
    assert_turns(&*store, forks[2], &[]).await;
    assert_eq!(store.read_thread(forks[0]).await.unwrap().forked_from_id, Some(source));
}

pub(super) async fn goes_on(store: Arc<dyn ThreadStore>) {
    let source = record(&*store, 1, MODE, &["a", "b"]).await;
    let thread = fork(&*store, source, 11, TurnBoundary::Latest).await;
    detach(&*store, thread).await;
    store.delete_thread(source).await.unwrap();
    go_on(&*store, thread, MODE, &["c", "d"]).await;
    assert_turns(&*store, thread, &["a", "b", "c", "d"]).await;
    let again = fork(&*store, thread, 12, TurnBoundary::After(turn_id("a"))).await;
    go_on(&*store, again, MODE, &["e"]).await;
    assert_turns(&*store, again, &["a", "e"]).await;
    assert_eq!(dependents(store.delete_thread(thread).await), [again]);
    let created_at = store.read_thread(thread).await.unwrap().created_at;
    for (to, turns) in
        [(TurnBoundary::After(turn_id("c")), &["a", "b", "c"][..]), (TurnBoundary::After(turn_id("a")), &["a"])]
    {
        store.revert_thread(RevertThread { thread_id: thread, to, batch: BatchId::generate() }).await.unwrap();
        assert_turns(&*store, thread, turns).await;
        assert_eq!(store.read_thread(thread).await.unwrap().created_at, created_at, "the thread is as old as it was");
    }
    go_on(&*store, thread, MODE, &["f"]).await;
    assert_turns(&*store, thread, &["a", "f"]).await;
    detach(&*store, again).await;
    store.delete_thread(thread).await.unwrap();
    assert_turns(&*store, again, &["a", "e"]).await;
}

/// Who builds on a thread that builds on a third depends on both, also when the one between was detached.
pub(super) async fn in_a_chain(store: Arc<dyn ThreadStore>) {
    let first = record(&*store, 1, MODE, &["a"]).await;
    let middle = fork(&*store, first, 11, TurnBoundary::Latest).await;
    go_on(&*store, middle, MODE, &["b"]).await;
    let last = fork(&*store, middle, 12, TurnBoundary::Latest).await;
    go_on(&*store, last, MODE, &["c"]).await;
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
    assert_eq!(heads.collect::<Vec<_>>(), [last, middle, last], "heads of others are copied history");
    store.delete_thread(first).await.unwrap();
    store.delete_thread(middle).await.unwrap();
    assert_turns(&*store, last, &["a", "b", "c"]).await;
}

pub(super) async fn of_reverted(store: Arc<dyn ThreadStore>) {
    let source = record(&*store, 1, MODE, &["a", "b"]).await;
    let thread = fork(&*store, source, 11, TurnBoundary::Latest).await;
    go_on(&*store, thread, MODE, &["c", "d"]).await;
    let revert = async |to| {
        store.revert_thread(RevertThread { thread_id: thread, to, batch: BatchId::generate() }).await.unwrap();
    };
    revert(TurnBoundary::After(turn_id("c"))).await;
    go_on(&*store, thread, MODE, &["e"]).await;
    let on_it = fork(&*store, thread, 12, TurnBoundary::After(turn_id("c"))).await;
    detach(&*store, thread).await;
    assert_turns(&*store, thread, &["a", "b", "c", "e"]).await;
    assert_turns(&*store, on_it, &["a", "b", "c"]).await;
    revert(TurnBoundary::After(turn_id("a"))).await;
    assert_turns(&*store, thread, &["a"]).await;

    // Gone back into what it inherits, and only then detached.
    let other = fork(&*store, source, 13, TurnBoundary::Latest).await;
    go_on(&*store, other, MODE, &["c"]).await;
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

    // Gone back to before everything, it builds on nobody.
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

pub(super) async fn keeps_labels_and_surroundings(store: Arc<dyn ThreadStore>) {
    let source = record(&*store, 1, MODE, &["a"]).await;
    let world = |cwd: &str| WorldState::new(json!({"environment": {"cwd": cwd}, "tools": ["x"]})).unwrap();
    store.resume_thread(source).await.unwrap();
    store
        .append_items(source, BatchId::generate(), &[WorldStateRecord::snapshot(&world("/one")).into()])
        .await
        .unwrap();
    store.shutdown_thread(source).await.unwrap();
    let thread = fork(&*store, source, 11, TurnBoundary::Latest).await;
    let labels = ThreadMetadataPatch {
        name: Some(Some("a name".into())),
        preview: Some(Some("a label".into())),
        created_at: Some(second(-1000)),
        ..Default::default()
    };
    store.update_thread_metadata(thread, &labels, MetadataOrigin::Explicit).await.unwrap();
    let patch = world("/one").diff(&world("/two")).unwrap();
    store.resume_thread(thread).await.unwrap();
    append_and_tell(&*store, thread, &[WorldStateRecord::patch(patch).into()]).await;
    store.shutdown_thread(thread).await.unwrap();
    detach(&*store, thread).await;
    let row = store.read_thread(thread).await.unwrap();
    assert_eq!((row.name.as_deref(), row.preview.as_deref()), (Some("a name"), Some("a label")));
    assert_eq!((row.created_at, row.archived), (second(-1000), false));
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
    append_and_tell(&*store, source, &[started("c"), compacted.into()]).await;
    append_and_tell(&*store, source, &turn(MODE, "d")).await;
    store.shutdown_thread(source).await.unwrap();
    let thread = fork(&*store, source, 11, TurnBoundary::Latest).await;
    go_on(&*store, thread, MODE, &["e"]).await;
    detach(&*store, thread).await;
    store.delete_thread(source).await.unwrap();
    assert_eq!(heard(&*store, thread).await, ["summary", "d", "e"]);
    let to = TurnBoundary::After(turn_id("d"));
    store.revert_thread(RevertThread { thread_id: thread, to, batch: BatchId::generate() }).await.unwrap();
    assert_eq!(store.load_model_context(thread).await.unwrap().window.number, 0, "a window of its own");
}

pub(super) async fn of_what_stands_alone(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let plain = record(&*store, n, mode, &["a", "b"]).await;
        let reverted = record(&*store, n + 10, mode, &["a", "b"]).await;
        let to = TurnBoundary::After(turn_id("a"));
        store.revert_thread(RevertThread { thread_id: reverted, to, batch: BatchId::generate() }).await.unwrap();
        let mut alone = vec![plain, reverted];
        if mode == HistoryMode::Legacy {
            alone.push(fork(&*store, plain, n + 20, TurnBoundary::Latest).await);
        }
        for thread in alone {
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
    let row = store.read_thread(thread).await.unwrap();
    assert!(row.archived);
    assert_eq!(store.detach_thread(thread).await.unwrap(), row);
    assert_eq!(store.load_history(thread).await.unwrap(), history);
    store.unarchive_thread(thread).await.unwrap();
    store.delete_thread(source).await.unwrap();
    assert_turns(&*store, thread, &["a"]).await;
    store.delete_thread(thread).await.unwrap();
    assert!(is_missing(store.read_thread(thread).await, false), "it goes with all its segments");
}

pub(super) async fn refusals(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    assert!(is_missing(store.detach_thread(id(1)).await, false));
    let source = record(&*store, 1, MODE, &["a"]).await;
    let thread = fork(&*store, source, 11, TurnBoundary::Latest).await;
    store.create_thread(head(2, MODE)).await.unwrap();
    assert!(is_missing(store.detach_thread(id(2)).await, false), "a lazy thread is not there yet");
    store.discard_thread(id(2)).await.unwrap();
    store.resume_thread(thread).await.unwrap();
    let was = store.load_history(thread).await.unwrap();
    assert!(is_conflict(store.detach_thread(thread).await), "live here");
    assert!(is_conflict(other.detach_thread(thread).await), "live elsewhere");
    assert_eq!(store.load_history(thread).await.unwrap(), was);
    append_and_tell(&*store, thread, &turn(MODE, "b")).await;
    store.shutdown_thread(thread).await.unwrap();
    // That the source is live is nobody's concern.
    other.resume_thread(source).await.unwrap();
    detach(&*store, thread).await;
    append_and_tell(&*other, source, &turn(MODE, "c")).await;
    other.shutdown_thread(source).await.unwrap();
    assert_turns(&*other, thread, &["a", "b"]).await;
    assert!(other.read_thread(thread).await.unwrap().updated_at > Timestamp::default());
}
