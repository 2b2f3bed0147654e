//! Stores with one fault each, and the rules that catch them.
//!
//! Each fault stands in front of the store in memory and does one thing otherwise, as narrowly as it can be. The rules that catch
//! it are declared beside it. That exactly these do is checked over all rules by hand, since it takes minutes:
//!
//! ```text
//! cargo test -p selvedge-thread-store-conformance --test it -- --ignored --nocapture planted::every_fault_against_every_rule
//! ```
//!
//! It prints the table, and which rules catch no fault. The test that always runs holds each fault against the rules that are
//! declared to catch it.
#![expect(clippy::unwrap_used, reason = "a faulty store is part of a test")]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crate::expiring::Expiring;
use async_trait::async_trait;
use selvedge_protocol::{
    ArchivedFilter, Cursor, HistoryMode, ItemQuery, ItemsView, Page, RolloutItem, SearchHit, SearchOrder, SearchQuery,
    SegmentId, SessionMeta, SortDirection, StatsQuery, StoredThread, ThreadId, ThreadMetadataPatch, ThreadQuery,
    ThreadSortKey, ThreadStats, Turn, TurnItemEntry, TurnQuery, TurnSelector, TurnStatus,
};
use selvedge_thread_store::{
    Appended, BatchId, ChangePage, EntryKind, ForkThread, Holder, LinePage, LinePosition, LineQuery, LineStart,
    MaintenanceProgress, MaintenanceReport, MaintenanceRequest, MetadataOrigin, Result, RevertThread, SegmentInfo,
    SegmentPart, StoreError, ThreadChange, ThreadHistory, ThreadLookup, ThreadReader as _, ThreadStore, TurnBoundary,
    WriterState,
};
use selvedge_thread_store_conformance::{
    NotApplicable, RunOptions, StorePlace, StoreWrapper, Verdict, Wrapped, rules, run,
};

/// What a faulty store remembers, shared by the hosts of a place.
#[derive(Debug, Default)]
struct Notes {
    count: AtomicU64,
    /// How many hosts were opened.
    hosts: AtomicU64,
    is_restarted: AtomicBool,
    batches: Mutex<HashMap<BatchId, Appended>>,
    /// Threads that a call is at.
    busy: Mutex<HashSet<ThreadId>>,
    /// What was answered before.
    rows: Mutex<HashMap<ThreadId, StoredThread>>,
    histories: Mutex<HashMap<ThreadId, ThreadHistory>>,
}

impl Notes {
    fn is_second_call(&self) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed) % 2 == 1
    }
}

/// What a faulty store stands on.
#[derive(Debug)]
struct Planted {
    store: Arc<dyn ThreadStore>,
    notes: Arc<Notes>,
    /// Which of the hosts of the place it is, counted from 0.
    host: u64,
}

/// Stands in front of a store.
type Plant = fn(Planted) -> Arc<dyn ThreadStore>;

/// A planted fault.
struct Fault {
    name: &'static str,
    /// The rules that are meant to catch it.
    caught_by: &'static [&'static str],
    /// Other rules that catch it, because they stand on what it breaks.
    also_caught_by: &'static [&'static str],
    plant: Plant,
}

/// Makes a store of each fault: its name, the rules that catch it, and what it does otherwise.
macro_rules! faults {
    ($($name:ident caught by [$($rule:literal),*] also [$($other:literal),*] $body:tt)*) => {
        $(
            #[derive(Debug)]
            struct $name(Planted);

            impl Deref for $name {
                type Target = Planted;

                fn deref(&self) -> &Planted {
                    &self.0
                }
            }

            faults!(@wrapper $name $body);
        )*

        const FAULTS: &[Fault] = &[$(Fault {
            name: stringify!($name),
            caught_by: &[$($rule),*],
            also_caught_by: &[$($other),*],
            plant: |planted| Arc::new(Wrapped($name(planted))),
        }),*];
    };
    (@wrapper $name:ident { $($body:tt)* }) => {
        #[async_trait]
        impl StoreWrapper for $name {
            fn inner(&self) -> &dyn ThreadStore {
                &*self.store
            }

            $($body)*
        }
    };
}

/// A host, as long as somebody uses it.
type Host = Weak<dyn ThreadStore>;

/// Hosts of one place in memory, all with the same fault.
struct FaultyPlace {
    /// The hosts without the fault.
    hosts: Expiring,
    notes: Arc<Notes>,
    /// Each host, and the one without the fault behind it.
    behind: Mutex<Vec<(Host, Host)>>,
    fault: &'static Fault,
}

#[async_trait]
impl StorePlace for FaultyPlace {
    async fn open_host(&self) -> Arc<dyn ThreadStore> {
        let behind = self.hosts.open_host().await;
        let (store, notes) = (Arc::clone(&behind), Arc::clone(&self.notes));
        let host = notes.hosts.fetch_add(1, Ordering::Relaxed);
        let host = (self.fault.plant)(Planted { store, notes, host });
        self.behind.lock().unwrap().push((Arc::downgrade(&host), Arc::downgrade(&behind)));
        host
    }

    fn claim_expiry(&self) -> Option<Duration> {
        self.hosts.claim_expiry()
    }

    async fn pause_past_expiry(&self, host: &Arc<dyn ThreadStore>) -> std::result::Result<(), NotApplicable> {
        let known = self.behind.lock().unwrap().iter().find(|(known, _)| known.ptr_eq(&Arc::downgrade(host))).cloned();
        let behind = known.and_then(|(_, behind)| behind.upgrade()).expect("a host of this place");
        self.hosts.pause_past_expiry(&behind).await
    }

