//! The queue of appends that wait for a statement.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use selvedge_protocol::{SegmentId, ThreadId};
use selvedge_thread_store::{BatchId, StoreError};
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::PostgresOptions;
use crate::rows::EncodedRows;

/// How many rows and bytes the appends of several threads have together in one statement at most. A larger append goes alone.
const MAX_GROUP: (usize, usize) = (2000, 1 << 20);

/// How many statements for several threads are on the way at most. Few statements with many appends are faster than many with few: the
/// server plans, checks and commits each once. With two, one is executed while the other one is sent or answered.
const MAX_SHARED: usize = 2;

/// The claim under which a writer writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) owner: Uuid,
    pub(crate) epoch: i64,
}

/// An append: rows for the end of a segment.
#[derive(Debug)]
pub(crate) struct AppendRows {
    pub(crate) thread_id: ThreadId,
    pub(crate) claim: Claim,
    pub(crate) segment_id: SegmentId,
    pub(crate) batch: BatchId,
    /// The byte after the last row so far.
    pub(crate) start_byte: u64,
    pub(crate) rows: Arc<EncodedRows>,
}

impl AppendRows {
    fn bytes(&self) -> usize {
        usize::try_from(self.rows.end - self.start_byte).unwrap_or(usize::MAX)
    }
}

/// What became of an append.
#[derive(Debug)]
pub(crate) enum AppendOutcome {
    /// The rows are committed.
    Written,
    /// The writer no longer holds the thread. Nothing was written.
    Lost(String),
    /// Nothing was written, for another reason.
    Failed(StoreError),
    /// It is unknown whether the rows are committed.
    Unknown(StoreError),
}

/// An append in the queue.
pub(crate) struct QueuedAppend {
    pub(crate) append: AppendRows,
    pub(crate) done: oneshot::Sender<AppendOutcome>,
    pub(crate) began: Instant,
    pub(crate) attempts: u32,
    /// Whether the answer of an attempt was lost.
    pub(crate) may_have_happened: bool,
    /// Whether it goes alone: an attempt together with others did not settle it.
    pub(crate) goes_alone: bool,
}

/// The queue, and the statements that are on the way.
pub(crate) struct GroupCommit {
    state: Mutex<CommitState>,
    /// How many statements are on the way at most.
    max_running: usize,
}

#[derive(Default)]
pub(crate) struct CommitState {
    pub(crate) queue: VecDeque<QueuedAppend>,
    running: usize,
    /// How many of the running ones carry an append that goes alone. It may wait for the row of its thread, which must not keep the
    /// others.
    alone: usize,
    /// Connections between two statements. They are kept, because a pool asks a connection that it gets back whether it works.
    pub(crate) idle: Vec<PoolConnection<Postgres>>,
}

impl GroupCommit {
    pub(crate) fn new(options: &PostgresOptions) -> Self {
        // The rest of the pool is for everything else.
        let max_running = (options.pool_size as usize / 2).max(1);
        Self { state: Mutex::default(), max_running }
    }

    /// Adds an append to the queue. Returns whether another runner is to be started.
    pub(crate) fn push(&self, append: QueuedAppend) -> bool {
        let mut state = self.state();
        state.queue.push_back(append);
        self.wants_runner(&mut state)
    }

    /// Counts another runner if there is work for it.
    fn wants_runner(&self, state: &mut CommitState) -> bool {
        let is_wanted =
            !state.queue.is_empty() && state.running < self.max_running && state.running - state.alone < MAX_SHARED;
        state.running += usize::from(is_wanted);
        is_wanted
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, CommitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the next statement of a runner carries, and whether another runner is to be started. `None` if the queue is empty:
    /// the runner ends. `was_alone` reports whether its last statement carried an append that goes alone.
    pub(crate) fn next_group(&self, was_alone: bool) -> Option<(Vec<QueuedAppend>, bool)> {
        let mut state = self.state();
        state.alone -= usize::from(was_alone);
        let Some(first) = state.queue.pop_front() else {
            state.running -= 1;
            return None;
        };
        let (mut rows, mut bytes) = (first.append.rows.rows.len(), first.append.bytes());
        let mut group = vec![first];
        while !group[0].goes_alone
            && let Some(next) = state.queue.front()
            && !next.goes_alone
        {
            rows += next.append.rows.rows.len();
            bytes += next.append.bytes();
            if rows > MAX_GROUP.0 || bytes > MAX_GROUP.1 {
                break;
            }
            group.extend(state.queue.pop_front());
        }
        state.alone += usize::from(group[0].goes_alone);
        let wants_runner = self.wants_runner(&mut state);
        Some((group, wants_runner))
    }

    /// Closes the connections that no statement uses.
    pub(crate) fn release_idle(&self) {
        let idle = std::mem::take(&mut self.state().idle);
        drop(idle);
    }
}
