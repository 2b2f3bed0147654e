//! Rules about metadata: facts that are derived from the log, values that a client sets explicitly, and which of the two wins.

use std::sync::Arc;

use selvedge_protocol::{
    EventMsg, GitInfo, GitInfoPatch, HistoryMode, RolloutItem, SessionMeta, StoredThread, ThreadMetadataPatch,
    TokenCountEvent, TokenUsage, TokenUsageInfo, TurnContext,
};
use selvedge_thread_store::{BatchId, MetadataOrigin, ThreadStore};
use serde_json::json;

use crate::fixtures::{
    MODES, append_with_metadata, continue_thread, head, id, is_conflict, is_missing, record, second,
};

/// Applies an explicit patch to the `n`-th thread and returns its record.
async fn set(store: &dyn ThreadStore, n: u32, patch: ThreadMetadataPatch) -> StoredThread {
    let record = store.update_thread_metadata(id(n), &patch, MetadataOrigin::Explicit).await.unwrap();
    assert_eq!(record, store.read_thread(id(n)).await.unwrap(), "the returned record is the stored one");
    record
}

/// Returns the record without the times that come from the clock of the store.
fn without_clock(record: StoredThread) -> StoredThread {
    StoredThread { updated_at: record.created_at, recency_at: record.created_at, location: None, ..record }
}

fn patch_of_json(value: serde_json::Value) -> ThreadMetadataPatch {
    serde_json::from_value(value).unwrap()
}

pub(super) async fn record_contains_derived_facts(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a", "b"]).await;
        store.resume_thread(id(n)).await.unwrap();
        let usage = TokenUsage { total_tokens: Some(17), ..Default::default() };
        let info = TokenUsageInfo { total_token_usage: Some(usage.clone()), ..Default::default() };
        let count: EventMsg = TokenCountEvent { info: Some(info), ..Default::default() }.into();
        let context = TurnContext { model: Some("m1".into()), effort: Some("high".into()), ..TurnContext::default() };
        append_with_metadata(&*store, id(n), &[context.into(), count.into()]).await;
        store.shutdown_thread(id(n)).await.unwrap();
        let record = store.read_thread(id(n)).await.unwrap();
        assert_eq!((record.id, record.created_at, record.history_mode), (id(n), second(n.into()), mode));
        assert_eq!(record.preview.as_deref(), Some("ask a"));
        assert_eq!(record.first_user_message.as_deref(), Some("ask a"));
        assert_eq!((record.model.as_deref(), record.reasoning_effort.as_deref()), (Some("m1"), Some("high")));
        assert_eq!(record.token_usage, Some(usage));
        assert_eq!((record.cwd.as_deref(), record.model_provider.as_deref()), (Some("/srv/project"), Some("mock")));
        assert_eq!((record.source, record.name, record.archived), (Some(json!("cli")), None, false));
    }
}

pub(super) async fn derived_patch(store: Arc<dyn ThreadStore>) {
    // The patch repeats facts of the log, as the writer of an append does. It is applied twice.
    for (n, mode) in (1..).zip(MODES) {
        store.create_thread(head(n, mode)).await.unwrap();
        let context = TurnContext { model: Some("m1".into()), effort: Some("high".into()), ..TurnContext::default() };
        store.append_items(id(n), BatchId::generate(), &[context.into()]).await.unwrap();
        let history = store.load_history(id(n)).await.unwrap();
        let patch = patch_of_json(json!({"model": "m1", "reasoning_effort": "high"}));
        let mut records = Vec::new();
        for _ in 0..2 {
            let record = store.update_thread_metadata(id(n), &patch, MetadataOrigin::Derived).await.unwrap();
            assert_eq!(record, store.read_thread(id(n)).await.unwrap(), "the returned record is the stored one");
            assert_eq!((record.model.as_deref(), record.reasoning_effort.as_deref()), (Some("m1"), Some("high")));
            records.push(record);
        }
        assert_eq!(records[0], records[1]);
        store.shutdown_thread(id(n)).await.unwrap();
        assert_eq!(store.read_thread(id(n)).await.unwrap(), records[0], "the record survives its writer");
        assert_eq!(store.load_history(id(n)).await.unwrap(), history, "the log is unchanged");
    }
}

