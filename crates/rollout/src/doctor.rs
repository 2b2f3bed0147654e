//! Diagnosis and repair of a home.
//!
//! [`diagnose`] reads the home and changes nothing. [`repair`] repairs what can be repaired, under the writer lock of each thread.
//! The original of every file that it replaces is kept beside it as `<name>.damaged-<time>`. A repaired file holds every intact
//! line of the original, byte for byte; this is verified before it replaces the original.

mod base_check;
mod diagnose;
mod diverged_check;
mod duplicates;
mod effects;
mod file_check;
mod finding;
mod fork_diverged;
mod home_check;
mod interleaved_turns;
#[cfg(target_os = "linux")]
mod network;
mod references;
mod repair;
mod repair_step;
mod repaired_file;
mod stray;
mod verify;

pub use diagnose::{CheckedTotals, Diagnosis, DiagnosisProgress, diagnose};
pub use finding::{Finding, FindingKind, Severity};
pub use references::SegmentReferences;
pub use repair::repair;
pub use repair_step::{RepairAction, RepairStep};
pub use repaired_file::{RepairedFile, write_repaired};
pub use stray::StrayLines;
