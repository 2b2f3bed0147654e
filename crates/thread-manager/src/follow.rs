//! A stream of what is added to a thread, over any store and any writer.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use selvedge_protocol::{RolloutLine, ThreadId};
use selvedge_thread_store::{LinePosition, LineQuery, LineStart, Recovery, StoreError, ThreadStore};

use crate::timer::sleep;

/// The pause after the first error that may pass, and the longest one. Each pause is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a follower of a thread gets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FollowEvent {
    /// A line was added. `next` is the position after it: a later [`follow`](crate::ThreadManager::follow) from there
    /// misses and repeats nothing.
    Line {
        /// The line.
        line: RolloutLine,
        /// The position after the line.
        next: LinePosition,
    },
    /// A rewind has undone what came after this position. The lines that follow replace it.
    Rewound {
        /// The position.
        to: LinePosition,
    },
    /// A repair rewrote the history. The lines that follow are the whole history, from its beginning.
    Rewritten,
    /// Everything that the thread has so far was delivered. The next event is about what is added from now on. It comes
    /// each time when the follower has caught up.
    CaughtUp,
    /// The thread was deleted, or an error does not pass. It is the last event.
    Ended {
        /// The error. `NotFound` if the thread was deleted.
        error: Arc<StoreError>,
    },
}

/// A stream of what is added to a thread ([`ThreadManager::follow`](crate::ThreadManager::follow)).
///
/// It reads and waits only while it is polled. Dropping it ends everything.
///
/// ```
/// # use std::sync::Arc;
/// # use selvedge_thread_manager::{NewThread, ThreadManager, TurnSettings};
/// # use selvedge_thread_store::InMemoryThreadStore;
/// use selvedge_thread_manager::FollowEvent;
/// use selvedge_thread_store::LineStart;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let manager = ThreadManager::new(Arc::new(InMemoryThreadStore::new()));
/// # let thread = manager.start(NewThread::in_dir("/srv")).await?;
/// # thread.begin_turn(TurnSettings::default()).await?.complete().await?;
/// let mut follower = manager.follow(thread.id(), LineStart::Beginning);
/// while let Some(event) = follower.next().await {
///     match event {
///         FollowEvent::Line { line, .. } => println!("{}", line.text()),
///         FollowEvent::CaughtUp => break, // Or go on, and wait for what is added.
///         _ => {}
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a stream does nothing unless it is polled"]
pub struct ThreadFollower {
    ready: VecDeque<FollowEvent>,
    /// The next step, while it is running.
    step: Option<Pin<Box<dyn Future<Output = StepOutcome> + Send>>>,
    state: FollowState,
}

/// Where a follower is.
#[derive(Clone, Debug)]
struct FollowState {
    store: Arc<dyn ThreadStore>,
    query: LineQuery,
    /// Whether everything was read, and the next step waits for more.
    is_at_end: bool,
    pause: Option<Duration>,
    is_over: bool,
}

/// What a step found, and where the follower is afterwards.
struct StepOutcome {
    events: VecDeque<FollowEvent>,
    state: FollowState,
}

impl ThreadFollower {
    pub(crate) fn new(store: Arc<dyn ThreadStore>, thread_id: ThreadId, from: LineStart) -> Self {
        let query = LineQuery::from(thread_id, from);
        let state = FollowState { store, query, is_at_end: false, pause: None, is_over: false };
        Self { ready: VecDeque::new(), step: None, state }
    }

    /// Waits for the next event. `None` after the last one. A future that is dropped loses no event.
    pub async fn next(&mut self) -> Option<FollowEvent> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl std::fmt::Debug for ThreadFollower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThreadFollower").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Stream for ThreadFollower {
    type Item = FollowEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<FollowEvent>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(event));
            }
            if self.state.is_over {
                return Poll::Ready(None);
            }
            let state = self.state.clone();
            let step = self.step.get_or_insert_with(|| Box::pin(take_step(state)));
            let Poll::Ready(outcome) = step.as_mut().poll(context) else { return Poll::Pending };
            self.step = None;
            self.state = outcome.state;
            self.ready = outcome.events;
        }
    }
}

/// Reads a page, or waits for more if everything was read.
///
/// ```text
/// read a page ──▸ deliver it ──▸ end of the history? ── no ──▸ read a page
///      ▴                                │ yes
///      └──────── more lines ◂── wait for lines
/// ```
///
/// Each step begins at the position after the last delivered page, so no line is missed or repeated.
async fn take_step(mut state: FollowState) -> StepOutcome {
    if let Some(pause) = state.pause {
        sleep(pause).await;
    }
    let mut events = VecDeque::new();
    let outcome = if let (true, LineStart::At(position)) = (state.is_at_end, &state.query.start) {
        let waited = state.store.wait_for_lines(state.query.thread_id, position).await;
        state.is_at_end = waited.is_err();
        waited
    } else {
        read_page(&mut state, &mut events).await
    };
    match outcome {
        Ok(()) => state.pause = None,
        Err(StoreError::PositionGone { .. }) => {
            events.push_back(FollowEvent::Rewritten);
            state.query.start = LineStart::Beginning;
            state.is_at_end = false;
        }
        Err(error) => match error.recovery() {
            Recovery::Retry | Recovery::RetryLater => {
                state.pause = Some(state.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE)));
            }
            _ => {
                events.push_back(FollowEvent::Ended { error: Arc::new(error) });
                state.is_over = true;
            }
        },
    }
    StepOutcome { events, state }
}

async fn read_page(state: &mut FollowState, events: &mut VecDeque<FollowEvent>) -> Result<(), StoreError> {
    let page = state.store.read_lines(&state.query).await?;
    if let Some(to) = page.rewound_to {
        events.push_back(FollowEvent::Rewound { to });
    }
    // Damage and blank lines are no events. The position after a line is that of the entry behind it.
    let after = page.entries.iter().skip(1).map(|entry| entry.at.clone()).chain([page.next.clone()]);
    for (entry, next) in page.entries.iter().zip(after) {
        if let Some(line) = entry.line() {
            events.push_back(FollowEvent::Line { line, next });
        }
    }
    if page.is_end {
        events.push_back(FollowEvent::CaughtUp);
        state.is_at_end = true;
    }
    state.query.start = LineStart::At(page.next);
    Ok(())
}