pub(super) async fn explicit_patch(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        let before = store.read_thread(id(n)).await.unwrap();
        // Every field, each with a value that the log does not have.
        let patch = patch_of_json(json!({
            "name": "a name", "preview": "p", "first_user_message": "f", "cwd": "/elsewhere", "model": "m",
            "model_provider": "mp", "reasoning_effort": "low", "approval_mode": {"kind": "never"},
            "permission_profile": "strict", "source": {"custom": "x"}, "thread_source": "ts", "originator": "o",
            "cli_version": "9", "agent_nickname": "n", "agent_role": "r", "agent_path": "/p",
            "forked_from_id": id(500), "parent_thread_id": id(501), "token_usage": {"total_tokens": 3},
            "created_at": second(1000), "recency_at": second(1001), "updated_at": second(1002),
            "git": {"commit_hash": "c", "branch": "b", "repository_url": "u"},
        }));
        let record = set(&*store, n, patch.clone()).await;
        let mut wanted = before;
        patch.apply(&mut wanted);
        assert_eq!(record, wanted, "every field has exactly the given value");
        let history = store.load_history(id(n)).await.unwrap();
        if mode == HistoryMode::Paginated {
            crate::fixtures::assert_consecutive_ordinals(&history);
        }
        assert_eq!(crate::fixtures::shown_prompts(&*store, id(n)).await, ["a"]);
        assert_eq!(crate::fixtures::model_prompts(&*store, id(n)).await, ["a"]);
    }
}

pub(super) async fn null_clears_a_field(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        set(&*store, n, patch_of_json(json!({"name": "x", "model": "m", "git": {"branch": "b"}}))).await;
        let record = set(&*store, n, patch_of_json(json!({"name": null, "cwd": null, "preview": null}))).await;
        assert_eq!((record.name, record.cwd, record.preview), (None, None, None));
        assert_eq!(
            (record.model.as_deref(), record.git.is_some()),
            (Some("m"), true),
            "fields that the patch does not name are kept"
        );
        let record = set(&*store, n, patch_of_json(json!({"model": null, "git": null}))).await;
        assert_eq!((record.model, record.git), (None, None));
    }
}

pub(super) async fn patch_of_git(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        let git = GitInfo { commit_hash: Some("c1".into()), branch: Some("main".into()), ..Default::default() };
        store.create_thread(SessionMeta { git: Some(git), ..head(n, mode) }).await.unwrap();
        store.persist_thread(id(n)).await.unwrap();
        store.shutdown_thread(id(n)).await.unwrap();
        // Missing fields as empty texts, so that a case fits on one line.
        let facts = |record: StoredThread| {
            let git = record.git.unwrap_or_default();
            let url = git.repository_url.map(|url| url.to_string());
            [git.commit_hash, git.branch, url].map(Option::unwrap_or_default)
        };
        let before = without_clock(store.read_thread(id(n)).await.unwrap());
        let record = set(&*store, n, patch_of_json(json!({"git": {"branch": "dev"}}))).await;
        assert_eq!(facts(record.clone()), ["c1", "dev", ""]);
        assert_eq!(
            without_clock(StoredThread { git: before.git.clone(), ..record }),
            before,
            "no other field has changed"
        );
        let record = set(&*store, n, patch_of_json(json!({"git": {"branch": null, "repository_url": "u"}}))).await;
        assert_eq!(facts(record), ["c1", "", "u"]);
        let record =
            set(&*store, n, patch_of_json(json!({"git": {"commit_hash": null, "repository_url": null}}))).await;
        assert_eq!(record.git, None);
        let record = set(&*store, n, patch_of_json(json!({"git": {"commit_hash": "c2"}}))).await;
        assert_eq!(facts(record), ["c2", "", ""]);
        let record = set(&*store, n, patch_of_json(json!({"git": null}))).await;
        assert_eq!(record.git, None);
    }
}

