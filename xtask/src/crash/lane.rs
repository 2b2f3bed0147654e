//! Runs one writer after another on the same threads, kills each of them, and knows what must be stored.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::reader::{ExpectedThread, Files};
use super::totals::CrashTotals;

/// The largest number of operations that a writer does before it ends.
const MOST: u64 = 1_000_000;

/// A sequence of writers that work on the same threads.
pub(super) struct Lane<'a> {
    program: &'a Path,
    home: PathBuf,
    random: u64,
    number: u64,
    round: u64,
    /// The acknowledged state of each thread.
    threads: BTreeMap<String, ExpectedThread>,
}

/// An operation that a writer reported as begun or done.
#[derive(Clone, Debug, PartialEq)]
enum Operation {
    Start(String, bool),
    Append(String, u64),
    Rewind(String, usize),
    Fork(String, String),
}

impl Operation {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let thread = || Some((*words.get(1)?).to_owned());
        match *words.first()? {
            "start" => Some(Self::Start(thread()?, *words.get(2)? == "legacy")),
            "append" => Some(Self::Append(thread()?, words.get(2)?.parse().ok()?)),
            "rewind" => Some(Self::Rewind(thread()?, words.get(2)?.parse().ok()?)),
            "fork" => Some(Self::Fork(thread()?, (*words.get(2)?).to_owned())),
            _ => None,
        }
    }

    /// Applies the operation to the expected threads.
    fn apply(&self, threads: &mut BTreeMap<String, ExpectedThread>) {
        match self {
            Self::Start(thread, is_legacy) => {
                threads.insert(thread.clone(), ExpectedThread { is_legacy: *is_legacy, turns: Vec::new() });
            }
            Self::Append(thread, number) => threads.entry(thread.clone()).or_default().turns.push(Some(*number)),
            Self::Rewind(thread, turns) => threads.entry(thread.clone()).or_default().rewind(*turns),
            Self::Fork(source, fork) => {
                let copy = threads.get(source).cloned().unwrap_or_default();
                threads.insert(fork.clone(), copy);
            }
        }
    }
}

/// The output of a writer before it died.
#[derive(Default)]
struct WriterOutput {
    done: Vec<Operation>,
    in_flight: Option<Operation>,
    ended: bool,
}

impl WriterOutput {
    fn hear(&mut self, line: &str) {
        match (line.strip_prefix("? "), line.strip_prefix("! ")) {
            (Some(begun), _) => self.in_flight = Operation::parse(begun),
            (_, Some("end")) => self.ended = true,
            (_, Some(done)) => {
                self.done.extend(Operation::parse(done));
                self.in_flight = None;
            }
            // A torn last line is not a report.
            _ => {}
        }
    }
}

impl<'a> Lane<'a> {
    pub(super) fn new(program: &'a Path, home: &Path, seed: u64, number: u64) -> Self {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number) | 1;
        // Each lane has a number range of its own.
        let number = number * 1_000_000_000_000;
        Self { program, home: home.to_owned(), random, number, round: 0, threads: BTreeMap::new() }
    }

    /// Runs a writer, kills it, and checks the threads.
    pub(super) fn round(&mut self, tally: &mut CrashTotals) -> Result<()> {
        let level = if self.round.is_multiple_of(2) { "written" } else { "synced" };
        let delay = Duration::from_micros(self.chance(80_000));
        let at_work = self.chance(4) > 0;
        let said = self.write(level, MOST, Some((delay, at_work)))?;
        tally.deaths += 1;
        tally.acknowledged += said.done.len() as u64;
        tally.synced += if level == "synced" { said.done.len() as u64 } else { 0 };
        tally.in_flight += u64::from(said.in_flight.is_some());
        self.check(&said).with_context(|| format!("lane and round {}, level {level}", self.round))
    }

    /// Runs a writer that continues the threads and is not killed, and then forgets the threads.
    pub(super) fn end(&mut self) -> Result<()> {
        let said = self.write("written", 20, None)?;
        if !said.ended {
            bail!("a writer that was not killed did not finish its operations");
        }
        self.check(&said)?;
        self.threads.clear();
        Ok(())
    }

    /// Runs a writer. With `kill` it is killed after a delay, which begins at its start or at its first acknowledgement.
    fn write(&mut self, level: &str, most: u64, kill: Option<(Duration, bool)>) -> Result<WriterOutput> {
        self.round += 1;
        self.number += MOST;
        let seed = self.chance(u64::MAX - 1) + 1;
        let mut command = Command::new(self.program);
        command.arg(&self.home).args([level, &seed.to_string(), &self.number.to_string(), &most.to_string()]);
        let mut child = command
            .args(self.threads.keys())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start a writer")?;
        let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
            bail!("a writer without its pipes");
        };
        let (first, is_at_work) = channel();
        let listener = std::thread::spawn(move || {
            let mut said = WriterOutput::default();
            let mut lines = BufReader::new(stdout);
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|len| len > 0) && line.ends_with('\n') {
                said.hear(line.trim_end());
                line.clear();
                let _ = first.send(());
            }
            said
        });
        if let Some((delay, at_work)) = kill {
            if at_work {
                // This also ends if the writer stops without a report; its exit code gives the reason.
                let _ = is_at_work.recv_timeout(Duration::from_secs(60));
            }
            std::thread::sleep(delay);
            child.kill().context("cannot kill a writer")?;
        }
        let status = child.wait()?;
        let said = listener.join().unwrap_or_default();
        let mut complaint = String::new();
        stderr.read_to_string(&mut complaint)?;
        // A killed process has no exit code.
        if let Some(code) = status.code().filter(|code| *code != 0) {
            bail!("a writer failed with exit code {code}: {complaint}");
        }
        Ok(said)
    }

    /// Checks that everything acknowledged is stored, once and in order, and that the operation in flight is stored completely or not at
    /// all. The stored state becomes the expected state for the next writer.
    fn check(&mut self, said: &WriterOutput) -> Result<()> {
        said.done.iter().for_each(|operation| operation.apply(&mut self.threads));
        let mut after = self.threads.clone();
        if let Some(operation) = &said.in_flight {
            operation.apply(&mut after);
        }
        let files = Files::of(&self.home)?;
        let mut found = BTreeMap::new();
        for thread in after.keys() {
            let there = files.thread(thread)?;
            let items = there.as_ref().map(ExpectedThread::items);
            let [before, after] =
                [self.threads.get(thread), after.get(thread)].map(|known| known.map(ExpectedThread::items));
            if items != before && items != after {
                bail!(
                    "thread {thread} has {items:?}; it should have {before:?}, or {after:?} when {:?} was done",
                    said.in_flight
                );
            }
            found.extend(there.map(|there| (thread.clone(), there)));
        }
        self.threads = found;
        Ok(())
    }

    /// Returns a random number below `many` (xorshift).
    fn chance(&mut self, many: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % many
    }
}
