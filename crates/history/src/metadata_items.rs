//! The items that record an explicit change of metadata in a log.
//!
//! Every store writes the same items, so one fold over the log returns the same thread record in all of them:
//!
//! - A name is not in the log. The store keeps it elsewhere.
//! - Git facts in legacy mode are a further `session_meta` line with the thread's own id, which other readers understand.
//! - Everything else is a `thread_metadata` line. So are git facts that are removed, which a `session_meta` line cannot express,
//!   and git facts in paginated mode: some readers search a paginated file from its end and take any `session_meta` line for
//!   its beginning.

use selvedge_protocol::{
    GitInfoPatch, HistoryMode, RolloutItem, SessionMeta, StoredThread, ThreadMetadataPatch, ThreadMetadataRecord,
};

/// Returns the change of the name in a patch: `None` if it is unchanged, `Some(None)` if it is cleared. White space around a name
/// is removed, and an empty name clears it.
#[must_use]
pub fn name_change(patch: &ThreadMetadataPatch) -> Option<Option<String>> {
    let name = patch.name.as_ref()?.as_deref().map(str::trim);
    Some(name.filter(|name| !name.is_empty()).map(str::to_owned))
}

/// Returns the items that record a patch, in the order in which they are appended. The name is not among them, so a patch of
/// the name alone needs no item. `head` is the thread's newest own `session_meta`, and `record` its thread record before the
/// patch.
#[must_use]
pub fn metadata_items(patch: &ThreadMetadataPatch, head: &SessionMeta, record: &StoredThread) -> Vec<RolloutItem> {
    let mut after = record.clone();
    patch.apply(&mut after);
    let mut items = Vec::new();
    let sets_git = patch.git.as_ref().is_some_and(|git| git.as_ref().is_some_and(|git| !git.is_empty()));
    let by_head = record.history_mode == HistoryMode::Legacy && sets_git && after.git.is_some();
    if by_head {
        items.push(amended_session_meta(head, &after).into());
    }
    // The head has all git facts after the patch. Only a removal needs a `thread_metadata` line in addition.
    let git = patch.git.clone().filter(|git| !by_head || git.as_ref().is_none_or(removes_facts));
    let rest = ThreadMetadataPatch { name: None, git, ..patch.clone() };
    if !rest.is_empty() {
        items.push(ThreadMetadataRecord::new(record.id, rest).into());
    }
    items
}

/// Returns a further head with the values of the thread record. It changes nothing except what the patch changed.
fn amended_session_meta(head: &SessionMeta, record: &StoredThread) -> SessionMeta {
    SessionMeta {
        session_id: Some(record.session_id),
        forked_from_id: record.forked_from_id,
        parent_thread_id: record.parent_thread_id,
        cwd: record.cwd.clone(),
        originator: record.originator.clone(),
        cli_version: record.cli_version.clone(),
        source: record.source.clone(),
        thread_source: record.thread_source.clone(),
        agent_nickname: record.agent_nickname.clone(),
        agent_role: record.agent_role.clone(),
        agent_path: record.agent_path.clone(),
        model_provider: record.model_provider.clone(),
        git: record.git.clone(),
        // A base would make this line the beginning of a segment.
        history_base: None,
        ..head.clone()
    }
}

/// Returns whether a patch removes git facts.
fn removes_facts(git: &GitInfoPatch) -> bool {
    git.commit_hash == Some(None) || git.branch == Some(None) || git.repository_url == Some(None)
}
