//! What an acknowledgement is worth.

use std::fmt;
use std::str::FromStr;

/// How safe a thing is when the call that did it returns.
///
/// A level is a promise about what was *acknowledged*, by a call that returned without an error. A higher level promises
/// all that a lower one does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// The kernel has it: every other process can read it, and it survives the death of this one. A power loss or a crash
    /// of the system may take the newest of it.
    #[default]
    Written,
    /// The medium has it: it survives a power loss, the names under which it is found included.
    Synced,
}

/// A text that names no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no durability: it is `written` or `synced`")]
pub struct DurabilityError {
    /// What was given.
    pub text: String,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Written => "written",
            Self::Synced => "synced",
        })
    }
}

impl FromStr for Durability {
    type Err = DurabilityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "written" => Ok(Self::Written),
            "synced" => Ok(Self::Synced),
            _ => Err(DurabilityError { text: text.to_owned() }),
        }
    }
}
