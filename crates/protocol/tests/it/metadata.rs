//! Patches of a thread's metadata.

use proptest::prelude::*;
use selvedge_protocol::{
    GitInfo, GitInfoPatch, HistoryMode, RolloutItem, StoredThread, ThreadId, ThreadMetadataPatch, ThreadMetadataRecord,
    Timestamp, TokenUsage,
};
use serde_json::{Value, json};

use crate::support::at;

fn patch(value: Value) -> ThreadMetadataPatch {
    serde_json::from_value(value).unwrap()
}

fn thread() -> StoredThread {
    let id: ThreadId = "01a1fd5d-aacb-7641-837d-630af077ebd5".parse().unwrap();
    StoredThread::new(id, at("2026-11-21T09:08:56.680Z"))
}

fn known_thread() -> StoredThread {
    StoredThread {
        name: Some("n".to_owned()),
        model: Some("m".to_owned()),
        source: Some(json!("cli")),
        git: Some(GitInfo { commit_hash: Some("c".to_owned()), branch: Some("b".to_owned()), ..GitInfo::default() }),
        ..thread()
    }
}

fn applied(to: &StoredThread, change: Value) -> StoredThread {
    let mut thread = to.clone();
    patch(change).apply(&mut thread);
    thread
}

#[test]
fn an_empty_patch_changes_nothing() {
    assert!(patch(json!({})).is_empty());
    assert!(patch(json!({"git": {}})).is_empty(), "a nested patch without changes changes nothing");
    assert!(ThreadMetadataPatch::default().is_empty() && GitInfoPatch::default().is_empty());
    assert_eq!(applied(&known_thread(), json!({})), known_thread());
    assert_eq!(applied(&known_thread(), json!({"git": {}})), known_thread());
    assert_eq!(serde_json::to_value(ThreadMetadataPatch::default()).unwrap(), json!({}));
}

#[test]
fn null_clears_and_a_value_sets() {
    let all: Vec<&str> = vec![
        "name",
        "preview",
        "first_user_message",
        "forked_from_id",
        "parent_thread_id",
        "cwd",
        "model",
        "model_provider",
        "reasoning_effort",
        "approval_mode",
        "permission_profile",
        "source",
        "thread_source",
        "originator",
        "cli_version",
        "agent_nickname",
        "agent_role",
        "agent_path",
        "token_usage",
        "git",
    ];
    for field in all {
        let value = match field {
            "forked_from_id" | "parent_thread_id" => json!("01a1fd5d-aacb-7641-837d-630af077ebd6"),
            "token_usage" => json!({"total_tokens": 7}),
            "git" => json!({"branch": "b"}),
            _ => json!("x"),
        };
        let change = json!({field: value});
        assert!(!patch(change.clone()).is_empty(), "{field}");
        assert_eq!(serde_json::to_value(patch(change.clone())).unwrap(), change, "{field} is written as it was read");
        let set = applied(&thread(), change);
        assert_eq!(serde_json::to_value(&set).unwrap()[field], value, "{field}");
        let mut rest = serde_json::to_value(&set).unwrap();
        rest[field] = Value::Null;
        assert_eq!(rest, serde_json::to_value(thread()).unwrap(), "only {field} changes");

        let clear = json!({field: null});
        assert!(!patch(clear.clone()).is_empty(), "{field}");
        assert_eq!(serde_json::to_value(patch(clear.clone())).unwrap(), clear, "{field} is cleared, not left");
        assert_eq!(applied(&set, clear), thread(), "{field}");
        assert_eq!(applied(&set, json!({})), set, "{field} is left");
    }
}

#[test]
fn a_field_that_every_thread_has_can_be_set_and_not_cleared() {
    let time = "2026-12-01T00:00:00.000Z";
    let id = "6c1959de-8bdf-489c-a664-66b58be0c216";
    for (field, value) in [
        ("created_at", time),
        ("updated_at", time),
        ("recency_at", time),
        ("session_id", id),
        ("history_mode", "paginated"),
    ] {
        let set = applied(&thread(), json!({field: value}));
        assert_eq!(serde_json::to_value(&set).unwrap()[field], value);
        assert!(!patch(json!({field: value})).is_empty());
        assert_eq!(applied(&set, json!({field: null})), set, "{field}");
    }
}

