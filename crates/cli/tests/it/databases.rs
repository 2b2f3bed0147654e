//! Stores by URL: every verb that does not name files, on a database beside a home with the same threads.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use selvedge_postgres_server::TestSchema;
use serde_json::Value;

use crate::support::{
    ARCHIVED169, Home, PLAIN169, RunResult, T169, UNKNOWN, message, rollouts_below, run, user_message,
};

/// A home, and a database with the same threads.
struct Beside {
    home: Home,
    schema: TestSchema,
}

impl Beside {
    /// Creates the database with copies of all threads of the home. `None` without a server.
    fn new(home: Home) -> Option<Self> {
        let beside = Self::without_tables(home)?;
        assert_eq!(beside.in_database(&["store", "init"]).code, 0);
        beside.home.ok(&["copy", "--to", &beside.url()]);
        Some(beside)
    }

    fn without_tables(home: Home) -> Option<Self> {
        Some(Self { home, schema: TestSchema::fresh()? })
    }

    fn url(&self) -> String {
        let url = self.schema.url();
        let separator = if url.contains('?') { '&' } else { '?' };
        format!("{url}{separator}schema={}", self.schema.name())
    }

    fn database_command(&self, args: &[&str]) -> Command {
        let mut command = self.home.bare();
        command.arg("--store").arg(self.url()).args(args);
        command
    }

    fn in_database(&self, args: &[&str]) -> RunResult {
        run(self.database_command(args).stdin(Stdio::null()))
    }

    /// Runs a verb in the home and in the database. Both have to do the same. Returns what the database answered.
    #[track_caller]
    fn same(&self, args: &[&str]) -> RunResult {
        self.same_but(args, &[])
    }

    /// Like [`same`](Self::same), with JSON whose objects may differ in these keys.
    #[track_caller]
    fn same_but(&self, args: &[&str], differing: &[&str]) -> RunResult {
        let (home, database) = (self.home.run(args), self.in_database(args));
        assert_same(args, &home, &database, differing);
        database
    }

    /// Searches in both for the best threads. The threads have to come in the same order, each with the same hits. Which hit of a
    /// thread comes first is not part of the contract: the index of a home ranks them by how rare a word is.
    #[track_caller]
    fn same_hits(&self, text: &str) {
        let args = ["search", text, "--all", "--hits", "1000", "--json"];
        let [home, database] = [self.home.run(&args), self.in_database(&args)].map(|run| {
            let mut hits: Value = serde_json::from_str(&run.out).unwrap_or_else(|error| panic!("{error}: {run:?}"));
            remove(&mut hits, LOCATION);
            let hits = hits.as_array().unwrap();
            let mut threads: Vec<String> = hits.iter().map(|hit| hit["thread"]["id"].to_string()).collect();
            threads.dedup();
            let mut hits: Vec<String> = hits.iter().map(Value::to_string).collect();
            hits.sort();
            (threads, hits)
        });
        assert_eq!(home, database, "{text}");
    }

