//! The context read from the end of a history is the one of a replay from its beginning, through every chain of forks and
//! reverts.
//!
//! Three readings are compared: the store's own, a replay of all lines that the same store gives, and that of the reference
//! in memory, which was asked for the same things.

use std::path::PathBuf;

use proptest::prelude::*;
use selvedge_history::{ModelContext, replay_lines};
use selvedge_protocol::{
    Compacted, ContextWindow, EventMsg, HistoryMode, ResponseItem, RolloutItem, SessionMeta, ThreadId,
    ThreadRolledBackEvent, TurnContext, TurnQuery, WindowId, WorldState, WorldStatePatch, WorldStateRecord,
};
use selvedge_thread_store::{
    BatchId, ForkThread, InMemoryThreadStore, RevertThread, StoreError, ThreadReader, ThreadStore, TurnBoundary,
};
use serde_json::json;

use crate::home::TestHome;
use selvedge_thread_store_conformance::fixtures::{
    MODES, agent, assert_counted, complete, head, heard, id, second, started, turn_id, user,
};

/// What stands in a turn.
#[derive(Clone, Debug)]
enum Piece {
    Started,
    /// The end of the turn, or of one so far back.
    Ended(usize),
    /// An end that does not say of what.
    EndedSomething,
    Settings(u8),
    Snapshot(u8),
    Patch(u8),
    User,
    /// A message of the user that no client shows.
    RollbackLedger,
    Fragment,
    Agent,
    OtherAgent,
    /// A compaction as live threads write it, one as old programs did, and one between the two.
    Compacted,
    OldCompacted,
    UnnumberedCompacted,
    RolledBack(u64),
}

#[derive(Clone, Debug)]
enum Op {
    Pieces(Vec<Piece>),
    Fork(Place),
    Revert(Place),
    Detach,
}

/// A place in a thread's turns.
#[derive(Clone, Debug)]
enum Place {
    Latest,
    After(prop::sample::Index),
    Before(prop::sample::Index),
    Beginning,
}

/// A turn as it usually is.
fn usual(settings: u8) -> Vec<Piece> {
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
        1 => Just(Piece::RollbackLedger),
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
    // A compaction that leaves something to be found out, in a turn that can be undone.
    let old = move |(piece, settings)| framed(vec![piece, Piece::Settings(settings), Piece::User]);
    let old_piece = prop::sample::select(vec![Piece::OldCompacted, Piece::UnnumberedCompacted]);
    prop_oneof![
        4 => any::<u8>().prop_map(usual),
        2 => any::<u8>().prop_map(compacting),
        1 => (old_piece, any::<u8>()).prop_map(old),
        1 => (1_u64..3).prop_map(|turns| vec![Piece::RolledBack(turns)]),
        1 => Just(framed(vec![Piece::Compacted])),
        3 => prop::collection::vec(piece.clone(), 0..5).prop_map(framed),
        1 => prop::collection::vec(piece, 1..4),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        3 => Just(Place::Latest),
        3 => any::<prop::sample::Index>().prop_map(Place::After),
        3 => any::<prop::sample::Index>().prop_map(Place::Before),
        1 => Just(Place::Beginning),
    ]
}

