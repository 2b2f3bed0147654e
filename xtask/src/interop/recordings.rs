//! The real program opens the recorded homes. This tests the driver, the scripted model and the comparison before these test anything else.
//!
//! The newest release opens the recordings of every release, an older one only its own. The model input is compared with the
//! recorded one, and with the output of Selvedge for the same home.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::by_selvedge::listed;
use super::compare::{is_fragment, only_history, same_turns, text_of, turn_shapes, without_compactions, without_ids};
use super::material::RecordedStory;
use super::older::is_older;
use super::reader::{Reader, TURNS_LISTED};
use super::report::{CheckOutcome, Section};
use super::selvedge::Selvedge;
use super::setup::InteropSetup;
use crate::codex::PROBE;
use crate::codex::app_server::{AppServer, refusal};
use crate::workspace::copy_folder;

/// Threads for which the report of a program differs from that of the program that recorded them, or from that of Selvedge.
struct KnownDifference {
    threads: &'static [&'static str],
    checks: &'static [&'static str],
    /// Whether the newest release differs from Selvedge, too.
    newest: bool,
    why: &'static str,
}

const KNOWN: [KnownDifference; 4] = [
    KnownDifference {
        threads: &["story-0.36.0-exec M"],
        checks: &["model input", "as Selvedge says"],
        newest: true,
        why: "0.36 puts the user messages and the summary into one message with its own prose, for which the recording has a \
        placeholder. Later releases treat its older summaries as user messages, because no prose in front of them marks \
        them as summaries.",
    },
    KnownDifference {
        threads: &["story-0.58.0-exec M"],
        checks: &["as Selvedge says"],
        newest: true,
        why: "No prose in front of the summaries of 0.58 distinguishes them from user messages, so Codex keeps the older ones.",
    },
    KnownDifference {
        threads: &["story-0.98.0-compactions C", "story-0.98.0-compactions M"],
        checks: &["model input", "as Selvedge says"],
        newest: true,
        why: "0.98 records no replacement history, and Codex recognizes an older summary by the prose in front of it. The \
        recording has a placeholder for that prose, so Codex treats the older summaries as user messages.",
    },
    KnownDifference {
        threads: &[
            "story-0.137.0-undo G",
            "story-0.137.0-undo R",
            "story-0.137.0-undo Z",
            "story-0.144.6-undo G",
            "story-0.144.6-undo R",
            "story-0.144.6-undo Z",
            "story-0.150.1-undo-legacy G",
            "story-0.150.1-undo-legacy R",
            "story-0.150.1-undo-legacy Z",
        ],
        checks: &["model input", "as Selvedge says"],
        newest: false,
        why: "From 0.137 to 0.150, Codex removes everything before a compaction from the model input if a rollback in a legacy \
        thread reaches behind the compaction. In 0.169 such a rollback undoes the compaction, too, as in Selvedge.",
    },
];

const SHOWN_SINCE: &str = "0.98 records compactions but does not show them. Later releases show them.";

pub(super) fn check(bench: &InteropSetup, program: Option<&Path>) -> Result<Section> {
    let mut section = Section::default();
    for story in RecordedStory::all()? {
        if is_older(&bench.codex.release()) && story.release() != bench.codex.release() {
            continue;
        }
        check_story(bench, program, &story, &mut section).with_context(|| story.0.clone())?;
    }
    Ok(section)
}

fn check_story(
    bench: &InteropSetup,
    program: Option<&Path>,
    story: &RecordedStory,
    section: &mut Section,
) -> Result<()> {
    let home = bench.home(&story.0)?;
    copy_folder(&story.home(), &home)?;
    let expected = story.expected()?;
    let mut reader = Reader::start(bench, &home)?;
    let rows = reader.server().map(AppServer::list).transpose()?;
    let threads = expected["threads"].as_object().context("no threads")?;
    for (letter, id) in threads {
        let id = id.as_str().context("a thread without id")?;
        let subject = format!("{} {letter}", story.0);
        let was_listed = Listed::of(&expected, id);
        if let (Some(rows), Some(was_listed)) = (&rows, was_listed) {
            section.record(&subject, "listed", listed_as(rows, id, was_listed));
        }
        if let (Some(Listed::Archived), Some(server)) = (was_listed, reader.server()) {
            section.record(&subject, "resumes", refused_as_archived(server, id));
            continue;
        }
        let context = program.map(|program| Selvedge::new(program, &home).context(id));
        if let Some(server) = reader.server() {
            section.record(&subject, "resumes", server.resume(id).map(|_| None));
            if let Some(read) = expected["read"][letter]["turns"].as_array() {
                section.record(&subject, "same turns", turns(bench, &mut reader, story, id, read));
            }
        }
        let input = reader.probe(bench, id, PROBE);
        if let Some(reason) = was_refused(&expected, letter) {
            section.record(&subject, "model input", is_refused(&input, reason));
            continue;
        }
        if let Some(recorded) = expected["model_input_after_resume"][letter].as_array() {
            section.record(&subject, "model input", model_input(&subject, recorded, &input));
        }
        if let Some(context) = context {
            section.record(&subject, "as Selvedge says", as_selvedge_says(bench, &subject, &context, &input));
        }
    }
    reader.stop()
}

