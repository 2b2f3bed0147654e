//! A repair, with every fault at every file call.
//!
//! A home with everything that can be repaired is repaired once without a fault, to count the calls to the file system. Then it
//! is repaired again for each call and each fault that the call can have, and for each state that a power loss may leave of an
//! interrupted repair. Afterwards each file must be the old one or the new one, whole, and the old one must be kept wherever
//! the new one is. No thread may lose a line. A second repair must bring the home to the state that the first one would have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use selvedge_faulty_files::{Fault, FaultyFiles, PowerLoss};
use selvedge_protocol::log::Entry;
use selvedge_protocol::{Durability, HistoryMode};
use selvedge_rollout::doctor::{Diagnosis, RepairStep, diagnose, repair};
use selvedge_rollout::{NameIndex, RolloutHome, RolloutReader};

use crate::damage::{based_head, head_line, line, lines};
use crate::faults::{LOSSES, copy, scratch_dir};
use crate::home::all_files;
use selvedge_thread_store_conformance::fixtures::{head, id, second};

/// The bytes of every file of a home, by its path in the home.
type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files(root: &Path) -> Files {
    let below = |path: PathBuf| (path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
    all_files(root).into_iter().map(below).collect()
}

fn own_head(n: u32) -> String {
    head_line(head(n, HistoryMode::Paginated), 0)
}

/// Creates a home with everything that can be repaired.
fn set_stage(root: &Path) {
    let home = RolloutHome::new(root);
    let (day, archive) = (root.join("sessions/2026/11/21"), home.archived_dir());
    let rollout = |n: u32| format!("rollout-2026-11-21T09-09-03-{}.jsonl", id(n));
    for dir in [&day, &archive, &home.locks_dir()] {
        fs::create_dir_all(dir).unwrap();
    }
    // A torn end, NULs in the middle, and a fork that refers to a position after the NULs.
    let shared = own_head(1) + &lines(1..3) + "\0\0\0\0" + &line(3);
    fs::write(day.join(rollout(1)), shared.clone() + &line(4) + &line(5)[..40]).unwrap();
    fs::write(day.join(rollout(2)), based_head(2, id(1).into(), 4, shared.len() as u64) + &lines(5..7)).unwrap();
    fs::write(day.join(rollout(3)), own_head(3) + line(1).trim_end() + &line(2) + line(3).trim_end()).unwrap();
    fs::write(day.join(rollout(4)), lines(1..4)).unwrap();
    let frame = |text: &str| zstd::encode_all(text.as_bytes(), 1).unwrap();
    let (first, second_frame) = (frame(&(own_head(5) + &lines(1..4))), frame(&line(4)));
    fs::write(day.join(rollout(5)).with_extension("jsonl.zst"), [&first[..], &second_frame[..9]].concat()).unwrap();
    // Two duplicates in the archive: the content of the first is the beginning of the active file, that of the second is not.
    for (n, other) in [(6, lines(1..3)), (7, lines(7..9))] {
        fs::write(day.join(rollout(n)), own_head(n) + &lines(1..5)).unwrap();
        fs::write(archive.join(rollout(n)), own_head(n) + &other).unwrap();
    }
    fs::write(day.join(format!(".{}.tmp-{:032x}", rollout(1), 7)), "half").unwrap();
    fs::write(home.locks_dir().join(format!("{}.lock", id(8))), "").unwrap();
    NameIndex::set(&home, id(1), Some("here"), second(1)).unwrap();
    NameIndex::set(&home, id(9), Some("gone"), second(2)).unwrap();
    let names = fs::read(home.name_index_path()).unwrap();
    fs::write(home.name_index_path(), [b"junk\n".as_slice(), &names].concat()).unwrap();
}

fn diagnose_home(home: &RolloutHome) -> Diagnosis {
    diagnose(home, None, &|_| {}).unwrap()
}

fn repair_home(home: &RolloutHome) -> Vec<RepairStep> {
    repair(home, &diagnose_home(home), false)
}

/// Returns the intact lines of a rollout file, without its head, which may be a new one.
fn lines_of(path: &Path) -> Vec<String> {
    let entries = RolloutReader::open(path).unwrap().map(Result::unwrap);
    let lines = entries.filter_map(|entry| match entry {
        Entry::Line(record) if record.line.kind() != "session_meta" => Some(record.line.text().to_owned()),
        _ => None,
    });
    lines.collect()
}

/// Returns the lines of each thread's newest segment, from the file that is not shadowed.
fn threads(root: &Path) -> BTreeMap<u32, Vec<String>> {
    let found = RolloutHome::new(root).files().unwrap();
    let newest = (0..10).filter_map(|n| Some((n, found.segments(id(n)).last()?)));
    newest.map(|(n, file)| (n, lines_of(&file.path))).collect()
}

/// Returns whether a file is temporary: a lock file, or a leftover that the next writer removes.
fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    name.contains(".tmp-") || name.ends_with(".lock")
}

