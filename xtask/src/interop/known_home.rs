//! A home whose threads are already in the databases of Codex: Codex must see the changes that Selvedge makes.

use std::path::Path;

use anyhow::{Result, ensure};

use super::by_selvedge::{listed, probe};
use super::compare::{only_history, same_turns, turns_of};
use super::material::turn;
use super::report::{CheckOutcome, Section};
use super::selvedge::Selvedge;
use super::setup::InteropSetup;
use crate::codex::PROBE;
use crate::codex::app_server::{AppServer, refusal};
use crate::codex::thread_mode::ThreadMode;

const AGAIN: &str = "probe again";

const OTHER_PROVIDER: &str = "0.167 resumes only threads of the provider that its configuration selects, also if the provider of the thread is \
        configured. A thread without a provider of its own belongs to `openai`.";

pub(super) fn check(bench: &InteropSetup, program: &Path) -> Result<Section> {
    let home = bench.home("known-home")?;
    AppServer::start(&bench.codex, &home)?.stop()?;
    let selvedge = Selvedge::new(program, &home);
    let mut section = Section::default();
    for mode in [ThreadMode::Legacy, ThreadMode::Paginated] {
        section.record(mode.name(), "made with defaults", made_with_defaults(bench, &home, &selvedge, mode));
        section.record(mode.name(), "follows an append", follows_append(bench, &home, &selvedge, mode));
    }
    Ok(section)
}

/// A thread that was created without a model and a provider.
fn made_with_defaults(bench: &InteropSetup, home: &Path, selvedge: &Selvedge, mode: ThreadMode) -> CheckOutcome {
    let id = selvedge.create_with_defaults(mode, &bench.folder)?;
    selvedge.append(&id, &turn(mode, &id, "first"))?;
    let context = selvedge.context(&id)?;
    let mut server = AppServer::start(&bench.codex, home)?;
    listed(&server.list()?, &id, 1)?;
    match server.resume(&id) {
        Err(error) if refusal(&error).is_some_and(|reason| reason.contains("your current provider is")) => {
            return Ok(Some(OTHER_PROVIDER));
        }
        answer => answer?,
    };
    same_turns(&selvedge.turns(&id)?, &turns_of(&mut server, &id)?)?;
    only_history(&context, &probe(bench, &mut server, &id, PROBE)?, PROBE)?;
    server.stop()?;
    Ok(None)
}

/// A turn that Selvedge appends to a thread that Codex knows. Other changes are in [`known_changes`](super::known_changes).
fn follows_append(bench: &InteropSetup, home: &Path, selvedge: &Selvedge, mode: ThreadMode) -> CheckOutcome {
    let id = selvedge.create(mode, &bench.folder)?;
    for text in ["first", "second"] {
        selvedge.append(&id, &turn(mode, &id, text))?;
    }
    had_by_codex(bench, home, &id)?;
    let before = selvedge.context(&id)?;
    selvedge.append(&id, &turn(mode, &id, "behind the back"))?;
    let context = selvedge.context(&id)?;
    ensure!(context != before, "nothing has changed");
    let mut server = AppServer::start(&bench.codex, home)?;
    listed(&server.list()?, &id, 1)?;
    server.resume(&id)?;
    let input = probe(bench, &mut server, &id, AGAIN)?;
    server.stop()?;
    only_history(&context, &input, AGAIN)?;
    Ok(None)
}

/// Checks that Codex lists the thread, resumes it and runs a turn.
fn had_by_codex(bench: &InteropSetup, home: &Path, id: &str) -> Result<()> {
    let mut server = AppServer::start(&bench.codex, home)?;
    server.list()?;
    server.resume(id)?;
    probe(bench, &mut server, id, PROBE)?;
    server.stop()
}