#[test]
fn a_field_of_a_later_version_is_kept_and_changes_nothing() {
    let later = json!({"colour": "red", "model": "m", "git": {"tag": "v1", "branch": "b"}});
    let patch: ThreadMetadataPatch = serde_json::from_value(later.clone()).unwrap();
    assert_eq!(serde_json::to_value(&patch).unwrap(), later);
    let known = known_thread();
    let now = json!({"model": "m", "git": {"branch": "b"}});
    assert_eq!(applied(&known, later), applied(&known, now));
}

#[test]
fn git_is_patched_field_by_field() {
    let known = known_thread();
    let git = |thread: StoredThread| thread.git.map(|git| (git.commit_hash, git.branch));
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(git(applied(&known, json!({"git": {"branch": "new"}}))), Some((some("c"), some("new"))));
    assert_eq!(git(applied(&known, json!({"git": {"branch": null}}))), Some((some("c"), None)));
    assert_eq!(
        git(applied(&known, json!({"git": {"branch": null, "commit_hash": null}}))),
        None,
        "no field of the repository is known"
    );
    assert_eq!(git(applied(&known, json!({"git": null}))), None);
    assert_eq!(git(applied(&thread(), json!({"git": {"branch": "b"}}))), Some((None, some("b"))));
    assert_eq!(git(applied(&thread(), json!({"git": {"branch": null}}))), None);

    let all = GitInfoPatch::set_all(known.git.as_ref().unwrap());
    assert_eq!(serde_json::to_value(&all).unwrap(), json!({"commit_hash": "c", "branch": "b"}));
    let mut with_more = GitInfo { repository_url: Some("u".into()), ..GitInfo::default() };
    with_more.extra.insert("dirty", crate::support::raw("true"));
    all.apply(&mut with_more);
    assert_eq!(with_more.repository_url, Some("u".into()), "an unknown field is left as it is");
    assert!(with_more.extra.get("dirty").is_some());
}

#[test]
fn the_later_of_two_merged_patches_wins() {
    let cases = [
        (json!({"name": "a"}), json!({"name": "b"}), json!({"name": "b"})),
        (json!({"name": "a"}), json!({}), json!({"name": "a"})),
        (json!({"name": "a"}), json!({"name": null}), json!({"name": null})),
        (json!({"name": null}), json!({"name": "b"}), json!({"name": "b"})),
        (json!({"name": "a"}), json!({"model": "m"}), json!({"name": "a", "model": "m"})),
        (
            json!({"git": {"branch": "a"}}),
            json!({"git": {"commit_hash": "c"}}),
            json!({"git": {"branch": "a", "commit_hash": "c"}}),
        ),
        (json!({"git": {"branch": "a"}}), json!({"git": {"branch": null}}), json!({"git": {"branch": null}})),
        (json!({"git": {"branch": "a"}}), json!({"git": null}), json!({"git": null})),
        (json!({"git": {"branch": "a"}}), json!({"git": {}}), json!({"git": {"branch": "a"}})),
        (
            json!({"git": null}),
            json!({"git": {"branch": "b"}}),
            json!({"git": {"commit_hash": null, "branch": "b", "repository_url": null}}),
        ),
        (json!({"git": null}), json!({}), json!({"git": null})),
    ];
    for (earlier, later, wanted) in cases {
        let mut merged = patch(earlier.clone());
        merged.merge(patch(later.clone()));
        assert_eq!(serde_json::to_value(&merged).unwrap(), wanted, "{earlier} and then {later}");
    }
}

