//! Hostile homes: links, names, depth. Nothing outside of the home is touched, and neither memory nor stack runs out.

use std::fs;

use selvedge_history::{TurnProjection, replay};
use selvedge_protocol::{
    ArchivedFilter, HistoryMode, ResponseItem, RolloutItem, RolloutLine, ThreadMetadataPatch, ThreadQuery,
    TurnBoundary, TurnQuery,
};
use selvedge_rollout::{RolloutFileName, RolloutHome};
use selvedge_thread_store::{BatchId, ForkThread, MetadataOrigin, RevertThread, ThreadReader, ThreadStore};
use selvedge_thread_store_local::{IndexLocation, LocalThreadStore, Severity};

use crate::home::TestHome;
use selvedge_thread_store_conformance::fixtures::{head, id, record, second};

/// Returns a directory outside of the home with files in it, and a function that reads its content.
fn outside() -> (tempfile::TempDir, impl Fn() -> Vec<(std::path::PathBuf, Vec<u8>)>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    fs::write(path.join("precious"), "not yours\n").unwrap();
    let state = move || {
        let mut found = Vec::new();
        let mut stack = vec![path.clone()];
        while let Some(dir) = stack.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    stack.push(path.clone());
                    found.push((path, Vec::new()));
                } else {
                    found.push((path.clone(), fs::read(path).unwrap()));
                }
            }
        }
        found.sort();
        found
    };
    (dir, state)
}

