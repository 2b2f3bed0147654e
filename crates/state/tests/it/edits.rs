//! Whatever happens to the files of a home, an index that was updated has the same rows as one that is built from scratch.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use selvedge_protocol::{HistoryBase, HistoryMode, ThreadId};
use selvedge_rollout::doctor::Severity;
use selvedge_rollout::{NameIndex, now};

use selvedge_state::{CheckScope, RefreshOutcome, StateIndex, UpdateReport};

use serde_json::json;

use crate::homes::{Home, append, dump, event, mumbles, rebuilt, rows, says, story, write_head};
use crate::search;
use crate::turns::is_true;

#[tokio::test]
async fn an_append_reads_only_what_was_appended() {
    let home = Home::new();
    let (id, path) = home.thread();
    append(&path, &mumbles().repeat(5_000));
    let index = home.index().await;
    let first = index.update(|_| {}).await.unwrap();
    assert!(first.bytes_read > 500_000);
    let tail = says("the first words");
    append(&path, &tail);
    let second = index.update(|_| {}).await.unwrap();
    assert_eq!((second.read_tail, second.read_whole, second.bytes_read), (1, 0, tail.len() as u64));
    let row = index.read_thread(id).await.unwrap().unwrap();
    assert_eq!(row.preview.as_deref(), Some("the first words"));
    assert_eq!(dump(&home.index_path()).await, rebuilt(&home).await);
}

/// Returns the kinds of what a check of the rows and words of an index finds.
async fn findings(home: &Home) -> Vec<String> {
    let scope = CheckScope { deep: true, ..CheckScope::default() };
    let check = StateIndex::check(&home.home, &home.index_path(), &scope).await.unwrap();
    check.findings.into_iter().map(|finding| format!("{}: {finding:?}", finding.kind)).collect()
}

