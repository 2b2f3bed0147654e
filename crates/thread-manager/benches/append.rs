//! The speed of appends, relative to a reference that the same run measures: a bare loop that serializes each item with
//! `serde_json` and writes it with one `write`.
//!
//! `cargo xtask bench append`. With `--against COMMIT` it measures fewer items, and a recorder alone as well.

#![expect(clippy::print_stdout, reason = "a benchmark prints its numbers")]

#[path = "../../state/benches/support/probe.rs"]
mod probe;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use selvedge_protocol::{
    EventMsg, HistoryMode, ItemCompletedEvent, ItemContent, ItemId, ResponseItem, RolloutItem, SessionMeta, ThreadId,
    Timestamp, TokenCountEvent, TokenUsage, TokenUsageInfo, TurnId, TurnItem,
};
use selvedge_rollout::{RolloutHome, RolloutRecorder};
use selvedge_thread_manager::{LiveThread, ThreadManager, TurnRecorder, TurnSettings};
use selvedge_thread_store::{BatchId, ThreadReader, ThreadStore, TracedStore};
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore};
use tempfile::tempdir;

use crate::probe::Probe;

/// The number of items in one measurement.
const ITEMS: usize = 100_000;
/// The number of items in one workload of a comparison, and in a batch.
const PROBED_ITEMS: usize = 2_000;
const PROBED_BATCH: usize = 100;
/// The number of calls of a recorder in one workload of a comparison.
const PROBED_CALLS: usize = 1_000;
/// The number of measurements of each kind. The kinds alternate, so a noisy moment affects all of them.
const ROUNDS: usize = 7;
/// The ratio to the bare loop that the store must reach.
const STORE_FLOOR: f64 = 0.5;
/// The number of calls of a recorder in one measurement, and the ratio to appends of the same batches that it must reach.
const RECORDED_CALLS: usize = 20_000;
const RECORDED_BYTES: usize = 200;
const RECORDER_FLOOR: f64 = 0.8;
/// The ratio to the bare loop that `LiveThread` must reach. Every fifth item is a `token_count`.
const LIVE_FLOOR: f64 = 0.4;

fn main() -> anyhow::Result<()> {
    let plain = vec![item_of_500_bytes()?; 5];
    let mut mixed = plain.clone();
    mixed[4] = token_count();
    if let Some(probe) = Probe::asked()? {
        return compared(&probe, &plain, &mixed);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let dir = tempdir()?;
    let (mut bare, mut bare_mixed, mut store, mut live) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let home = dir.path().join(round.to_string());
        bare.push(bare_loop(dir.path(), &plain)?);
        store.push(runtime.block_on(store_loop(&home, &plain))?);
        bare_mixed.push(bare_loop(dir.path(), &mixed)?);
        live.push(runtime.block_on(live_loop(&home, &mixed))?);
        std::fs::remove_dir_all(&home)?;
    }
    println!("{ITEMS} items, one per call, durability written; median of {ROUNDS} rounds");
    let store_ok = report("LocalThreadStore::append_items, 500-byte items", &store, &bare, STORE_FLOOR);
    let live_ok = report("LiveThread::append, every fifth a token_count", &live, &bare_mixed, LIVE_FLOOR);
    let (mut recorded, mut built, mut ready) = (vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let home = dir.path().join(format!("recorder-{round}"));
        let (took, batches) = runtime.block_on(recorder_loop(&home))?;
        recorded.push(took);
        built.push(runtime.block_on(built_loop(&home))?);
        ready.push(runtime.block_on(batches_loop(&home, &batches))?);
        std::fs::remove_dir_all(&home)?;
    }
    // A program that has the text of a message must build its items, with a recorder or without. That is what a recorder is held
    // against. Items that were read from a log contain their lines as text already, which no program that records has.
    let recorder_ok =
        report("TurnRecorder, against appends of items built by the caller", &recorded, &built, RECORDER_FLOOR);
    report("TurnRecorder, against appends of items that contain their text already (no floor)", &recorded, &ready, 0.0);
    anyhow::ensure!(store_ok && live_ok && recorder_ok, "below the floor");
    Ok(())
}

