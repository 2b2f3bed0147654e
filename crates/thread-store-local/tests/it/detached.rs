//! The content of a detached thread's file.

use std::fs;
use std::path::PathBuf;

use selvedge_protocol::{ArchivedFilter, HistoryMode, ThreadId, ThreadQuery, TurnBoundary, TurnQuery};
use selvedge_thread_store::{BatchId, ForkThread, RevertThread, StoreError, ThreadHistory, ThreadReader, ThreadStore};

use crate::home::TestHome;
use selvedge_thread_store_conformance::fixtures::{continue_thread, head, id, model_prompts, record};

const MODE: HistoryMode = HistoryMode::Paginated;

/// Returns a home with a source of two turns, and a fork of it with one more.
async fn forked() -> TestHome {
    let home = TestHome::empty();
    record(&home.store, 1, MODE, &["a", "b"]).await;
    home.store.fork_thread(ForkThread { source: id(1), at: TurnBoundary::Latest, meta: head(2, MODE) }).await.unwrap();
    continue_thread(&home.store, id(2), MODE, &["c"]).await;
    home
}

async fn path(home: &TestHome, thread_id: ThreadId) -> PathBuf {
    home.store.read_thread(thread_id).await.unwrap().location.unwrap().into()
}

async fn bytes(home: &TestHome, thread_id: ThreadId) -> Vec<u8> {
    fs::read(path(home, thread_id).await).unwrap()
}

fn after_first_line(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1..]
}

/// Returns the bytes of a file as they are in a detached copy after other bytes: the head is a `copied_session_meta`.
fn copied(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.replacen("\"type\":\"session_meta\"", "\"type\":\"copied_session_meta\"", 1).into_bytes()
}

fn ordinals(history: &ThreadHistory) -> Vec<(String, Option<u64>)> {
    let lines = history.lines.iter().skip(1);
    lines.map(|line| (format!("{} {}", line.kind(), line.payload()), line.ordinal())).collect()
}

