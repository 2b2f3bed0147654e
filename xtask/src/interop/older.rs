//! Older releases of Codex go on with threads of Selvedge that hold records which they do not know.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::Bench;
use super::by_selvedge::probe;
use super::compare::after_history;
use super::material::{Mode, lines_of, story, turn};
use super::report::{Section, Verdict};
use super::selvedge::Selvedge;
use crate::codex::PROBE;
use crate::codex::app_server::AppServer;
use crate::codex::exec::{ExecTurn, Place};

/// From here on paginated threads are known, if only to be refused.
const REFUSES_PAGINATED: [u32; 2] = [0, 144];

/// From here on paginated threads open.
const PAGINATED: [u32; 2] = [0, 150];

/// From here on the app server resumes threads as the newest does, and rollbacks and what compactions leave are known.
const SERVED: [u32; 2] = [0, 98];

/// From here on everything is checked, and not only what is here.
const NEWEST: [u32; 2] = [0, 160];

/// Whether a release is checked by this part alone.
pub(super) fn is_older(release: &[u32]) -> bool {
    *release < NEWEST[..]
}

pub(super) fn check(bench: &Bench, program: &Path) -> Result<Section> {
    let home = bench.home("older")?;
    let selvedge = Selvedge::new(program, &home);
    let mut reader = Reader::start(bench, &home)?;
    let mut section = Section::default();
    let release = bench.codex.release();
    for mode in [Mode::Legacy, Mode::Paginated] {
        if mode == Mode::Paginated && *release < REFUSES_PAGINATED[..] {
            continue;
        }
        let threads = write(&selvedge, mode, &bench.folder, *release >= SERVED[..])?;
        let (_, plain) = threads.first().context("no threads")?;
        let told = lines_of(&home, plain)?.iter().any(|line| line["type"] == "world_state");
        ensure!(told, "the surroundings are not recorded");
        for (name, id) in threads {
            if mode == Mode::Paginated && *release < PAGINATED[..] {
                section.record(&name, "refused", refuses(bench, &mut reader, &id));
            } else {
                section.record(&name, "model input", hears(bench, &selvedge, &mut reader, &id));
                section.record(&name, "Selvedge reads on", reads_on(&selvedge, &id));
            }
        }
    }
    reader.stop()?;
    Ok(section)
}

/// Threads of one mode, by name.
fn write(selvedge: &Selvedge, mode: Mode, cwd: &Path, undo: bool) -> Result<Vec<(String, String)>> {
    let plain = selvedge.create(mode, cwd)?;
    for text in ["one", "two", "three"] {
        selvedge.append(&plain, &told_turn(mode, &plain, text))?;
    }
    let first = selvedge.turns(&plain)?.first().context("no turns")?.id.clone();
    let forked = selvedge.fork(&plain, Some(&first))?;
    selvedge.append(&forked, &told_turn(mode, &forked, "added to the fork"))?;
    let mut threads = vec![("", plain.clone()), (", forked at a turn", forked)];
    if undo {
        let rewound = selvedge.fork(&plain, None)?;
        selvedge.rewind(&rewound, 1)?;
        selvedge.append(&rewound, &told_turn(mode, &rewound, "added after the rewind"))?;
        let recorded = selvedge.create(mode, cwd)?;
        selvedge.append(&recorded, &story(mode, &recorded, cwd)?)?;
        threads.extend([(", rewound", rewound), (", the recorded story", recorded)]);
    }
    Ok(threads.into_iter().map(|(what, id)| (format!("{}{what}", mode.name()), id)).collect())
}

/// A turn with a record of the surroundings behind what was said.
fn told_turn(mode: Mode, thread: &str, text: &str) -> Vec<Value> {
    let mut items = turn(mode, thread, text);
    let state = json!({"environments": {"cwd": "/somewhere", "seen": text}});
    items.insert(2, json!({"type": "world_state", "payload": {"full": true, "state": state}}));
    items
}

fn hears(bench: &Bench, selvedge: &Selvedge, reader: &mut Reader, id: &str) -> Verdict {
    let context = selvedge.context(id)?;
    ensure!(!context.is_empty(), "no context");
    after_history(&context, &reader.probe(bench, id)?)?;
    Ok(None)
}

fn reads_on(selvedge: &Selvedge, id: &str) -> Verdict {
    let turns = selvedge.turns(id)?;
    let last = turns.last().context("no turns")?;
    ensure!(last.is_answered(PROBE), "the last turn is {last}");
    Ok(None)
}

fn refuses(bench: &Bench, reader: &mut Reader, id: &str) -> Verdict {
    if reader.probe(bench, id).is_ok() {
        bail!("a paginated thread is resumed");
    }
    Ok(None)
}

/// What resumes threads: the app server, or in the oldest releases `codex exec resume`.
enum Reader {
    Server(AppServer),
    Exec(PathBuf),
}

impl Reader {
    fn start(bench: &Bench, home: &Path) -> Result<Self> {
        if *bench.codex.release() < SERVED[..] {
            return Ok(Self::Exec(home.to_path_buf()));
        }
        Ok(Self::Server(AppServer::start(&bench.codex, home)?))
    }

    /// Resumes a thread with one more prompt, and gives what the model was told.
    fn probe(&mut self, bench: &Bench, id: &str) -> Result<Vec<Value>> {
        match self {
            Self::Server(server) => {
                server.resume(id)?;
                probe(bench, server, id, PROBE)
            }
            Self::Exec(home) => {
                let place = Place { home, cwd: &bench.folder, image: None };
                ExecTurn::probe(&bench.codex, place, &bench.model, id)
            }
        }
    }

    fn stop(self) -> Result<()> {
        match self {
            Self::Server(server) => server.stop(),
            Self::Exec(_) => Ok(()),
        }
    }
}
