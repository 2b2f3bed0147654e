//! The name index: the names that users give to threads, in an append-only file beside the logs.
//!
//! Codex appends to the same file. Both programs hold the lock on `session_index.jsonl.lock` during a write, and readers take
//! no lock: they ignore a line that is not complete.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use selvedge_protocol::log::BYTE_ORDER_MARK;
use selvedge_protocol::{RolloutLine, ThreadId, Timestamp, without_lone_surrogates};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{IoContext, Result};
use crate::file_system::{FileWriter, OpenFile, OpenMode};
use crate::files::line_end::ends_with_newline;
use crate::home::RolloutHome;
use crate::locks::wait_for_lock;
use crate::timing::NAME_LOCK_TIMEOUT;

/// The name of a thread in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameEntry {
    /// The name.
    pub name: String,
    /// The time at which the thread got the name. `None` if the line does not record it.
    pub updated_at: Option<Timestamp>,
}

/// The names of the threads of a home. The last line of a thread counts, and an empty name clears the name.
#[derive(Clone, Debug, Default)]
pub struct NameIndex {
    names: HashMap<ThreadId, NameEntry>,
}

#[derive(Serialize, Deserialize)]
struct NameLine<'a> {
    id: ThreadId,
    #[serde(borrow)]
    thread_name: std::borrow::Cow<'a, str>,
    #[serde(default, deserialize_with = "lenient")]
    updated_at: Option<Timestamp>,
}

/// Deserializes a time. Any other value is no time, and the name stays valid: Codex writes `unknown` if it cannot read its clock.
fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Timestamp>, D::Error> {
    let time = serde_json::Value::deserialize(deserializer)?;
    Ok(time.as_str().and_then(|time| time.parse().ok()))
}

/// Returns the thread of a line and its name, or `None` for the name if the line clears it.
fn parse_line(line: &str) -> Option<(ThreadId, Option<NameEntry>)> {
    let NameLine { id, thread_name: name, updated_at } = serde_json::from_str(line).ok()?;
    Some((id, (!name.is_empty()).then(|| NameEntry { name: name.into_owned(), updated_at })))
}

