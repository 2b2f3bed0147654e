//! Rules about forks.

use std::sync::Arc;

use selvedge_protocol::{HistoryMode, RolloutItem, SessionMeta, ThreadId, ThreadMetadataPatch, TurnBoundary};
use selvedge_thread_store::{BatchId, ForkThread, MetadataOrigin, StoreError, ThreadStore};

use crate::fixtures::{
    MODES, assert_consecutive_ordinals, continue_thread, head, id, is_invalid, is_missing, is_taken, line_texts,
    model_prompts, record, second, shown_prompts, started, turn_id,
};

/// Forks `source` as the `n`-th thread and returns its id.
pub(super) async fn fork(store: &dyn ThreadStore, source: ThreadId, n: u32, at: TurnBoundary) -> ThreadId {
    // A store ignores this mode: a fork has the mode of its source.
    let meta = head(n, HistoryMode::Legacy);
    assert_eq!(store.fork_thread(ForkThread { source, at, meta }).await.unwrap(), id(n));
    assert_eq!(store.read_thread(id(n)).await.unwrap().forked_from_id, Some(source));
    id(n)
}

/// Returns the first head of the thread itself. Heads before it belong to its source.
async fn own_head(store: &dyn ThreadStore, thread_id: ThreadId) -> SessionMeta {
    let history = store.load_history(thread_id).await.unwrap();
    let heads = history.lines.iter().filter_map(|line| match line.item() {
        RolloutItem::SessionMeta(head) => Some(*head),
        _ => None,
    });
    heads.into_iter().find(|head| head.id == Some(thread_id)).unwrap()
}

async fn assert_turns(store: &dyn ThreadStore, thread_id: ThreadId, turns: &[&str]) {
    assert_eq!(shown_prompts(store, thread_id).await, turns, "shown to clients");
    assert_eq!(model_prompts(store, thread_id).await, turns, "sent to the model");
}

pub(super) async fn at_latest(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let source = record(&*store, n, mode, &["a", "b"]).await;
        let name = ThreadMetadataPatch { name: Some(Some("name".into())), ..Default::default() };
        store.update_thread_metadata(source, &name, MetadataOrigin::Explicit).await.unwrap();
        let before = store.load_history(source).await.unwrap();
        let fork = fork(&*store, source, n + 10, TurnBoundary::Latest).await;
        assert_turns(&*store, fork, &["a", "b"]).await;
        let record = store.read_thread(fork).await.unwrap();
        assert_eq!((record.name, record.archived, record.history_mode), (None, false, mode));
        assert_eq!(record.preview.as_deref(), Some("ask a"));
        assert_eq!(record.created_at, head(n + 10, mode).timestamp.unwrap());
        let history = store.load_history(fork).await.unwrap();
        assert_eq!(history.lines.len(), before.lines.len() + 1, "the whole history and a head");
        let head = own_head(&*store, fork).await;
        assert!(head.window_id().is_some(), "the fork has its own context window");
        match mode {
            // By reference: the same lines, and a base that ends after the last of them.
            HistoryMode::Paginated => {
                assert_eq!(history.inherited, before.lines.len());
                assert_eq!(line_texts(&history)[..history.inherited], line_texts(&before)[..]);
                assert_consecutive_ordinals(&history);
                let base = head.history_base.unwrap();
                assert_eq!(base.thread_id, Some(source.into()));
                assert_eq!(base.end_ordinal_exclusive, Some(before.lines.len() as u64));
                assert_eq!(head.forked_from_ordinal_exclusive, base.end_ordinal_exclusive);
            }
            // A copy: equal payloads in lines of its own.
            HistoryMode::Legacy => {
                assert_eq!((history.inherited, &head.history_base), (0, &None));
                assert_eq!(history.lines[0].item(), head.into());
                let payloads = |lines: &[_]| -> Vec<_> { lines.iter().map(payload).collect() };
                assert_eq!(payloads(&history.lines[1..]), payloads(&before.lines));
            }
        }
    }
}

fn payload(line: &selvedge_protocol::RolloutLine) -> (String, String) {
    (line.kind().to_owned(), line.payload().to_owned())
}

pub(super) async fn inherits_the_head(store: Arc<dyn ThreadStore>) {
    // The head of the fork sets only the originator. The source is a sub-agent, which the fork must not become.
    for (n, mode) in (1..).zip(MODES) {
        let source = SessionMeta { agent_role: Some("r".into()), parent_thread_id: Some(id(900)), ..head(n, mode) };
        store.create_thread(source.clone()).await.unwrap();
        store.append_items(id(n), BatchId::generate(), &crate::fixtures::turn(mode, "a")).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
        let meta = SessionMeta { originator: Some("other".into()), ..SessionMeta::new(id(n + 10), second(60)) };
        let fork = store.fork_thread(ForkThread { source: id(n), at: TurnBoundary::Latest, meta }).await.unwrap();
        let record = store.read_thread(fork).await.unwrap();
        assert_eq!(
            (&record.cwd, &record.model_provider, &record.source),
            (&source.cwd, &source.model_provider, &source.source)
        );
        assert_eq!(record.originator.as_deref(), Some("other"));
        assert_eq!((record.parent_thread_id, record.agent_role, record.created_at), (None, None, second(60)));
    }
}