fn is_kept(path: &Path) -> bool {
    path.to_string_lossy().contains(".damaged-")
}

/// Checks that every file is the old one or the new one, and that the old one is kept where it was replaced.
fn check_old_or_new(root: &Path, before: &Files, done: &Files, what: &str) {
    let now = files(root);
    let names = PathBuf::from("session_index.jsonl");
    let all: BTreeSet<&PathBuf> = before.keys().chain(done.keys()).chain(now.keys()).collect();
    for path in all.into_iter().filter(|path| !is_temporary(path) && **path != names) {
        let (old, new, is) = (before.get(path), done.get(path), now.get(path));
        if is_kept(path) {
            // Names of kept files contain the time of the repair.
            let original = path.to_string_lossy().split(".damaged-").next().map(PathBuf::from).unwrap();
            // The name index may have lost the name of a missing thread before it was kept.
            let is_original = |kept: &Vec<u8>| Some(kept) == before.get(&original) || original == names;
            assert!(is.is_none_or(is_original), "{what}: {} is not the original", path.display());
            continue;
        }
        assert!(is == old || is == new, "{what}: {} is neither the old file nor the new one", path.display());
        let is_held_elsewhere =
            path.starts_with("archived_sessions") && path.to_string_lossy().contains(&id(6).to_string());
        if let Some(old) = old.filter(|old| is != Some(old) && !is_held_elsewhere) {
            let beginning = format!("{}.damaged-", path.display());
            let mut kept = now.iter().filter(|(path, _)| path.to_string_lossy().starts_with(&beginning));
            assert!(kept.any(|(_, bytes)| bytes == old), "{what}: the original of {} is gone", path.display());
        }
    }
    // The name index is only appended to.
    let text = |files: &Files| String::from_utf8(files[&names].clone()).unwrap();
    let (now, before) = (text(&now), text(before));
    for line in before.lines().filter(|line| line.starts_with('{')) {
        assert!(now.contains(&format!("{line}\n")), "{what}: a name is gone: {line}");
    }
}

/// Checks that a second repair without a fault brings the home to the state of a repair without a fault.
fn check_second(root: &Path, before: &Files, done: &Files, wanted: &BTreeMap<u32, Vec<String>>, what: &str) {
    let home = RolloutHome::new(root);
    make_old(root);
    for step in repair_home(&home) {
        assert_eq!(step.error, None, "{what}: {step:?}");
    }
    let left: Vec<_> = diagnose_home(&home).findings.into_iter().filter(|finding| finding.is_repairable).collect();
    assert_eq!(left, [], "{what}");
    check_old_or_new(root, before, done, what);
    assert_eq!(&threads(root), wanted, "{what}");
    let now = files(root);
    for (path, bytes) in done.iter().filter(|(path, _)| !is_kept(path) && !path.ends_with("session_index.jsonl")) {
        assert!(
            now.get(path) == Some(bytes),
            "{what}: {} differs from the result of a repair without a fault",
            path.display()
        );
    }
    let names = NameIndex::load(&home).unwrap();
    assert_eq!((names.get(id(1)).unwrap().name.as_str(), names.get(id(9))), ("here", None), "{what}");
    let passing: Vec<_> = now.keys().filter(|path| path.to_string_lossy().contains(".tmp-")).collect();
    assert!(passing.is_empty(), "{what}: {passing:?}");
}

