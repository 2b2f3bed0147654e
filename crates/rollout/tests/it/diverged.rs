//! Diverged histories: found by all readers, and kept as forks by a repair.

use std::fs;

use selvedge_protocol::{SegmentId, ThreadId};
use selvedge_rollout::doctor::{FindingKind, RepairAction, RepairStep, Severity, diagnose, repair};
use selvedge_rollout::{DivergedSegment, HistoryEntry, NameIndex, ResolvedHistory, RolloutHome};
use serde_json::{Value, json};

use crate::support::{TestHome, at, sample_home, samples, segment, thread};

/// A segment that is written line by line. The time of a line is the number of seconds after 09:00.
struct Lines {
    text: String,
    ordinal: u64,
}

type Base = (SegmentId, u64, usize);

impl Lines {
    fn begin(id: ThreadId, second: u64, base: Option<Base>) -> Self {
        let mut payload = json!({"id": id, "timestamp": time(second), "history_mode": "paginated", "cwd": "/p"});
        if let Some((segment, ordinal, byte)) = base {
            payload["history_base"] =
                json!({"thread_id": segment, "end_ordinal_exclusive": ordinal, "end_byte_offset": byte});
        }
        let ordinal = base.map_or(0, |(_, ordinal, _)| ordinal);
        Self { text: String::new(), ordinal }.add(second, "session_meta", payload)
    }

    #[expect(clippy::needless_pass_by_value, reason = "the callers make it on the spot")]
    fn add(mut self, second: u64, kind: &str, payload: Value) -> Self {
        let line = json!({"timestamp": time(second), "ordinal": self.ordinal, "type": kind, "payload": payload});
        self.text += &format!("{line}\n");
        self.ordinal += 1;
        self
    }

    fn turn(self, second: u64, text: &str) -> Self {
        let content = json!([{"type": "input_text", "text": text}]);
        let message = json!({"type": "message", "role": "user", "content": content});
        self.add(second, "event_msg", json!({"type": "task_started", "turn_id": text}))
            .add(second, "response_item", message)
            .add(second, "event_msg", json!({"type": "task_complete", "turn_id": text}))
    }

    /// Returns the base of a segment that continues behind these lines.
    fn end(&self, id: impl Into<SegmentId>) -> Option<Base> {
        Some((id.into(), self.ordinal, self.text.len()))
    }
}

fn time(second: u64) -> String {
    format!("2026-11-21T09:{:02}:{:02}.000Z", second / 60, second % 60)
}

fn id() -> ThreadId {
    thread(1)
}

/// Writes the segments of a thread, the first one first.
fn home_of(segments: &[&Lines]) -> TestHome {
    let test = TestHome::new();
    for (number, lines) in (0_u16..).zip(segments) {
        match number {
            0 => test.put_thread(id(), &lines.text),
            later => test.put_segment(id(), segment(0xb000 + later), &lines.text),
        };
    }
    test
}

fn later(number: u16) -> SegmentId {
    segment(0xb000 + number)
}

/// Returns the segments that are found, each with its turns.
fn found(test: &TestHome) -> Vec<(SegmentId, u64)> {
    let files = test.files();
    let found = DivergedSegment::find(&files, id(), |_| Ok(0)).unwrap();
    found.into_iter().map(|one| (one.segment_id, one.turns)).collect()
}

fn findings(home: &RolloutHome) -> Vec<FindingKind> {
    let diagnosis = diagnose(home, None, &|_| {}).unwrap();
    let faults = diagnosis.findings.iter().filter(|finding| finding.severity == Severity::Fault);
    faults.map(|finding| finding.kind).filter(|kind| *kind != FindingKind::WideMode).collect()
}

fn repair_all(home: &RolloutHome) -> Vec<RepairStep> {
    let diagnosis = diagnose(home, None, &|_| {}).unwrap();
    let steps = repair(home, &diagnosis, false);
    assert!(steps.iter().all(|step| step.error.is_none()), "{steps:?}");
    steps.into_iter().filter(|step| step.action == RepairAction::Fork).collect()
}