pub(super) async fn patch_survives_resume(store: Arc<dyn ThreadStore>) {
    // The last patch names one git field. It must not reset the values of the patches before it.
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        store.resume_thread(id(n)).await.unwrap();
        set(&*store, n, patch_of_json(json!({"name": "live", "cwd": "/x", "source": "s", "agent_role": null}))).await;
        set(&*store, n, patch_of_json(json!({"git": {"branch": "b"}, "model_provider": "p"}))).await;
        store.shutdown_thread(id(n)).await.unwrap();
        let record = set(&*store, n, patch_of_json(json!({"git": {"commit_hash": "c"}}))).await;
        continue_thread(&*store, id(n), mode, &["b"]).await;
        let after = store.read_thread(id(n)).await.unwrap();
        assert_eq!(without_clock(after.clone()), without_clock(record));
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
        let context: RolloutItem = TurnContext { model: Some("logged".into()), ..TurnContext::default() }.into();
        append_with_metadata(&*store, id(n), &[context]).await;
        let record = store.read_thread(id(n)).await.unwrap();
        assert_eq!(record.model.as_deref(), Some("logged"), "a later line of the log wins");
        assert_eq!(record.reasoning_effort.as_deref(), Some("set"), "the log has no such fact");
        let record = set(&*store, n, patch_of_json(json!({"model": "set again"}))).await;
        assert_eq!(record.model.as_deref(), Some("set again"));
        store.shutdown_thread(id(n)).await.unwrap();
    }
}

pub(super) async fn patches_without_a_line(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        let (record, history) = (store.read_thread(id(n)).await.unwrap(), store.load_history(id(n)).await.unwrap());
        assert_eq!(set(&*store, n, ThreadMetadataPatch::default()).await, record);
        let derived = ThreadMetadataPatch { preview: Some(record.preview.clone()), ..Default::default() };
        let after = store.update_thread_metadata(id(n), &derived, MetadataOrigin::Derived).await.unwrap();
        assert_eq!(after.preview, record.preview);
        set(&*store, n, patch_of_json(json!({"name": "x", "git": {}}))).await;
        assert_eq!(store.load_history(id(n)).await.unwrap(), history, "no patch wrote a line");
    }
}

pub(super) async fn derived_patch_sets_no_name(store: Arc<dyn ThreadStore>) {
    for (n, mode) in (1..).zip(MODES) {
        record(&*store, n, mode, &["a"]).await;
        // The same patch has a model, so that it has an effect. Without a name, and over an explicit one.
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
                let record = set(&*store, n, patch_of_json(json!({"name": given}))).await;
                assert_eq!(record.name.as_deref(), Some(name));
            }
        }
        for empty in ["", " \n"] {
            set(&*store, n, patch_of_json(json!({"name": "there"}))).await;
            let record = set(&*store, n, patch_of_json(json!({"name": empty}))).await;
            assert_eq!(record.name, None, "an empty name clears the name");
        }
        assert_eq!(store.load_history(id(n)).await.unwrap(), history, "a name is not part of the log");
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
    // Both patches contain a name, which alone would be accepted. The other field is kept in the log, which only the writer may change.
    for patch in [
        patch_of_json(json!({"name": "n", "model": "m"})),
        ThreadMetadataPatch { git, name: Some(Some("n".into())), ..Default::default() },
    ] {
        assert!(is_conflict(other.update_thread_metadata(id(1), &patch, MetadataOrigin::Explicit).await));
        assert_eq!(other.read_thread(id(1)).await.unwrap(), before, "no part of the patch is applied");
    }
    let patch = patch_of_json(json!({"name": "n"}));
    let record = other.update_thread_metadata(id(1), &patch, MetadataOrigin::Explicit).await.unwrap();
    assert_eq!(record.name.as_deref(), Some("n"), "a name does not need the writer");
    assert_eq!(store.read_thread(id(1)).await.unwrap().name.as_deref(), Some("n"));
    let record = set(&*store, 1, patch_of_json(json!({"model": "m"}))).await;
    assert_eq!(record.model.as_deref(), Some("m"));
    store.shutdown_thread(id(1)).await.unwrap();
}

pub(super) async fn paginated_log_has_one_head(store: Arc<dyn ThreadStore>) {
    // A reader that goes through a paginated log from its end takes any `session_meta` line for the beginning.
    let thread_id = record(&*store, 1, HistoryMode::Paginated, &["a"]).await;
    let git = GitInfoPatch { branch: Some(Some("dev".into())), ..Default::default() };
    let patch = ThreadMetadataPatch { git: Some(Some(git)), ..Default::default() };
    let record = store.update_thread_metadata(thread_id, &patch, MetadataOrigin::Explicit).await.unwrap();
    assert_eq!(record.git.unwrap().branch.as_deref(), Some("dev"));
    let history = store.load_history(thread_id).await.unwrap();
    assert_eq!(history.lines.iter().filter(|line| line.kind() == "session_meta").count(), 1);
}
