//! The model context that is read from the end of a history equals that of a replay from its beginning, through every chain of
//! forks and reverts.
//!
//! Three contexts are compared: that of the store, a replay of all lines that the same store returns, and that of the reference
//! in memory, which got the same calls.

use std::path::PathBuf;

use proptest::prelude::*;
use selvedge_history::{ModelContext, replay_lines};
use selvedge_protocol::{
    Compacted, ContextWindow, EventMsg, HistoryMode, ResponseItem, RolloutItem, SessionMeta, ThreadId,
    ThreadRolledBackEvent, TurnBoundary, TurnContext, TurnQuery, WindowId, WorldState, WorldStatePatch,
    WorldStateRecord,
};
use selvedge_thread_store::{
    BatchId, ForkThread, InMemoryThreadStore, RevertThread, StoreError, ThreadReader, ThreadStore,
};
use serde_json::json;

use crate::home::TestHome;
use selvedge_thread_store_conformance::fixtures::{
    MODES, agent, assert_consecutive_ordinals, complete, head, id, model_prompts, second, started, turn_id, user,
};

/// What a turn contains.
#[derive(Clone, Debug)]
enum Piece {
    Started,
    /// The end of the turn, or of the turn this many before it.
    Ended(usize),
    /// An end of a turn without its id.
    EndedSomething,
    Settings(u8),
    Snapshot(u8),
    Patch(u8),
    User,
    /// A message of the user that no client shows.
    HiddenUser,
    Fragment,
    Agent,
    OtherAgent,
    /// A compaction as live threads write it; the next two are as old programs wrote it, and as programs in between did.
    Compacted,
    OldCompacted,
    UnnumberedCompacted,
    RolledBack(u64),
}

#[derive(Clone, Debug)]
enum Op {
    Pieces(Vec<Piece>),
    Fork(Position),
    Revert(Position),
    Detach,
}

/// A boundary in a thread's turns.
#[derive(Clone, Debug)]
enum Position {
    Latest,
    After(prop::sample::Index),
    Before(prop::sample::Index),
    Beginning,
}

/// A typical turn.
fn typical(settings: u8) -> Vec<Piece> {
    use Piece::{Agent, Ended, Fragment, Settings, Snapshot, Started, User};
    vec![Started, Settings(settings), Fragment, Snapshot(settings), User, Agent, Ended(0)]
}

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let piece = prop_oneof![
        1 => Just(Piece::Started),
        1 => (0_usize..4).prop_map(Piece::Ended),
        1 => Just(Piece::EndedSomething),
        2 => any::<u8>().prop_map(Piece::Settings),
        2 => any::<u8>().prop_map(Piece::Snapshot),
        2 => any::<u8>().prop_map(Piece::Patch),
        3 => Just(Piece::User),
        1 => Just(Piece::HiddenUser),
        1 => Just(Piece::Fragment),
        1 => Just(Piece::Agent),
        1 => Just(Piece::OtherAgent),
        3 => Just(Piece::Compacted),
        1 => Just(Piece::OldCompacted),
        1 => Just(Piece::UnnumberedCompacted),
        2 => (0_u64..4).prop_map(Piece::RolledBack),
    ];
    let framed = |pieces: Vec<Piece>| [vec![Piece::Started], pieces, vec![Piece::Ended(0)]].concat();
    let compacting = |settings| {
        use Piece::{Compacted, Ended, Settings, Snapshot, Started, User};
        vec![Started, Compacted, Settings(settings), Snapshot(settings), User, Ended(0)]
    };
    // A compaction that does not have all facts, in a turn that can be undone.
    let old = move |(piece, settings)| framed(vec![piece, Piece::Settings(settings), Piece::User]);
    let old_piece = prop::sample::select(vec![Piece::OldCompacted, Piece::UnnumberedCompacted]);
    prop_oneof![
        4 => any::<u8>().prop_map(typical),
        2 => any::<u8>().prop_map(compacting),
        1 => (old_piece, any::<u8>()).prop_map(old),
        1 => (1_u64..3).prop_map(|turns| vec![Piece::RolledBack(turns)]),
        1 => Just(framed(vec![Piece::Compacted])),
        3 => prop::collection::vec(piece.clone(), 0..5).prop_map(framed),
        1 => prop::collection::vec(piece, 1..4),
    ]
}

