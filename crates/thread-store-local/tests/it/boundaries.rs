//! Boundaries of forks and reverts: a search from the end of a history finds the same ones as a reading of the whole history, and
//! reads no more than needed.
//!
//! Compressed files are read forward only. So a fork or revert in a home must write, byte for byte, the same as in a copy of that
//! home with all files compressed.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use selvedge_protocol::{
    ArchivedFilter, EventMsg, GitInfoPatch, HistoryMode, ResponseItem, RolloutItem, SessionMeta, StoredThread,
    ThreadId, ThreadMetadataPatch, ThreadQuery, ThreadRolledBackEvent, TurnBoundary, TurnQuery,
};
use selvedge_thread_store::{BatchId, ForkThread, MetadataOrigin, Result, RevertThread, ThreadReader, ThreadStore};
use serde_json::json;

use crate::home::{TestHome, all_recordings};
use selvedge_thread_store_conformance::fixtures::{
    MODES, agent, complete, continue_thread, head, id, model_prompts, record, second, shown_prompts, started, turn,
    user,
};

const MODE: HistoryMode = HistoryMode::Paginated;

fn everything() -> ThreadQuery {
    ThreadQuery { archived: ArchivedFilter::All, limit: 1000, ..ThreadQuery::default() }
}

fn is_rollout(path: &Path) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with("rollout-")
}

/// Returns a copy of a home in which every rollout file is compressed.
fn compressed(home: &TestHome) -> TestHome {
    let copy = TestHome::empty();
    for path in home.files() {
        let to = copy.path().join(path.strip_prefix(home.path()).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&path, &to).unwrap();
    }
    for path in copy.files().into_iter().filter(|path| is_rollout(path) && path.extension().unwrap() == "jsonl") {
        fs::write(path.with_extension("jsonl.zst"), zstd::encode_all(&*fs::read(&path).unwrap(), 0).unwrap()).unwrap();
        fs::remove_file(path).unwrap();
    }
    copy
}

/// Returns the outcome of `work` and the content of the files that it has created, and removes these.
async fn created_by<T>(home: &TestHome, work: impl Future<Output = Result<T>>) -> (Result<T, String>, String) {
    let before = home.files();
    let outcome = work.await.map_err(|error| error.to_string());
    let made: Vec<PathBuf> = home.files().into_iter().filter(|path| !before.contains(path)).collect();
    let content = made.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    made.iter().for_each(|path| fs::remove_file(path).unwrap());
    (outcome, content)
}

/// Returns all boundaries of a thread, and some that it does not have.
async fn boundaries(home: &TestHome, thread_id: ThreadId) -> Vec<TurnBoundary> {
    let turns = home.store.list_turns(&TurnQuery::all(thread_id)).await.unwrap().items;
    let mut boundaries: Vec<TurnBoundary> =
        ["no such turn", "turn-1", "turn-2", "turn-99"].map(|id| TurnBoundary::After(id.into())).into();
    boundaries.extend([TurnBoundary::Latest, TurnBoundary::BeforeNewest(0), TurnBoundary::BeforeNewest(u64::MAX)]);
    for (turn, newest) in turns.iter().rev().zip(1..) {
        boundaries.push(TurnBoundary::BeforeNewest(newest));
        boundaries.push(TurnBoundary::After(turn.id.clone()));
        boundaries.push(TurnBoundary::Before(turn.id.clone()));
    }
    boundaries
}

/// Forks and reverts a thread at every boundary, in both homes.
async fn check_boundaries(home: &TestHome, compressed: &TestHome, thread_id: ThreadId, what: &str) {
    let mode = home.store.load_history(thread_id).await.unwrap().mode;
    for boundary in boundaries(home, thread_id).await {
        let fork = |home: &TestHome| {
            // With a window of its own. Without one the store would generate a random id.
            let mut meta = SessionMeta::new(id(9999), second(90_000));
            meta.context_window.get_or_insert_default().window_id = Some(id(9998).to_string().parse().unwrap());
            let request = ForkThread { source: thread_id, at: boundary.clone(), meta };
            let store = home.store.clone();
            async move { store.fork_thread(request).await }
        };
        let forked = created_by(home, fork(home)).await;
        assert_eq!(
            forked,
            created_by(compressed, fork(compressed)).await,
            "{what}: fork of {thread_id} at {boundary:?}"
        );

        let revert = |home: &TestHome| {
            let request = RevertThread { thread_id, to: boundary.clone(), batch: BatchId::generate() };
            let store = home.store.clone();
            async move { store.revert_thread(request).await }
        };
        if mode == HistoryMode::Paginated {
            let reverted = without_time(created_by(home, revert(home)).await);
            let wanted = without_time(created_by(compressed, revert(compressed)).await);
            assert_eq!(reverted, wanted, "{what}: revert of {thread_id} to {boundary:?}");
        }
    }
}

