//! Forks whose source is deleted, after Selvedge gave each a history of its own: Codex continues them without a difference.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::by_selvedge::{open_turns, probe};
use super::compare::{after_history, only_history, same_turns};
use super::material::turn;
use super::report::{CheckOutcome, Section};
use super::selvedge::Selvedge;
use super::setup::InteropSetup;
use super::threads::{SelvedgeThread, ThreadMaker};
use crate::codex::PROBE;
use crate::codex::app_server::AppServer;
use crate::codex::thread_mode::ThreadMode;

const NOT_READ_AGAIN: &str = "Codex keeps the turns of each segment in its database and does not notice that the file was replaced by one with \
        the whole history. The model gets everything, but the inherited turns are not shown until the `*.sqlite` files \
        of Codex are removed.";

pub(super) fn check(bench: &InteropSetup, program: &Path) -> Result<Section> {
    let mut section = Section::default();
    for (place, is_known) in [("new home", false), ("home that Codex knows", true)] {
        check_home(bench, program, place, is_known, &mut section).context(place)?;
    }
    Ok(section)
}

fn check_home(bench: &InteropSetup, program: &Path, place: &str, is_known: bool, section: &mut Section) -> Result<()> {
    let home = bench.home(if is_known { "detached-known" } else { "detached" })?;
    let selvedge = Selvedge::new(program, &home).with_codex(&bench.codex);
    let (source, forks) = write(&selvedge, place, &bench.folder)?;
    if is_known {
        had_by_codex(bench, &home, &forks)?;
    }
    let detached = selvedge.delete_detached(&source)?;
    ensure!(forks.iter().all(|fork| detached.contains(&fork.id)), "detached are only {detached:?}");
    for fork in &forks {
        section.record(&fork.name, "Selvedge says the same", unchanged(&selvedge, fork));
    }
    let mut server = AppServer::start(&bench.codex, &home)?;
    let rows = server.list()?;
    for fork in &forks {
        section.record(&fork.name, "listed without the source", listed_alone(&rows, &source, &fork.id));
        section.record(&fork.name, "resumes", server.resume(&fork.id).map(|_| None));
        section.record(&fork.name, "model input", hears(bench, &mut server, fork));
    }
    let shown: Vec<CheckOutcome> = forks.iter().map(|fork| shows(&mut server, &selvedge, fork)).collect();
    server.stop()?;
    let shown = if is_known { after_forgetting(bench, &home, &selvedge, &forks, shown)? } else { shown };
    for (fork, shown) in forks.iter().zip(shown) {
        section.record(&fork.name, "same turns", shown);
    }
    for fork in &forks {
        section.record(&fork.name, "Selvedge reads on", reads_on(&selvedge, fork));
    }
    Ok(())
}

/// Makes a thread and the forks that build on it.
fn write(selvedge: &Selvedge, place: &str, cwd: &Path) -> Result<(String, Vec<SelvedgeThread>)> {
    let writer = ThreadMaker { selvedge, mode: ThreadMode::Paginated, cwd, turn };
    let source = writer.recorded()?;
    let second = selvedge.turns(&source)?.get(1).context("fewer than two turns")?.id.clone();
    let forked = selvedge.fork(&source, Some(&second))?;
    writer.add(&forked, "added to the fork")?;
    let grandchild = selvedge.fork(&forked, None)?;
    writer.add(&grandchild, "added to the fork of the fork")?;
    let bare = selvedge.fork(&source, None)?;
    let forks = [("fork", forked), ("fork of the fork", grandchild), ("fork, nothing added", bare)];
    let forks = forks.into_iter().map(|(what, id)| {
        let subject = writer.subject("", id, 1)?;
        Ok(SelvedgeThread { name: format!("{place}: {what}"), ..subject })
    });
    Ok((source, forks.collect::<Result<_>>()?))
}

/// Makes Codex list and resume each fork, so that its databases contain them.
fn had_by_codex(bench: &InteropSetup, home: &Path, forks: &[SelvedgeThread]) -> Result<()> {
    let mut server = AppServer::start(&bench.codex, home)?;
    server.list()?;
    for fork in forks {
        server.resume(&fork.id)?;
        open_turns(&mut server, &fork.id, &fork.turns)?;
    }
    server.stop()
}

fn unchanged(selvedge: &Selvedge, fork: &SelvedgeThread) -> CheckOutcome {
    same_turns(&fork.turns, &selvedge.turns(&fork.id)?)?;
    ensure!(fork.context == selvedge.context(&fork.id)?, "the context has changed");
    Ok(None)
}

fn listed_alone(rows: &[Value], source: &str, fork: &str) -> CheckOutcome {
    let times = |id: &str| rows.iter().filter(|row| row["id"] == id).count();
    ensure!(times(source) == 0, "the deleted thread is listed");
    ensure!(times(fork) == 1, "listed {} times", times(fork));
    Ok(None)
}

fn shows(server: &mut AppServer, selvedge: &Selvedge, fork: &SelvedgeThread) -> CheckOutcome {
    let turns = selvedge.turns(&fork.id)?;
    let (shown, note) = open_turns(server, &fork.id, &turns)?;
    same_turns(&turns, &shown)?;
    Ok(note)
}

/// Checks that Codex shows all turns after its databases are removed. This proves that the fault is in the databases.
fn after_forgetting(
    bench: &InteropSetup,
    home: &Path,
    selvedge: &Selvedge,
    forks: &[SelvedgeThread],
    shown: Vec<CheckOutcome>,
) -> Result<Vec<CheckOutcome>> {
    for entry in std::fs::read_dir(home)? {
        let path = entry?.path();
        if path.to_string_lossy().contains(".sqlite") {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    let mut server = AppServer::start(&bench.codex, home)?;
    let mut verdicts = Vec::new();
    for (fork, before) in forks.iter().zip(shown) {
        server.resume(&fork.id)?;
        let again = shows(&mut server, selvedge, fork);
        verdicts.push(match (before, again) {
            (Err(_), Ok(_)) => Ok(Some(NOT_READ_AGAIN)),
            (before, Ok(_)) => before,
            (_, again) => again,
        });
    }
    server.stop()?;
    Ok(verdicts)
}

fn hears(bench: &InteropSetup, server: &mut AppServer, fork: &SelvedgeThread) -> CheckOutcome {
    only_history(&fork.context, &probe(bench, server, &fork.id, PROBE)?, PROBE)?;
    Ok(None)
}

fn reads_on(selvedge: &Selvedge, fork: &SelvedgeThread) -> CheckOutcome {
    let turns = selvedge.turns(&fork.id)?;
    let (last, before) = turns.split_last().context("no turns")?;
    same_turns(&fork.turns, before)?;
    ensure!(last.is_answered(PROBE), "the last turn is {last}");
    after_history(&fork.context, &selvedge.context(&fork.id)?)?;
    Ok(None)
}
