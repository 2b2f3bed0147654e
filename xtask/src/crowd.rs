//! `cargo xtask crowd`: runs eight processes on one home at the same time, and checks that the index agrees with the logs at the end.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::workspace::{Usage, cargo, root, run_command};

pub(crate) const HELP: &str = "\
usage: cargo xtask crowd [<seconds>]

Eight processes of the selvedge program work on one home at the same time, for 60 seconds or the given time: two append,
two list, two search, one renames and archives, and one rebuilds the index and is killed (SIGKILL) at random moments. None of
them may fail or wait forever; only a conflict with another writer of a thread is allowed. At the end the index
must agree with the logs, row by row, and `selvedge doctor` must find nothing.";

/// How many threads exist at the beginning.
const THREADS: usize = 60;

/// Timeout for a query.
const PATIENCE: Duration = Duration::from_secs(10);

/// The exit code of a conflict: another process writes the thread.
const CONFLICT: i32 = 4;

pub(crate) fn run(args: &[String]) -> Result<()> {
    let seconds = match args {
        [] => 60,
        [seconds] => seconds.parse().map_err(|_| Usage(format!("`{seconds}` is not a number of seconds\n\n{HELP}")))?,
        _ => return Err(Usage(HELP.to_owned()).into()),
    };
    run_command(&mut cargo(&["build", "--release", "-p", "selvedge-cli"]))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let program = target.join("release").join(format!("selvedge{}", std::env::consts::EXE_SUFFIX));
    let dir = tempfile::tempdir()?;
    let crowd = Crowd { program, home: dir.path().join("home"), end: Instant::now() + Duration::from_secs(seconds) };
    let threads = (0..THREADS).map(|number| crowd.start(number)).collect::<Result<Vec<_>>>()?;
    let outcome = crowd.work(&threads).and_then(|()| crowd.check());
    outcome.inspect_err(|_| println!("the home is kept in {}", dir.keep().display()))
}

struct Crowd {
    program: PathBuf,
    home: PathBuf,
    end: Instant,
}

/// How often each kind of operation was done.
#[derive(Default)]
struct CrowdCounts {
    appends: AtomicU64,
    lists: AtomicU64,
    searches: AtomicU64,
    labels: AtomicU64,
    kills: AtomicU64,
    refused: AtomicU64,
}

impl Crowd {
    fn start(&self, number: usize) -> Result<String> {
        let output = self.run(&["new", "--mode", "legacy"], "")?;
        let id = String::from_utf8(output.stdout)?.trim().to_owned();
        self.run(&["append", &id], &turn(&format!("word{number:03}x begins")))?;
        Ok(id)
    }

    /// Runs all workers until the end.
    fn work(&self, threads: &[String]) -> Result<()> {
        let counts = CrowdCounts::default();
        let counts = &counts;
        std::thread::scope(|scope| {
            let workers = [
                scope.spawn(move || self.append(threads, 0, counts)),
                scope.spawn(move || self.append(threads, 1, counts)),
                scope.spawn(move || self.list(threads, counts)),
                scope.spawn(move || self.list(threads, counts)),
                scope.spawn(move || self.search(threads, counts)),
                scope.spawn(move || self.search(threads, counts)),
                scope.spawn(move || self.label(threads, counts)),
                scope.spawn(move || self.kill(counts)),
            ];
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a thread of this program panicked")))
        })?;
        let told = |count: &AtomicU64| count.load(Ordering::Relaxed);
        println!(
            "crowd: {} appends, {} lists, {} searches, {} renames and moves, {} index builders killed; {} calls refused because another process wrote the thread",
            told(&counts.appends),
            told(&counts.lists),
            told(&counts.searches),
            told(&counts.labels),
            told(&counts.kills),
            told(&counts.refused)
        );
        Ok(())
    }

    fn append(&self, threads: &[String], which: usize, counts: &CrowdCounts) -> Result<()> {
        let mut random = CrowdRandom(which as u64 + 1);
        while Instant::now() < self.end {
            let number = random.below(threads.len() / 2) * 2 + which;
            let Some(thread) = threads.get(number) else { continue };
            let round = counts.appends.fetch_add(1, Ordering::Relaxed);
            self.run_or_be_refused(&["append", thread], &turn(&format!("word{number:03}x round{round}")), counts)?;
        }
        Ok(())
    }

