//! Histories that diverge: Selvedge rewinds a thread that Codex knows, and Codex goes on in the segment that its database names. Both
//! histories must stay, the one of Codex as a fork.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::by_selvedge::{fork_listed, open_turns, probe};
use super::compare::{only_history, same_turns};
use super::report::{CheckOutcome, Section};
use super::selvedge::Selvedge;
use super::setup::InteropSetup;
use crate::codex::PROBE;
use crate::codex::app_server::AppServer;

/// The turn that Codex adds without knowing of the rewind.
const UNNOTICED: &str = "added in the abandoned segment";

pub(super) fn check(bench: &InteropSetup, program: &Path) -> Result<Section> {
    let home = bench.home("diverged")?;
    let selvedge = Selvedge::new(program, &home);
    let mut section = Section::default();
    let mut server = AppServer::start(&bench.codex, &home)?;
    let thread = server.start_thread("paginated", &bench.folder)?;
    for text in ["first", "second", "third"] {
        server.run_turn(&thread, text)?;
    }
    let last = selvedge.turn_ids(&thread)?.pop().context("the thread has no turn")?;
    server.revert(&thread, &last)?;
    server.run_turn(&thread, "third again")?;
    server.stop()?;
    section.record("reverted by Codex", "doctor exits with 0", healthy(&selvedge));
    // Codex itself abandons a segment in this way.
    section.record("reverted by Codex", "no finding", undiverged(&selvedge, &thread));
    selvedge.rewind_unnoticed(&thread, 2)?;
    section.record("rewound by Selvedge", "no finding", undiverged(&selvedge, &thread));
    let mut server = AppServer::start(&bench.codex, &home)?;
    server.resume(&thread)?;
    section.record("opened by Codex", "no finding", undiverged(&selvedge, &thread));
    server.run_turn(&thread, UNNOTICED)?;
    server.stop()?;
    section.record("continued by Codex", "seen and kept", kept_as_fork(bench, &home, &selvedge, &thread));
    Ok(section)
}

/// Checks that the doctor finds no fault in a home as Codex leaves it.
fn healthy(selvedge: &Selvedge) -> CheckOutcome {
    let output = selvedge.attempt(&["doctor"])?;
    ensure!(
        output.status.success(),
        "doctor ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(None)
}

fn undiverged(selvedge: &Selvedge, thread: &str) -> CheckOutcome {
    ensure!(selvedge.diverged_turns(thread)? == 0, "show finds a diverged history");
    let kinds = selvedge.finding_kinds()?;
    ensure!(!kinds.iter().any(|kind| kind == DIVERGED), "doctor finds {kinds:?}");
    Ok(None)
}

/// The kind of the finding.
const DIVERGED: &str = "diverged_history";

fn kept_as_fork(bench: &InteropSetup, home: &Path, selvedge: &Selvedge, thread: &str) -> CheckOutcome {
    ensure!(selvedge.diverged_turns(thread)? == 1, "show finds no diverged history");
    ensure!(selvedge.finding_kinds()?.iter().any(|kind| kind == DIVERGED), "doctor finds no diverged history");
    let before = selvedge.turns(thread)?;
    let fork = selvedge.repair_forks()?.pop().context("doctor made no fork")?;
    same_turns(&before, &selvedge.turns(thread)?)?;
    undiverged(selvedge, thread)?;
    let turns = selvedge.turns(&fork)?;
    ensure!(turns.len() == 4, "the fork has {} turns", turns.len());
    ensure!(turns.last().is_some_and(|turn| turn.is_answered(UNNOTICED)), "the fork lacks the turn of Codex");
    let context = selvedge.context(&fork)?;
    let mut server = AppServer::start(&bench.codex, home)?;
    let note = fork_listed(bench, &server.list()?, &fork, 1)?;
    server.resume(&fork)?;
    let (shown, _) = open_turns(&mut server, &fork, &turns)?;
    same_turns(&turns, &shown)?;
    only_history(&context, &probe(bench, &mut server, &fork, PROBE)?, PROBE)?;
    server.stop()?;
    ensure!(selvedge.turns(&fork)?.len() == 5, "Selvedge does not show what Codex added to the fork");
    Ok(note)
}