fn position() -> impl Strategy<Value = Position> {
    prop_oneof![
        3 => Just(Position::Latest),
        3 => any::<prop::sample::Index>().prop_map(Position::After),
        3 => any::<prop::sample::Index>().prop_map(Position::Before),
        1 => Just(Position::Beginning),
    ]
}

/// Operations, and the threads that they are applied to: mostly the newest, so that chains get long.
fn ops() -> impl Strategy<Value = Vec<(prop::sample::Index, Op)>> {
    let op = prop_oneof![
        10 => pieces().prop_map(Op::Pieces),
        3 => position().prop_map(Op::Fork),
        3 => position().prop_map(Op::Revert),
        1 => Just(Op::Detach),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), op), 1..24)
}

/// The same threads on files and in memory.
struct Threads {
    home: TestHome,
    memory: InMemoryThreadStore,
    mode: HistoryMode,
    ids: Vec<ThreadId>,
    /// Counters for turns, windows and times.
    turns: usize,
    ticks: i64,
}

impl Threads {
    async fn new(mode: HistoryMode) -> Self {
        let mut threads = Self {
            home: TestHome::empty(),
            memory: InMemoryThreadStore::new(),
            mode,
            ids: Vec::new(),
            turns: 0,
            ticks: 0,
        };
        let meta = threads.new_head();
        for store in threads.stores() {
            store.create_thread(meta.clone()).await.unwrap();
            store.persist_thread(id(1)).await.unwrap();
            store.shutdown_thread(id(1)).await.unwrap();
        }
        threads
    }

    fn stores(&self) -> [&dyn ThreadStore; 2] {
        [&self.home.store, &self.memory]
    }

    /// Returns the head of a new thread, with a window of its own.
    fn new_head(&mut self) -> SessionMeta {
        let n = u32::try_from(self.ids.len()).unwrap() + 1;
        self.ids.push(id(n));
        let mut meta = head(n, self.mode);
        meta.context_window.get_or_insert_default().window_id = Some(self.new_window_id());
        meta
    }

    fn new_window_id(&mut self) -> WindowId {
        self.ticks += 1;
        WindowId::new(second(self.ticks))
    }

    async fn op(&mut self, thread_id: ThreadId, op: &Op) {
        match op {
            Op::Pieces(pieces) => self.append(thread_id, pieces).await,
            Op::Fork(position) => drop(self.fork(thread_id, self.boundary(thread_id, position).await).await),
            Op::Revert(position) => self.revert(thread_id, self.boundary(thread_id, position).await).await,
            Op::Detach => {
                for store in self.stores() {
                    store.detach_thread(thread_id).await.unwrap();
                }
            }
        }
    }

    async fn boundary(&self, thread_id: ThreadId, position: &Position) -> TurnBoundary {
        let turns = self.home.store.list_turns(&TurnQuery::all(thread_id)).await.unwrap().items;
        let turn = |index: &prop::sample::Index| turns[index.index(turns.len())].id.clone();
        match position {
            _ if turns.is_empty() => TurnBoundary::Latest,
            Position::Latest => TurnBoundary::Latest,
            Position::After(index) => TurnBoundary::After(turn(index)),
            Position::Before(index) => TurnBoundary::Before(turn(index)),
            Position::Beginning => TurnBoundary::Before(turns[0].id.clone()),
        }
    }

    async fn append(&mut self, thread_id: ThreadId, pieces: &[Piece]) {
        self.turns += 1;
        let mut items = Vec::new();
        for piece in pieces {
            items.extend(self.items(thread_id, piece).await);
        }
        for store in self.stores() {
            store.resume_thread(thread_id).await.unwrap();
            store.append_items(thread_id, BatchId::generate(), &items).await.unwrap();
            store.shutdown_thread(thread_id).await.unwrap();
        }
    }

