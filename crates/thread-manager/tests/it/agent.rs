//! The flow of the example: an agent from its first turn to the next day.
#![expect(clippy::unwrap_used, reason = "test code, which clippy does not recognize without the attribute `test`")]

use std::sync::Arc;

use selvedge_protocol::{HistoryMode, ResponseItem};
use selvedge_thread_manager::LiveThread;

use crate::support::{
    MODES, TestStores, complete, id, item_completed, message, model_prompts, shown_prompts, start, started,
    surroundings, user_message, world_state_records,
};

/// Records one turn: the question, what the model is told about its surroundings if it does not know, and the answer.
async fn ask(thread: &Arc<LiveThread>, mode: HistoryMode, question: &str, cwd: &str) {
    thread.append(&[started(question)]).await.unwrap();
    if thread.world_state().await != Some(surroundings(cwd)) {
        let context = format!("<environment_context>{cwd}</environment_context>");
        thread.append_context(&[message(&context)], &surroundings(cwd)).await.unwrap();
    }
    thread.append(&[message(question), user_message(mode, question, question)]).await.unwrap();
    let answer = format!("answer to {question}");
    let shown_prompts = item_completed(question, "AgentMessage", &answer);
    thread.append(&[ResponseItem::assistant_text(&answer).into(), shown_prompts.into()]).await.unwrap();
    thread.append(&[complete(question)]).await.unwrap();
}

async fn an_agent_records_compacts_resumes_and_continues(stores: TestStores) {
    for (n, mode) in (1..).zip(MODES) {
        let manager = stores.manager();
        let thread = start(&manager, n, mode, &[]).await;
        ask(&thread, mode, "one", "/a").await;
        ask(&thread, mode, "two", "/b").await;
        let summary = ResponseItem::user_text("SUMMARY");
        thread.compact("SUMMARY", vec![summary.clone()]).await.unwrap();
        assert!(manager.shutdown_all(std::time::Duration::from_secs(60)).await.is_clean());

        let manager = stores.manager();
        let resumed = manager.resume(id(n)).await.unwrap();
        assert_eq!((&resumed.context.history, resumed.context.window.number), (&vec![summary], 1));
        assert_eq!(resumed.context.world_state, None);
        ask(&resumed.live, mode, "three", "/b").await;
        let expected = ["SUMMARY", "<environment_context>/b</environment_context>", "three", "answer to three"];
        assert_eq!(model_prompts(&*stores.store(), id(n)).await, expected);
        assert_eq!(shown_prompts(&*stores.store(), id(n)).await, ["one", "two", "three"]);
        let whole: Vec<bool> =
            world_state_records(&*stores.store(), id(n)).await.into_iter().map(|(whole, _)| whole).collect();
        assert_eq!(whole, [true, false, true]);
        assert_eq!(resumed.live.metadata().await.preview.as_deref(), Some("one"));
    }
}

crate::over_both_stores! { an_agent_records_compacts_resumes_and_continues }
