//! Metadata: what the log says, what somebody set, and which of the two counts.

use std::sync::Arc;

use selvedge_protocol::{
    EventMsg, GitInfo, GitInfoPatch, HistoryMode, RolloutItem, SessionMeta, StoredThread, ThreadMetadataPatch,
    TokenCountEvent, TokenUsage, TokenUsageInfo, TurnContext,
};
use selvedge_thread_store::{BatchId, MetadataOrigin, ThreadStore};
use serde_json::json;

use crate::fixtures::{MODES, append_and_tell, go_on, head, id, is_conflict, is_missing, record, second};

async fn set(store: &dyn ThreadStore, n: u32, patch: ThreadMetadataPatch) -> StoredThread {
    let row = store.update_thread_metadata(id(n), &patch, MetadataOrigin::Explicit).await.unwrap();
    assert_eq!(row, store.read_thread(id(n)).await.unwrap(), "what is given is what is read");
    row
}

/// The rows without the time of the last update, which is the clock's.
fn timeless(row: StoredThread) -> StoredThread {
    StoredThread { updated_at: row.created_at, recency_at: row.created_at, location: None, ..row }
}

fn patch_of_json(value: serde_json::Value) -> ThreadMetadataPatch {
    serde_json::from_value(value).unwrap()
}

pub(super) async fn row_follows_what_is_told(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a", "b"]).await;
        store.resume_thread(id(n)).await.unwrap();
        let usage = TokenUsage { total_tokens: Some(17), ..Default::default() };
        let info = TokenUsageInfo { total_token_usage: Some(usage.clone()), ..Default::default() };
        let count: EventMsg = TokenCountEvent { info: Some(info), ..Default::default() }.into();
        let context = TurnContext { model: Some("m1".into()), effort: Some("high".into()), ..TurnContext::default() };
        append_and_tell(&*store, id(n), &[context.into(), count.into()]).await;
        store.shutdown_thread(id(n)).await.unwrap();
        let row = store.read_thread(id(n)).await.unwrap();
        assert_eq!((row.id, row.created_at, row.history_mode), (id(n), second(n.into()), mode));
        assert_eq!(row.preview.as_deref(), Some("ask a"));
        assert_eq!(row.first_user_message.as_deref(), Some("ask a"));
        assert_eq!((row.model.as_deref(), row.reasoning_effort.as_deref()), (Some("m1"), Some("high")));
        assert_eq!(row.token_usage, Some(usage));
        assert_eq!((row.cwd.as_deref(), row.model_provider.as_deref()), (Some("/srv/project"), Some("mock")));
        assert_eq!((row.source, row.name, row.archived), (Some(json!("cli")), None, false));
    }
}

/// What a patch says that repeats the log is read at once, and is no line of the log. The same patch again changes nothing more.
pub(super) async fn observed_patch(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        store.create_thread(head(n, mode)).await.unwrap();
        let context = TurnContext { model: Some("m1".into()), effort: Some("high".into()), ..TurnContext::default() };
        store.append_items(id(n), BatchId::generate(), &[context.into()]).await.unwrap();
        let history = store.load_history(id(n)).await.unwrap();
        let patch = patch_of_json(json!({"model": "m1", "reasoning_effort": "high"}));
        let mut rows = Vec::new();
        for _ in 0..2 {
            let row = store.update_thread_metadata(id(n), &patch, MetadataOrigin::Derived).await.unwrap();
            assert_eq!(row, store.read_thread(id(n)).await.unwrap(), "what is given is what is read");
            assert_eq!((row.model.as_deref(), row.reasoning_effort.as_deref()), (Some("m1"), Some("high")));
            rows.push(row);
        }
        assert_eq!(rows[0], rows[1]);
        store.shutdown_thread(id(n)).await.unwrap();
        assert_eq!(store.read_thread(id(n)).await.unwrap(), rows[0], "nothing of it goes with the writer");
        assert_eq!(store.load_history(id(n)).await.unwrap(), history, "the log says it once");
    }
}

pub(super) async fn explicit_patch(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        let before = store.read_thread(id(n)).await.unwrap();
        let patch = patch_of_json(json!({
            "name": "a name", "preview": "p", "first_user_message": "f", "cwd": "/elsewhere", "model": "m",
            "model_provider": "mp", "reasoning_effort": "low", "approval_mode": {"kind": "never"},
            "permission_profile": "strict", "source": {"custom": "x"}, "thread_source": "ts", "originator": "o",
            "cli_version": "9", "agent_nickname": "n", "agent_role": "r", "agent_path": "/p",
            "forked_from_id": id(500), "parent_thread_id": id(501), "token_usage": {"total_tokens": 3},
            "created_at": second(1000), "recency_at": second(1001), "updated_at": second(1002),
            "git": {"commit_hash": "c", "branch": "b", "repository_url": "u"},
        }));
        let row = set(&*store, n, patch.clone()).await;
        let mut wanted = before;
        patch.apply(&mut wanted);
        assert_eq!(row, wanted, "every field is literal");
        let history = store.load_history(id(n)).await.unwrap();
        if mode == HistoryMode::Paginated {
            crate::fixtures::assert_counted(&history);
        }
        assert_eq!(crate::fixtures::asked(&*store, id(n)).await, ["a"]);
        assert_eq!(crate::fixtures::heard(&*store, id(n)).await, ["a"]);
    }
}

