//! Durability levels: the promise of an acknowledgement.

use std::fmt;
use std::str::FromStr;

/// The durability level of a change: which failures it survives once its call has returned without an error.
///
/// A higher level promises everything that a lower one does. See `docs/durability.md` for what each kind of change
/// promises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// The kernel has the change: every other process can read it, and it survives the end of this process. A power
    /// loss or a crash of the system can lose the newest changes.
    #[default]
    Written,
    /// Durable storage has the change (fsync): it survives a power loss. This includes the names of files and
    /// directories under which it is found.
    Synced,
}

/// The text is not a durability level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a durability level: use `written` or `synced`")]
#[non_exhaustive]
pub struct DurabilityError {
    /// The text that was parsed.
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