/// Measures the workloads of a comparison with another commit.
fn compared(probe: &Probe, plain: &[RolloutItem], mixed: &[RolloutItem]) -> anyhow::Result<()> {
    let many = |items: &[RolloutItem]| items.iter().cycle().take(PROBED_ITEMS).cloned().collect::<Vec<_>>();
    let (plain, mixed) = (many(plain), many(mixed));
    let recording = async || {
        let home = tempdir()?;
        let recorder = RolloutRecorder::create(&RolloutHome::new(home.path()), head())?;
        recorder.persist()?;
        Ok((home, recorder))
    };
    probe.measure(&format!("recorder, {PROBED_ITEMS} items"), recording, async |(home, recorder)| {
        for item in &plain {
            recorder.append(std::slice::from_ref(item))?;
        }
        Ok((home, recorder))
    })?;
    let stored = async || {
        let home = tempdir()?;
        let (store, thread_id) = open_store(home.path()).await?;
        Ok((home, store, thread_id))
    };
    for batch in [1, PROBED_BATCH] {
        let name = format!("store, {PROBED_ITEMS} items in batches of {batch}");
        probe.measure(&name, stored, async |(home, store, thread_id)| {
            for items in plain.chunks(batch) {
                store.append_items(thread_id, BatchId::generate(), items).await?;
            }
            Ok((home, store))
        })?;
    }
    // The same calls as in batches of 1, through the store that traces them, while nobody listens.
    let name = format!("traced store, {PROBED_ITEMS} items in batches of 1");
    probe.measure(&name, stored, async |(home, store, thread_id)| {
        let traced = TracedStore::new(Arc::new(store));
        for item in &plain {
            traced.append_items(thread_id, BatchId::generate(), std::slice::from_ref(item)).await?;
        }
        Ok((home, traced))
    })?;
    let live = async || {
        let home = tempdir()?;
        // Without an index the store does no work in the background, which would happen at different moments in each
        // run.
        let store = LocalThreadStore::open_with(home.path(), IndexLocation::Disabled);
        let thread = open_live(store.clone()).await?;
        Ok((home, store, thread))
    };
    let name = format!("LiveThread, {PROBED_ITEMS} items, every fifth a token_count");
    probe.measure(&name, live, async |(home, store, thread)| {
        for item in &mixed {
            thread.append(std::slice::from_ref(item)).await?;
        }
        Ok((home, store, thread))
    })?;
    let text = "x".repeat(RECORDED_BYTES);
    let recording = async || {
        let (home, store, thread) = live().await?;
        let turn = begin_turn(&thread).await?;
        Ok((home, store, turn))
    };
    probe.measure(&format!("TurnRecorder, {PROBED_CALLS} messages"), recording, async |(home, store, turn)| {
        for _ in 0..PROBED_CALLS {
            turn.agent_message(text.as_str()).await?;
        }
        Ok((home, store, turn))
    })?;
    let same = async || {
        let (home, store, turn) = recording().await?;
        for _ in 0..PROBED_CALLS {
            turn.agent_message(text.as_str()).await?;
        }
        let batches = recorded_batches(&store, turn.thread().id(), PROBED_CALLS).await?;
        Ok((home, turn, batches))
    };
    probe.measure(&format!("LiveThread, the same {PROBED_CALLS} batches"), same, async |(home, turn, batches)| {
        for batch in &batches {
            turn.thread().append(batch).await?;
        }
        Ok((home, turn, batches))
    })?;
    let name = format!("LiveThread, {PROBED_CALLS} messages built by the caller");
    probe.measure(&name, recording, async |(home, store, turn)| {
        for number in 0..PROBED_CALLS {
            turn.thread().append(&built_by_hand(turn.thread(), turn.id(), number, &text)).await?;
        }
        Ok((home, store, turn))
    })
}

/// Returns the batch that a recorder writes for a message of the agent, built from its text by a program that uses none.
fn built_by_hand(thread: &LiveThread, turn_id: &TurnId, number: usize, text: &str) -> [RolloutItem; 2] {
    let now: Timestamp = SystemTime::now().into();
    let id = format!("msg_{number:036}");
    let content = ItemContent::AgentMessage { text: text.to_owned(), phase: None, memory_citation: None };
    let shown = ItemCompletedEvent {
        thread_id: Some(thread.id()),
        turn_id: Some(turn_id.clone()),
        item: Some((&TurnItem::new(ItemId::from(id.as_str()), content)).into()),
        started_at_ms: Some(now.as_millis()),
        completed_at_ms: Some(now.as_millis()),
        ..ItemCompletedEvent::default()
    };
    [EventMsg::from(shown).into(), ResponseItem::assistant_message(&id, text, None).into()]
}

async fn begin_turn(thread: &LiveThread) -> anyhow::Result<TurnRecorder> {
    let turn = thread.begin_turn(TurnSettings::default()).await?;
    turn.user_message("how fast is this?").await?;
    Ok(turn)
}

/// Returns the batches of the newest messages that were recorded.
async fn recorded_batches(
    store: &LocalThreadStore,
    thread_id: ThreadId,
    calls: usize,
) -> anyhow::Result<Vec<Vec<RolloutItem>>> {
    let history = store.load_history(thread_id).await?;
    let items: Vec<RolloutItem> = history.lines.iter().rev().take(2 * calls).rev().map(|line| line.item()).collect();
    Ok(items.chunks(2).map(<[RolloutItem]>::to_vec).collect())
}

/// Records messages of the agent. Returns the time, and the batches that were appended.
async fn recorder_loop(home: &Path) -> anyhow::Result<(Duration, Vec<Vec<RolloutItem>>)> {
    let store = LocalThreadStore::open_with(home, IndexLocation::Disabled);
    let live = open_live(store.clone()).await?;
    let turn = begin_turn(&live).await?;
    let text = "x".repeat(RECORDED_BYTES);
    let start = Instant::now();
    for _ in 0..RECORDED_CALLS {
        turn.agent_message(text.as_str()).await?;
    }
    let took = start.elapsed();
    live.flush().await?;
    let batches = recorded_batches(&store, live.id(), RECORDED_CALLS).await?;
    live.shutdown().await?;
    Ok((took, batches))
}

