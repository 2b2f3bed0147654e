//! Resumes threads by the app server, or in the oldest releases by `codex exec resume`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::by_selvedge::{open_turns, probe};
use super::compare::{TurnShape, turn_shapes};
use super::setup::InteropSetup;
use crate::codex::app_server::AppServer;
use crate::codex::exec::{ExecTurn, TurnSetting};

/// The first release whose app server resumes threads like the newest one and knows rollbacks and compacted histories.
pub(super) const SERVED: [u32; 2] = [0, 98];

/// The first release that lists turns with the ids in the file.
pub(super) const TURNS_LISTED: [u32; 2] = [0, 137];

/// Turns, and a note if they were obtained in an unusual way.
type ListedTurns = (Vec<TurnShape>, Option<&'static str>);

/// A release of Codex with one home.
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

    /// Returns the app server, if the release has one.
    pub(super) fn server(&mut self) -> Option<&mut AppServer> {
        match self {
            Self::Server(server) => Some(server),
            Self::Exec(_) => None,
        }
    }

    /// Resumes a thread with one more prompt and returns the model input.
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

    /// Returns the turns that the release shows.
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
