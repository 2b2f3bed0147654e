//! Recordings, small homes, and helpers to inspect what a reader yields.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Cursor};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::SystemTime;

use selvedge_protocol::log::{DamageKind, Entry};
use selvedge_protocol::{HistoryMode, ResponseItem, RolloutItem, SegmentId, SessionMeta, ThreadId, Timestamp};
use selvedge_rollout::{
    FileSystem, HomeFiles, OpenFile, OpenMode, RolloutFileName, RolloutHome, RolloutReader, SystemFiles,
};
use tempfile::TempDir;

/// Returns the directory of the recordings.
pub(crate) fn samples() -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples")).to_owned()
}

/// Returns the home of a recording.
pub(crate) fn sample_home(name: &str) -> RolloutHome {
    RolloutHome::new(samples().join(name).join("home"))
}

/// Returns every recorded rollout file.
pub(crate) fn recordings() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![samples()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                dirs.push(path);
            } else if name.starts_with("rollout-") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(found.len() >= 17, "the recordings are not where they should be");
    found
}

/// Returns the bytes of the only rollout of a `basic-…` recording.
pub(crate) fn basic(version: &str) -> Vec<u8> {
    let folder = samples().join(format!("basic-{version}"));
    let path = recordings().into_iter().find(|path| path.starts_with(&folder)).unwrap();
    fs::read(path).unwrap()
}

pub(crate) fn read_bytes(bytes: impl Into<Vec<u8>>) -> Vec<Entry> {
    RolloutReader::from_bytes(Cursor::new(bytes.into())).collect::<Result<_, _>>().unwrap()
}

pub(crate) fn read_file(path: &Path) -> Vec<Entry> {
    RolloutReader::open(path).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Returns the texts of the intact lines.
pub(crate) fn texts(entries: &[Entry]) -> Vec<&str> {
    let text = entries.iter().filter_map(|entry| match entry {
        Entry::Line(record) => Some(record.line.text()),
        Entry::Damage(_) => None,
    });
    text.collect()
}

/// Returns the damaged ranges and their kinds.
pub(crate) fn damage(entries: &[Entry]) -> Vec<(std::ops::Range<u64>, &DamageKind)> {
    let damage = entries.iter().filter_map(|entry| match entry {
        Entry::Damage(damage) => Some((damage.range.clone(), &damage.kind)),
        Entry::Line(_) => None,
    });
    damage.collect()
}

/// Returns the ordinals of the intact lines.
pub(crate) fn ordinals(entries: &[Entry]) -> Vec<Option<u64>> {
    let ordinal = |entry: &Entry| match entry {
        Entry::Line(record) => Some(record.line.ordinal()),
        Entry::Damage(_) => None,
    };
    entries.iter().filter_map(ordinal).collect()
}

/// Checks what holds for any bytes: entries are in order and do not overlap, only white space is between them, and the text of a
/// line is the content of its range.
#[track_caller]
pub(crate) fn check_tiling(bytes: &[u8], entries: &[Entry]) {
    let place = |at: u64| usize::try_from(at).unwrap();
    let mut end = 0;
    for entry in entries {
        let range = place(entry.range().start)..place(entry.range().end);
        assert!(range.start >= end && range.end >= range.start, "{entry:?} overlaps what ends at {end}");
        assert!(bytes[end..range.start].iter().all(u8::is_ascii_whitespace), "not yielded: {end}..{}", range.start);
        if let Entry::Line(record) = entry {
            assert_eq!(record.line.text().as_bytes(), bytes[range.clone()].trim_ascii());
        }
        end = range.end;
    }
    assert!(bytes[end..].iter().all(u8::is_ascii_whitespace), "not yielded: {end}..");
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Returns the `n`-th thread, always the same one.
pub(crate) fn thread(n: u16) -> ThreadId {
    format!("01a1fd5d-aacb-7641-837d-00000000{n:04x}").parse().unwrap()
}

/// Returns the `n`-th later segment. A higher number is younger.
pub(crate) fn segment(n: u16) -> SegmentId {
    format!("01a1fd5d-{n:04x}-7641-837d-000000000000").parse().unwrap()
}

pub(crate) fn head(id: ThreadId, mode: HistoryMode) -> SessionMeta {
    SessionMeta { history_mode: Some(mode), ..SessionMeta::new(id, at("2026-11-21T09:08:56.660Z")) }
}

pub(crate) fn message(text: &str) -> RolloutItem {
    ResponseItem::user_text(text).into()
}

/// A home in a temporary directory, which is removed with the value.
pub(crate) struct TestHome {
    dir: TempDir,
    pub(crate) home: RolloutHome,
}

impl TestHome {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = RolloutHome::new(dir.path().join("home"));
        Self { dir, home }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn files(&self) -> HomeFiles {
        self.home.files().unwrap()
    }

    /// Writes a file among the active threads and returns its path.
    pub(crate) fn put(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let parsed = RolloutFileName::parse(name).unwrap();
        put(&self.home.active_path(&parsed), bytes.as_ref())
    }

    /// Writes a thread's first segment.
    pub(crate) fn put_thread(&self, id: ThreadId, bytes: impl AsRef<[u8]>) -> PathBuf {
        self.put(&format!("rollout-2026-11-21T09-08-56-{id}.jsonl"), bytes)
    }

    /// Writes a later segment of a thread.
    pub(crate) fn put_segment(&self, id: ThreadId, segment: SegmentId, bytes: impl AsRef<[u8]>) -> PathBuf {
        self.put(&format!("rollout-2026-11-21T09-08-56-{id}_{segment}.jsonl"), bytes)
    }
}

pub(crate) fn put(path: &Path, bytes: &[u8]) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    path.to_owned()
}

/// Returns a command that runs one of the ignored tests of this program as a process of its own.
pub(crate) fn helper(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "--ignored", "--nocapture", test]);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command
}

