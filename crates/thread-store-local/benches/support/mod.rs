//! A very long thread, and the peak memory of the process that works on it.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use selvedge_protocol::{
    Compacted, CompletedItem, ContextWindow, EventMsg, HistoryMode, ItemCompletedEvent, ResponseItem, RolloutItem,
    RolloutLine, SessionMeta, TaskCompleteEvent, TaskStartedEvent, ThreadId, Timestamp, TurnContext, TurnId, WindowId,
};
use selvedge_thread_store::{ThreadReader, ThreadStore};
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

#[path = "../../../state/benches/support/probe.rs"]
pub(crate) mod probe;

/// How many bytes of the thread follow the compaction.
pub(crate) const TAIL: u64 = 1_000_000;

/// Returns the size of the thread. `SELVEDGE_BENCH_BYTES` makes it smaller.
pub(crate) fn bytes() -> u64 {
    std::env::var("SELVEDGE_BENCH_BYTES").ok().and_then(|bytes| bytes.parse().ok()).unwrap_or(1_000_000_000)
}

/// The size of the thread of a comparison.
pub(crate) const PROBED_BYTES: u64 = 4_000_000;

/// A long cold thread.
pub(crate) struct LongThread {
    pub(crate) id: ThreadId,
    pub(crate) path: PathBuf,
    pub(crate) turns: u64,
}

/// Records a thread of `bytes`, with a compaction `TAIL` before its end.
pub(crate) fn record(store: &LocalThreadStore, runtime: &Runtime, bytes: u64) -> anyhow::Result<LongThread> {
    let now: Timestamp = SystemTime::now().into();
    let id = ThreadId::new(now);
    let head = SessionMeta { history_mode: Some(HistoryMode::Paginated), ..SessionMeta::new(id, now) };
    runtime.block_on(async {
        store.create_thread(head).await?;
        store.persist_thread(id).await?;
        store.shutdown_thread(id).await
    })?;
    let path =
        PathBuf::from(runtime.block_on(store.read_thread(id))?.location.ok_or_else(|| anyhow::anyhow!("no file"))?);
    let turns = write_turns(&path, now, bytes)?;
    Ok(LongThread { id, path, turns })
}

/// Opens a store for a comparison, without an index, which would work in the background at different moments in each run.
pub(crate) fn open_alone(home: &Path) -> LocalThreadStore {
    LocalThreadStore::open_with(home, IndexLocation::Disabled)
}

/// Returns the id of a turn of the thread.
pub(crate) fn turn_id(number: u64) -> TurnId {
    format!("turn {number}").into()
}

/// Appends turns to the thread's file until it has `bytes`. Returns how many.
fn write_turns(path: &Path, now: Timestamp, bytes: u64) -> anyhow::Result<u64> {
    let file = std::fs::File::options().append(true).open(path)?;
    let mut written = file.metadata()?.len();
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let (mut turns, mut ordinal) = (0, 1);
    let mut is_compacted = false;
    let mut lines = Vec::new();
    while written < bytes {
        let mut items = turn(turns);
        turns += 1;
        if !is_compacted && written + TAIL >= bytes {
            is_compacted = true;
            items.insert(1, compaction(now));
        }
        lines.clear();
        for item in &items {
            RolloutLine::encode(&mut lines, now, Some(ordinal), item);
            ordinal += 1;
        }
        out.write_all(&lines)?;
        written += lines.len() as u64;
    }
    out.flush()?;
    Ok(turns)
}

fn compaction(now: Timestamp) -> RolloutItem {
    let window = ContextWindow::first(Some(WindowId::new(now))).next(now);
    Compacted::new("the work so far", vec![ResponseItem::user_text("SUMMARY: the work so far")], window).into()
}

/// Returns a turn of about 11 kB. As in real threads, it has everything twice: for the model and for the client.
fn turn(number: u64) -> Vec<RolloutItem> {
    let id = turn_id(number);
    let text = "the quick brown fox jumps over the lazy dog ".repeat(20);
    let (question, answer, output) =
        (format!("question {number}: {text}"), format!("answer {number}: {text}"), text.repeat(3));
    let shown = |item: Value| -> RolloutItem {
        let item = CompletedItem::from_value(&item);
        EventMsg::from(ItemCompletedEvent { turn_id: Some(id.clone()), item, ..Default::default() }).into()
    };
    let started = TaskStartedEvent { turn_id: Some(id.clone()), ..Default::default() };
    let context = TurnContext { turn_id: Some(id.clone()), model: Some("mock".to_owned()), ..TurnContext::default() };
    let complete = TaskCompleteEvent { turn_id: Some(id.clone()), ..Default::default() };
    vec![
        EventMsg::from(started).into(),
        context.into(),
        ResponseItem::user_text(&question).into(),
        shown(json!({"type": "UserMessage", "id": "user", "content": [{"type": "text", "text": question}]})),
        ResponseItem::function_call("call", "shell", "{\"cmd\":\"ls\"}").into(),
        ResponseItem::function_call_output("call", &output).into(),
        shown(json!({"type": "CommandExecution", "id": "call", "command": "ls", "aggregatedOutput": output})),
        ResponseItem::assistant_text(&answer).into(),
        shown(json!({"type": "AgentMessage", "id": "agent", "content": [{"type": "Text", "text": answer}]})),
        EventMsg::from(complete).into(),
    ]
}

/// Returns the peak memory of this process in bytes. `None` if the system does not report it.
pub(crate) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
