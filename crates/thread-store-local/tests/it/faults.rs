//! The life of a store, with every fault at every file call.
//!
//! A story with every operation of a store runs once without a fault, to count the calls to the file system. Then it runs again
//! for each call and each fault that the call can have:
//!
//! - An error must leave everything unchanged, and the step must succeed when it is repeated.
//! - The end of the process must leave the old state or the new one, and a store that is opened afterwards must continue
//!   from there.
//! - A power loss on top of that must do the same to every state that the device may have, as far as it was acknowledged as
//!   synced.
//!
//! There is an index in the home, created by one of three queries in the story. After any fault it must agree with the logs at
//! the next query, in records and turns: after the end of the process, and after a power loss for one of the states of the
//! logs. For every fourth pair the whole index is compared, and once more at the end of the story; for all pairs that would
//! take too long. Queries run between the steps, so that every run has the same calls in the same order. Concurrent writers
//! are covered by the tests of the index.
//!
//! A run tries a third of the pairs. `SELVEDGE_FAULT_SAMPLING=1` tries all of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use selvedge_faulty_files::{Fault, FaultyFiles, PowerLoss};
use selvedge_protocol::{
    ArchivedFilter, Compacted, ContextWindow, Durability, HistoryMode, ItemContent, ResponseItem, RolloutItem,
    StoredThread, ThreadId, ThreadMetadataPatch, ThreadQuery, TurnBoundary, TurnQuery, WindowId,
};
use selvedge_rollout::{ResolvedHistory, RolloutHome};
use selvedge_state::{CheckScope, RefreshOutcome, StateIndex};
use selvedge_thread_store::{
    BatchId, ForkThread, MetadataOrigin, Result, RevertThread, StoreError, ThreadReader, ThreadStore,
};
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore};
use tokio::runtime::Runtime;

use crate::home::all_files;
use selvedge_thread_store_conformance::fixtures::{head, id, second, turn};

use HistoryMode::{Legacy, Paginated};

