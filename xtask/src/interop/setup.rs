//! What every part of a run uses.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::codex::stand_in::StandIn;
use crate::codex::{self, Codex};

/// The programs, the model and the working directory of a run.
pub(super) struct InteropSetup {
    pub(super) codex: Codex,
    pub(super) model: StandIn,
    pub(super) folder: PathBuf,
}

impl InteropSetup {
    /// Creates a home with a configuration of Codex.
    pub(super) fn home(&self, name: &str) -> Result<PathBuf> {
        let home = self.folder.join(name);
        std::fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
        codex::configure(&home, self.model.address(), "")?;
        Ok(home)
    }
}
