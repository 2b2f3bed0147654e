//! The two ways in which Codex keeps a history.

/// How the history of a thread is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThreadMode {
    Legacy,
    Paginated,
}

impl ThreadMode {
    /// Returns the name that Codex and Selvedge use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Paginated => "paginated",
        }
    }
}
