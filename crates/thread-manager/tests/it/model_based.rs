//! What the model was told, and which context window it is in, after any sequence of operations on threads: both stores
//! agree with a simple model.
//!
//! The model knows no records and no log. For each thread it keeps the surroundings that were told last and the window,
//! and the same for the beginning of each turn. So each operation is one line of arithmetic.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use selvedge_history::TokenBudget;
use selvedge_protocol::{
    ContextWindow, EventMsg, HistoryMode, ResponseItem, RolloutItem, ThreadId, ThreadRolledBackEvent, TurnBoundary,
    WindowId, WorldState,
};
use selvedge_thread_manager::{LiveThread, ThreadManager};
use selvedge_thread_store::ForkThread;
use serde_json::json;

use crate::support::{TestStores, complete, head, id, message, paginated, started, user_message, world_state_records};

/// An operation on one of the threads.
#[derive(Clone, Debug)]
enum Op {
    /// A turn: what the model is told before the user message, and again after it.
    Turn {
        compacts_first: bool,
        tells: Option<usize>,
        compacts: bool,
        tells_again: Option<usize>,
    },
    /// A turn that only compacts. A legacy thread goes back by user messages, so there it is not a turn.
    CompactingTurn,
    Rewind(u64),
    /// An event that the caller appends itself undoes turns.
    RollBack(u64),
    /// The thread is shut down and another process resumes it.
    Resume,
    /// A fork before the n-th turn from the end, or at the end.
    Fork(usize),
}

fn ops() -> impl Strategy<Value = Vec<(prop::sample::Index, Op)>> {
    let world = || prop::option::weighted(0.7, 0..worlds().len());
    let rarely = || prop::bool::weighted(0.15);
    let turn = (rarely(), world(), rarely(), world()).prop_map(|(compacts_first, tells, compacts, tells_again)| {
        Op::Turn { compacts_first, tells, compacts, tells_again }
    });
    let op = prop_oneof![
        6 => turn,
        1 => Just(Op::CompactingTurn),
        2 => (0_u64..5).prop_map(Op::Rewind),
        1 => (0_u64..4).prop_map(Op::RollBack),
        1 => Just(Op::Resume),
        2 => (0_usize..4).prop_map(Op::Fork),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), op), 1..16)
}

/// Snapshots that differ in every way that a patch can express.
fn worlds() -> Vec<WorldState> {
    let worlds = [
        json!({}),
        json!({"env": {"cwd": "/a", "shell": {"name": "sh"}}, "tools": ["a", "b"], "é🧵": {"": 1}}),
        json!({"env": {"cwd": "/b", "shell": {"name": "sh"}}, "tools": ["a", "b"]}),
        json!({"env": {"cwd": "/a"}, "tools": ["b", null], "é🧵": {}}),
        json!({"env": "none", "tools": {"a": {"b": [1.5, {"c": null}]}}}),
    ];
    worlds.map(|world| WorldState::new(world).unwrap()).into()
}

/// What the model was told last, and the context window.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    world: Option<WorldState>,
    window: ContextWindow,
}

#[derive(Clone, Debug)]
struct Turn {
    name: String,
    before: Known,
    /// Whether it has no user message.
    is_silent: bool,
    /// Whether the history was compacted in it.
    has_compacted: bool,
    /// Whether it comes from the source of a fork.
    is_inherited: bool,
}

/// A live thread, and its expected state.
struct Thread {
    live: Arc<LiveThread>,
    manager: ThreadManager,
    known: Known,
    /// The turns that were not undone.
    turns: Vec<Turn>,
    /// Whether an event has undone more than the messages since the newest compaction. Such an event takes the
    /// surroundings back by turns and the history by messages. From then on this model does not predict which turns
    /// are left.
    is_blurred: bool,
}

/// All threads of a test case.
struct Threads {
    stores: Arc<TestStores>,
    mode: HistoryMode,
    all: Vec<Thread>,
    turns: usize,
}

impl Threads {
    async fn new(stores: TestStores, mode: HistoryMode) -> Self {
        let manager = stores.manager();
        let live = manager.start(head(1, mode)).await.unwrap();
        live.persist().await.unwrap();
        let known = Known { world: None, window: live.window().await };
        let stores = Arc::new(stores);
        Self {
            stores,
            mode,
            all: vec![Thread { live, manager, known, turns: Vec::new(), is_blurred: false }],
            turns: 0,
        }
    }

