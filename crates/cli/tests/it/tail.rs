//! `selvedge tail`: what it prints while other processes write, move and rewind the thread.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use selvedge_protocol::{HistoryMode, RolloutItem, ThreadId};
use selvedge_thread_store::{BatchId, ThreadReader, ThreadStore};
use selvedge_thread_store_local::LocalThreadStore;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::{Home, PLAIN169, T169, UNKNOWN, line, message, meta_line, rollouts, small_log};

/// How many items a turn has.
const TURN: usize = 100;
/// How many forks are also followed.
const FOLLOWED_FORKS: usize = 2;
/// How long anything may take.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// Returns how many items are appended in total. `SELVEDGE_TAIL_ITEMS=100000` is the whole test.
fn item_count() -> usize {
    std::env::var("SELVEDGE_TAIL_ITEMS").map_or(20_000, |text| text.parse().unwrap())
}

/// An object of the JSON output.
#[derive(Deserialize)]
struct TailJson {
    kind: String,
    at: Option<String>,
    to: Option<String>,
    line: Option<Box<RawValue>>,
    complete: Option<bool>,
}

/// The copy of a thread that a reader builds from the output of `tail --json`.
#[derive(Clone, Debug, Default)]
struct Replica {
    entries: Vec<(String, ReplicaEntry)>,
    rewinds: usize,
    /// Index of the first entry that `wait_for` has not checked.
    unseen: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ReplicaEntry {
    Line(String),
    Damage,
}

impl Replica {
    fn apply(&mut self, line: &str) {
        let record: TailJson = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        match record.kind.as_str() {
            "line" => {
                self.entries.push((record.at.unwrap(), ReplicaEntry::Line(record.line.unwrap().get().to_owned())))
            }
            "damage" => {
                assert_eq!(record.complete, Some(true));
                self.entries.push((record.at.unwrap(), ReplicaEntry::Damage));
            }
            "rewound" => {
                let to = record.to.unwrap();
                let kept = self.entries.iter().position(|(at, _)| *at == to);
                self.entries.truncate(kept.unwrap_or_else(|| panic!("nothing was printed that began at {to}")));
                self.unseen = self.unseen.min(self.entries.len());
                self.rewinds += 1;
            }
            other => panic!("{other}"),
        }
    }

