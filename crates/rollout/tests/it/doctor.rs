//! Diagnosis and repair of homes.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Duration;

use selvedge_protocol::log::Entry;
use selvedge_protocol::{SegmentId, ThreadId};
use selvedge_rollout::doctor::{Diagnosis, FindingKind, RepairAction, RepairStep, Severity, diagnose, repair};
use selvedge_rollout::{HistoryEntry, NameIndex, ResolvedHistory, RolloutHome, WriterLock};
use serde_json::json;

use crate::support::{TestHome, at, read_file, segment, texts, thread};

fn head_line(id: ThreadId, ordinal: u64, base: Option<(SegmentId, u64, usize)>) -> String {
    let mut payload = json!({"id": id, "timestamp": "2026-11-21T09:08:56.660Z", "history_mode": "paginated"});
    if let Some((segment, ordinal, byte)) = base {
        payload["history_base"] =
            json!({"thread_id": segment, "end_ordinal_exclusive": ordinal, "end_byte_offset": byte});
    }
    format!(
        "{{\"timestamp\":\"2026-11-21T09:08:56.680Z\",\"ordinal\":{ordinal},\"type\":\"session_meta\",\"payload\":{payload}}}\n"
    )
}

fn line(ordinal: u64) -> String {
    format!(
        "{{\"timestamp\":\"2026-11-21T09:08:56.690Z\",\"ordinal\":{ordinal},\"type\":\"event_msg\",\"payload\":{{}}}}\n"
    )
}

fn lines(ordinals: std::ops::Range<u64>) -> String {
    ordinals.map(line).collect()
}

fn check_home(home: &RolloutHome) -> Diagnosis {
    diagnose(home, None, &|_| {}).unwrap()
}

/// Returns the kinds of the findings, except for modes, which depend on the umask of the test.
fn kinds(diagnosis: &Diagnosis) -> Vec<&'static str> {
    let faults = diagnosis.findings.iter().filter(|finding| finding.severity == Severity::Fault);
    faults.filter(|finding| finding.kind != FindingKind::WideMode).map(|finding| finding.kind.as_str()).collect()
}

fn repair_all(home: &RolloutHome) -> Vec<RepairStep> {
    repair(home, &check_home(home), false)
}

fn errors(steps: &[RepairStep]) -> Vec<String> {
    steps.iter().filter_map(|step| step.error.clone()).collect()
}

fn kept(home: &RolloutHome) -> Vec<PathBuf> {
    every_file(home.root()).into_iter().filter(|path| path.to_string_lossy().contains(".damaged-")).collect()
}

