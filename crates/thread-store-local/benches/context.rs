//! What it costs to load what the model sees next of a very long thread: 1 GB, with a compaction 1 MB before its end.
//!
//! `cargo xtask bench context`; `SELVEDGE_BENCH_BYTES` makes the thread smaller.

#![expect(clippy::print_stdout, reason = "a benchmark prints its numbers")]

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use selvedge_history::Replay;
use selvedge_protocol::{
    Compacted, EventMsg, HistoryMode, ResponseItem, RolloutItem, RolloutLine, SessionMeta, TaskCompleteEvent,
    TaskStartedEvent, ThreadId, Timestamp, TurnContext, TurnId, Window, WindowId,
};
use selvedge_thread_store::ThreadStore;
use selvedge_thread_store_local::LocalThreadStore;

/// Size of the thread.
const BYTES: u64 = 1_000_000_000;
/// How much of it stands behind the compaction.
const TAIL: u64 = 1_000_000;
/// Measurements.
const ROUNDS: usize = 15;
/// What the median of a warm load may take.
const MOST_TIME: Duration = Duration::from_millis(20);
/// How much memory the process may have taken at its highest, where the system tells.
const MOST_MEMORY: u64 = 64 << 20;

fn main() -> anyhow::Result<()> {
    let bytes = std::env::var("SELVEDGE_BENCH_BYTES").ok().and_then(|bytes| bytes.parse().ok()).unwrap_or(BYTES);
    let dir = tempfile::tempdir()?;
    let now: Timestamp = SystemTime::now().into();
    let thread_id = ThreadId::new(now);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let store = LocalThreadStore::open(dir.path());
    let head = SessionMeta { history_mode: Some(HistoryMode::Paginated), ..SessionMeta::new(thread_id, now) };
    runtime.block_on(async {
        store.create_thread(head).await?;
        store.persist(thread_id).await?;
        store.shutdown(thread_id).await
    })?;
    let path = runtime.block_on(store.read_thread(thread_id))?.path.ok_or_else(|| anyhow::anyhow!("no file"))?;
    write_thread(&path, now, bytes)?;

    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let context = runtime.block_on(store.load_model_context(thread_id))?;
        times.push(start.elapsed());
        anyhow::ensure!(context.window.number == 1 && context.history.len() > 100, "not the context of this thread");
    }
    times.sort_unstable();
    let median = times[ROUNDS / 2];
    let memory = peak_memory();
    let floor = floor(&path)?;
    println!(
        "context of a thread of {} MB, compaction {} MB before its end: median {median:.1?} of {ROUNDS} (must be at most \
         {MOST_TIME:?}); reading and replaying its last {} MB alone: {floor:.1?}; ratio {:.2}",
        bytes / 1_000_000,
        TAIL / 1_000_000,
        TAIL / 1_000_000,
        median.as_secs_f64() / floor.as_secs_f64(),
    );
    match memory {
        Some(memory) => println!("highest memory of the process: {} MB (must be at most 64 MiB)", memory >> 20),
        None => println!("highest memory of the process: not told by this system"),
    }
    anyhow::ensure!(median <= MOST_TIME && memory.is_none_or(|memory| memory <= MOST_MEMORY), "beyond the bound");
    Ok(())
}

/// Appends turns to the thread's file until it has `bytes`, with a compaction `TAIL` before its end.
fn write_thread(path: &Path, now: Timestamp, bytes: u64) -> anyhow::Result<()> {
    let file = std::fs::File::options().append(true).open(path)?;
    let mut written = file.metadata()?.len();
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let mut ordinal = 1;
    let mut is_compacted = false;
    let mut line = Vec::new();
    for number in 0_u64.. {
        if written >= bytes {
            break;
        }
        let mut items = turn(number);
        if !is_compacted && written + TAIL >= bytes {
            is_compacted = true;
            items.insert(1, compaction(now));
        }
        line.clear();
        for item in &items {
            RolloutLine::encode(&mut line, now, Some(ordinal), item);
            ordinal += 1;
        }
        out.write_all(&line)?;
        written += line.len() as u64;
    }
    out.flush()?;
    Ok(())
}

fn compaction(now: Timestamp) -> RolloutItem {
    let window = Window::first(Some(WindowId::new(now))).next(now);
    Compacted::new("the work so far", vec![ResponseItem::user_text("SUMMARY: the work so far")], window).into()
}

/// A turn of about 6 kB.
fn turn(number: u64) -> Vec<RolloutItem> {
    let turn_id = Some(TurnId::from(format!("turn {number}")));
    let text = "the quick brown fox jumps over the lazy dog ".repeat(20);
    let started = TaskStartedEvent { turn_id: turn_id.clone(), ..Default::default() };
    let context = TurnContext { turn_id: turn_id.clone(), model: Some("mock".to_owned()), ..TurnContext::default() };
    let complete = TaskCompleteEvent { turn_id, ..Default::default() };
    let mut items: Vec<RolloutItem> = vec![EventMsg::from(started).into(), context.into()];
    items.push(ResponseItem::user_text(&format!("question {number}: {text}")).into());
    items.push(ResponseItem::function_call("call", "shell", "{\"cmd\":\"ls\"}").into());
    items.push(ResponseItem::function_call_output("call", &text.repeat(3)).into());
    items.push(ResponseItem::assistant_text(&format!("answer {number}: {text}")).into());
    items.push(EventMsg::from(complete).into());
    items
}

/// The floor: the last `TAIL` bytes of the file, read at once, parsed and replayed.
fn floor(path: &Path) -> anyhow::Result<Duration> {
    use std::io::{Read, Seek, SeekFrom};

    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let mut file = std::fs::File::open(path)?;
        let len = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(len.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8(bytes)?;
        let mut replay = Replay::new();
        for line in text.lines().skip(1) {
            replay.push_line(&RolloutLine::parse(line)?);
        }
        let context = replay.finish();
        times.push(start.elapsed());
        anyhow::ensure!(context.history.len() > 100, "nothing was replayed");
    }
    times.sort_unstable();
    Ok(times[ROUNDS / 2])
}

/// The most memory that this process ever had, in bytes.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
