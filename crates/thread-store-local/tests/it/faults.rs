//! The life of a store, with every fault at every call, and what comes after.
//!
//! A story of all that a store can do is told once without a fault, to count its calls to the files. Then it is told again
//! for each call and each fault that the call can have. A fault that is an error has to leave everything as it was, and the
//! step has to succeed when it is repeated. A fault that is the end of the process has to leave the old or the new, and a
//! store that is opened afterwards has to go on from there. Where the power goes as well, the same has to be true of what the
//! medium may hold, for what was acknowledged as synced.
//!
//! An index lies in the home, from one of three questions in the story on. After any fault it has to say what the logs say as
//! soon as it is asked again, rows and turns: where the process died; where the power went, beside one of the states that are
//! left of the logs. That it holds nothing else either, and that it is right at the end of the story too, is dear to find out,
//! and looked at for every fourth pair. It is asked between the steps, so that each telling has the same calls in the same
//! order; what happens while others write, the tests of the index see to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use selvedge_faulty_files::{Fault, FaultyFiles, PowerLoss};
use selvedge_protocol::{
    ArchivedFilter, Compacted, ContextWindow, Durability, HistoryMode, ResponseItem, RolloutItem, StoredThread,
    ThreadId, ThreadMetadataPatch, ThreadQuery, TurnItem, TurnQuery, WindowId,
};
use selvedge_rollout::{ResolvedHistory, RolloutHome};
use selvedge_state::{CheckScope, RefreshOutcome, StateIndex};
use selvedge_thread_store::{
    BatchId, ForkThread, MetadataOrigin, Result, RevertThread, StoreError, ThreadReader, ThreadStore, TurnBoundary,
};
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore};
use tokio::runtime::Runtime;

use crate::home::all_files;
use selvedge_thread_store_conformance::fixtures::{head, id, second, turn};

use HistoryMode::{Legacy, Paginated};

/// A step of the story. Threads are named by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create(u32, HistoryMode),
    Resume(u32),
    Append(u32, &'static str),
    Compact(u32),
    Sync(u32),
    Shutdown(u32),
    /// The second one from the first one.
    Fork(u32, u32),
    /// By one turn.
    Rewind(u32),
    Name(u32, &'static str),
    Model(u32, &'static str),
    Archive(u32),
    Unarchive(u32),
    Compress(u32),
    Detach(u32),
    Delete(u32),
    /// For all threads there are: the question of this number.
    Ask(usize),
}

use Step::{
    Append, Archive, Ask, Compact, Compress, Create, Delete, Detach, Fork, Model, Name, Resume, Rewind, Shutdown, Sync,
    Unarchive,
};

/// No thread has this number.
const NOBODY: u32 = 0;

/// The thread that is there before, compressed.
const OLD: u32 = 9;

/// How many questions there are in the story.
const QUESTIONS: usize = 3;

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

/// What is known of a thread.
#[derive(Clone, Debug, Default, PartialEq)]
struct Known {
    /// What the user said in turns that were not undone.
    said: Vec<&'static str>,
    name: Option<&'static str>,
    archived: bool,
    /// How much of what was said was put on the medium by name, whatever the level.
    synced: usize,
    /// Whether the thread is stored.
    is_visible: bool,
}

/// What is known of all threads.
type World = BTreeMap<u32, Known>;

fn start() -> World {
    let old = Known { said: vec!["old"], synced: 1, is_visible: true, ..Known::default() };
    World::from([(OLD, old)])
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
            Ask(_) => NOBODY,
        }
    }

    /// The world after the step.
    fn after(self, mut world: World) -> World {
        let n = self.thread();
        if let Fork(source, _) = self {
            let said = world[&source].said.clone();
            world.insert(n, Known { said, is_visible: true, ..Known::default() });
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
                known.said.push(text);
                known.is_visible = true;
            }
            Rewind(_) => {
                known.said.pop();
                known.synced = known.synced.min(known.said.len());
            }
            Sync(_) => known.synced = known.said.len(),
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
            Name(_, name) => explicit(store, thread_id, |patch| patch.name = Some(Some(name.to_owned()))).await,
            Model(_, model) => explicit(store, thread_id, |patch| patch.model = Some(Some(model.to_owned()))).await,
            Archive(_) => store.archive_thread(thread_id).await.map(drop),
            Unarchive(_) => store.unarchive_thread(thread_id).await.map(drop),
            Compress(_) => store.admin().compress(thread_id).await.map(drop),
            Detach(_) => store.detach_thread(thread_id).await.map(drop),
            Delete(_) => store.delete_thread(thread_id).await,
            Ask(_) => Ok(()),
        }
    }
}

