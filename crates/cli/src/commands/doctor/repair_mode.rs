//! What `selvedge doctor` does about the findings.

/// What to do about the findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RepairMode {
    /// Report the findings only.
    Off,
    /// Report what a repair would do.
    DryRun,
    /// Repair what can be repaired.
    Repair,
}