    /// Checks that a list has every thread once, whatever the other processes do meanwhile.
    fn list(&self, threads: &[String], counts: &CrowdCounts) -> Result<()> {
        while Instant::now() < self.end {
            counts.lists.fetch_add(1, Ordering::Relaxed);
            let listed = self.json(&["list", "--all"])?;
            let mut ids: Vec<&str> =
                listed.as_array().context("no list")?.iter().filter_map(|row| row["id"].as_str()).collect();
            ids.sort_unstable();
            let count = ids.len();
            ids.dedup();
            ensure!(ids.len() == count, "a thread is listed twice");
            // While the files of a thread move, it may be in neither list.
            ensure!(count + 1 >= threads.len(), "{count} of {} threads are listed", threads.len());
        }
        Ok(())
    }

    fn search(&self, threads: &[String], counts: &CrowdCounts) -> Result<()> {
        let mut random = CrowdRandom(77);
        while Instant::now() < self.end {
            counts.searches.fetch_add(1, Ordering::Relaxed);
            let number = random.below(threads.len());
            let hits = self.json(&["search", &format!("word{number:03}x begins"), "--all"])?;
            let is_found = |hit: &Value| hit["thread"]["id"] == threads[number].as_str();
            ensure!(
                hits.as_array().is_some_and(|hits| hits.len() <= 1 && hits.iter().all(is_found)),
                "wrong hits: {hits}"
            );
        }
        Ok(())
    }

    fn label(&self, threads: &[String], counts: &CrowdCounts) -> Result<()> {
        let mut random = CrowdRandom(99);
        while Instant::now() < self.end {
            let round = counts.labels.fetch_add(1, Ordering::Relaxed);
            let thread = &threads[random.below(threads.len())];
            let name = format!("name {round}");
            let args: &[&str] = match round % 3 {
                0 => &["rename", thread, &name],
                1 => &["archive", thread],
                _ => &["unarchive", thread],
            };
            self.run_or_be_refused(args, "", counts)?;
        }
        Ok(())
    }

    fn kill(&self, counts: &CrowdCounts) -> Result<()> {
        let mut random = CrowdRandom(5);
        while Instant::now() < self.end {
            let verb = if random.below(4) == 0 { "rebuild" } else { "sync" };
            let mut child = self.command(&["index", verb]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
            std::thread::sleep(Duration::from_millis(1 + random.below(60) as u64));
            child.kill()?;
            child.wait()?;
            counts.kills.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Checks that the index agrees with the logs and that the doctor finds nothing.
    fn check(&self) -> Result<()> {
        self.run(&["index", "sync"], "")?;
        let (from_index, from_logs) =
            (self.json(&["list", "--all"])?, self.json(&["list", "--all", "--index", "off"])?);
        ensure!(from_index == from_logs, "the index says {from_index}, the logs say {from_logs}");
        let count = from_logs.as_array().map_or(0, Vec::len);
        self.run(&["doctor"], "")?;
        println!("crowd: {count} threads, the same in the index and in the logs; doctor finds nothing");
        Ok(())
    }

    fn json(&self, args: &[&str]) -> Result<Value> {
        let output = self.run(&[args, &["--json"]].concat(), "")?;
        serde_json::from_slice(&output.stdout).with_context(|| format!("{args:?} prints no JSON"))
    }

    fn run(&self, args: &[&str], input: &str) -> Result<Output> {
        let output = self.output(args, input)?;
        ensure!(output.status.success(), "{args:?} fails: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output)
    }

    fn run_or_be_refused(&self, args: &[&str], input: &str, counts: &CrowdCounts) -> Result<()> {
        let output = self.output(args, input)?;
        if output.status.code() == Some(CONFLICT) {
            counts.refused.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        ensure!(output.status.success(), "{args:?} fails: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn output(&self, args: &[&str], input: &str) -> Result<Output> {
        let started = Instant::now();
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends early with a conflict does not read all of its input.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(!said.contains("locked"), "{args:?} says: {said}");
        ensure!(started.elapsed() < PATIENCE, "{args:?} took {:?}", started.elapsed());
        Ok(output)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--home").arg(Path::new(&self.home)).args(args);
        command
    }
}

/// Returns the items of a turn with a message of the user.
fn turn(text: &str) -> String {
    let said = json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]});
    let items = [
        json!({"type": "event_msg", "payload": {"type": "user_message", "message": text, "images": []}}),
        json!({"type": "response_item", "payload": said}),
    ];
    items.iter().map(|item| format!("{item}\n")).collect()
}

/// Random numbers that are equal in every run (xorshift).
struct CrowdRandom(u64);

impl CrowdRandom {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or_default() % end.max(1)
    }
}