/// Expects an index to have the rows and words of one that is built from scratch.
async fn is_as_rebuilt(home: &Home) {
    assert_eq!(dump(&home.index_path()).await, rebuilt(home).await);
    assert_eq!(findings(home).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_turn_that_stays_open_is_not_read_again_by_each_update() {
    // More bytes than those after which items are handed on.
    const TURN: u64 = 5 << 20;
    let home = Home::new();
    let (_, path) = home.legacy_thread();
    let call = |kind: &str| {
        let payload = json!({"type": kind, "name": "f", "arguments": "{}", "call_id": "early", "output": "late words"});
        format!("{{\"timestamp\":\"{}\",\"type\":\"response_item\",\"payload\":{payload}}}\n", now())
    };
    let said = |number: u32| {
        let text = format!("message {number} {}", "and more words ".repeat(600));
        event(&json!({"type": "agent_message", "message": text}))
    };
    let opened = event(&json!({"type": "task_started", "turn_id": "t"})) + &says("a question") + &call("function_call");
    append(&path, &(opened + &(0..600).map(said).collect::<String>()));
    let (index, other) = (home.index().await, home.index().await);
    assert!(index.update(|_| {}).await.unwrap().bytes_read > TURN);
    // Returns how much was read besides what was appended.
    let update = async |index: &StateIndex, line: String| {
        append(&path, &line);
        let report = index.update(|_| {}).await.unwrap();
        assert_eq!((report.read_tail, report.read_whole), (1, 0));
        report.bytes_read - line.len() as u64
    };
    // The first update after the turn was opened projects it, and the others go on.
    assert!(update(&index, said(1_001)).await > TURN);
    for number in 1_002..1_005 {
        assert_eq!(update(&index, said(number)).await, 0);
    }
    is_as_rebuilt(&home).await;
    // What another process has indexed meanwhile is read, too.
    let by_other = said(1_006);
    assert!(update(&other, by_other.clone()).await > TURN);
    assert_eq!(update(&index, said(1_007)).await, by_other.len() as u64);
    // A line that changes what was handed on long ago: the turn is projected again, first as before and then with everything, and goes on then.
    assert!(update(&index, call("function_call_output")).await > 2 * TURN);
    is_as_rebuilt(&home).await;
    for number in 1_008..1_011 {
        assert_eq!(update(&index, said(number)).await, 0);
    }
    is_as_rebuilt(&home).await;
    assert_eq!(update(&index, event(&json!({"type": "task_complete", "turn_id": "t"}))).await, 0);
    assert_eq!(update(&index, event(&json!({"type": "task_started", "turn_id": "u"})) + &said(1_012)).await, 0);
    is_as_rebuilt(&home).await;
}

#[tokio::test]
async fn words_that_were_replaced_in_an_open_turn_do_not_come_back() {
    for is_found_by_another in [false, true] {
        let home = Home::new();
        let (_, path) = home.legacy_thread();
        let said = |text: &str| event(&json!({"type": "agent_message", "message": text}));
        append(
            &path,
            &(event(&json!({"type": "task_started", "turn_id": "t"})) + &says("a question") + &said("secret")),
        );
        let (index, other) = (home.index().await, home.index().await);
        index.update(|_| {}).await.unwrap();
        append(&path, &said("later"));
        assert_eq!(index.update(|_| {}).await.unwrap().read_tail, 1);
        // The size and the last line stay the same.
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("secret", "xxxxxx")).unwrap();
        let finds = if is_found_by_another { &other } else { &index };
        assert_eq!(finds.update(|_| {}).await.unwrap().read_whole, 1);
        append(&path, &said("latest"));
        assert_eq!(index.update(|_| {}).await.unwrap().read_tail, 1);
        is_as_rebuilt(&home).await;
    }
}

#[tokio::test]
async fn a_torn_line_is_read_when_it_is_complete() {
    let home = Home::new();
    let (id, path) = home.thread();
    let line = says("in two halves");
    let (one, other) = line.split_at(line.len() / 2);
    append(&path, one);
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    append(&path, other);
    let report = index.update(|_| {}).await.unwrap();
    assert_eq!((report.read_tail, report.bytes_read), (1, line.len() as u64));
    assert_eq!(index.read_thread(id).await.unwrap().unwrap().preview.as_deref(), Some("in two halves"));
}

#[tokio::test]
async fn names_follow_every_change_of_the_name_index() {
    let home = Home::new();
    let (one, _) = home.legacy_thread();
    let index = home.index().await;
    let path = home.home.name_index_path();
    let line = |id: ThreadId, name: &str| format!("{{\"id\":\"{id}\",\"thread_name\":\"{name}\"}}\n");
    let update_and_expect = async |renamed: u64, names: &[&str]| {
        assert_eq!(index.update(|_| {}).await.unwrap().renamed, renamed, "{names:?}");
        let mut known: Vec<_> = rows(&index).await.into_iter().filter_map(|thread| thread.name).collect();
        known.sort();
        assert_eq!(known, names);
        assert_eq!(dump(&home.index_path()).await, rebuilt(&home).await, "{names:?}");
    };
    let (other, two) = home.legacy_thread();
    let away = home.dir.path().join("away");
    fs::rename(&two, &away).unwrap();
    // A byte order mark, and a thread with a name but without a row.
    fs::write(&path, format!("\u{feff}{}{}", line(one, "one"), line(other, "two"))).unwrap();
    update_and_expect(1, &["one"]).await;
    fs::rename(&away, &two).unwrap();
    update_and_expect(0, &["one", "two"]).await;
    // Appended: another name, no name, a torn line, which is then completed.
    append(&path, &(line(one, "first") + &line(other, "")));
    update_and_expect(2, &["first"]).await;
    let torn = line(other, "second");
    append(&path, &torn[..torn.len() - 4]);
    update_and_expect(0, &["first"]).await;
    append(&path, &torn[torn.len() - 4..]);
    update_and_expect(1, &["first", "second"]).await;
    // Edited in place: to the same length, a greater one, a smaller one.
    let text = fs::read_to_string(&path).unwrap();
    for (name, renamed) in [("FIRST", 1), ("a longer one", 1), ("1", 1)] {
        fs::write(&path, text.replace("first", name)).unwrap();
        update_and_expect(renamed, &[name, "second"].map(str::to_owned).iter().map(String::as_str).collect::<Vec<_>>())
            .await;
    }
    fs::remove_file(&path).unwrap();
    update_and_expect(2, &[]).await;
}

#[tokio::test]
async fn a_rename_reads_no_log() {
    let home = Home::new();
    let (id, path) = home.thread();
    append(&path, &mumbles().repeat(100));
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    NameIndex::set(&home.home, id, Some("a name"), now()).unwrap();
    let report = index.update(|_| {}).await.unwrap();
    assert_eq!((report.renamed, report.bytes_read), (1, 0));
    assert_eq!(rows(&index).await[0].name.as_deref(), Some("a name"));
}

#[tokio::test]
async fn a_fork_is_read_again_when_its_base_appears_or_changes() {
    let home = Home::new();
    let (parent, parent_path) = home.thread_with(|meta| meta.history_mode = Some(HistoryMode::Paginated));
    append(&parent_path, &says("said in the parent"));
    let len = fs::metadata(&parent_path).unwrap().len();
    let (fork, _) = home.thread_with(|meta| {
        meta.history_mode = Some(HistoryMode::Paginated);
        meta.history_base = Some(HistoryBase {
            thread_id: Some(selvedge_protocol::SegmentId::from_uuid(parent.as_uuid())),
            end_byte_offset: Some(len),
            ..HistoryBase::default()
        });
    });
    let away = home.dir.path().join("away");
    fs::rename(&parent_path, &away).unwrap();
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    assert_eq!(index.read_thread(fork).await.unwrap().unwrap().preview, None);
    fs::rename(&away, &parent_path).unwrap();
    index.update(|_| {}).await.unwrap();
    assert_eq!(index.read_thread(fork).await.unwrap().unwrap().preview.as_deref(), Some("said in the parent"));
    let edited = fs::read_to_string(&parent_path).unwrap().replace("said in", "seen at");
    fs::write(&parent_path, edited).unwrap();
    index.update(|_| {}).await.unwrap();
    assert_eq!(index.read_thread(fork).await.unwrap().unwrap().preview.as_deref(), Some("seen at the parent"));
    fs::remove_file(&parent_path).unwrap();
    let report = index.update(|_| {}).await.unwrap();
    assert_eq!(report.removed, 1);
    assert_eq!(index.read_thread(fork).await.unwrap().unwrap().preview, None);
    assert_eq!(dump(&home.index_path()).await, rebuilt(&home).await);
}

/// Two threads miss the same file, and one of them is read first.
#[tokio::test]
async fn a_thread_notices_its_missing_file_after_another_thread_did() {
    for comes_back in [false, true] {
        let home = Home::new();
        let (_, first) = home.thread();
        append(&first, &says("words"));
        apply(&home, &Edit::Segment(0));
        let (_, later) = files(&home).into_iter().find(|(_, path)| *path != first).unwrap();
        let (fork, fork_path) = home.thread_with(|meta| meta.history_base = base(&first));
        append(&fork_path, &says("words"));
        let index = home.index().await;
        index.update(|_| {}).await.unwrap();
        let away = home.dir.path().join("away");
        fs::rename(&first, &away).unwrap();
        // The fork is read whole; the owner of the file could be updated incrementally.
        let text = fs::read_to_string(&fork_path).unwrap().replace("words", "other words");
        fs::write(&fork_path, text).unwrap();
        append(&later, &says("words"));
        let report = index.refresh_threads([fork].into(), u64::MAX).await.unwrap();
        assert!(
            matches!(report, RefreshOutcome::Fresh(UpdateReport { read_whole: 1, read_tail: 0, .. })),
            "{report:?}"
        );
        if comes_back {
            fs::rename(&away, &first).unwrap();
        }
        index.refresh(u64::MAX).await.unwrap();
        assert_eq!(dump(&home.index_path()).await, rebuilt(&home).await);
    }
}

/// A program was killed while it began a later segment, and the thread continues in the segment before.
#[tokio::test]
async fn a_thread_continues_before_a_segment_that_was_never_begun() {
    let home = Home::new();
    let (id, path) = home.thread();
    apply(&home, &Edit::Segment(0));
    let (_, later) = files(&home).into_iter().find(|(_, found)| *found != path).unwrap();
    let head = fs::read(&later).unwrap();
    fs::write(&later, &head[..head.len() / 2]).unwrap();
    let index = home.index().await;
    index.update(|_| {}).await.unwrap();
    append(&path, &says("and on it went"));
    index.update(|_| {}).await.unwrap();
    let row = index.read_thread(id).await.unwrap().unwrap();
    assert_eq!(
        (row.preview.as_deref(), row.location),
        (Some("and on it went"), Some(path.to_str().unwrap().to_owned()))
    );
    assert_eq!(dump(&home.index_path()).await, rebuilt(&home).await);
}

#[tokio::test]
async fn progress_ends_with_all_threads() {
    let home = Home::new();
    for _ in 0..450 {
        home.thread();
    }
    let index = home.index().await;
    let mut reported = Vec::new();
    index.update(|progress| reported.push(progress)).await.unwrap();
    let (first, last) = (reported[0], reported[reported.len() - 1]);
    assert_eq!((first.threads, first.threads_done), (450, 0));
    assert_eq!((last.threads_done, last.bytes_done), (450, last.bytes));
    assert!(reported.len() >= 3, "progress after every batch");
    assert!(reported.windows(2).all(|pair| pair[0].threads_done < pair[1].threads_done));
}

/// A change of a home.
#[derive(Clone, Debug)]
enum Edit {
    Create,
    Say(usize),
    Mumble(usize),
    Story(usize, usize),
    Tear(usize),
    Head(usize),
    Rename(usize),
    Archive(usize),
    Delete(usize),
    Rewrite(usize),
    Cut(usize),
    Compress(usize),
    Fork(usize),
    Segment(usize),
    Garbage(usize),
    Sync,
    Refresh,
    /// Another process opens the index.
    Reopen,
}

fn edit() -> impl Strategy<Value = Edit> {
    let which = 0..8_usize;
    prop_oneof![
        2 => Just(Edit::Create),
        4 => which.clone().prop_map(Edit::Say),
        2 => which.clone().prop_map(Edit::Mumble),
        12 => (which.clone(), 0..144_usize).prop_map(|(which, number)| Edit::Story(which, number)),
        1 => which.clone().prop_map(Edit::Tear),
        1 => which.clone().prop_map(Edit::Head),
        1 => which.clone().prop_map(Edit::Rename),
        1 => which.clone().prop_map(Edit::Archive),
        1 => which.clone().prop_map(Edit::Delete),
        1 => which.clone().prop_map(Edit::Rewrite),
        1 => which.clone().prop_map(Edit::Cut),
        1 => which.clone().prop_map(Edit::Compress),
        2 => which.clone().prop_map(Edit::Fork),
        2 => which.clone().prop_map(Edit::Segment),
        1 => which.prop_map(Edit::Garbage),
        3 => Just(Edit::Sync),
        6 => Just(Edit::Refresh),
        1 => Just(Edit::Reopen),
    ]
}

/// Returns the files of the home, sorted by name.
fn files(home: &Home) -> Vec<(ThreadId, PathBuf)> {
    let files = home.home.files().unwrap();
    let mut found: Vec<_> =
        files.threads().flat_map(|(id, segments)| segments.iter().map(move |file| (id, file.path.clone()))).collect();
    found.sort_by_key(|(_, path)| path.file_name().map(ToOwned::to_owned));
    found
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "zst")
}