/// Removes the time of a revert from what it has written.
fn without_time<T>((outcome, text): (T, String)) -> (T, String) {
    let first = text.lines().next().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    match first.as_ref().and_then(|head| head["timestamp"].as_str()) {
        Some(at) => (outcome, text.replace(at, "")),
        None => (outcome, text),
    }
}

/// Reverts a legacy thread at every boundary: an event with the number of turns is appended to its only file.
async fn check_legacy_reverts(recorded: &TestHome, thread: &StoredThread) {
    let content = fs::read(thread.location.as_ref().unwrap()).unwrap();
    for to in boundaries(recorded, thread.id).await {
        let plain = TestHome::empty();
        plain.put(thread.id, &content);
        let mut found = Vec::new();
        for home in [&compressed(&plain), &plain] {
            let request = RevertThread { thread_id: thread.id, to: to.clone(), batch: BatchId::generate() };
            let undone = home.store.revert_thread(request).await.map_err(|error| error.to_string());
            let lines = home.store.load_history(thread.id).await.unwrap().lines;
            let payloads: Vec<String> = lines.iter().map(|line| line.payload().to_owned()).collect();
            found.push((undone, payloads));
        }
        assert_eq!(found[0], found[1], "{} to {to:?}", thread.id);
    }
}

#[tokio::test]
async fn every_boundary_of_every_recorded_thread_is_found_from_the_end() {
    let (mut paginated, mut legacy) = (0, 0);
    for folder in all_recordings() {
        let home = TestHome::recorded(&folder);
        let compressed = compressed(&home);
        for thread in home.store.list_threads(&everything()).await.unwrap().items {
            check_boundaries(&home, &compressed, thread.id, &folder).await;
            if thread.history_mode == HistoryMode::Legacy {
                check_legacy_reverts(&home, &thread).await;
                legacy += 1;
            } else {
                paginated += 1;
            }
        }
    }
    assert!(paginated > 20 && legacy > 20, "{paginated} and {legacy} threads");
}

/// What a thread contains.
#[derive(Clone, Debug)]
enum Piece {
    Turn,
    /// A turn, and items of it after its end.
    LateTurn,
    Started(u8),
    StartedWithoutId,
    /// The end of this turn, or of any open one.
    Ended(Option<u8>),
    Aborted(Option<u8>),
    /// An item of a turn, which may have ended or not exist.
    Item(u8),
    User,
    /// A user message that the model sees and no client shows.
    HiddenUser,
    Compacted,
    RolledBack,
    /// Metadata that a caller set.
    Metadata(u8),
    /// An event that no rule covers.
    Odd(serde_json::Value),
}

#[derive(Clone, Debug)]
enum Op {
    Pieces(Vec<Piece>),
    Fork(prop::sample::Index),
    Revert(prop::sample::Index),
    Detach,
}

/// Returns the id of a turn. Two of them equal synthetic ids, which turns without an id get by their index.
fn name_of(n: u8) -> String {
    match n {
        5 => "turn-1".to_owned(),
        6 => "turn-2".to_owned(),
        n => format!("t{n}"),
    }
}

