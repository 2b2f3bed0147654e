//! Rules about calls whose answer is lost: the caller repeats the same call.
//!
//! Each rule runs twice: the lost call takes effect, or it does not. The caller cannot know which. So the repeated call must end in
//! the same state in both cases, although its answer may differ.

use std::sync::Arc;

use selvedge_protocol::{HistoryMode, SessionMeta, ThreadMetadataPatch, TurnBoundary};
use selvedge_thread_store::{
    BatchId, ForkThread, MetadataOrigin, Recovery, Result, RevertThread, SegmentPart, StoreError, ThreadStore,
};

use crate::fixtures::{head, id, is_missing, record, shown_prompts, turn, turn_id};
use crate::{LostAnswers, NotApplicable, StoreCall, StorePlace};

const MODE: HistoryMode = HistoryMode::Paginated;

/// A host whose answers can be lost: by the place if it supports that, otherwise by a wrapper around the host.
struct LossyStore {
    place: Arc<dyn StorePlace>,
    /// The host that the place opened.
    host: Arc<dyn ThreadStore>,
    answers: LostAnswers,
    /// The wrapper around the host. All calls of the rules go through it.
    store: Arc<dyn ThreadStore>,
}

impl LossyStore {
    async fn new(place: Arc<dyn StorePlace>) -> Self {
        let (host, answers) = (place.open_host().await, LostAnswers::new());
        let store = answers.host(Arc::clone(&host));
        Self { place, host, answers, store }
    }

    /// Makes a call whose answer is lost, makes the same call again, and returns the second answer.
    async fn call_twice<T>(
        &self,
        call: StoreCall,
        took_effect: bool,
        call_store: impl AsyncFn(&dyn ThreadStore) -> Result<T>,
    ) -> Result<Result<T>, NotApplicable> {
        // The place knows the inner host, and the wrapper is known to `answers`.
        if self.place.lose_answer(&self.host, call, took_effect).await.is_err() {
            self.answers.lose(&self.store, call, took_effect)?;
        }
        match call_store(&*self.store).await {
            Ok(_) => panic!("the answer of {call:?} was not lost"),
            Err(error) => assert_eq!(error.recovery(), Recovery::RepeatSame, "{error:?}"),
        }
        Ok(call_store(&*self.store).await)
    }
}

/// The number of the thread in each case, and whether the lost call takes effect.
const CASES: [(u32, bool); 2] = [(1, false), (2, true)];