fn turns(bench: &InteropSetup, reader: &mut Reader, story: &RecordedStory, id: &str, read: &[Value]) -> CheckOutcome {
    let expected = turn_shapes(read)?;
    if story.release() >= TURNS_LISTED.to_vec() {
        let (shown, note) = reader.turns(bench, id, &expected)?;
        same_turns(&expected, &shown)?;
        return Ok(note);
    }
    let (shown, _) = reader.turns(bench, id, &[])?;
    let (expected, shown) = (without_ids(&expected), without_ids(&shown));
    if expected == shown {
        return Ok(None);
    }
    same_turns(&expected, &without_compactions(&shown))?;
    Ok(Some(SHOWN_SINCE))
}

/// Removes the end of the recorded model input that belongs to the new turn: the prompt, and settings before it.
fn model_input(subject: &str, recorded: &[Value], input: &Result<Vec<Value>>) -> CheckOutcome {
    let (prompt, mut recorded) = recorded.split_last().context("the recorded input is empty")?;
    ensure!(text_of(prompt) == PROBE, "the recorded input does not end with the prompt");
    while let Some((last, rest)) = recorded.split_last()
        && last["role"] != "assistant"
        && is_fragment(last)
    {
        recorded = rest;
    }
    let input = borrowed(input)?;
    known(subject, "model input", same_input(recorded, input), |_| true)
}

fn as_selvedge_says(
    bench: &InteropSetup,
    subject: &str,
    context: &Result<Vec<Value>>,
    input: &Result<Vec<Value>>,
) -> CheckOutcome {
    let counts = |known: &KnownDifference| known.newest || is_older(&bench.codex.release());
    known(subject, "as Selvedge says", same_input(borrowed(context)?, borrowed(input)?), counts)
}

/// Returns whether the model input is the history. Items before the first words of the user may differ: a release repeats the base
/// instructions there, and adds its surroundings unless a compaction recorded them.
fn same_input(history: &[Value], input: &[Value]) -> Result<()> {
    only_history(history, input, PROBE).or_else(|_| only_history(said(history), said(input), PROBE))
}

/// Returns the items from the first one that the program did not add itself.
fn said(items: &[Value]) -> &[Value] {
    let told = items.iter().take_while(|item| item["role"] == "developer" || is_fragment(item)).count();
    &items[told..]
}

/// Returns whether a difference has a known reason.
fn known(
    subject: &str,
    check: &'static str,
    same: Result<()>,
    counts: impl Fn(&KnownDifference) -> bool,
) -> CheckOutcome {
    let Err(error) = same else { return Ok(None) };
    let fits =
        |known: &&KnownDifference| known.threads.contains(&subject) && known.checks.contains(&check) && counts(known);
    let entry = KNOWN.iter().find(fits);
    if entry.is_some() {
        eprintln!("interop: known {subject}, {check}: {error:#}");
    }
    entry.map(|known| Some(known.why)).ok_or(error)
}

fn borrowed(items: &Result<Vec<Value>>) -> Result<&[Value]> {
    items.as_deref().map_err(|error| anyhow::anyhow!("{error:#}"))
}

/// How the recording program listed a thread.
#[derive(Clone, Copy)]
enum Listed {
    /// It listed the thread this number of times: once for each segment.
    Times(usize),
    Archived,
}

impl Listed {
    /// Returns how the recording program listed a thread; `None` if that program has no list.
    fn of(expected: &Value, id: &str) -> Option<Self> {
        let times = |key: &str| Some(expected[key].as_array()?.iter().filter(|row| row["id"] == id).count());
        match times("list_archived")? {
            0 => times("list").map(Self::Times),
            _ => Some(Self::Archived),
        }
    }
}

fn listed_as(rows: &[Value], id: &str, was_listed: Listed) -> CheckOutcome {
    match was_listed {
        Listed::Times(times) if times > 0 => listed(rows, id, times),
        _ => {
            ensure!(
                rows.iter().all(|row| row["id"] != id),
                "the thread is listed, but the recording program did not list it"
            );
            Ok(None)
        }
    }
}

/// Returns why the recording program refused to continue a thread, if it did.
fn was_refused<'a>(expected: &'a Value, letter: &str) -> Option<&'a str> {
    let mut steps = expected["log"].as_array()?.iter();
    let step = steps.find(|step| step[0] == "resume" && step[1] == letter && step[2] == "refused")?;
    step[3].as_str()
}

/// Returns whether the program refuses to continue a thread, as the recording program did.
fn is_refused(input: &Result<Vec<Value>>, reason: &str) -> CheckOutcome {
    let error = input.as_ref().err().context("the program that recorded the thread refused to continue it")?;
    ensure!(refusal(error).is_some(), "recorded: {reason}; but now: {error:#}");
    Ok(None)
}

fn refused_as_archived(server: &mut AppServer, id: &str) -> CheckOutcome {
    let error = server.resume(id).err().context("an archived thread resumes")?;
    let reason = refusal(&error).unwrap_or_default();
    // 0.98 only reports that it finds no rollout.
    ensure!(
        reason.contains("archived") || reason.contains("no rollout found"),
        "refused for another reason: {error:#}"
    );
    Ok(None)
}
