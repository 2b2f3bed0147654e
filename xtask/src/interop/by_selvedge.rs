//! Threads that Selvedge recorded, forked and rewound, opened and continued by the real Codex, and then by Selvedge again.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::compare::{TurnShape, after_history, only_history, plain_items, same_turns, turns_of};
use super::material::turn;
use super::report::{CheckOutcome, Section};
use super::selvedge::Selvedge;
use super::setup::InteropSetup;
use super::threads::{SelvedgeThread, ThreadMaker};
use crate::codex::PROBE;
use crate::codex::app_server::AppServer;
use crate::codex::thread_mode::ThreadMode;

/// The prompt after Selvedge has added a turn to what Codex added.
pub(super) const SECOND_PROBE: &str = "probe after the second restart";

const LISTED_TWICE: &str =
    "Codex lists a reverted thread once for each segment file that contains a user message, also for its own threads.";

/// The first release that lists every fork by reference.
const LISTS_EVERY_FORK: [u32; 2] = [0, 169];

const FORK_NOT_LISTED: &str = "Before 0.169, Codex does not list a fork by reference whose own files have no message of the user yet, also for its \
        own forks.";

const INHERITED_MISSING: &str = "After a resume, Codex shows no turn of an older segment that its SQLite database does not contain yet, also for \
        its own threads. A fork at a turn makes Codex read those turns, and the check makes an ephemeral one.";

pub(super) fn check(bench: &InteropSetup, program: &Path) -> Result<Section> {
    check_in(bench, program, "by-selvedge", false)
}

/// Does the same checks as [`check`], with all files compressed before Codex opens them.
pub(super) fn check_compressed(bench: &InteropSetup, program: &Path) -> Result<Section> {
    check_in(bench, program, "compressed", true)
}

fn check_in(bench: &InteropSetup, program: &Path, folder: &str, compressed: bool) -> Result<Section> {
    let home = bench.home(folder)?;
    let selvedge = Selvedge::new(program, &home);
    let mut section = Section::default();
    let mut subjects = Vec::new();
    for mode in [ThreadMode::Legacy, ThreadMode::Paginated] {
        let writer = ThreadMaker { selvedge: &selvedge, mode, cwd: &bench.folder, turn };
        subjects.extend(writer.family(writer.recorded()?, writer.recorded()?)?);
    }
    if compressed {
        for subject in &subjects {
            section.record(&subject.name, "compressed", selvedge.compress(&subject.id).map(|()| None));
        }
    }
    check_subjects(bench, &home, &selvedge, &subjects, &mut section)?;
    Ok(section)
}

/// Checks that Codex opens and continues threads that Selvedge wrote, and Selvedge and Codex go on from there.
pub(super) fn check_subjects(
    bench: &InteropSetup,
    home: &Path,
    selvedge: &Selvedge,
    subjects: &[SelvedgeThread],
    section: &mut Section,
) -> Result<()> {
    opened(bench, home, subjects, section)?;
    for subject in subjects {
        section.record(&subject.name, "Selvedge reads on", reads_on(selvedge, subject));
    }
    goes_on(bench, home, selvedge, subjects, section)
}

/// Checks that one Codex process lists, resumes, shows and continues every thread of the home.
fn opened(bench: &InteropSetup, home: &Path, subjects: &[SelvedgeThread], section: &mut Section) -> Result<()> {
    let mut server = AppServer::start(&bench.codex, home)?;
    let rows = server.list()?;
    for subject in subjects {
        section.record(&subject.name, "listed", listed_by(bench, &rows, subject));
        section.record(&subject.name, "resumes", server.resume(&subject.id).map(|_| None));
        section.record(&subject.name, "same turns", shows(&mut server, subject));
        section.record(&subject.name, "model input", hears(bench, &mut server, subject));
    }
    server.stop()
}

fn listed_by(bench: &InteropSetup, rows: &[Value], subject: &SelvedgeThread) -> CheckOutcome {
    if subject.has_own_message {
        return listed(rows, &subject.id, subject.segments);
    }
    fork_listed(bench, rows, &subject.id, subject.segments)
}

/// Checks that a fork by reference is listed whose own files have no message of the user yet.
pub(super) fn fork_listed(bench: &InteropSetup, rows: &[Value], id: &str, segments: usize) -> CheckOutcome {
    let lists_every_fork = *bench.codex.release() >= LISTS_EVERY_FORK[..];
    if !lists_every_fork && rows.iter().all(|row| row["id"] != id) {
        return Ok(Some(FORK_NOT_LISTED));
    }
    listed(rows, id, segments)
}

