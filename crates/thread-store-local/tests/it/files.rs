//! Properties of the local store that come from its files.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use selvedge_protocol::{HistoryMode, ResponseItem, ThreadQuery, TurnBoundary, TurnQuery};
use selvedge_thread_store::{BatchId, ForkThread, RevertThread, StoreError, ThreadLookup, ThreadReader, ThreadStore};

use crate::home::TestHome;
use selvedge_thread_store_conformance::fixtures::{all_turns, head, id, model_prompts, record, second, turn};

const LEGACY: HistoryMode = HistoryMode::Legacy;
const PAGINATED: HistoryMode = HistoryMode::Paginated;

#[tokio::test]
async fn opening_and_reading_create_nothing() {
    let home = TestHome::empty();
    let missing = home.path().join("not/there");
    let store = selvedge_thread_store_local::LocalThreadStore::open(&missing);
    assert!(store.list_threads(&ThreadQuery::default()).await.unwrap().items.is_empty());
    assert!(matches!(store.read_thread(id(1)).await, Err(StoreError::NotFound { .. })));
    assert!(matches!(store.resume_thread(id(1)).await, Err(StoreError::NotFound { .. })));
    store.create_thread(head(1, PAGINATED)).await.unwrap();
    store.discard_thread(id(1)).await.unwrap();
    assert!(!missing.exists());
}