pub(super) async fn after_and_before(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let source = record(&*store, n, mode, &["a", "b", "c"]).await;
        let cases: [(TurnBoundary, &[&str]); 10] = [
            (TurnBoundary::BeforeNewest(0), &["a", "b", "c"]),
            (TurnBoundary::BeforeNewest(1), &["a", "b"]),
            (TurnBoundary::BeforeNewest(3), &[]),
            // More turns than the thread has.
            (TurnBoundary::BeforeNewest(u64::MAX), &[]),
            (TurnBoundary::After(turn_id("a")), &["a"]),
            (TurnBoundary::After(turn_id("b")), &["a", "b"]),
            (TurnBoundary::After(turn_id("c")), &["a", "b", "c"]),
            (TurnBoundary::Before(turn_id("c")), &["a", "b"]),
            (TurnBoundary::Before(turn_id("b")), &["a"]),
            (TurnBoundary::Before(turn_id("a")), &[]),
        ];
        for (number, (at, turns)) in (n * 100..).zip(cases) {
            let fork = fork(&*store, source, number, at).await;
            assert_turns(&*store, fork, turns).await;
            if mode == HistoryMode::Paginated {
                assert_consecutive_ordinals(&store.load_history(fork).await.unwrap());
            }
        }
    }
}

pub(super) async fn of_a_fork(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let first = record(&*store, n, mode, &["a", "b"]).await;
        let middle = fork(&*store, first, n + 10, TurnBoundary::After(turn_id("b"))).await;
        continue_thread(&*store, middle, mode, &["c", "d"]).await;
        let cases: [(TurnBoundary, &[&str]); 5] = [
            (TurnBoundary::Latest, &["a", "b", "c", "d"]),
            (TurnBoundary::After(turn_id("c")), &["a", "b", "c"]),
            (TurnBoundary::Before(turn_id("c")), &["a", "b"]),
            (TurnBoundary::After(turn_id("a")), &["a"]),
            (TurnBoundary::Before(turn_id("a")), &[]),
        ];
        for (number, (at, turns)) in (n * 100..).zip(cases) {
            let third = fork(&*store, middle, number, at).await;
            assert_turns(&*store, third, turns).await;
            continue_thread(&*store, third, mode, &["e"]).await;
            assert_eq!(shown_prompts(&*store, third).await.last().unwrap(), "e");
            if mode == HistoryMode::Paginated {
                assert_consecutive_ordinals(&store.load_history(third).await.unwrap());
            }
        }
        assert_turns(&*store, middle, &["a", "b", "c", "d"]).await;
        assert_turns(&*store, first, &["a", "b"]).await;
    }
}

pub(super) async fn source_and_fork_are_independent(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let source = record(&*store, n, mode, &["a", "b"]).await;
        let before = (store.load_history(source).await.unwrap(), store.read_thread(source).await.unwrap());
        let fork = fork(&*store, source, n + 10, TurnBoundary::After(turn_id("a"))).await;
        // First the fork grows, then the source. Each time the other thread is compared.
        continue_thread(&*store, fork, mode, &["x"]).await;
        let after = (store.load_history(source).await.unwrap(), store.read_thread(source).await.unwrap());
        assert_eq!(before, after);
        continue_thread(&*store, source, mode, &["c"]).await;
        assert_turns(&*store, fork, &["a", "x"]).await;
        assert_turns(&*store, source, &["a", "b", "c"]).await;
    }
}

pub(super) async fn of_live_and_archived(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let source = record(&*store, n, mode, &["a"]).await;
        store.resume_thread(source).await.unwrap();
        store.append_items(source, BatchId::generate(), &crate::fixtures::turn(mode, "b")).await.unwrap();
        // The fork ends with what was appended so far. The turn `c` comes later and does not belong to it.
        let of_live = fork(&*store, source, n + 10, TurnBoundary::Latest).await;
        let earlier =
            [TurnBoundary::After(turn_id("a")), TurnBoundary::Before(turn_id("b")), TurnBoundary::BeforeNewest(1)];
        for (number, at) in (n * 100..).zip(earlier.clone()) {
            let fork = fork(&*store, source, number, at).await;
            assert_turns(&*store, fork, &["a"]).await;
        }
        store.append_items(source, BatchId::generate(), &crate::fixtures::turn(mode, "c")).await.unwrap();
        store.shutdown_thread(source).await.unwrap();
        store.archive_thread(source).await.unwrap();
        let of_archived = fork(&*store, source, n + 20, TurnBoundary::Latest).await;
        for (number, at) in (n * 100 + 10..).zip(&earlier[..2]) {
            let fork = fork(&*store, source, number, at.clone()).await;
            assert_turns(&*store, fork, &["a"]).await;
        }
        assert_turns(&*store, of_live, &["a", "b"]).await;
        assert_turns(&*store, of_archived, &["a", "b", "c"]).await;
        assert!(!store.read_thread(of_archived).await.unwrap().archived);
        store.unarchive_thread(source).await.unwrap();
        assert_turns(&*store, of_archived, &["a", "b", "c"]).await;
    }
}