/// Repairs a home with each fault at each call. Returns the number of pairs.
fn try_all(level: Durability) -> usize {
    let stage = scratch_dir();
    set_stage(stage.path());
    let dir = scratch_dir();
    // File modes are not set by the faulty file system. They are narrowed before, so that each repair has the same calls.
    let narrowed = |root: &Path| {
        copy(stage.path(), root);
        make_old(root);
        #[cfg(unix)]
        narrow(root);
    };
    let root = dir.path().join("whole");
    narrowed(&root);
    let before = files(&root);
    let faulty = |root: &Path, files: &FaultyFiles| {
        let files = files.clone().adopting(root).unwrap();
        RolloutHome::new(root).with_durability(level).with_file_system(Arc::new(files))
    };
    let counting = FaultyFiles::new();
    let steps = repair_home(&faulty(&root, &counting));
    assert!(steps.len() >= 10 && steps.iter().all(|step| step.error.is_none()), "{steps:?}");
    let (done, wanted) = (files(&root), threads(&root));
    check_old_or_new(&root, &before, &done, "no fault");
    check_second(&root, &before, &done, &wanted, "no fault");

    let mut pairs = 0;
    for (at, call) in counting.calls().into_iter().enumerate() {
        for fault in Fault::of(call) {
            let what = format!("{fault:?} at call {at}, {call:?}, level {level}");
            let root = dir.path().join("home");
            narrowed(&root);
            let broken = FaultyFiles::with_fault(at, *fault);
            let _ = repair_home(&faulty(&root, &broken));
            check_old_or_new(&root, &before, &done, &what);
            assert_eq!(threads(&root), wanted, "{what}");
            if fault.is_stop() {
                assert!(broken.is_dead(), "{what}");
                for loss in LOSSES {
                    lose_power(&broken, &root, loss, [&before, &done], &wanted, &what);
                    pairs += 1;
                }
            }
            check_second(&root, &before, &done, &wanted, &what);
            fs::remove_dir_all(&root).unwrap();
            pairs += 1;
        }
    }
    pairs
}

/// Checks every state that a power loss may leave of an interrupted repair.
fn lose_power(
    broken: &FaultyFiles,
    root: &Path,
    loss: PowerLoss,
    [before, done]: [&Files; 2],
    wanted: &BTreeMap<u32, Vec<String>>,
    what: &str,
) {
    let left = root.with_file_name("left");
    broken.disk().lose_power(root, loss, &left).unwrap();
    #[cfg(unix)]
    narrow(&left);
    let what = format!("{what}, {loss:?}");
    check_old_or_new(&left, before, done, &what);
    assert_eq!(&threads(&left), wanted, "{what}");
    check_second(&left, before, done, wanted, &what);
    fs::remove_dir_all(left).unwrap();
}

/// Makes temporary files old. The doctor assumes that a new one belongs to a writer at work, and inspects it twice.
fn make_old(root: &Path) {
    for path in all_files(root).iter().filter(|path| is_temporary(path)) {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    }
}

/// Removes all permissions except the owner's.
#[cfg(unix)]
fn narrow(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            narrow(&path);
        } else {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

#[expect(clippy::print_stderr, reason = "a count that shrinks has to be visible")]
fn report(level: Durability) {
    let pairs = try_all(level);
    eprintln!("{pairs} pairs of a call of a repair and a fault at level {level}");
    assert!(pairs > 100);
}

#[test]
fn a_fault_at_any_call_of_a_repair_leaves_the_old_or_the_new_file_at_level_written() {
    report(Durability::Written);
}

#[test]
fn a_fault_at_any_call_of_a_repair_leaves_the_old_or_the_new_file_at_level_synced() {
    report(Durability::Synced);
}
