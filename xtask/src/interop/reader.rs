//! What resumes threads: the app server, or in the oldest releases `codex exec resume`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::by_selvedge::{open_turns, probe};
use super::compare::{TurnShape, turn_shapes};
use super::setup::InteropSetup;
use crate::codex::app_server::AppServer;
use crate::codex::exec::{ExecTurn, TurnSetting};

/// From here on the app server resumes threads as the newest does, and rollbacks and what compactions leave are known.
pub(super) const SERVED: [u32; 2] = [0, 98];

/// From here on turns have the ids that are in the file, and a method lists them.
pub(super) const TURNS_LISTED: [u32; 2] = [0, 137];

/// Turns, and what is to be said of how they were got.
type ListedTurns = (Vec<TurnShape>, Option<&'static str>);

/// A release of Codex over one home.
pub(super) enum Reader {
    Server(AppServer),
    Exec(PathBuf),
}

impl Reader {
    pub(super) fn start(bench: &InteropSetup, home: &Path) -> Result<Self> {
        if *bench.codex.release() < SERVED[..] {
            return Ok(Self::Exec(home.to_path_buf()));
        }
        Ok(Self::Server(AppServer::start(&bench.codex, home)?))
    }

    /// The app server, where there is one.
    pub(super) fn server(&mut self) -> Option<&mut AppServer> {
        match self {
            Self::Server(server) => Some(server),
            Self::Exec(_) => None,
        }
    }

    /// Resumes a thread with one more prompt, and gives what the model was told.
    pub(super) fn probe(&mut self, bench: &InteropSetup, id: &str, text: &str) -> Result<Vec<Value>> {
        match self {
            Self::Server(server) => {
                server.resume(id)?;
                probe(bench, server, id, text)
            }
            Self::Exec(home) => {
                let place = TurnSetting { home, cwd: &bench.folder, image: None };
                let before = bench.model.count();
                ExecTurn::start(&bench.codex, place, Some(id), text)?.end()?;
                bench.model.input_after(before)
            }
        }
    }

    /// The turns as the release shows them.
    pub(super) fn turns(&mut self, bench: &InteropSetup, id: &str, expected: &[TurnShape]) -> Result<ListedTurns> {
        let server = self.server().context("no app server")?;
        if *bench.codex.release() >= TURNS_LISTED[..] {
            return open_turns(server, id, expected);
        }
        let read = server.call("thread/read", json!({"threadId": id, "includeTurns": true}))?;
        Ok((turn_shapes(read["thread"]["turns"].as_array().context("no turns")?)?, None))
    }

    pub(super) fn stop(self) -> Result<()> {
        match self {
            Self::Server(server) => server.stop(),
            Self::Exec(_) => Ok(()),
        }
    }
}