    async fn op(&mut self, which: usize, op: &Op) {
        match op {
            Op::Turn { compacts_first, tells, compacts, tells_again } => {
                self.turn(which, [(*compacts_first, *tells), (*compacts, *tells_again)]).await;
            }
            Op::CompactingTurn if self.mode == HistoryMode::Legacy => {}
            Op::CompactingTurn => self.compacting_turn(which).await,
            Op::Rewind(turns) => self.all[which].rewind(*turns).await,
            Op::RollBack(turns) => self.all[which].roll_back(*turns).await,
            Op::Resume => self.resume(which).await,
            Op::Fork(back) => self.fork(which, *back).await,
        }
    }

    /// Begins a turn with a new name.
    async fn begin(&mut self, which: usize, is_silent: bool) -> (&mut Thread, String) {
        self.turns += 1;
        let name = format!("turn {}", self.turns);
        let thread = &mut self.all[which];
        thread.turns.push(Turn {
            name: name.clone(),
            before: thread.known.clone(),
            is_silent,
            has_compacted: false,
            is_inherited: false,
        });
        thread.live.append(&[started(&name)]).await.unwrap();
        (thread, name)
    }

    async fn compacting_turn(&mut self, which: usize) {
        let (thread, name) = self.begin(which, true).await;
        thread.compact().await;
        thread.live.append(&[complete(&name)]).await.unwrap();
    }

    async fn turn(&mut self, which: usize, steps: [(bool, Option<usize>); 2]) {
        let (mode, stores) = (self.mode, Arc::clone(&self.stores));
        let (thread, name) = self.begin(which, false).await;
        let speaks = [message(&name), user_message(mode, &name, &name)];
        for (step, items) in steps.into_iter().zip([&speaks[..], &[complete(&name)]]) {
            let (compacts, tells) = step;
            if compacts {
                thread.compact().await;
            }
            if let Some(world) = tells {
                thread.tell(&stores, &worlds()[world]).await;
            }
            thread.live.append(items).await.unwrap();
        }
    }

    async fn resume(&mut self, which: usize) {
        let thread = &mut self.all[which];
        thread.live.shutdown().await.unwrap();
        thread.manager = self.stores.manager();
        let resumed = thread.manager.resume(thread.live.id()).await.unwrap();
        let context = resumed.context;
        assert_eq!(Known { world: context.world_state, window: context.window }, thread.known, "what is resumed with");
        thread.live = resumed.live;
    }

    /// Forks a live thread, which stays live, and resumes the fork.
    async fn fork(&mut self, which: usize, back: usize) {
        let n = u32::try_from(self.all.len()).unwrap() + 1;
        let source = &self.all[which];
        let (mut turns, is_blurred) = (source.turns.clone(), source.is_blurred);
        let back = if is_blurred { 0 } else { back };
        let left_at = turns.drain(turns.len().saturating_sub(back)..).next();
        let (at, world) = match left_at {
            Some(turn) => (TurnBoundary::Before(turn.name.as_str().into()), turn.before.world),
            None => (TurnBoundary::Latest, source.known.world.clone()),
        };
        source.manager.fork(ForkThread { source: source.live.id(), at, meta: paginated(n) }).await.unwrap();
        let manager = self.stores.manager();
        let live = manager.resume(id(n)).await.unwrap().live;
        // Its window is new and its own, from the first turn on.
        let window = ContextWindow::first(live.window().await.window_id);
        assert!(window.window_id.is_some());
        assert!(self.all.iter().all(|other| other.known.window.first_window_id != window.window_id));
        for turn in &mut turns {
            turn.before.window = window;
            turn.is_inherited = true;
        }
        self.all.push(Thread { live, manager, known: Known { world, window }, turns, is_blurred });
    }
}

impl Thread {
    fn id(&self) -> ThreadId {
        self.live.id()
    }

    async fn tell(&mut self, stores: &TestStores, world: &WorldState) {
        let before = world_state_records(&*stores.store(), self.id()).await;
        self.live.append_context(&[message("<environment_context>…</environment_context>")], world).await.unwrap();
        let after = world_state_records(&*stores.store(), self.id()).await;
        assert_eq!(after[..before.len()], before);
        let records = &after[before.len()..];
        match &self.known.world {
            Some(known) if known == world => assert_eq!(records, [], "nothing changed"),
            Some(_) => {
                let [(false, patch)] = records else { panic!("no patch: {records:?}") };
                assert_ne!(*patch, json!({}), "an empty patch");
            }
            None => assert_eq!(records, [(true, world.clone().into_value())]),
        }
        self.known.world = Some(world.clone());
    }

    async fn compact(&mut self) {
        let was = self.known.window;
        let window = self.live.compact("summary", vec![ResponseItem::user_text("summary")]).await.unwrap();
        assert_eq!((window.number, window.first_window_id), (was.number + 1, was.first_window_id));
        assert_eq!(window.previous_window_id, was.window_id);
        assert!(window.window_id.is_some() && window.window_id != was.window_id);
        self.known = Known { world: None, window };
        self.turns.last_mut().unwrap().has_compacted = true;
    }