#[cfg(unix)]
#[tokio::test]
async fn every_file_and_directory_is_private() {
    use std::os::unix::fs::PermissionsExt as _;

    let outer = TestHome::empty();
    let home = outer.path().join("home");
    let store = selvedge_thread_store_local::LocalThreadStore::open(&home);
    for (n, mode) in [(1, LEGACY), (2, PAGINATED)] {
        record(&store, n, mode, &["a", "b"]).await;
        let meta = head(n + 10, mode);
        store.fork_thread(ForkThread { source: id(n), at: TurnBoundary::Latest, meta }).await.unwrap();
        let to = TurnBoundary::After("a".into());
        store.revert_thread(RevertThread { thread_id: id(n), to, batch: BatchId::generate() }).await.unwrap();
        store.archive_thread(id(n)).await.unwrap();
    }
    let name = selvedge_protocol::ThreadMetadataPatch { name: Some(Some("n".into())), ..Default::default() };
    store.update_thread_metadata(id(1), &name, selvedge_thread_store::MetadataOrigin::Explicit).await.unwrap();
    let mut stack = vec![home];
    while let Some(path) = stack.pop() {
        let metadata = fs::metadata(&path).unwrap();
        let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, wanted, "{}", path.display());
        if metadata.is_dir() {
            stack.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

#[tokio::test]
async fn no_lock_and_no_leftover_stays() {
    let home = TestHome::empty();
    record(&home.store, 1, PAGINATED, &["a", "b"]).await;
    home.store
        .fork_thread(ForkThread { source: id(1), at: TurnBoundary::Latest, meta: head(2, PAGINATED) })
        .await
        .unwrap();
    home.store.archive_thread(id(2)).await.unwrap();
    home.store.unarchive_thread(id(2)).await.unwrap();
    home.store.delete_thread(id(2)).await.unwrap();
    let files = home.files();
    assert_eq!(files.len(), 1, "{files:?}");
}

#[tokio::test]
async fn a_fork_by_reference_writes_one_line_and_so_does_a_revert() {
    let home = TestHome::empty();
    record(&home.store, 1, PAGINATED, &["a", "b", "c"]).await;
    for (n, at) in
        [(2, TurnBoundary::Latest), (3, TurnBoundary::After("a".into())), (4, TurnBoundary::Before("c".into()))]
    {
        let fork = home.store.fork_thread(ForkThread { source: id(1), at, meta: head(n, PAGINATED) }).await.unwrap();
        let fork = home.store.read_thread(fork).await.unwrap();
        let content = fs::read_to_string(fork.location.unwrap()).unwrap();
        assert_eq!(content.lines().count(), 1, "{content}");
    }
    let to = TurnBoundary::After("b".into());
    home.store.revert_thread(RevertThread { thread_id: id(1), to, batch: BatchId::generate() }).await.unwrap();
    let thread = home.store.read_thread(id(1)).await.unwrap();
    assert_eq!(fs::read_to_string(thread.location.unwrap()).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn bases_end_just_past_a_newline() {
    let home = TestHome::empty();
    record(&home.store, 1, PAGINATED, &["a", "b", "c"]).await;
    let parent = fs::read(home.store.read_thread(id(1)).await.unwrap().location.unwrap()).unwrap();
    for (n, at) in
        [(2, TurnBoundary::Latest), (3, TurnBoundary::After("a".into())), (4, TurnBoundary::Before("c".into()))]
    {
        home.store.fork_thread(ForkThread { source: id(1), at, meta: head(n, PAGINATED) }).await.unwrap();
        let path = home.store.read_thread(id(n)).await.unwrap().location.unwrap();
        let line: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let base = &line["payload"]["history_base"];
        let end = usize::try_from(base["end_byte_offset"].as_u64().unwrap()).unwrap();
        assert_eq!(parent[end - 1], b'\n');
        assert_eq!(line["ordinal"], base["end_ordinal_exclusive"]);
        let before = parent[..end].iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(base["end_ordinal_exclusive"].as_u64(), Some(before));
    }
}

#[tokio::test]
async fn a_legacy_fork_copies_damage() {
    let home = TestHome::empty();
    record(&home.store, 1, LEGACY, &["a"]).await;
    let path = home.store.read_thread(id(1)).await.unwrap().location.unwrap();
    let mut content = fs::read(&path).unwrap();
    content.extend_from_slice(b"\xff\xfe broken\n{\"timestamp\":\"2026");
    fs::write(&path, &content).unwrap();
    home.store
        .fork_thread(ForkThread { source: id(1), at: TurnBoundary::Latest, meta: head(2, LEGACY) })
        .await
        .unwrap();
    let fork = fs::read(home.store.read_thread(id(2)).await.unwrap().location.unwrap()).unwrap();
    let body = &fork[fork.iter().position(|byte| *byte == b'\n').unwrap() + 1..];
    assert_eq!(body, [&content[..], b"\n"].concat());
    assert_eq!(home.store.load_history(id(2)).await.unwrap().damage.len(), 2);
}

#[tokio::test]
async fn a_torn_last_line_gets_a_newline_before_the_next_append() {
    for mode in [LEGACY, PAGINATED] {
        let home = TestHome::empty();
        record(&home.store, 1, mode, &["a"]).await;
        let path = home.store.read_thread(id(1)).await.unwrap().location.unwrap();
        let whole = home.store.load_history(id(1)).await.unwrap().lines;
        let mut content = fs::read(&path).unwrap();
        content.extend_from_slice(br#"{"timestamp":"2026-11-21T09:09:03.120Z","ordi"#);
        fs::write(&path, &content).unwrap();
        home.store.resume_thread(id(1)).await.unwrap();
        home.store.append_items(id(1), BatchId::generate(), &turn(mode, "b")).await.unwrap();
        home.store.shutdown_thread(id(1)).await.unwrap();
        assert!(fs::read(&path).unwrap().starts_with(&content), "the old bytes stay");
        let history = home.store.load_history(id(1)).await.unwrap();
        assert_eq!(history.lines[..whole.len()], whole[..]);
        assert_eq!(history.lines.len(), whole.len() + turn(mode, "b").len());
        assert_eq!(history.damage.len(), 1);
        if mode == PAGINATED {
            selvedge_thread_store_conformance::fixtures::assert_consecutive_ordinals(&history);
        }
        assert_eq!(model_prompts(&home.store, id(1)).await, ["a", "b"]);
    }
}

#[tokio::test]
async fn damaged_files_can_be_resumed() {
    let body = r#"{"timestamp":"2026-11-21T09:09:03.120Z","type":"event_msg","payload":{"type":"user_message","message":"hello"}}"#;
    let cases: [(&str, Vec<u8>, usize, usize); 7] = [
        ("empty", vec![], 0, 0),
        ("no first line", format!("{body}\n").into(), 1, 1),
        ("broken first line", format!("{{\"timest\n{body}\n").into(), 1, 1),
        ("a byte order mark", [b"\xef\xbb\xbf", body.as_bytes(), b"\n"].concat(), 1, 1),
        ("CRLF", format!("{body}\r\n{body}\r\n").into(), 2, 2),
        ("NULs", [&[0; 100], body.as_bytes(), b"\n", &[0; 4096]].concat(), 1, 1),
        ("not UTF-8", [b"\xff\xff\n", body.as_bytes(), b"\n"].concat(), 1, 1),
    ];
    for (n, (what, content, lines, turns)) in (1..).zip(cases) {
        let home = TestHome::empty();
        home.put(id(n), content);
        let listed = home.store.list_threads(&ThreadQuery::default()).await.unwrap().items;
        assert_eq!(listed.len(), 1, "{what}");
        assert_eq!(listed[0].id, id(n), "{what}: the id is in the file name");
        assert_eq!(home.store.load_history(id(n)).await.unwrap().lines.len(), lines, "{what}");
        let found = home.store.list_turns(&TurnQuery::all(id(n))).await.unwrap().items;
        assert_eq!(found.len(), turns, "{what}");
        home.store.resume_thread(id(n)).await.unwrap();
        home.store.append_items(id(n), BatchId::generate(), &[ResponseItem::user_text("more").into()]).await.unwrap();
        home.store.shutdown_thread(id(n)).await.unwrap();
        // An empty file gets its missing head.
        let more = if what == "empty" { 2 } else { 1 };
        assert_eq!(home.store.load_history(id(n)).await.unwrap().lines.len(), lines + more, "{what}");
    }
}

#[tokio::test]
async fn one_unreadable_thread_hides_no_other() {
    let home = TestHome::empty();
    record(&home.store, 1, PAGINATED, &["a"]).await;
    home.store
        .fork_thread(ForkThread { source: id(1), at: TurnBoundary::Latest, meta: head(2, PAGINATED) })
        .await
        .unwrap();
    let dir = home.path().join("sessions/2026/11/21");
    fs::create_dir_all(dir.join(format!("rollout-2026-11-21T09-09-03-{}.jsonl", id(3)))).unwrap();
    fs::write(dir.join("rollout-nonsense.jsonl"), "x").unwrap();
    let listed = home.store.list_threads(&ThreadQuery::default()).await.unwrap().items;
    assert_eq!(listed.len(), 2);
}

#[tokio::test]
async fn a_missing_base_is_reported_and_the_rest_is_read() {
    let home = TestHome::empty();
    record(&home.store, 1, PAGINATED, &["a"]).await;
    home.store
        .fork_thread(ForkThread { source: id(1), at: TurnBoundary::Latest, meta: head(2, PAGINATED) })
        .await
        .unwrap();
    selvedge_thread_store_conformance::fixtures::continue_thread(&home.store, id(2), PAGINATED, &["b"]).await;
    fs::remove_file(home.store.read_thread(id(1)).await.unwrap().location.unwrap()).unwrap();
    let history = home.store.load_history(id(2)).await.unwrap();
    let mut exported = Vec::new();
    let error = home.store.export(id(2), &mut exported).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }) && error.to_string().contains("exported"), "{error}");
    assert_eq!(exported, fs::read(home.store.read_thread(id(2)).await.unwrap().location.unwrap()).unwrap());
    assert_eq!(history.damage.len(), 1);
    assert!(history.damage[0].location.contains(&id(1).to_string()), "{:?}", history.damage);
    assert_eq!(model_prompts(&home.store, id(2)).await, ["b"]);
    assert_eq!(all_turns(&home.store, id(2)).await.len(), 1);
    selvedge_thread_store_conformance::fixtures::continue_thread(&home.store, id(2), PAGINATED, &["c"]).await;
    assert_eq!(model_prompts(&home.store, id(2)).await, ["b", "c"]);
}

#[tokio::test]
async fn compressed_threads_are_read_in_place_and_decompressed_for_an_append() {
    let home = TestHome::empty();
    record(&home.store, 1, PAGINATED, &["a"]).await;
    home.store
        .fork_thread(ForkThread { source: id(1), at: TurnBoundary::Latest, meta: head(2, PAGINATED) })
        .await
        .unwrap();
    let before = home.store.load_history(id(2)).await.unwrap();
    let thread = home.store.read_thread(id(1)).await.unwrap();
    let path = PathBuf::from(thread.location.clone().unwrap());
    let compressed = path.with_extension("jsonl.zst");
    fs::write(&compressed, zstd::encode_all(&*fs::read(&path).unwrap(), 0).unwrap()).unwrap();
    fs::remove_file(&path).unwrap();

    assert_eq!(home.store.load_history(id(2)).await.unwrap(), before);
    let found = home.store.read_thread(id(1)).await.unwrap();
    assert_eq!(found.location.as_deref(), compressed.to_str());
    assert_eq!(found.updated_at, thread.updated_at);
    selvedge_thread_store_conformance::fixtures::continue_thread(&home.store, id(1), PAGINATED, &["b"]).await;
    assert!(path.exists() && !compressed.exists());
    assert_eq!(model_prompts(&home.store, id(1)).await, ["a", "b"]);
    assert_eq!(home.store.load_history(id(2)).await.unwrap(), before, "the fork does not inherit later appends");
}

#[tokio::test]
async fn the_newest_page_opens_only_files_of_threads_that_can_be_on_it() {
    let home = TestHome::empty().without_index();
    for n in 1..=40 {
        record(&home.store, n, PAGINATED, &["a"]).await;
        let path = home.store.read_thread(id(n)).await.unwrap().location.unwrap();
        // Each thread's log last grew at its own second, which is the modification time of its file.
        let content = fs::read_to_string(&path).unwrap();
        let lines = content.lines().map(|line| {
            let (_, rest) = line.split_at(r#"{"timestamp":"2026-11-21T09:08:56.680Z""#.len());
            format!("{{\"timestamp\":\"{}\"{rest}\n", second(10 * i64::from(n)))
        });
        fs::write(&path, lines.collect::<String>()).unwrap();
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(second(10 * i64::from(n)).as_millis().unsigned_abs());
        fs::File::options().append(true).open(&path).unwrap().set_modified(at).unwrap();
    }
    // Files far older than the page are not opened: that would hang.
    for n in 1..=30 {
        let path = home.store.read_thread(id(n)).await.unwrap().location.unwrap();
        let at = fs::metadata(&path).unwrap().modified().unwrap();
        let target = home.path().join(format!("{n}.gone"));
        fs::rename(&path, &target).unwrap();
        // Opening a fifo blocks for ever.
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        fs::File::options().read(true).write(true).open(&path).unwrap().set_modified(at).unwrap();
    }
    let query = ThreadQuery { limit: 5, ..ThreadQuery::default() };
    let page = home.store.list_threads(&query).await.unwrap();
    let ids: Vec<_> = page.items.iter().map(|thread| thread.id).collect();
    assert_eq!(ids, [id(40), id(39), id(38), id(37), id(36)]);
}

#[tokio::test]
async fn a_log_that_is_newer_than_its_file_is_listed_by_its_own_time() {
    let home = TestHome::empty().without_index();
    for n in 1..=5 {
        record(&home.store, n, PAGINATED, &["a"]).await;
        let path = home.store.read_thread(id(n)).await.unwrap().location.unwrap();
        // Older logs have newer files, as after a restore that does not keep times, under a wrong clock.
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - u64::from(n) * 100);
        fs::File::options().append(true).open(&path).unwrap().set_modified(at).unwrap();
    }
    let listed = home.store.list_threads(&ThreadQuery::default()).await.unwrap().items;
    let places: Vec<_> = listed.iter().map(|thread| (thread.updated_at, thread.id)).collect();
    assert_eq!(places.len(), 5);
    assert!(places.is_sorted_by(|one, next| one > next));
}

#[tokio::test]
async fn a_second_writer_is_refused_and_the_first_one_is_named() {
    let home = TestHome::empty();
    record(&home.store, 1, PAGINATED, &["a"]).await;
    home.store.resume_thread(id(1)).await.unwrap();
    let conflict = home.other().resume_thread(id(1)).await.unwrap_err();
    let StoreError::Conflict { holder, .. } = conflict else { panic!("{conflict}") };
    assert_eq!(holder.process_id, Some(std::process::id()));
    home.store.shutdown_thread(id(1)).await.unwrap();
    home.other().resume_thread(id(1)).await.unwrap();
}

#[tokio::test]
async fn names_and_prefixes_find_threads() {
    let home = TestHome::recorded("story-0.169.0");
    for (lookup, count) in [
        (ThreadLookup::IdPrefix("01a1fd5d-aacb".into()), 1),
        (ThreadLookup::IdPrefix("01A1FD5D".into()), 6),
        (ThreadLookup::Name("Thread on zebras".into()), 3),
        (ThreadLookup::Name("unknown".into()), 0),
    ] {
        assert_eq!(home.store.find_threads(&lookup).await.unwrap().len(), count);
    }
}
