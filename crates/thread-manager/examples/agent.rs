//! A complete agent with a scripted model. It starts a thread, records every step, compacts, is dropped without a
//! shutdown, resumes from the log and continues.
//!
//! `cargo run -p selvedge-thread-manager --example agent`

#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::sync::Arc;
use std::time::SystemTime;

use selvedge_protocol::{
    CompletedItem, EventMsg, HistoryMode, ItemCompletedEvent, ResponseItem, SessionMeta, TaskCompleteEvent,
    TaskStartedEvent, ThreadId, Timestamp, TurnId, WorldState,
};
use selvedge_thread_manager::{LiveThread, ThreadManager};
use selvedge_thread_store_local::LocalThreadStore;
use serde_json::json;

/// The agent: the thread that it writes, and the history that its model sees.
struct Agent {
    thread: Arc<LiveThread>,
    history: Vec<ResponseItem>,
}

impl Agent {
    /// Records one turn: the question, what the model is told about its surroundings, and the answer.
    async fn turn(&mut self, question: &str, cwd: &str) -> anyhow::Result<String> {
        let turn_id = Some(TurnId::from(ThreadId::new(now()).to_string()));
        let started = TaskStartedEvent { turn_id: turn_id.clone(), ..Default::default() };
        self.thread.append(&[EventMsg::from(started).into()]).await?;

        let surroundings = WorldState::new(json!({"environment": {"cwd": cwd}}))?;
        // Tell the model only what it does not know, and record it in the same batch.
        if self.thread.world_state().await.as_ref() != Some(&surroundings) {
            let told = ResponseItem::user_text(&format!("<environment_context>{cwd}</environment_context>"));
            self.thread.append_context(&[told.clone().into()], &surroundings).await?;
            self.history.push(told);
        }

        self.say(&turn_id, ResponseItem::user_text(question), "UserMessage", "text", question).await?;
        let answer = scripted_model(&self.history);
        self.say(&turn_id, ResponseItem::assistant_text(&answer), "AgentMessage", "Text", &answer).await?;

        let complete = TaskCompleteEvent { turn_id, ..Default::default() };
        self.thread.append(&[EventMsg::from(complete).into()]).await?;
        Ok(answer)
    }

    /// Records a message twice: as the model sees it, and as a client shows it.
    async fn say(
        &mut self,
        turn_id: &Option<TurnId>,
        message: ResponseItem,
        kind: &str,
        part: &str,
        text: &str,
    ) -> anyhow::Result<()> {
        let id = ThreadId::new(now()).to_string();
        let shown = json!({"type": kind, "id": id, "content": [{"type": part, "text": text}]});
        let completed = ItemCompletedEvent {
            turn_id: turn_id.clone(),
            item: CompletedItem::from_value(&shown),
            ..Default::default()
        };
        self.thread.append(&[message.clone().into(), EventMsg::from(completed).into()]).await?;
        self.history.push(message);
        Ok(())
    }
}

/// Answers with the number of items that it sees.
fn scripted_model(input: &[ResponseItem]) -> String {
    format!("I see {} items.", input.len())
}

fn now() -> Timestamp {
    SystemTime::now().into()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let manager = ThreadManager::new(Arc::new(LocalThreadStore::open(home.path())));
    let meta =
        SessionMeta { history_mode: Some(HistoryMode::Paginated), ..SessionMeta::new(ThreadId::new(now()), now()) };
    let mut agent = Agent { thread: manager.start(meta).await?, history: Vec::new() };
    println!("{} {}", agent.turn("hello", "/srv").await?, agent.turn("and now?", "/srv/sub").await?);
    agent.history = vec![ResponseItem::user_text("SUMMARY: we greeted each other.")];
    let window = agent.thread.compact("we greeted each other", agent.history.clone()).await?;
    println!("compacted into window {}", window.number);
    let thread_id = agent.thread.id();
    // No shutdown: everything that was acknowledged is in the log.
    drop((agent, manager));

    let manager = ThreadManager::new(Arc::new(LocalThreadStore::open(home.path())));
    let resumed = manager.resume(thread_id).await?;
    let mut agent = Agent { thread: resumed.live, history: resumed.context.history };
    println!("{}", agent.turn("where were we?", "/srv/sub").await?);
    println!("{}: {:?}", agent.thread.id(), agent.thread.metadata().await.preview);
    anyhow::ensure!(manager.shutdown_all(std::time::Duration::from_secs(5)).await.is_clean());
    Ok(())
}
