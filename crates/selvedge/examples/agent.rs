//! An agent with a scripted model: it calls a tool, compacts its context, dies, and goes on. Then a fork and a rewind.
//!
//! `cargo run -p selvedge --example agent -- [HOME] [legacy]`

#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use anyhow::Result;
use selvedge::{ForkThread, LiveThread, NewThread, ResponseItem, TurnBoundary, TurnSettings};
use serde_json::json;

/// Runs a turn: the question, a tool call, and the answer.
async fn run_turn(thread: &LiveThread, question: &str) -> Result<()> {
    let turn = thread.begin_turn(TurnSettings::default()).await?;
    turn.user_message(question).await?;
    let call_id = format!("call_{}", thread.model_input().await?.len());
    let call = turn.tool_call(&call_id, "count_items", &json!({"of": "input"})).await?;
    let count = thread.model_input().await?.len();
    call.finish(format!("{count} items")).await?;
    turn.agent_message(format!("I see {count} items.")).await?;
    turn.complete().await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (temporary, mut args) = (tempfile::tempdir()?, std::env::args().skip(1));
    let home = args.next().map_or_else(|| temporary.path().to_owned(), Into::into);
    let new = NewThread::in_dir(std::env::current_dir()?).model("gpt-x").model_provider("openai");
    let new = if args.next().is_some() { new.legacy() } else { new };

    let threads = selvedge::open(&home);
    let thread = threads.start(new).await?;
    run_turn(&thread, "where is the bug?").await?;
    run_turn(&thread, "and how can it be fixed?").await?;
    let turn = thread.begin_turn(TurnSettings::default()).await?;
    turn.user_message("please compact").await?;
    turn.compact("SUMMARY: a bug was found", &[ResponseItem::user_text("SUMMARY: a bug was found")]).await?;
    turn.complete().await?;
    let id = thread.id();
    // The process dies here: nothing is shut down.
    drop((thread, threads));

    let threads = selvedge::open(&home);
    let thread = threads.open(id).await?;
    run_turn(&thread, "where were we?").await?;
    let fork = threads.fork(ForkThread::of(id)).await?;
    run_turn(&*threads.open(fork).await?, "another way to fix it").await?;
    threads.rewind(id, TurnBoundary::BeforeNewest(1)).await?;
    run_turn(&thread, "the same question again").await?;
    println!("{id} {} items, fork {fork}", thread.model_input().await?.len());
    Ok(())
}
