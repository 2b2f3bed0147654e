//! When to tell a store what was observed.

use std::time::Duration;

use selvedge_protocol::{StoredThread, ThreadMetadataPatch};
use tokio::time::Instant;

/// How often a store is told at most that a thread goes on: that it was updated, that a turn began, how many tokens it used.
pub const METADATA_SYNC_INTERVAL: Duration = Duration::from_secs(5);

/// What was observed and not told yet.
#[derive(Debug, Default)]
pub(crate) struct MetadataSync {
    pending: ThreadMetadataPatch,
    last_told: Option<Instant>,
    /// Whether a task waits to tell what is pending.
    pub(crate) timer_runs: bool,
}

/// What to do about what is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing is pending.
    Nothing,
    /// Tell it now.
    Now,
    /// Tell it when this much time has passed, or at the next barrier.
    Later(Duration),
}

impl MetadataSync {
    /// With this to be told at the next occasion.
    pub(crate) fn of(pending: ThreadMetadataPatch) -> Self {
        Self { pending, ..Self::default() }
    }

    /// Adds what one append changed, and says whether that is more than a touch.
    pub(crate) fn add(&mut self, patch: ThreadMetadataPatch) -> bool {
        let is_news = is_news(&patch);
        self.pending.merge(patch);
        is_news
    }

    /// What to do now; `is_news` when something was added that should not wait.
    pub(crate) fn due(&self, is_news: bool, now: Instant) -> Due {
        if self.pending.is_empty() {
            return Due::Nothing;
        }
        let waited = self.last_told.map(|told| now.saturating_duration_since(told));
        match waited {
            _ if is_news => Due::Now,
            Some(waited) if waited < METADATA_SYNC_INTERVAL => Due::Later(METADATA_SYNC_INTERVAL - waited),
            _ => Due::Now,
        }
    }

    /// What is pending, to be told now. It stays pending until [`clear`](Self::clear), so that telling it can fail or be
    /// broken off.
    pub(crate) fn begin(&mut self, now: Instant) -> Option<ThreadMetadataPatch> {
        if self.pending.is_empty() {
            return None;
        }
        self.last_told = Some(now);
        Some(self.pending.clone())
    }

    /// What was pending was told.
    pub(crate) fn clear(&mut self) {
        self.pending = ThreadMetadataPatch::default();
    }

    /// Brings a row of the store, which lacks what is pending, up to date.
    pub(crate) fn apply(&self, row: &mut StoredThread) {
        self.pending.apply(row);
    }
}

/// Whether a patch says more than that the thread goes on.
fn is_news(patch: &ThreadMetadataPatch) -> bool {
    let ThreadMetadataPatch {
        created_at,
        updated_at: _,
        recency_at: _,
        session_id,
        history_mode,
        name,
        preview,
        first_user_message,
        forked_from_id,
        parent_thread_id,
        cwd,
        model,
        model_provider,
        reasoning_effort,
        approval_mode,
        permission_profile,
        source,
        thread_source,
        originator,
        cli_version,
        agent_nickname,
        agent_role,
        agent_path,
        token_usage: _,
        git,
        extra: _,
    } = patch;
    let texts = [
        name,
        preview,
        first_user_message,
        cwd,
        model,
        model_provider,
        reasoning_effort,
        originator,
        cli_version,
        agent_nickname,
        agent_role,
        agent_path,
    ];
    let values = [approval_mode, permission_profile, source, thread_source];
    created_at.is_some()
        || session_id.is_some()
        || history_mode.is_some()
        || forked_from_id.is_some()
        || parent_thread_id.is_some()
        || git.is_some()
        || texts.iter().any(|text| text.is_some())
        || values.iter().any(|value| value.is_some())
}
