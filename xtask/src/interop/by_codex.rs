//! Threads that the real Codex recorded, forked and reverted, read by Selvedge.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::by_selvedge::probe;
use super::compare::{TurnShape, only_history, same_turns, turns_of};
use super::report::{CheckOutcome, Section};
use super::selvedge::Selvedge;
use super::setup::InteropSetup;
use crate::codex::PROBE;
use crate::codex::app_server::AppServer;
use crate::codex::thread_mode::ThreadMode;

/// A thread that Codex wrote, and how Codex shows it.
struct CodexThread {
    name: &'static str,
    id: String,
    turns: Vec<TurnShape>,
}

pub(super) fn check(bench: &InteropSetup, program: &Path) -> Result<Section> {
    let home = bench.home("by-codex")?;
    let selvedge = Selvedge::new(program, &home);
    let subjects = write(bench, &home)?;
    let mut section = Section::default();
    let listed = selvedge.list();
    for subject in &subjects {
        section.record(subject.name, "listed", once(&listed, &subject.id));
        section.record(subject.name, "same turns", shows(&selvedge, subject));
    }
    let contexts: Vec<Result<Vec<Value>>> = subjects.iter().map(|subject| selvedge.context(&subject.id)).collect();
    let mut server = AppServer::start(&bench.codex, &home)?;
    for (subject, context) in subjects.iter().zip(contexts) {
        section.record(subject.name, "model input", hears(bench, &mut server, &subject.id, context));
    }
    server.stop()?;
    Ok(section)
}

fn write(bench: &InteropSetup, home: &Path) -> Result<Vec<CodexThread>> {
    let mut server = AppServer::start(&bench.codex, home)?;
    let mut ids = Vec::new();
    for (mode, name, fork) in [
        (ThreadMode::Legacy, "legacy", "legacy, forked at a turn"),
        (ThreadMode::Paginated, "paginated", "paginated, forked at a turn"),
    ] {
        let id = start(&mut server, mode, &bench.folder)?;
        let first = turns_of(&mut server, &id)?.first().context("no turns")?.id.clone();
        let forked = server.fork(&id, &first)?;
        server.run_turn(&forked, "question in the fork")?;
        ids.extend([(name, id), (fork, forked)]);
    }
    let reverted = start(&mut server, ThreadMode::Paginated, &bench.folder)?;
    let last = turns_of(&mut server, &reverted)?.last().context("no turns")?.id.clone();
    server.revert(&reverted, &last)?;
    server.run_turn(&reverted, "question after the undo")?;
    ids.push(("paginated, reverted", reverted));
    let mut subjects = Vec::new();
    for (name, id) in ids {
        let turns = turns_of(&mut server, &id)?;
        subjects.push(CodexThread { name, id, turns });
    }
    server.stop()?;
    Ok(subjects)
}

/// A thread with three turns, one with a tool call.
fn start(server: &mut AppServer, mode: ThreadMode, cwd: &Path) -> Result<String> {
    let id = server.start_thread(mode.name(), cwd)?;
    for text in ["first question", "tool: echo from the tool", "third question"] {
        server.run_turn(&id, text)?;
    }
    Ok(id)
}

fn once(listed: &Result<Vec<String>>, id: &str) -> CheckOutcome {
    let ids = listed.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
    let times = ids.iter().filter(|listed| *listed == id).count();
    ensure!(times == 1, "listed {times} times");
    Ok(None)
}

fn shows(selvedge: &Selvedge, subject: &CodexThread) -> CheckOutcome {
    same_turns(&subject.turns, &selvedge.turns(&subject.id)?)?;
    Ok(None)
}

fn hears(bench: &InteropSetup, server: &mut AppServer, id: &str, context: Result<Vec<Value>>) -> CheckOutcome {
    server.resume(id)?;
    only_history(&context?, &probe(bench, server, id, PROBE)?, PROBE)?;
    Ok(None)
}