fn apply(home: &Home, edit: &Edit) {
    let files = files(home);
    let at = |which: &usize| files.get(which % files.len().max(1)).cloned();
    let plain = |which: &usize| at(which).filter(|(_, path)| !is_compressed(path));
    match edit {
        Edit::Create => {
            let mode = if files.len().is_multiple_of(2) { HistoryMode::Paginated } else { HistoryMode::Legacy };
            home.thread_with(|meta| meta.history_mode = Some(mode));
        }
        Edit::Say(which) => drop(plain(which).map(|(_, path)| append(&path, &says("words")))),
        Edit::Mumble(which) => drop(plain(which).map(|(_, path)| append(&path, &mumbles()))),
        Edit::Story(which, number) => drop(plain(which).map(|(_, path)| append(&path, &story(*number)))),
        Edit::Tear(which) => drop(plain(which).map(|(_, path)| append(&path, "{\"timestamp\":\"20"))),
        Edit::Garbage(which) => drop(plain(which).map(|(_, path)| append(&path, "\0\0\0 no line\n\n"))),
        Edit::Head(which) => drop(plain(which).map(|(id, path)| {
            append(&path, &format!("{{\"timestamp\":\"{}\",\"type\":\"session_meta\",\"payload\":{{\"id\":\"{id}\",\"cwd\":\"/moved\"}}}}\n", now()));
        })),
        Edit::Rename(which) => drop(at(which).map(|(id, _)| {
            NameIndex::set(&home.home, id, [None, Some("one"), Some("other")][which % 3], now()).unwrap();
        })),
        Edit::Archive(which) => drop(at(which).map(|(_, path)| {
            fs::create_dir_all(home.home.archived_dir()).unwrap();
            fs::rename(&path, home.home.archived_dir().join(path.file_name().unwrap())).unwrap();
        })),
        Edit::Delete(which) => drop(at(which).map(|(_, path)| fs::remove_file(path).unwrap())),
        Edit::Rewrite(which) => drop(plain(which).map(|(_, path)| {
            let text = fs::read_to_string(&path).unwrap().replace("words", "other words");
            fs::remove_file(&path).unwrap();
            fs::write(&path, text).unwrap();
        })),
        Edit::Cut(which) => drop(plain(which).map(|(_, path)| {
            let text = fs::read(&path).unwrap();
            fs::write(&path, &text[..text.len() * 2 / 3]).unwrap();
        })),
        Edit::Compress(which) => drop(plain(which).map(|(_, path)| {
            let frame = zstd::encode_all(&*fs::read(&path).unwrap(), 1).unwrap();
            fs::write(path.with_extension("jsonl.zst"), frame).unwrap();
            fs::remove_file(&path).unwrap();
        })),
        Edit::Fork(which) => drop(plain(which).map(|(_, path)| {
            home.thread_with(|meta| meta.history_base = base(&path));
        })),
        Edit::Segment(which) => drop(plain(which).map(|(id, path)| {
            let segment = selvedge_protocol::SegmentId::new(now());
            let name = selvedge_rollout::RolloutFileName::new(now(), id, Some(segment));
            let mut meta = selvedge_protocol::SessionMeta::new(id, now());
            meta.history_base = base(&path);
            write_head(&home.home.active_path(&name), &meta);
        })),
        Edit::Sync | Edit::Refresh | Edit::Reopen => {}
    }
}