/// Returns the turns that begin in the history of a thread.
fn turns(home: &RolloutHome, thread_id: ThreadId) -> Vec<String> {
    let files = home.files().unwrap();
    let resolved = ResolvedHistory::resolve(&files, thread_id).unwrap().unwrap();
    assert_eq!(resolved.missing, None);
    let mut turns = Vec::new();
    for entry in resolved.reader() {
        let HistoryEntry::Entry { entry: selvedge_protocol::log::Entry::Line(record), .. } = entry.unwrap() else {
            panic!("damage");
        };
        let line: Value = serde_json::from_str(record.line.text()).unwrap();
        if line["payload"]["type"] == "task_started" {
            turns.push(line["payload"]["turn_id"].as_str().unwrap().to_owned());
        }
    }
    turns
}

/// One turn, then a second one that a revert takes back at second 20.
fn reverted() -> (Lines, Lines) {
    let first = Lines::begin(id(), 1, None).turn(5, "one");
    let base = first.end(id());
    (first.turn(10, "two"), Lines::begin(id(), 20, base))
}

#[test]
fn what_a_revert_took_back_is_not_diverged() {
    let (first, second) = reverted();
    assert_eq!(found(&home_of(&[&first, &second])), []);
    // A line that is as old as the head, and what a program notes when it abandons a segment.
    let first = first
        .turn(20, "as old")
        .add(21, "event_msg", json!({"type": "turn_aborted", "turn_id": "two"}))
        .add(21, "event_msg", json!({"type": "thread_settings_applied"}))
        .add(21, "token_usage_record", json!({}));
    assert_eq!(found(&home_of(&[&first, &second])), []);
    let test = home_of(&[&first, &second]);
    assert_eq!(findings(&test.home), []);
}

#[test]
fn lines_that_are_younger_than_the_next_segment_become_a_fork() {
    let (first, second) = reverted();
    let (first, second) = (first.turn(30, "three").turn(40, "four"), second.turn(25, "instead"));
    let test = home_of(&[&first, &second]);
    NameIndex::set(&test.home, id(), Some("zebras"), at("2026-11-21T10:00:00Z")).unwrap();
    assert_eq!(found(&test), [(id().into(), 2)]);
    assert_eq!(findings(&test.home), [FindingKind::DivergedHistory]);

    let diagnosis = diagnose(&test.home, None, &|_| {}).unwrap();
    let planned = repair(&test.home, &diagnosis, true);
    assert!(
        planned.iter().any(|step| step.action == RepairAction::Fork && step.new_thread_id.is_none()),
        "{planned:?}"
    );
    assert_eq!(findings(&test.home), [FindingKind::DivergedHistory]);

    let steps = repair_all(&test.home);
    let [RepairStep { new_thread_id: Some(fork), .. }] = steps[..] else { panic!("{steps:?}") };
    assert_eq!(turns(&test.home, fork), ["one", "two", "three", "four"]);
    assert_eq!(turns(&test.home, id()), ["one", "instead"]);
    let head = selvedge_rollout::read_head(&test.files().segments(fork)[0]).unwrap().unwrap();
    assert_eq!((head.forked_from_id, head.cwd.as_deref()), (Some(id()), Some("/p")));
    assert!(head.originator.is_some() && head.cli_version.is_some());
    let names = NameIndex::load(&test.home).unwrap();
    assert_eq!(names.get(fork).unwrap().name, "zebras (diverged)");
    assert_eq!((findings(&test.home), repair_all(&test.home)), (Vec::new(), Vec::new()));

    // What only describes the thread makes no second fork; another turn does.
    let path = test.files().segments(id())[0].path.clone();
    let first = first.add(50, "event_msg", json!({"type": "thread_settings_applied"}));
    fs::write(&path, &first.text).unwrap();
    assert_eq!(findings(&test.home), []);
    fs::write(&path, first.turn(60, "five").text).unwrap();
    assert_eq!(findings(&test.home), [FindingKind::DivergedHistory]);
    let steps = repair_all(&test.home);
    assert_eq!(turns(&test.home, steps[0].new_thread_id.unwrap()), ["one", "two", "three", "four", "five"]);
    assert_eq!(findings(&test.home), []);
}