#[test]
fn a_record_names_its_thread_and_keeps_unknown_fields() {
    let id = thread().id;
    let record = ThreadMetadataRecord::new(id, patch(json!({"name": null, "git": {"branch": "b"}})));
    let wanted = json!({"thread_id": id, "patch": {"name": null, "git": {"branch": "b"}}});
    assert_eq!(serde_json::to_value(RolloutItem::from(record.clone())).unwrap()["payload"], wanted);
    let read: RolloutItem = serde_json::from_value(json!({"type": "thread_metadata", "payload": wanted})).unwrap();
    assert_eq!(read, record.into());
    let newer =
        json!({"type": "thread_metadata", "payload": {"thread_id": id, "patch": {"from_the_future": 1}, "why": []}});
    let read: RolloutItem = serde_json::from_value(newer.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), newer);
}

fn text() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "b"]).prop_map(str::to_owned)
}

fn change<T: std::fmt::Debug + Clone>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Option<Option<T>>> {
    proptest::option::of(proptest::option::of(value))
}

fn any_git() -> impl Strategy<Value = Option<Option<GitInfoPatch>>> {
    let fields = (change(text()), change(text()), change(text().prop_map(Into::into)));
    change(fields.prop_map(|(commit_hash, branch, repository_url)| GitInfoPatch {
        commit_hash,
        branch,
        repository_url,
        ..GitInfoPatch::default()
    }))
}

fn any_patch() -> impl Strategy<Value = ThreadMetadataPatch> {
    let time = || proptest::option::of((0_i64..3).prop_map(Timestamp::from_seconds));
    let mode = prop::sample::select(vec![HistoryMode::Legacy, HistoryMode::Paginated]);
    let usage = (0_u64..3).prop_map(|total| TokenUsage { total_tokens: Some(total), ..TokenUsage::default() });
    let plain = (change(text()), change(text()), change(text()), change(text()), change(text().prop_map(Value::from)));
    (plain, (time(), time(), proptest::option::of(mode)), change(usage), any_git()).prop_map(
        |(plain, fixed, token_usage, git)| {
            let (name, preview, cwd, model, source) = plain;
            let (updated_at, recency_at, history_mode) = fixed;
            ThreadMetadataPatch {
                name,
                preview,
                cwd,
                model,
                source,
                updated_at,
                recency_at,
                history_mode,
                token_usage,
                git,
                ..ThreadMetadataPatch::default()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn merged_patches_have_the_effect_of_patches_applied_in_sequence(
        start in any_patch(), one in any_patch(), two in any_patch(), three in any_patch(),
    ) {
        let mut thread = thread();
        start.apply(&mut thread);
        let mut merged = one.clone();
        merged.merge(two.clone());
        merged.merge(three.clone());
        let mut with_merged = thread.clone();
        merged.apply(&mut with_merged);
        for patch in [&one, &two, &three] {
            patch.apply(&mut thread);
        }
        prop_assert_eq!(&with_merged, &thread);

        let mut later = two;
        later.merge(three);
        let mut grouped = one;
        grouped.merge(later);
        prop_assert_eq!(grouped, merged, "the grouping of merges does not matter");
    }

    #[test]
    fn patches_round_trip(patch in any_patch()) {
        let text = serde_json::to_string(&patch).unwrap();
        prop_assert_eq!(&serde_json::from_str::<ThreadMetadataPatch>(&text).unwrap(), &patch);
        if patch.is_empty() {
            let mut thread = known_thread();
            patch.apply(&mut thread);
            prop_assert_eq!(thread, known_thread());
        }
    }
}

#[test]
fn no_git_fact_contains_credentials() {
    let secret = "https://user:secret@host/a/b?token=secret";
    let git: GitInfo = serde_json::from_value(json!({"repository_url": secret})).unwrap();
    assert_eq!(serde_json::to_value(&git).unwrap(), json!({"repository_url": "https://host/a/b"}));
    let record = applied(&thread(), json!({"git": {"repository_url": secret}}));
    assert_eq!(git_url(&record), "https://host/a/b");
    // Neither does the line of an explicit change.
    let line = ThreadMetadataRecord::new(record.id, patch(json!({"git": {"repository_url": secret}})));
    assert!(!serde_json::to_string(&line).unwrap().contains("secret"));
}

fn git_url(record: &StoredThread) -> String {
    record.git.as_ref().unwrap().repository_url.as_ref().unwrap().to_string()
}