    /// Appends in both, and compares the acknowledgements.
    #[track_caller]
    fn append(&self, id: &str, input: &str) -> RunResult {
        let home = self.home.append(id, input);
        let mut child = self.database_command(&["append", id]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The program may end before it has read everything.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let database = RunResult::from(child.wait_with_output().unwrap());
        assert_same(&["append", id], &home, &database, &[]);
        database
    }

    /// Returns the ids of all threads, from the home.
    fn ids(&self) -> Vec<String> {
        let threads = self.home.json(&["list", "--all", "--limit", "1000"]);
        threads.as_array().unwrap().iter().map(|thread| thread["id"].as_str().unwrap().to_owned()).collect()
    }
}

#[track_caller]
fn assert_same(args: &[&str], home: &RunResult, database: &RunResult, differing: &[&str]) {
    assert_eq!(home.code, database.code, "{args:?}: home {}, database {}", home.err, database.err);
    let comparable = |run: &RunResult| -> (String, Value) {
        match serde_json::from_str::<Value>(&run.out) {
            Ok(mut value) if !differing.is_empty() => {
                remove(&mut value, differing);
                (String::new(), value)
            }
            // Only a thread of a home has a file.
            _ => (
                run.out.lines().filter(|line| !line.starts_with("file  ")).map(|line| format!("{line}\n")).collect(),
                Value::Null,
            ),
        }
    };
    assert_eq!(comparable(home), comparable(database), "{args:?}");
}

/// Removes these keys from every object.
fn remove(value: &mut Value, keys: &[&str]) {
    match value {
        Value::Object(object) => {
            object.retain(|key, _| !keys.contains(&key.as_str()));
            object.values_mut().for_each(|value| remove(value, keys));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| remove(value, keys)),
        _ => {}
    }
}

/// Returns a transcript without times, which differ between two threads that were made one after the other, and without the
/// file.
fn without_times(transcript: &str) -> String {
    let is_kept = |line: &&str| !["updated ", "created ", "file "].iter().any(|start| line.starts_with(start));
    let lines = transcript.lines().filter(is_kept).map(|line| line.split(" · 20").next().unwrap());
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_home_comes_back_byte_for_byte() {
    for sample in ["basic-0.20.0", "story-0.144.6", "story-0.169.0"] {
        let Some(beside) = Beside::new(Home::sample(sample)) else { return };
        let back = Home::missing();
        let run = beside.in_database(&["copy", "--to", back.path().to_str().unwrap()]);
        assert!(run.code == 0 && run.out.contains("copied"), "{run:?}");
        let files = |home: &Home| -> Vec<(String, Vec<u8>)> {
            let name = |path: &Path| path.strip_prefix(home.path()).unwrap().display().to_string();
            rollouts_below(&home.path()).iter().map(|path| (name(path), fs::read(path).unwrap())).collect()
        };
        assert!(files(&back) == files(&beside.home), "{sample}");
        // Names and the archive.
        let list = ["list", "--all", "--limit", "1000"];
        assert_eq!(back.ok(&list), beside.home.ok(&list), "{sample}");
        let again = beside.home.ok(&["copy", "--to", &beside.url(), "--json"]);
        let again: Value = serde_json::from_str(&again).unwrap();
        assert_eq!((&again["new"], &again["new_bytes"]), (&0.into(), &0.into()), "{again}");
    }
}

#[test]
fn a_misspelt_parameter_shows_no_value() {
    let url = "postgres://kim@127.0.0.1:1/work?pasword=s3cret";
    let run = Home::empty().bare().args(["list", "--store", url]).output().map(RunResult::from).unwrap();
    assert!(run.code == 2 && run.err.contains("there is no parameter `pasword`"), "{run:?}");
    assert!(!run.err.contains("s3cret"), "{run:?}");
}

#[test]
fn a_server_that_refuses_connections_is_named_as_the_cause() {
    let url = "postgres://kim:s3cret@127.0.0.1:1/work?connect_timeout=0.3";
    let run = Home::empty().bare().args(["list", "--store", url]).output().map(RunResult::from).unwrap();
    assert!(run.code == 1 && run.err.contains("Connection refused"), "{run:?}");
    assert!(run.err.contains("check that the server runs") && !run.err.contains("s3cret"), "{run:?}");
}

#[test]
fn a_role_without_rights_is_told_where_they_come_from() {
    let Some(beside) = Beside::without_tables(Home::empty()) else { return };
    assert_eq!(beside.in_database(&["store", "init"]).code, 0);
    let role = format!("{}_stranger", beside.schema.name());
    beside.schema.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 's3cret'"));
    let url = format!("{}&user={role}&password=s3cret", beside.url());
    let run = run(beside.home.bare().args(["list", "--store", &url]));
    beside.schema.execute(&format!("DROP ROLE {role}"));
    assert!(run.code == 1 && run.err.contains("`selvedge store roles`"), "{run:?}");
    assert!(!run.err.contains("s3cret") && !run.err.contains("check that the server runs"), "{run:?}");
}

/// What a thread of a database has not: a file.
const LOCATION: &[&str] = &["location"];

#[test]
fn what_is_read_is_the_same() {
    // The oldest format, the first one with references between threads, and the newest one.
    for sample in ["basic-0.20.0", "story-0.144.6", "story-0.169.0"] {
        let Some(beside) = Beside::new(Home::sample(sample)) else { return };
        for id in beside.ids() {
            // Byte for byte.
            beside.same(&["export", &id]);
            for verb in ["show", "context"] {
                beside.same(&[verb, &id]);
                beside.same_but(&[verb, &id, "--json"], LOCATION);
            }
            beside.same(&["show", &id[..18], "--full"]);
            beside.same(&["tree", &id]);
        }
        beside.same(&["list"]);
        beside.same(&["list", "--all"]);
        beside.same_but(&["list", "--all", "--json"], LOCATION);
        beside.same_but(&["list", "--archived", "--sort", "created", "--ascending", "--json"], LOCATION);
        beside.same(&["list", "--search", "zebra"]);
        beside.same(&["tree"]);
        beside.same_but(&["tree", "--json"], LOCATION);
        for text in ["zebra", "question", "zeb*", "\"first question\"", "no such word"] {
            beside.same_hits(text);
            beside.same_but(&["search", text, "--all", "--order", "sorted", "--json"], LOCATION);
        }
        beside.same(&["search", "zebra", "--order", "sorted"]);
        beside.same(&["search", "no such word"]);
        for key in ["day", "project", "model", "source"] {
            beside.same(&["stats", "--all", "--by", key, "--json"]);
        }
        beside.same(&["stats"]);
    }
}

#[test]
fn pages_are_the_same() {
    let Some(beside) = Beside::new(Home::sample("story-0.169.0")) else { return };
    let mut cursor: Option<String> = None;
    for _ in 0..50 {
        let mut args = vec!["list", "--all", "--limit", "2", "--json"];
        args.extend(cursor.as_deref().into_iter().flat_map(|cursor| ["--cursor", cursor]));
        let page = beside.same_but(&args, LOCATION);
        let Some((_, next)) = page.err.trim().split_once("--cursor ") else { return };
        cursor = Some(next.to_owned());
    }
    panic!("the pages do not end");
}

#[test]
fn what_is_changed_is_the_same() {
    let Some(beside) = Beside::new(Home::sample("story-0.169.0")) else { return };
    let exported = |id: &str| beside.same(&["export", id]).out;
    for (n, mode) in ["legacy", "paginated"].into_iter().enumerate() {
        let id = format!("01a1fd5d-0000-7000-8000-00000000000{n}");
        let made =
            [&beside.home.run(&["new", "--id", &id, "--mode", mode, "--name", "of both"]).out, &*format!("{id}\n")];
        assert_eq!(made[0], made[1]);
        let run = beside.in_database(&["new", "--id", &id, "--mode", mode, "--name", "of both"]);
        assert_eq!((run.code, run.out), (0, made[1].to_owned()), "{}", run.err);
        let run = beside.in_database(&["new", "--id", &id]);
        assert_eq!((run.code, beside.home.run(&["new", "--id", &id]).code), (1, 1), "{}", run.err);
        let input: String =
            (0..20).map(|n| user_message(&format!("turn {n}")) + &message(&format!("turn {n}"))).collect();
        let acknowledged = beside.append(&id, &input).out;
        assert_eq!(acknowledged.lines().count(), 40);
        let run = beside.append(&id, "no item\n");
        assert!(run.code == 1 && run.err.contains("line 1 of the input is not an item"), "{}", run.err);
        for args in [
            &["rewind", &id, "--turns", "3"][..],
            &["rename", &id, "new name"],
            &["archive", &id],
            &["archive", &id],
            &["unarchive", &id],
            &["rename", &id, "--clear"],
        ] {
            // Codex knows threads of the home, perhaps, and none of the database.
            beside.same(&[args, &["--force"]].concat());
        }
        let texts = |lines: &str| crate::support::texts(lines);
        let (home, database) = (beside.home.ok(&["export", &id]), beside.in_database(&["export", &id]).out);
        assert_eq!(texts(&home), texts(&database));
        let transcripts =
            [beside.home.ok(&["show", &id]), beside.in_database(&["show", &id]).out].map(|text| without_times(&text));
        assert_eq!(transcripts[0], transcripts[1]);
        let show = &transcripts[1];
        assert!(show.contains("  turn 16\n") && !show.contains("  turn 17\n"), "{show}");
    }
    // A thread with recorded history goes on, too.
    let before = exported(PLAIN169);
    beside.append(PLAIN169, &message("one more"));
    let after = beside.in_database(&["export", PLAIN169]).out;
    assert!(after.starts_with(&before) && after.len() > before.len());
}

#[test]
fn forks_detachment_and_deletion_are_the_same() {
    let Some(beside) = Beside::new(Home::sample("story-0.169.0")) else { return };
    let fork = |run: RunResult| {
        assert_eq!(run.code, 0, "{}", run.err);
        run.out.trim().to_owned()
    };
    let (of_home, of_database) = (fork(beside.home.run(&["fork", T169])), fork(beside.in_database(&["fork", T169])));
    // Both have an id of their own in the first line, and the same history before.
    let texts = |run: RunResult| crate::support::texts(&run.out);
    let source = texts(beside.in_database(&["export", T169]));
    assert!(!source.is_empty());
    assert_eq!(texts(beside.in_database(&["export", &of_database])), source);
    assert_eq!(texts(beside.home.run(&["export", &of_home])), source);
    // Others depend on the thread.
    let run = beside.in_database(&["delete", T169, "--yes"]);
    assert_eq!((run.code, beside.home.run(&["delete", T169, "--yes", "--force"]).code), (4, 4), "{}", run.err);
    let run = beside.in_database(&["delete", T169, "--yes", "--detach"]);
    assert!(run.code == 0 && run.out.contains(&format!("detached {of_database}\n")), "{run:?}");
    assert_eq!(texts(beside.in_database(&["export", &of_database])), source);
    for id in [T169, UNKNOWN] {
        for verb in ["show", "export", "context", "tail", "archive", "delete"] {
            assert_eq!(beside.in_database(&[verb, id]).code, 3, "{verb}");
        }
    }
    beside.same(&["tree", UNKNOWN]);
    assert_eq!(beside.in_database(&["unarchive", ARCHIVED169]).code, 0);
}

/// Lines of `tail --json` until `count` of them are there.
fn tail(command: &mut Command, count: usize, then: impl FnOnce()) -> Vec<String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // What stands already is printed before anything is appended.
    let mut read: Vec<String> = vec![lines.next().unwrap().unwrap()];
    then();
    while read.len() < count {
        read.push(lines.next().unwrap().unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    read
}

#[test]
fn tail_follows_what_other_processes_append() {
    let Some(beside) = Beside::new(Home::sample("story-0.169.0")) else { return };
    let stands = beside.same(&["export", PLAIN169]).out.lines().count();
    let input: String = (0..200).map(|n| message(&format!("item {n}"))).collect();
    let started = Instant::now();
    let append = || {
        let mut child = beside.database_command(&["append", PLAIN169]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    };
    let lines = tail(&mut beside.database_command(&["tail", PLAIN169, "--from-start", "--json"]), stands + 200, append);
    assert!(started.elapsed() < Duration::from_secs(60));
    let printed: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let exported = beside.in_database(&["export", PLAIN169]).out;
    let exported: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(printed.iter().map(|one| one["line"].clone()).collect::<Vec<_>>(), exported);
}

#[test]
fn pick_on_a_database() {
    let Some(beside) = Beside::new(Home::sample("story-0.169.0")) else { return };
    // Without a terminal there is nobody to choose. The picker itself is tested on a home.
    let run = beside.same(&["pick", "--query", "zebra"]);
    assert_ne!(run.code, 0);
    let empty = beside.in_database(&["pick", "--cwd", "/no/such/folder"]);
    assert!(empty.code == 3 && empty.err.contains("no such threads in PostgreSQL at"), "{}", empty.err);
}

#[test]
fn verbs_about_files_say_that_they_need_a_home() {
    let Some(beside) = Beside::new(Home::empty()) else { return };
    for args in [&["doctor"][..], &["index", "sync"], &["compress", "--older-than", "1"], &["import", "x.jsonl"]] {
        let run = beside.in_database(args);
        assert_eq!(run.code, 2, "{args:?}: {}", run.err);
        assert!(
            run.err.contains("works on the files of a home") && run.err.contains("`selvedge copy` brings"),
            "{}",
            run.err
        );
    }
    let run = beside.in_database(&["list", "--index", "off"]);
    assert!(run.code == 2 && run.err.contains("--index belongs to a home"), "{}", run.err);
}

#[test]
fn a_store_comes_from_an_option_else_from_the_environment() {
    let Some(beside) = Beside::new(Home::sample("story-0.169.0")) else { return };
    let wanted = beside.in_database(&["list", "--all"]).out;
    assert!(wanted.contains("zebras"));
    let from_variable = |store: &str, args: &[&str]| run(beside.home.bare().env("SELVEDGE_STORE", store).args(args));
    assert_eq!(from_variable(&beside.url(), &["list", "--all"]).out, wanted);
    // A directory is a store, too, and an option counts more than the variable.
    let directory = beside.home.path().to_str().unwrap().to_owned();
    assert_eq!(from_variable(&directory, &["list", "--all"]).out, wanted);
    let empty = Home::empty();
    let run = from_variable(&beside.url(), &["--home", empty.path().to_str().unwrap(), "list", "--all"]);
    assert_eq!((run.code, &*run.out), (0, ""), "{}", run.err);
    let run = beside.home.run(&["list", "--store", &beside.url()]);
    assert!(run.code == 2 && run.err.contains("--store and --home both name the store"), "{}", run.err);
    let run = crate::support::run(beside.home.bare().arg("--home").arg(beside.url()).arg("list"));
    assert!(run.code == 2 && run.err.contains("use --store for a database"), "{}", run.err);
}

#[test]
fn namespaces_do_not_see_each_other() {
    let Some(beside) = Beside::new(Home::sample("story-0.169.0")) else { return };
    let other = format!("{}&namespace=other%20team", beside.url());
    let in_other = |args: &[&str]| run(beside.home.bare().arg("--store").arg(&other).args(args).stdin(Stdio::null()));
    assert_eq!(in_other(&["list", "--all"]).out, "");
    for verb in ["show", "export", "archive", "tail", "fork"] {
        assert_eq!(in_other(&[verb, T169]).code, 3, "{verb}");
    }
    let run = in_other(&["new", "--id", T169]);
    assert_eq!(run.code, 0, "{}", run.err);
    assert_eq!(in_other(&["delete", T169, "--yes"]).code, 0);
    beside.same(&["export", T169]);
}

#[test]
fn store_init_status_and_migrate() {
    let Some(beside) = Beside::without_tables(Home::empty()) else { return };
    let status = beside.in_database(&["store", "status"]);
    assert!(status.code == 1 && status.out.contains("tables      none"), "{status:?}");
    assert!(status.err.contains("`selvedge store init` creates them"), "{}", status.err);
    for args in [&["list"][..], &["new"], &["store", "migrate"]] {
        let run = beside.in_database(args);
        assert!(run.code == 1 && run.err.contains("selvedge store init"), "{args:?}: {}", run.err);
    }
    // All at once, as when several hosts start for the first time.
    let url = beside.url();
    let inits: Vec<_> = (0..4)
        .map(|_| {
            let mut command = beside.home.bare();
            command.args(["store", "init", &url]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for init in inits {
        let run = RunResult::from(init.wait_with_output().unwrap());
        assert_eq!(run.code, 0, "{}", run.err);
    }
    let run = beside.in_database(&["store", "init"]);
    assert!(run.code == 0 && run.out.starts_with("there was already"), "{run:?}");
    let run = beside.in_database(&["store", "migrate"]);
    assert!(run.code == 0 && run.out.starts_with("nothing to update"), "{run:?}");
    assert_eq!(beside.in_database(&["new"]).code, 0);
    let status = beside.in_database(&["store", "status", "--json"]);
    let status: Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!((&status["threads"], &status["tables"]["state"]), (&1.into(), &"current".into()), "{status}");
    assert_eq!(status["is_synced"], true);
    assert_eq!(status["namespaces"][0]["threads"], 1, "{status}");
    assert_eq!((&status["has_notifications"], &status["fsync"]), (&true.into(), &"on".into()), "{status}");
    let roles = beside.in_database(&["store", "roles"]);
    assert_eq!(roles.code, 0, "{}", roles.err);
    assert!(roles.out.contains(&format!("CREATE ROLE {}_write", beside.schema.name())), "{}", roles.out);
    // A newer program has updated the tables.
    let newer = format!("UPDATE {}._sqlx_migrations SET version = version + 9000", beside.schema.name());
    beside.schema.execute(&newer);
    for args in [&["list"][..], &["store", "init"], &["store", "migrate"], &["store", "status"]] {
        let run = beside.in_database(args);
        assert!(run.code == 1 && run.err.contains("newer"), "{args:?}: {run:?}");
    }
}

#[test]
fn a_home_has_no_tables() {
    let home = Home::sample("story-0.169.0");
    for action in ["init", "status", "migrate", "roles"] {
        let run = home.run(&["store", action]);
        assert!(run.code == 2 && run.err.contains("is a home, and a home has no tables"), "{}", run.err);
    }
}

#[test]
fn no_message_has_the_password() {
    let home = Home::empty();
    let urls = [
        // Nobody listens there.
        "postgres://kim:s3cret@127.0.0.1:1/work?retry=0.1&connect_timeout=0.2",
        "postgres://kim:s3cret@127.0.0.1:port/work",
        "postgres://kim:s3cret@/work",
        "postgres://kim:s3cret@127.0.0.1/work?pool=none",
        "postgres://kim@127.0.0.1/work?password=s3cret&lease=x",
        "mysql://kim:s3cret@127.0.0.1/work",
    ];
    for url in urls {
        for args in [
            &["list"][..],
            &["new"],
            &["doctor"],
            &["store", "status"],
            &["store", "init"],
            &["list", "--index", "off"],
        ] {
            for run in [
                run(home.bare().arg("--store").arg(url).args(args)),
                run(home.bare().env("SELVEDGE_STORE", url).args(args)),
            ] {
                assert!(run.code == 1 || run.code == 2, "{url} {args:?}: {run:?}");
                assert!(!run.err.contains("s3cret") && !run.out.contains("s3cret"), "{url} {args:?}: {run:?}");
                assert!(run.err.contains("hint:"), "{url} {args:?}: {run:?}");
            }
        }
    }
}
