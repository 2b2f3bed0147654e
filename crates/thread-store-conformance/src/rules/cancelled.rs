//! Rules about calls whose future is dropped. The caller repeats the same call.
//!
//! A future can be dropped at each of its await points. The rules try them one after another, each in a new thread: a call is
//! dropped after its first poll, the next after its second poll, and so on. A rule stops when a call ends before its drop.

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use selvedge_protocol::{HistoryMode, ResponseItem, RolloutItem, ThreadMetadataPatch, TurnBoundary};
use selvedge_thread_store::{
    BatchId, ForkThread, MetadataOrigin, Result, RevertThread, SegmentPart, StoreError, ThreadStore,
};

use crate::fixtures::{continue_thread, head, id, is_missing, line_texts, record, shown_prompts, turn, turn_id};

const MODE: HistoryMode = HistoryMode::Paginated;

/// The limit for the number of polls before a drop.
///
/// A call with more await points than this is not tested beyond them. A higher limit makes the rules slower, because each poll needs
/// threads of its own.
const MAX_POLLS: u32 = 30;

/// Polls a future up to `polls` times, each time that it wakes, and then drops it. `None` if it was not ready by then.
async fn dropped_after<T>(polls: u32, call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    let mut left = polls;
    std::future::poll_fn(|context| {
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

pub(super) async fn append(store: Arc<dyn ThreadStore>) {
    // A store may write a large batch in several steps, which gives it more await points.
    let large: RolloutItem = ResponseItem::user_text(&"x".repeat(400 * 1024)).into();
    for size in ["small", "large"] {
        for polls in 1..=MAX_POLLS {
            let n = if size == "small" { polls } else { 100 + polls };
            store.create_thread(head(n, MODE)).await.unwrap();
            let mut items = turn(MODE, "a");
            if size == "large" {
                items.insert(3, large.clone());
            }
            let batch = BatchId::generate();
            let first = dropped_after(polls, store.append_items(id(n), batch, &items)).await;
            let appended = store.append_items(id(n), batch, &items).await.unwrap();
            assert_eq!(appended.lines, items.len() as u64 + 1, "{size}, dropped after {polls} polls");
            // If the store finishes the dropped call late, its lines appear after this batch.
            store.append_items(id(n), BatchId::generate(), &turn(MODE, "b")).await.unwrap();
            store.shutdown_thread(id(n)).await.unwrap();
            let history = store.load_history(id(n)).await.unwrap();
            let written: Vec<_> = history.lines[1..].iter().map(|line| line.item()).collect();
            items.extend(turn(MODE, "b"));
            assert!(written == items, "{size}, dropped after {polls} polls: {} lines", written.len());
            if first.is_some() {
                break;
            }
        }
    }
}

pub(super) async fn revert(store: Arc<dyn ThreadStore>) {
    for is_live in [false, true] {
        for polls in 1..=MAX_POLLS {
            let n = if is_live { 100 + polls } else { polls };
            record(&*store, n, MODE, &["a", "b", "c"]).await;
            if is_live {
                store.resume_thread(id(n)).await.unwrap();
            }
            let request =
                RevertThread { thread_id: id(n), to: TurnBoundary::BeforeNewest(1), batch: BatchId::generate() };
            let first = dropped_after(polls, store.revert_thread(request.clone())).await;
            let again = until_free(async || store.revert_thread(request.clone()).await).await.unwrap();
            assert_eq!(again, 1, "dropped after {polls} polls");
            assert_eq!(shown_prompts(&*store, id(n)).await, ["a", "b"], "live: {is_live}, dropped after {polls} polls");
            if first.is_some() {
                break;
            }
        }
    }
}

/// Repeats a call while it fails with `Conflict`.
///
/// A store may finish a dropped call in the background, and hold the thread for that time.
async fn until_free<T>(call: impl AsyncFn() -> Result<T>) -> Result<T> {
    for _ in 0..1000 {
        match call().await {
            Err(StoreError::Conflict { .. }) => tokio::time::sleep(std::time::Duration::from_millis(2)).await,
            outcome => return outcome,
        }
    }
    call().await
}

pub(super) async fn fork(store: Arc<dyn ThreadStore>) {
    for (mode, thousand) in [(HistoryMode::Legacy, 1000), (HistoryMode::Paginated, 2000)] {
        let source = record(&*store, thousand, mode, &["a", "b"]).await;
        for polls in 1..=MAX_POLLS {
            let n = thousand + polls;
            let request = ForkThread { source, at: TurnBoundary::After(turn_id("a")), meta: head(n, mode) };
            let first = dropped_after(polls, store.fork_thread(request.clone())).await;
            match until_free(async || store.fork_thread(request.clone()).await).await {
                Ok(fork) => assert_eq!(fork, id(n)),
                // The dropped call took effect, or takes effect now.
                Err(StoreError::AlreadyExists { thread_id }) => assert_eq!(thread_id, id(n)),
                Err(error) => panic!("{error:?}"),
            }
            assert_eq!(shown_prompts(&*store, id(n)).await, ["a"], "{mode:?}, dropped after {polls} polls");
            continue_thread(&*store, id(n), mode, &["c"]).await;
            assert_eq!(shown_prompts(&*store, id(n)).await, ["a", "c"], "{mode:?}, dropped after {polls} polls");
            if first.is_some() {
                break;
            }
        }
    }
}

pub(super) async fn detach(store: Arc<dyn ThreadStore>) {
    for polls in 1..=MAX_POLLS {
        let source = record(&*store, polls, MODE, &["a", "b"]).await;
        let request = ForkThread { source, at: TurnBoundary::Latest, meta: head(100 + polls, MODE) };
        let fork = store.fork_thread(request).await.unwrap();
        let before = store.load_history(fork).await.unwrap();
        let first = dropped_after(polls, store.detach_thread(fork)).await;
        until_free(async || store.detach_thread(fork).await).await.unwrap();
        let after = store.load_history(fork).await.unwrap();
        assert_eq!(after.inherited, 0, "dropped after {polls} polls");
        assert_eq!(after.lines.len(), before.lines.len(), "dropped after {polls} polls");
        // A copy that still needs the source would lose its history here.
        store.delete_thread(source).await.unwrap();
        assert_eq!(shown_prompts(&*store, fork).await, ["a", "b"], "dropped after {polls} polls");
        if first.is_some() {
            break;
        }
    }
}

pub(super) async fn update(store: Arc<dyn ThreadStore>) {
    let patch = ThreadMetadataPatch {
        name: Some(Some("name".into())),
        model: Some(Some("model".into())),
        ..Default::default()
    };
    for polls in 1..=MAX_POLLS {
        record(&*store, polls, MODE, &["a"]).await;
        let update = || store.update_thread_metadata(id(polls), &patch, MetadataOrigin::Explicit);
        let first = dropped_after(polls, update()).await;
        let record = until_free(async || update().await).await.unwrap();
        assert_eq!((record.name.as_deref(), record.model.as_deref()), (Some("name"), Some("model")));
        assert_eq!(record, store.read_thread(id(polls)).await.unwrap(), "dropped after {polls} polls");
        continue_thread(&*store, id(polls), MODE, &["b"]).await;
        assert_eq!(shown_prompts(&*store, id(polls)).await, ["a", "b"], "dropped after {polls} polls");
        if first.is_some() {
            break;
        }
    }
}

pub(super) async fn archive_and_unarchive(store: Arc<dyn ThreadStore>) {
    for polls in 1..=MAX_POLLS {
        record(&*store, polls, MODE, &["a", "b"]).await;
        let before = store.load_history(id(polls)).await.unwrap();
        let archived = dropped_after(polls, store.archive_thread(id(polls))).await;
        let record = until_free(async || store.archive_thread(id(polls)).await).await.unwrap();
        assert!(record.archived, "dropped after {polls} polls");
        let unarchived = dropped_after(polls, store.unarchive_thread(id(polls))).await;
        let record = until_free(async || store.unarchive_thread(id(polls)).await).await.unwrap();
        assert!(!record.archived, "dropped after {polls} polls");
        let after = store.load_history(id(polls)).await.unwrap();
        assert_eq!(line_texts(&after), line_texts(&before), "dropped after {polls} polls");
        if archived.is_some() && unarchived.is_some() {
            break;
        }
    }
}

pub(super) async fn delete(store: Arc<dyn ThreadStore>) {
    for polls in 1..=MAX_POLLS {
        record(&*store, polls, MODE, &["a", "b"]).await;
        let to = TurnBoundary::After(turn_id("a"));
        store.revert_thread(RevertThread { thread_id: id(polls), to, batch: BatchId::generate() }).await.unwrap();
        let first = dropped_after(polls, store.delete_thread(id(polls))).await;
        let again = until_free(async || store.delete_thread(id(polls)).await).await;
        assert!(again.is_ok() || is_missing(again, false), "dropped after {polls} polls");
        assert!(is_missing(store.read_thread(id(polls)).await, false), "dropped after {polls} polls");
        // A file or record that the deletion left behind would show in a new thread with the same id.
        record(&*store, polls, MODE, &["c"]).await;
        assert_eq!(shown_prompts(&*store, id(polls)).await, ["c"], "dropped after {polls} polls");
        if first.is_some() {
            break;
        }
    }
}

pub(super) async fn resume_and_shutdown(store: Arc<dyn ThreadStore>) {
    for polls in 1..=MAX_POLLS {
        record(&*store, polls, MODE, &["a"]).await;
        let resumed = dropped_after(polls, store.resume_thread(id(polls))).await;
        // Either the thread is live, or it can be resumed: now, or when the store has finished the dropped call.
        for attempt in 0.. {
            let outcome = store.resume_thread(id(polls)).await;
            if outcome.is_ok() || store.writer_state(id(polls)).await.is_ok() {
                break;
            }
            assert!(attempt < 1000, "dropped after {polls} polls: {outcome:?}");
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        store.append_items(id(polls), BatchId::generate(), &turn(MODE, "b")).await.unwrap();
        let ended = dropped_after(polls, store.shutdown_thread(id(polls))).await;
        let again = store.shutdown_thread(id(polls)).await;
        assert!(again.is_ok() || is_missing(again, true), "dropped after {polls} polls");
        until_free(async || store.resume_thread(id(polls)).await).await.unwrap();
        store.shutdown_thread(id(polls)).await.unwrap();
        assert_eq!(shown_prompts(&*store, id(polls)).await, ["a", "b"], "dropped after {polls} polls");
        if resumed.is_some() && ended.is_some() {
            break;
        }
    }
}

pub(super) async fn import(store: Arc<dyn ThreadStore>) {
    record(&*store, 1, MODE, &["a", "b"]).await;
    let info = store.list_segments(id(1)).await.unwrap().remove(0);
    let bytes = store.read_segment(id(1), info.id, 0, 1 << 20).await.unwrap();
    for polls in 1..=MAX_POLLS {
        store.delete_thread(id(1)).await.unwrap();
        let part = SegmentPart { info: &info, at: 0, bytes: &bytes, is_last: true };
        let first = dropped_after(polls, store.import_segment(part)).await;
        let has = until_free(async || store.import_segment(part).await).await.unwrap();
        assert_eq!(has, bytes.len() as u64, "dropped after {polls} polls");
        let copied = store.read_segment(id(1), info.id, 0, 1 << 20).await.unwrap();
        assert!(copied == bytes, "dropped after {polls} polls");
        if first.is_some() {
            break;
        }
    }
}
