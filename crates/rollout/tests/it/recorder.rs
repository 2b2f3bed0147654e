//! The recorder: what it acknowledged is in the file, once and in order, and a failed append leaves nothing.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use selvedge_protocol::log::{DamageKind, Entry};
use selvedge_protocol::{HistoryBase, HistoryMode, RolloutItem, SessionMeta};
use selvedge_rollout::{
    AppendedLines, CachedHome, RolloutError, RolloutFile, RolloutHome, RolloutRecorder, WriterLock,
};

use crate::support::{
    TestHome, WatchedFiles, at, basic, damage, head, message, ordinals, read_file, skip, texts, thread,
};

use HistoryMode::{Legacy, Paginated};

fn create(test: &TestHome, mode: HistoryMode) -> RolloutRecorder {
    RolloutRecorder::create(&test.home, head(thread(1), mode)).unwrap()
}

fn only_file(home: &RolloutHome) -> RolloutFile {
    home.files().unwrap().segments(thread(1)).last().unwrap().clone()
}

fn resume(test: &TestHome) -> RolloutRecorder {
    RolloutRecorder::resume(&test.home, &only_file(&test.home)).unwrap()
}

fn counted(ordinals: std::ops::Range<u64>) -> Vec<Option<u64>> {
    ordinals.map(Some).collect()
}

fn is_closed<T: std::fmt::Debug>(result: Result<T, RolloutError>) -> bool {
    matches!(result, Err(RolloutError::Closed { .. }))
}

/// Returns the texts of all lines that are messages.
fn message_texts(path: &Path) -> Vec<String> {
    let text = |entry: &Entry| match entry {
        Entry::Line(record) => match record.line.item() {
            RolloutItem::ResponseItem(item) => Some(item.texts().concat()),
            _ => None,
        },
        Entry::Damage(_) => None,
    };
    read_file(path).iter().filter_map(text).collect()
}

#[test]
fn there_is_no_file_before_the_first_append() {
    let test = TestHome::new();
    let recorder = create(&test, Paginated);
    assert!(recorder.is_lazy());
    assert_eq!(recorder.append(&[]).unwrap(), AppendedLines { lines: 0, last_ordinal: None });
    recorder.flush().unwrap();
    assert!(!test.home.root().exists(), "not even a directory for locks");
    assert!(!recorder.path().exists());
    drop(recorder);
    assert!(!test.home.root().exists(), "a thread that was not created leaves no trace");
}

#[test]
fn the_first_append_creates_file_head_and_lock() {
    let test = TestHome::new();
    let recorder = create(&test, Paginated);
    let written = recorder.append(&[message("one"), message("two")]).unwrap();
    assert_eq!(written, AppendedLines { lines: 3, last_ordinal: Some(2) });
    assert!(!recorder.is_lazy());
    let file = only_file(&test.home);
    assert_eq!(file.path, recorder.path());
    let entries = read_file(&file.path);
    assert_eq!(ordinals(&entries), counted(0..3));
    let Entry::Line(first) = &entries[0] else { panic!() };
    assert_eq!(first.line.item(), head(thread(1), Paginated).into());
    assert_eq!(
        first.line.timestamp(),
        Some(at("2026-11-21T09:08:56.660Z")),
        "the head has the time at which the thread began"
    );
    let Entry::Line(second) = &entries[1] else { panic!() };
    let age = selvedge_rollout::now().saturating_since(second.line.timestamp().unwrap());
    assert!(age.as_secs() < 60, "an item has the time of its append");
    assert!(matches!(WriterLock::acquire(&test.home, thread(1)), Err(RolloutError::Locked { .. })));
    assert_eq!(recorder.end(), (Some(3), fs::metadata(&file.path).unwrap().len()));
    drop(recorder);
    WriterLock::acquire(&test.home, thread(1)).unwrap();
}

#[test]
fn persist_writes_only_the_head_and_only_once() {
    let test = TestHome::new();
    let recorder = create(&test, Paginated);
    recorder.persist().unwrap();
    recorder.persist().unwrap();
    assert_eq!(ordinals(&read_file(&recorder.path())), counted(0..1));
    assert_eq!(recorder.append(&[message("one")]).unwrap(), AppendedLines { lines: 1, last_ordinal: Some(1) });
    assert_eq!(read_file(&recorder.path()).len(), 2);
}