    fn has_compacted(&self) -> bool {
        self.known.window.number > 0 || self.turns.iter().any(|turn| turn.has_compacted)
    }

    async fn rewind(&mut self, turns: u64) {
        if self.is_blurred {
            return;
        }
        if self.live.mode() == HistoryMode::Legacy {
            self.blur(turns);
        }
        self.manager.rewind(self.id(), TurnBoundary::BeforeNewest(turns)).await.unwrap();
        self.go_back_to(self.before_newest(turns));
    }

    /// How many turns there are before this many of the newest that have a user message.
    fn before_newest(&self, turns: u64) -> usize {
        let of_user = self.turns.iter().enumerate().filter(|(_, turn)| !turn.is_silent);
        let undone = of_user.rev().take(usize::try_from(turns).unwrap()).last();
        undone.map_or(self.turns.len(), |(standing, _)| standing)
    }

    /// The event counts turns with a user message. A turn without one is undone with the turn before it.
    async fn roll_back(&mut self, turns: u64) {
        if self.is_blurred {
            return;
        }
        self.blur(turns);
        let event = ThreadRolledBackEvent { num_turns: Some(turns), ..Default::default() };
        self.live.append(&[EventMsg::from(event).into()]).await.unwrap();
        self.go_back_to(self.before_newest(turns));
    }

    fn blur(&mut self, turns: u64) {
        let said = self.turns.iter().rev().take_while(|turn| !turn.has_compacted).count();
        self.is_blurred = self.has_compacted() && turns > said as u64;
    }

    fn go_back_to(&mut self, standing: usize) {
        if let Some(undone) = self.turns.drain(standing..).next() {
            self.known = undone.before;
        }
    }

    /// Checks that the handle and the log have the expected state, and that the model is told the same windows.
    async fn check(&self, stores: &TestStores) {
        let live = Known { world: self.live.world_state().await, window: self.live.window().await };
        assert_eq!(live, self.known, "what the handle says");
        let context = stores.store().load_model_context(self.id()).await.unwrap();
        let stored = Known { world: context.world_state, window: context.window };
        assert_eq!(stored, self.known, "what the log says");
        let budget = self.live.token_budget(Some(7)).await;
        assert_eq!(budget, TokenBudget::new(self.id(), &self.known.window, Some(7)));
        assert_eq!(TokenBudget::parse(&budget.to_string()), Some(budget));
    }

    /// Returns all windows in the log, except those of threads that this one builds on or was copied from.
    async fn windows(&self, stores: &TestStores) -> BTreeSet<WindowId> {
        let history = stores.store().load_history(self.id()).await.unwrap();
        let mut own = false;
        let mut windows = BTreeSet::new();
        for line in &history.lines {
            match line.item() {
                RolloutItem::SessionMeta(head) => {
                    own = head.id == Some(self.id());
                    windows.extend(head.window_id().filter(|_| own));
                }
                RolloutItem::Compacted(compacted) if own => windows.extend(compacted.window_id),
                _ => {}
            }
        }
        windows
    }
}

async fn story(stores: TestStores, mode: HistoryMode, ops: &[(prop::sample::Index, Op)]) {
    let mut threads = Threads::new(stores, mode).await;
    for (which, op) in ops {
        threads.op(which.index(threads.all.len()), op).await;
        for thread in &threads.all {
            thread.check(&threads.stores).await;
        }
    }
    for which in 0..threads.all.len() {
        threads.resume(which).await;
        threads.all[which].check(&threads.stores).await;
    }
    if mode == HistoryMode::Paginated {
        let windows: Vec<BTreeSet<WindowId>> = {
            let mut windows = Vec::new();
            for thread in &threads.all {
                windows.push(thread.windows(&threads.stores).await);
            }
            windows
        };
        let all: BTreeSet<_> = windows.iter().flatten().collect();
        assert_eq!(all.len(), windows.iter().map(BTreeSet::len).sum::<usize>(), "no two threads share a window");
    }
}

fn run(stores: TestStores, mode: HistoryMode, ops: &[(prop::sample::Index, Op)]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(story(stores, mode, ops));
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 400, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn legacy_threads_in_memory(ops in ops()) {
        run(TestStores::memory(), HistoryMode::Legacy, &ops);
    }

    #[test]
    fn paginated_threads_in_memory(ops in ops()) {
        run(TestStores::memory(), HistoryMode::Paginated, &ops);
    }

    #[test]
    fn legacy_threads_on_files(ops in ops()) {
        run(TestStores::local(), HistoryMode::Legacy, &ops);
    }

    #[test]
    fn paginated_threads_on_files(ops in ops()) {
        run(TestStores::local(), HistoryMode::Paginated, &ops);
    }
}
