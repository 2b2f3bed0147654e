//! When to update a thread's metadata in the store.
//!
//! Every append may change metadata that derives from the log. Storing each change would double the cost of an append,
//! since the time of the last update changes with every item. So there are two kinds of changes:
//!
//! - *New facts* (a first message, another model, a name): stored with the append that brings them.
//! - *Progress* (times, token counts): collected, and stored at most once per [`METADATA_SYNC_INTERVAL`].
//!
//! ```text
//!            progress is added                   the interval has passed, or new facts are added
//!   Idle ─────────────────────────> Later(rest) ─────────────────────────────────────────────────> Now
//!    ^                                   ^                                                          │
//!    │                                   └────────── the store failed: try again later ─────────────┤
//!    └───────────────────────────────────────────────── the store has the changes ──────────────────┘
//! ```

use std::time::Duration;

use selvedge_protocol::{StoredThread, ThreadMetadataPatch};
use tokio::time::Instant;

use crate::timing::METADATA_SYNC_INTERVAL;

/// The changes of derived metadata that the store does not have yet.
#[derive(Debug, Default)]
pub(crate) struct MetadataSync {
    pending: ThreadMetadataPatch,
    /// When the last update of the store was started, successful or not. A store that fails is therefore called once
    /// per interval, and not with every append.
    last_flush: Option<Instant>,
    /// Whether a task waits to flush the pending changes. There is one per thread at most.
    pub(crate) has_timer: bool,
}

/// When to flush the pending changes to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncSchedule {
    /// No change is pending.
    Idle,
    /// Now.
    Now,
    /// When this much time has passed, or at the next flush of the thread, whichever comes first.
    Later(Duration),
}

impl MetadataSync {
    /// Starts with changes that are pending already.
    pub(crate) fn with_pending(pending: ThreadMetadataPatch) -> Self {
        Self { pending, ..Self::default() }
    }

    /// Adds changes, and returns whether they contain new facts.
    pub(crate) fn add(&mut self, patch: ThreadMetadataPatch) -> bool {
        let has_new_facts = has_new_facts(&patch);
        self.pending.merge(patch);
        has_new_facts
    }

    /// Returns when to flush. `has_new_facts` reports whether changes were just added that should not wait.
    pub(crate) fn schedule(&self, has_new_facts: bool, now: Instant) -> SyncSchedule {
        if self.pending.is_empty() {
            return SyncSchedule::Idle;
        }
        let waited = self.last_flush.map(|last_flush| now.saturating_duration_since(last_flush));
        match waited {
            _ if has_new_facts => SyncSchedule::Now,
            Some(waited) if waited < METADATA_SYNC_INTERVAL => SyncSchedule::Later(METADATA_SYNC_INTERVAL - waited),
            _ => SyncSchedule::Now,
        }
    }

    /// Returns the pending changes, to be stored now. `None` if there are none.
    ///
    /// They stay pending until [`finish_flush`](Self::finish_flush): the update may fail, or its future may be dropped.
    pub(crate) fn start_flush(&mut self, now: Instant) -> Option<ThreadMetadataPatch> {
        if self.pending.is_empty() {
            return None;
        }
        self.last_flush = Some(now);
        Some(self.pending.clone())
    }

    /// Notes that the store has all pending changes.
    pub(crate) fn finish_flush(&mut self) {
        self.pending = ThreadMetadataPatch::default();
    }

    /// Applies the pending changes to a record that was read from the store and lacks them.
    pub(crate) fn apply_pending(&self, record: &mut StoredThread) {
        self.pending.apply(record);
    }
}

/// Returns whether a patch contains more than progress.
fn has_new_facts(patch: &ThreadMetadataPatch) -> bool {
    // The fields bound to `_` do not count. Times and token counts are progress, and `extra` has fields that this
    // version does not know.
    //
    // Every field is named here, so that a field that is added to the patch does not compile before it is classified.
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