/// Reports that a test did not run.
#[expect(clippy::print_stderr, reason = "a test that was skipped in silence would count as passed")]
pub(crate) fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// The files of the system. Before each effect, a function is called with the effect and the path, and can make it fail. It is
/// also called when an open file is closed, with `close`.
#[derive(Clone)]
pub(crate) struct WatchedFiles(Arc<Watch>);

type Watch = dyn Fn(&'static str, &Path) -> io::Result<()> + Send + Sync;

impl WatchedFiles {
    pub(crate) fn new(watch: impl Fn(&'static str, &Path) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(watch))
    }

    /// Returns the same home with these files.
    pub(crate) fn of(self, home: &RolloutHome) -> RolloutHome {
        home.clone().with_file_system(Arc::new(self))
    }
}

impl fmt::Debug for WatchedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedFiles").finish_non_exhaustive()
    }
}

impl selvedge_rollout::sealed::Sealed for WatchedFiles {}

impl FileSystem for WatchedFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn OpenFile>> {
        self.0("open", path)?;
        let file = SystemFiles.open(path, mode)?;
        Ok(Arc::new(WatchedFile { file: Some(file), path: path.to_owned(), files: self.clone() }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0("create_dir", path)?;
        SystemFiles.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0("rename", from)?;
        SystemFiles.rename(from, to)
    }

    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()> {
        self.0("hard_link", link)?;
        SystemFiles.hard_link(original, link)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0("remove_file", path)?;
        SystemFiles.remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0("sync_dir", path)?;
        SystemFiles.sync_dir(path)
    }
}

struct WatchedFile {
    file: Option<Arc<dyn OpenFile>>,
    path: PathBuf,
    files: WatchedFiles,
}

impl WatchedFile {
    fn report(&self, what: &'static str) -> io::Result<&dyn OpenFile> {
        self.files.0(what, &self.path)?;
        Ok(&**self.file.as_ref().unwrap())
    }
}

impl fmt::Debug for WatchedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Drop for WatchedFile {
    fn drop(&mut self) {
        self.file = None;
        let _ = self.files.0("close", &self.path);
    }
}

impl OpenFile for WatchedFile {
    fn file(&self) -> &File {
        self.file.as_ref().unwrap().file()
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.report("write")?.write(bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.report("set_len")?.set_len(len)
    }

    fn set_modified(&self, at: SystemTime) -> io::Result<()> {
        self.report("set_modified")?.set_modified(at)
    }

    fn sync(&self) -> io::Result<()> {
        self.report("sync")?.sync()
    }

    fn lock(&self) -> io::Result<()> {
        self.report("lock")?.lock()
    }

    fn try_lock(&self) -> Result<(), TryLockError> {
        self.report("lock").map_err(TryLockError::Error)?.try_lock()
    }

    fn try_lock_shared(&self) -> Result<(), TryLockError> {
        self.report("lock_shared").map_err(TryLockError::Error)?.try_lock_shared()
    }

    fn unlock(&self) -> io::Result<()> {
        self.report("unlock")?.unlock()
    }
}
