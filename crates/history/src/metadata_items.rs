//! How an explicit change of metadata is kept in a log, so that one fold over it gives the row in every store.
//!
//! A name is kept beside the log, by the store. In legacy mode git facts are a further `session_meta` line with the thread's
//! own id, which other readers understand. Everything else, and what such a line cannot say (that a fact is no longer
//! there), is a `thread_metadata` line. In paginated mode git facts are one, too: there are readers that go through a
//! paginated file from its end and take any `session_meta` line for its beginning.

use selvedge_protocol::{
    GitInfoPatch, HistoryMode, RolloutItem, SessionMeta, StoredThread, ThreadMetadataPatch, ThreadMetadataRecord,
};

/// What a patch says of the name: nothing, that it is cleared, or what it is. White space around a name is no part of it,
/// and an empty name is none.
#[must_use]
pub fn name_change(patch: &ThreadMetadataPatch) -> Option<Option<String>> {
    let name = patch.name.as_ref()?.as_deref().map(str::trim);
    Some(name.filter(|name| !name.is_empty()).map(str::to_owned))
}

/// The items that keep a patch, the name aside, in the order in which they belong into the log; none when it says
/// nothing but a name. `head` is the thread's newest own `session_meta`, `row` what is known of it before the patch.
#[must_use]
pub fn metadata_items(patch: &ThreadMetadataPatch, head: &SessionMeta, row: &StoredThread) -> Vec<RolloutItem> {
    let mut after = row.clone();
    patch.apply(&mut after);
    let mut items = Vec::new();
    let says_git = patch.git.as_ref().is_some_and(|git| git.as_ref().is_some_and(|git| !git.is_empty()));
    let by_head = row.history_mode == HistoryMode::Legacy && says_git && after.git.is_some();
    if by_head {
        items.push(amended_session_meta(head, &after).into());
    }
    let git = patch.git.clone().filter(|git| !by_head || git.as_ref().is_none_or(takes_away));
    let rest = ThreadMetadataPatch { name: None, git, ..patch.clone() };
    if !rest.is_empty() {
        items.push(ThreadMetadataRecord::new(row.id, rest).into());
    }
    items
}

/// A further head that says what the row says, so that it changes nothing but what the row was changed in.
fn amended_session_meta(head: &SessionMeta, row: &StoredThread) -> SessionMeta {
    SessionMeta {
        session_id: Some(row.session_id),
        forked_from_id: row.forked_from_id,
        parent_thread_id: row.parent_thread_id,
        cwd: row.cwd.clone(),
        originator: row.originator.clone(),
        cli_version: row.cli_version.clone(),
        source: row.source.clone(),
        thread_source: row.thread_source.clone(),
        agent_nickname: row.agent_nickname.clone(),
        agent_role: row.agent_role.clone(),
        agent_path: row.agent_path.clone(),
        model_provider: row.model_provider.clone(),
        git: row.git.clone(),
        // The line begins no segment.
        history_base: None,
        ..head.clone()
    }
}

/// Whether a patch of git facts takes any away.
fn takes_away(git: &GitInfoPatch) -> bool {
    [&git.commit_hash, &git.branch, &git.repository_url].contains(&&Some(None))
}
