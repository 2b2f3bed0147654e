//! A driver for `codex exec`, which every release has: one call of the program is one turn.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::stand_in::StandIn;
use super::{Codex, PROBE};

/// Timeout for a turn.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running turn.
pub(crate) struct ExecTurn {
    child: Child,
}

impl ExecTurn {
    /// Starts the turn of a prompt, in a new thread or in a resumed one.
    pub(crate) fn start(codex: &Codex, place: TurnSetting, thread: Option<&str>, prompt: &str) -> Result<Self> {
        let mut command = codex.command(place.home)?;
        command.current_dir(place.cwd).stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        command.args(["exec", "--skip-git-repo-check"]);
        if let Some(image) = place.image {
            command.arg("--image").arg(image).arg("--");
        }
        if let Some(thread) = thread {
            command.args(["resume", thread]);
        }
        command.arg(prompt);
        let child = command.spawn().context("cannot start codex exec")?;
        Ok(Self { child })
    }

    /// Resumes a thread with one more prompt and returns the model input.
    pub(crate) fn probe(codex: &Codex, place: TurnSetting, model: &StandIn, thread: &str) -> Result<Vec<Value>> {
        let before = model.count();
        Self::start(codex, place, Some(thread), PROBE)?.end()?;
        model.input_after(before)
    }

    /// Waits for the end of the turn, which must succeed.
    pub(crate) fn end(mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "codex exec ended with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        kill_group(&mut self.child)?;
        bail!("codex exec does not end")
    }

    /// Kills the program in the middle of the turn.
    pub(crate) fn kill(mut self) -> Result<()> {
        kill_group(&mut self.child)
    }
}

/// The directories of a turn, and an image for its prompt.
#[derive(Clone, Copy)]
pub(crate) struct TurnSetting<'a> {
    pub(crate) home: &'a Path,
    pub(crate) cwd: &'a Path,
    pub(crate) image: Option<&'a Path>,
}

/// Kills a program together with its process group: npm installs a launcher that starts the real program.
pub(crate) fn kill_group(leader: &mut Child) -> Result<()> {
    let group = format!("-{}", leader.id());
    let status = Command::new("kill").args(["-KILL", "--", &group]).status().context("cannot run kill")?;
    ensure!(status.success(), "the process group {group} cannot be killed");
    leader.wait().context("cannot wait for a killed program")?;
    Ok(())
}