fn every_file(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(every_file(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Returns the bytes of every file of a home.
fn state(home: &RolloutHome) -> Vec<(PathBuf, Vec<u8>)> {
    every_file(home.root()).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn whole() -> String {
    whole_of(1)
}

fn whole_of(n: u16) -> String {
    head_line(thread(n), 0, None) + &lines(1..5)
}

#[test]
fn every_damage_is_found_and_repaired_and_a_second_diagnosis_is_clean() {
    let whole = whole();
    let torn = &line(5)[..40];
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("torn", [whole.as_bytes(), torn.as_bytes()].concat(), &["torn"]),
        ("spliced", (whole.clone() + torn + &line(6)).into(), &["not_json"]),
        ("sealed", (whole.clone() + torn + "\n" + &line(6)).into(), &["not_json"]),
        ("one line", (whole.clone() + line(5).trim_end() + &line(6)).into(), &["spliced_lines"]),
        ("one line with a space", (whole.clone() + line(5).trim_end() + " " + &line(6)).into(), &["spliced_lines"]),
        ("nul", [whole.as_bytes(), &[0; 5000], line(5).as_bytes()].concat(), &["nul"]),
        ("nul tail", [whole.as_bytes(), &[0; 5000]].concat(), &["nul"]),
        ("utf8", [whole.as_bytes(), b"{\"a\":\"\xff\"}\n", line(5).as_bytes()].concat(), &["invalid_utf8"]),
        ("bom", [b"\xef\xbb\xbf", whole.as_bytes()].concat(), &["byte_order_mark"]),
        ("unsealed", whole.trim_end().into(), &["unsealed"]),
        ("headless", lines(1..5).into(), &["missing_head"]),
        ("broken head", ("{\"times\n".to_owned() + &lines(1..5)).into(), &["missing_head", "not_json"]),
        ("crlf", whole.replace('\n', "\r\n").into(), &[]),
        ("blank lines", whole.replace('\n', "\n \n\n").into(), &[]),
        ("empty", Vec::new(), &[]),
        ("nothing but damage", b"junk\n\0\0\0".to_vec(), &["not_json", "nul"]),
        ("whole", whole.clone().into(), &[]),
    ];
    for (name, bytes, wanted) in cases {
        for compressed in [false, true] {
            let test = TestHome::new();
            let plain = test.put_thread(thread(1), &bytes);
            let mut path = plain.clone();
            if compressed {
                path = plain.with_extension("jsonl.zst");
                fs::write(&path, zstd::encode_all(&bytes[..], 1).unwrap()).unwrap();
                fs::remove_file(&plain).unwrap();
            }
            let before = texts(&read_file(&path)).into_iter().map(str::to_owned).collect::<Vec<_>>();
            let original = fs::read(&path).unwrap();
            let found = check_home(&test.home);
            let mut found = kinds(&found);
            found.sort_unstable();
            assert_eq!(found, wanted, "{name}");

            // A dry run changes nothing.
            let all = state(&test.home);
            let planned = repair(&test.home, &check_home(&test.home), true);
            assert_eq!(state(&test.home), all, "{name}");
            let steps = repair_all(&test.home);
            assert_eq!(errors(&steps), [""; 0], "{name}");
            let done = |steps: &[RepairStep]| {
                steps.iter().map(|step| (step.action, step.path.clone(), step.detail.clone())).collect::<Vec<_>>()
            };
            assert_eq!(done(&planned), done(&steps), "{name}");

            let after = check_home(&test.home);
            assert!(after.findings.iter().all(|finding| finding.severity == Severity::Notice), "{name}: {after:?}");
            let now = if wanted.is_empty() { &path } else { &plain };
            let lines = read_file(now);
            let heads = usize::from(wanted.contains(&"missing_head"));
            assert_eq!(texts(&lines)[heads..], before, "{name}: every intact line is there");
            assert_eq!(kept(&test.home).len(), usize::from(!wanted.is_empty()), "{name}");
            for kept in kept(&test.home) {
                assert_eq!(fs::read(kept).unwrap(), original, "{name}: the original is kept unchanged");
            }
            assert_eq!(test.files().all_files(thread(1)).count(), 1, "{name}");
        }
    }
}

#[test]
fn a_compressed_file_is_repaired_from_what_decompresses() {
    let test = TestHome::new();
    let path = test.put_thread(thread(1), "");
    fs::remove_file(&path).unwrap();
    let compressed = path.with_extension("jsonl.zst");
    let second = zstd::encode_all(line(5).as_bytes(), 1).unwrap();
    let bytes = [&zstd::encode_all(whole().as_bytes(), 1).unwrap()[..], &second[..second.len() / 2]].concat();
    fs::write(&compressed, &bytes).unwrap();
    assert_eq!(kinds(&check_home(&test.home)).last(), Some(&"compression"));
    assert_eq!(errors(&repair_all(&test.home)), [""; 0]);
    assert_eq!(fs::read_to_string(&path).unwrap(), whole());
    assert!(!compressed.exists());
    assert_eq!(fs::read(&kept(&test.home)[0]).unwrap(), bytes);
    assert_eq!(kinds(&check_home(&test.home)), [""; 0]);
}

/// Returns the lines of a thread's history, without damage.
fn history(home: &RolloutHome, id: ThreadId) -> String {
    let resolved = ResolvedHistory::resolve(&home.files().unwrap(), id).unwrap().unwrap();
    let mut out = String::new();
    for entry in resolved.reader() {
        match entry.unwrap() {
            HistoryEntry::Entry { part, entry: Entry::Line(record) } => {
                write!(out, "{part}:{} ", record.line.ordinal().unwrap()).unwrap();
            }
            HistoryEntry::Entry { .. } => {}
            HistoryEntry::Short { part, .. } => write!(out, "{part}:short ").unwrap(),
        }
    }
    out
}

#[test]
fn positions_that_forks_refer_to_do_not_move() {
    let torn = &line(2)[..30];
    let start = head_line(thread(1), 0, None) + "\u{0}\u{0}\u{0}" + &line(1) + torn + &line(3);
    let test = TestHome::new();
    let base = test.put_thread(thread(1), start.clone() + "junk\n" + &lines(4..6) + torn);
    test.put_thread(thread(2), head_line(thread(2), 4, Some((thread(1).into(), 4, start.len()))) + &lines(5..7));
    let before = history(&test.home, thread(2));
    assert_eq!(before, "0:0 0:1 0:3 1:4 1:5 1:6 ");
    assert_eq!(errors(&repair_all(&test.home)), [""; 0]);
    assert_eq!(kinds(&check_home(&test.home)), [""; 0]);
    assert_eq!(history(&test.home, thread(2)), before);
    let repaired = fs::read_to_string(base).unwrap();
    assert_eq!(repaired.len(), start.len() + lines(4..6).len(), "what is behind the last reference moves up");
    assert_eq!(repaired[..start.len()].find(&line(3)), start.find(&line(3)));
    assert_eq!(repaired[start.len()..], lines(4..6));
    assert!(repaired.lines().all(|line| line.trim().starts_with('{') || line.trim().is_empty()), "{repaired}");
}

#[test]
fn a_newline_without_room_is_not_inserted_but_reported() {
    let start = head_line(thread(1), 0, None) + line(1).trim_end() + &line(2);
    let test = TestHome::new();
    let base = test.put_thread(thread(1), &start);
    test.put_thread(thread(2), head_line(thread(2), 3, Some((thread(1).into(), 3, start.len()))));
    let steps = repair_all(&test.home);
    assert!(errors(&steps)[0].contains("no room for a newline"), "{steps:?}");
    assert_eq!(fs::read_to_string(base).unwrap(), start);
    assert_eq!(history(&test.home, thread(2)), "0:0 0:1 0:2 1:3 ", "it is still read");
}

#[test]
fn a_new_head_takes_the_room_of_the_old_one() {
    let lost = "x".repeat(600) + "\n";
    let start = lost.clone() + &lines(1..4);
    let test = TestHome::new();
    let base = test.put_thread(thread(1), start.clone() + &lines(4..5));
    test.put_thread(thread(2), head_line(thread(2), 4, Some((thread(1).into(), 4, start.len()))));
    assert_eq!(errors(&repair_all(&test.home)), [""; 0]);
    let repaired = fs::read_to_string(base).unwrap();
    assert_eq!(repaired[lost.len()..], lines(1..5));
    assert!(
        repaired.starts_with("{\"timestamp\":\"2026-11-21T09:08:56.690Z\",\"ordinal\":0,\"type\":\"session_meta\"")
    );
    assert_eq!(kinds(&check_home(&test.home)), [""; 0]);
    assert_eq!(history(&test.home, thread(2)), "0:0 0:1 0:2 0:3 1:4 ");
}

#[test]
fn faults_of_bases_are_found_and_not_repaired() {
    let find = |base: Option<String>, byte: usize| {
        let test = TestHome::new();
        if let Some(base) = base {
            test.put_thread(thread(1), base);
        }
        test.put_thread(thread(2), head_line(thread(2), 4, Some((thread(1).into(), 4, byte))) + &lines(5..6));
        let found = kinds(&check_home(&test.home));
        repair_all(&test.home);
        assert_eq!(kinds(&check_home(&test.home)), found, "no repair can do that");
        found
    };
    let start = head_line(thread(1), 0, None) + &lines(1..4);
    assert_eq!(find(Some(start.clone() + &lines(4..6)), start.len()), [""; 0]);
    assert_eq!(find(None, start.len()), ["missing_base"]);
    assert_eq!(find(Some(head_line(thread(1), 0, None)), start.len()), ["base_too_short"]);
    assert_eq!(find(Some(start.clone() + &lines(4..6)), start.len() - 3), ["base_differs"]);
    let own = head_line(thread(1), 4, Some((thread(2).into(), 4, 10)));
    assert_eq!(find(Some(own + &lines(4..9)), 10), ["base_cycle", "base_cycle"]);
}

#[test]
fn a_chain_that_leads_into_a_circle_is_not_part_of_it() {
    let test = TestHome::new();
    // 1 and 2 lead into the circle of 3, 4 and 5. 6 has no base, and 7 is its own base.
    for (n, base) in [(1, 2), (2, 3), (3, 4), (4, 5), (5, 3), (6, 9), (7, 7)] {
        test.put_thread(thread(n), head_line(thread(n), 4, Some((thread(base).into(), 4, 10))));
    }
    let found = check_home(&test.home);
    let in_circles = found.findings.iter().filter(|finding| finding.kind == FindingKind::BaseCycle);
    let mut in_circles: Vec<ThreadId> = in_circles.filter_map(|finding| finding.thread_id).collect();
    in_circles.sort_unstable();
    assert_eq!(in_circles, [3, 4, 5, 7].map(thread));
    assert_eq!(kinds(&found).iter().filter(|kind| **kind == "missing_base").count(), 1);
}

#[test]
fn leftovers_in_a_home_are_found_and_removed() {
    let test = TestHome::new();
    let path = test.put_thread(thread(1), whole());
    // A compressed form, and an archived copy that ends earlier: the file that counts has all of their content.
    fs::write(path.with_extension("jsonl.zst"), zstd::encode_all(whole().as_bytes(), 1).unwrap()).unwrap();
    fs::create_dir_all(test.home.archived_dir()).unwrap();
    let archived = test.home.archived_dir().join(path.file_name().unwrap());
    fs::write(&archived, head_line(thread(1), 0, None) + &lines(1..2)).unwrap();
    // A duplicate with other content.
    let other = path.with_file_name(format!("rollout-2026-11-21T09-08-55-{}.jsonl", thread(1)));
    fs::write(&other, head_line(thread(1), 0, None) + &lines(1..2) + &lines(7..8)).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let leftover = path.with_file_name(format!(".{name}.tmp-{:032x}", 7));
    fs::write(&leftover, "half").unwrap();
    let foreign = path.with_file_name(".notes.tmp-1");
    fs::write(&foreign, "mine").unwrap();
    fs::create_dir_all(test.home.locks_dir()).unwrap();
    let lock = test.home.locks_dir().join(format!("{}.lock", thread(5)));
    fs::write(&lock, "").unwrap();
    NameIndex::set(&test.home, thread(1), Some("here"), at("2026-11-21T09:08:57.000Z")).unwrap();
    NameIndex::set(&test.home, thread(9), Some("gone"), at("2026-11-21T09:08:57.000Z")).unwrap();
    let names = fs::read(test.home.name_index_path()).unwrap();
    fs::write(test.home.name_index_path(), [b"junk\n{\"of\":\"tomorrow\"}\n", &names[..]].concat()).unwrap();

    let mut found = kinds(&check_home(&test.home));
    found.sort_unstable();
    let wanted = ["damaged_names", "duplicate", "duplicate", "duplicate", "leftover", "orphan_name", "stale_lock"];
    assert_eq!(found, wanted);
    let counting = test.files().segments(thread(1))[0].path.clone();
    let counted = fs::read(&counting).unwrap();
    let steps = repair_all(&test.home);
    assert_eq!(errors(&steps), [""; 0]);
    assert_eq!(kinds(&check_home(&test.home)), [""; 0]);
    assert_eq!(fs::read(&counting).unwrap(), counted);
    assert_eq!(test.files().all_files(thread(1)).count(), 1);
    assert!(foreign.exists() && !leftover.exists() && !lock.exists());
    let names = NameIndex::load(&test.home).unwrap();
    assert_eq!((names.get(thread(1)).unwrap().name.as_str(), names.get(thread(9))), ("here", None));
    assert!(fs::read_to_string(test.home.name_index_path()).unwrap().contains("of\":\"tomorrow"));
    let set_aside = steps.iter().filter(|step| step.action == RepairAction::SetAside).count();
    let removed = steps.iter().filter(|step| step.action == RepairAction::RemoveDuplicate).count();
    assert_eq!((set_aside, removed), (2, 1), "{steps:?}");
}

#[test]
fn a_thread_that_is_being_written_is_left_alone() {
    let test = TestHome::new();
    let path = test.put_thread(thread(1), whole() + "junk\n" + &line(5)[..20]);
    let _lock = WriterLock::acquire(&test.home, thread(1)).unwrap();
    let found = check_home(&test.home);
    assert_eq!(kinds(&found), ["not_json"], "what is at the end is being written");
    let before = fs::read(&path).unwrap();
    for dry_run in [true, false] {
        let steps = repair(&test.home, &found, dry_run);
        assert!(errors(&steps).iter().any(|error| error.contains("is being written by process")), "{steps:?}");
        assert_eq!(fs::read(&path).unwrap(), before);
    }
}

#[test]
fn only_the_wanted_threads_are_checked() {
    let test = TestHome::new();
    test.put_thread(thread(1), whole() + "junk\n");
    test.put_thread(thread(2), head_line(thread(2), 0, None) + "junk\n");
    let only = HashSet::from([thread(2)]);
    let found = diagnose(&test.home, Some(&only), &|_| {}).unwrap();
    assert_eq!(found.checked.files, 1);
    assert!(found.findings.iter().all(|finding| finding.thread_id == Some(thread(2))));
    assert_eq!(errors(&repair(&test.home, &found, false)), [""; 0]);
    assert_eq!(kinds(&check_home(&test.home)), ["not_json"], "the other one is as it was");
}

#[test]
fn repeated_and_missing_ordinals_are_no_fault_and_stay() {
    let test = TestHome::new();
    let text = head_line(thread(1), 0, None) + &lines(1..3) + &lines(2..3) + &lines(6..7) + "{\"a\":1}\n";
    let path = test.put_thread(thread(1), &text);
    let found = check_home(&test.home);
    assert_eq!(kinds(&found), [""; 0]);
    assert_eq!(all_kinds(&test.home), ["repeated_ordinal", "ordinal_gap", "missing_ordinal"]);
    repair_all(&test.home);
    assert_eq!(fs::read_to_string(path).unwrap(), text);
}

#[test]
fn a_file_with_the_head_of_another_thread_is_found_and_not_repaired() {
    let test = TestHome::new();
    test.put_thread(thread(1), head_line(thread(2), 0, None) + &lines(1..3));
    assert_eq!(kinds(&check_home(&test.home)), ["foreign_head"]);
    assert_eq!(repair_all(&test.home).iter().filter(|step| step.action == RepairAction::RewriteFile).count(), 0);
}

#[cfg(unix)]
#[test]
fn modes_are_restricted_to_the_owner() {
    use std::os::unix::fs::PermissionsExt;

    let test = TestHome::new();
    let path = test.put_thread(thread(1), whole());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
    let dir = path.parent().unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    let found = check_home(&test.home);
    let wide = |path: &Path| {
        found.findings.iter().any(|finding| finding.kind == FindingKind::WideMode && finding.path == path)
    };
    assert!(wide(&path) && wide(dir));
    assert_eq!(errors(&repair_all(&test.home)), [""; 0]);
    assert_eq!(check_home(&test.home).findings, []);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(dir)), (0o600, 0o700));
}

#[cfg(unix)]
#[test]
fn links_are_reported_and_not_followed() {
    use std::os::unix::fs::symlink;

    let test = TestHome::new();
    let path = test.put_thread(thread(1), whole());
    let outside = test.dir().join("outside.jsonl");
    fs::write(&outside, "junk, and not ours\n").unwrap();
    let link = path.with_file_name(format!("rollout-2026-11-21T09-08-56-{}.jsonl", thread(2)));
    symlink(&outside, &link).unwrap();
    symlink(test.dir(), path.parent().unwrap().parent().unwrap().join("22")).unwrap();
    let found = check_home(&test.home);
    let links = found.findings.iter().filter(|finding| finding.kind == FindingKind::SymbolicLink).count();
    assert_eq!((links, kinds(&found)), (2, vec![]));
    repair_all(&test.home);
    assert_eq!(fs::read_to_string(&outside).unwrap(), "junk, and not ours\n");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[test]
fn the_names_of_kinds_never_change() {
    let names: Vec<&str> = FindingKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let wanted = "invalid_utf8 not_json torn nul byte_order_mark too_long compression spliced_lines unsealed missing_head \
                  foreign_head bad_head_id unknown_history_mode interleaved_writers unreadable missing_base \
                  abandoned_without_base base_too_short base_differs base_cycle diverged_history duplicate leftover \
                  stale_lock orphan_name damaged_names writable_by_all wide_mode symbolic_link foreign stray_rollout \
                  stray_copy network_file_system empty ordinal_gap repeated_ordinal missing_ordinal";
    assert_eq!(names.join(" "), wanted);
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/damage.md")).unwrap();
    for name in names {
        assert!(page.contains(&format!("`{name}`")), "docs/damage.md does not explain {name}");
    }
}

#[test]
fn a_recorded_home_has_no_findings() {
    for story in ["story-0.169.0", "story-0.144.6", "basic-0.20.0"] {
        let found = check_home(&crate::support::sample_home(story));
        assert_eq!(kinds(&found), [""; 0], "{story}: {:?}", found.findings);
        assert!(found.checked.lines > 0);
    }
}

#[test]
fn work_of_other_processes_is_no_damage() {
    let test = TestHome::new();
    let path = test.put_thread(thread(1), whole());
    let bytes = fs::read(&path).unwrap();
    NameIndex::set(&test.home, thread(2), Some("to come"), at("2026-11-21T09:08:57Z")).unwrap();
    let named = WriterLock::acquire(&test.home, thread(2)).unwrap();
    // A file is compressed during the diagnosis: there are two files of one segment until the lock is released.
    let lock = WriterLock::acquire(&test.home, thread(1)).unwrap();
    let compressed = path.with_extension("jsonl.zst");
    fs::write(&compressed, zstd::encode_all(&bytes[..], 0).unwrap()).unwrap();
    let found = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            fs::remove_file(&path).unwrap();
            drop(lock);
        });
        check_home(&test.home)
    });
    assert_eq!(kinds(&found), [""; 0]);
    let steps = repair_all(&test.home);
    assert_eq!(errors(&steps), [""; 0]);
    assert_eq!(NameIndex::load(&test.home).unwrap().get(thread(2)).map(|entry| entry.name.as_str()), Some("to come"));
    // If no process holds the lock, it is damage.
    drop(named);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(kinds(&check_home(&test.home)), ["orphan_name", "duplicate"]);
    // A thread that is named and not created yet, between diagnosis and repair, keeps its name.
    let found = check_home(&test.home);
    let lock = WriterLock::acquire(&test.home, thread(2)).unwrap();
    assert_eq!(errors(&repair(&test.home, &found, false)).len(), 1);
    drop(lock);
    assert!(NameIndex::load(&test.home).unwrap().get(thread(2)).is_some());
    test.put_thread(thread(2), whole_of(2));
    assert_eq!(
        repair(&test.home, &found, false).iter().filter(|step| step.action == RepairAction::ClearName).count(),
        0
    );
    assert!(NameIndex::load(&test.home).unwrap().get(thread(2)).is_some());
}