    /// Checks that the copy equals an export, entry by entry.
    fn check_equals(&self, export: &str) {
        let expected = export.lines().filter(|line| !line.trim().is_empty()).map(|line| {
            let is_line = serde_json::from_str::<Box<RawValue>>(line).is_ok();
            if is_line { ReplicaEntry::Line(line.trim().to_owned()) } else { ReplicaEntry::Damage }
        });
        let expected: Vec<ReplicaEntry> = expected.collect();
        for (number, (expected, (_, entry))) in expected.iter().zip(&self.entries).enumerate() {
            assert_eq!(entry, expected, "entry {number}");
        }
        assert_eq!(self.entries.len(), expected.len());
    }
}

/// A running `tail --json`, and the thread that reads its output.
struct RunningTail {
    child: Child,
    replica: Arc<Mutex<Replica>>,
    reader: Option<JoinHandle<()>>,
}

impl RunningTail {
    fn start(home: &Home, id: &str) -> Self {
        let mut command = home.command(&["tail", id, "--from-start", "--json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let replica = Arc::new(Mutex::new(Replica::default()));
        let shared = Arc::clone(&replica);
        let reader = thread::spawn(move || {
            for line in stdout.lines() {
                shared.lock().unwrap().apply(&line.unwrap());
            }
        });
        Self { child, replica, reader: Some(reader) }
    }

    /// Waits for a printed line that contains `text`, after the one that the previous call waited for.
    fn wait_for(&self, text: &str) {
        let begun = Instant::now();
        loop {
            let mut replica = self.replica.lock().unwrap();
            let unseen = std::mem::replace(&mut replica.unseen, usize::MAX);
            let is_it =
                |(_, entry): &(String, ReplicaEntry)| matches!(entry, ReplicaEntry::Line(line) if line.contains(text));
            let found = replica.entries.iter().skip(unseen).position(is_it);
            replica.unseen = found.map_or(replica.entries.len(), |at| unseen + at + 1);
            if found.is_some() {
                return;
            }
            let is_over = self.reader.as_ref().is_some_and(JoinHandle::is_finished);
            assert!(begun.elapsed() < TIME_LIMIT && !is_over, "no {text} after {:?}", replica.entries.last());
            drop(replica);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Interrupts the process, and returns what was printed until then.
    fn end(mut self) -> Replica {
        interrupt(&self.child);
        let mut notes = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut notes).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{notes}");
        assert_eq!(notes, "");
        self.reader.take().unwrap().join().unwrap();
        self.replica.lock().unwrap().clone()
    }
}

impl Drop for RunningTail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).unwrap();
}

/// Returns items of short turns. Each contains its number.
fn items(numbers: std::ops::Range<usize>, mode: HistoryMode) -> Vec<RolloutItem> {
    let item = |number: usize| {
        // An id that looks like a synthetic turn id would make every rewind read the whole log.
        let turn = format!("the turn {}", number / TURN);
        let event = |payload: Value| json!({"type": "event_msg", "payload": payload});
        match number % TURN {
            0 => event(json!({"type": "task_started", "turn_id": turn, "number": number})),
            // A legacy log counts turns by these events. A paginated log does not keep them.
            1 if mode == HistoryMode::Legacy => {
                event(json!({"type": "user_message", "message": format!("item {number};"), "images": []}))
            }
            last if last + 1 == TURN => event(json!({"type": "task_complete", "turn_id": turn, "number": number})),
            _ => serde_json::from_str(&message(&format!("item {number};"))).unwrap(),
        }
    };
    numbers.map(|number| serde_json::from_value(item(number)).unwrap()).collect()
}

/// Appends items to a thread, in batches of different sizes. Other tests run this in a process of its own.
#[test]
#[ignore = "a helper of other tests, run in a process of its own"]
fn helper_process_appends_items() {
    let Some(home) = std::env::var_os("SELVEDGE_TEST_HOME") else { return };
    let id: ThreadId = std::env::var("SELVEDGE_TEST_THREAD").unwrap().parse().unwrap();
    let [mut number, end] = ["FIRST", "END"].map(|name| std::env::var(name).unwrap().parse::<usize>().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        // Not through the manager, which would read the model context of the whole thread at each start.
        let store = LocalThreadStore::open(home);
        store.resume_thread(id).await.unwrap();
        let mode = store.read_session_meta(id).await.unwrap().unwrap().mode();
        let mut size = 1;
        while number < end {
            let next = (number + size).min(end);
            store.append_items(id, BatchId::generate(), &items(number..next, mode)).await.unwrap();
            number = next;
            size = size * 7 % 503 + 1;
        }
        store.shutdown_thread(id).await.unwrap();
    });
}

fn writer(home: &Home, id: &str, numbers: std::ops::Range<usize>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", "tail::helper_process_appends_items"]);
    command.env("SELVEDGE_TEST_HOME", home.path()).env("SELVEDGE_TEST_THREAD", id);
    command.env("FIRST", numbers.start.to_string()).env("END", numbers.end.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn write(home: &Home, id: &str, numbers: std::ops::Range<usize>) {
    assert!(writer(home, id, numbers).wait().unwrap().success());
}

#[test]
fn nothing_is_missed_or_repeated_while_another_process_appends() {
    for (mode, count) in [("paginated", item_count()), ("legacy", item_count() / 5)] {
        let home = Home::missing();
        let id = home.new_thread(&["--mode", mode]);
        let tail = RunningTail::start(&home, &id);
        write(&home, &id, 0..count);
        tail.wait_for(&format!("\"number\":{}}}", count - 1));
        let replica = tail.end();
        assert_eq!((replica.entries.len(), replica.rewinds), (count + 1, 0));
        replica.check_equals(&home.ok(&["export", &id]));
    }
}

/// Appends the beginning of a line to the newest file of a thread, as a writer leaves it that dies.
fn tear(home: &Home, id: &str) {
    // The newest segment has the greatest id. The first one has no id in its name.
    let files = rollouts(&home.path()).into_iter().filter(|(thread, ..)| thread == id);
    let (_, _, path) = files.max_by_key(|(_, is_later, path)| (*is_later, path.clone())).unwrap();
    OpenOptions::new().append(true).open(path).unwrap().write_all(br#"{"timestamp":"2026-11-21T09:0"#).unwrap();
}

/// Starts a writer with these items, and kills it while it writes.
fn kill_writer(home: &Home, id: &str, tail: &RunningTail, numbers: std::ops::Range<usize>) {
    let first = format!("item {};", numbers.start + 2);
    let mut child = writer(home, id, numbers);
    tail.wait_for(&first);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Writes a last item and waits until it is printed.
fn write_the_end(home: &Home, id: &str, tail: &RunningTail) {
    write(home, id, usize::MAX - 1..usize::MAX);
    tail.wait_for(&format!("item {};", usize::MAX - 1));
}

fn follow_through_all_changes(mode: &str, count: usize) {
    let home = Home::missing();
    let id = home.new_thread(&["--mode", mode]);
    let tail = RunningTail::start(&home, &id);
    // This test does not query the index, and updates of it would take as long as everything else.
    let ok = |args: &[&str]| home.ok(&[&["--index", "off"], args].concat());
    let mut forks = Vec::new();
    // The verbs read the whole thread, so most items are appended after the last killed writer. Otherwise the test
    // would take minutes.
    let share = count / 20;
    let rounds = 4;
    for round in 0..rounds {
        let first = round * share;
        let half = first + share / 2;
        let end = if round + 1 == rounds { count } else { first + share };
        let mut child = writer(&home, &id, first..half);
        // A fork needs no claim.
        tail.wait_for(&format!("item {};", first + 1));
        let fork = home.ok(&["fork", &id]).trim().to_owned();
        if round < FOLLOWED_FORKS {
            forks.push((RunningTail::start(&home, &fork), fork));
        }
        assert!(child.wait().unwrap().success());
        ok(&["archive", &id]);
        if round % 2 == 1 {
            ok(&["compress", &id]);
        }
        ok(&["unarchive", &id]);
        ok(&["rewind", &id, "--turns", if round % 2 == 0 { "1" } else { "7" }]);
        kill_writer(&home, &id, &tail, half..count);
        tear(&home, &id);
        // In some rounds `tail` sees the torn end, and in others only what is written after it.
        if round % 2 == 0 {
            thread::sleep(Duration::from_millis(300));
        }
        write(&home, &id, half..end);
        if round % 2 == 0 {
            ok(&["compress", &id]);
        }
        ok(&["rewind", &id, "--turns", "2"]);
        for (_, fork) in &forks {
            write(&home, fork, 0..TURN * 3);
        }
    }
    write_the_end(&home, &id, &tail);
    let replica = tail.end();
    replica.check_equals(&home.ok(&["export", &id]));
    // A rewind of a legacy thread is a line. Two rewinds between two reads of `tail` count as one.
    assert!(if mode == "legacy" { replica.rewinds == 0 } else { replica.rewinds >= rounds }, "{}", replica.rewinds);
    for (tail, fork) in forks {
        write_the_end(&home, &fork, &tail);
        tail.end().check_equals(&home.ok(&["export", &fork]));
    }
}

#[test]
fn nothing_is_missed_or_repeated_over_all_changes_of_a_thread() {
    follow_through_all_changes("paginated", item_count());
}

#[test]
fn nothing_is_missed_or_repeated_over_all_changes_of_a_legacy_thread() {
    follow_through_all_changes("legacy", item_count() / 5);
}

/// A running `tail` that prints text.
struct TextTail {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl TextTail {
    fn start(home: &Home, args: &[&str]) -> Self {
        let mut command = home.command(&[&["tail"], args].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn next(&mut self, count: usize) -> Vec<String> {
        self.lines.by_ref().take(count).map(Result::unwrap).collect()
    }

    /// Waits for the end, and returns the exit code, the remaining lines and the notes.
    fn wait_for_end(mut self) -> (Option<i32>, Vec<String>, String) {
        let rest = self.lines.by_ref().map(Result::unwrap).collect();
        let mut notes = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut notes).unwrap();
        (self.child.wait().unwrap().code(), rest, notes)
    }
}

impl Drop for TextTail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the lines without their times.
fn without_time(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| &line[20..]).collect()
}

#[test]
fn tail_begins_with_the_newest_lines_and_ends_at_an_interrupt() {
    let home = Home::missing();
    let id = home.new_thread(&[]);
    let texts: String = (1..=20).map(|number| message(&format!("m{number}"))).collect();
    home.append(&id, texts);
    for (args, first) in [(&[][..], 11), (&["-n", "3"], 18), (&["--lines", "20"], 1), (&["-n0"], 21)] {
        let mut tail = TextTail::start(&home, &[&[id.as_str()], args].concat());
        let newest: Vec<String> = (first..=20).map(|number| format!("user      m{number}")).collect();
        let shown = tail.next(newest.len());
        assert_eq!(without_time(&shown), newest, "{args:?}");
        // Without a printed line the test cannot know when `tail` has started.
        thread::sleep(Duration::from_millis(if newest.is_empty() { 1000 } else { 0 }));
        let before = home.ok(&["export", &id]).len();
        home.append(&id, message("now"));
        assert_eq!(without_time(&tail.next(1)), ["user      now"], "{args:?}");
        interrupt(&tail.child);
        assert_eq!(tail.wait_for_end(), (Some(0), Vec::new(), String::new()), "{args:?}");
        // Back to where it was.
        let path = PathBuf::from(home.json(&["show", &id])["thread"]["location"].as_str().unwrap());
        OpenOptions::new().write(true).open(path).unwrap().set_len(before as u64).unwrap();
    }
    let mut all = TextTail::start(&home, &[&id, "-n", "1000"]);
    assert!(without_time(&all.next(1))[0].starts_with("log       begins, in "));
    assert_eq!(all.next(20).len(), 20);
    assert_eq!(home.run(&["tail", &id, "--from-start", "-n", "3"]).code, 2);
}

#[test]
fn tail_ends_when_there_is_no_thread() {
    let home = Home::sample("story-0.169.0");
    for args in [&["tail", UNKNOWN][..], &["tail", UNKNOWN, "--from-start"], &["tail", "no such name"]] {
        let run = home.run(args);
        assert_eq!((run.code, run.out.as_str()), (3, ""), "{args:?}: {}", run.err);
        assert!(run.err.contains("hint: "), "{}", run.err);
    }
    for args in [&[PLAIN169][..], &[PLAIN169, "--json"]] {
        let home = Home::sample("story-0.169.0");
        let mut tail = TextTail::start(&home, args);
        assert_eq!(tail.next(10).len(), 10);
        home.ok(&["delete", PLAIN169, "--yes"]);
        let (code, rest, notes) = tail.wait_for_end();
        assert_eq!((code, rest.len()), (Some(3), 0), "{notes}");
        assert_eq!(notes, format!("error: thread {PLAIN169} was deleted\n"));
    }
}

#[test]
fn tail_ends_when_its_reader_is_gone() {
    let home = Home::sample("story-0.169.0");
    for args in [&[T169][..], &[T169, "--json"], &[T169, "--from-start"]] {
        let mut child = home.command(&[&["tail"], args].concat()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        lines.next().unwrap().unwrap();
        drop(lines);
        // No write to the thread makes `tail` notice.
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{args:?}");
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(child.wait().unwrap().code(), Some(0), "{args:?}");
    }
}

#[test]
fn each_line_of_a_log_gets_a_summary() {
    let id = "01a1fd5d-cccc-7000-8000-000000000001";
    let home = Home::with_file(id, b"");
    let tool = json!({"type": "function_call", "name": "exec", "arguments": "{\"cmd\": \"ls\"}", "call_id": "c"});
    let log = [
        small_log(id),
        line("response_item", &tool),
        line("response_item", &json!({"type": "function_call_output", "call_id": "c", "output": "a\u{1b}[31m\nb"})),
        line("event_msg", &json!({"type": "token_count", "info": null})),
        line("event_msg", &json!({"type": "quite_new", "what": "this", "turn_id": "t"})),
        line("hence_unknown", &json!({"some": 1})),
        "{\"timestamp\": broken}\n".to_owned(),
        line("event_msg", &json!({"type": "user_message", "message": "on\nand on", "local_images": ["a.png"]})),
        line("event_msg", &json!({"type": "thread_rolled_back", "num_turns": 1})),
        line("event_msg", &json!({"type": "user_message", "message": "go on"})),
        line("event_msg", &json!({"type": "user_message", "message": "go on"})),
        line("event_msg", &json!({"type": "error", "message": "no more"})),
    ];
    home.write(id, log.concat().as_bytes());
    let mut tail = TextTail::start(&home, &[id, "--from-start"]);
    let expected = [
        "log       begins, in /home/dev/proj",
        "user      how are the yaks",
        "agent     woolly",
        "call      exec {\"cmd\": \"ls\"}",
        "output    a b",
        "quite new what: this",
        "hence unknown some: 1",
        "user      on and on [image]",
        "rewound   the newest turn was taken back",
        "user      go on",
        "user      go on",
        "error     no more",
    ];
    let shown = tail.next(expected.len());
    assert_eq!(without_time(&shown), expected);
    assert!(shown.iter().all(|line| line.starts_with("2026-11-21 09:00:01 ")), "{shown:?}");
    interrupt(&tail.child);
    let (code, rest, notes) = tail.wait_for_end();
    assert_eq!((code, rest.len(), notes.lines().count()), (Some(0), 0, 1), "{notes}");
    assert!(notes.starts_with("note: damaged: "), "{notes}");
}

#[test]
fn the_summary_of_changed_metadata_has_no_credentials() {
    let id = "01a1fd5d-cccc-7000-8000-000000000001";
    let home = Home::with_file(id, b"");
    let git = json!({"branch": "main", "repository_url": "https://user:s3cret@host.org/owner/name"});
    let change = line("thread_metadata", &json!({"thread_id": id, "patch": {"git": git}}));
    home.write(id, [small_log(id), change].concat().as_bytes());
    let mut tail = TextTail::start(&home, &[id, "-n", "1"]);
    let shown = tail.next(1).concat();
    assert!(shown.contains("host.org/owner/name") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn recorded_threads_get_readable_summaries() {
    let home = Home::sample("story-0.169.0");
    let mut tail = TextTail::start(&home, &[T169, "-n", "7"]);
    assert_eq!(
        tail.next(7),
        [
            "2026-11-21 09:08:58 turn      begins",
            "2026-11-21 09:08:58 user      tool: echo second window",
            "2026-11-21 09:08:58 call      exec_command {\"cmd\": \"echo second window\"}",
            "2026-11-21 09:08:59 command   /bin/bash -lc echo second window (exit 0)",
            "2026-11-21 09:08:59 output    Chunk ID: c912c8 Wall time: 1.0392 seconds Process exited with code 0 Original token count: 4 Output: second window",
            "2026-11-21 09:08:59 agent     Tool finished (answer 15).",
            "2026-11-21 09:08:59 turn      is done",
        ]
    );
    home.ok(&["rewind", T169, "--turns", "1"]);
    let rewound = tail.next(2);
    assert_eq!(rewound[0], "-- rewound: what follows replaces what came after 2026-11-21 09:08:58");
    assert!(rewound[1].contains(" log       begins, in "), "{rewound:?}");
    home.append(T169, message("another way"));
    assert_eq!(without_time(&tail.next(1)), ["user      another way"]);
}

#[test]
fn a_rewritten_history_is_printed_again_or_continued() {
    for (args, follows) in [(&["--from-start"][..], "all"), (&[], "new")] {
        let id = "01a1fd5d-cccc-7000-8000-000000000001";
        let home = Home::with_file(id, small_log(id).as_bytes());
        let mut tail = TextTail::start(&home, &[&[id, "--json"], args].concat());
        assert_eq!(tail.next(5).len(), 5);
        // A repair works in the same way: another file replaces the first.
        let beside = home.folder().join("new");
        let repaired =
            [meta_line(id), line("event_msg", &json!({"type": "user_message", "message": "redacted"}))].concat();
        fs::write(&beside, &repaired).unwrap();
        fs::rename(&beside, home.file(id)).unwrap();
        let record: Value = serde_json::from_str(&tail.next(1)[0]).unwrap();
        assert_eq!(record, json!({"kind": "rewritten", "follows": follows}));
        if follows == "all" {
            let lines = tail.next(2);
            assert!(lines[0].contains("session_meta") && lines[1].contains("redacted"), "{lines:?}");
        }
        home.append(id, message("now"));
        assert!(tail.next(1)[0].contains("now"));
    }
}

#[test]
fn a_rewritten_history_with_ordinals_continues_after_the_last_line() {
    let home = Home::missing();
    let id = home.new_thread(&["--mode", "paginated"]);
    home.append(&id, ["one", "two", "three"].map(message).concat());
    let path = PathBuf::from(home.json(&["show", &id])["thread"]["location"].as_str().unwrap());
    let mut tail = TextTail::start(&home, &[&id, "--json", "-n", "2"]);
    let newest = tail.next(2);
    assert!(newest[0].contains("two") && newest[1].contains("three"), "{newest:?}");
    // A line that was not printed is redacted, and a line is added.
    let log = fs::read_to_string(&path).unwrap();
    let mut more: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    more["ordinal"] = (more["ordinal"].as_u64().unwrap() + 1).into();
    let rewritten = format!("{log}{}\n", more.to_string().replace("three", "four")).replace("one", "[redacted]");
    let beside = home.folder().join("new");
    fs::write(&beside, &rewritten).unwrap();
    fs::rename(&beside, &path).unwrap();
    let record = tail.next(2);
    assert_eq!(serde_json::from_str::<Value>(&record[0]).unwrap(), json!({"kind": "rewritten", "follows": "rest"}));
    assert!(record[1].contains("four"), "{record:?}");
    home.append(&id, message("now"));
    assert!(tail.next(1)[0].contains("now"));
    interrupt(&tail.child);
    assert_eq!(tail.wait_for_end(), (Some(0), Vec::new(), String::new()));
}

#[test]
fn an_interrupt_ends_tail_while_its_pipe_is_full() {
    let home = Home::missing();
    let id = home.new_thread(&[]);
    // Much more than a pipe can hold.
    home.append(&id, (0..100).map(|number| message(&format!("{number} {}", "x".repeat(10_000)))).collect::<String>());
    let mut tail = TextTail::start(&home, &[&id, "--from-start", "--json"]);
    assert_eq!(tail.next(1).len(), 1);
    thread::sleep(Duration::from_secs(1));
    assert!(tail.child.try_wait().unwrap().is_none());
    let begun = Instant::now();
    interrupt(&tail.child);
    while tail.child.try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it waits for a reader");
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(tail.child.wait().unwrap().code(), Some(0));
}
