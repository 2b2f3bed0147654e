//! The options that every verb has. Where an option is not given, an environment variable takes its place.

use std::path::PathBuf;

use clap::{Args, ColorChoice, ValueEnum};
use selvedge_protocol::Durability;

use crate::failure::{Failure, FailureKind, Result};
use crate::home;
use crate::wiring::IndexLocation;

/// Options of every verb.
#[derive(Debug, Args)]
pub(crate) struct GlobalOptions {
    /// Store that holds the threads: a home directory, or a database as postgres://… [default: SELVEDGE_STORE, else a
    /// home, see below]
    #[arg(long, global = true, value_name = "DIR|URL", help_heading = "Global options")]
    pub(crate) store: Option<PathBuf>,
    /// Home that holds the threads; the same as --store, for directories only
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) home: Option<PathBuf>,
    /// Print JSON, for scripts
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// How durable a write is before the program reports it as done [default: SELVEDGE_DURABILITY, else written]
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Global options")]
    pub(crate) durability: Option<DurabilityArg>,
    /// Index file of a home, or `off` to answer every query from the logs [default: SELVEDGE_INDEX, else selvedge-index.sqlite
    /// in the home]
    #[arg(long, global = true, value_name = "FILE|off", help_heading = "Global options")]
    pub(crate) index: Option<PathBuf>,
    /// When to use colour; `auto` uses it on terminals, and respects NO_COLOR and CLICOLOR_FORCE
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Global options")]
    pub(crate) color: ColorChoice,
}

/// A durability level on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DurabilityArg {
    /// Survives the end of any process
    Written,
    /// Survives a power loss
    Synced,
}

impl From<DurabilityArg> for Durability {
    fn from(level: DurabilityArg) -> Self {
        match level {
            DurabilityArg::Written => Self::Written,
            DurabilityArg::Synced => Self::Synced,
        }
    }
}

impl GlobalOptions {
    /// Returns the level of `--durability`, else of `SELVEDGE_DURABILITY`. `None` if neither is given: then the store decides.
    /// An empty variable counts as unset.
    pub(crate) fn durability(&self) -> Result<Option<Durability>> {
        if let Some(level) = self.durability {
            return Ok(Some(level.into()));
        }
        let Some(text) = home::variable("SELVEDGE_DURABILITY") else { return Ok(None) };
        text.to_string_lossy().parse().map(Some).map_err(|error| {
            Failure::new(FailureKind::Usage, format!("SELVEDGE_DURABILITY: {error}")).hint("correct it, or unset it")
        })
    }

    /// Returns the location that `--index` names, else `SELVEDGE_INDEX`, else the one in the home. An empty variable
    /// counts as unset.
    pub(crate) fn index_location(&self) -> IndexLocation {
        match self.index.clone().or_else(|| home::variable("SELVEDGE_INDEX").map(PathBuf::from)) {
            None => IndexLocation::InHome,
            Some(path) if path.as_os_str() == "off" => IndexLocation::Disabled,
            // The path goes to the process that fills the index in the background, too. That one may run elsewhere.
            Some(path) => IndexLocation::At(std::path::absolute(&path).unwrap_or(path)),
        }
    }
}
