//! One writer: while one of the two programs holds a thread, the other one refuses it; afterwards the thread is free.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::material::{lines_of, turn};
use super::report::{CheckOutcome, Section};
use super::selvedge::{CONFLICT, Selvedge};
use super::setup::InteropSetup;
use crate::codex::app_server::{AppServer, refusal};
use crate::codex::thread_mode::ThreadMode;

pub(super) fn check(bench: &InteropSetup, program: &Path) -> Result<Section> {
    let mut section = Section::default();
    let home = bench.home("one-writer")?;
    let selvedge = Selvedge::new(program, &home).with_codex(&bench.codex);
    for mode in [ThreadMode::Legacy, ThreadMode::Paginated] {
        let subject = mode.name();
        let thread = selvedge.create(mode, &bench.folder)?;
        selvedge.append(&thread, &turn(mode, &thread, "before"))?;
        let mut server = AppServer::start(&bench.codex, &home)?;
        section.record(
            subject,
            "Codex refuses what Selvedge holds",
            codex_refuses(&mut server, &selvedge, mode, &thread),
        );
        section.record(subject, "Codex gets it afterwards", server.resume(&thread).map(|_| None));
        section.record(subject, "Selvedge refuses what Codex holds", selvedge_refuses(&selvedge, mode, &thread));
        section.record(subject, "also to change it otherwise", selvedge_changes_nothing(&selvedge, &home, &thread));
        section.record(subject, "and reads it", selvedge.turns(&thread).map(|_| None));
        server.stop()?;
        let appended = selvedge.append(&thread, &turn(mode, &thread, "after"));
        section.record(subject, "Selvedge gets it afterwards", appended.map(|()| None));
    }
    Ok(section)
}

fn codex_refuses(server: &mut AppServer, selvedge: &Selvedge, mode: ThreadMode, thread: &str) -> CheckOutcome {
    let items = turn(mode, thread, "while it is held");
    let held = selvedge.hold(thread, items.first().context("an empty turn")?)?;
    let Err(error) = server.resume(thread) else { bail!("Codex resumes a thread that Selvedge is writing") };
    let reason = refusal(&error).unwrap_or_default();
    ensure!(reason.contains("already has an active writer"), "refused for another reason: {error:#}");
    ensure!(server.run_turn(thread, "in between").is_err(), "Codex runs a turn on a thread that Selvedge is writing");
    let archived = server.call("thread/archive", json!({"threadId": thread}));
    ensure!(archived.is_err(), "Codex archives a thread that Selvedge is writing");
    held.release()?;
    Ok(None)
}

fn selvedge_refuses(selvedge: &Selvedge, mode: ThreadMode, thread: &str) -> CheckOutcome {
    let output = selvedge.try_append(thread, &turn(mode, thread, "while Codex holds it"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(CONFLICT), "it ended with {}: {}", output.status, complaint.trim());
    ensure!(output.stdout.is_empty(), "it acknowledged something");
    Ok(None)
}

fn selvedge_changes_nothing(selvedge: &Selvedge, home: &Path, thread: &str) -> CheckOutcome {
    let before = lines_of(home, thread)?;
    for args in [&["rewind", thread, "--turns", "2"][..], &["archive", thread], &["delete", thread, "--yes"]] {
        let output = selvedge.attempt(args)?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(CONFLICT),
            "{} ended with {}: {}",
            args[0],
            output.status,
            complaint.trim()
        );
    }
    ensure!(lines_of(home, thread)? == before, "the file has changed");
    Ok(None)
}