impl NameIndex {
    /// Reads the index of a home. A line that is not understood is skipped, and a missing index is empty.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn load(home: &RolloutHome) -> Result<Self> {
        let path = home.name_index_path();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error).context("read", &path),
        };
        let mut names = HashMap::new();
        for (id, entry) in Self::lines(&bytes) {
            match entry {
                Some(entry) => names.insert(id, entry),
                None => names.remove(&id),
            };
        }
        Ok(Self { names })
    }

    /// Returns the lines of an index, or of a range of it that begins at a line: the thread, and its name from this line on, or
    /// `None` if the line clears the name. A line that is not understood is skipped.
    pub fn lines(bytes: &[u8]) -> impl Iterator<Item = (ThreadId, Option<NameEntry>)> {
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        bytes.split(|byte| *byte == b'\n').filter_map(|line| {
            let line = std::str::from_utf8(line).ok()?;
            // Only a line that does not parse can contain a lone surrogate.
            parse_line(line).or_else(|| parse_line(&without_lone_surrogates(line)))
        })
    }

    /// Returns the name of a thread.
    #[must_use]
    pub fn get(&self, thread_id: ThreadId) -> Option<&NameEntry> {
        self.names.get(&thread_id)
    }

    /// Returns all names, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (ThreadId, &NameEntry)> {
        self.names.iter().map(|(id, entry)| (*id, entry))
    }

    /// Appends a line to the index of a home that sets or clears the name of a thread, as durable as the home's level requires.
    ///
    /// # Errors
    /// - [`RolloutError::LockTimeout`](crate::RolloutError::LockTimeout) if other processes hold the lock for longer than 10 s.
    /// - If the file cannot be written.
    ///
    /// The index is unchanged then. There is one exception: if the fsync failed and another process has appended a line since, the
    /// new line stays.
    pub fn set(home: &RolloutHome, thread_id: ThreadId, name: Option<&str>, at: Timestamp) -> Result<()> {
        home.create_dir(home.root())?;
        let path = home.name_index_path();
        home.refuse_links(&path)?;
        let lock = Self::lock(home)?;
        let file = home.open(&path, OpenMode::AppendOrNew).context("open", &path)?;
        let len = file.file().metadata().context("read", &path)?.len();
        // The length is taken under the lock. It is where a failed write is truncated.
        let line = NameLine { id: thread_id, thread_name: name.unwrap_or_default().into(), updated_at: Some(at) };
        let mut text = Vec::new();
        // A torn last line must not swallow this one.
        if !ends_with_newline(file.file()).context("read", &path)? {
            text.push(b'\n');
        }
        serde_json::to_writer(&mut text, &line).map_err(io::Error::from).context("write", &path)?;
        text.push(b'\n');
        if let Err(error) = FileWriter(&*file).write_all(&text).context("write", &path) {
            // No other process writes while the lock is held. If the truncation fails, too, the next line still begins on its own.
            let _ = file.set_len(len);
            return Err(error);
        }
        // Codex waits for this lock, too, and must not wait for an fsync.
        drop(lock);
        if home.is_synced()
            && let Err(error) = file.sync().context("sync", &path).and_then(|()| home.sync_names(&path))
        {
            Self::truncate_line(home, &*file, len..len + text.len() as u64);
            return Err(error);
        }
        Ok(())
    }

    /// Removes a line again, if it is still the last one.
    fn truncate_line(home: &RolloutHome, file: &dyn OpenFile, line: Range<u64>) {
        let Ok(_lock) = Self::lock(home) else { return };
        if file.file().metadata().is_ok_and(|metadata| metadata.len() == line.end) {
            let _ = file.set_len(line.start);
        }
    }

    /// Excludes other writers of the index while the returned file is open. Codex takes the same lock for its writes.
    pub(crate) fn lock(home: &RolloutHome) -> Result<Arc<dyn OpenFile>> {
        let path = home.name_index_path().with_extension("jsonl.lock");
        home.refuse_links(&path)?;
        let lock = home.open(&path, OpenMode::Lock).context("open", &path)?;
        wait_for_lock(lock.file(), &path, NAME_LOCK_TIMEOUT, || lock.try_lock())?;
        Ok(lock)
    }

    /// Returns the damaged lines of the index of a home.
    pub(crate) fn damage(home: &RolloutHome) -> Result<Vec<DamagedNameLine>> {
        let path = home.name_index_path();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.context("read", &path)?,
        };
        let damaged = check_lines(&bytes).into_iter().filter_map(|line| {
            let range = line.range.start as u64..line.range.end as u64;
            Some(DamagedNameLine { range, number: line.number, reason: line.outcome.err()? })
        });
        Ok(damaged.collect())
    }

    /// Returns the intact lines of an index, byte for byte.
    pub(crate) fn intact(bytes: &[u8]) -> Vec<u8> {
        let mut intact = Vec::with_capacity(bytes.len());
        for line in check_lines(bytes).into_iter().filter(|line| line.outcome.is_ok()) {
            intact.extend_from_slice(&bytes[line.range]);
            if !intact.ends_with(b"\n") {
                intact.push(b'\n');
            }
        }
        intact
    }
}

/// A line of the index that is no name.
pub(crate) struct DamagedNameLine {
    pub(crate) range: Range<u64>,
    /// The number of the line, counted from 1.
    pub(crate) number: u64,
    pub(crate) reason: String,
}

/// A line of the index, intact or with the reason why it is not.
struct CheckedNameLine {
    range: Range<usize>,
    number: u64,
    outcome: Result<(), String>,
}

/// Checks the lines of an index. Blank lines are left out.
fn check_lines(bytes: &[u8]) -> Vec<CheckedNameLine> {
    let mut checked = Vec::new();
    let mut start = 0;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        start = BYTE_ORDER_MARK.len();
        checked.push(CheckedNameLine { range: 0..start, number: 1, outcome: Err("a byte order mark".to_owned()) });
    }
    // As in a log, each newline ends a line, so that a damaged line costs no other name.
    for (number, line) in (1..).zip(bytes[start..].split_inclusive(|byte| *byte == b'\n')) {
        let range = start..start + line.len();
        start = range.end;
        if !line.iter().all(u8::is_ascii_whitespace) {
            // Any JSON object counts as intact, because it may be the line of a newer program.
            let text = str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"));
            let outcome = text.and_then(|text| RolloutLine::parse(text).map(drop).map_err(|error| error.to_string()));
            checked.push(CheckedNameLine { range, number, outcome });
        }
    }
    checked
}