pub(super) async fn patch_clears(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        set(&*store, n, patch_of_json(json!({"name": "x", "model": "m", "git": {"branch": "b"}}))).await;
        let row = set(&*store, n, patch_of_json(json!({"name": null, "cwd": null, "preview": null}))).await;
        assert_eq!((row.name, row.cwd, row.preview), (None, None, None));
        assert_eq!((row.model.as_deref(), row.git.is_some()), (Some("m"), true), "what is not named is left");
        let row = set(&*store, n, patch_of_json(json!({"model": null, "git": null}))).await;
        assert_eq!((row.model, row.git), (None, None));
    }
}

pub(super) async fn patch_of_git(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let git = GitInfo { commit_hash: Some("c1".into()), branch: Some("main".into()), ..Default::default() };
        store.create_thread(SessionMeta { git: Some(git), ..head(n, mode) }).await.unwrap();
        store.persist_thread(id(n)).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
        let facts = |row: StoredThread| {
            let git = row.git.unwrap_or_default();
            [git.commit_hash, git.branch, git.repository_url].map(Option::unwrap_or_default)
        };
        let before = timeless(store.read_thread(id(n)).await.unwrap());
        let row = set(&*store, n, patch_of_json(json!({"git": {"branch": "dev"}}))).await;
        assert_eq!(facts(row.clone()), ["c1", "dev", ""]);
        assert_eq!(timeless(StoredThread { git: before.git.clone(), ..row }), before, "nothing else has changed");
        let row = set(&*store, n, patch_of_json(json!({"git": {"branch": null, "repository_url": "u"}}))).await;
        assert_eq!(facts(row), ["c1", "", "u"]);
        let row = set(&*store, n, patch_of_json(json!({"git": {"commit_hash": null, "repository_url": null}}))).await;
        assert_eq!(row.git, None);
        let row = set(&*store, n, patch_of_json(json!({"git": {"commit_hash": "c2"}}))).await;
        assert_eq!(facts(row), ["c2", "", ""]);
        let row = set(&*store, n, patch_of_json(json!({"git": null}))).await;
        assert_eq!(row.git, None);
    }
}

/// A change of git facts says nothing of what else was set before it.
pub(super) async fn patch_survives_resume(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        store.resume_thread(id(n)).await.unwrap();
        set(&*store, n, patch_of_json(json!({"name": "live", "cwd": "/x", "source": "s", "agent_role": null}))).await;
        set(&*store, n, patch_of_json(json!({"git": {"branch": "b"}, "model_provider": "p"}))).await;
        store.shutdown_thread(id(n)).await.unwrap();
        let row = set(&*store, n, patch_of_json(json!({"git": {"commit_hash": "c"}}))).await;
        go_on(&*store, id(n), mode, &["b"]).await;
        let after = store.read_thread(id(n)).await.unwrap();
        assert_eq!(timeless(after.clone()), timeless(row));
        assert_eq!((after.name.as_deref(), after.cwd.as_deref()), (Some("live"), Some("/x")));
        assert_eq!((after.source, after.model_provider.as_deref()), (Some(json!("s")), Some("p")));
        let git = after.git.unwrap();
        assert_eq!((git.branch.as_deref(), git.commit_hash.as_deref()), (Some("b"), Some("c")));
    }
}

pub(super) async fn later_facts_win(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &[]).await;
        set(&*store, n, patch_of_json(json!({"model": "set", "reasoning_effort": "set"}))).await;
        store.resume_thread(id(n)).await.unwrap();
        let context: RolloutItem = TurnContext { model: Some("told".into()), ..TurnContext::default() }.into();
        append_and_tell(&*store, id(n), &[context]).await;
        let row = store.read_thread(id(n)).await.unwrap();
        assert_eq!(row.model.as_deref(), Some("told"), "the log says otherwise later");
        assert_eq!(row.reasoning_effort.as_deref(), Some("set"), "the log does not say");
        let row = set(&*store, n, patch_of_json(json!({"model": "set again"}))).await;
        assert_eq!(row.model.as_deref(), Some("set again"));
        store.shutdown_thread(id(n)).await.unwrap();
    }
}