/// What is done, and to which of the threads: mostly to the newest, so that chains get long.
fn ops() -> impl Strategy<Value = Vec<(prop::sample::Index, Op)>> {
    let op = prop_oneof![
        10 => pieces().prop_map(Op::Pieces),
        3 => place().prop_map(Op::Fork),
        3 => place().prop_map(Op::Revert),
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
    /// Turns, windows and times are numbered.
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

    /// The head of one more thread, with a window of its own.
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
            Op::Fork(place) => drop(self.fork(thread_id, self.cut(thread_id, place).await).await),
            Op::Revert(place) => self.revert(thread_id, self.cut(thread_id, place).await).await,
            Op::Detach => {
                for store in self.stores() {
                    store.detach_thread(thread_id).await.unwrap();
                }
            }
        }
    }

    async fn cut(&self, thread_id: ThreadId, place: &Place) -> TurnBoundary {
        let turns = self.home.store.list_turns(&TurnQuery::all(thread_id)).await.unwrap().items;
        let turn = |index: &prop::sample::Index| turns[index.index(turns.len())].id.clone();
        match place {
            _ if turns.is_empty() => TurnBoundary::Latest,
            Place::Latest => TurnBoundary::Latest,
            Place::After(index) => TurnBoundary::After(turn(index)),
            Place::Before(index) => TurnBoundary::Before(turn(index)),
            Place::Beginning => TurnBoundary::Before(turns[0].id.clone()),
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
            Piece::RollbackLedger => vec![ResponseItem::user_text(&text).into()],
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

    /// Reverts a thread, unless nobody spoke in what is to be undone: legacy threads cannot say that.
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

    /// All readings of a thread's context agree.
    async fn check(&self, thread_id: ThreadId) -> ModelContext {
        let history = self.home.store.load_history(thread_id).await.unwrap();
        assert_eq!(history.damage, []);
        if self.mode == HistoryMode::Paginated {
            assert_counted(&history);
        }
        let whole = without_warnings(replay_lines(&history.lines));
        let bounded = without_warnings(self.home.store.load_model_context(thread_id).await.unwrap());
        assert_eq!(bounded, whole, "{thread_id}: from the end, and from the beginning");
        let reference = without_warnings(self.memory.load_model_context(thread_id).await.unwrap());
        assert_eq!(bounded, reference, "{thread_id}: on files, and in memory");
        bounded
    }
}

/// Only the whole history has the warnings of all of its lines.
fn without_warnings(context: ModelContext) -> ModelContext {
    ModelContext { warnings: Vec::new(), ..context }
}

async fn story(mode: HistoryMode, ops: &[(prop::sample::Index, Op)]) {
    let mut threads = Threads::new(mode).await;
    for (which, op) in ops {
        // The later a thread was made, the more often it is the one.
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
    fn any_story_of_paginated_threads(ops in ops()) {
        run(HistoryMode::Paginated, &ops);
    }

    #[test]
    fn any_story_of_legacy_threads(ops in ops()) {
        run(HistoryMode::Legacy, &ops);
    }
}

/// Threads in which the turns a and b are followed by a compaction in turn c, and that by turn d.
async fn compacted(mode: HistoryMode) -> Threads {
    let mut threads = Threads::new(mode).await;
    threads.append(id(1), &usual(1)).await;
    threads.append(id(1), &usual(2)).await;
    append_compaction(&mut threads, id(1)).await;
    threads.append(id(1), &usual(4)).await;
    threads
}

async fn append_compaction(threads: &mut Threads, thread_id: ThreadId) {
    let pieces = usual(3).into_iter().flat_map(|piece| match piece {
        Piece::Started => vec![Piece::Started, Piece::Compacted],
        piece => vec![piece],
    });
    let pieces: Vec<Piece> = pieces.collect();
    threads.append(thread_id, &pieces).await;
}

/// Makes what stands in a file before this turn unreadable, but for the file's first line.
async fn wreck_before(threads: &Threads, file_of: ThreadId, turn: &str) {
    let path: PathBuf = threads.home.store.read_thread(file_of).await.unwrap().location.unwrap().into();
    let mut bytes = std::fs::read(&path).unwrap();
    let opening = format!(r#""type":"task_started","turn_id":"{turn}""#);
    let text = String::from_utf8(bytes.clone()).unwrap();
    let line = text[..text.find(&opening).unwrap()].rfind('\n').unwrap();
    let first = text.find('\n').unwrap();
    assert!(first < line, "there is something before turn {turn}");
    bytes[first + 1..line].fill(b'x');
    std::fs::write(&path, bytes).unwrap();
}

/// Nobody who reads the context of these threads notices that what stands before turn c is gone: the compaction in that
/// turn says anew what the model sees.
async fn check_unread(threads: &Threads, file_of: ThreadId, read: &[ThreadId]) {
    let mut before = Vec::new();
    for thread_id in read {
        before.push(threads.check(*thread_id).await);
    }
    wreck_before(threads, file_of, "t3").await;
    for (thread_id, before) in read.iter().zip(before) {
        assert_eq!(threads.home.store.load_model_context(*thread_id).await.unwrap(), before, "{thread_id}");
        assert_ne!(threads.home.store.load_history(*thread_id).await.unwrap().damage, []);
    }
}

#[tokio::test]
async fn a_compaction_in_the_source_is_as_far_as_a_fork_reads() {
    let mut threads = compacted(HistoryMode::Paginated).await;
    let at_end = threads.fork(id(1), TurnBoundary::Latest).await;
    let behind = threads.fork(id(1), TurnBoundary::After(turn_id("t3"))).await;
    let gone_on = threads.fork(id(1), TurnBoundary::Latest).await;
    threads.append(gone_on, &usual(5)).await;
    let deep = threads.fork(gone_on, TurnBoundary::Latest).await;
    threads.append(deep, &usual(6)).await;
    let deeper = threads.fork(deep, TurnBoundary::After(turn_id("t5"))).await;
    check_unread(&threads, id(1), &[id(1), at_end, behind, gone_on, deep, deeper]).await;
    let context = threads.home.store.load_model_context(deeper).await.unwrap();
    assert_eq!(context.window.number, 0, "a fork counts its own windows");
    assert_eq!(context.previous_settings.unwrap().model.as_deref(), Some("model 5"));
}

/// The same in files that hold copies, each of them its own.
#[tokio::test]
async fn a_copied_compaction_is_as_far_as_a_fork_reads() {
    let mut threads = compacted(HistoryMode::Legacy).await;
    let fork = threads.fork(id(1), TurnBoundary::Latest).await;
    threads.append(fork, &usual(5)).await;
    let deep = threads.fork(fork, TurnBoundary::After(turn_id("t5"))).await;
    for thread_id in [id(1), fork, deep] {
        check_unread(&threads, thread_id, &[thread_id]).await;
    }
}

#[tokio::test]
async fn a_revert_inside_what_was_inherited() {
    let mut threads = compacted(HistoryMode::Paginated).await;
    let fork = threads.fork(id(1), TurnBoundary::Latest).await;
    threads.append(fork, &usual(5)).await;
    threads.revert(fork, TurnBoundary::After(turn_id("t3"))).await;
    threads.append(fork, &usual(6)).await;
    let of_reverted = threads.fork(fork, TurnBoundary::Latest).await;
    // Behind the compaction: it is found in the source, through two segments of the fork.
    check_unread(&threads, id(1), &[fork, of_reverted]).await;
}

#[tokio::test]
async fn a_revert_to_before_what_was_compacted() {
    for mode in MODES {
        let mut threads = compacted(mode).await;
        let fork = threads.fork(id(1), TurnBoundary::Latest).await;
        threads.append(fork, &usual(5)).await;
        threads.revert(fork, TurnBoundary::Before(turn_id("t2"))).await;
        let context = threads.check(fork).await;
        assert_eq!(context.previous_settings.as_ref().unwrap().model.as_deref(), Some("model 1"));
        assert_eq!(context.world_state.as_ref().unwrap().section("n"), Some(&json!(1)));
        threads.append(fork, &usual(6)).await;
        let deep = threads.fork(fork, TurnBoundary::After(turn_id("t1"))).await;
        threads.check(fork).await;
        assert_eq!(threads.check(deep).await.world_state, context.world_state);
    }
}

#[tokio::test]
async fn a_revert_to_before_the_first_turn() {
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
            threads.append(thread_id, &usual(7)).await;
            let again = threads.fork(thread_id, TurnBoundary::Latest).await;
            assert_eq!(threads.check(again).await.history, threads.check(thread_id).await.history);
        }
    }
}

/// Three forks deep, with a compaction in every one, one undone again, and the context of all of them.
#[tokio::test]
async fn chains_of_three_with_a_compaction_in_each() {
    for mode in MODES {
        let mut threads = compacted(mode).await;
        let mut chain = vec![id(1)];
        for n in 0..3 {
            let fork = threads.fork(chain[n], TurnBoundary::Latest).await;
            threads.append(fork, &usual(10)).await;
            append_compaction(&mut threads, fork).await;
            threads.append(fork, &usual(11)).await;
            chain.push(fork);
        }
        for thread_id in &chain {
            threads.check(*thread_id).await;
        }
        // Back to the turn before the newest compaction: now that of the thread before counts.
        let newest = chain[3];
        let before = format!("t{}", threads.turns - 1);
        threads.revert(newest, TurnBoundary::Before(turn_id(&before))).await;
        threads.check(newest).await;
        threads.append(newest, &usual(12)).await;
        let fork = threads.fork(newest, TurnBoundary::Latest).await;
        let context = threads.check(fork).await;
        assert_eq!(context.history, threads.check(newest).await.history);
        assert!(heard(&threads.home.store, fork).await.iter().any(|text| text.contains("said")));
    }
}

/// A rollback that reaches behind the compaction needs what stands before it, wherever that is.
#[tokio::test]
async fn a_rollback_behind_the_compaction_reads_on_in_the_source() {
    for mode in MODES {
        let mut threads = compacted(mode).await;
        let fork = threads.fork(id(1), TurnBoundary::Latest).await;
        threads.append(fork, &usual(5)).await;
        threads.append(fork, &[Piece::RolledBack(3)]).await;
        let context = threads.check(fork).await;
        assert_eq!(context.previous_settings.unwrap().model.as_deref(), Some("model 2"));
        assert_eq!(context.world_state.unwrap().section("n"), Some(&json!(2)));
    }
}
