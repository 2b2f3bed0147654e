//! Older releases of Codex continue threads of Selvedge that contain records which they do not know.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::by_selvedge::SECOND_PROBE;
use super::compare::{
    after_history, is_fragment, only_history, plain_items, same_turns, text_of, without_compactions, without_ids,
};
use super::material::{lines_of, turn};
use super::reader::{Reader, SERVED, TURNS_LISTED};
use super::report::{CheckOutcome, Section};
use super::selvedge::Selvedge;
use super::setup::InteropSetup;
use super::threads::{SelvedgeThread, ThreadMaker};
use crate::codex::PROBE;
use crate::codex::thread_mode::ThreadMode;

/// The first release that recognizes paginated threads. It refuses them.
const REFUSES_PAGINATED: [u32; 2] = [0, 144];

/// The first release that opens paginated threads.
const PAGINATED: [u32; 2] = [0, 150];

/// The first release that all parts check. Earlier releases are checked by this part only.
const NEWEST: [u32; 2] = [0, 160];

const NO_ROLLBACK: &str = "The release does not know rollbacks: it continues with the undone turns, too. Selvedge leaves them out, even \
        after the release has added a turn. To remove them for the release, fork the thread at the last turn to keep.";

const NO_REPLACEMENT: &str = "The release knows neither the result of a compaction nor rollbacks: it combines the user messages and the \
        summary in its own way. All user messages are there, and everything after the compaction.";

const KEEPS_SURROUNDINGS: &str = "The release undoes turns from the user message on, and keeps the context messages in front of it. Later releases \
        and Selvedge undo both.";

/// 0.141 writes the number of a context window where later releases write its id.
const NUMBERED_WINDOWS: [u32; 2] = [0, 141];

const SKIPS_WINDOW_IDS: &str = "The release expects a number in `compacted.window_id` and skips a compaction with an id there: it continues with \
        everything from before the compaction. Selvedge keeps what the compaction wrote.";

const NO_COMPACTIONS: &str = "The release records compactions but does not show them.";

/// Returns whether a release is checked by this part only.
pub(super) fn is_older(release: &[u32]) -> bool {
    *release < NEWEST[..]
}

pub(super) fn check(bench: &InteropSetup, program: &Path) -> Result<Section> {
    let home = bench.home("older")?;
    let selvedge = Selvedge::new(program, &home);
    let mut section = Section::default();
    let release = bench.codex.release();
    let mut subjects = Vec::new();
    for mode in [ThreadMode::Legacy, ThreadMode::Paginated] {
        if mode == ThreadMode::Legacy || *release >= REFUSES_PAGINATED[..] {
            subjects.extend(write(&selvedge, &home, mode, &bench.folder)?);
        }
    }
    let mut reader = Reader::start(bench, &home)?;
    let opens = |subject: &SelvedgeThread| subject.mode == ThreadMode::Legacy || *release >= PAGINATED[..];
    for subject in subjects.iter().filter(|subject| !opens(subject)) {
        section.record(&subject.name, "refused", refuses(bench, &mut reader, &subject.id));
    }
    subjects.retain(opens);
    for subject in &subjects {
        if *release >= SERVED[..] {
            section.record(&subject.name, "same turns", shows(bench, &mut reader, subject));
        }
        let heard = hears(bench, &home, &mut reader, &subject.id, &subject.context, PROBE);
        section.record(&subject.name, "model input", heard);
    }
    reader.stop()?;
    for subject in &subjects {
        section.record(&subject.name, "Selvedge reads on", reads_on(&selvedge, subject));
        let added = projected_turn(subject.mode, &subject.id, "added by Selvedge again");
        section.record(&subject.name, "Selvedge appends", selvedge.append(&subject.id, &added).map(|()| None));
    }
    let mut reader = Reader::start(bench, &home)?;
    for subject in &subjects {
        let goes_on = selvedge
            .context(&subject.id)
            .and_then(|context| hears(bench, &home, &mut reader, &subject.id, &context, SECOND_PROBE));
        section.record(&subject.name, "Codex resumes", goes_on);
    }
    reader.stop()?;
    Ok(section)
}

/// Makes the threads of one mode, all with `world_state` records.
fn write(selvedge: &Selvedge, home: &Path, mode: ThreadMode, cwd: &Path) -> Result<Vec<SelvedgeThread>> {
    let writer = ThreadMaker { selvedge, mode, cwd, turn: projected_turn };
    let mut subjects = writer.family(writer.made()?, writer.made()?)?;
    let plain = subjects.first().context("no threads")?;
    let told = lines_of(home, &plain.id)?.iter().filter(|line| line["type"] == "world_state").count();
    ensure!(told == plain.turns.len(), "the surroundings are recorded in {told} turns");
    let story = writer.recorded()?;
    let fork = selvedge.fork(&story, None)?;
    selvedge.rewind(&fork, 1)?;
    subjects.push(writer.subject(", the recorded story", story, 1)?);
    subjects.push(writer.subject(", the recorded story, forked and rewound", fork, 2)?);
    Ok(subjects)
}