fn piece() -> impl Strategy<Value = Piece> {
    let named = || prop::option::of(0_u8..7);
    prop_oneof![
        5 => Just(Piece::Turn),
        3 => Just(Piece::LateTurn),
        4 => (0_u8..7).prop_map(Piece::Started),
        1 => Just(Piece::StartedWithoutId),
        3 => named().prop_map(Piece::Ended),
        2 => named().prop_map(Piece::Aborted),
        4 => (0_u8..8).prop_map(Piece::Item),
        2 => Just(Piece::User),
        2 => Just(Piece::HiddenUser),
        1 => Just(Piece::Compacted),
        1 => Just(Piece::RolledBack),
        2 => any::<u8>().prop_map(Piece::Metadata),
        1 => prop::sample::select(vec![
            json!({"type": "task_complete", "turn_id": "turn-2"}),
            json!({"type": "task_started", "turn_id": 5}),
            json!({"type": "task_started", "started_at": "then", "turn_id": "t1"}),
            json!({"type": "turn_aborted", "turn_id": null}),
            json!({"type": "token_count", "turn_id": "t4"}),
            json!({"turn_id": "t1"}),
            json!({"type": "error", "message": "no"}),
        ]).prop_map(Piece::Odd),
    ]
}

fn ops() -> impl Strategy<Value = Vec<(prop::sample::Index, Op)>> {
    let op = prop_oneof![
        6 => prop::collection::vec(piece(), 1..8).prop_map(Op::Pieces),
        2 => any::<prop::sample::Index>().prop_map(Op::Fork),
        2 => any::<prop::sample::Index>().prop_map(Op::Revert),
        1 => Just(Op::Detach),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), op), 1..10)
}

fn event(value: serde_json::Value) -> RolloutItem {
    EventMsg::from_json(serde_json::value::to_raw_value(&value).unwrap()).into()
}

struct Story {
    home: TestHome,
    mode: HistoryMode,
    threads: Vec<ThreadId>,
    count: u32,
}

impl Story {
    async fn new(mode: HistoryMode) -> Self {
        let home = TestHome::empty();
        record(&home.store, 1, mode, &[]).await;
        Self { home, mode, threads: vec![id(1)], count: 0 }
    }

    async fn op(&mut self, thread_id: ThreadId, op: &Op) {
        self.count += 1;
        let store = self.home.store.clone();
        match op {
            Op::Pieces(pieces) => {
                for piece in pieces {
                    self.piece(thread_id, piece).await;
                }
            }
            Op::Fork(index) => {
                let boundaries = boundaries(&self.home, thread_id).await;
                let n = u32::try_from(self.threads.len()).unwrap() + 1;
                let request =
                    ForkThread { source: thread_id, at: index.get(&boundaries).clone(), meta: head(n, self.mode) };
                // Some boundaries do not exist.
                self.threads.extend(store.fork_thread(request).await);
            }
            Op::Revert(index) => {
                let boundaries = boundaries(&self.home, thread_id).await;
                drop(
                    store
                        .revert_thread(RevertThread {
                            thread_id,
                            to: index.get(&boundaries).clone(),
                            batch: BatchId::generate(),
                        })
                        .await,
                );
            }
            Op::Detach => drop(store.detach_thread(thread_id).await.unwrap()),
        }
    }

    async fn piece(&mut self, thread_id: ThreadId, piece: &Piece) {
        self.count += 1;
        let (count, mode) = (self.count, self.mode);
        let text = format!("said {count}");
        let items = match piece {
            Piece::Turn => turn(mode, &format!("whole {count}")),
            Piece::LateTurn => {
                let name = format!("late {count}");
                let late = agent(mode, &name, "late");
                [turn(mode, &name), late.clone(), late].concat()
            }
            Piece::Started(n) => vec![started(&name_of(*n))],
            Piece::StartedWithoutId => vec![event(json!({"type": "task_started"}))],
            Piece::Ended(Some(n)) => vec![complete(&name_of(*n))],
            Piece::Ended(None) => vec![event(json!({"type": "task_complete"}))],
            Piece::Aborted(n) => {
                vec![event(json!({"type": "turn_aborted", "turn_id": n.map(name_of), "reason": "interrupted"}))]
            }
            Piece::Item(n) => agent(mode, &name_of(*n), &text),
            Piece::User => user(mode, "t1", &text),
            Piece::HiddenUser => vec![ResponseItem::user_text(&text).into()],
            Piece::Compacted => {
                let summary = selvedge_protocol::Compacted { message: Some(text), ..Default::default() };
                vec![summary.into()]
            }
            Piece::RolledBack => {
                vec![EventMsg::from(ThreadRolledBackEvent { num_turns: Some(1), ..Default::default() }).into()]
            }
            Piece::Odd(value) => vec![event(value.clone())],
            Piece::Metadata(n) => return self.set_metadata(thread_id, *n).await,
        };
        let store = &self.home.store;
        store.resume_thread(thread_id).await.unwrap();
        store.append_items(thread_id, BatchId::generate(), &items).await.unwrap();
        store.shutdown_thread(thread_id).await.unwrap();
    }