    async fn items(&mut self, thread_id: ThreadId, piece: &Piece) -> Vec<RolloutItem> {
        self.ticks += 1;
        let (turn, text) = (format!("t{}", self.turns), format!("said {}", self.ticks));
        match piece {
            Piece::Started => vec![started(&turn)],
            Piece::Ended(back) => vec![complete(&format!("t{}", self.turns.saturating_sub(*back)))],
            Piece::EndedSomething => {
                vec![
                    EventMsg::from_json(serde_json::value::to_raw_value(&json!({"type": "task_complete"})).unwrap())
                        .into(),
                ]
            }
            Piece::Settings(n) => {
                vec![TurnContext { model: Some(format!("model {n}")), ..TurnContext::default() }.into()]
            }
            Piece::Snapshot(n) => {
                let state = WorldState::new(json!({"n": n, "of": {"turn": turn}})).unwrap();
                vec![WorldStateRecord::snapshot(&state).into()]
            }
            Piece::Patch(n) => {
                let patch = WorldStatePatch::new(json!({"n": n, "of": {"patch": turn, "turn": null}})).unwrap();
                vec![WorldStateRecord::patch(patch).into()]
            }
            Piece::User => user(self.mode, &turn, &text),
            Piece::HiddenUser => vec![ResponseItem::user_text(&text).into()],
            Piece::Fragment => {
                vec![ResponseItem::user_text(&format!("<environment_context>{text}</environment_context>")).into()]
            }
            Piece::Agent => agent(self.mode, &turn, &text),
            Piece::OtherAgent => vec![ResponseItem::agent_message("one", "other", &text).into()],
            Piece::Compacted => {
                let was = self.home.store.load_model_context(thread_id).await.unwrap().window;
                let window = ContextWindow {
                    number: was.number + 1,
                    previous_window_id: was.window_id,
                    window_id: Some(self.new_window_id()),
                    ..was
                };
                let kept = ["kept", &text].map(ResponseItem::user_text).into();
                vec![Compacted::new(text, kept, window).into()]
            }
            Piece::OldCompacted => vec![Compacted { message: Some(text), ..Compacted::default() }.into()],
            Piece::UnnumberedCompacted => {
                let replacement_history = Some(vec![ResponseItem::user_text(&text)]);
                vec![Compacted { message: Some(text), replacement_history, ..Compacted::default() }.into()]
            }
            Piece::RolledBack(turns) => {
                let event = ThreadRolledBackEvent { num_turns: Some(*turns), ..Default::default() };
                vec![EventMsg::from(event).into()]
            }
        }
    }

    async fn fork(&mut self, source: ThreadId, at: TurnBoundary) -> ThreadId {
        let meta = self.new_head();
        for store in self.stores() {
            store.fork_thread(ForkThread { source, at: at.clone(), meta: meta.clone() }).await.unwrap();
        }
        meta.id.unwrap()
    }

    /// Reverts a thread, unless the turns to undo have no user message: a legacy rollback cannot express that.
    async fn revert(&mut self, thread_id: ThreadId, to: TurnBoundary) {
        self.ticks += 1;
        let mut outcomes = Vec::new();
        for store in self.stores() {
            let request = RevertThread { thread_id, to: to.clone(), batch: BatchId::generate() };
            outcomes.push(match store.revert_thread(request).await {
                Ok(_) => true,
                Err(StoreError::InvalidRequest { .. }) if self.mode == HistoryMode::Legacy => false,
                Err(error) => panic!("{error}"),
            });
        }
        assert_eq!(outcomes[0], outcomes[1]);
    }

    /// Checks that all ways to read a thread's context agree.
    async fn check(&self, thread_id: ThreadId) -> ModelContext {
        let history = self.home.store.load_history(thread_id).await.unwrap();
        assert_eq!(history.damage, []);
        if self.mode == HistoryMode::Paginated {
            assert_consecutive_ordinals(&history);
        }
        let whole = without_warnings(replay_lines(&history.lines));
        let bounded = without_warnings(self.home.store.load_model_context(thread_id).await.unwrap());
        assert_eq!(bounded, whole, "{thread_id}: from the end, and from the beginning");
        let reference = without_warnings(self.memory.load_model_context(thread_id).await.unwrap());
        assert_eq!(bounded, reference, "{thread_id}: on files, and in memory");
        bounded
    }
}

/// Removes the warnings: only a whole history has those of all of its lines.
fn without_warnings(context: ModelContext) -> ModelContext {
    ModelContext { warnings: Vec::new(), ..context }
}

async fn story(mode: HistoryMode, ops: &[(prop::sample::Index, Op)]) {
    let mut threads = Threads::new(mode).await;
    for (which, op) in ops {
        // A thread that was created later is chosen more often.
        let count = threads.ids.len();
        let which = which.index(count * count).isqrt();
        let thread_id = threads.ids[which];
        threads.op(thread_id, op).await;
        threads.check(thread_id).await;
    }
    for thread_id in threads.ids.clone() {
        threads.check(thread_id).await;
    }
}

