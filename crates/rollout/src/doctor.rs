//! What is wrong with a home, and how it is mended.
//!
//! [`diagnose`] reads and changes nothing. [`repair`] does what can be done about its findings, under the writer lock of each
//! thread: whatever is replaced is kept whole beside it as `<name>.damaged-<time>`, and a repaired file holds every intact
//! line of the one before it, byte for byte, which is checked before it takes its place.

mod bases;
mod effects;
mod file;
mod finding;
mod home;
mod mend;
mod repair;

pub use bases::SegmentReferences;
pub use finding::{Finding, FindingKind, Severity};
pub use home::{Checked, Diagnosis, DiagnosisProgress, diagnose};
pub use mend::{RepairedFile, mend};
pub use repair::{RepairAction, RepairStep, repair};