#[test]
fn files_that_move_while_the_doctor_reads_are_followed() {
    let test = TestHome::new();
    let paths: Vec<PathBuf> = (1..=40).map(|n| test.put_thread(thread(n), whole_of(n))).collect();
    fs::create_dir_all(test.home.archived_dir()).unwrap();
    // The other reader waits in its own call until the files are moved, so that it has read two files at most.
    let moved = Once::new();
    let found = diagnose(&test.home, None, &|_| {
        moved.call_once(|| {
            for path in &paths[30..] {
                fs::rename(path, test.home.archived_dir().join(path.file_name().unwrap())).unwrap();
            }
            fs::remove_file(&paths[29]).unwrap();
        });
    });
    let found = found.unwrap();
    assert_eq!((kinds(&found), found.checked.files), (Vec::new(), 39));
}

#[test]
fn the_same_one_of_two_claims_on_a_segment_is_reported_each_time() {
    let test = TestHome::new();
    for n in 1..=2 {
        test.put_thread(thread(n), whole_of(n));
        test.put_segment(thread(n), segment(1), whole_of(n));
    }
    for _ in 0..20 {
        assert_eq!(kinds(&check_home(&test.home)), ["duplicate"]);
    }
}

/// Returns the kinds of all findings that are not about modes, notices included.
fn all_kinds(home: &RolloutHome) -> Vec<&'static str> {
    let kinds = check_home(home).findings.into_iter().map(|finding| finding.kind);
    kinds.filter(|kind| *kind != FindingKind::WideMode).map(FindingKind::as_str).collect()
}