/// Returns a reference to a file with its current length.
fn base(path: &Path) -> Option<HistoryBase> {
    let name = selvedge_rollout::RolloutFileName::parse(path.file_name()?.to_str()?)?;
    let len = fs::metadata(path).unwrap().len();
    Some(HistoryBase { thread_id: Some(name.segment_id()), end_byte_offset: Some(len), ..HistoryBase::default() })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn an_updated_index_has_the_rows_of_a_new_one(edits in prop::collection::vec(edit(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let home = Home::new();
            home.thread();
            let mut index = home.index().await;
            index.update(|_| {}).await.unwrap();
            for edit in &edits {
                apply(&home, edit);
                match edit {
                    Edit::Sync => drop(index.update(|_| {}).await.unwrap()),
                    Edit::Refresh => {
                        let outcome = index.refresh(u64::MAX).await.unwrap();
                        prop_assert!(matches!(outcome, RefreshOutcome::Fresh(_)), "{outcome:?}");
                    }
                    Edit::Reopen => index = home.index().await,
                    _ => {}
                }
                for (id, _) in home.home.files().unwrap().threads() {
                    is_true(&index, &home.home, id).await;
                }
            }
            // So few files are all hot, so that a refresh finds every change.
            index.refresh(u64::MAX).await.unwrap();
            prop_assert_eq!(dump(&home.index_path()).await, rebuilt(&home).await);
            let scope = CheckScope { deep: true, ..CheckScope::default() };
            let check = StateIndex::check(&home.home, &home.index_path(), &scope).await.unwrap();
            let faults = check.findings.iter().filter(|finding| finding.severity == Severity::Fault);
            prop_assert_eq!(faults.count(), 0, "{:?}", check);
            let logs = search::Logs::read(&index, &home).await;
            for text in ["question", "swer wo", "carg", "words"] {
                search::compare(&index, &logs, text).await;
            }
            Ok(())
        })?;
    }
}