#[tokio::test]
async fn a_detached_file_is_a_head_and_the_bytes_of_its_parts() {
    let home = forked().await;
    let (source, fork) = (bytes(&home, id(1)).await, bytes(&home, id(2)).await);
    let old = path(&home, id(2)).await;
    home.store.detach_thread(id(2)).await.unwrap();
    let new = path(&home, id(2)).await;
    assert_eq!(new, old, "it replaces the segment that it contains");
    let detached = fs::read(&new).unwrap();
    assert_eq!(after_first_line(&detached), [after_first_line(&source), &copied(&fork)].concat());
    let head: serde_json::Value =
        serde_json::from_slice(detached.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
    assert_eq!((&head["ordinal"], &head["type"]), (&0.into(), &"session_meta".into()));
    let mut payload = serde_json::from_slice::<serde_json::Value>(fork.split(|byte| *byte == b'\n').next().unwrap())
        .unwrap()["payload"]
        .take();
    let base = payload.as_object_mut().unwrap().remove("history_base").unwrap();
    payload["copied_base"] = base;
    assert_eq!(head["payload"], payload, "the thread's own head, without its base");
    assert_eq!(home.files().len(), 2, "{:?}", home.files());
}

#[tokio::test]
async fn every_recorded_fork_is_independent_after_it_was_detached() {
    let home = TestHome::recorded("story-0.169.0");
    let query = ThreadQuery { archived: ArchivedFilter::All, limit: 100, ..ThreadQuery::default() };
    let mut detached = 0;
    for thread in home.store.list_threads(&query).await.unwrap().items {
        let was = home.store.load_history(thread.id).await.unwrap();
        let context = home.store.load_model_context(thread.id).await.unwrap();
        let turns = home.store.list_turns(&TurnQuery::all(thread.id)).await.unwrap();
        let mut after = home.store.detach_thread(thread.id).await.unwrap();
        after.location.clone_from(&thread.location);
        assert_eq!(after, thread);
        let is = home.store.load_history(thread.id).await.unwrap();
        assert_eq!((is.inherited, is.damage.len()), (0, 0));
        assert_eq!(ordinals(&is), ordinals(&was));
        assert_eq!(home.store.list_turns(&TurnQuery::all(thread.id)).await.unwrap(), turns);
        let now = home.store.load_model_context(thread.id).await.unwrap();
        assert_eq!((now.history, now.world_state), (context.history, context.world_state));
        detached += usize::from(was.inherited > 0);
    }
    assert_eq!(detached, 2);
    let sources = ["01a1fd5d-aacb-7641-837d-630af077ebd5", "01a1fd5d-add7-7c40-912f-9130719f1691"];
    for source in sources {
        home.store.delete_thread(source.parse().unwrap()).await.unwrap();
    }
    assert!(!model_prompts(&home.store, "01a1fd5d-ae48-7320-8f6d-105eeac19055".parse().unwrap()).await.is_empty());
}

#[tokio::test]
async fn detaching_copies_damage_byte_for_byte() {
    let home = forked().await;
    let source = path(&home, id(1)).await;
    let mut content = fs::read(&source).unwrap();
    let second = content.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    content[second + 4] = 0xff;
    fs::write(&source, &content).unwrap();
    let fork = path(&home, id(2)).await;
    let mut torn = fs::read(&fork).unwrap();
    torn.extend_from_slice(br#"{"timestamp":"2026-11-21T09:09:03.120Z","ordi"#);
    fs::write(&fork, &torn).unwrap();
    let head = torn.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let with_head = [&copied(&torn[..head]), &torn[head..]].concat();
    let was = home.store.load_history(id(2)).await.unwrap();
    assert_eq!(was.damage.len(), 2);
    home.store.detach_thread(id(2)).await.unwrap();
    let is = home.store.load_history(id(2)).await.unwrap();
    assert_eq!((ordinals(&is), is.damage.len()), (ordinals(&was), 2));
    let detached = bytes(&home, id(2)).await;
    assert_eq!(after_first_line(&detached), [after_first_line(&content), &with_head, b"\n"].concat());
    home.store.delete_thread(id(1)).await.unwrap();
    continue_thread(&home.store, id(2), MODE, &["d"]).await;
    assert_eq!(model_prompts(&home.store, id(2)).await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn the_new_head_takes_the_ordinal_of_a_lost_one() {
    let home = forked().await;
    let source = path(&home, id(1)).await;
    let mut content = fs::read(&source).unwrap();
    content[0] = b'x';
    fs::write(&source, &content).unwrap();
    let lines = home.store.load_history(id(2)).await.unwrap().lines.len();
    home.store.detach_thread(id(2)).await.unwrap();
    let history = home.store.load_history(id(2)).await.unwrap();
    assert_eq!((history.lines.len(), history.damage.len()), (lines + 1, 1));
    selvedge_thread_store_conformance::fixtures::assert_consecutive_ordinals(&history);
    assert_eq!(after_first_line(&bytes(&home, id(2)).await)[..content.len()], content);
}

#[tokio::test]
async fn compressed_parts_are_copied_plain() {
    let home = forked().await;
    let was = home.store.load_history(id(2)).await.unwrap();
    for thread in [id(1), id(2)] {
        let path = path(&home, thread).await;
        let frame = zstd::encode_all(&*fs::read(&path).unwrap(), 0).unwrap();
        fs::write(path.with_extension("jsonl.zst"), frame).unwrap();
        fs::remove_file(&path).unwrap();
    }
    home.store.detach_thread(id(2)).await.unwrap();
    home.store.delete_thread(id(1)).await.unwrap();
    assert_eq!(ordinals(&home.store.load_history(id(2)).await.unwrap()), ordinals(&was));
    assert!(path(&home, id(2)).await.extension().is_some_and(|extension| extension == "jsonl"));
}

#[tokio::test]
async fn a_thread_with_a_missing_base_cannot_be_detached() {
    let home = forked().await;
    let source = path(&home, id(1)).await;
    let aside = home.path().join("aside");
    fs::rename(&source, &aside).unwrap();
    let files = home.files();
    match home.store.detach_thread(id(2)).await {
        Err(StoreError::Corrupt { thread_id, location, .. }) => {
            assert_eq!(thread_id, id(2));
            assert!(location.contains(&id(1).to_string()), "{location}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(home.files(), files);
    fs::rename(&aside, &source).unwrap();
    home.store.detach_thread(id(2)).await.unwrap();
    assert_eq!(model_prompts(&home.store, id(2)).await, ["a", "b", "c"]);
}

/// The old file of a detached thread stays the base of the threads that build on it.
#[tokio::test]
async fn old_segments_stay_for_the_threads_that_build_on_them() {
    let home = forked().await;
    home.store.fork_thread(ForkThread { source: id(2), at: TurnBoundary::Latest, meta: head(3, MODE) }).await.unwrap();
    home.store.detach_thread(id(2)).await.unwrap();
    match home.store.delete_thread(id(1)).await {
        Err(StoreError::HasDependents { dependents, .. }) => assert_eq!(dependents, [id(3)]),
        other => panic!("{other:?}"),
    }
    home.store.detach_thread(id(3)).await.unwrap();
    home.store.delete_thread(id(1)).await.unwrap();
    home.store.delete_thread(id(2)).await.unwrap();
    assert_eq!(model_prompts(&home.store, id(3)).await, ["a", "b", "c"]);
}

/// A diverged segment is in no history, so detaching its thread does not copy what it builds on.
#[tokio::test]
async fn what_a_diverged_segment_builds_on_is_not_deleted() {
    let home = forked().await;
    let abandoned = path(&home, id(2)).await;
    let before = fs::read(&abandoned).unwrap();
    let request = RevertThread { thread_id: id(2), to: TurnBoundary::BeforeNewest(1), batch: BatchId::generate() };
    home.store.revert_thread(request).await.unwrap();
    home.store.shutdown_thread(id(2)).await.ok();
    // Another program goes on where it was.
    let text = String::from_utf8(before).unwrap();
    let (_, turn) = text.split_once('\n').unwrap();
    let later = turn.replace("2026-", "2099-");
    fs::write(&abandoned, text.clone() + &later).unwrap();
    let diverged = home.store.admin().diverged(id(2)).await.unwrap();
    assert_eq!(diverged.len(), 1);

    home.store.detach_thread(id(2)).await.unwrap();
    let refused = home.store.delete_thread(id(1)).await.unwrap_err();
    assert!(matches!(refused, StoreError::InvalidRequest { .. }), "{refused:?}");
    assert!(refused.to_string().contains("has diverged"), "{refused}");
    home.store.read_thread(id(1)).await.unwrap();
}