/// Appends the same messages without a recorder, each built from its text.
async fn built_loop(home: &Path) -> anyhow::Result<Duration> {
    let live = open_live(LocalThreadStore::open_with(home, IndexLocation::Disabled)).await?;
    let turn = begin_turn(&live).await?;
    let text = "x".repeat(RECORDED_BYTES);
    let start = Instant::now();
    for number in 0..RECORDED_CALLS {
        live.append(&built_by_hand(&live, turn.id(), number, &text)).await?;
    }
    let took = start.elapsed();
    live.shutdown().await?;
    Ok(took)
}

/// Appends batches.
async fn batches_loop(home: &Path, batches: &[Vec<RolloutItem>]) -> anyhow::Result<Duration> {
    let live = open_live(LocalThreadStore::open_with(home, IndexLocation::Disabled)).await?;
    let start = Instant::now();
    for batch in batches {
        // Unchecked, as the calls of the recorder are.
        live.append_unchecked(batch).await?;
    }
    let took = start.elapsed();
    live.shutdown().await?;
    Ok(took)
}

fn report(what: &str, measured: &[Duration], floor: &[Duration], wanted: f64) -> bool {
    let (measured, floor) = (rate(measured), rate(floor));
    let ratio = measured / floor;
    println!("{what}: {measured:.0}/s; reference: {floor:.0}/s; ratio {ratio:.2} (must be at least {wanted})");
    ratio >= wanted
}

fn rate(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    ITEMS as f64 / times[times.len() / 2].as_secs_f64()
}

fn bare_loop(dir: &Path, items: &[RolloutItem]) -> anyhow::Result<Duration> {
    let path = dir.join("bare.jsonl");
    let mut file = File::options().append(true).create(true).open(&path)?;
    let start = Instant::now();
    for at in 0..ITEMS {
        let mut line = serde_json::to_vec(&items[at % items.len()])?;
        line.push(b'\n');
        file.write_all(&line)?;
    }
    let took = start.elapsed();
    std::fs::remove_file(&path)?;
    Ok(took)
}

fn head() -> SessionMeta {
    let now = SystemTime::now().into();
    SessionMeta { history_mode: Some(HistoryMode::Paginated), ..SessionMeta::new(ThreadId::new(now), now) }
}

async fn open_store(home: &Path) -> anyhow::Result<(LocalThreadStore, ThreadId)> {
    let store = LocalThreadStore::open(home);
    let head = head();
    let thread_id = head.id.unwrap_or_else(|| ThreadId::new(SystemTime::now().into()));
    store.create_thread(head).await?;
    store.persist_thread(thread_id).await?;
    Ok((store, thread_id))
}

async fn store_loop(home: &Path, items: &[RolloutItem]) -> anyhow::Result<Duration> {
    let (store, thread_id) = open_store(home).await?;
    let start = Instant::now();
    for at in 0..ITEMS {
        store.append_items(thread_id, BatchId::generate(), std::slice::from_ref(&items[at % items.len()])).await?;
    }
    let took = start.elapsed();
    store.shutdown_thread(thread_id).await?;
    Ok(took)
}

async fn open_live(store: LocalThreadStore) -> anyhow::Result<Arc<LiveThread>> {
    let thread = ThreadManager::new(Arc::new(store)).start(head()).await?;
    thread.persist().await?;
    Ok(thread)
}

async fn live_loop(home: &Path, items: &[RolloutItem]) -> anyhow::Result<Duration> {
    let thread = open_live(LocalThreadStore::open(home)).await?;
    let start = Instant::now();
    for at in 0..ITEMS {
        thread.append(std::slice::from_ref(&items[at % items.len()])).await?;
    }
    let took = start.elapsed();
    thread.shutdown().await?;
    Ok(took)
}

/// Returns a message whose payload is 500 bytes of JSON.
fn item_of_500_bytes() -> anyhow::Result<RolloutItem> {
    let bare = serde_json::to_vec(&ResponseItem::assistant_text(""))?.len();
    let text: String = "the quick brown fox jumps over the lazy dog ".chars().cycle().take(500 - bare).collect();
    let item = ResponseItem::assistant_text(&text);
    // Its text is made here and not with each append, so that the numbers remain comparable with those of earlier versions.
    let _ = item.json();
    Ok(item.into())
}

fn token_count() -> RolloutItem {
    let usage = TokenUsage {
        input_tokens: Some(12_345),
        cached_input_tokens: Some(10_000),
        output_tokens: Some(678),
        reasoning_output_tokens: Some(90),
        total_tokens: Some(13_023),
        ..TokenUsage::default()
    };
    let info = TokenUsageInfo {
        total_token_usage: Some(usage.clone()),
        last_token_usage: Some(usage),
        model_context_window: Some(258_400),
        ..TokenUsageInfo::default()
    };
    EventMsg::from(TokenCountEvent { info: Some(info), ..TokenCountEvent::default() }).into()
}