fn shows(server: &mut AppServer, subject: &SelvedgeThread) -> CheckOutcome {
    let (shown, note) = open_turns(server, &subject.id, &subject.turns)?;
    same_turns(&subject.turns, &shown)?;
    Ok(note)
}

fn hears(bench: &InteropSetup, server: &mut AppServer, subject: &SelvedgeThread) -> CheckOutcome {
    only_history(&subject.context, &probe(bench, server, &subject.id, PROBE)?, PROBE)?;
    Ok(None)
}

/// Checks that Selvedge reads what Codex added, and that everything before it is unchanged.
fn reads_on(selvedge: &Selvedge, subject: &SelvedgeThread) -> CheckOutcome {
    let turns = selvedge.turns(&subject.id)?;
    let (last, before) = turns.split_last().context("no turns")?;
    same_turns(&subject.turns, before)?;
    ensure!(last.is_answered(PROBE), "the last turn is {last}");
    let context = selvedge.context(&subject.id)?;
    after_history(&subject.context, &context)?;
    Ok(None)
}

/// Checks that Selvedge can append to what Codex wrote, and that Codex can open the result.
fn goes_on(
    bench: &InteropSetup,
    home: &Path,
    selvedge: &Selvedge,
    subjects: &[SelvedgeThread],
    section: &mut Section,
) -> Result<()> {
    for subject in subjects {
        let added = selvedge.append(&subject.id, &turn(subject.mode, &subject.id, "added by Selvedge again"));
        section.record(&subject.name, "Selvedge appends", added.map(|()| None));
    }
    let mut server = AppServer::start(&bench.codex, home)?;
    for subject in subjects {
        section.record(&subject.name, "Codex resumes", opens_again(bench, &mut server, selvedge, subject));
    }
    server.stop()
}

fn opens_again(
    bench: &InteropSetup,
    server: &mut AppServer,
    selvedge: &Selvedge,
    subject: &SelvedgeThread,
) -> CheckOutcome {
    let turns = selvedge.turns(&subject.id)?;
    let context = selvedge.context(&subject.id)?;
    ensure!(turns.len() == subject.turns.len() + 2, "Selvedge shows {} turns", turns.len());
    server.resume(&subject.id)?;
    let (shown, note) = open_turns(server, &subject.id, &turns)?;
    same_turns(&turns, &shown)?;
    only_history(&context, &probe(bench, server, &subject.id, SECOND_PROBE)?, SECOND_PROBE)?;
    // The first check has reported the note already.
    let _ = note;
    Ok(None)
}

/// Checks that a list shows the thread once, or as often as the known fault of Codex explains.
pub(super) fn listed(rows: &[Value], id: &str, segments: usize) -> CheckOutcome {
    match rows.iter().filter(|row| row["id"] == id).count() {
        1 => Ok(None),
        times if times > 1 && times <= segments => Ok(Some(LISTED_TWICE)),
        times => bail!("listed {times} times"),
    }
}

/// Returns the turns that Codex shows. If turns of base segments are missing, makes Codex read these segments first.
pub(super) fn open_turns(
    server: &mut AppServer,
    id: &str,
    expected: &[TurnShape],
) -> Result<(Vec<TurnShape>, Option<&'static str>)> {
    let shown = turns_of(server, id)?;
    match expected.last() {
        Some(last) if shown.len() < expected.len() && is_part(&shown, expected) => {
            server.project(id, &last.id)?;
            Ok((turns_of(server, id)?, Some(INHERITED_MISSING)))
        }
        _ => Ok((shown, None)),
    }
}

/// Returns whether `all` contains these turns in this order, possibly with other turns between them.
fn is_part(turns: &[TurnShape], all: &[TurnShape]) -> bool {
    let mut rest = all.iter();
    turns.iter().all(|turn| rest.any(|other| other == turn))
}

/// Sends a prompt and returns the model input.
pub(super) fn probe(bench: &InteropSetup, server: &mut AppServer, id: &str, text: &str) -> Result<Vec<Value>> {
    let before = bench.model.count();
    server.run_turn(id, text)?;
    let input = bench.model.input_after(before)?;
    let prompt = json!([{"type": "input_text", "text": text}]);
    ensure!(
        plain_items(&input).last().is_some_and(|item| item["content"] == prompt),
        "the model input does not end with the prompt"
    );
    Ok(input)
}