#[test]
fn a_legacy_thread_has_no_ordinals() {
    let test = TestHome::new();
    let recorder = create(&test, Legacy);
    let written = recorder.append(&[message("one")]).unwrap();
    assert_eq!(written, AppendedLines { lines: 2, last_ordinal: None });
    assert_eq!(ordinals(&read_file(&recorder.path())), [None, None]);
    drop(recorder);
    let recorder = resume(&test);
    assert_eq!((recorder.mode(), recorder.end().0), (Legacy, None));
    recorder.append(&[message("two")]).unwrap();
    assert_eq!(ordinals(&read_file(&recorder.path())), [None, None, None]);
}

#[test]
fn ordinals_begin_where_the_base_ends() {
    let test = TestHome::new();
    let base = HistoryBase {
        thread_id: Some(thread(1).into()),
        end_ordinal_exclusive: Some(29),
        end_byte_offset: Some(17735),
        ..HistoryBase::default()
    };
    let head = SessionMeta { history_base: Some(base), ..head(thread(1), Paginated) };
    let recorder = RolloutRecorder::create(&test.home, head).unwrap();
    recorder.append(&[message("one")]).unwrap();
    recorder.append(&[message("two")]).unwrap();
    assert_eq!(ordinals(&read_file(&recorder.path())), counted(29..32));
    recorder.shutdown();
    let lock = WriterLock::acquire(&test.home, thread(1)).unwrap();

    // Also if only the head shows where ordinals begin.
    let file = only_file(&test.home);
    let text = fs::read_to_string(&file.path).unwrap();
    fs::write(&file.path, text.lines().next().unwrap().replace(r#""ordinal":29,"#, "") + "\n").unwrap();
    let recorder = RolloutRecorder::resume_locked(&test.home, &file, lock).unwrap();
    assert_eq!(recorder.append(&[message("three")]).unwrap().last_ordinal, Some(29));
}

#[test]
fn a_head_without_id_or_time_is_refused() {
    let test = TestHome::new();
    let whole = head(thread(1), Paginated);
    for (head, wanted) in [
        (SessionMeta { id: None, ..whole.clone() }, "id"),
        (SessionMeta { timestamp: None, ..whole.clone() }, "timestamp"),
    ] {
        let refused = RolloutRecorder::create(&test.home, head).unwrap_err();
        assert!(matches!(refused, RolloutError::IncompleteHead { field } if field == wanted));
    }
}

#[cfg(unix)]
#[test]
fn files_and_folders_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let test = TestHome::new();
    let recorder = create(&test, Paginated);
    recorder.persist().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let path = recorder.path();
    assert_eq!(mode(&path), 0o600);
    let mut dir = path.parent().unwrap();
    while dir != test.dir() {
        assert_eq!(mode(dir), 0o700, "{}", dir.display());
        dir = dir.parent().unwrap();
    }
}

/// Returns how many times this thread has called `write`.
fn writes() -> Option<u64> {
    let counts = fs::read_to_string("/proc/thread-self/io").ok()?;
    counts.lines().find_map(|line| line.strip_prefix("syscw: ")?.parse().ok())
}

#[test]
fn a_batch_is_one_write() {
    let Some(before) = writes() else { return skip("the system does not count writes") };
    let test = TestHome::new();
    let recorder = create(&test, Paginated);
    let batch: Vec<_> = (0..50).map(|n| message(&format!("{n} {}", "x".repeat(5000)))).collect();
    recorder.append(&batch).unwrap();
    assert_eq!(writes().unwrap() - before, 1, "the first one with the head");
    recorder.append(&batch).unwrap();
    assert_eq!(writes().unwrap() - before, 2);
    drop(recorder);

    let path = only_file(&test.home).path;
    let torn = fs::read(&path).unwrap();
    fs::write(&path, &torn[..torn.len() - 10]).unwrap();
    let before = writes().unwrap();
    resume(&test).append(&batch).unwrap();
    assert_eq!(writes().unwrap() - before, 1, "one that seals a torn line, too");
}

#[test]
fn batches_of_many_threads_are_written_one_after_another() {
    let test = TestHome::new();
    let recorder = create(&test, Paginated);
    let acknowledged = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let recorder = &recorder;
                scope.spawn(move || {
                    let append = |batch| {
                        let items: Vec<_> = (0..3).map(|item| message(&format!("{worker} {batch} {item}"))).collect();
                        (format!("{worker} {batch} 2"), recorder.append(&items).unwrap().last_ordinal.unwrap())
                    };
                    (0..50).map(append).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    let entries = read_file(&recorder.path());
    assert_eq!(ordinals(&entries), counted(0..601));
    let texts = message_texts(&recorder.path());
    let mut next = [0; 4];
    for batch in texts.chunks(3) {
        let worker: usize = batch[0].split(' ').next().unwrap().parse().unwrap();
        let wanted: Vec<_> = (0..3).map(|item| format!("{worker} {} {item}", next[worker])).collect();
        assert_eq!(batch, wanted, "a batch stays together, and the batches of one thread in order");
        next[worker] += 1;
    }
    assert_eq!(next, [50; 4]);
    for (text, ordinal) in acknowledged {
        assert_eq!(texts[usize::try_from(ordinal).unwrap() - 1], text, "an ordinal is that of the batch's last line");
    }
}

#[test]
fn an_acknowledged_batch_can_be_read_immediately_and_after_a_drop() {
    let test = TestHome::new();
    let recorder = create(&test, Paginated);
    let path = recorder.path();
    for n in 0..20 {
        recorder.append(&[message(&n.to_string())]).unwrap();
        assert_eq!(message_texts(&path).len(), n + 1);
    }
    drop(recorder);
    assert_eq!(message_texts(&path), (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn nothing_is_appended_after_a_shutdown() {
    let test = TestHome::new();
    let recorder = create(&test, Paginated);
    recorder.append(&[message("one")]).unwrap();
    let before = fs::read(recorder.path()).unwrap();
    recorder.shutdown();
    recorder.shutdown();
    assert!(is_closed(recorder.append(&[message("two")])));
    assert!(is_closed(recorder.append(&[])));
    assert!(is_closed(recorder.persist()));
    assert!(is_closed(recorder.flush()));
    assert_eq!(fs::read(recorder.path()).unwrap(), before);
    WriterLock::acquire(&test.home, thread(1)).unwrap();

    let never_begun = TestHome::new();
    let recorder = create(&never_begun, Paginated);
    recorder.shutdown();
    assert!(is_closed(recorder.append(&[message("one")])));
    assert!(is_closed(recorder.persist()));
    assert!(!never_begun.home.root().exists());
}

#[test]
fn two_recorders_of_one_new_thread_are_a_conflict() {
    let test = TestHome::new();
    let (one, two) = (create(&test, Paginated), create(&test, Paginated));
    one.append(&[message("one")]).unwrap();
    let before = fs::read(one.path()).unwrap();
    assert!(matches!(two.append(&[message("two")]), Err(RolloutError::Locked { .. })));
    assert!(two.is_lazy());
    drop(one);
    let error = two.append(&[message("two")]).unwrap_err();
    assert_eq!(error.io_kind(), Some(ErrorKind::AlreadyExists), "{error:?}");
    assert_eq!(fs::read(two.path()).unwrap(), before);
}

#[test]
fn a_thread_that_another_process_created_is_not_created_again() {
    let later = "2026-11-21T09:08:59.000Z";
    for (made_at, is_looked_for) in [("2026-11-21T09:08:56.660Z", false), (later, true)] {
        let test = TestHome::new();
        let recorder = if is_looked_for {
            let remembered = Arc::new(CachedHome::new(test.home.clone()));
            RolloutRecorder::create_in(&remembered, head(thread(1), Paginated)).unwrap()
        } else {
            create(&test, Paginated)
        };
        // Another process creates the thread and ends.
        let other = SessionMeta { timestamp: Some(at(made_at)), ..head(thread(1), Paginated) };
        let other = RolloutRecorder::create(&test.home, other).unwrap();
        other.append(&[message("one")]).unwrap();
        other.shutdown();
        assert_eq!(other.path() == recorder.path(), !is_looked_for);
        for _ in 0..2 {
            let error = recorder.append(&[message("two")]).unwrap_err();
            let RolloutError::AlreadyExists { thread_id, path } = &error else { panic!("{error:?}") };
            assert_eq!((*thread_id, path), (thread(1), &other.path()));
            assert_eq!(error.io_kind(), Some(ErrorKind::AlreadyExists));
            // The recorder does not keep the lock of the thread.
            assert!(recorder.is_lazy());
            drop(WriterLock::acquire(&test.home, thread(1)).unwrap());
        }
        assert_eq!(message_texts(&other.path()), ["one"]);
        assert_eq!(test.files().all_files(thread(1)).count(), 1);
    }
}

#[test]
fn is_lazy_does_not_wait_for_an_append() {
    let test = TestHome::new();
    let recorder = create(&test, Paginated);
    fs::create_dir_all(test.home.locks_dir()).unwrap();
    let coordination = fs::File::create(test.home.locks_dir().join(".coordination.lock")).unwrap();
    coordination.lock().unwrap();
    std::thread::scope(|scope| {
        let append = scope.spawn(|| recorder.append(&[message("one")]));
        std::thread::sleep(Duration::from_millis(100));
        assert!(recorder.is_lazy());
        assert!(!append.is_finished(), "the answer came before the append ended");
        drop(coordination);
        append.join().unwrap().unwrap();
    });
    assert!(!recorder.is_lazy());
    recorder.shutdown();
    assert!(!recorder.is_lazy());
}

#[test]
fn a_failed_sync_names_the_thread() {
    let test = TestHome::new();
    let is_failing = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&is_failing);
    let files = WatchedFiles::new(move |what, _| {
        if what == "sync" && fails.load(Ordering::Relaxed) { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    });
    let recorder = RolloutRecorder::create(&files.of(&test.home), head(thread(1), Paginated)).unwrap();
    recorder.append(&[message("one")]).unwrap();
    is_failing.store(true, Ordering::Relaxed);
    let first = recorder.sync().unwrap_err();
    is_failing.store(false, Ordering::Relaxed);
    for error in [first, recorder.sync().unwrap_err(), recorder.append(&[message("two")]).unwrap_err()] {
        let RolloutError::Unsynced { thread_id, path, .. } = &error else { panic!("{error:?}") };
        assert_eq!((*thread_id, path), (thread(1), &recorder.path()));
    }
}

#[test]
fn a_thread_that_is_being_written_cannot_be_resumed() {
    let test = TestHome::new();
    let recorder = create(&test, Paginated);
    recorder.persist().unwrap();
    let refused = RolloutRecorder::resume(&test.home, &only_file(&test.home)).unwrap_err();
    assert!(matches!(refused, RolloutError::Locked { thread_id, .. } if thread_id == thread(1)));
    recorder.append(&[message("one")]).unwrap();
}

#[test]
fn a_resumed_recorder_continues_the_ordinals() {
    let test = TestHome::new();
    create(&test, Paginated).append(&[message("one"), message("two")]).unwrap();
    let before = fs::read(only_file(&test.home).path).unwrap();
    let recorder = resume(&test);
    assert_eq!(recorder.end(), (Some(3), before.len() as u64));
    assert_eq!(fs::read(recorder.path()).unwrap(), before, "to resume changes nothing");
    assert_eq!(recorder.append(&[message("three")]).unwrap(), AppendedLines { lines: 1, last_ordinal: Some(3) });
    assert!(fs::read(recorder.path()).unwrap().starts_with(&before));
    assert_eq!(message_texts(&recorder.path()), ["one", "two", "three"]);
}

#[test]
fn recorded_threads_can_be_resumed() {
    for (version, count) in [("0.20.0", 7), ("0.36.0", 20), ("0.58.0", 24), ("0.118.0", 27)] {
        let test = TestHome::new();
        test.put_thread(thread(1), basic(version));
        let recorder = resume(&test);
        assert_eq!(recorder.mode(), Legacy);
        recorder.append(&[message("one")]).unwrap();
        assert_eq!(ordinals(&read_file(&recorder.path())), vec![None; count + 1], "{version}");
    }
}

/// Returns a home with a thread of four lines that `tear` has damaged, and its bytes.
fn torn(tear: impl Fn(&mut Vec<u8>)) -> (TestHome, Vec<u8>) {
    let test = TestHome::new();
    create(&test, Paginated).append(&[message("one"), message("two"), message("three")]).unwrap();
    let path = only_file(&test.home).path;
    let mut bytes = fs::read(&path).unwrap();
    tear(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    (test, bytes)
}

#[test]
fn the_next_append_ends_a_torn_line() {
    let (test, before) = torn(|bytes| bytes.truncate(bytes.len() - 20));
    let recorder = resume(&test);
    assert_eq!(fs::read(recorder.path()).unwrap(), before, "only an append changes it");
    assert_eq!(recorder.append(&[message("four")]).unwrap(), AppendedLines { lines: 1, last_ordinal: Some(3) });
    recorder.append(&[message("five")]).unwrap();
    let after = fs::read(recorder.path()).unwrap();
    assert!(after.starts_with(&[&before[..], b"\n{"].concat()), "the old bytes stay, with one newline behind them");
    assert!(!after.windows(2).any(|pair| pair == b"\n\n"), "the newline is written once");
    let entries = read_file(&recorder.path());
    assert_eq!(message_texts(&recorder.path()), ["one", "two", "four", "five"]);
    assert_eq!(ordinals(&entries), counted(0..5));
    assert_eq!(damage(&entries).len(), 1);
    assert_eq!(recorder.end().1, after.len() as u64);
}

#[test]
fn an_intact_last_line_without_newline_is_kept() {
    let (test, before) = torn(|bytes| bytes.truncate(bytes.len() - 1));
    resume(&test).append(&[message("four")]).unwrap();
    let file = only_file(&test.home);
    assert!(fs::read(&file.path).unwrap().starts_with(&before));
    assert_eq!(message_texts(&file.path), ["one", "two", "three", "four"]);
    let entries = read_file(&file.path);
    assert_eq!((ordinals(&entries), damage(&entries)), (counted(0..5), vec![]));
}

#[test]
fn ordinals_continue_behind_damage() {
    // NULs at the end, then damage in the middle, then a line without ordinal at the end.
    let (test, _) = torn(|bytes| bytes.extend_from_slice(&[0; 100]));
    resume(&test).append(&[message("four")]).unwrap();
    let entries = read_file(&only_file(&test.home).path);
    assert_eq!(ordinals(&entries), counted(0..5));
    assert_eq!(damage(&entries)[0].1, &DamageKind::Nul);

    let (test, _) = torn(|bytes| {
        let ends: Vec<_> = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
        bytes[ends[1] + 30] = 0xff;
    });
    resume(&test).append(&[message("four")]).unwrap();
    assert_eq!(ordinals(&read_file(&only_file(&test.home).path)), [Some(0), Some(1), Some(3), Some(4)]);

    let (test, _) = torn(|bytes| {
        bytes.extend_from_slice(b"junk\n{\"timestamp\":\"2026-11-21T09:08:56.680Z\",\"type\":\"x\",\"payload\":{}}\n");
    });
    assert_eq!(
        resume(&test).append(&[message("four")]).unwrap().last_ordinal,
        Some(4),
        "a line without one counts not"
    );

    // The largest possible ordinal causes no panic.
    let line = format!(
        "{{\"timestamp\":\"2026-11-21T09:08:56.680Z\",\"ordinal\":{},\"type\":\"x\",\"payload\":1}}\n",
        u64::MAX
    );
    let (test, _) = torn(|bytes| bytes.extend_from_slice(line.as_bytes()));
    resume(&test).append(&[message("four"), message("five")]).unwrap();
}

#[test]
fn without_a_head_the_ordinals_determine_the_mode() {
    let (test, _) = torn(|bytes| bytes[0] = b'#');
    let recorder = resume(&test);
    assert_eq!((recorder.mode(), recorder.end().0), (Paginated, Some(4)));
    drop(recorder);

    let legacy = TestHome::new();
    let text = String::from_utf8(basic("0.58.0")).unwrap();
    legacy.put_thread(thread(1), text.split_once('\n').unwrap().1);
    assert_eq!(resume(&legacy).mode(), Legacy);

    let empty = TestHome::new();
    empty.put_thread(thread(1), "");
    assert_eq!(resume(&empty).mode(), Legacy);
}

#[test]
fn an_empty_file_gets_its_head_with_the_first_lines() {
    let test = TestHome::new();
    test.put_thread(thread(1), "");
    let recorder = resume(&test);
    assert_eq!(recorder.append(&[message("one")]).unwrap().lines, 2);
    assert_eq!(recorder.append(&[message("two")]).unwrap().lines, 1);
    let text = fs::read_to_string(recorder.path()).unwrap();
    let heads: Vec<bool> = text.lines().map(|line| line.contains("session_meta")).collect();
    assert_eq!(heads, [true, false, false]);
}

#[test]
fn a_compressed_file_is_decompressed_first() {
    let (test, bytes) = torn(|_| {});
    let plain = only_file(&test.home).path;
    let compressed = plain.with_extension("jsonl.zst");
    fs::write(&compressed, zstd::encode_all(&bytes[..], 3).unwrap()).unwrap();
    fs::remove_file(&plain).unwrap();

    let recorder = resume(&test);
    assert_eq!(recorder.path(), plain);
    assert!(!compressed.exists());
    assert_eq!(fs::read(&plain).unwrap(), bytes);
    assert_eq!(recorder.append(&[message("four")]).unwrap().last_ordinal, Some(4));
    assert_eq!(message_texts(&plain), ["one", "two", "three", "four"]);
}

#[test]
fn a_compressed_file_that_cannot_be_decompressed_stays_unchanged() {
    let (test, bytes) = torn(|_| {});
    let plain = only_file(&test.home).path;
    let compressed = plain.with_extension("jsonl.zst");
    let frame = zstd::encode_all(&bytes[..], 3).unwrap();
    fs::write(&compressed, &frame[..frame.len() / 2]).unwrap();
    fs::remove_file(&plain).unwrap();
    assert!(matches!(RolloutRecorder::resume(&test.home, &only_file(&test.home)), Err(RolloutError::Io { .. })));
    assert!(compressed.exists() && !plain.exists());
    WriterLock::acquire(&test.home, thread(1)).unwrap();
}

#[test]
fn a_damaged_compressed_file_is_continued_from_what_decompresses() {
    let (test, bytes) = torn(|_| {});
    let plain = only_file(&test.home).path;
    let compressed = plain.with_extension("jsonl.zst");
    // Two frames, the second one truncated.
    let second = zstd::encode_all(&br#"{"timestamp":"2026-11-21T09:08:56.680Z","#[..], 3).unwrap();
    let frames = [&zstd::encode_all(&bytes[..], 3).unwrap()[..], &second[..second.len() - 3]].concat();
    fs::write(&compressed, &frames).unwrap();
    fs::remove_file(&plain).unwrap();

    let recorder = resume(&test);
    assert_eq!(recorder.append(&[message("four")]).unwrap().last_ordinal, Some(4));
    assert_eq!(message_texts(&plain), ["one", "two", "three", "four"]);
    let beside: Vec<_> = fs::read_dir(plain.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [kept] = &beside.iter().filter(|path| **path != plain).collect::<Vec<_>>()[..] else { panic!("{beside:?}") };
    assert!(kept.to_str().unwrap().contains(".jsonl.zst.damaged-20"), "{kept:?}");
    assert_eq!(fs::read(kept).unwrap(), frames, "nothing of it is lost");
    assert_eq!(test.files().all_files(thread(1)).count(), 1);
}

#[test]
fn a_file_that_does_not_exist_cannot_be_resumed() {
    let (test, _) = torn(|_| {});
    let file = only_file(&test.home);
    fs::remove_file(&file.path).unwrap();
    let error = RolloutRecorder::resume(&test.home, &file).unwrap_err();
    assert_eq!(error.io_kind(), Some(ErrorKind::NotFound));
    assert!(!file.path.exists());
}

/// A file system of 128 kB with a home.
struct SmallDisk {
    mount: PathBuf,
    home: RolloutHome,
    _dir: tempfile::TempDir,
}

impl SmallDisk {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mount = dir.path().to_owned();
        let mounted = cfg!(target_os = "linux")
            && Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=128k", "none"])
                .arg(&mount)
                .stderr(std::process::Stdio::null())
                .status()
                .is_ok_and(|status| status.success());
        if !mounted {
            skip("no small file system can be mounted here, so a full disk was not tried");
            return None;
        }
        let home = RolloutHome::new(mount.join("home"));
        Some(Self { mount, home, _dir: dir })
    }

    /// Fills the disk except for some pages.
    fn fill_except(&self, pages: usize) {
        let path = self.mount.join("ballast");
        let mut len = 128 << 10;
        let mut file = fs::File::create(&path).unwrap();
        while len > 0 && std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {
            len -= 4096;
        }
        let written = file.metadata().unwrap().len();
        file.set_len(written - 4096 * pages as u64).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.mount.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.mount).status();
    }
}

fn is_full<T: std::fmt::Debug>(result: Result<T, RolloutError>) -> bool {
    result.is_err_and(|error| error.io_kind() == Some(ErrorKind::StorageFull))
}

#[test]
fn an_append_on_a_full_disk_leaves_the_file_as_it_was() {
    let Some(disk) = SmallDisk::new() else { return };
    let recorder = RolloutRecorder::create(&disk.home, head(thread(1), Paginated)).unwrap();
    recorder.append(&[message("one")]).unwrap();
    let batch: Vec<_> = (0..3).map(|n| message(&format!("{n}{}", "x".repeat(8000)))).collect();
    // With some free pages, a part of the batch is written before the disk is full.
    for pages in [0, 1, 3] {
        let (before, end) = (fs::read(recorder.path()).unwrap(), recorder.end());
        disk.fill_except(pages);
        for _ in 0..2 {
            assert!(is_full(recorder.append(&batch)));
            assert_eq!(fs::read(recorder.path()).unwrap(), before);
            assert_eq!(recorder.end(), end);
        }
        disk.free();
        let written = recorder.append(&batch).unwrap();
        assert_eq!(written, AppendedLines { lines: 3, last_ordinal: end.0.map(|next| next + 2) });
    }
    assert_eq!(message_texts(&recorder.path()).len(), 10, "each batch is there once");
    assert_eq!(ordinals(&read_file(&recorder.path())), counted(0..11));
    assert_eq!(damage(&read_file(&recorder.path())), []);
}

#[test]
fn a_first_append_on_a_full_disk_leaves_no_file() {
    let Some(disk) = SmallDisk::new() else { return };
    let recorder = RolloutRecorder::create(&disk.home, head(thread(1), Paginated)).unwrap();
    let batch: Vec<_> = (0..3).map(|n| message(&format!("{n}{}", "x".repeat(8000)))).collect();
    for pages in [0, 2] {
        disk.fill_except(pages);
        assert!(is_full(recorder.append(&batch)));
        assert!(!recorder.path().exists());
        assert!(recorder.is_lazy());
        assert_eq!(recorder.end(), (Some(0), 0));
        disk.free();
    }
    assert_eq!(recorder.append(&batch).unwrap(), AppendedLines { lines: 4, last_ordinal: Some(3) });
    assert_eq!(ordinals(&read_file(&recorder.path())), counted(0..4));
    assert_eq!(message_texts(&recorder.path()).len(), 3);

    // A recorder that never had room for its thread leaves no thread.
    let other = RolloutRecorder::create(&disk.home, head(thread(2), Paginated)).unwrap();
    disk.fill_except(0);
    assert!(is_full(other.append(&batch)));
    drop(other);
    assert_eq!(disk.home.files().unwrap().segments(thread(2)), []);
    WriterLock::acquire(&disk.home, thread(2)).unwrap();
}

#[test]
fn a_torn_tail_stays_torn_while_the_disk_is_full() {
    let Some(disk) = SmallDisk::new() else { return };
    let recorder = RolloutRecorder::create(&disk.home, head(thread(1), Paginated)).unwrap();
    recorder.append(&[message("one"), message("two")]).unwrap();
    drop(recorder);
    let file = only_file(&disk.home);
    let mut before = fs::read(&file.path).unwrap();
    before.truncate(before.len() - 10);
    fs::write(&file.path, &before).unwrap();
    let recorder = RolloutRecorder::resume(&disk.home, &file).unwrap();
    disk.fill_except(1);
    assert!(is_full(recorder.append(&[message(&"x".repeat(20_000))])));
    assert_eq!(fs::read(&file.path).unwrap(), before);
    disk.free();
    recorder.append(&[message("three")]).unwrap();
    assert_eq!(message_texts(&file.path), ["one", "three"]);
    assert_eq!(texts(&read_file(&file.path)).len(), 3);
}