    async fn set_metadata(&self, thread_id: ThreadId, n: u8) {
        let branch = GitInfoPatch { branch: Some(Some(format!("branch {n}"))), ..Default::default() };
        let patch = match n % 4 {
            0 => ThreadMetadataPatch { git: Some(None), ..Default::default() },
            1 => ThreadMetadataPatch { git: Some(Some(branch)), ..Default::default() },
            2 => ThreadMetadataPatch { created_at: Some(second(-i64::from(n))), ..Default::default() },
            _ => ThreadMetadataPatch { agent_role: Some(Some(format!("role {n}"))), ..Default::default() },
        };
        self.home.store.update_thread_metadata(thread_id, &patch, MetadataOrigin::Explicit).await.unwrap();
    }
}

fn run(mode: HistoryMode, ops: &[(prop::sample::Index, Op)]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut story = Story::new(mode).await;
        for (which, op) in ops {
            let thread_id = *which.get(&story.threads);
            story.op(thread_id, op).await;
        }
        let compressed = compressed(&story.home);
        for thread_id in &story.threads {
            check_boundaries(&story.home, &compressed, *thread_id, "a story").await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 400, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn any_boundary_of_any_paginated_thread_is_found_from_the_end(ops in ops()) {
        run(HistoryMode::Paginated, &ops);
    }

    #[test]
    fn any_boundary_of_any_legacy_thread_is_found_from_the_end(ops in ops()) {
        run(HistoryMode::Legacy, &ops);
    }
}

/// A turn without an id in the log gets a synthetic one by its index. Here an earlier turn has the same id.
#[tokio::test]
async fn a_turn_with_a_synthetic_id_is_found() {
    let home = TestHome::empty();
    record(&home.store, 1, MODE, &["a", "turn-3"]).await;
    let loose = |id: &str| {
        let item = json!({"type": "AgentMessage", "id": id, "content": [{"type": "Text", "text": id}]});
        event(json!({"type": "item_completed", "item": item}))
    };
    home.store.resume_thread(id(1)).await.unwrap();
    home.store.append_items(id(1), BatchId::generate(), &[loose("x"), complete("turn-3"), loose("y")]).await.unwrap();
    home.store.shutdown_thread(id(1)).await.unwrap();
    let turns = home.store.list_turns(&TurnQuery::all(id(1))).await.unwrap().items;
    assert_eq!(turns.iter().map(|turn| turn.id.as_str()).collect::<Vec<_>>(), ["a", "turn-3", "turn-3", "turn-4"]);
    check_boundaries(&home, &compressed(&home), id(1), "synthetic id").await;
    let request = ForkThread { source: id(1), at: TurnBoundary::Before("turn-3".into()), meta: head(2, MODE) };
    home.store.fork_thread(request).await.unwrap();
    assert_eq!(
        shown_prompts(&home.store, id(2)).await,
        ["a", "turn-3"],
        "of two turns of one name the newest is meant"
    );
}

/// A detached thread has heads among its copied lines, and the newest of them counts.
#[tokio::test]
async fn the_newest_head_of_a_detached_thread_may_be_a_copied_one() {
    let home = TestHome::empty();
    record(&home.store, 1, MODE, &["a"]).await;
    home.store.fork_thread(ForkThread { source: id(1), at: TurnBoundary::Latest, meta: head(2, MODE) }).await.unwrap();
    continue_thread(&home.store, id(2), MODE, &["b", "c", "d"]).await;
    let path = home.store.detach_thread(id(2)).await.unwrap().location.unwrap();
    let content = fs::read_to_string(&path).unwrap();
    let moved = |line: &str| match line.contains("copied_session_meta") {
        true => format!("{}\n", line.replace("/srv/project", "/srv/moved")),
        false => format!("{line}\n"),
    };
    fs::write(&path, content.lines().map(moved).collect::<String>()).unwrap();
    let before = home.store.read_thread(id(2)).await.unwrap();
    assert_eq!(before.cwd.as_deref(), Some("/srv/moved"));
    for left in [&["a", "b", "c"][..], &["a", "b"]] {
        let to = TurnBoundary::BeforeNewest(1);
        home.store.revert_thread(RevertThread { thread_id: id(2), to, batch: BatchId::generate() }).await.unwrap();
        let after = home.store.read_thread(id(2)).await.unwrap();
        assert_eq!((after.cwd, after.created_at), (before.cwd.clone(), before.created_at));
        assert_eq!(shown_prompts(&home.store, id(2)).await, left);
    }
}

/// The state of a thread when it is forked or reverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ThreadState {
    Cold,
    Archived,
    Live,
    Compressed,
    Torn,
    BadLine,
}

