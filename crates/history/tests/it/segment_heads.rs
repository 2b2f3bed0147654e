//! Heads of segments, and the items that record explicit changes of metadata.

use selvedge_history::{
    CarriedMetadata, HeadError, detached_head, fork_head, inherit_head, metadata_items, name_change, new_head,
    newest_head, revert_items, upgrade_bare_item,
};
use selvedge_protocol::{
    GitInfo, GitInfoPatch, HistoryBase, HistoryMode, RolloutItem, RolloutLine, SessionMeta, StoredThread, ThreadId,
    ThreadMetadataPatch, ThreadMetadataRecord,
};

use serde_json::json;

use crate::story::{assistant, fragment, time, user};

fn id(n: u8) -> ThreadId {
    format!("01a1fd5d-aacb-7641-837d-0000000000{n:02x}").parse().unwrap()
}

fn head(n: u8) -> SessionMeta {
    SessionMeta { cwd: Some("/source".to_owned()), ..SessionMeta::new(id(n), time(0)) }
}

fn named(name: &str) -> ThreadMetadataPatch {
    ThreadMetadataPatch { name: Some(Some(name.to_owned())), ..ThreadMetadataPatch::default() }
}

fn on_branch(branch: &str) -> ThreadMetadataPatch {
    let git = GitInfo { branch: Some(branch.to_owned()), ..GitInfo::default() };
    ThreadMetadataPatch { git: Some(Some(GitInfoPatch::set_all(&git))), ..ThreadMetadataPatch::default() }
}

fn kinds(items: &[RolloutItem]) -> Vec<&str> {
    items.iter().map(RolloutItem::kind).collect()
}

#[test]
fn a_new_thread_needs_an_id_and_a_time_and_has_no_base() {
    assert_eq!(new_head(SessionMeta { id: None, ..head(1) }), Err(HeadError::MissingId));
    assert_eq!(new_head(SessionMeta { timestamp: None, ..head(1) }), Err(HeadError::MissingTime));
    let with_base = SessionMeta { history_base: Some(HistoryBase::default()), ..head(1) };
    assert_eq!(new_head(with_base), Err(HeadError::HasBase));
    assert_eq!(new_head(head(1)).unwrap().mode(), HistoryMode::Paginated);
    let legacy = SessionMeta { history_mode: Some(HistoryMode::Legacy), ..head(1) };
    assert_eq!(new_head(legacy.clone()), Ok(legacy));
}

#[test]
fn a_fork_inherits_fields_from_the_head_of_its_source() {
    let source = SessionMeta { model_provider: Some("a provider".to_owned()), ..head(1) };
    let mut meta = SessionMeta { cwd: Some("/fork".to_owned()), ..SessionMeta::new(id(2), time(1)) };
    inherit_head(&mut meta, &source);
    assert_eq!((meta.cwd.as_deref(), meta.model_provider.as_deref()), (Some("/fork"), Some("a provider")));
    let base = HistoryBase { end_ordinal_exclusive: Some(7), ..HistoryBase::default() };
    let fork = fork_head(meta, id(1), HistoryMode::Paginated, Some(base.clone()));
    assert_eq!((fork.forked_from_id, fork.forked_from_ordinal_exclusive), (Some(id(1)), Some(7)));
    assert!(fork.window_id().is_some());
    let subagent = SessionMeta { subagent_history_start_ordinal: Some(3), ..source };
    let detached = detached_head(fork, Some(&subagent));
    assert_eq!((detached.history_base, detached.copied_base), (None, Some(base)));
    assert_eq!(
        detached.subagent_history_start_ordinal,
        Some(3),
        "it is the segment of a sub-agent, copied lines included"
    );
}

#[test]
fn a_fork_inherits_the_directory_in_its_shortest_form() {
    for (recorded, written) in [("/srv//a/./", "/srv/a"), (r"\\?\c:\p\", r"C:\p"), ("a/../b", "a/../b"), ("", "")] {
        let source = SessionMeta { cwd: Some(recorded.to_owned()), ..head(1) };
        let mut fork = SessionMeta::new(id(2), time(1));
        inherit_head(&mut fork, &source);
        assert_eq!(fork.cwd.as_deref(), Some(written));
    }
}

#[test]
fn a_fork_of_a_sub_agent_is_no_sub_agent() {
    let spawn = json!({"subagent": {"thread_spawn": {"parent_thread_id": id(9)}}});
    let source = SessionMeta {
        source: Some(spawn),
        thread_source: Some(json!("subagent")),
        agent_nickname: Some("Ash".to_owned()),
        subagent_history_start_ordinal: Some(3),
        multi_agent_version: Some("v2".to_owned()),
        ..head(1)
    };
    let mut fork = SessionMeta::new(id(2), time(1));
    inherit_head(&mut fork, &source);
    assert_eq!((fork.source, fork.thread_source, fork.agent_nickname), (None, None, None));
    assert_eq!(fork.subagent_history_start_ordinal, None, "it is in the segment of the source");
    assert_eq!(fork.multi_agent_version.as_deref(), Some("v2"));
}

#[test]
fn a_revert_keeps_explicit_metadata() {
    let record = |patch| ThreadMetadataRecord::new(id(1), patch).into();
    let items: [RolloutItem; 3] = [head(1).into(), record(on_branch("kept")), record(on_branch("undone"))];
    let lines: Vec<RolloutLine> =
        (0..).zip(&items).map(|(position, item)| RolloutLine::new(time(position), Some(position), item)).collect();
    assert_eq!(newest_head(id(1), &lines), Some(head(1)));
    assert_eq!(newest_head(id(2), &lines), None);
    let mut metadata = CarriedMetadata::new(id(1), time(0));
    for (position, line) in lines.iter().enumerate() {
        metadata.take(line, position >= 2);
    }
    assert!(metadata.has_head());
    let items = revert_items(metadata, time(9), Some(HistoryBase::default()));
    let [RolloutItem::SessionMeta(head), RolloutItem::ThreadMetadata(carried)] = &items[..] else {
        panic!("expected a head and metadata, got {items:?}")
    };
    assert_eq!((head.timestamp, head.mode()), (Some(time(9)), HistoryMode::Paginated));
    assert_eq!(carried.patch, Some(on_branch("undone")));
}

#[test]
fn metadata_is_recorded_in_the_log_except_the_name() {
    assert_eq!(name_change(&ThreadMetadataPatch::default()), None);
    assert_eq!(name_change(&named("  a name ")), Some(Some("a name".to_owned())));
    assert_eq!(name_change(&named(" ")), Some(None));
    let record = |mode| StoredThread { history_mode: mode, ..StoredThread::new(id(1), time(0)) };
    let kept = |patch: &ThreadMetadataPatch, mode| metadata_items(patch, &head(1), &record(mode));
    assert_eq!(kept(&named("a name"), HistoryMode::Legacy), []);
    assert_eq!(kinds(&kept(&on_branch("main"), HistoryMode::Legacy)), ["session_meta"]);
    assert_eq!(kinds(&kept(&on_branch("main"), HistoryMode::Paginated)), ["thread_metadata"]);
}

#[test]
fn a_bare_message_gets_an_event_that_shows_it() {
    assert_eq!(kinds(&upgrade_bare_item(user("hello"))), ["response_item", "event_msg"]);
    assert_eq!(kinds(&upgrade_bare_item(assistant("hello"))), ["response_item", "event_msg"]);
    assert_eq!(kinds(&upgrade_bare_item(fragment("a place"))), ["response_item"]);
}