#[cfg(unix)]
#[tokio::test]
async fn no_write_follows_a_link_out_of_the_home() {
    use std::os::unix::fs::symlink;

    for link in
        ["sessions/2026", "sessions/2026/11", "thread-writer-locks", "session_index.jsonl", "session_index.jsonl.lock"]
    {
        let (dir, state) = outside();
        let before = state();
        let home = TestHome::empty();
        record(&home.store, 1, HistoryMode::Paginated, &["a", "b"]).await;
        let path = home.path().join(link);
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let target = if link.contains("index") { dir.path().join("precious") } else { dir.path().to_owned() };
        symlink(target, &path).unwrap();

        // They may fail or succeed, as long as nothing outside changes.
        let store = LocalThreadStore::open(home.path());
        let created = store.create_thread(head(2, HistoryMode::Paginated)).await;
        if created.is_ok() {
            let item = RolloutItem::from(ResponseItem::user_text("secret"));
            let _ = store.append_items(id(2), BatchId::generate(), &[item]).await;
            let _ = store.shutdown_thread(id(2)).await;
        }
        let _ = store.archive_thread(id(1)).await;
        let _ = store.unarchive_thread(id(1)).await;
        let meta = head(3, HistoryMode::Paginated);
        let _ = store.fork_thread(ForkThread { source: id(1), at: TurnBoundary::Latest, meta }).await;
        let to = TurnBoundary::BeforeNewest(1);
        let _ = store.revert_thread(RevertThread { thread_id: id(1), to, batch: BatchId::generate() }).await;
        let name = ThreadMetadataPatch { name: Some(Some("n".into())), ..Default::default() };
        let _ = store.update_thread_metadata(id(1), &name, MetadataOrigin::Explicit).await;
        let _ = store.delete_thread(id(1)).await;
        let rollouts = RolloutHome::new(home.path());
        if let Ok(found) = selvedge_rollout::doctor::diagnose(&rollouts, None, &|_| {}) {
            let _ = selvedge_rollout::doctor::repair(&rollouts, &found, false);
        }
        assert_eq!(state(), before, "{link}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_that_the_owner_of_the_home_did_not_make_is_refused_with_the_reason() {
    use std::os::unix::fs::{lchown, symlink};

    let (dir, state) = outside();
    let before = state();
    for name in ["sessions", "archived_sessions"] {
        let home = TestHome::empty();
        record(&home.store, 1, HistoryMode::Paginated, &["a"]).await;
        let link = home.path().join(name);
        let _ = fs::remove_dir_all(&link);
        symlink(dir.path(), &link).unwrap();
        if lchown(&link, Some(4711), Some(4711)).is_err() {
            return skip("only root can make a link of another user");
        }
        let store = LocalThreadStore::open(home.path());
        store.list_threads(&ThreadQuery::default()).await.unwrap();
        let left_out = store.admin().left_out();
        assert_eq!((left_out.len(), &left_out[0].path), (1, &link));
        assert!(left_out[0].reason.contains("the owner of the home did not make it"), "{left_out:?}");
        let item = RolloutItem::from(ResponseItem::user_text("secret"));
        let outcome = if name == "sessions" {
            store.create_thread(head(2, HistoryMode::Paginated)).await.unwrap();
            store.append_items(id(2), BatchId::generate(), &[item]).await.map(drop)
        } else {
            store.archive_thread(id(1)).await.map(drop)
        };
        let error = outcome.unwrap_err();
        let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(text.contains(name) && text.contains("the owner of the home did not make it"), "{text}");
        assert_eq!(state(), before);
    }
}

/// Lets `sessions` and `archived_sessions` of a home be links to other directories.
#[cfg(unix)]
fn link_directories(home: &TestHome, sessions: &std::path::Path, archive: &std::path::Path) {
    std::os::unix::fs::symlink(sessions, home.path().join("sessions")).unwrap();
    std::os::unix::fs::symlink(archive, home.path().join("archived_sessions")).unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn everything_works_through_links_that_the_owner_of_the_home_made() {
    use std::os::unix::fs::symlink;

    let shared = tempfile::tempdir().unwrap();
    let (sessions, archive) = (shared.path().join("sessions"), shared.path().join("old"));
    fs::create_dir(&sessions).unwrap();
    fs::create_dir(&archive).unwrap();
    let outer = tempfile::tempdir().unwrap();
    let real = TestHome::empty();
    link_directories(&real, &sessions, &archive);
    // The home itself may be a link as well: that is the user's own choice.
    let linked = outer.path().join("home");
    symlink(real.path(), &linked).unwrap();
    for path in [real.path().to_owned(), linked] {
        let store = LocalThreadStore::open(&path);
        record(&store, 1, HistoryMode::Paginated, &["a", "b"]).await;
        let request = ForkThread { source: id(1), at: TurnBoundary::Latest, meta: head(2, HistoryMode::Paginated) };
        store.fork_thread(request).await.unwrap();
        store.archive_thread(id(1)).await.unwrap();
        assert_eq!(fs::read_dir(&archive).unwrap().count(), 1);
        for location in [IndexLocation::InHome, IndexLocation::Disabled] {
            let other = LocalThreadStore::open_with(&path, location);
            let all = ThreadQuery { archived: ArchivedFilter::All, ..ThreadQuery::default() };
            assert_eq!(other.list_threads(&all).await.unwrap().items.len(), 2);
            assert_eq!(other.load_history(id(2)).await.unwrap().damage, []);
            assert_eq!(other.admin().left_out(), []);
        }
        store.unarchive_thread(id(1)).await.unwrap();
        store.admin().compress(id(1)).await.unwrap();
        store.resume_thread(id(1)).await.unwrap();
        let item = RolloutItem::from(ResponseItem::user_text("c"));
        store.append_items(id(1), BatchId::generate(), &[item]).await.unwrap();
        store.shutdown_thread(id(1)).await.unwrap();
        let found = store.admin().diagnose(None, |_| {}).await.unwrap();
        let faults: Vec<_> = found.findings.iter().filter(|one| one.severity == Severity::Fault).collect();
        assert!(faults.is_empty(), "{faults:?}");
        store.delete_thread(id(2)).await.unwrap();
        store.delete_thread(id(1)).await.unwrap();
        assert_eq!(store.list_threads(&ThreadQuery::default()).await.unwrap().items.len(), 0);
        store.close().await;
    }

    // A link inside that leads out stays refused, and one that leads to what the owner linked does not.
    let (dir, state) = outside();
    let before = state();
    record(&real.store, 3, HistoryMode::Paginated, &["a"]).await;
    let year = fs::read_dir(&sessions).unwrap().next().unwrap().unwrap().path();
    fs::rename(&year, sessions.join("moved")).unwrap();
    for (target, works) in [(dir.path().to_owned(), false), (sessions.join("moved"), true)] {
        let _ = fs::remove_file(&year);
        symlink(&target, &year).unwrap();
        let store = LocalThreadStore::open_with(real.path(), IndexLocation::Disabled);
        store.create_thread(head(4, HistoryMode::Paginated)).await.unwrap();
        let item = RolloutItem::from(ResponseItem::user_text("secret"));
        let appended = store.append_items(id(4), BatchId::generate(), &[item]).await;
        assert_eq!(appended.is_ok(), works, "{appended:?}");
    }
    assert_eq!(state(), before);
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_to_a_disk_that_is_not_mounted_hides_its_threads_and_loses_none() {
    let shared = tempfile::tempdir().unwrap();
    let (disk, away) = (shared.path().join("disk"), shared.path().join("away"));
    let archive = shared.path().join("archive");
    fs::create_dir(&disk).unwrap();
    fs::create_dir(&archive).unwrap();
    let home = TestHome::empty();
    link_directories(&home, &disk, &archive);
    record(&home.store, 1, HistoryMode::Paginated, &["a"]).await;
    assert_eq!(home.store.list_threads(&ThreadQuery::default()).await.unwrap().items.len(), 1);
    fs::rename(&disk, &away).unwrap();
    let other = home.other();
    assert_eq!(other.list_threads(&ThreadQuery::default()).await.unwrap().items.len(), 0);
    assert!(other.admin().left_out()[0].reason.contains("does not exist"), "{:?}", other.admin().left_out());
    let index = other.admin().open_index().await.unwrap().unwrap();
    assert_eq!(index.update(|_| {}).await.unwrap().removed, 0);
    fs::rename(&away, &disk).unwrap();
    let report = index.update(|_| {}).await.unwrap();
    assert_eq!((report.removed, report.read_whole), (0, 0));
    assert_eq!(home.other().list_threads(&ThreadQuery::default()).await.unwrap().items.len(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_in_the_place_of_a_rollout_is_neither_read_nor_deleted() {
    use std::os::unix::fs::symlink;

    let (dir, state) = outside();
    let home = TestHome::empty();
    record(&home.store, 1, HistoryMode::Paginated, &["a"]).await;
    let secret = home.put(id(9), RolloutLine::new(second(1), None, &ResponseItem::user_text("secret").into()).text());
    let target = dir.path().join("rollout.jsonl");
    fs::rename(&secret, &target).unwrap();
    symlink(&target, &secret).unwrap();
    let before = state();
    assert!(home.store.read_thread(id(9)).await.is_err());
    assert!(home.store.delete_thread(id(9)).await.is_err());
    assert!(home.store.archive_thread(id(9)).await.is_err());
    assert_eq!(home.store.list_threads(&ThreadQuery::default()).await.unwrap().items.len(), 1);
    assert_eq!(state(), before);
}

#[tokio::test]
async fn deleting_and_archiving_touch_the_files_of_that_thread_only() {
    let home = TestHome::empty();
    record(&home.store, 1, HistoryMode::Paginated, &["a"]).await;
    let own = home.files().into_iter().find(|path| path.to_string_lossy().contains(&id(1).to_string())).unwrap();
    let name = own.file_name().unwrap().to_str().unwrap().to_owned();
    let neighbours = [
        format!("{name}.bak"),
        format!("{name}.damaged-20261121T090856680Z"),
        format!("copy of {name}"),
        format!("rollout-..-{}.jsonl", id(1)),
        name.replace(".jsonl", "_...jsonl"),
        name.replace(&id(1).to_string(), &id(2).to_string()),
    ];
    for neighbour in &neighbours {
        fs::write(own.with_file_name(neighbour), "{}\n").unwrap();
    }
    home.store.archive_thread(id(1)).await.unwrap();
    home.store.unarchive_thread(id(1)).await.unwrap();
    home.store.delete_thread(id(1)).await.unwrap();
    for neighbour in &neighbours {
        assert!(home.files().iter().any(|path| path.ends_with(neighbour)), "{neighbour}");
    }
    assert!(!home.files().iter().any(|path| path.ends_with(&name)));
}

#[test]
fn hostile_names_and_ids_are_refused() {
    let uuid = id(1).to_string();
    for name in [
        format!("rollout-2026-11-21T09-08-56-{uuid}/../../x.jsonl"),
        format!("../rollout-2026-11-21T09-08-56-{uuid}.jsonl"),
        format!("rollout-2026-11-21T09-08-56-{uuid}_../../../etc.jsonl"),
        format!("rollout-2026-11-21T09-08-56-{uuid}\0.jsonl"),
        format!("rollout-../../../../../..-{uuid}.jsonl"),
    ] {
        assert_eq!(RolloutFileName::parse(&name), None, "{name:?}");
    }
    for text in ["../../etc/passwd", "..", "", "/", "01a1fd5d-0000-7000-8000-00000000000/"] {
        assert!(text.parse::<selvedge_protocol::ThreadId>().is_err(), "{text}");
        assert!(text.parse::<selvedge_protocol::SegmentId>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn ids_in_a_file_never_lead_outside_of_the_home() {
    let home = TestHome::empty();
    for base in ["../../../../etc/passwd", "/etc/passwd", "..", ""] {
        let line = format!(
            "{{\"timestamp\":\"2026-11-21T09:08:56.680Z\",\"ordinal\":0,\"type\":\"session_meta\",\"payload\":{{\"id\":\
             \"../..\",\"timestamp\":\"2026-11-21T09:08:56.680Z\",\"cwd\":\"../..\",\"history_base\":{{\"thread_id\":\
             \"{base}\",\"end_ordinal_exclusive\":4,\"end_byte_offset\":100}}}}}}\n"
        );
        home.put(id(1), &line);
        let history = home.store.load_history(id(1)).await.unwrap();
        assert_eq!((history.lines.len(), history.thread_id), (1, id(1)));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn files_in_a_home_with_wide_permissions_are_private() {
    use std::os::unix::fs::PermissionsExt;

    let home = TestHome::empty();
    let day = home.path().join("sessions/2026/11/21");
    fs::create_dir_all(&day).unwrap();
    for dir in [home.path(), &home.path().join("sessions"), &day] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    }
    record(&home.store, 1, HistoryMode::Paginated, &["a"]).await;
    home.store.archive_thread(id(1)).await.unwrap();
    for path in home.files() {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
}

/// Returns a value inside `levels` arrays and objects.
fn deep(levels: usize) -> String {
    format!("{}1{}", "{\"a\":[".repeat(levels / 2), "]}".repeat(levels / 2))
}

#[tokio::test]
async fn json_ten_thousand_levels_deep_is_kept_and_does_no_harm() {
    let deep = deep(10_000);
    let kinds = [
        "session_meta",
        "response_item",
        "event_msg",
        "turn_context",
        "compacted",
        "world_state",
        "thread_metadata",
        "token_usage_record",
        "of_tomorrow",
    ];
    let mut text = String::new();
    for kind in kinds {
        for payload in [
            deep.clone(),
            format!("{{\"type\":\"message\",\"role\":\"user\",\"content\":{deep},\"id\":{deep}}}"),
            format!(
                "{{\"type\":\"item_completed\",\"turn_id\":\"t\",\"item\":{{\"type\":\"UserMessage\",\"content\":{deep}}}}}"
            ),
            format!("{{\"full\":true,\"state\":{deep}}}"),
            format!("{{\"full\":false,\"state\":{deep}}}"),
            format!("{{\"message\":\"s\",\"replacement_history\":[{deep}]}}"),
            format!("{{\"id\":\"{}\",\"source\":{deep},\"git\":{deep},\"history_base\":{deep}}}", id(1)),
        ] {
            text.push_str(&format!(
                "{{\"timestamp\":\"2026-11-21T09:08:56.680Z\",\"type\":\"{kind}\",\"payload\":{payload}}}\n"
            ));
        }
    }
    let home = TestHome::empty();
    home.put(id(1), &text);
    let store = &home.store;
    let history = store.load_history(id(1)).await.unwrap();
    assert_eq!((history.lines.len(), history.damage.len()), (kinds.len() * 7, 0));
    let items: Vec<RolloutItem> = history.lines.iter().map(RolloutLine::item).collect();
    replay(&items);
    let mut turns = TurnProjection::new();
    history.lines.iter().enumerate().for_each(|(at, line)| turns.push(at as u64, line));
    assert!(!turns.finish().is_empty());
    store.load_model_context(id(1)).await.unwrap();
    store.read_thread(id(1)).await.unwrap();
    store.list_turns(&TurnQuery::all(id(1))).await.unwrap();
    store.resume_thread(id(1)).await.unwrap();
    store.append_items(id(1), BatchId::generate(), &items).await.unwrap();
    store.shutdown_thread(id(1)).await.unwrap();
    assert_eq!(store.load_history(id(1)).await.unwrap().lines.len(), kinds.len() * 14);
}

#[tokio::test]
async fn a_small_file_that_decompresses_to_more_than_1_gib_meets_a_limit() {
    // More than 1 GiB of NULs in a few kilobytes.
    let frame = zstd::encode_all(&vec![0; 64 << 20][..], 1).unwrap();
    let home = TestHome::empty();
    let path = home.put(id(1), b"").with_extension("jsonl.zst");
    fs::remove_file(path.with_extension("")).unwrap();
    fs::write(&path, frame.repeat(20)).unwrap();
    let error = home.store.export(id(1), &mut std::io::sink()).await.unwrap_err();
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    let limit = (1 << 30) + 1000 * fs::metadata(&path).unwrap().len();
    assert!(text.contains(&format!("more than the limit of {limit} bytes")), "{text}");
}

/// A home on a file system that cannot be written: a bind mount, because root may write whatever the modes are.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_home_on_a_read_only_file_system_can_be_read() {
    let home = TestHome::empty();
    record(&home.store, 1, HistoryMode::Paginated, &["a"]).await;
    let mount = tempfile::tempdir().unwrap();
    let run = |args: &[&std::ffi::OsStr]| {
        let (program, args) = args.split_first().unwrap();
        std::process::Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
    };
    let (from, to) = (home.path().as_os_str(), mount.path().as_os_str());
    if !run(&["mount".as_ref(), "--bind".as_ref(), from, to]) {
        return skip("a bind mount takes rights that this user does not have");
    }
    let is_read_only = run(&["mount".as_ref(), "-o".as_ref(), "remount,bind,ro".as_ref(), to]);
    let store = LocalThreadStore::open(mount.path());
    let listed = store.list_threads(&ThreadQuery::default()).await;
    let read = store.load_history(id(1)).await;
    let context = store.load_model_context(id(1)).await;
    let looked = selvedge_rollout::doctor::diagnose(&RolloutHome::new(mount.path()), None, &|_| {});
    let resumed = store.resume_thread(id(1)).await;
    // Unmounted lazily: the store still has its index open.
    assert!(run(&["umount".as_ref(), "--lazy".as_ref(), to]));
    if !is_read_only {
        return skip("the bind mount could not be made read-only");
    }
    assert_eq!((listed.unwrap().items.len(), read.unwrap().damage.len()), (1, 0));
    context.unwrap();
    assert_eq!(looked.unwrap().findings, []);
    let error = resumed.unwrap_err();
    let text = format!("{error}: {:?}", std::error::Error::source(&error));
    assert!(text.contains("Read-only file system") || text.contains("ReadOnlyFilesystem"), "{text}");
}

/// Prints that a test did not run.
#[cfg(unix)]
#[expect(clippy::print_stderr, reason = "a test that is skipped silently would count as passed")]
fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}