pub(super) async fn empty_and_observed_patches(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        let (row, history) = (store.read_thread(id(n)).await.unwrap(), store.load_history(id(n)).await.unwrap());
        assert_eq!(set(&*store, n, ThreadMetadataPatch::default()).await, row);
        let said = ThreadMetadataPatch { preview: Some(row.preview.clone()), ..Default::default() };
        let after = store.update_thread_metadata(id(n), &said, MetadataOrigin::Derived).await.unwrap();
        assert_eq!(after.preview, row.preview);
        set(&*store, n, patch_of_json(json!({"name": "x", "git": {}}))).await;
        assert_eq!(store.load_history(id(n)).await.unwrap(), history, "nothing of this is for the log");
    }
}

pub(super) async fn derived_names(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        let patch = patch_of_json(json!({"name": "derived", "model": "m1"}));
        for name in [None, Some("explicit")] {
            set(&*store, n, patch_of_json(json!({"name": name}))).await;
            let record = store.update_thread_metadata(id(n), &patch, MetadataOrigin::Derived).await.unwrap();
            assert_eq!(record.name.as_deref(), name);
            assert_eq!(store.read_thread(id(n)).await.unwrap().name.as_deref(), name);
        }
    }
}

pub(super) async fn name(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        let history = store.load_history(id(n)).await.unwrap();
        for name in ["first", "zweite Größe \u{1f9f5} \"quoted\"\nin two lines"] {
            for given in [name.to_owned(), format!("\n {name}\t")] {
                let row = set(&*store, n, patch_of_json(json!({"name": given}))).await;
                assert_eq!(row.name.as_deref(), Some(name));
            }
        }
        for empty in ["", " \n"] {
            set(&*store, n, patch_of_json(json!({"name": "there"}))).await;
            let row = set(&*store, n, patch_of_json(json!({"name": empty}))).await;
            assert_eq!(row.name, None, "an empty name is none");
        }
        assert_eq!(store.load_history(id(n)).await.unwrap(), history, "a name is no part of the log");
    }
}

pub(super) async fn refusals(store: Arc<dyn ThreadStore>) {
    for origin in [MetadataOrigin::Explicit, MetadataOrigin::Derived] {
        for patch in [ThreadMetadataPatch::default(), patch_of_json(json!({"model": "m"}))] {
            assert!(is_missing(store.update_thread_metadata(id(1), &patch, origin).await, false));
        }
    }
}

pub(super) async fn conflicts(store: Arc<dyn ThreadStore>, other: Arc<dyn ThreadStore>) {
    record(&*store, 1, HistoryMode::Paginated, &["a"]).await;
    store.resume_thread(id(1)).await.unwrap();
    let git = Some(Some(GitInfoPatch { branch: Some(Some("b".into())), ..Default::default() }));
    let before = other.read_thread(id(1)).await.unwrap();
    for patch in [
        patch_of_json(json!({"name": "n", "model": "m"})),
        ThreadMetadataPatch { git, name: Some(Some("n".into())), ..Default::default() },
    ] {
        assert!(is_conflict(other.update_thread_metadata(id(1), &patch, MetadataOrigin::Explicit).await));
        assert_eq!(other.read_thread(id(1)).await.unwrap(), before, "all of it or nothing");
    }
    let patch = patch_of_json(json!({"name": "n"}));
    let row = other.update_thread_metadata(id(1), &patch, MetadataOrigin::Explicit).await.unwrap();
    assert_eq!(row.name.as_deref(), Some("n"), "a name needs no writer");
    assert_eq!(store.read_thread(id(1)).await.unwrap().name.as_deref(), Some("n"));
    let row = set(&*store, 1, patch_of_json(json!({"model": "m"}))).await;
    assert_eq!(row.model.as_deref(), Some("m"));
    store.shutdown_thread(id(1)).await.unwrap();
}

/// Readers that go through a paginated log from its end take any `session_meta` line for its beginning.
pub(super) async fn paginated_log_has_one_head(store: Arc<dyn ThreadStore>) {
    let thread_id = record(&*store, 1, HistoryMode::Paginated, &["a"]).await;
    let git = GitInfoPatch { branch: Some(Some("dev".into())), ..Default::default() };
    let patch = ThreadMetadataPatch { git: Some(Some(git)), ..Default::default() };
    let row = store.update_thread_metadata(thread_id, &patch, MetadataOrigin::Explicit).await.unwrap();
    assert_eq!(row.git.unwrap().branch.as_deref(), Some("dev"));
    let history = store.load_history(thread_id).await.unwrap();
    assert_eq!(history.lines.iter().filter(|line| line.kind() == "session_meta").count(), 1);
}
