//! An agent with a scripted model: it calls a tool, compacts its context, is killed, and goes on. Then a fork and a rewind.
//!
//! `cargo run -p selvedge --example agent -- [HOME] [legacy]`

#![expect(clippy::print_stdout, reason = "an example prints what it does")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use selvedge::{ForkThread, LiveThread, NewThread, ResponseItem, TurnBoundary, TurnSettings};
use serde_json::json;

/// Runs a turn: the question, a tool call, and the answer.
async fn run_turn(thread: &LiveThread, question: &str) -> Result<()> {
    let turn = thread.begin_turn(TurnSettings::default()).await?;
    turn.user_message(question).await?;
    if question == "please compact" {
        turn.compact("SUMMARY: a bug was found", &[ResponseItem::user_text("SUMMARY: a bug was found")]).await?;
    }
    let call = turn.tool_call(&format!("call {question}"), "count_items", &json!({"of": "input"})).await?;
    if question == "a question too many" {
        println!("{}", thread.id());
        return std::future::pending().await; // Killed here, in the middle of the tool call.
    }
    let count = thread.model_input().await?.len();
    call.finish(format!("{count} items")).await?;
    turn.agent_message(format!("I see {count} items.")).await?;
    turn.complete().await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (temporary, args) = (tempfile::tempdir()?, std::env::args().skip(1).collect::<Vec<_>>());
    let home = args.first().map_or_else(|| temporary.path().to_owned(), Into::into);
    let threads = selvedge::open(&home);
    if args.last().is_some_and(|last| last == "work") {
        let new = NewThread::in_dir(std::env::current_dir()?).model("gpt-x").model_provider("openai");
        let thread = threads.start(if args[1] == "legacy" { new.legacy() } else { new }).await?;
        for question in ["where is the bug?", "please compact", "a question too many"] {
            run_turn(&thread, question).await?;
        }
    }
    let mut process = Command::new(std::env::current_exe()?);
    let mut worker = process.arg(&home).args(args.get(1)).arg("work").stdout(Stdio::piped()).spawn()?;
    let mut printed = BufReader::new(worker.stdout.take().context("no output")?).lines();
    let id = printed.next().context("the worker ended")??.parse()?;
    worker.kill()?;
    worker.wait()?;
    let thread = threads.open(id).await?;
    thread.abort_unanswered_calls().await?;
    run_turn(&thread, "where were we?").await?;
    let fork = threads.open(threads.fork(ForkThread::of(id)).await?).await?;
    run_turn(&fork, "another way to fix it").await?;
    threads.rewind(id, TurnBoundary::BeforeNewest(1)).await?;
    run_turn(&thread, "the same question again").await?;
    println!("{id} fork {}", fork.id());
    Ok(())
}