fn run(mode: HistoryMode, ops: &[(prop::sample::Index, Op)]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(story(mode, ops));
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn contexts_agree_after_any_story_of_paginated_threads(ops in ops()) {
        run(HistoryMode::Paginated, &ops);
    }

    #[test]
    fn contexts_agree_after_any_story_of_legacy_threads(ops in ops()) {
        run(HistoryMode::Legacy, &ops);
    }
}

/// Returns a thread with two turns, a compaction in the third one, and a fourth.
async fn compacted(mode: HistoryMode) -> Threads {
    let mut threads = Threads::new(mode).await;
    threads.append(id(1), &typical(1)).await;
    threads.append(id(1), &typical(2)).await;
    append_compaction(&mut threads, id(1)).await;
    threads.append(id(1), &typical(4)).await;
    threads
}

async fn append_compaction(threads: &mut Threads, thread_id: ThreadId) {
    let pieces = typical(3).into_iter().flat_map(|piece| match piece {
        Piece::Started => vec![Piece::Started, Piece::Compacted],
        piece => vec![piece],
    });
    let pieces: Vec<Piece> = pieces.collect();
    threads.append(thread_id, &pieces).await;
}

/// Overwrites what a file has before this turn, except its first line.
async fn overwrite_before(threads: &Threads, file_of: ThreadId, turn: &str) {
    let path: PathBuf = threads.home.store.read_thread(file_of).await.unwrap().location.unwrap().into();
    let mut bytes = std::fs::read(&path).unwrap();
    let opening = format!(r#""type":"task_started","turn_id":"{turn}""#);
    let text = String::from_utf8(bytes.clone()).unwrap();
    let line = text[..text.find(&opening).unwrap()].rfind('\n').unwrap();
    let first = text.find('\n').unwrap();
    assert!(first < line, "turn {turn} is not the first");
    bytes[first + 1..line].fill(b'x');
    std::fs::write(&path, bytes).unwrap();
}

/// Checks that the contexts of these threads do not change when everything before the third turn is overwritten: the compaction
/// in that turn has everything that the model sees.
async fn check_unread(threads: &Threads, file_of: ThreadId, read: &[ThreadId]) {
    let mut before = Vec::new();
    for thread_id in read {
        before.push(threads.check(*thread_id).await);
    }
    overwrite_before(threads, file_of, "t3").await;
    for (thread_id, before) in read.iter().zip(before) {
        assert_eq!(threads.home.store.load_model_context(*thread_id).await.unwrap(), before, "{thread_id}");
        assert_ne!(threads.home.store.load_history(*thread_id).await.unwrap().damage, []);
    }
}

#[tokio::test]
async fn the_context_of_a_fork_is_read_back_to_the_compaction_in_its_source() {
    let mut threads = compacted(HistoryMode::Paginated).await;
    let at_end = threads.fork(id(1), TurnBoundary::Latest).await;
    let behind = threads.fork(id(1), TurnBoundary::After(turn_id("t3"))).await;
    let continued = threads.fork(id(1), TurnBoundary::Latest).await;
    threads.append(continued, &typical(5)).await;
    let deep = threads.fork(continued, TurnBoundary::Latest).await;
    threads.append(deep, &typical(6)).await;
    let deeper = threads.fork(deep, TurnBoundary::After(turn_id("t5"))).await;
    check_unread(&threads, id(1), &[id(1), at_end, behind, continued, deep, deeper]).await;
    let context = threads.home.store.load_model_context(deeper).await.unwrap();
    assert_eq!(context.window.number, 0, "a fork counts its own windows");
    assert_eq!(context.previous_settings.unwrap().model.as_deref(), Some("model 5"));
}

/// The same for legacy forks, each of which has a copy of its own.
#[tokio::test]
async fn the_context_of_a_fork_is_read_back_to_a_copied_compaction() {
    let mut threads = compacted(HistoryMode::Legacy).await;
    let fork = threads.fork(id(1), TurnBoundary::Latest).await;
    threads.append(fork, &typical(5)).await;
    let deep = threads.fork(fork, TurnBoundary::After(turn_id("t5"))).await;
    for thread_id in [id(1), fork, deep] {
        check_unread(&threads, thread_id, &[thread_id]).await;
    }
}

#[tokio::test]
async fn a_revert_into_inherited_turns_keeps_the_compaction_before_them() {
    let mut threads = compacted(HistoryMode::Paginated).await;
    let fork = threads.fork(id(1), TurnBoundary::Latest).await;
    threads.append(fork, &typical(5)).await;
    threads.revert(fork, TurnBoundary::After(turn_id("t3"))).await;
    threads.append(fork, &typical(6)).await;
    let of_reverted = threads.fork(fork, TurnBoundary::Latest).await;
    // The boundary is after the compaction, which is found in the source, through two segments of the fork.
    check_unread(&threads, id(1), &[fork, of_reverted]).await;
}

#[tokio::test]
async fn a_revert_to_before_a_compaction_restores_the_context_of_that_time() {
    for mode in MODES {
        let mut threads = compacted(mode).await;
        let fork = threads.fork(id(1), TurnBoundary::Latest).await;
        threads.append(fork, &typical(5)).await;
        threads.revert(fork, TurnBoundary::Before(turn_id("t2"))).await;
        let context = threads.check(fork).await;
        assert_eq!(context.previous_settings.as_ref().unwrap().model.as_deref(), Some("model 1"));
        assert_eq!(context.world_state.as_ref().unwrap().section("n"), Some(&json!(1)));
        threads.append(fork, &typical(6)).await;
        let deep = threads.fork(fork, TurnBoundary::After(turn_id("t1"))).await;
        threads.check(fork).await;
        assert_eq!(threads.check(deep).await.world_state, context.world_state);
    }
}

#[tokio::test]
async fn a_revert_to_before_the_first_turn_empties_the_context() {
    for mode in MODES {
        let mut threads = compacted(mode).await;
        let fork = threads.fork(id(1), TurnBoundary::Latest).await;
        append_compaction(&mut threads, fork).await;
        for thread_id in [fork, id(1)] {
            threads.revert(thread_id, TurnBoundary::Before(turn_id("t1"))).await;
            let context = threads.check(thread_id).await;
            assert_eq!((&context.world_state, &context.previous_settings), (&None, &None));
            assert_eq!(context.window.number, 0);
            if mode == HistoryMode::Paginated {
                assert_eq!(context.history, []);
            }
            append_compaction(&mut threads, thread_id).await;
            threads.append(thread_id, &typical(7)).await;
            let again = threads.fork(thread_id, TurnBoundary::Latest).await;
            assert_eq!(threads.check(again).await.history, threads.check(thread_id).await.history);
        }
    }
}

/// Three forks deep, with a compaction in each fork. One is undone, and all contexts are checked.
#[tokio::test]
async fn contexts_agree_in_a_chain_of_three_forks_with_a_compaction_in_each() {
    for mode in MODES {
        let mut threads = compacted(mode).await;
        let mut chain = vec![id(1)];
        for n in 0..3 {
            let fork = threads.fork(chain[n], TurnBoundary::Latest).await;
            threads.append(fork, &typical(10)).await;
            append_compaction(&mut threads, fork).await;
            threads.append(fork, &typical(11)).await;
            chain.push(fork);
        }
        for thread_id in &chain {
            threads.check(*thread_id).await;
        }
        // Back to the turn before the newest compaction: now the compaction of the source counts.
        let newest = chain[3];
        let before = format!("t{}", threads.turns - 1);
        threads.revert(newest, TurnBoundary::Before(turn_id(&before))).await;
        threads.check(newest).await;
        threads.append(newest, &typical(12)).await;
        let fork = threads.fork(newest, TurnBoundary::Latest).await;
        let context = threads.check(fork).await;
        assert_eq!(context.history, threads.check(newest).await.history);
        assert!(model_prompts(&threads.home.store, fork).await.iter().any(|text| text.contains("said")));
    }
}

/// A rollback that undoes turns before the compaction needs those turns, in whatever file they are.
#[tokio::test]
async fn a_rollback_past_the_compaction_continues_in_the_source() {
    for mode in MODES {
        let mut threads = compacted(mode).await;
        let fork = threads.fork(id(1), TurnBoundary::Latest).await;
        threads.append(fork, &typical(5)).await;
        threads.append(fork, &[Piece::RolledBack(3)]).await;
        let context = threads.check(fork).await;
        assert_eq!(context.previous_settings.unwrap().model.as_deref(), Some("model 2"));
        assert_eq!(context.world_state.unwrap().section("n"), Some(&json!(2)));
    }
}