async fn explicit(
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

/// Where a story is told: in memory, if there is a file system for that.
pub(crate) fn place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Puts the thread in place that was there before, compressed.
fn set_stage(root: &Path, runtime: &Runtime) {
    let store = by_logs(RolloutHome::new(root));
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

/// A story that is being told.
struct Telling<'a> {
    runtime: &'a Runtime,
    root: PathBuf,
    files: FaultyFiles,
    store: LocalThreadStore,
    index: Option<StateIndex>,
    /// Which question is asked; all of them if none is named.
    asks: Option<usize>,
    level: Durability,
    /// Which threads the store holds the writers of.
    live: Vec<u32>,
    world: World,
    what: String,
}

/// Where a story ended.
enum End {
    /// It was told to its end.
    Told,
    /// The process died at this step.
    Died(usize),
}

impl<'a> Telling<'a> {
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

    fn tell(&mut self) -> End {
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
        if self.files.is_dead() { End::Died(STORY.len()) } else { End::Told }
    }

    /// The process ends, and with it its locks.
    fn end(&mut self) {
        self.store = by_logs(RolloutHome::new(&self.root));
        if let Some(index) = self.index.take() {
            self.runtime.block_on(index.close());
        }
    }

    /// Asks the index, which is made by the first question.
    fn ask(&mut self) {
        self.runtime.block_on(async {
            let home = RolloutHome::new(&self.root);
            if self.index.is_none() {
                self.index = Some(StateIndex::open(&home, &StateIndex::path_in(&home)).await.unwrap());
            }
            check_rows(self.index.as_ref().unwrap(), &by_logs(home), &self.what).await;
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

    /// What failed has changed nothing. A deletion or a move of several files may have got half way.
    fn check_unchanged(&self, step: Step, error: &StoreError) {
        let seen = self.see(&self.root);
        for (n, known) in self.world.iter().filter(|(_, known)| known.is_visible) {
            match step {
                Delete(doomed) if doomed == *n => {}
                _ => {
                    let said = seen.get(n).map(|seen| seen.said.clone());
                    let wanted: Vec<String> = known.said.iter().map(|text| (*text).to_owned()).collect();
                    assert_eq!(said, Some(wanted), "{}: after {step:?} failed: {error:?}", self.what);
                }
            }
        }
        let is_known = |n: &u32| self.world.get(n).is_some_and(|known| known.is_visible);
        assert!(seen.keys().all(is_known), "{}: a thread too many after {step:?} failed", self.what);
    }

    /// What failed succeeds when it is done again. A writer that could not sync is given up first.
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

    /// Looks at what is there after the process died at this step, in the directory where its files are or what the power left
    /// of them; and goes on.
    fn go_on(&self, root: &Path, died_at: usize, what: &str) {
        let seen = see(self.runtime, root, what);
        let step = STORY.get(died_at).copied();
        let before = &self.world;
        let after = step.map_or_else(|| before.clone(), |step| step.after(before.clone()));
        check_either(&seen, before, &after, step, what);
        self.check_goes_on(root, &seen, what);
    }

    /// Tells the story from the step on at which the process died, in another one that finds the files as they are.
    fn tell_the_rest(&self, died_at: usize) {
        let Some(step) = STORY.get(died_at).copied() else { return };
        let seen = self.see(&self.root);
        let after = step.after(self.world.clone());
        let mut rest = Telling::new(self.runtime, &self.root, FaultyFiles::new(), self.level, self.what.clone());
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
        let is_done = changes && fits(after.get(&n), seen.get(&n)) && !matches!(step, Create(..) | Sync(_));
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
            let told = rest.world.get(&n);
            assert!(fits(told, seen.get(&n)), "{}: {n} in the end: {:?}, not {told:?}", self.what, seen.get(&n));
        }
    }

    /// A store that is opened now writes every thread, and leaves nothing lying about.
    fn check_goes_on(&self, root: &Path, seen: &BTreeMap<u32, Seen>, what: &str) {
        let fail = |n: u32, error: &StoreError| -> ! { panic!("{what}: thread {n} does not go on: {error:?}") };
        let store = by_logs(RolloutHome::new(root).with_durability(self.level).with_clock(|| second(50)));
        self.runtime.block_on(async {
            for (n, seen) in seen {
                Resume(*n).take(&store).await.unwrap_or_else(|error| fail(*n, &error));
                // A log that lost its head may be one of the other mode now.
                let mode = store.read_thread(id(*n)).await.unwrap_or_else(|error| fail(*n, &error)).history_mode;
                store
                    .append_items(id(*n), BatchId::generate(), &turn(mode, "more"))
                    .await
                    .map(drop)
                    .unwrap_or_else(|error| fail(*n, &error));
                Shutdown(*n).take(&store).await.unwrap_or_else(|error| fail(*n, &error));
                let said = said(&store, id(*n)).await;
                assert_eq!(said.last().map(String::as_str), Some("more"), "{what}: thread {n}");
                assert_eq!(said.len(), seen.said.len() + 1, "{what}: thread {n}: {said:?}");
            }
        });
        drop(store);
        check_tidy(root, what);
    }
}

fn open(root: &Path, files: &FaultyFiles, level: Durability) -> LocalThreadStore {
    // Rewinds write where the threads are, so that what is left there is taken away by whoever goes on.
    let home = RolloutHome::new(root).with_durability(level).with_clock(|| second(50));
    by_logs(home.with_file_system(Arc::new(files.clone())))
}

/// A store whose answers come from the logs alone.
fn by_logs(home: RolloutHome) -> LocalThreadStore {
    LocalThreadStore::with(home, IndexLocation::Disabled)
}

/// Whether an error says that the writer writes no more.
fn is_final(error: &StoreError) -> bool {
    error.to_string().contains("is not written any more")
}

/// What a reader sees of a thread.
#[derive(Clone, Debug)]
struct Seen {
    said: Vec<String>,
    name: Option<String>,
    archived: bool,
}

/// The question for all threads.
fn everything() -> ThreadQuery {
    ThreadQuery { archived: ArchivedFilter::All, limit: 100, ..ThreadQuery::default() }
}

/// What another process sees, that reads without the faulty files.
fn see(runtime: &Runtime, root: &Path, what: &str) -> BTreeMap<u32, Seen> {
    let store = by_logs(RolloutHome::new(root));
    runtime.block_on(async {
        let rows = store.list_threads(&everything()).await.unwrap_or_else(|error| panic!("{what}: {error:?}")).items;
        let mut seen = BTreeMap::new();
        for row in rows {
            let said = said(&store, row.id).await;
            for (at, text) in said.iter().enumerate() {
                assert!(!said[..at].contains(text), "{what}: {text} is there twice: {said:?}");
            }
            let n = (0..10).find(|n| id(*n) == row.id).unwrap();
            seen.insert(n, Seen { said, name: row.name, archived: row.archived });
        }
        seen
    })
}

async fn said(store: &LocalThreadStore, thread_id: ThreadId) -> Vec<String> {
    let turns = store.list_turns(&TurnQuery::all(thread_id)).await.unwrap().items;
    let items = turns.into_iter().flat_map(|turn| turn.items);
    let text = items.filter_map(|item| match item {
        TurnItem::UserMessage { text, .. } => Some(text.trim_start_matches("ask ").to_owned()),
        _ => None,
    });
    text.collect()
}

/// Whether a thread is seen to be what is known of it.
fn fits(known: Option<&Known>, seen: Option<&Seen>) -> bool {
    match (known.filter(|known| known.is_visible), seen) {
        (None, None) => true,
        (Some(known), Some(seen)) => {
            known.said.iter().copied().eq(seen.said.iter().map(String::as_str))
                && known.archived == seen.archived
                && known.name == seen.name.as_deref()
        }
        _ => false,
    }
}

/// Each thread is as it was before the step that the process died at, or as it would have been after it.
fn check_either(seen: &BTreeMap<u32, Seen>, before: &World, after: &World, step: Option<Step>, what: &str) {
    for n in 0..10 {
        let (before, after) = (before.get(&n), after.get(&n));
        let fits = |known| fits(known, seen.get(&n));
        // What was begun of a first append may be a thread in which nothing is said yet.
        let is_first = matches!(step, Some(Append(m, _)) if m == n) && before.is_none_or(|known| !known.is_visible);
        let is_begun = is_first && seen.get(&n).is_some_and(|seen| seen.said.is_empty());
        // What is left of a thread that is being deleted is an older state of it.
        let is_doomed = step == Some(Delete(n));
        assert!(
            fits(before) || fits(after) || is_begun || is_doomed,
            "{what}: thread {n} at {step:?}: {:?}, and not {before:?} or {after:?}",
            seen.get(&n)
        );
    }
}

/// There is nothing in a home that does not belong there, when nobody is writing.
fn check_tidy(root: &Path, what: &str) {
    for path in all_files(root) {
        let name = path.file_name().unwrap().to_str().unwrap();
        // Of a file that is there in both forms one would be left over.
        let is_whole = !name.ends_with(".zst") || !path.with_extension("").exists();
        let belongs = name.starts_with("rollout-") && is_whole
            || ["session_index.jsonl", "session_index.jsonl.lock", ".coordination.lock"].contains(&name)
            || name == "selvedge-references.lock"
            || name.starts_with("selvedge-index.sqlite");
        assert!(belongs, "{what}: {} was left", path.display());
    }
}

/// An index that is asked now lists the rows that the logs do; these are given back.
async fn check_rows(index: &StateIndex, logs: &LocalThreadStore, what: &str) -> Vec<StoredThread> {
    match index.refresh(u64::MAX).await.unwrap() {
        RefreshOutcome::Fresh(_) => {}
        RefreshOutcome::Unfilled => drop(index.update(|_| {}).await.unwrap()),
        RefreshOutcome::Behind { .. } => panic!("{what}: the index is behind"),
    }
    let (rows, logged) = (index.list_threads(&everything()).await, logs.list_threads(&everything()).await);
    let (rows, logged) = (rows.unwrap().items, logged.unwrap().items);
    for (row, logged) in rows.iter().zip(&logged) {
        assert_eq!(row, logged, "{what}");
    }
    assert_eq!(rows.len(), logged.len(), "{what}");
    rows
}

/// The same of turns.
async fn check_turns(index: &StateIndex, home: &RolloutHome, row: &StoredThread, what: &str) {
    let logs = by_logs(home.clone());
    let query = TurnQuery::all(row.id);
    if let Some(turns) = index.list_turns(&query, false).await.unwrap() {
        assert_eq!(turns, logs.list_turns(&query).await.unwrap(), "{what}: {}", row.id);
        return;
    }
    // Of compressed logs it has no turns, and of those with holes: then the logs answer.
    let files = home.files().unwrap();
    let parts = ResolvedHistory::resolve(&files, row.id).unwrap().unwrap().parts;
    let is_plain = parts.iter().all(|part| !part.file.name.compressed);
    let is_whole = logs.load_history(row.id).await.unwrap().damage.is_empty();
    assert!(!is_plain || !is_whole, "{what}: the index has no turns of {}", row.id);
}

/// The index that was left in a home says what its logs say: when it is asked, and if that is wanted to the last row when it
/// has looked at every file.
fn check_index(runtime: &Runtime, root: &Path, is_thorough: bool, what: &str) {
    let home = RolloutHome::new(root);
    let path = StateIndex::path_in(&home);
    runtime.block_on(async {
        let index = StateIndex::open(&home, &path).await.unwrap();
        assert_eq!(index.set_aside(), None, "{what}");
        let logs = by_logs(home.clone());
        for row in check_rows(&index, &logs, what).await {
            check_turns(&index, &home, &row, what).await;
        }
        if !is_thorough {
            return index.close().await;
        }
        index.update(|_| {}).await.unwrap();
        index.close().await;
        let check = StateIndex::check(&home, &path, &CheckScope { threads: None, deep: true }).await.unwrap();
        assert_eq!((check.is_there, check.findings), (true, Vec::new()), "{what}");
    });
}

/// Puts the index of a home beside what is left of its logs.
fn copy_index(from: &Path, to: &Path) {
    for end in ["", "-wal"] {
        let name = format!("selvedge-index.sqlite{end}");
        // An index that was closed has no log of its own.
        if from.join(&name).exists() {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

/// Without what was synced nothing is sure at level written when the power goes; but no thread is unreadable, nothing is
/// there twice or out of order, and what was synced is there unless it was taken away since.
fn check_written(seen: &BTreeMap<u32, Seen>, before: &World, after: &World, what: &str) {
    let order = |text: &String| {
        let said = STORY.iter().position(|step| matches!(step, Append(_, other) if other == text));
        said.map_or(0, |at| at + 1)
    };
    for (n, seen) in seen {
        assert!(seen.said.is_sorted_by_key(order), "{what}: thread {n} is out of order: {:?}", seen.said);
    }
    for (n, known) in before.iter().filter(|(n, _)| after.contains_key(n)) {
        let kept = known.synced.min(after[n].synced);
        let there: &[String] = seen.get(n).map_or(&[], |seen| &seen.said);
        let missing = known.said[..kept].iter().find(|text| !there.iter().any(|other| other == *text));
        assert_eq!(missing, None, "{what}: thread {n} has {there:?}");
    }
}

/// Every state that is looked at when the power goes.
pub(crate) const LOSSES: [PowerLoss; 5] = [
    PowerLoss::OnlySynced,
    PowerLoss::NamesWithoutBytes,
    PowerLoss::BytesWithoutNames,
    PowerLoss::Torn(1),
    PowerLoss::Torn(2),
];

/// Tells the story with one fault, and looks at what comes of it.
fn try_fault(runtime: &Runtime, stage: &Path, at: usize, fault: Fault, level: Durability, with_power: bool) {
    let dir = place();
    let root = dir.path().join("home");
    copy(stage, &root);
    let what = format!("{fault:?} at call {at}, level {level}");
    let is_thorough = at.is_multiple_of(4);
    let mut telling = Telling::new(runtime, &root, FaultyFiles::with_fault(at, fault), level, what.clone());
    telling.asks = Some(at % QUESTIONS);
    let end = telling.tell();
    let (died_at, after) = match end {
        End::Told => (STORY.len(), telling.world.clone()),
        End::Died(at) => (at, STORY.get(at).map_or(telling.world.clone(), |step| step.after(telling.world.clone()))),
    };
    telling.end();
    if with_power {
        for (number, loss) in LOSSES.into_iter().enumerate() {
            let left = dir.path().join("left");
            telling.files.disk().lose_power(&root, loss, &left).unwrap();
            let what = format!("{what}, {loss:?}");
            if number == at % LOSSES.len() {
                copy_index(&root, &left);
                check_index(runtime, &left, is_thorough, &what);
            }
            match level {
                Durability::Synced => telling.go_on(&left, died_at, &what),
                Durability::Written => {
                    let seen = see(runtime, &left, &what);
                    check_written(&seen, &telling.world, &after, &what);
                    telling.check_goes_on(&left, &seen, &what);
                }
            }
            fs::remove_dir_all(&left).unwrap();
        }
    } else {
        check_index(runtime, &root, is_thorough, &what);
        let again = dir.path().join("again");
        copy(&root, &again);
        telling.go_on(&again, died_at, &what);
        telling.tell_the_rest(died_at);
        if is_thorough {
            check_index(runtime, &root, is_thorough, &what);
        }
    }
}

/// Tells the story with each of the faults that `wanted` at each call, and says how many those were.
fn try_all(level: Durability, wanted: impl Fn(Fault) -> bool + std::marker::Sync, with_power: bool) -> usize {
    let stage = place();
    let first = runtime();
    set_stage(stage.path(), &first);
    let root = place();
    copy(stage.path(), &root.path().join("home"));
    let mut telling = Telling::new(&first, &root.path().join("home"), FaultyFiles::new(), level, "no fault".to_owned());
    assert!(matches!(telling.tell(), End::Told));
    telling.end();
    check_index(&first, &root.path().join("home"), true, "no fault");
    let calls = telling.files.calls();
    telling.go_on(&root.path().join("home"), STORY.len(), "no fault");
    let faults = |(at, call)| Fault::of(call).iter().map(move |fault| (at, *fault));
    let pairs: Vec<(usize, Fault)> =
        calls.into_iter().enumerate().flat_map(faults).filter(|(_, fault)| wanted(*fault)).collect();
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
    pairs.len()
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

/// Tells how many pairs of a call and a fault were tried.
#[expect(clippy::print_stderr, reason = "a count that shrinks has to be seen")]
fn report(level: Durability, kind: &str, pairs: usize) {
    eprintln!("{pairs} pairs of a call and {kind} at level {level}");
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
fn a_power_loss_at_any_call_takes_nothing_that_was_synced() {
    for level in [Durability::Written, Durability::Synced] {
        let pairs = try_all(level, Fault::is_stop, true);
        report(level, "a power loss", pairs * LOSSES.len());
    }
}

#[test]
fn a_power_loss_after_an_error_takes_nothing_that_was_synced() {
    let pairs = try_all(Durability::Synced, |fault| fault == Fault::Io, true);
    report(Durability::Synced, "a medium that fails, and then a power loss,", pairs * LOSSES.len());
}