#[test]
fn a_head_whose_id_is_no_uuid_gets_a_head_before_it() {
    for id in [json!("my-session"), json!(17), json!(null)] {
        let payload = json!({"id": id, "timestamp": "2026-11-21T09:08:56.660Z", "cwd": "/p", "cli_version": "0.144.0"});
        let head = format!(
            "{}\n",
            json!({"timestamp": "2026-11-21T09:08:56.680Z", "type": "session_meta", "payload": payload})
        );
        let test = TestHome::new();
        let path = test.put_thread(thread(1), &head);
        assert_eq!(all_kinds(&test.home), ["bad_head_id"], "{id}");
        assert_eq!(errors(&repair_all(&test.home)), [""; 0]);
        assert_eq!(all_kinds(&test.home), [""; 0]);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.ends_with(&head), "the line stays");
        let head = selvedge_rollout::read_head(&test.files().segments(thread(1))[0]).unwrap().unwrap();
        assert_eq!((head.id, head.cwd.as_deref()), (Some(thread(1)), Some("/p")));
        assert_eq!((head.cli_version.as_deref(), head.originator.as_deref()), (Some("0.144.0"), Some("selvedge")));
    }
}

#[test]
fn an_unknown_history_mode_is_found_and_left_alone() {
    let test = TestHome::new();
    let path = test.put_thread(thread(1), head_line(thread(1), 0, None).replace("paginated", "columnar"));
    let before = fs::read(&path).unwrap();
    let found = check_home(&test.home).findings;
    let found: Vec<_> = found.iter().filter(|finding| finding.kind != FindingKind::WideMode).collect();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].kind, found[0].severity), (FindingKind::UnknownHistoryMode, Severity::Fault));
    assert!(found[0].detail.contains("\"columnar\"") && !found[0].is_repairable && !found[0].remedy.is_empty());
    repair_all(&test.home);
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// Returns a file in which each word is a line: `+a` begins turn `a`, `-a` completes it, `!a` aborts it, `a` is an item of it.
fn turns(words: &str) -> String {
    let mut text = head_line(thread(1), 0, None).replace("paginated", "legacy");
    for word in words.split_whitespace() {
        let (kind, turn) = match word.split_at(1) {
            ("+", turn) => ("task_started", turn),
            ("-", turn) => ("task_complete", turn),
            ("!", turn) => ("turn_aborted", turn),
            _ => ("item_completed", word),
        };
        let payload = json!({"type": kind, "turn_id": turn});
        text +=
            &format!("{}\n", json!({"timestamp": "2026-11-21T09:08:56.680Z", "type": "event_msg", "payload": payload}));
    }
    text
}