pub(super) async fn of_create(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let lossy = LossyStore::new(place).await;
    for (n, took_effect) in CASES {
        let again = lossy
            .call_twice(StoreCall::Create, took_effect, async |store| store.create_thread(head(n, MODE)).await)
            .await?;
        if took_effect {
            assert!(
                matches!(again, Err(StoreError::AlreadyExists { .. })),
                "the call reports that it took effect: {again:?}"
            );
        } else {
            again.unwrap();
        }
        lossy.store.append_items(id(n), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
        assert_eq!(shown_prompts(&*lossy.store, id(n)).await, ["a"], "took effect: {took_effect}");
    }
    Ok(())
}

pub(super) async fn of_resume(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let lossy = LossyStore::new(place).await;
    for (n, took_effect) in CASES {
        record(&*lossy.store, n, MODE, &["a"]).await;
        let again =
            lossy.call_twice(StoreCall::Resume, took_effect, async |store| store.resume_thread(id(n)).await).await?;
        if took_effect {
            assert!(
                matches!(again, Err(StoreError::Conflict { .. })),
                "the call reports that the thread is live: {again:?}"
            );
        } else {
            again.unwrap();
        }
        lossy.store.writer_state(id(n)).await.expect("the thread is live here");
        lossy.store.append_items(id(n), BatchId::generate(), &turn(MODE, "b")).await.unwrap();
        assert_eq!(shown_prompts(&*lossy.store, id(n)).await, ["a", "b"], "took effect: {took_effect}");
    }
    Ok(())
}

pub(super) async fn of_append(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let lossy = LossyStore::new(place).await;
    for (n, took_effect) in CASES {
        lossy.store.create_thread(head(n, MODE)).await.unwrap();
        let mut wanted = Vec::new();
        for name in ["a", "b", "c"] {
            let (batch, items) = (BatchId::generate(), turn(MODE, name));
            let append = async |store: &dyn ThreadStore| store.append_items(id(n), batch, &items).await;
            let again = lossy.call_twice(StoreCall::Append, took_effect, append).await?.unwrap();
            // The first append also writes the head. A repeated call returns the result of the first, head included.
            let head = u64::from(wanted.is_empty());
            assert_eq!(again.lines, items.len() as u64 + head, "took effect: {took_effect}");
            wanted.push(name);
            assert_eq!(shown_prompts(&*lossy.store, id(n)).await, wanted, "took effect: {took_effect}");
        }
        let state = lossy.store.writer_state(id(n)).await.unwrap();
        assert!(state.last_batch.is_some());
    }
    Ok(())
}

pub(super) async fn of_persist(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let lossy = LossyStore::new(place).await;
    for (n, took_effect) in CASES {
        lossy.store.create_thread(head(n, MODE)).await.unwrap();
        let persist = async |store: &dyn ThreadStore| store.persist_thread(id(n)).await;
        lossy.call_twice(StoreCall::Persist, took_effect, persist).await?.unwrap();
        assert_eq!(lossy.store.load_history(id(n)).await.unwrap().lines.len(), 1, "took effect: {took_effect}");
    }
    Ok(())
}

pub(super) async fn of_flush_and_sync(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let lossy = LossyStore::new(place).await;
    for (n, took_effect) in CASES {
        lossy.store.create_thread(head(n, MODE)).await.unwrap();
        lossy.store.append_items(id(n), BatchId::generate(), &turn(MODE, "a")).await.unwrap();
        let flush = async |store: &dyn ThreadStore| store.flush_thread(id(n)).await;
        lossy.call_twice(StoreCall::Flush, took_effect, flush).await?.unwrap();
        let sync = async |store: &dyn ThreadStore| store.sync_thread(id(n)).await;
        lossy.call_twice(StoreCall::Sync, took_effect, sync).await?.unwrap();
        assert_eq!(shown_prompts(&*lossy.store, id(n)).await, ["a"], "took effect: {took_effect}");
    }
    Ok(())
}

pub(super) async fn of_shutdown_and_discard(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let lossy = LossyStore::new(place).await;
    for (n, took_effect) in CASES {
        record(&*lossy.store, n, MODE, &["a"]).await;
        for call in [StoreCall::Shutdown, StoreCall::Discard] {
            lossy.store.resume_thread(id(n)).await.unwrap();
            let end = async |store: &dyn ThreadStore| match call {
                StoreCall::Shutdown => store.shutdown_thread(id(n)).await,
                _ => store.discard_thread(id(n)).await,
            };
            let again = lossy.call_twice(call, took_effect, end).await?;
            assert!(if took_effect { is_missing(again, true) } else { again.is_ok() }, "{call:?}");
            assert!(is_missing(lossy.store.flush_thread(id(n)).await, true), "{call:?}: the thread is cold");
        }
    }
    Ok(())
}

pub(super) async fn of_update(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let lossy = LossyStore::new(place).await;
    for (n, took_effect) in CASES {
        record(&*lossy.store, n, MODE, &["a"]).await;
        let patch = ThreadMetadataPatch {
            name: Some(Some("name".into())),
            model: Some(Some("model".into())),
            ..Default::default()
        };
        for origin in [MetadataOrigin::Explicit, MetadataOrigin::Derived] {
            let update = async |store: &dyn ThreadStore| store.update_thread_metadata(id(n), &patch, origin).await;
            let record = lossy.call_twice(StoreCall::Update, took_effect, update).await?.unwrap();
            assert_eq!((record.name.as_deref(), record.model.as_deref()), (Some("name"), Some("model")), "{origin:?}");
            assert_eq!(record, lossy.store.read_thread(id(n)).await.unwrap(), "{origin:?}");
        }
    }
    Ok(())
}

pub(super) async fn of_archive_and_unarchive(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let lossy = LossyStore::new(place).await;
    for (n, took_effect) in CASES {
        record(&*lossy.store, n, MODE, &["a"]).await;
        let archive = async |store: &dyn ThreadStore| store.archive_thread(id(n)).await;
        assert!(lossy.call_twice(StoreCall::Archive, took_effect, archive).await?.unwrap().archived);
        let unarchive = async |store: &dyn ThreadStore| store.unarchive_thread(id(n)).await;
        assert!(!lossy.call_twice(StoreCall::Unarchive, took_effect, unarchive).await?.unwrap().archived);
        assert!(!lossy.store.read_thread(id(n)).await.unwrap().archived);
    }
    Ok(())
}

pub(super) async fn of_delete(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let lossy = LossyStore::new(place).await;
    for (n, took_effect) in CASES {
        record(&*lossy.store, n, MODE, &["a"]).await;
        let again =
            lossy.call_twice(StoreCall::Delete, took_effect, async |store| store.delete_thread(id(n)).await).await?;
        assert!(if took_effect { is_missing(again, false) } else { again.is_ok() }, "took effect: {took_effect}");
        assert!(is_missing(lossy.store.read_thread(id(n)).await, false), "took effect: {took_effect}");
    }
    Ok(())
}

/// Returns the number of the fork of the `n`-th thread.
const fn fork_of(n: u32) -> u32 {
    n + 10
}

pub(super) async fn of_fork(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let lossy = LossyStore::new(place).await;
    for (n, took_effect) in CASES {
        let source = record(&*lossy.store, n, MODE, &["a", "b"]).await;
        let at = TurnBoundary::After(turn_id("a"));
        let request = ForkThread { source, at, meta: SessionMeta { cwd: None, ..head(fork_of(n), MODE) } };
        let fork = async |store: &dyn ThreadStore| store.fork_thread(request.clone()).await;
        let again = lossy.call_twice(StoreCall::Fork, took_effect, fork).await?;
        if took_effect {
            assert!(
                matches!(again, Err(StoreError::AlreadyExists { .. })),
                "the call reports that it took effect: {again:?}"
            );
        } else {
            assert_eq!(again.unwrap(), id(fork_of(n)));
        }
        assert_eq!(shown_prompts(&*lossy.store, id(fork_of(n))).await, ["a"], "took effect: {took_effect}");
    }
    Ok(())
}

pub(super) async fn of_detach(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let lossy = LossyStore::new(place).await;
    for (n, took_effect) in CASES {
        let source = record(&*lossy.store, n, MODE, &["a", "b"]).await;
        let request = ForkThread { source, at: TurnBoundary::Latest, meta: head(fork_of(n), MODE) };
        let fork = lossy.store.fork_thread(request).await.unwrap();
        let detach = async |store: &dyn ThreadStore| store.detach_thread(fork).await;
        lossy.call_twice(StoreCall::Detach, took_effect, detach).await?.unwrap();
        assert_eq!(lossy.store.load_history(fork).await.unwrap().inherited, 0, "took effect: {took_effect}");
        lossy.store.delete_thread(source).await.unwrap();
        assert_eq!(shown_prompts(&*lossy.store, fork).await, ["a", "b"], "took effect: {took_effect}");
    }
    Ok(())
}

pub(super) async fn of_revert(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let lossy = LossyStore::new(place).await;
    for (n, took_effect) in CASES {
        record(&*lossy.store, n, MODE, &["a", "b", "c", "d"]).await;
        // First while the thread is cold, then while it is live.
        for (is_live, left) in [(false, &["a", "b", "c"][..]), (true, &["a", "b"])] {
            if is_live {
                lossy.store.resume_thread(id(n)).await.unwrap();
            }
            let to = TurnBoundary::BeforeNewest(1);
            let request = RevertThread { thread_id: id(n), to, batch: BatchId::generate() };
            let revert = async |store: &dyn ThreadStore| store.revert_thread(request.clone()).await;
            assert_eq!(lossy.call_twice(StoreCall::Revert, took_effect, revert).await?.unwrap(), 1);
            assert_eq!(shown_prompts(&*lossy.store, id(n)).await, left, "live: {is_live}, took effect: {took_effect}");
        }
    }
    Ok(())
}

pub(super) async fn of_import(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let lossy = LossyStore::new(place).await;
    for (n, took_effect) in CASES {
        record(&*lossy.store, n, MODE, &["a", "b"]).await;
        let info = lossy.store.list_segments(id(n)).await.unwrap().remove(0);
        let bytes = lossy.store.read_segment(id(n), info.id, 0, 1 << 20).await.unwrap();
        lossy.store.delete_thread(id(n)).await.unwrap();
        // Two parts: one that leaves the import incomplete, and one that makes the segment visible.
        let middle = bytes.len() / 2;
        for (at, part) in [(0, &bytes[..middle]), (middle, &bytes[middle..])] {
            let part = SegmentPart { info: &info, at: at as u64, bytes: part, is_last: at > 0 };
            let import = async |store: &dyn ThreadStore| store.import_segment(part).await;
            let has = lossy.call_twice(StoreCall::Import, took_effect, import).await?.unwrap();
            assert_eq!(has, (at + part.bytes.len()) as u64, "took effect: {took_effect}");
        }
        let copied = lossy.store.read_segment(id(n), info.id, 0, 1 << 20).await.unwrap();
        assert!(copied == bytes, "took effect: {took_effect}");
    }
    Ok(())
}
