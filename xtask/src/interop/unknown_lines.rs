//! Lines of a type that Codex does not know, in the middle and at the end: Codex must skip them, and Selvedge must read what Codex writes after them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::by_selvedge::{open_turns, probe};
use super::compare::{only_history, same_turns};
use super::material::{first_segment, fresh_id, lines_of, parsed, turn};
use super::report::{CheckOutcome, Section};
use super::selvedge::Selvedge;
use super::setup::InteropSetup;
use crate::codex::PROBE;
use crate::codex::app_server::AppServer;
use crate::codex::thread_mode::ThreadMode;

/// A type that no version of Codex knows.
const UNKNOWN: &str = "thread_metadata";

const ORDINAL_AGAIN: &str =
    "Codex gives the ordinal of an unknown line at the end of the file to the line that it writes next.";

pub(super) fn check(bench: &InteropSetup, program: &Path) -> Result<Section> {
    let mut section = Section::default();
    let home = bench.home("unknown-lines")?;
    let selvedge = Selvedge::new(program, &home);
    let mut subjects = Vec::new();
    for mode in [ThreadMode::Legacy, ThreadMode::Paginated] {
        for (place, at) in [("in the middle", 1), ("at the end", 2)] {
            let id = copy_with_unknown(&selvedge, &home, mode, &bench.folder, at)?;
            subjects.push((format!("{}, {place}", mode.name()), id));
        }
    }
    let mut server = AppServer::start(&bench.codex, &home)?;
    for (name, id) in &subjects {
        section.record(name, "Codex opens it", opens(bench, &mut server, &selvedge, id));
    }
    server.stop()?;
    for (name, id) in &subjects {
        section.record(name, "Selvedge reads on", reads_on(&selvedge, &home, id));
    }
    let mut server = AppServer::start(&bench.codex, &home)?;
    for (name, id) in &subjects {
        let opened = selvedge.fork(id, None).and_then(|fork| opens(bench, &mut server, &selvedge, &fork));
        section.record(name, "Codex opens a fork", opened);
    }
    server.stop()?;
    Ok(section)
}

/// Makes a thread of two turns, and a copy of its file with another id and an unknown line after the first or the last turn.
fn copy_with_unknown(selvedge: &Selvedge, home: &Path, mode: ThreadMode, cwd: &Path, after: usize) -> Result<String> {
    let original = selvedge.create(mode, cwd)?;
    for text in ["one", "two"] {
        selvedge.append(&original, &turn(mode, &original, text))?;
    }
    let path = first_segment(&home.join("sessions"), &original)?.context("the thread has no file")?;
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let copy = fresh_id();
    let lines = with_unknown(&text.replace(&original, &copy), after)?;
    let name = path.to_string_lossy().replace(&original, &copy);
    std::fs::write(&name, lines).with_context(|| format!("cannot write {name}"))?;
    Ok(copy)
}

fn with_unknown(text: &str, after: usize) -> Result<String> {
    let mut lines = parsed(text)?;
    let ends = lines.iter().enumerate().filter(|(_, line)| line["payload"]["type"] == "task_complete");
    let at = ends.map(|(at, _)| at).nth(after - 1).context("too few turns")?;
    let mut unknown = json!({"timestamp": lines[at]["timestamp"], "type": UNKNOWN, "payload": {"name": "a name"}});
    if lines[at].get("ordinal").is_some() {
        unknown["ordinal"] = json!(0);
    }
    lines.insert(at + 1, unknown);
    for (ordinal, line) in lines.iter_mut().enumerate().filter(|(_, line)| line.get("ordinal").is_some()) {
        line["ordinal"] = json!(ordinal);
    }
    Ok(lines.iter().map(|line| format!("{line}\n")).collect())
}

fn opens(bench: &InteropSetup, server: &mut AppServer, selvedge: &Selvedge, id: &str) -> CheckOutcome {
    let turns = selvedge.turns(id)?;
    let context = selvedge.context(id)?;
    server.resume(id)?;
    let (shown, note) = open_turns(server, id, &turns)?;
    same_turns(&turns, &shown)?;
    only_history(&context, &probe(bench, server, id, PROBE)?, PROBE)?;
    Ok(note)
}

/// Checks that the turn that Codex added follows the unknown line, and that the unknown line still exists.
fn reads_on(selvedge: &Selvedge, home: &Path, id: &str) -> CheckOutcome {
    let turns = selvedge.turns(id)?;
    let last = turns.last().context("no turns")?;
    ensure!(turns.len() == 3 && last.is_answered(PROBE), "{} turns, the last is {last}", turns.len());
    let lines = lines_of(home, id)?;
    ensure!(lines.iter().any(|line| line["type"] == UNKNOWN), "the unknown line is gone");
    let ordinals: Vec<&Value> = lines.iter().filter_map(|line| line.get("ordinal")).collect();
    let again = ordinals.windows(2).any(|pair| pair[0] == pair[1]);
    Ok(again.then_some(ORDINAL_AGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_stay_consecutive_around_the_unknown_line() {
        let line = |ordinal: u64, kind: &str| json!({"timestamp": "t", "ordinal": ordinal, "type": "event_msg", "payload": {"type": kind}});
        let text: String =
            [line(0, "x"), line(1, "task_complete"), line(2, "y")].iter().map(|l| format!("{l}\n")).collect();
        let lines = parsed(&with_unknown(&text, 1).unwrap()).unwrap();
        assert_eq!(lines.iter().map(|line| line["ordinal"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(lines[2]["type"], UNKNOWN);
    }
}