#[test]
fn two_writers_in_one_file_are_found() {
    for (words, wanted) in [
        ("+a a -a +b b -b", false),
        // A crash, and the next turn.
        ("+a a +b b -b", false),
        // The end of an interrupted turn may be noted late.
        ("+a a +b !a b -b", false),
        ("+a a -a a +b b -b", false),
        ("+a +a a -a", false),
        ("+a a +b a b -a -b", true),
        ("+a +b b -a b -b", true),
        ("+a +b a b -b -a", true),
    ] {
        let test = TestHome::new();
        test.put_thread(thread(1), turns(words));
        let found = all_kinds(&test.home);
        assert_eq!(found.contains(&"interleaved_writers"), wanted, "{words}: {found:?}");
        assert_eq!(repair_all(&test.home).iter().filter(|step| step.action == RepairAction::RewriteFile).count(), 0);
    }
}

#[test]
fn an_abandoned_segment_without_its_base_is_a_notice() {
    let test = TestHome::new();
    let base: SegmentId = thread(9).into();
    test.put_thread(thread(1), head_line(thread(1), 4, Some((base, 4, 900))) + &line(5));
    assert_eq!(all_kinds(&test.home), ["missing_base"]);
    test.put_segment(thread(1), segment(0xb001), head_line(thread(1), 0, None) + &lines(1..3));
    assert_eq!(all_kinds(&test.home), ["abandoned_without_base"]);
    assert_eq!(kinds(&check_home(&test.home)), [""; 0]);
}