/// Returns a turn with a `world_state` record after the messages.
fn projected_turn(mode: ThreadMode, thread: &str, text: &str) -> Vec<Value> {
    let mut items = turn(mode, thread, text);
    let state = json!({"environments": {"cwd": "/somewhere", "seen": text}});
    items.insert(2, json!({"type": "world_state", "payload": {"full": true, "state": state}}));
    items
}

fn shows(bench: &InteropSetup, reader: &mut Reader, subject: &SelvedgeThread) -> CheckOutcome {
    let (shown, note) = reader.turns(bench, &subject.id, &subject.turns)?;
    if *bench.codex.release() >= TURNS_LISTED[..] {
        same_turns(&subject.turns, &shown)?;
        return Ok(note);
    }
    let (ours, theirs) = (without_ids(&subject.turns), without_ids(&shown));
    if ours == theirs {
        return Ok(None);
    }
    same_turns(&without_compactions(&ours), &theirs)?;
    Ok(Some(NO_COMPACTIONS))
}

fn hears(
    bench: &InteropSetup,
    home: &Path,
    reader: &mut Reader,
    id: &str,
    context: &[Value],
    text: &str,
) -> CheckOutcome {
    let input = reader.probe(bench, id, text)?;
    let Err(error) = only_history(context, &input, text) else { return Ok(None) };
    let lines = lines_of(home, id)?;
    let rolled_back = lines.iter().any(|line| line["payload"]["type"] == "thread_rolled_back");
    let by_exec = *bench.codex.release() < SERVED[..];
    let said = |items: &[Value]| items.iter().filter(|item| !is_fragment(item)).cloned().collect::<Vec<_>>();
    let has_window_id = |line: &Value| line["type"] == "compacted" && line["payload"]["window_id"].is_string();
    if bench.codex.release().starts_with(&NUMBERED_WINDOWS) && lines.iter().any(has_window_id) {
        // What Selvedge has at the end is there, unless a rollback reached further back.
        let last = plain_items(&context[context.len().saturating_sub(1)..]);
        if rolled_back || last.iter().all(|item| plain_items(&input).contains(item)) {
            Ok(Some(SKIPS_WINDOW_IDS))
        } else {
            Err(error)
        }
    } else if by_exec {
        by_old_rules(&lines, rolled_back, context, &input, text)?.map(Some).ok_or(error)
    } else if rolled_back
        && *bench.codex.release() < TURNS_LISTED[..]
        && only_history(&said(context), &said(&input), text).is_ok()
    {
        Ok(Some(KEEPS_SURROUNDINGS))
    } else {
        Err(error)
    }
}

/// Returns the known fault of the oldest releases with rollbacks and compactions, if the model input shows it.
fn by_old_rules(
    lines: &[Value],
    rolled_back: bool,
    context: &[Value],
    input: &[Value],
    prompt: &str,
) -> Result<Option<&'static str>> {
    let compacted = lines.iter().rposition(|line| line["type"] == "compacted");
    let behind = &lines[compacted.map_or(0, |at| at + 1)..];
    let items = behind.iter().filter(|line| line["type"] == "response_item").map(|line| line["payload"].clone());
    let items: Vec<Value> = items.collect();
    // The file contains the prompt and its answer already.
    let asked = items.iter().rposition(|item| text_of(item) == prompt).context("the prompt is not in the file")?;
    let fits = |at: usize| only_history(&items[..asked], &input[at..], prompt).is_ok();
    let told = json!(input).to_string();
    let is_told = |item: &&Value| told.contains(json!(text_of(item)).to_string().trim_matches('"'));
    let said = context.iter().filter(|item| item["role"] == "user");
    Ok(match compacted {
        Some(_) => (said.clone().all(|item| is_told(&item)) && (0..input.len()).any(fits)).then_some(NO_REPLACEMENT),
        None => (rolled_back && fits(0)).then_some(NO_ROLLBACK),
    })
}

/// Checks that Selvedge reads what the release added, and that nothing else has changed.
fn reads_on(selvedge: &Selvedge, subject: &SelvedgeThread) -> CheckOutcome {
    let turns = selvedge.turns(&subject.id)?;
    let (last, before) = turns.split_last().context("no turns")?;
    same_turns(&subject.turns, before)?;
    ensure!(last.is_answered(PROBE), "the last turn is {last}");
    after_history(&subject.context, &selvedge.context(&subject.id)?)?;
    Ok(None)
}

fn refuses(bench: &InteropSetup, reader: &mut Reader, id: &str) -> CheckOutcome {
    if reader.probe(bench, id, PROBE).is_ok() {
        bail!("a paginated thread is resumed");
    }
    Ok(None)
}