const STATES: [ThreadState; 6] = [
    ThreadState::Cold,
    ThreadState::Archived,
    ThreadState::Live,
    ThreadState::Compressed,
    ThreadState::Torn,
    ThreadState::BadLine,
];

/// Returns a home with a thread of the turns a, b and c in this state.
async fn home_in(state: ThreadState, mode: HistoryMode) -> TestHome {
    let home = TestHome::empty();
    record(&home.store, 1, mode, &["a", "b", "c"]).await;
    let path = home.store.read_thread(id(1)).await.unwrap().location.unwrap();
    let mut content = fs::read_to_string(&path).unwrap();
    match state {
        ThreadState::Cold => {}
        ThreadState::Archived => drop(home.store.archive_thread(id(1)).await.unwrap()),
        ThreadState::Live => home.store.resume_thread(id(1)).await.unwrap(),
        ThreadState::Compressed => return compressed(&home),
        ThreadState::Torn => content.push_str(r#"{"timestamp":"2026-11-21T09:09:03.120Z","ordi"#),
        // Only the user message for the model in turn b is lost.
        ThreadState::BadLine => content = content.replacen(r#""text":"ask b""#, r#""text"#, 1),
    }
    fs::write(home.files().iter().find(|path| is_rollout(path)).unwrap(), content).unwrap();
    home
}

fn boundaries_of_abc() -> [(TurnBoundary, &'static [&'static str]); 7] {
    [
        (TurnBoundary::Latest, &["a", "b", "c"]),
        (TurnBoundary::After("c".into()), &["a", "b", "c"]),
        (TurnBoundary::After("b".into()), &["a", "b"]),
        (TurnBoundary::Before("c".into()), &["a", "b"]),
        (TurnBoundary::BeforeNewest(2), &["a"]),
        (TurnBoundary::Before("b".into()), &["a"]),
        (TurnBoundary::Before("a".into()), &[]),
    ]
}

#[tokio::test]
async fn a_thread_in_any_state_can_be_forked_at_any_turn() {
    for mode in MODES {
        for state in STATES {
            let home = home_in(state, mode).await;
            for (n, (at, turns)) in (2..).zip(boundaries_of_abc()) {
                let what = format!("{mode:?} {state:?} {at:?}");
                home.store.fork_thread(ForkThread { source: id(1), at, meta: head(n, mode) }).await.unwrap();
                assert_eq!(shown_prompts(&home.store, id(n)).await, turns, "{what}");
                let heard_of_b: &[&str] = if state == ThreadState::BadLine { &[] } else { &["b"] };
                let expected: Vec<_> = turns
                    .iter()
                    .flat_map(|turn| if *turn == "b" { heard_of_b } else { std::slice::from_ref(turn) })
                    .collect();
                assert_eq!(model_prompts(&home.store, id(n)).await.iter().collect::<Vec<_>>(), expected, "{what}");
                continue_thread(&home.store, id(n), mode, &["d"]).await;
                assert_eq!(shown_prompts(&home.store, id(n)).await, [turns, &["d"]].concat(), "{what}");
            }
            assert_eq!(shown_prompts(&home.store, id(1)).await, ["a", "b", "c"], "{mode:?} {state:?}");
        }
    }
}

#[tokio::test]
async fn a_thread_in_any_state_can_be_reverted_to_any_turn() {
    for mode in MODES {
        for state in STATES {
            for (to, turns) in boundaries_of_abc() {
                let what = format!("{mode:?} {state:?} {to:?}");
                let home = home_in(state, mode).await;
                let undone = home
                    .store
                    .revert_thread(RevertThread { thread_id: id(1), to, batch: BatchId::generate() })
                    .await
                    .unwrap();
                assert_eq!(undone, 3 - turns.len(), "{what}");
                assert_eq!(shown_prompts(&home.store, id(1)).await, turns, "{what}");
                if state == ThreadState::Live {
                    home.store.append_items(id(1), BatchId::generate(), &turn(mode, "d")).await.unwrap();
                } else {
                    continue_thread(&home.store, id(1), mode, &["d"]).await;
                }
                assert_eq!(shown_prompts(&home.store, id(1)).await, [turns, &["d"]].concat(), "{what}");
            }
        }
    }
}

/// The running turn has no end yet. The fork does not get what is appended to it later.
#[tokio::test]
async fn a_live_thread_can_be_forked_around_its_running_turn() {
    for mode in MODES {
        let home = TestHome::empty();
        record(&home.store, 1, mode, &["a"]).await;
        home.store.resume_thread(id(1)).await.unwrap();
        home.store
            .append_items(id(1), BatchId::generate(), &[vec![started("b")], user(mode, "b", "ask b")].concat())
            .await
            .unwrap();
        let boundaries: [(TurnBoundary, &[&str]); 4] = [
            (TurnBoundary::Latest, &["a", "b"]),
            (TurnBoundary::After("b".into()), &["a", "b"]),
            (TurnBoundary::Before("b".into()), &["a"]),
            (TurnBoundary::BeforeNewest(1), &["a"]),
        ];
        for (n, (at, turns)) in (2..).zip(boundaries) {
            home.store.fork_thread(ForkThread { source: id(1), at, meta: head(n, mode) }).await.unwrap();
            home.store
                .append_items(id(1), BatchId::generate(), &user(mode, "b", &format!("ask more {n}")))
                .await
                .unwrap();
            assert_eq!(shown_prompts(&home.store, id(n)).await[..turns.len()], *turns);
            assert_eq!(
                shown_prompts(&home.store, id(n)).await.len(),
                turns.len() + usize::from(turns.len() == 2) * (n as usize - 2)
            );
        }
    }
}

/// A gap of half a terabyte in the middle of a thread, which would take minutes to read.
#[cfg(unix)]
#[tokio::test]
async fn lines_long_before_a_boundary_are_not_read() {
    use std::io::{Seek, SeekFrom, Write};

    let home = TestHome::empty();
    record(&home.store, 1, MODE, &["a", "b", "c", "d"]).await;
    let path = home.store.read_thread(id(1)).await.unwrap().location.unwrap();
    let content = fs::read_to_string(&path).unwrap();
    let start_of_b = content[..content.find(r#""turn_id":"b""#).unwrap()].rfind('\n').unwrap() + 1;
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(&content.as_bytes()[..start_of_b]).unwrap();
    file.seek(SeekFrom::Start(1 << 39)).unwrap();
    file.write_all(b"\n").unwrap();
    file.write_all(&content.as_bytes()[start_of_b..]).unwrap();
    drop(file);
    let size = fs::metadata(&path).unwrap().len();

    let began = std::time::Instant::now();
    let (newest, after) = (TurnBoundary::BeforeNewest(1), TurnBoundary::After("b".into()));
    for (n, at) in (2..).zip([TurnBoundary::Latest, TurnBoundary::Before("c".into()), newest.clone(), after.clone()]) {
        home.store.fork_thread(ForkThread { source: id(1), at, meta: head(n, MODE) }).await.unwrap();
    }
    for to in [newest, after] {
        home.store.revert_thread(RevertThread { thread_id: id(1), to, batch: BatchId::generate() }).await.unwrap();
    }
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    assert_eq!(fs::metadata(&path).unwrap().len(), size);
    // One file for each fork, and one for each revert.
    assert_eq!(home.files().len(), 7);
    for made in home.files().iter().filter(|made| **made != path) {
        assert!(fs::metadata(made).unwrap().len() < 2000, "{}", made.display());
    }
}
