//! A writer process that is killed in the middle of its work.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, anyhow};
use selvedge_protocol::{ResponseItem, RolloutItem, ThreadId};

use crate::failure::Result;

/// How many items wait to be appended: more than the writer can append before it is killed.
const ITEMS: u64 = 200_000;

/// What a killed writer leaves.
pub(crate) struct KilledWriter {
    /// Id of the process.
    pub(crate) process_id: u32,
    /// Ordinals that it acknowledged before it died.
    pub(crate) acknowledged: Vec<u64>,
    /// Whether the kill ended it, and not the end of its input.
    pub(crate) was_killed: bool,
}

impl KilledWriter {
    /// Starts a process that appends a stream of items to a thread, and kills it after it has acknowledged `wanted` of
    /// them.
    pub(crate) fn run(home: &Path, id: ThreadId, wanted: u64) -> Result<Self> {
        let mut child = spawn(home, id)?;
        let process_id = child.id();
        let output = child.stdout.take().ok_or_else(|| anyhow!("the writer has no output"))?;
        let mut acknowledged = Vec::new();
        for line in BufReader::new(output).lines() {
            let line = line.context("cannot read the output of the writer")?;
            // The kill can tear the last line. A torn number acknowledges nothing.
            let Ok(number) = line.parse() else { break };
            acknowledged.push(number);
            // The loop continues: more numbers may be in the pipe already, and they count as acknowledged.
            if u64::try_from(acknowledged.len()).is_ok_and(|count| count == wanted) {
                child.kill().context("cannot kill the writer")?;
            }
        }
        let status = child.wait().context("cannot wait for the writer")?;
        let was_killed = !status.success() && acknowledged.len() as u64 >= wanted;
        Ok(Self { process_id, acknowledged, was_killed })
    }
}

fn spawn(home: &Path, id: ThreadId) -> Result<Child> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let mut child = Command::new(program)
        .arg("--home")
        .arg(home)
        .args(["append", &id.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start a writer")?;
    let mut input = child.stdin.take().ok_or_else(|| anyhow!("the writer has no input"))?;
    // A thread of its own: this process reads the output of the writer. If it also wrote the input, both pipes could
    // fill up, and both processes would wait for each other.
    std::thread::spawn(move || {
        for number in 1..=ITEMS {
            let item = RolloutItem::from(ResponseItem::user_text(&item_text(number)));
            let line = serde_json::to_string(&item).unwrap_or_default();
            // The pipe breaks when the writer is killed.
            if writeln!(input, "{line}").is_err() {
                break;
            }
        }
    });
    Ok(child)
}

fn item_text(number: u64) -> String {
    format!("streamed item {number}")
}

/// Returns the numbers of the items that the writer appended, from the texts of a thread.
pub(crate) fn item_numbers(texts: &[String]) -> Vec<u64> {
    texts.iter().filter_map(|text| text.strip_prefix("streamed item ")?.parse().ok()).collect()
}
