//! Rules about claims: which host gets a claim, how it ends, and that no host writes without one.
//!
//! A claim can end in three ways, and each has its rules:
//!
//! ```text
//!            shutdown or discard
//!  claimed ───────────────────────> free       the epoch grows at the next claim
//!     │  the host dies
//!     ├───────────────────────────> free       immediately, or when the lease expires
//!     │  the host pauses, the lease expires, another host may claim
//!     └───────────────────────────> lost       the host still believes that it holds the thread: it must be fenced
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_protocol::{HistoryMode, ThreadId, TurnBoundary, TurnStatus};
use selvedge_thread_store::{BatchId, Recovery, RevertThread, StoreError, ThreadStore};

use crate::fixtures::{
    all_turns, assert_consecutive_ordinals, head, id, is_conflict, is_missing, record, shown_prompts, started, turn,
};
use crate::{NotApplicable, StorePlace};

const MODE: HistoryMode = HistoryMode::Paginated;

/// How much later than its expiry the claim of a dead host may end.
///
/// A longer grace hides a slow store. A shorter one fails a correct store on a busy machine.
const EXPIRY_GRACE: Duration = Duration::from_secs(5);

/// Resumes a thread whose writer died: immediately, or as soon as the claim has expired.
async fn resume_after_death(place: &dyn StorePlace, store: &dyn ThreadStore, thread_id: ThreadId) {
    let latest = Instant::now() + place.claim_expiry().unwrap_or_default() + EXPIRY_GRACE;
    loop {
        match store.resume_thread(thread_id).await {
            Err(StoreError::Conflict { .. }) if Instant::now() < latest => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            outcome => return outcome.expect("the claim of a dead writer ends"),
        }
    }
}

pub(super) async fn race(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    // Two hosts resume the same thread at the same time, in many rounds. The winner of a round appends a turn.
    const ROUNDS: usize = 30;
    record(&*store, 1, MODE, &[]).await;
    let hosts = [store, other];
    let mut turns = Vec::new();
    for round in 0..ROUNDS {
        let claims = hosts.each_ref().map(|host| {
            let host = Arc::clone(host);
            tokio::spawn(async move { host.resume_thread(id(1)).await })
        });
        let mut winners = Vec::new();
        for (host, claim) in hosts.iter().zip(claims) {
            match claim.await.unwrap() {
                Ok(()) => winners.push(host),
                outcome => assert!(is_conflict(outcome), "round {round}"),
            }
        }
        let [winner] = winners[..] else { panic!("{} hosts got the thread in round {round}", winners.len()) };
        turns.push(round.to_string());
        winner.append_items(id(1), BatchId::generate(), &turn(MODE, &round.to_string())).await.unwrap();
        winner.shutdown_thread(id(1)).await.unwrap();
    }
    // One turn for each round: no winner lost its append, and no loser appended.
    assert_eq!(shown_prompts(&*hosts[0], id(1)).await, turns);
    assert_consecutive_ordinals(&hosts[1].load_history(id(1)).await.unwrap());
}

pub(super) async fn epochs(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    // Two hosts claim the thread alternately.
    record(&*store, 1, MODE, &["a"]).await;
    let mut last = None;
    for round in 0..6 {
        let host = if round % 2 == 0 { &store } else { &other };
        host.resume_thread(id(1)).await.unwrap();
        let epoch = host.writer_state(id(1)).await.unwrap().epoch;
        assert!(last.is_none_or(|last| last < epoch), "round {round}: {epoch} after {last:?}");
        last = Some(epoch);
        host.shutdown_thread(id(1)).await.unwrap();
    }
}

pub(super) async fn of_a_dead_writer(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let (dies, other) = (place.open_host().await, place.open_host().await);
    record(&*dies, 1, MODE, &["a"]).await;
    dies.resume_thread(id(1)).await.unwrap();
    assert!(is_conflict(other.resume_thread(id(1)).await), "the holder is still alive");
    drop(dies);
    resume_after_death(&*place, &*other, id(1)).await;
    other.append_items(id(1), BatchId::generate(), &turn(MODE, "b")).await.unwrap();
    other.shutdown_thread(id(1)).await.unwrap();
    assert_eq!(shown_prompts(&*other, id(1)).await, ["a", "b"]);
    Ok(())
}

pub(super) async fn appends_of_a_dead_writer(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let (dies, other) = (place.open_host().await, place.open_host().await);
    dies.create_thread(head(1, MODE)).await.unwrap();
    let mut items = Vec::new();
    for name in ["a", "b", "c"] {
        dies.append_items(id(1), BatchId::generate(), &turn(MODE, name)).await.unwrap();
        items.extend(turn(MODE, name));
    }
    dies.append_items(id(1), BatchId::generate(), &[started("d")]).await.unwrap();
    items.push(started("d"));
    drop(dies);
    resume_after_death(&*place, &*other, id(1)).await;
    other.shutdown_thread(id(1)).await.unwrap();
    let history = other.load_history(id(1)).await.unwrap();
    let kept: Vec<_> = history.lines[1..].iter().map(|line| line.item()).collect();
    assert_eq!(kept, items);
    assert_eq!(history.damage, []);
    assert_eq!(all_turns(&*other, id(1)).await.last().unwrap().status, TurnStatus::Interrupted);
    Ok(())
}