    async fn restart(&self) -> std::result::Result<(), NotApplicable> {
        self.notes.is_restarted.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn damage(
        &self,
        thread_id: ThreadId,
        at: &LinePosition,
        bytes: &[u8],
    ) -> std::result::Result<(), NotApplicable> {
        let store = &self.hosts.store;
        let entries = store.read_lines(&LineQuery::from(thread_id, LineStart::Beginning)).await.unwrap().entries;
        let before: usize = entries.iter().take_while(|entry| entry.at != *at).map(|entry| entry.bytes.len()).sum();
        let [info] = &store.list_segments(thread_id).await.unwrap()[..] else { panic!("one segment") };
        let mut all = store.read_segment(thread_id, info.id, 0, usize::MAX).await.unwrap();
        all[before..before + bytes.len()].copy_from_slice(bytes);
        store.delete_thread(thread_id).await.unwrap();
        let part = SegmentPart { info, at: 0, bytes: &all, is_last: true };
        store.import_segment(part).await.unwrap();
        Ok(())
    }
}

/// Rules about two hosts at work at the same time: whether they see a fault that another rule is meant for depends on which of
/// the two was quicker.
const RACING: [&str; 2] = ["changes.following", "readers.see-a-prefix"];

/// Returns the rules that catch a fault, of those with these ids or of all.
async fn caught_by(fault: &'static Fault, only: &[&str]) -> BTreeMap<&'static str, String> {
    let new_place = move || async move {
        let (hosts, notes) = (Expiring::new(true), Arc::default());
        FaultyPlace { hosts, notes, behind: Mutex::default(), fault }
    };
    let only = only.iter().map(|id| (*id).to_owned()).collect();
    let options = RunOptions { only, time_limit: Duration::from_secs(15), at_once: 2 };
    let report = run(new_place, &options).await;
    let failed = report.rules.into_iter().filter_map(|rule| match rule.verdict {
        Verdict::Failed { seen } => Some((rule.id, seen)),
        Verdict::Passed | Verdict::NotApplicable { .. } => None,
    });
    failed.collect()
}

/// Nothing but what a place of faulty stores is made of.
#[derive(Debug)]
struct NoFault(Planted);

impl StoreWrapper for NoFault {
    fn inner(&self) -> &dyn ThreadStore {
        &*self.0.store
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_a_fault_keeps_every_rule() {
    const NO_FAULT: Fault = Fault {
        name: "NoFault",
        caught_by: &[],
        also_caught_by: &[],
        plant: |planted| Arc::new(Wrapped(NoFault(planted))),
    };
    assert_eq!(caught_by(&NO_FAULT, &[]).await, BTreeMap::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_is_caught_by_the_rules_that_are_meant() {
    let ids: BTreeSet<&str> = rules().iter().map(|rule| rule.id).collect();
    assert!(FAULTS.len() >= 40, "{} faults", FAULTS.len());
    let declared = FAULTS.iter().flat_map(|fault| fault.caught_by.iter().chain(fault.also_caught_by)).copied();
    let idle: Vec<&str> = ids.difference(&declared.collect()).copied().collect();
    assert!(idle.is_empty(), "no fault shows that these rules catch one: {idle:?}");
    for fault in FAULTS {
        assert!(!fault.caught_by.is_empty(), "{}: nothing is to catch it", fault.name);
        assert!(fault.caught_by.iter().all(|id| ids.contains(id)), "{}: {:?}", fault.name, fault.caught_by);
        let caught: BTreeSet<&str> = caught_by(fault, fault.caught_by).await.into_keys().collect();
        // An id may be the beginning of another one.
        let declared: BTreeSet<&str> = fault.caught_by.iter().copied().collect();
        let missed: Vec<_> = declared.difference(&caught).collect();
        assert!(missed.is_empty(), "{} is not caught by {missed:?}", fault.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "every fault against every rule takes minutes"]
async fn every_fault_against_every_rule() {
    let mut table = String::new();
    let mut wrong = String::new();
    let mut catching: BTreeSet<&str> = BTreeSet::new();
    for fault in FAULTS {
        let caught = caught_by(fault, &[]).await;
        let ids: BTreeSet<&str> = caught.keys().copied().collect();
        let declared: BTreeSet<&str> = fault.caught_by.iter().chain(fault.also_caught_by).copied().collect();
        writeln!(table, "{} | {}", fault.name, ids.iter().copied().collect::<Vec<_>>().join(", ")).unwrap();
        let is_luck = |id: &&str| RACING.contains(id) && !fault.caught_by.contains(id);
        if ids.iter().filter(|id| !is_luck(id)).ne(declared.iter().filter(|id| !is_luck(id))) {
            writeln!(wrong, "{}:", fault.name).unwrap();
            for id in declared.difference(&ids) {
                writeln!(wrong, "  does not catch it: {id}").unwrap();
            }
            for id in ids.difference(&declared) {
                writeln!(wrong, "  catches it: {id}: {}", caught[id].lines().take(3).collect::<Vec<_>>().join(" / "))
                    .unwrap();
            }
        }
        catching.extend(ids);
    }
    let idle: Vec<&str> = rules().iter().map(|rule| rule.id).filter(|id| !catching.contains(id)).collect();
    println!(
        "{table}\n{} faults; {} rules catch one, {} catch none: {idle:#?}",
        FAULTS.len(),
        catching.len(),
        idle.len()
    );
    assert!(wrong.is_empty(), "not as declared:\n{wrong}");
    assert!(idle.is_empty(), "these rules catch nothing: {idle:?}");
}

fn is_archived(row: &StoredThread) -> bool {
    row.archived
}

faults! {
    CutsLargeItems caught by ["sizes.items-of-a-megabyte"] also ["batches.order-of-first-polls"] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let small = |item: &&RolloutItem| serde_json::to_string(item).is_ok_and(|text| text.len() < 1_000_000);
            let items: Vec<RolloutItem> = items.iter().filter(small).cloned().collect();
            self.store.append_items(thread_id, batch, &items).await
        }
    }
    LosesTheEndOfLargeBatches caught by ["sizes.batches-of-ten-thousand"] also [] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            self.store.append_items(thread_id, batch, &items[..items.len().min(9_999)]).await
        }
    }
    DropsUnknownItems caught by ["append.unknown-items-are-kept"] also [] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let known = |item: &&RolloutItem| !matches!(item, RolloutItem::Other(_));
            let items: Vec<RolloutItem> = items.iter().filter(known).cloned().collect();
            self.store.append_items(thread_id, batch, &items).await
        }
    }
    WritesEmptyBatches caught by ["append.empty-batch"] also [] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            if items.is_empty() {
                self.store.persist_thread(thread_id).await?;
            }
            self.store.append_items(thread_id, batch, items).await
        }
    }
    SaysTheOrdinalBehind caught by ["append.ordinals-are-consecutive"] also ["sizes.batches-of-ten-thousand"] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let appended = self.store.append_items(thread_id, batch, items).await?;
            Ok(Appended { last_ordinal: appended.last_ordinal.map(|ordinal| ordinal + 1), ..appended })
        }
    }
    CountsLegacyLines caught by ["append.legacy-has-no-ordinals"] also [] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let appended = self.store.append_items(thread_id, batch, items).await?;
            Ok(Appended { last_ordinal: appended.last_ordinal.or(Some(0)), ..appended })
        }
    }
    ForgetsBatches caught by ["batches.repeated-batch"] also ["batches.dropped-batch", "batches.writer-state", "cancelled.append", "lost.of-append", "sizes.batches-of-ten-thousand"] {
        async fn append_items(&self, thread_id: ThreadId, _: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            self.store.append_items(thread_id, BatchId::generate(), items).await
        }
    }
    RemembersTheNewestBatchOnly caught by ["batches.repeated-batch"] also ["batches.dropped-batch", "batches.writer-state", "cancelled.append", "lost.of-append", "sizes.batches-of-ten-thousand"] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let newest = self.store.writer_state(thread_id).await.ok().and_then(|state| state.last_batch);
            let batch = if newest == Some(batch) { batch } else { BatchId::generate() };
            self.store.append_items(thread_id, batch, items).await
        }
    }
    RemembersFailedBatches caught by ["batches.failed-batch"] also ["claims.fenced-host-resumes"] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            if let Some(appended) = self.notes.batches.lock().unwrap().get(&batch) {
                return Ok(*appended);
            }
            let outcome = self.store.append_items(thread_id, batch, items).await;
            if outcome.is_err() {
                let nothing = Appended { lines: 0, last_ordinal: None };
                self.notes.batches.lock().unwrap().insert(batch, nothing);
            }
            outcome
        }
    }
    ForgetsReverts caught by ["batches.repeated-revert"] also ["cancelled.revert", "lost.of-revert"] {
        async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
            self.store.revert_thread(RevertThread { batch: BatchId::generate(), ..request }).await
        }
    }
    ForgetsWhoWroteLast caught by ["batches.writer-state"] also ["lost.of-append"] {
        async fn writer_state(&self, thread_id: ThreadId) -> Result<WriterState> {
            Ok(WriterState { last_batch: None, ..self.store.writer_state(thread_id).await? })
        }
    }
    HasOneEpoch caught by ["claims.epochs"] also ["batches.writer-state", "claims.fenced-host-resumes"] {
        async fn writer_state(&self, thread_id: ThreadId) -> Result<WriterState> {
            Ok(WriterState { epoch: 1, ..self.store.writer_state(thread_id).await? })
        }
    }
    TearsBatches caught by ["append.concurrent-batches"] also ["batches.dropped-batch", "batches.repeated-batch", "cancelled.append", "lost.of-append", "sizes.batches-of-ten-thousand"] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let Some((last, first)) = items.split_last().filter(|(_, first)| !first.is_empty()) else {
                return self.store.append_items(thread_id, batch, items).await;
            };
            let begun = self.store.append_items(thread_id, BatchId::generate(), first).await?;
            tokio::task::yield_now().await;
            let ended = self.store.append_items(thread_id, batch, std::slice::from_ref(last)).await?;
            Ok(Appended { lines: begun.lines + ended.lines, ..ended })
        }
    }

    CreatesWithoutATime caught by ["life.create-refuses"] also [] {
        async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
            let timestamp = meta.timestamp.or(Some(selvedge_protocol::Timestamp::from_millis(0)));
            self.store.create_thread(SessionMeta { timestamp, ..meta }).await
        }
    }
    CreatesWhatIsArchived caught by ["life.create-taken-id"] also [] {
        async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
            let row = match meta.id {
                Some(id) => self.store.read_thread(id).await.ok(),
                None => None,
            };
            if row.as_ref().is_some_and(is_archived) { Ok(()) } else { self.store.create_thread(meta).await }
        }
    }
    MakesLegacyThreads caught by ["life.new-threads-are-paginated"] also [] {
        async fn create_thread(&self, mut meta: SessionMeta) -> Result<()> {
            meta.history_mode.get_or_insert(HistoryMode::Legacy);
            self.store.create_thread(meta).await
        }
    }
    KeepsDiscardedThreads caught by ["life.discard-leaves-no-trace"] also ["branch.refusals", "claims.fenced-host-resumes", "life.lazy-twice"] {
        async fn discard_thread(&self, thread_id: ThreadId) -> Result<()> {
            self.store.persist_thread(thread_id).await?;
            self.store.discard_thread(thread_id).await
        }
    }
    KeepsLazyThreadsThatAreShutDown caught by ["life.shutdown-of-a-lazy-thread"] also [] {
        async fn shutdown_thread(&self, thread_id: ThreadId) -> Result<()> {
            self.store.persist_thread(thread_id).await?;
            self.store.shutdown_thread(thread_id).await
        }
    }
    ResumesWhatIsMissingAsAConflict caught by ["life.resume-refuses"] also ["life.create-refuses", "life.delete", "life.discard-leaves-no-trace", "life.shutdown-of-a-lazy-thread"] {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            match self.store.resume_thread(thread_id).await {
                Err(StoreError::NotFound { thread_id, .. }) => {
                    Err(StoreError::Conflict { thread_id, holder: Holder::default(), since: None })
                }
                outcome => outcome,
            }
        }
    }
    FlushesWhatIsCold caught by ["life.live-methods-need-a-live-thread"] also ["lost.of-shutdown-and-discard"] {
        async fn flush_thread(&self, thread_id: ThreadId) -> Result<()> {
            match self.store.flush_thread(thread_id).await {
                Err(StoreError::NotFound { .. }) => Ok(()),
                outcome => outcome,
            }
        }
    }
    DeletesWhatIsLive caught by ["life.delete"] also ["life.lazy-until-first-append"] {
        async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
            if self.store.flush_thread(thread_id).await.is_ok() {
                self.store.shutdown_thread(thread_id).await?;
            }
            self.store.delete_thread(thread_id).await
        }
    }
    ArchivesWhatIsLive caught by ["life.archive"] also ["life.lazy-until-first-append"] {
        async fn archive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            if self.store.flush_thread(thread_id).await.is_ok() {
                self.store.shutdown_thread(thread_id).await?;
                let row = self.store.archive_thread(thread_id).await?;
                self.store.resume_thread(thread_id).await?;
                return Ok(row);
            }
            self.store.archive_thread(thread_id).await
        }
    }
    ShowsLazyThreads caught by ["life.lazy-until-first-append"] also ["append.empty-batch", "append.ordinals-are-consecutive", "batches.writer-state", "branch.refusals", "cancelled.append", "changes.begin-with-all", "claims.lazy-thread-of-a-dead-writer", "detach.refusals", "find.no-lazy-thread", "life.discard-leaves-no-trace", "life.lazy-is-private", "life.shutdown-of-a-lazy-thread", "lost.of-append", "sizes.batches-of-ten-thousand"] {
        async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
            let id = meta.id;
            self.store.create_thread(meta).await?;
            match id {
                Some(id) => self.store.persist_thread(id).await,
                None => Ok(()),
            }
        }
    }

    LeavesOutTheFirstThread caught by ["changes.begin-with-all"] also ["changes.each-change-is-told", "changes.following"] {
        async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
            let mut page = self.store.list_changes(after, limit).await?;
            if after.is_none() && page.changes.len() > 1 {
                page.changes.remove(0);
            }
            Ok(page)
        }
    }
    TellsNoChangesOnEmptyPages caught by ["changes.refusals"] also [] {
        async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
            self.store.list_changes(after, limit.max(1)).await
        }
    }
    DoesNotTellWhatIsGone caught by ["changes.each-change-is-told"] also ["changes.following"] {
        async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
            let mut page = self.store.list_changes(after, limit).await?;
            page.changes.retain(|change| matches!(change, ThreadChange::Present { .. }));
            Ok(page)
        }
    }

    FindsNoArchivedNames caught by ["find.by-name"] also [] {
        async fn find_threads(&self, lookup: &ThreadLookup) -> Result<Vec<ThreadId>> {
            let mut found = Vec::new();
            for id in self.store.find_threads(lookup).await? {
                let is_named = matches!(lookup, ThreadLookup::Name(_));
                if !(is_named && self.store.read_thread(id).await?.archived) {
                    found.push(id);
                }
            }
            Ok(found)
        }
    }
    FindsNoUpperCasePrefixes caught by ["find.by-prefix"] also [] {
        async fn find_threads(&self, lookup: &ThreadLookup) -> Result<Vec<ThreadId>> {
            match lookup {
                ThreadLookup::IdPrefix(prefix) if prefix.to_lowercase() != *prefix => Ok(Vec::new()),
                lookup => self.store.find_threads(lookup).await,
            }
        }
    }
    ShortensIdsTooMuch caught by ["find.distinct-prefix-len"] also [] {
        async fn distinct_prefix_len(&self, thread_ids: &[ThreadId]) -> Result<usize> {
            Ok(self.store.distinct_prefix_len(thread_ids).await?.saturating_sub(1))
        }
    }
    HasNoHeads caught by ["find.session-meta"] also [] {
        async fn read_session_meta(&self, thread_id: ThreadId) -> Result<Option<SessionMeta>> {
            self.store.read_session_meta(thread_id).await.map(|_| None)
        }
    }
    CountsThreadsTwice caught by ["find.stats"] also ["readers.lists-are-fresh"] {
        async fn thread_stats(&self, query: &StatsQuery) -> Result<ThreadStats> {
            let mut stats = self.store.thread_stats(query).await?;
            stats.total.threads *= 2;
            Ok(stats)
        }
    }
    ExportsWithoutSayingHowMuch caught by ["find.export"] also ["find.stats"] {
        async fn export(&self, thread_id: ThreadId, out: &mut (dyn std::io::Write + Send)) -> Result<u64> {
            self.store.export(thread_id, out).await.map(|bytes| bytes.saturating_sub(1))
        }
    }

    IgnoresTheSizeOfPages caught by ["lines.by-bytes"] also [] {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            self.store.read_lines(&LineQuery { max_bytes: usize::MAX, ..query.clone() }).await
        }
    }
    ReadsPagesWithoutRoom caught by ["lines.refusals"] also [] {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            self.store.read_lines(&LineQuery { max_lines: query.max_lines.max(1), ..query.clone() }).await
        }
    }
    SaysNothingOfRewinds caught by ["lines.after-a-rewind"] also ["lines.following", "lines.positions-over-every-change"] {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            Ok(LinePage { rewound_to: None, ..self.store.read_lines(query).await? })
        }
    }
    HidesBlanks caught by ["lines.are-the-history"] also ["lines.positions"] {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            let mut page = self.store.read_lines(query).await?;
            if query.direction == SortDirection::Descending {
                page.entries.truncate(page.entries.len().max(2) - 1);
            }
            Ok(page)
        }
    }
    DoesNotWake caught by ["lines.following"] also ["lines.refusals"] {
        async fn wait_for_lines(&self, _: ThreadId, _: &LinePosition) -> Result<()> {
            std::future::pending().await
        }
    }
    ForgetsWhereTurnsBegin caught by ["lines.starts"] also [] {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            match &query.start {
                LineStart::Turn(_) => {
                    self.store.read_lines(&LineQuery { start: LineStart::Beginning, ..query.clone() }).await
                }
                _ => self.store.read_lines(query).await,
            }
        }
    }

    BreaksTiesTheOtherWay caught by ["list.ties-are-sorted-by-id"] also ["list.against-a-model"] {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            let mut page = self.store.list_threads(query).await?;
            if page.items.windows(2).any(|pair| pair[0].created_at == pair[1].created_at)
                && query.sort == ThreadSortKey::CreatedAt
            {
                page.items.reverse();
            }
            Ok(page)
        }
    }
    ListsPagesWithoutRoom caught by ["list.refusals"] also ["errors.give-up"] {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            self.store.list_threads(&ThreadQuery { limit: query.limit.max(1), ..query.clone() }).await
        }
    }
    IgnoresBranches caught by ["list.filters"] also [] {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            self.store.list_threads(&ThreadQuery { git_branch: None, ..query.clone() }).await
        }
    }
    IgnoresRelations caught by ["list.descendants"] also ["list.against-a-model", "list.filters"] {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            self.store.list_threads(&ThreadQuery { relation: None, ..query.clone() }).await
        }
    }

    ShowsAllItems caught by ["turns.views"] also [] {
        async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
            self.store.list_turns(&TurnQuery { items_view: ItemsView::Full, ..query.clone() }).await
        }
    }
    ShowsTurnsWithoutRoom caught by ["turns.refusals"] also [] {
        async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
            self.store.list_turns(&TurnQuery { limit: query.limit.max(1), ..query.clone() }).await
        }
    }
    HasNoTurnInProgress caught by ["turns.in-progress"] also ["turns.in-progress-elsewhere"] {
        async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
            let mut page = self.store.list_turns(query).await?;
            for turn in page.items.iter_mut().filter(|turn| turn.status == TurnStatus::InProgress) {
                turn.status = TurnStatus::Interrupted;
            }
            Ok(page)
        }
    }
    ForgetsTheCursorOfTurns caught by ["turns.pages"] also ["turns.cursors-while-the-thread-grows"] {
        async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
            let mut page = self.store.list_turns(query).await?;
            page.next_cursor = None;
            Ok(page)
        }
    }
    ShowsItemsWithoutRoom caught by ["items.refusals"] also [] {
        async fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>> {
            self.store.list_items(&ItemQuery { limit: query.limit.max(1), ..query.clone() }).await
        }
    }
    ForgetsTheCursorOfItems caught by ["items.pages"] also ["items.cursors-while-the-thread-grows", "items.of-one-turn"] {
        async fn list_items(&self, query: &ItemQuery) -> Result<Page<TurnItemEntry>> {
            let mut page = self.store.list_items(query).await?;
            page.next_cursor = None;
            Ok(page)
        }
    }

    KeepsObservedPatches caught by ["metadata.observed-patch"] also ["lines.positions", "lines.positions-stay", "lines.starts", "metadata.empty-and-observed-patches", "revert.after-and-before", "segments.damaged-bytes-are-kept"] {
        async fn update_thread_metadata(
            &self,
            thread_id: ThreadId,
            patch: &ThreadMetadataPatch,
            _: MetadataOrigin,
        ) -> Result<StoredThread> {
            self.store.update_thread_metadata(thread_id, patch, MetadataOrigin::Explicit).await
        }
    }
    ForgetsExplicitPatches caught by ["metadata.patch-survives-resume"] also ["cancelled.update", "changes.each-change-is-told", "detach.keeps-labels-and-surroundings", "find.by-name", "life.archive", "list.filters", "lost.of-update", "metadata.conflicts", "metadata.explicit-patch", "metadata.name", "revert.keeps-labels", "search.best", "search.in-names-and-items", "search.language", "search.positions"] {
        async fn update_thread_metadata(
            &self,
            thread_id: ThreadId,
            patch: &ThreadMetadataPatch,
            _: MetadataOrigin,
        ) -> Result<StoredThread> {
            self.store.update_thread_metadata(thread_id, patch, MetadataOrigin::Derived).await
        }
    }
    ClearsNothing caught by ["metadata.patch-clears"] also [] {
        async fn update_thread_metadata(
            &self,
            thread_id: ThreadId,
            patch: &ThreadMetadataPatch,
            origin: MetadataOrigin,
        ) -> Result<StoredThread> {
            let mut patch = patch.clone();
            patch.preview = patch.preview.filter(Option::is_some);
            self.store.update_thread_metadata(thread_id, &patch, origin).await
        }
    }
    ForgetsGit caught by ["metadata.patch-of-git"] also ["metadata.explicit-patch"] {
        async fn update_thread_metadata(
            &self,
            thread_id: ThreadId,
            patch: &ThreadMetadataPatch,
            origin: MetadataOrigin,
        ) -> Result<StoredThread> {
            let mut patch = patch.clone();
            if let Some(Some(git)) = &mut patch.git {
                git.repository_url = None;
            }
            self.store.update_thread_metadata(thread_id, &patch, origin).await
        }
    }

    InheritsNames caught by ["branch.is-not-labelled"] also ["branch.at-latest"] {
        async fn fork_thread(&self, request: ForkThread) -> Result<ThreadId> {
            let name = self.store.read_thread(request.source).await?.name;
            let fork = self.store.fork_thread(request).await?;
            if name.is_some() {
                let patch = ThreadMetadataPatch { name: Some(name), ..ThreadMetadataPatch::default() };
                self.store.update_thread_metadata(fork, &patch, MetadataOrigin::Explicit).await?;
            }
            Ok(fork)
        }
    }
    ForksSomewhereElse caught by ["branch.inherits-the-head"] also [] {
        async fn fork_thread(&self, mut request: ForkThread) -> Result<ThreadId> {
            request.meta.cwd.get_or_insert_with(|| "/elsewhere".to_owned());
            self.store.fork_thread(request).await
        }
    }
    ForksAlwaysAtTheEnd caught by ["branch.after-and-before"] also ["branch.of-live-and-archived"] {
        async fn fork_thread(&self, request: ForkThread) -> Result<ThreadId> {
            let at = match request.at {
                TurnBoundary::BeforeNewest(_) => TurnBoundary::Latest,
                at => at,
            };
            self.store.fork_thread(ForkThread { at, ..request }).await
        }
    }
    NamesOneDependent caught by ["branch.delete-with-forks"] also ["detach.in-a-chain", "revert.fork-of-reverted"] {
        async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
            match self.store.delete_thread(thread_id).await {
                Err(StoreError::HasDependents { thread_id, mut dependents }) => {
                    dependents.truncate(1);
                    Err(StoreError::HasDependents { thread_id, dependents })
                }
                outcome => outcome,
            }
        }
    }
    CountsOneTurnMore caught by ["revert.after-and-before"] also ["batches.repeated-revert", "cancelled.revert", "life.archive", "lost.of-revert", "revert.before-the-first-turn", "revert.counts-steering", "revert.fork-of-reverted", "revert.inside-the-inherited", "revert.keeps-labels", "revert.of-a-live-thread", "revert.of-a-torn-turn", "revert.refusals", "revert.to-between-turns", "revert.to-latest"] {
        async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
            self.store.revert_thread(request).await.map(|undone| undone + 1)
        }
    }
    SaysThatTheLatestUndoes caught by ["revert.to-latest"] also [] {
        async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
            let is_latest = request.to == TurnBoundary::Latest;
            self.store.revert_thread(request).await.map(|undone| if is_latest { 1 } else { undone })
        }
    }
    DetachesNothing caught by ["detach.frees-the-source"] also ["cancelled.detach", "detach.archived-and-twice", "detach.goes-on", "detach.in-a-chain", "detach.keeps-compactions", "detach.keeps-labels-and-surroundings", "detach.of-reverted", "detach.refusals", "errors.conflicts-pass", "lines.positions-stay", "lost.of-detach"] {
        async fn detach_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            self.store.read_thread(thread_id).await
        }
    }
    UnarchivesWhatItDetaches caught by ["detach.archived-and-twice"] also [] {
        async fn detach_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            self.store.detach_thread(thread_id).await?;
            self.store.unarchive_thread(thread_id).await
        }
    }

    HidesAbandonedSegments caught by ["segments.abandoned-segments"] also [] {
        async fn list_segments(&self, thread_id: ThreadId) -> Result<Vec<SegmentInfo>> {
            let mut segments = self.store.list_segments(thread_id).await?;
            segments.retain(|segment| segment.is_current);
            Ok(segments)
        }
    }
    FailsBeyondTheEnd caught by ["segments.refusals"] also [] {
        async fn read_segment(&self, thread_id: ThreadId, id: SegmentId, at: u64, max_bytes: usize) -> Result<Vec<u8>> {
            let bytes = self.store.read_segment(thread_id, id, at, max_bytes).await?;
            let len = self.store.list_segments(thread_id).await?.iter().find(|info| info.id == id).map(|info| info.bytes);
            if len.is_some_and(|len| at > len) { Err(StoreError::not_found(thread_id)) } else { Ok(bytes) }
        }
    }
    ImportsIntoLiveThreads caught by ["segments.import-and-writer"] also [] {
        async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64> {
            let thread_id = part.info.thread_id;
            let known = self.store.list_segments(thread_id).await.unwrap_or_default();
            let is_new = known.iter().all(|info| info.id != part.info.id);
            match self.store.import_segment(part).await {
                Err(StoreError::Conflict { .. }) if is_new && self.store.shutdown_thread(thread_id).await.is_ok() => {
                    let has = self.store.import_segment(part).await?;
                    self.store.resume_thread(thread_id).await?;
                    Ok(has)
                }
                outcome => outcome,
            }
        }
    }
    BeginsAnewWithEmptySegments caught by ["segments.empty-segments"] also [] {
        async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
            let newest = self.store.list_segments(query.thread_id).await?.pop();
            let page = self.store.list_turns(query).await?;
            let is_empty = newest.is_some_and(|newest| newest.bytes == 0);
            Ok(if is_empty { Page { items: Vec::new(), ..page } } else { page })
        }
    }
    ReadsAnyNumberOfBytes caught by ["sizes.parts-of-segments"] also [] {
        async fn read_segment(&self, thread_id: ThreadId, id: SegmentId, at: u64, max_bytes: usize) -> Result<Vec<u8>> {
            let mut bytes = Vec::new();
            loop {
                let from = at.saturating_add(bytes.len() as u64);
                let part = self.store.read_segment(thread_id, id, from, max_bytes - bytes.len()).await?;
                if part.is_empty() {
                    return Ok(bytes);
                }
                bytes.extend(part);
            }
        }
    }
    KeepsBytesOfDeletedThreads caught by ["life.delete"] also [] {
        async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
            self.store.delete_thread(thread_id).await?;
            self.notes.busy.lock().unwrap().insert(thread_id);
            Ok(())
        }
        async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64> {
            let has = self.store.import_segment(part).await?;
            let is_deleted = self.notes.busy.lock().unwrap().contains(&part.info.thread_id);
            let is_question = part.bytes.is_empty() && !part.is_last;
            Ok(if is_deleted && is_question { has.max(1) } else { has })
        }
    }
    NamesByDerivedPatches caught by ["metadata.derived-names"] also [] {
        async fn update_thread_metadata(&self, thread_id: ThreadId, patch: &ThreadMetadataPatch, origin: MetadataOrigin) -> Result<StoredThread> {
            let record = self.store.update_thread_metadata(thread_id, patch, origin).await?;
            let Some(name) = patch.name.clone().filter(|_| origin == MetadataOrigin::Derived) else { return Ok(record) };
            let name = ThreadMetadataPatch { name: Some(name), ..Default::default() };
            self.store.update_thread_metadata(thread_id, &name, MetadataOrigin::Explicit).await
        }
    }
    ForgetsWhatComesLater caught by ["segments.rows-of-copies"] also [] {
        async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64> {
            let thread_id = part.info.thread_id;
            let has = self.store.import_segment(part).await?;
            let row = self.store.read_thread(thread_id).await;
            if let Ok(row) = row.as_ref().map(Clone::clone) && row.forked_from_id.is_some() {
                self.notes.rows.lock().unwrap().entry(thread_id).or_insert(row);
            }
            Ok(has)
        }
        async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
            self.notes.rows.lock().unwrap().remove(&thread_id);
            self.store.delete_thread(thread_id).await
        }
        async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            let row = self.store.read_thread(thread_id).await?;
            let imported = self.notes.rows.lock().unwrap().get(&thread_id).cloned();
            Ok(StoredThread { first_user_message: imported.map_or(row.first_user_message, |row| row.first_user_message), ..row })
        }
    }
    ImportsWithoutSayingHowMuch caught by ["segments.import-is-whole"] also ["cancelled.import", "lost.of-import", "segments.copies-come-back", "segments.damaged-bytes-are-kept", "segments.import-grows"] {
        async fn import_segment(&self, part: SegmentPart<'_>) -> Result<u64> {
            self.store.import_segment(part).await.map(|_| 0)
        }
    }

    SearchesNoNames caught by ["search.in-names-and-items"] also ["search.best", "search.language", "search.positions"] {
        async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
            let mut page = self.store.search_threads(query).await?;
            page.items.retain(|hit| hit.turn_id.is_some());
            Ok(page)
        }
    }
    MarksNothing caught by ["search.unicode"] also ["search.in-names-and-items", "search.language", "search.terms-stand-in-one-item"] {
        async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
            let mut page = self.store.search_threads(query).await?;
            page.items.iter_mut().for_each(|hit| hit.highlights.clear());
            Ok(page)
        }
    }
    SaysNoPositions caught by ["search.positions"] also [] {
        async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
            let mut page = self.store.search_threads(query).await?;
            page.items.iter_mut().for_each(|hit| hit.position = None);
            Ok(page)
        }
    }
    RanksNothing caught by ["search.best"] also ["search.refusals"] {
        async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
            self.store.search_threads(&SearchQuery { order: SearchOrder::Sorted, ..query.clone() }).await
        }
    }
    SearchesWithoutRoom caught by ["search.refusals"] also [] {
        async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
            let hits_per_thread = query.hits_per_thread.max(1);
            self.store.search_threads(&SearchQuery { hits_per_thread, ..query.clone() }).await
        }
    }
    ArchivesForGood caught by ["life.archive"] also ["cancelled.archive-and-unarchive", "changes.each-change-is-told", "lost.of-archive-and-unarchive"] {
        async fn unarchive_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            self.store.read_thread(thread_id).await
        }
    }
    ListsWhatIsArchived caught by ["life.archive"] also ["list.against-a-model", "list.descendants", "list.filters"] {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            let archived = match query.archived {
                ArchivedFilter::Active => ArchivedFilter::All,
                other => other,
            };
            self.store.list_threads(&ThreadQuery { archived, ..query.clone() }).await
        }
    }
    HidesDamage caught by ["segments.damaged-bytes-are-kept"] also ["damage.costs-its-lines"] {
        async fn load_history(&self, thread_id: ThreadId) -> Result<ThreadHistory> {
            Ok(ThreadHistory { damage: Vec::new(), ..self.store.load_history(thread_id).await? })
        }
    }
    GivesUpOnLostAnswers caught by ["lost.of-fork"] also ["branch.after-and-before", "branch.at-latest", "branch.delete-with-forks", "branch.goes-on", "branch.keeps-source", "branch.of-fork", "branch.of-live-and-archived", "branch.refusals", "cancelled.fork", "detach.frees-the-source", "detach.goes-on", "detach.in-a-chain", "detach.of-reverted", "errors.give-up", "lines.positions-over-every-change", "revert.fork-of-reverted", "revert.inside-the-inherited"] {
        async fn fork_thread(&self, mut request: ForkThread) -> Result<ThreadId> {
            // Every second fork gets an id of its own, so that a repeated one makes another thread.
            if self.notes.count.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
                request.meta.id = Some(ThreadId::new(selvedge_protocol::Timestamp::from_millis(0)));
            }
            self.store.fork_thread(request).await
        }
    }

    NamesAnotherHolder caught by ["life.one-writer"] also ["life.resume-refuses"] {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            match self.store.resume_thread(thread_id).await {
                Err(StoreError::Conflict { thread_id, since, .. }) => {
                    let holder = Holder { process_id: Some(1), host: None };
                    Err(StoreError::Conflict { thread_id, holder, since })
                }
                outcome => outcome,
            }
        }
    }
    OvertakesLargeBatches caught by ["batches.order-of-first-polls"] also [] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let is_large = serde_json::to_string(items).is_ok_and(|text| text.len() > 2_000_000);
            if is_large && items.len() == 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            self.store.append_items(thread_id, batch, items).await
        }
    }
    ReversesBatches caught by ["append.lines-are-what-was-appended"] also ["cancelled.append", "readers.see-a-prefix"] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            let mut items = items.to_vec();
            if items.len() > 6 && items.len() < 50 {
                items.reverse();
            }
            self.store.append_items(thread_id, batch, &items).await
        }
    }
    PersistsNothing caught by ["life.lazy-until-persist"] also ["append.empty-batch", "claims.race", "life.lazy-twice", "life.new-threads-are-paginated", "list.against-a-model", "list.pages-by-every-size", "list.pages-while-others-write", "list.refusals", "list.ties-are-sorted-by-id", "lost.of-persist", "metadata.later-facts-win", "metadata.patch-of-git", "reopened.goes-on", "turns.pages", "readers.see-a-prefix"] {
        async fn persist_thread(&self, thread_id: ThreadId) -> Result<()> {
            self.store.flush_thread(thread_id).await
        }
    }
    AppendsAtResume caught by ["life.resume-and-go-on"] also ["branch.goes-on", "branch.keeps-source", "branch.of-fork", "branch.of-live-and-archived", "claims.acknowledged-by-a-dead-writer", "detach.frees-the-source", "detach.goes-on", "detach.in-a-chain", "detach.keeps-compactions", "detach.of-reverted", "detach.refusals", "lines.positions", "lines.positions-stay", "lines.starts", "revert.after-and-before", "revert.before-the-first-turn", "revert.conflicts", "revert.fork-of-reverted", "revert.inside-the-inherited", "revert.of-a-silent-turn", "revert.of-a-torn-turn", "revert.to-between-turns", "segments.damaged-bytes-are-kept", "segments.import-grows"] {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            self.store.resume_thread(thread_id).await?;
            let said = selvedge_protocol::ResponseItem::user_text("resumed").into();
            self.store.append_items(thread_id, BatchId::generate(), &[said]).await.map(drop)
        }
    }
    ReadsAStaleHistory caught by ["life.others-read"] also ["readers.see-a-prefix"] {
        async fn load_history(&self, thread_id: ThreadId) -> Result<ThreadHistory> {
            let history = self.store.load_history(thread_id).await?;
            if self.host == 0 {
                return Ok(history);
            }
            Ok(self.notes.histories.lock().unwrap().entry(thread_id).or_insert(history).clone())
        }
    }
    ReadsTornBatches caught by ["readers.see-a-prefix"] also [] {
        async fn load_history(&self, thread_id: ThreadId) -> Result<ThreadHistory> {
            let mut history = self.store.load_history(thread_id).await?;
            if self.host == 1 && self.notes.is_second_call() && history.lines.len() > 30 {
                history.lines.truncate(2);
            }
            Ok(history)
        }
    }
    ReadsHalfAReverts caught by ["readers.see-whole-reverts"] also ["turns.in-progress-elsewhere"] {
        async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
            let mut page = self.store.list_turns(query).await?;
            if self.host == 1 && page.items.len() == 1 && self.notes.is_second_call() {
                page.items.clear();
            }
            Ok(page)
        }
    }
    ReadsAStaleRow caught by ["readers.rows-are-exact"] also [] {
        async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            let row = self.store.read_thread(thread_id).await?;
            if self.host == 0 {
                return Ok(row);
            }
            Ok(self.notes.rows.lock().unwrap().insert(thread_id, row.clone()).unwrap_or(row))
        }
    }
    HidesLegacyRewinds caught by ["lines.after-a-legacy-rewind"] also ["lines.are-the-history"] {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            let mut page = self.store.read_lines(query).await?;
            let is_rewind = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("thread_rolled_back");
            page.entries.retain(|entry| !is_rewind(&entry.bytes));
            Ok(page)
        }
    }
    SkipsAThreadBetweenPages caught by ["list.pages-by-every-size", "list.pages-while-others-write"] also ["list.against-a-model", "list.filters", "list.ties-are-sorted-by-id"] {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            let mut page = self.store.list_threads(query).await?;
            if query.cursor.is_some() && page.items.len() > 1 && page.next_cursor.is_some() {
                page.items.remove(0);
            }
            Ok(page)
        }
    }
    IgnoresWhatIsTold caught by ["metadata.row-follows-what-is-told"] also ["detach.frees-the-source", "detach.goes-on", "detach.in-a-chain", "detach.keeps-compactions", "detach.of-reverted", "detach.refusals", "list.filters", "metadata.later-facts-win", "metadata.observed-patch", "readers.lists-are-fresh", "revert.after-and-before"] {
        async fn update_thread_metadata(
            &self,
            thread_id: ThreadId,
            patch: &ThreadMetadataPatch,
            origin: MetadataOrigin,
        ) -> Result<StoredThread> {
            match origin {
                MetadataOrigin::Derived => self.store.read_thread(thread_id).await,
                MetadataOrigin::Explicit => self.store.update_thread_metadata(thread_id, patch, origin).await,
            }
        }
    }
    KeepsTheModelThatWasSet caught by ["metadata.later-facts-win"] also [] {
        async fn update_thread_metadata(
            &self,
            thread_id: ThreadId,
            patch: &ThreadMetadataPatch,
            origin: MetadataOrigin,
        ) -> Result<StoredThread> {
            let mut patch = patch.clone();
            let is_set = self.store.read_thread(thread_id).await?.model.is_some_and(|model| model == "set");
            if origin == MetadataOrigin::Derived && is_set {
                patch.model = None;
            }
            self.store.update_thread_metadata(thread_id, &patch, origin).await
        }
    }
    PatchesWhatIsMissing caught by ["metadata.refusals"] also ["life.create-refuses", "life.delete", "life.discard-leaves-no-trace", "life.lazy-until-first-append", "life.shutdown-of-a-lazy-thread"] {
        async fn update_thread_metadata(
            &self,
            thread_id: ThreadId,
            patch: &ThreadMetadataPatch,
            origin: MetadataOrigin,
        ) -> Result<StoredThread> {
            match self.store.update_thread_metadata(thread_id, patch, origin).await {
                Err(StoreError::NotFound { .. }) => Err(StoreError::invalid("no such thread")),
                outcome => outcome,
            }
        }
    }
    WritesASecondHead caught by ["metadata.paginated-log-has-one-head"] also [] {
        async fn update_thread_metadata(
            &self,
            thread_id: ThreadId,
            patch: &ThreadMetadataPatch,
            origin: MetadataOrigin,
        ) -> Result<StoredThread> {
            let row = self.store.update_thread_metadata(thread_id, patch, origin).await?;
            if patch.git.is_some() && patch.name.is_none() && row.history_mode == HistoryMode::Paginated
                && let Some(head) = self.store.read_session_meta(thread_id).await?
                && self.store.resume_thread(thread_id).await.is_ok()
            {
                self.store.append_items(thread_id, BatchId::generate(), &[head.into()]).await?;
                self.store.shutdown_thread(thread_id).await?;
            }
            Ok(row)
        }
    }
    RevertsSilentTurns caught by ["revert.of-a-silent-turn"] also [] {
        async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
            match self.store.revert_thread(request).await {
                Err(StoreError::InvalidRequest { .. }) => Ok(1),
                outcome => outcome,
            }
        }
    }
    RevertsNothingElsewhere caught by ["revert.conflicts"] also [] {
        async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
            match self.store.revert_thread(request).await {
                Err(StoreError::Conflict { .. }) => Ok(0),
                outcome => outcome,
            }
        }
    }
    DetachesOnlyWhatBuildsOnOthers caught by ["detach.of-what-stands-alone"] also ["cancelled.detach", "lost.of-detach"] {
        async fn detach_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            let before = self.store.list_segments(thread_id).await?;
            let row = self.store.detach_thread(thread_id).await?;
            if self.store.list_segments(thread_id).await? == before && !row.archived {
                return Err(StoreError::invalid("it builds on no other thread"));
            }
            Ok(row)
        }
    }
    ReadsSegmentsInUpperCase caught by ["segments.are-the-bytes"] also ["segments.copies-come-back", "segments.damaged-bytes-are-kept", "segments.import-grows", "segments.import-is-whole"] {
        async fn read_segment(&self, thread_id: ThreadId, id: SegmentId, at: u64, max_bytes: usize) -> Result<Vec<u8>> {
            let mut bytes = self.store.read_segment(thread_id, id, at, max_bytes).await?;
            bytes.make_ascii_uppercase();
            Ok(bytes)
        }
    }
    ForgetsTheCursorOfHits caught by ["search.pages"] also ["search.best", "search.refusals"] {
        async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
            let mut page = self.store.search_threads(query).await?;
            page.next_cursor = None;
            Ok(page)
        }
    }
    SearchesAmongAll caught by ["search.among-descendants"] also [] {
        async fn search_threads(&self, query: &SearchQuery) -> Result<Page<SearchHit>> {
            let threads = ThreadQuery { relation: None, ..query.threads.clone() };
            self.store.search_threads(&SearchQuery { threads, ..query.clone() }).await
        }
    }
    LocksWhatItDeletes caught by ["cancelled.delete"] also [] {
        async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
            if !self.notes.busy.lock().unwrap().insert(thread_id) {
                return Err(StoreError::Conflict { thread_id, holder: Holder::default(), since: None });
            }
            tokio::task::yield_now().await;
            let outcome = self.store.delete_thread(thread_id).await;
            self.notes.busy.lock().unwrap().remove(&thread_id);
            outcome
        }
    }
    LocksWhatItResumes caught by ["cancelled.resume-and-shutdown"] also ["claims.race"] {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            if !self.notes.busy.lock().unwrap().insert(thread_id) {
                return Err(StoreError::invalid("somebody is at it"));
            }
            tokio::task::yield_now().await;
            let outcome = self.store.resume_thread(thread_id).await;
            self.notes.busy.lock().unwrap().remove(&thread_id);
            outcome
        }
    }
    RefusesWhatItMade caught by ["lost.of-create"] also ["life.create-taken-id"] {
        async fn create_thread(&self, meta: SessionMeta) -> Result<()> {
            match self.store.create_thread(meta).await {
                Err(StoreError::AlreadyExists { .. }) => Err(StoreError::invalid("there is one")),
                outcome => outcome,
            }
        }
    }
    DoesNotKnowWhatItResumed caught by ["lost.of-resume"] also ["life.resume-refuses"] {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            match self.store.resume_thread(thread_id).await {
                Err(StoreError::Conflict { .. }) if self.store.flush_thread(thread_id).await.is_ok() => {
                    Err(StoreError::not_found(thread_id))
                }
                outcome => outcome,
            }
        }
    }
    PersistsTwice caught by ["lost.of-persist"] also ["life.lazy-until-persist"] {
        async fn persist_thread(&self, thread_id: ThreadId) -> Result<()> {
            let is_there = self.store.read_thread(thread_id).await.is_ok();
            self.store.persist_thread(thread_id).await?;
            if is_there && let Some(head) = self.store.read_session_meta(thread_id).await? {
                self.store.append_items(thread_id, BatchId::generate(), &[head.into()]).await?;
            }
            Ok(())
        }
    }
    FlushesOnce caught by ["lost.of-flush-and-sync"] also [] {
        async fn flush_thread(&self, thread_id: ThreadId) -> Result<()> {
            self.store.flush_thread(thread_id).await?;
            let is_first = self.notes.busy.lock().unwrap().insert(thread_id);
            if is_first { Ok(()) } else { Err(StoreError::invalid("it was flushed")) }
        }
    }
    DeletesOnce caught by ["lost.of-delete"] also ["cancelled.delete", "life.create-refuses", "life.delete", "life.discard-leaves-no-trace", "life.lazy-until-first-append", "life.shutdown-of-a-lazy-thread"] {
        async fn delete_thread(&self, thread_id: ThreadId) -> Result<()> {
            match self.store.delete_thread(thread_id).await {
                Err(StoreError::NotFound { .. }) => Err(StoreError::invalid("it was deleted")),
                outcome => outcome,
            }
        }
    }
    ClaimsForAll caught by ["claims.race"] also ["claims.of-a-dead-writer", "errors.conflicts-pass", "life.one-writer"] {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            match self.store.resume_thread(thread_id).await {
                Err(StoreError::Conflict { .. }) if self.store.flush_thread(thread_id).await.is_err() => Ok(()),
                outcome => outcome,
            }
        }
    }
    KeepsTheClaimsOfTheDead caught by ["claims.of-a-dead-writer"] also [] {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            std::mem::forget(Arc::clone(&self.store));
            self.store.resume_thread(thread_id).await
        }
    }
    KeepsNewThreadsOfTheDead caught by ["claims.acknowledged-by-a-dead-writer"] also ["claims.of-a-dead-writer"] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            std::mem::forget(Arc::clone(&self.store));
            self.store.append_items(thread_id, batch, items).await
        }
    }
    ClaimsWithoutFencing caught by ["claims.fenced-append", "claims.old-epoch"] also ["claims.fenced-host-resumes"] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            match self.store.append_items(thread_id, batch, items).await {
                Err(StoreError::Lost { .. }) => Ok(Appended { lines: items.len() as u64, last_ordinal: None }),
                outcome => outcome,
            }
        }
    }
    AcceptsAnOldEpoch caught by ["claims.old-epoch"] also [] {
        async fn append_items(&self, thread_id: ThreadId, batch: BatchId, items: &[RolloutItem]) -> Result<Appended> {
            match self.store.append_items(thread_id, batch, items).await {
                Err(error @ StoreError::Lost { .. }) => {
                    if self.store.resume_thread(thread_id).await.is_err() {
                        return Err(error);
                    }
                    self.store.append_items(thread_id, batch, items).await
                }
                outcome => outcome,
            }
        }
    }
    RevertsWithoutFencing caught by ["claims.fenced-revert"] also [] {
        async fn revert_thread(&self, request: RevertThread) -> Result<usize> {
            match self.store.revert_thread(request).await {
                Err(StoreError::Lost { .. }) => Ok(1),
                outcome => outcome,
            }
        }
    }
    CannotGiveUpWhatWasLost caught by ["claims.fenced-host-resumes"] also [] {
        async fn discard_thread(&self, thread_id: ThreadId) -> Result<()> {
            let is_here = self.store.flush_thread(thread_id).await.is_ok();
            self.store.discard_thread(thread_id).await?;
            if is_here { Ok(()) } else { Err(StoreError::not_live(thread_id)) }
        }
    }
    KeepsExpiredClaims caught by ["claims.expired"] also ["claims.fenced-append", "claims.fenced-host-resumes", "claims.fenced-revert", "claims.of-a-dead-writer", "claims.old-epoch"] {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            if self.host == 0 {
                self.store.resume_thread(thread_id).await?;
                self.notes.busy.lock().unwrap().insert(thread_id);
                return Ok(());
            }
            if self.notes.busy.lock().unwrap().contains(&thread_id) {
                return Err(StoreError::Conflict { thread_id, holder: Holder::default(), since: None });
            }
            self.store.resume_thread(thread_id).await
        }

        async fn shutdown_thread(&self, thread_id: ThreadId) -> Result<()> {
            self.notes.busy.lock().unwrap().remove(&thread_id);
            self.store.shutdown_thread(thread_id).await
        }
    }
    ForgetsNamesBetweenHosts caught by ["reopened.the-same"] also ["readers.rows-are-exact", "reopened.after-a-restart"] {
        async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            let row = self.store.read_thread(thread_id).await?;
            Ok(if self.host > 0 { StoredThread { name: None, ..row } } else { row })
        }
    }
    ForgetsNamesAtARestart caught by ["reopened.after-a-restart"] also [] {
        async fn read_thread(&self, thread_id: ThreadId) -> Result<StoredThread> {
            let row = self.store.read_thread(thread_id).await?;
            Ok(if self.notes.is_restarted.load(Ordering::Relaxed) { StoredThread { name: None, ..row } } else { row })
        }
    }
    IsGoneOnWithTwice caught by ["reopened.goes-on"] also [] {
        async fn resume_thread(&self, thread_id: ThreadId) -> Result<()> {
            if self.host > 2 { Err(StoreError::not_found(thread_id)) } else { self.store.resume_thread(thread_id).await }
        }
    }
    RefusesForeignCursors caught by ["reopened.places-to-go-on"] also [] {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            if self.host > 0 && query.cursor.is_some() {
                return Err(StoreError::invalid("a cursor of another host"));
            }
            self.store.list_threads(query).await
        }
    }
    RefusesExpiredCursors caught by ["errors.expired-changes-start-over"] also ["changes.refusals"] {
        async fn list_changes(&self, after: Option<&Cursor>, limit: usize) -> Result<ChangePage> {
            match self.store.list_changes(after, limit).await {
                Err(StoreError::CursorExpired { .. }) => Err(StoreError::invalid("what cursor is that?")),
                outcome => outcome,
            }
        }
    }
    GoesOnFromWhereverItWas caught by ["errors.positions-that-are-gone-start-over"] also [] {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            match self.store.read_lines(query).await {
                Err(StoreError::PositionGone { .. }) => {
                    self.store.read_lines(&LineQuery { start: LineStart::Beginning, ..query.clone() }).await
                }
                outcome => outcome,
            }
        }
    }
    HidesDamagedThreads caught by ["damage.costs-its-lines"] also [] {
        async fn list_threads(&self, query: &ThreadQuery) -> Result<Page<StoredThread>> {
            let mut page = self.store.list_threads(query).await?;
            let mut items = Vec::new();
            for row in page.items {
                if self.store.load_history(row.id).await.is_ok_and(|history| history.damage.is_empty()) {
                    items.push(row);
                }
            }
            page.items = items;
            Ok(page)
        }
    }
    TellsNoDamage caught by ["damage.is-told"] also [] {
        async fn read_lines(&self, query: &LineQuery) -> Result<LinePage> {
            let mut page = self.store.read_lines(query).await?;
            page.entries.retain(|entry| !matches!(entry.kind, EntryKind::Damage { .. }));
            Ok(page)
        }
    }
    ExportsNoDamage caught by ["damage.is-kept"] also [] {
        async fn export(&self, thread_id: ThreadId, out: &mut (dyn std::io::Write + Send)) -> Result<u64> {
            let mut bytes = Vec::new();
            self.store.export(thread_id, &mut bytes).await?;
            let lines = bytes.split_inclusive(|byte| *byte == b'\n');
            let count = lines.clone().count() as u64;
            let kept: Vec<u8> = lines.filter(|line| !line.starts_with(b"#")).flatten().copied().collect();
            out.write_all(&kept).map_err(|error| StoreError::backend("cannot write", error))?;
            Ok(if count > 0 { kept.len() as u64 } else { 0 })
        }
    }
    CountsTurnsFromTheOtherEnd caught by ["items.one-turn-by-number"] also [] {
        async fn list_turns(&self, query: &TurnQuery) -> Result<Page<Turn>> {
            let turn = query.turn.clone().map(|turn| match turn {
                TurnSelector::Number(number) => TurnSelector::NumberFromEnd(number),
                TurnSelector::NumberFromEnd(number) => TurnSelector::Number(number),
                TurnSelector::Id(turn_id) => TurnSelector::Id(turn_id),
            });
            self.store.list_turns(&TurnQuery { turn, ..query.clone() }).await
        }
    }
    SaysNothingOfHousekeeping caught by ["maintain.keeps-what-is-told"] also [] {
        async fn maintain(
            &self,
            request: &MaintenanceRequest,
            _: &mut (dyn FnMut(MaintenanceProgress) + Send),
        ) -> Result<MaintenanceReport> {
            self.store.maintain(request, &mut |_| {}).await
        }
    }
}
