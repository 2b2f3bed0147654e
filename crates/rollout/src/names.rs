//! The names that people give to threads: an append-only index beside the logs.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use selvedge_protocol::log::BYTE_ORDER_MARK;
use selvedge_protocol::{RolloutLine, ThreadId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{IoContext, Result};
use crate::file_system::{OpenFile, OpenMode, Writer};
use crate::layout::RolloutHome;
use crate::lock::wait_for;

/// How long to wait for others who write the index.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the index says of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameEntry {
    /// The name.
    pub name: String,
    /// When it was given; unknown when the line does not say.
    pub updated_at: Option<Timestamp>,
}

/// The names of a home's threads. Of the lines of one thread the last one counts, and an empty name is none.
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

/// A time that is none leaves the name what it is; Codex writes `unknown` when its clock cannot be told.
fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Timestamp>, D::Error> {
    let time = serde_json::Value::deserialize(deserializer)?;
    Ok(time.as_str().and_then(|time| time.parse().ok()))
}

impl NameIndex {
    /// Reads the index of a home. Lines that are not understood are passed over; a missing index is empty.
    ///
    /// # Errors
    /// When the file cannot be read.
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

    /// The lines of an index, or of a stretch of one that begins where a line does: the thread's name from there on, or that it
    /// has none. Lines that are not understood are passed over.
    pub fn lines(bytes: &[u8]) -> impl Iterator<Item = (ThreadId, Option<NameEntry>)> {
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        bytes.split(|byte| *byte == b'\n').filter_map(|line| {
            let NameLine { id, thread_name: name, updated_at } = serde_json::from_slice(line).ok()?;
            Some((id, (!name.is_empty()).then(|| NameEntry { name: name.into_owned(), updated_at })))
        })
    }

    /// The name of a thread.
    #[must_use]
    pub fn get(&self, thread_id: ThreadId) -> Option<&NameEntry> {
        self.names.get(&thread_id)
    }

    /// All names, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (ThreadId, &NameEntry)> {
        self.names.iter().map(|(id, entry)| (*id, entry))
    }

    /// Appends a line to the index of a home, as durable as the home's level: the thread's name from now on, or that it has
    /// none.
    ///
    /// # Errors
    /// When the file cannot be written, or others do not let it be written for 10 s
    /// ([`RolloutError::LockTimeout`](crate::RolloutError::LockTimeout)); the index says then what it said before, unless the
    /// system could not make the line durable and somebody wrote behind it meanwhile.
    pub fn set(home: &RolloutHome, thread_id: ThreadId, name: Option<&str>, at: Timestamp) -> Result<()> {
        home.create_dir(home.root())?;
        let path = home.name_index_path();
        home.refuse_links(&path)?;
        let lock = Self::lock(home)?;
        let file = home.file_system().open(&path, OpenMode::AppendOrNew).context("open", &path)?;
        let len = file.file().metadata().context("read", &path)?.len();
        let line = NameLine { id: thread_id, thread_name: name.unwrap_or_default().into(), updated_at: Some(at) };
        let mut text = Vec::new();
        // A torn last line must not swallow this one.
        if !ends_with_newline(file.file()).context("read", &path)? {
            text.push(b'\n');
        }
        serde_json::to_writer(&mut text, &line).map_err(io::Error::from).context("write", &path)?;
        text.push(b'\n');
        if let Err(error) = Writer(&*file).write_all(&text).context("write", &path) {
            // Nobody else writes while the lock is held. Should this fail, too, a later line stands on its own all the same.
            let _ = file.set_len(len);
            return Err(error);
        }
        // Codex waits for this lock, too, and it is not to wait for the medium.
        drop(lock);
        if home.is_synced()
            && let Err(error) = file.sync().context("sync", &path).and_then(|()| home.sync_names(&path))
        {
            Self::take_back(home, &*file, len + text.len() as u64, len);
            return Err(error);
        }
        Ok(())
    }

    /// Takes the last line away again that ends at `end`, if nobody has written behind it.
    fn take_back(home: &RolloutHome, file: &dyn OpenFile, end: u64, start: u64) {
        let Ok(_lock) = Self::lock(home) else { return };
        if file.file().metadata().is_ok_and(|metadata| metadata.len() == end) {
            let _ = file.set_len(start);
        }
    }

    /// Keeps other writers from the index for as long as the file is open: who shares the home takes this lock around writes
    /// to it, too.
    pub(crate) fn lock(home: &RolloutHome) -> Result<Arc<dyn OpenFile>> {
        let path = home.name_index_path().with_extension("jsonl.lock");
        home.refuse_links(&path)?;
        let lock = home.file_system().open(&path, OpenMode::Lock).context("open", &path)?;
        wait_for(lock.file(), &path, TIMEOUT, || lock.try_lock())?;
        Ok(lock)
    }

    /// The stretches of a home's index that are no names: their bytes, the line, and what is wrong.
    pub(crate) fn damage(home: &RolloutHome) -> Result<Vec<(Range<u64>, u64, String)>> {
        let path = home.name_index_path();
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.context("read", &path)?,
        };
        let mut found = Vec::new();
        for (range, number, outcome) in lines(&bytes) {
            if let Err(reason) = outcome {
                found.push((range.start as u64..range.end as u64, number, reason));
            }
        }
        Ok(found)
    }

    /// The lines of an index that are names, byte for byte.
    pub(crate) fn intact(bytes: &[u8]) -> Vec<u8> {
        let mut intact = Vec::with_capacity(bytes.len());
        for (range, _, outcome) in lines(bytes) {
            if outcome.is_ok() {
                intact.extend_from_slice(&bytes[range]);
                if !intact.ends_with(b"\n") {
                    intact.push(b'\n');
                }
            }
        }
        intact
    }
}

/// The lines of an index, and what is wrong with those that are no names. Blank ones are left out.
fn lines(bytes: &[u8]) -> Vec<(Range<usize>, u64, Result<(), String>)> {
    let mut found = Vec::new();
    let mut start = 0;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        start = BYTE_ORDER_MARK.len();
        found.push((0..start, 1, Err("a byte order mark".to_owned())));
    }
    for (number, line) in (1..).zip(bytes[start..].split_inclusive(|byte| *byte == b'\n')) {
        let range = start..start + line.len();
        start = range.end;
        if !line.iter().all(u8::is_ascii_whitespace) {
            // What is an object may be the line of a newer program.
            let text = str::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"));
            let outcome = text.and_then(|text| RolloutLine::parse(text).map(drop).map_err(|error| error.to_string()));
            found.push((range, number, outcome));
        }
    }
    found
}

/// Whether the next byte begins a line: after a newline, or in an empty file.
pub(crate) fn ends_with_newline(mut file: &File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}