pub(super) async fn lazy_thread_of_a_dead_writer(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let (dies, other) = (place.open_host().await, place.open_host().await);
    dies.create_thread(head(1, MODE)).await.unwrap();
    drop(dies);
    assert!(is_missing(other.read_thread(id(1)).await, false));
    record(&*other, 1, MODE, &["a"]).await;
    assert_eq!(shown_prompts(&*other, id(1)).await, ["a"]);
    Ok(())
}

/// A host whose claim of a thread has expired during a pause, and a second host.
struct ExpiredClaim {
    paused: Arc<dyn ThreadStore>,
    other: Arc<dyn ThreadStore>,
}

impl ExpiredClaim {
    /// Records the first thread with the turn `a`, resumes it in one host, and pauses this host.
    async fn new(place: &dyn StorePlace) -> Result<Self, NotApplicable> {
        let (paused, other) = (place.open_host().await, place.open_host().await);
        record(&*paused, 1, MODE, &["a"]).await;
        paused.resume_thread(id(1)).await.unwrap();
        place.pause_past_expiry(&paused).await?;
        Ok(Self { paused, other })
    }
}

/// Asserts that the error is `Lost`, which advises to resume the thread.
fn assert_lost<T: std::fmt::Debug>(outcome: Result<T, StoreError>) {
    match outcome {
        Err(error @ StoreError::Lost { .. }) => assert_eq!(error.recovery(), Recovery::Resume),
        other => panic!("`Lost` expected: {other:?}"),
    }
}

pub(super) async fn expired(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let ExpiredClaim { other, .. } = ExpiredClaim::new(&*place).await?;
    other.resume_thread(id(1)).await.expect("an expired claim blocks no other host");
    other.append_items(id(1), BatchId::generate(), &turn(MODE, "b")).await.unwrap();
    other.shutdown_thread(id(1)).await.unwrap();
    assert_eq!(shown_prompts(&*other, id(1)).await, ["a", "b"]);
    Ok(())
}

pub(super) async fn fenced_append(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let ExpiredClaim { paused, other } = ExpiredClaim::new(&*place).await?;
    other.resume_thread(id(1)).await.unwrap();
    // Both before and after an append of the new holder.
    assert_lost(paused.append_items(id(1), BatchId::generate(), &turn(MODE, "x")).await);
    other.append_items(id(1), BatchId::generate(), &turn(MODE, "b")).await.unwrap();
    assert_lost(paused.append_items(id(1), BatchId::generate(), &turn(MODE, "y")).await);
    other.shutdown_thread(id(1)).await.unwrap();
    assert_eq!(shown_prompts(&*other, id(1)).await, ["a", "b"]);
    Ok(())
}

pub(super) async fn stale_epoch(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    // No host holds the thread, so that a check for another holder finds nothing. The append must be refused because of its old
    // epoch: the log has lines that the paused host does not know.
    let ExpiredClaim { paused, other } = ExpiredClaim::new(&*place).await?;
    other.resume_thread(id(1)).await.unwrap();
    other.append_items(id(1), BatchId::generate(), &turn(MODE, "b")).await.unwrap();
    other.shutdown_thread(id(1)).await.unwrap();
    assert_lost(paused.append_items(id(1), BatchId::generate(), &turn(MODE, "x")).await);
    assert_eq!(shown_prompts(&*other, id(1)).await, ["a", "b"]);
    Ok(())
}

pub(super) async fn fenced_revert(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let ExpiredClaim { paused, other } = ExpiredClaim::new(&*place).await?;
    other.resume_thread(id(1)).await.unwrap();
    let to = TurnBoundary::BeforeNewest(1);
    // A revert also works on a cold thread. So a store may treat it as the call of any host that does not hold the thread.
    let outcome = paused.revert_thread(RevertThread { thread_id: id(1), to, batch: BatchId::generate() }).await;
    assert!(matches!(outcome, Err(StoreError::Lost { .. } | StoreError::Conflict { .. })), "{outcome:?}");
    other.shutdown_thread(id(1)).await.unwrap();
    assert_eq!(shown_prompts(&*other, id(1)).await, ["a"]);
    Ok(())
}

pub(super) async fn fenced_host_resumes(place: Arc<dyn StorePlace>) -> Result<(), NotApplicable> {
    let ExpiredClaim { paused, other } = ExpiredClaim::new(&*place).await?;
    other.resume_thread(id(1)).await.unwrap();
    let epoch = other.writer_state(id(1)).await.unwrap().epoch;
    let (batch, items) = (BatchId::generate(), turn(MODE, "c"));
    assert_lost(paused.append_items(id(1), batch, &items).await);
    other.append_items(id(1), BatchId::generate(), &turn(MODE, "b")).await.unwrap();
    other.shutdown_thread(id(1)).await.unwrap();
    paused.discard_thread(id(1)).await.expect("a lost thread can be discarded");
    paused.resume_thread(id(1)).await.unwrap();
    assert!(paused.writer_state(id(1)).await.unwrap().epoch > epoch);
    // The refused batch had no effect, so that it can be sent again with the same id.
    paused.append_items(id(1), batch, &items).await.unwrap();
    paused.shutdown_thread(id(1)).await.unwrap();
    assert_eq!(shown_prompts(&*other, id(1)).await, ["a", "b", "c"]);
    Ok(())
}