pub(super) async fn is_continued(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let source = record(&*store, n, mode, &["a", "b"]).await;
        let fork = fork(&*store, source, n + 10, TurnBoundary::After(turn_id("a"))).await;
        assert!(
            is_missing(store.append_items(fork, BatchId::generate(), &[started("c")]).await, true),
            "a new fork is cold"
        );
        continue_thread(&*store, fork, mode, &["c", "d"]).await;
        assert_turns(&*store, fork, &["a", "c", "d"]).await;
        let history = store.load_history(fork).await.unwrap();
        if mode == HistoryMode::Paginated {
            assert_consecutive_ordinals(&history);
        }
    }
}

pub(super) async fn refusals(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let request = |meta| ForkThread { source: id(n), at: TurnBoundary::Latest, meta };
        let meta = head(n + 10, mode);
        assert!(is_missing(store.fork_thread(request(meta.clone())).await, false));
        record(&*store, n, mode, &["a"]).await;
        assert!(is_invalid(store.fork_thread(request(SessionMeta { id: None, ..meta.clone() })).await));
        assert!(is_invalid(store.fork_thread(request(SessionMeta { timestamp: None, ..meta.clone() })).await));
        assert!(is_taken(store.fork_thread(request(head(n, mode))).await), "the id of the source");
        store.create_thread(meta.clone()).await.unwrap();
        assert!(is_taken(store.fork_thread(request(meta.clone())).await), "the id of a lazy thread");
        store.discard_thread(id(n + 10)).await.unwrap();
        for at in [TurnBoundary::After(turn_id("z")), TurnBoundary::Before(turn_id("z"))] {
            let outcome = store.fork_thread(ForkThread { at, ..request(meta.clone()) }).await;
            assert!(matches!(outcome, Err(StoreError::TurnNotFound { .. })));
        }
        // No refused call left a thread.
        assert!(is_missing(store.read_thread(id(n + 10)).await, false));
    }
}

pub(super) async fn delete_of_a_source(store: Arc<dyn ThreadStore>) {
    let mode = HistoryMode::Paginated;
    let source = record(&*store, 1, mode, &["a", "b"]).await;
    let forks = [
        fork(&*store, source, 11, TurnBoundary::Latest).await,
        fork(&*store, source, 12, TurnBoundary::After(turn_id("a"))).await,
    ];
    match store.delete_thread(source).await {
        Err(StoreError::HasDependents { thread_id, mut dependents }) => {
            dependents.sort();
            assert_eq!((thread_id, dependents), (source, forks.to_vec()));
        }
        other => panic!("{other:?}"),
    }
    assert_turns(&*store, source, &["a", "b"]).await;
    // One dependent is enough to prevent the deletion.
    store.delete_thread(forks[0]).await.unwrap();
    assert!(matches!(store.delete_thread(source).await, Err(StoreError::HasDependents { .. })));
    store.delete_thread(forks[1]).await.unwrap();
    store.delete_thread(source).await.unwrap();

    // A copied history depends on no other thread.
    let source = record(&*store, 2, HistoryMode::Legacy, &["a"]).await;
    let copy = fork(&*store, source, 21, TurnBoundary::Latest).await;
    store.delete_thread(source).await.unwrap();
    assert_turns(&*store, copy, &["a"]).await;
}

pub(super) async fn inherits_no_explicit_metadata(store: Arc<dyn ThreadStore>) {
    // Sets a name, a preview and a time of creation on the source, and compares the record of its fork.
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        let metadata = ThreadMetadataPatch {
            name: Some(Some("a name".into())),
            preview: Some(Some("a label".into())),
            created_at: Some(second(-1000)),
            ..Default::default()
        };
        store.update_thread_metadata(id(n), &metadata, MetadataOrigin::Explicit).await.unwrap();
        let request = ForkThread { source: id(n), at: TurnBoundary::Latest, meta: head(n + 10, mode) };
        let fork = store.fork_thread(request).await.unwrap();
        let fork = store.read_thread(fork).await.unwrap();
        assert_eq!(fork.created_at, second(i64::from(n + 10)));
        assert_eq!(fork.preview.as_deref(), Some("ask a"));
        assert_eq!(fork.name, None);
    }
}
