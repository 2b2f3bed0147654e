//! The recorded homes, opened by the real program: shows that driver, stand-in and comparison are right before anything is judged by them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Bench;
use super::by_selvedge::{listed, open_turns, probe};
use super::compare::{after_history, same_turns, turn_shapes};
use super::material::Story;
use super::report::{Section, Verdict};
use crate::codex::PROBE;
use crate::codex::app_server::{AppServer, refusal};

pub(super) fn check(bench: &Bench) -> Result<Section> {
    let mut section = Section::default();
    for story in [Story("story-0.144.6"), Story("story-0.169.0")] {
        check_story(bench, story, &mut section).context(story.0)?;
    }
    Ok(section)
}

fn check_story(bench: &Bench, story: Story, section: &mut Section) -> Result<()> {
    let home = bench.home(story.0)?;
    copy(&story.home(), &home)?;
    let expected = story.expected()?;
    let mut server = AppServer::start(&bench.codex, &home)?;
    let rows = server.list()?;
    let threads = expected["threads"].as_object().context("no threads")?;
    for (letter, id) in threads {
        let id = id.as_str().context("a thread without id")?;
        let subject = format!("{} {letter}", story.0);
        if is_archived(&expected, id) {
            section.record(&subject, "listed", not_listed(&rows, id));
            section.record(&subject, "resumes", refused_as_archived(&mut server, id));
            continue;
        }
        section.record(&subject, "listed", listed(&rows, id, segments(&expected, id)));
        section.record(&subject, "resumes", server.resume(id).map(|_| None));
        section.record(&subject, "same turns", turns(&mut server, id, &expected["read"][letter]));
        let recorded = &expected["model_input_after_resume"][letter];
        section.record(&subject, "model input", model_input(bench, &mut server, id, recorded));
    }
    server.stop()
}

fn turns(server: &mut AppServer, id: &str, read: &Value) -> Verdict {
    let expected = turn_shapes(read["turns"].as_array().context("no recorded turns")?)?;
    let (shown, note) = open_turns(server, id, &expected)?;
    same_turns(&expected, &shown)?;
    Ok(note)
}

/// What was recorded ends with what belonged to the new turn: the prompt, and settings told anew before it.
fn model_input(bench: &Bench, server: &mut AppServer, id: &str, recorded: &Value) -> Verdict {
    let mut recorded = recorded.as_array().context("no recorded model input")?.clone();
    ensure!(recorded.pop().is_some_and(|item| text(&item) == PROBE), "the recorded input does not end with the prompt");
    while recorded.last().is_some_and(|item| item["role"] != "assistant" && text(item).starts_with(['<', '#'])) {
        recorded.pop();
    }
    if recorded.first().is_some_and(|item| item["role"] == "developer") {
        recorded.remove(0);
    }
    let input = probe(bench, server, id, PROBE)?;
    after_history(&recorded, &input)?;
    Ok(None)
}

fn text(item: &Value) -> &str {
    item["content"][0]["text"].as_str().unwrap_or_default()
}

fn is_archived(expected: &Value, id: &str) -> bool {
    let archived = expected["list_archived"].as_array();
    archived.is_some_and(|rows| rows.iter().any(|row| row["id"] == id))
}

/// How often the recording program itself listed the thread: once for each segment.
fn segments(expected: &Value, id: &str) -> usize {
    expected["list"].as_array().map_or(1, |rows| rows.iter().filter(|row| row["id"] == id).count())
}

fn not_listed(rows: &[Value], id: &str) -> Verdict {
    ensure!(rows.iter().all(|row| row["id"] != id), "an archived thread is listed");
    Ok(None)
}

fn refused_as_archived(server: &mut AppServer, id: &str) -> Verdict {
    let error = server.resume(id).err().context("an archived thread resumes")?;
    let reason = refusal(&error).unwrap_or_default();
    ensure!(reason.contains("archived"), "refused for another reason: {error:#}");
    Ok(None)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            std::fs::copy(&path, &target).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}