/// A step of the story. Threads have numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create(u32, HistoryMode),
    Resume(u32),
    Append(u32, &'static str),
    Compact(u32),
    Sync(u32),
    Shutdown(u32),
    /// Forks the first thread; the second one is the fork.
    Fork(u32, u32),
    /// Undoes one turn.
    Rewind(u32),
    Name(u32, &'static str),
    Model(u32, &'static str),
    Archive(u32),
    Unarchive(u32),
    Compress(u32),
    Detach(u32),
    Delete(u32),
    /// Lists all threads: the query of this number.
    Ask(usize),
}

use Step::{
    Append, Archive, Ask, Compact, Compress, Create, Delete, Detach, Fork, Model, Name, Resume, Rewind, Shutdown, Sync,
    Unarchive,
};

/// No thread has this number.
const NO_THREAD: u32 = 0;

/// The thread that exists before the story, compressed.
const OLD: u32 = 9;

/// How many queries there are in the story.
const QUERIES: usize = 3;

const STORY: &[Step] = &[
    Create(1, Paginated),
    Append(1, "a1"),
    Append(1, "a2"),
    Ask(0),
    Compact(1),
    Sync(1),
    Append(1, "a3"),
    Fork(1, 2),
    Resume(2),
    Append(2, "f1"),
    Shutdown(2),
    Rewind(1),
    Ask(1),
    Append(1, "a4"),
    Name(1, "one"),
    Shutdown(1),
    Compress(1),
    Model(1, "mock-2"),
    Rewind(1),
    Archive(1),
    Unarchive(1),
    Create(3, Legacy),
    Append(3, "b1"),
    Append(3, "b2"),
    Rewind(3),
    Append(3, "b3"),
    Fork(3, 4),
    Shutdown(3),
    Archive(4),
    Resume(OLD),
    Append(OLD, "z1"),
    Shutdown(OLD),
    Ask(2),
    Detach(2),
    Delete(1),
    Delete(3),
    Resume(2),
    Append(2, "f2"),
    Shutdown(2),
];

/// The expected state of a thread.
#[derive(Clone, Debug, Default, PartialEq)]
struct ExpectedThread {
    /// The user messages of turns that were not undone.
    messages: Vec<&'static str>,
    name: Option<&'static str>,
    archived: bool,
    /// How many of them were synced by an explicit call, whatever the level.
    synced: usize,
    /// Whether the thread has a file.
    is_visible: bool,
}

/// The expected state of all threads.
type ExpectedThreads = BTreeMap<u32, ExpectedThread>;

fn start() -> ExpectedThreads {
    let old = ExpectedThread { messages: vec!["old"], synced: 1, is_visible: true, ..ExpectedThread::default() };
    ExpectedThreads::from([(OLD, old)])
}

impl Step {
    fn thread(self) -> u32 {
        match self {
            Create(n, _)
            | Resume(n)
            | Append(n, _)
            | Compact(n)
            | Sync(n)
            | Shutdown(n)
            | Rewind(n)
            | Name(n, _)
            | Model(n, _)
            | Archive(n)
            | Unarchive(n)
            | Compress(n)
            | Detach(n)
            | Delete(n) => n,
            Fork(_, n) => n,
            Ask(_) => NO_THREAD,
        }
    }

    /// Returns the expected state after the step.
    fn after(self, mut world: ExpectedThreads) -> ExpectedThreads {
        let n = self.thread();
        if let Fork(source, _) = self {
            let messages = world[&source].messages.clone();
            world.insert(n, ExpectedThread { messages, is_visible: true, ..ExpectedThread::default() });
            return world;
        }
        match self {
            Delete(_) => {
                world.remove(&n);
                return world;
            }
            Ask(_) => return world,
            _ => {}
        }
        let known = world.entry(n).or_default();
        match self {
            Append(_, text) => {
                known.messages.push(text);
                known.is_visible = true;
            }
            Rewind(_) => {
                known.messages.pop();
                known.synced = known.synced.min(known.messages.len());
            }
            Sync(_) => known.synced = known.messages.len(),
            Name(_, name) => known.name = Some(name),
            Archive(_) => known.archived = true,
            Unarchive(_) => known.archived = false,
            _ => {}
        }
        world
    }

    async fn take(self, store: &LocalThreadStore) -> Result<()> {
        let thread_id = id(self.thread());
        match self {
            Create(n, mode) => store.create_thread(head(n, mode)).await,
            Resume(_) => store.resume_thread(thread_id).await,
            Append(n, text) => {
                let mode = if n == 3 || n == 4 { Legacy } else { Paginated };
                store.append_items(thread_id, BatchId::generate(), &turn(mode, text)).await.map(drop)
            }
            Compact(_) => store.append_items(thread_id, BatchId::generate(), &[compaction()]).await.map(drop),
            Sync(_) => store.sync_thread(thread_id).await,
            Shutdown(_) => store.shutdown_thread(thread_id).await,
            Fork(source, n) => {
                let meta = head(n, Paginated);
                store.fork_thread(ForkThread { source: id(source), at: TurnBoundary::Latest, meta }).await.map(drop)
            }
            Rewind(_) => {
                let to = TurnBoundary::BeforeNewest(1);
                store.revert_thread(RevertThread { thread_id, to, batch: BatchId::generate() }).await.map(drop)
            }
            Name(_, name) => set_metadata(store, thread_id, |patch| patch.name = Some(Some(name.to_owned()))).await,
            Model(_, model) => set_metadata(store, thread_id, |patch| patch.model = Some(Some(model.to_owned()))).await,
            Archive(_) => store.archive_thread(thread_id).await.map(drop),
            Unarchive(_) => store.unarchive_thread(thread_id).await.map(drop),
            Compress(_) => store.admin().compress(thread_id).await.map(drop),
            Detach(_) => store.detach_thread(thread_id).await.map(drop),
            Delete(_) => store.delete_thread(thread_id).await,
            Ask(_) => Ok(()),
        }
    }
}

async fn set_metadata(
    store: &LocalThreadStore,
    thread_id: ThreadId,
    change: impl FnOnce(&mut ThreadMetadataPatch),
) -> Result<()> {
    let mut patch = ThreadMetadataPatch::default();
    change(&mut patch);
    store.update_thread_metadata(thread_id, &patch, MetadataOrigin::Explicit).await.map(drop)
}

fn compaction() -> RolloutItem {
    let window = ContextWindow::first(Some(WindowId::new(second(1)))).next(second(2));
    Compacted::new("so far", vec![ResponseItem::user_text("SUMMARY")], window).into()
}

/// Creates a directory for a run: in memory, if there is a file system for that.
pub(crate) fn scratch_dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Creates the thread that exists before the story, compressed.
fn set_stage(root: &Path, runtime: &Runtime) {
    let store = without_index(RolloutHome::new(root));
    runtime.block_on(async {
        Create(OLD, Paginated).take(&store).await.unwrap();
        Append(OLD, "old").take(&store).await.unwrap();
        Shutdown(OLD).take(&store).await.unwrap();
    });
    let plain = PathBuf::from(runtime.block_on(store.read_thread(id(OLD))).unwrap().location.unwrap());
    let compressed = zstd::encode_all(&fs::read(&plain).unwrap()[..], 3).unwrap();
    fs::write(plain.with_extension("jsonl.zst"), compressed).unwrap();
    fs::remove_file(plain).unwrap();
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A run of the story.
struct Run<'a> {
    runtime: &'a Runtime,
    root: PathBuf,
    files: FaultyFiles,
    store: LocalThreadStore,
    index: Option<StateIndex>,
    /// The number of the query to run. `None` for all of them.
    asks: Option<usize>,
    level: Durability,
    /// The threads that are live in the store.
    live: Vec<u32>,
    world: ExpectedThreads,
    what: String,
}

/// How a run ended.
enum End {
    /// All steps were taken.
    Completed,
    /// The process died at this step.
    Died(usize),
}

impl<'a> Run<'a> {
    fn new(runtime: &'a Runtime, root: &Path, files: FaultyFiles, level: Durability, what: String) -> Self {
        let files = files.adopting(root).unwrap();
        let store = open(root, &files, level);
        Self {
            runtime,
            root: root.to_owned(),
            files,
            store,
            index: None,
            asks: None,
            level,
            live: Vec::new(),
            world: start(),
            what,
        }
    }

    fn run(&mut self) -> End {
        for (at, step) in STORY.iter().enumerate() {
            if let Err(error) = self.take(*step) {
                if self.files.is_dead() {
                    return End::Died(at);
                }
                self.check_unchanged(*step, &error);
                self.take_again(*step);
            }
            self.world = step.after(std::mem::take(&mut self.world));
        }
        if self.files.is_dead() { End::Died(STORY.len()) } else { End::Completed }
    }

    /// Ends the process, and with it its locks.
    fn end(&mut self) {
        self.store = without_index(RolloutHome::new(&self.root));
        if let Some(index) = self.index.take() {
            self.runtime.block_on(index.close());
        }
    }

    /// Queries the index. The first query creates it.
    fn ask(&mut self) {
        self.runtime.block_on(async {
            let home = RolloutHome::new(&self.root);
            if self.index.is_none() {
                self.index = Some(StateIndex::open(&home, &StateIndex::path_in(&home)).await.unwrap());
            }
            check_records(self.index.as_ref().unwrap(), &without_index(home), &self.what).await;
        });
    }

    fn take(&mut self, step: Step) -> Result<()> {
        if let Ask(number) = step {
            if self.asks.is_none_or(|asks| asks == number) {
                self.ask();
            }
            return Ok(());
        }
        let outcome = self.runtime.block_on(step.take(&self.store));
        if outcome.is_ok() {
            match step {
                Create(n, _) | Resume(n) => self.live.push(n),
                Shutdown(n) => self.live.retain(|live| *live != n),
                _ => {}
            }
        }
        outcome
    }

    /// Checks that a failed step has changed nothing. A deletion or a move of several files may have been done in part.
    fn check_unchanged(&self, step: Step, error: &StoreError) {
        let seen = self.see(&self.root);
        for (n, known) in self.world.iter().filter(|(_, known)| known.is_visible) {
            match step {
                Delete(doomed) if doomed == *n => {}
                _ => {
                    let messages = seen.get(n).map(|seen| seen.messages.clone());
                    let wanted: Vec<String> = known.messages.iter().map(|text| (*text).to_owned()).collect();
                    assert_eq!(messages, Some(wanted), "{}: after {step:?} failed: {error:?}", self.what);
                }
            }
        }
        let is_known = |n: &u32| self.world.get(n).is_some_and(|known| known.is_visible);
        assert!(seen.keys().all(is_known), "{}: a thread too many after {step:?} failed", self.what);
    }

    /// Repeats a failed step, which must succeed. A writer that could not sync is discarded first.
    fn take_again(&mut self, step: Step) {
        let again = match self.take(step) {
            Err(error) if is_final(&error) => {
                let n = step.thread();
                self.runtime.block_on(self.store.discard_thread(id(n))).unwrap();
                self.take(Resume(n)).unwrap();
                self.take(step)
            }
            Err(StoreError::NotFound { .. }) if matches!(step, Delete(_)) => Ok(()),
            outcome => outcome,
        };
        again.unwrap_or_else(|error| panic!("{}: {step:?} again: {error:?}", self.what));
    }

    fn see(&self, root: &Path) -> BTreeMap<u32, Seen> {
        see(self.runtime, root, &self.what)
    }

    /// Checks the state after the process died at this step, and that it can be continued. `root` has its files, or what a
    /// power loss left of them.
    fn check_after_end(&self, root: &Path, died_at: usize, what: &str) {
        let seen = see(self.runtime, root, what);
        let step = STORY.get(died_at).copied();
        let before = &self.world;
        let after = step.map_or_else(|| before.clone(), |step| step.after(before.clone()));
        check_either(&seen, before, &after, step, what);
        self.check_continues(root, &seen, what);
    }

    /// Runs the rest of the story, from the step at which the process died, in another process that finds the files as they are.
    fn run_rest(&self, died_at: usize) {
        let Some(step) = STORY.get(died_at).copied() else { return };
        let seen = self.see(&self.root);
        let after = step.after(self.world.clone());
        let mut rest = Run::new(self.runtime, &self.root, FaultyFiles::new(), self.level, self.what.clone());
        rest.asks = self.asks;
        for n in &self.live {
            let is_stored = seen.contains_key(n);
            let mode = STORY.iter().find_map(|step| {
                if let Create(m, mode) = step
                    && m == n
                {
                    Some(*mode)
                } else {
                    None
                }
            });
            rest.take(if is_stored { Resume(*n) } else { Create(*n, mode.unwrap()) }).unwrap();
        }
        let n = step.thread();
        let changes = self.world.get(&n) != after.get(&n);
        let is_done = changes && matches_expected(after.get(&n), seen.get(&n)) && !matches!(step, Create(..) | Sync(_));
        rest.world = self.world.clone();
        let steps = if is_done { &STORY[died_at + 1..] } else { &STORY[died_at..] };
        if is_done {
            rest.world = after;
        }
        for step in steps {
            match rest.take(*step) {
                Err(StoreError::NotFound { .. }) if matches!(step, Delete(_)) => {}
                outcome => outcome.unwrap_or_else(|error| panic!("{}: then {step:?}: {error:?}", self.what)),
            }
            rest.world = step.after(rest.world);
        }
        rest.end();
        let seen = self.see(&self.root);
        for n in 0..10 {
            let expected = rest.world.get(&n);
            assert!(
                matches_expected(expected, seen.get(&n)),
                "{}: {n} in the end: {:?}, not {expected:?}",
                self.what,
                seen.get(&n)
            );
        }
    }

    /// Checks that a store that is opened now can write every thread, and leaves no temporary files.
    fn check_continues(&self, root: &Path, seen: &BTreeMap<u32, Seen>, what: &str) {
        let fail = |n: u32, error: &StoreError| -> ! { panic!("{what}: thread {n} cannot be continued: {error:?}") };
        let store = without_index(RolloutHome::new(root).with_durability(self.level).with_clock(|| second(50)));
        self.runtime.block_on(async {
            for (n, seen) in seen {
                Resume(*n).take(&store).await.unwrap_or_else(|error| fail(*n, &error));
                // A log without its head may count as one of the other mode.
                let mode = store.read_thread(id(*n)).await.unwrap_or_else(|error| fail(*n, &error)).history_mode;
                store
                    .append_items(id(*n), BatchId::generate(), &turn(mode, "more"))
                    .await
                    .map(drop)
                    .unwrap_or_else(|error| fail(*n, &error));
                Shutdown(*n).take(&store).await.unwrap_or_else(|error| fail(*n, &error));
                let messages = user_messages(&store, id(*n)).await;
                assert_eq!(messages.last().map(String::as_str), Some("more"), "{what}: thread {n}");
                assert_eq!(messages.len(), seen.messages.len() + 1, "{what}: thread {n}: {messages:?}");
            }
        });
        drop(store);
        check_tidy(root, what);
    }
}

fn open(root: &Path, files: &FaultyFiles, level: Durability) -> LocalThreadStore {
    // With a fixed clock, reverts write into the directory of the threads. So the next writer there removes leftovers.
    let home = RolloutHome::new(root).with_durability(level).with_clock(|| second(50));
    without_index(home.with_file_system(Arc::new(files.clone())))
}

/// Opens a store without an index.
fn without_index(home: RolloutHome) -> LocalThreadStore {
    LocalThreadStore::of(home, IndexLocation::Disabled)
}

/// Returns whether an error is final for the writer.
fn is_final(error: &StoreError) -> bool {
    error.to_string().contains("is not written any more")
}

/// The state of a thread as a reader sees it.
#[derive(Clone, Debug)]
struct Seen {
    messages: Vec<String>,
    name: Option<String>,
    archived: bool,
}

/// Returns a query for all threads.
fn everything() -> ThreadQuery {
    ThreadQuery { archived: ArchivedFilter::All, limit: 100, ..ThreadQuery::default() }
}

/// Returns what another process sees, which reads without faults.
fn see(runtime: &Runtime, root: &Path, what: &str) -> BTreeMap<u32, Seen> {
    let store = without_index(RolloutHome::new(root));
    runtime.block_on(async {
        let records = store.list_threads(&everything()).await.unwrap_or_else(|error| panic!("{what}: {error:?}")).items;
        let mut seen = BTreeMap::new();
        for record in records {
            let messages = user_messages(&store, record.id).await;
            for (at, text) in messages.iter().enumerate() {
                assert!(!messages[..at].contains(text), "{what}: {text} is there twice: {messages:?}");
            }
            let n = (0..10).find(|n| id(*n) == record.id).unwrap();
            seen.insert(n, Seen { messages, name: record.name, archived: record.archived });
        }
        seen
    })
}

async fn user_messages(store: &LocalThreadStore, thread_id: ThreadId) -> Vec<String> {
    let turns = store.list_turns(&TurnQuery::all(thread_id)).await.unwrap().items;
    let items = turns.into_iter().flat_map(|turn| turn.items);
    let text = items.filter_map(|item| match item.content {
        ItemContent::UserMessage { text, .. } => Some(text.trim_start_matches("ask ").to_owned()),
        _ => None,
    });
    text.collect()
}

/// Returns whether a thread has its expected state.
fn matches_expected(known: Option<&ExpectedThread>, seen: Option<&Seen>) -> bool {
    match (known.filter(|known| known.is_visible), seen) {
        (None, None) => true,
        (Some(known), Some(seen)) => {
            known.messages.iter().copied().eq(seen.messages.iter().map(String::as_str))
                && known.archived == seen.archived
                && known.name == seen.name.as_deref()
        }
        _ => false,
    }
}

/// Checks that each thread is in its state before the step at which the process died, or in that after the step.
fn check_either(
    seen: &BTreeMap<u32, Seen>,
    before: &ExpectedThreads,
    after: &ExpectedThreads,
    step: Option<Step>,
    what: &str,
) {
    for n in 0..10 {
        let (before, after) = (before.get(&n), after.get(&n));
        let fits = |known| matches_expected(known, seen.get(&n));
        // An interrupted first append may leave a thread without messages.
        let is_first = matches!(step, Some(Append(m, _)) if m == n) && before.is_none_or(|known| !known.is_visible);
        let is_begun = is_first && seen.get(&n).is_some_and(|seen| seen.messages.is_empty());
        // An interrupted deletion leaves an older state of the thread.
        let is_doomed = step == Some(Delete(n));
        assert!(
            fits(before) || fits(after) || is_begun || is_doomed,
            "{what}: thread {n} at {step:?}: {:?}, and not {before:?} or {after:?}",
            seen.get(&n)
        );
    }
}

/// Checks that a home without writers has no temporary files.
fn check_tidy(root: &Path, what: &str) {
    for path in all_files(root) {
        let name = path.file_name().unwrap().to_str().unwrap();
        // If a file is there in both forms, one of them is a leftover.
        let is_whole = !name.ends_with(".zst") || !path.with_extension("").exists();
        let belongs = name.starts_with("rollout-") && is_whole
            || ["session_index.jsonl", "session_index.jsonl.lock", ".coordination.lock"].contains(&name)
            || ["selvedge-references.lock", "rollout-maintenance.lock"].contains(&name)
            || name.starts_with("selvedge-index.sqlite");
        assert!(belongs, "{what}: {} was left", path.display());
    }
}

/// Checks that the index lists the same records as the logs. Returns these.
async fn check_records(index: &StateIndex, logs: &LocalThreadStore, what: &str) -> Vec<StoredThread> {
    match index.refresh(u64::MAX).await.unwrap() {
        RefreshOutcome::Fresh(_) => {}
        RefreshOutcome::Unfilled => drop(index.update(|_| {}).await.unwrap()),
        RefreshOutcome::Hidden => panic!("{what}: a directory of the home cannot be read"),
        RefreshOutcome::Behind { .. } => panic!("{what}: the index is behind"),
    }
    let (records, logged) = (index.list_threads(&everything()).await, logs.list_threads(&everything()).await);
    let (records, logged) = (records.unwrap().items, logged.unwrap().items);
    for (record, logged) in records.iter().zip(&logged) {
        assert_eq!(record, logged, "{what}");
    }
    assert_eq!(records.len(), logged.len(), "{what}");
    records
}

/// Checks the same for the turns of a thread.
async fn check_turns(index: &StateIndex, home: &RolloutHome, record: &StoredThread, what: &str) {
    let logs = without_index(home.clone());
    let query = TurnQuery::all(record.id);
    if let Some(turns) = index.list_turns(&query, false).await.unwrap() {
        assert_eq!(turns, logs.list_turns(&query).await.unwrap(), "{what}: {}", record.id);
        return;
    }
    // The index has no turns of compressed or damaged logs: the logs answer for these.
    let files = home.files().unwrap();
    let parts = ResolvedHistory::resolve(&files, record.id).unwrap().unwrap().parts;
    let is_plain = parts.iter().all(|part| !part.file.name.compressed);
    let is_whole = logs.load_history(record.id).await.unwrap().damage.is_empty();
    assert!(!is_plain || !is_whole, "{what}: the index has no turns of {}", record.id);
}

/// Checks that the index of a home agrees with its logs at the next query. If `is_thorough`, it must agree in every row after
/// an update.
fn check_index(runtime: &Runtime, root: &Path, is_thorough: bool, what: &str) {
    let home = RolloutHome::new(root);
    let path = StateIndex::path_in(&home);
    runtime.block_on(async {
        let index = StateIndex::open(&home, &path).await.unwrap();
        assert_eq!(index.set_aside(), None, "{what}");
        let logs = without_index(home.clone());
        for record in check_records(&index, &logs, what).await {
            check_turns(&index, &home, &record, what).await;
        }
        if !is_thorough {
            return index.close().await;
        }
        index.update(|_| {}).await.unwrap();
        index.close().await;
        let check = StateIndex::check(&home, &path, &CheckScope { threads: None, deep: true }).await.unwrap();
        assert_eq!((check.exists, check.findings), (true, Vec::new()), "{what}");
    });
}

/// Copies the index of a home to what a power loss left of its logs.
fn copy_index(from: &Path, to: &Path) {
    for end in ["", "-wal"] {
        let name = format!("selvedge-index.sqlite{end}");
        // An index that was closed has no write-ahead log.
        if from.join(&name).exists() {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

/// Checks the state after a power loss at level `written`, which may lose whatever was not synced. But every thread can be read,
/// no message is there twice or out of order, and synced messages are there unless they were undone or deleted since.
fn check_written(seen: &BTreeMap<u32, Seen>, before: &ExpectedThreads, after: &ExpectedThreads, what: &str) {
    let order = |text: &String| {
        let appended_at = STORY.iter().position(|step| matches!(step, Append(_, other) if other == text));
        appended_at.map_or(0, |at| at + 1)
    };
    for (n, seen) in seen {
        assert!(seen.messages.is_sorted_by_key(order), "{what}: thread {n} is out of order: {:?}", seen.messages);
    }
    for (n, known) in before.iter().filter(|(n, _)| after.contains_key(n)) {
        let kept = known.synced.min(after[n].synced);
        let there: &[String] = seen.get(n).map_or(&[], |seen| &seen.messages);
        let missing = known.messages[..kept].iter().find(|text| !there.iter().any(|other| other == *text));
        assert_eq!(missing, None, "{what}: thread {n} has {there:?}");
    }
}

/// The states to check for each power loss.
pub(crate) const LOSSES: [PowerLoss; 5] = [
    PowerLoss::OnlySynced,
    PowerLoss::NamesWithoutBytes,
    PowerLoss::BytesWithoutNames,
    PowerLoss::Torn(1),
    PowerLoss::Torn(2),
];

/// Runs the story with one fault, and checks the result.
fn try_fault(runtime: &Runtime, stage: &Path, at: usize, fault: Fault, level: Durability, with_power: bool) {
    let dir = scratch_dir();
    let root = dir.path().join("home");
    copy(stage, &root);
    let what = format!("{fault:?} at call {at}, level {level}");
    let is_thorough = at.is_multiple_of(4);
    let mut run = Run::new(runtime, &root, FaultyFiles::with_fault(at, fault), level, what.clone());
    run.asks = Some(at % QUERIES);
    let end = run.run();
    let (died_at, after) = match end {
        End::Completed => (STORY.len(), run.world.clone()),
        End::Died(at) => (at, STORY.get(at).map_or(run.world.clone(), |step| step.after(run.world.clone()))),
    };
    run.end();
    if with_power {
        for (number, loss) in LOSSES.into_iter().enumerate() {
            let left = dir.path().join("left");
            run.files.disk().lose_power(&root, loss, &left).unwrap();
            let what = format!("{what}, {loss:?}");
            if number == at % LOSSES.len() {
                copy_index(&root, &left);
                check_index(runtime, &left, is_thorough, &what);
            }
            match level {
                Durability::Synced => run.check_after_end(&left, died_at, &what),
                Durability::Written => {
                    let seen = see(runtime, &left, &what);
                    check_written(&seen, &run.world, &after, &what);
                    run.check_continues(&left, &seen, &what);
                }
            }
            fs::remove_dir_all(&left).unwrap();
        }
    } else {
        check_index(runtime, &root, is_thorough, &what);
        let again = dir.path().join("again");
        copy(&root, &again);
        run.check_after_end(&again, died_at, &what);
        run.run_rest(died_at);
        if is_thorough {
            check_index(runtime, &root, is_thorough, &what);
        }
    }
}

/// Returns that each how many pairs of a call and a fault are tried. All of them take minutes.
fn sampling() -> usize {
    std::env::var("SELVEDGE_FAULT_SAMPLING").map_or(3, |text| text.parse().unwrap())
}

/// Runs the story with wanted faults at calls: a [sample](sampling) that is another one in each process. Returns the number of all pairs.
fn try_all(level: Durability, wanted: impl Fn(Fault) -> bool + std::marker::Sync, with_power: bool) -> usize {
    let stage = scratch_dir();
    let first = runtime();
    set_stage(stage.path(), &first);
    let root = scratch_dir();
    copy(stage.path(), &root.path().join("home"));
    let mut run = Run::new(&first, &root.path().join("home"), FaultyFiles::new(), level, "no fault".to_owned());
    assert!(matches!(run.run(), End::Completed));
    run.end();
    check_index(&first, &root.path().join("home"), true, "no fault");
    let calls = run.files.calls();
    run.check_after_end(&root.path().join("home"), STORY.len(), "no fault");
    let faults = |(at, call)| Fault::of(call).iter().map(move |fault| (at, *fault));
    let pairs: Vec<(usize, Fault)> =
        calls.into_iter().enumerate().flat_map(faults).filter(|(_, fault)| wanted(*fault)).collect();
    let count = pairs.len();
    let offset = std::process::id() as usize % sampling();
    let pairs: Vec<_> = pairs.into_iter().skip(offset).step_by(sampling()).collect();
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let runtime = runtime();
                while let Some((at, fault)) = pairs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    try_fault(&runtime, stage.path(), *at, *fault, level, with_power);
                }
            });
        }
    });
    count
}