#[test]
fn each_segment_is_compared_with_the_one_that_followed_it() {
    // The second revert goes back further than the first one, so its base is in the first segment, too.
    let first = Lines::begin(id(), 1, None).turn(5, "one");
    let early = first.end(id());
    let first = first.turn(6, "two");
    let late = first.end(id());
    let first = first.turn(7, "three");
    let (second, third) = (Lines::begin(id(), 20, late), Lines::begin(id(), 40, early));
    assert_eq!(found(&home_of(&[&first, &second, &third])), []);
    // Younger than the first revert and older than the second one: the second one knew only the second segment.
    let first = first.turn(30, "between");
    assert_eq!(found(&home_of(&[&first, &second, &third])), [(id().into(), 1)]);
    let second = second.turn(50, "behind");
    let test = home_of(&[&first, &second, &third]);
    assert_eq!(found(&test), [(id().into(), 1), (later(1), 1)]);
    let forks = repair_all(&test.home);
    let forks: Vec<_> = forks.iter().map(|step| turns(&test.home, step.new_thread_id.unwrap())).collect();
    assert_eq!(forks, [vec!["one", "two", "three", "between"], vec!["one", "two", "behind"]]);
    assert_eq!(findings(&test.home), []);
}

#[test]
fn a_segment_that_the_next_writer_did_not_know_is_diverged_as_a_whole() {
    let (first, second) = reverted();
    let second = second.turn(25, "instead");
    let base = first.end(id());
    // Begun behind lines that are not in the history of the second segment.
    let third = Lines::begin(id(), 60, base).turn(61, "three");
    let test = home_of(&[&first, &second, &third]);
    assert_eq!(found(&test), [(later(1), 1)]);
    let steps = repair_all(&test.home);
    assert_eq!(turns(&test.home, steps[0].new_thread_id.unwrap()), ["one", "instead"]);
    assert_eq!(turns(&test.home, id()), ["one", "two", "three"]);
    assert_eq!(findings(&test.home), []);
    // Without a turn of its own there is nothing to keep.
    let (first, second) = reverted();
    assert_eq!(found(&home_of(&[&first, &second, &third])), []);
}

#[test]
fn damage_and_compression_hide_nothing() {
    let (first, second) = reverted();
    let first = first.turn(30, "three");
    let torn = first.text.clone() + "{\"timestamp\":\"2026";
    let test = home_of(&[&first, &second]);
    let path = test.files().segments(id())[0].path.clone();
    fs::write(&path, torn).unwrap();
    assert_eq!(findings(&test.home).len(), 2);
    let steps = repair_all(&test.home);
    assert_eq!(turns(&test.home, steps[0].new_thread_id.unwrap()), ["one", "two", "three"]);
    assert_eq!(findings(&test.home), []);

    let test = home_of(&[&first, &second]);
    let path = test.files().segments(id())[0].path.clone();
    test.home.compress_in_place(&path).unwrap();
    assert_eq!(found(&test), [(id().into(), 1)]);
    let steps = repair_all(&test.home);
    assert_eq!(turns(&test.home, steps[0].new_thread_id.unwrap()), ["one", "two", "three"]);
    assert_eq!(findings(&test.home), []);
}

#[test]
fn no_recording_is_diverged() {
    for entry in fs::read_dir(samples()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "README.md" {
            continue;
        }
        let files = sample_home(&name).files().unwrap();
        for (thread_id, _) in files.threads() {
            assert_eq!(DivergedSegment::find(&files, thread_id, |_| Ok(0)).unwrap(), [], "{name} {thread_id}");
        }
    }
}
