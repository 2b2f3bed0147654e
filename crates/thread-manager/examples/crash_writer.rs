//! A writer for crash tests: `cargo xtask crash` runs it and kills it.
//!
//! It performs random operations on threads. It prints each operation twice: before it begins (`?`) and when it is done
//! (`!`), one line each. So a reader of its output knows what the threads must contain when it dies.
//!
//! `crash_writer <home> <written|synced> <seed> <first number> <most operations> <thread id>...`

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::io::Write;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result};
use selvedge_protocol::{
    Compacted, CompletedItem, ContextWindow, Durability, EventMsg, HistoryMode, ItemCompletedEvent, ResponseItem,
    RolloutItem, SessionMeta, TaskCompleteEvent, TaskStartedEvent, ThreadId, Timestamp, TurnBoundary, TurnId,
    UserMessageEvent, WindowId,
};
use selvedge_thread_manager::{LiveThread, ThreadManager};
use selvedge_thread_store::{ForkThread, StoreError};
use selvedge_thread_store_local::LocalThreadStore;
use serde_json::json;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [home, level, seed, first, most, threads @ ..] = &args[..] else {
        anyhow::bail!("usage: crash_writer <home> <level> <seed> <first number> <most operations> <thread id>...")
    };
    let level: Durability = level.parse()?;
    let manager = ThreadManager::new(Arc::new(LocalThreadStore::open_with(home, level)));
    let mut writer = Writer { manager, live: Vec::new(), seed: seed.parse()?, number: first.parse()? };
    for thread in threads {
        let thread_id: ThreadId = thread.parse()?;
        let resumed = writer.manager.resume(thread_id).await.with_context(|| format!("cannot resume {thread_id}"))?;
        writer.live.push(resumed.live);
    }
    for _ in 0..most.parse::<u64>()? {
        writer.act().await?;
    }
    for live in &writer.live {
        live.shutdown().await?;
    }
    say("! end");
    Ok(())
}

struct Writer {
    manager: ThreadManager,
    live: Vec<Arc<LiveThread>>,
    seed: u64,
    /// The number of the next item.
    number: u64,
}

impl Writer {
    /// Performs a random operation.
    async fn act(&mut self) -> Result<()> {
        if self.live.is_empty() {
            return self.start().await;
        }
        let among = u64::try_from(self.live.len())?;
        let which = usize::try_from(self.chance(among))?;
        let live = Arc::clone(&self.live[which]);
        match self.chance(40) {
            0 if among < 6 => self.start().await,
            1 | 2 if among < 6 => self.fork(&live).await,
            3..=5 => self.rewind(&live).await,
            6 | 7 => self.append(&live, true).await,
            _ => self.append(&live, false).await,
        }
    }

    async fn start(&mut self) -> Result<()> {
        let now = now();
        let thread_id = ThreadId::new(now);
        let mode = if self.chance(3) == 0 { HistoryMode::Legacy } else { HistoryMode::Paginated };
        let word = if mode == HistoryMode::Legacy { "legacy" } else { "paginated" };
        say(&format!("? start {thread_id} {word}"));
        let head = SessionMeta { history_mode: Some(mode), ..SessionMeta::new(thread_id, now) };
        let live = self.manager.start(head).await?;
        live.persist().await?;
        self.live.push(live);
        say(&format!("! start {thread_id} {word}"));
        Ok(())
    }

    async fn append(&mut self, live: &LiveThread, with_compaction: bool) -> Result<()> {
        let number = self.number;
        self.number += 1;
        let text = format!("item {number} {}", "x".repeat(usize::try_from(self.chance(3000))?));
        let items = turn(live.mode(), number, &text, with_compaction);
        say(&format!("? append {} {number}", live.id()));
        live.append(&items).await?;
        say(&format!("! append {} {number}", live.id()));
        Ok(())
    }

    async fn rewind(&mut self, live: &LiveThread) -> Result<()> {
        let turns = 1 + self.chance(3);
        say(&format!("? rewind {} {turns}", live.id()));
        match self.manager.rewind(live.id(), TurnBoundary::BeforeNewest(turns)).await {
            // A writer that was killed in a turn may have left a turn without a user message, which a rollback event
            // cannot undo.
            Err(StoreError::InvalidRequest { .. }) if live.mode() == HistoryMode::Legacy => {
                say(&format!("! rewind {} 0", live.id()));
            }
            outcome => {
                outcome?;
                say(&format!("! rewind {} {turns}", live.id()));
            }
        }
        Ok(())
    }

    async fn fork(&mut self, live: &LiveThread) -> Result<()> {
        let now = now();
        let (source, fork) = (live.id(), ThreadId::new(now));
        say(&format!("? fork {source} {fork}"));
        let meta = SessionMeta::new(fork, now);
        self.manager.fork(ForkThread { source, at: TurnBoundary::Latest, meta }).await?;
        say(&format!("! fork {source} {fork}"));
        self.live.push(self.manager.resume(fork).await?.live);
        Ok(())
    }

    /// Returns a random number below `many`. The same seed gives the same numbers (xorshift).
    fn chance(&mut self, many: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % many
    }
}

/// Prints a line and flushes it.
fn say(line: &str) {
    println!("{line}");
    // An error means that the reader is gone.
    let _ = std::io::stdout().flush();
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

/// Returns the items of a turn with this user message.
fn turn(mode: HistoryMode, number: u64, text: &str, with_compaction: bool) -> Vec<RolloutItem> {
    let turn_id: TurnId = format!("turn {number}").into();
    let said: EventMsg = match mode {
        HistoryMode::Legacy => UserMessageEvent { message: Some(text.to_owned()), ..Default::default() }.into(),
        HistoryMode::Paginated => {
            let content = json!([{"type": "text", "text": text}]);
            let item = json!({"type": "UserMessage", "id": format!("user {number}"), "content": content});
            let item = CompletedItem::from_value(&item);
            ItemCompletedEvent { turn_id: Some(turn_id.clone()), item, ..Default::default() }.into()
        }
    };
    let started = TaskStartedEvent { turn_id: Some(turn_id.clone()), ..Default::default() };
    let complete = TaskCompleteEvent { turn_id: Some(turn_id), ..Default::default() };
    let mut items = vec![EventMsg::from(started).into()];
    if with_compaction {
        let window = ContextWindow::first(Some(WindowId::new(now()))).next(now());
        items.push(Compacted::new("so far", vec![ResponseItem::user_text("SUMMARY: so far")], window).into());
    }
    items.extend([ResponseItem::user_text(text).into(), said.into(), EventMsg::from(complete).into()]);
    items
}