/// Copies a home, without its index.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else if !name.to_string_lossy().starts_with("selvedge-index.sqlite") {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// Prints how many pairs of a call and a fault were tried.
#[expect(clippy::print_stderr, reason = "a count that shrinks has to be visible")]
fn report(level: Durability, kind: &str, pairs: usize) {
    eprintln!("{pairs} pairs of a call and {kind} at level {level}, each {}. was tried", sampling());
    assert!(pairs > 100);
}

#[test]
fn an_error_at_any_call_changes_nothing_at_level_written() {
    let pairs = try_all(Durability::Written, |fault| !fault.is_stop(), false);
    report(Durability::Written, "an error", pairs);
}

#[test]
fn an_error_at_any_call_changes_nothing_at_level_synced() {
    let pairs = try_all(Durability::Synced, |fault| !fault.is_stop(), false);
    report(Durability::Synced, "an error", pairs);
}

#[test]
fn the_end_of_the_process_at_any_call_loses_nothing_at_level_written() {
    let pairs = try_all(Durability::Written, Fault::is_stop, false);
    report(Durability::Written, "the end of the process", pairs);
}

#[test]
fn the_end_of_the_process_at_any_call_loses_nothing_at_level_synced() {
    let pairs = try_all(Durability::Synced, Fault::is_stop, false);
    report(Durability::Synced, "the end of the process", pairs);
}

#[test]
fn a_power_loss_at_any_call_loses_nothing_that_was_synced() {
    for level in [Durability::Written, Durability::Synced] {
        let pairs = try_all(level, Fault::is_stop, true);
        report(level, "a power loss", pairs * LOSSES.len());
    }
}

#[test]
fn a_power_loss_after_an_error_loses_nothing_that_was_synced() {
    let pairs = try_all(Durability::Synced, |fault| fault == Fault::Io, true);
    report(Durability::Synced, "a device that fails, and then a power loss,", pairs * LOSSES.len());
}