#[cfg(unix)]
#[test]
fn modes_of_a_home_as_codex_leaves_it_are_notices() {
    use std::os::unix::fs::PermissionsExt;

    let modes = |test: &TestHome| -> Vec<(&'static str, Severity)> {
        let found = check_home(&test.home).findings.into_iter();
        found.map(|finding| (finding.kind.as_str(), finding.severity)).collect()
    };
    let test = TestHome::new();
    let path = test.put_thread(thread(1), whole());
    for file in every_directory(test.home.root()) {
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (mode, wanted) in [(0o600, 4), (0o644, 5), (0o664, 5)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(modes(&test), vec![("wide_mode", Severity::Notice); wanted], "{mode:o}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(modes(&test).contains(&("writable_by_all", Severity::Fault)));
    repair_all(&test.home);
    assert_eq!(modes(&test), []);
}

#[cfg(unix)]
fn every_directory(dir: &Path) -> Vec<PathBuf> {
    let dirs = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    dirs.flat_map(|dir| [vec![dir.clone()], every_directory(&dir)].concat()).collect()
}

#[test]
fn every_recording_is_healthy() {
    for entry in fs::read_dir(crate::support::samples()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "README.md" {
            assert_eq!(kinds(&check_home(&crate::support::sample_home(&name))), [""; 0], "{name}");
        }
    }
}
