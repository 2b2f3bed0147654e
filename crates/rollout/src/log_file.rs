//! The file that a recorder appends to: where it ends, whose it is, and how much of it is on the medium.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use selvedge_protocol::{RolloutItem, ThreadId};

use crate::error::{IoContext, LostFile, Result, RolloutError};
use crate::file_system::{OpenFile, OpenMode, Writer};
use crate::files::Content;
use crate::identity::FileIdentity;
use crate::layout::RolloutHome;
use crate::names::ends_with_newline;

/// A row of writes is unbroken while each begins so soon after the end of the one before: in less time than it takes
/// another program to take a file away.
const UNBROKEN: Duration = Duration::from_micros(3);

/// For how long a row of writes goes on without a look at the path.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// An open log. Writes are the recorder's, one at a time; syncs are anybody's.
///
/// Of the two locks in it, `medium` is taken first.
#[derive(Debug)]
pub(crate) struct LogFile {
    home: RolloutHome,
    thread_id: ThreadId,
    path: PathBuf,
    file: Arc<dyn OpenFile>,
    /// Which file it is.
    identity: FileIdentity,
    tail: Mutex<Tail>,
    medium: Mutex<Medium>,
}

/// How the file ends.
#[derive(Debug)]
struct Tail {
    /// The size of the file, as far as it is ours.
    len: u64,
    /// Whether the last line, which another writer left, lacks its newline.
    torn: bool,
    /// How many bytes of a failed write may stand behind `len`, when they could not be taken back.
    left_over: u64,
    /// The head that an empty file gets with its first lines: whoever made it did not come to write one.
    head: Option<Box<RolloutItem>>,
    /// The row of writes that may be going on.
    row: Option<Row>,
    /// Why nothing is written any more.
    failed: Option<Arc<io::Error>>,
}

/// An unbroken row of writes.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// When the path was last seen to lead to the file.
    looked: Instant,
    /// When the last write ended.
    ended: Instant,
}

/// What is on the medium.
#[derive(Debug)]
struct Medium {
    /// The bytes before this one. What stood in the file when it was opened counts only when it was synced since.
    end: u64,
    /// The file's names.
    has_names: bool,
    /// Nothing that stands before this byte is taken back: it was there when the file was opened, or was acknowledged.
    keep: u64,
}

/// What a batch is written behind.
pub(crate) struct Before {
    /// Whether it begins with a newline.
    pub(crate) newline: bool,
    /// The head that it begins with.
    pub(crate) head: Option<Box<RolloutItem>>,
}

impl LogFile {
    /// Makes the file with its first bytes, at once or not at all.
    pub(crate) fn create(
        home: &RolloutHome,
        thread_id: ThreadId,
        path: &Path,
        kind: Content,
        bytes: &[u8],
    ) -> Result<Self> {
        let file = home.place_new_file(path, kind, |out| out.write_all(bytes))?;
        let len = bytes.len() as u64;
        let on_medium = if home.is_synced() { len } else { 0 };
        let medium = Medium { end: on_medium, has_names: home.is_synced(), keep: len };
        Self::new(home, thread_id, path, file, (len, false), medium)
    }

    /// Opens a file that is there.
    pub(crate) fn open(home: &RolloutHome, thread_id: ThreadId, path: &Path) -> Result<Self> {
        let file = home.file_system().open(path, OpenMode::Append).context("open", path)?;
        let torn = !ends_with_newline(file.file()).context("read", path)?;
        let len = file.file().metadata().context("read", path)?.len();
        let medium = Medium { end: 0, has_names: false, keep: len };
        Self::new(home, thread_id, path, file, (len, torn), medium)
    }

    fn new(
        home: &RolloutHome,
        thread_id: ThreadId,
        path: &Path,
        file: Arc<dyn OpenFile>,
        (len, torn): (u64, bool),
        medium: Medium,
    ) -> Result<Self> {
        let identity = FileIdentity::of(&file.file().metadata().context("look at", path)?);
        let tail = Tail { len, torn, left_over: 0, head: None, row: None, failed: None };
        let (home, path) = (home.clone(), path.to_owned());
        Ok(Self { home, thread_id, path, file, identity, tail: Mutex::new(tail), medium: Mutex::new(medium) })
    }

    /// The size of the file, as far as it is ours.
    pub(crate) fn len(&self) -> u64 {
        locked(&self.tail).len
    }

    /// Has the file begin with this head, if it is empty.
    pub(crate) fn begin_with(&self, head: impl FnOnce() -> RolloutItem) {
        let mut tail = locked(&self.tail);
        if tail.len == 0 {
            tail.head = Some(Box::new(head()));
        }
    }

    pub(crate) fn before(&self) -> Before {
        let tail = locked(&self.tail);
        Before { newline: tail.torn, head: tail.head.clone() }
    }

    /// Writes bytes at the end of the file and gives the place behind them. What a failed write left is taken back, at once
    /// or before the next one.
    pub(crate) fn extend(&self, bytes: &[u8]) -> Result<u64> {
        let mut tail = locked(&self.tail);
        self.check(&tail)?;
        self.check_is_ours(&mut tail)?;
        if tail.left_over > 0 {
            self.take_back(&mut tail).context("take back a failed write to", &self.path)?;
        }
        match Writer(&*self.file).write_all(bytes) {
            Ok(()) => {
                tail.len += bytes.len() as u64;
                tail.torn = false;
                tail.head = None;
                if let Some(row) = &mut tail.row {
                    row.ended = Instant::now();
                }
                Ok(tail.len)
            }
            Err(error) => {
                tail.left_over = bytes.len() as u64;
                // Should this fail too, the next write tries again.
                let _ = self.take_back(&mut tail);
                Err(error).context("write", &self.path)
            }
        }
    }

    /// Cuts off what a failed write left. A file that grew by more was written by somebody else, whose lines are not ours to
    /// take.
    fn take_back(&self, tail: &mut Tail) -> io::Result<()> {
        let found = self.file.file().metadata()?.len();
        if found > tail.len && found - tail.len <= tail.left_over {
            self.file.set_len(tail.len)?;
        }
        tail.left_over = 0;
        Ok(())
    }

    /// Refuses when a sync has failed.
    fn check(&self, tail: &Tail) -> Result<()> {
        match &tail.failed {
            Some(source) => Err(self.unsynced(Arc::clone(source))),
            None => Ok(()),
        }
    }

    fn unsynced(&self, source: Arc<io::Error>) -> RolloutError {
        RolloutError::Unsynced { thread_id: self.thread_id, path: self.path.clone(), source }
    }

    /// Refuses when the file's name does not lead to it any more. Who takes a file away asks for no lock, so this can only
    /// see what happened before.
    ///
    /// Looking costs more than writing: the question alone as much, and a system that was asked for the times of a file gives
    /// the next write a finer one. So in an unbroken row of writes it is enough to look now and then.
    fn check_is_ours(&self, tail: &mut Tail) -> Result<()> {
        if tail.row.is_some_and(|row| row.ended.elapsed() < UNBROKEN && row.ended - row.looked < LOOK_AGAIN) {
            return Ok(());
        }
        let looked = Instant::now();
        let what = match std::fs::metadata(&self.path) {
            Ok(metadata) if FileIdentity::of(&metadata) == self.identity => {
                tail.row = Some(Row { looked, ended: looked });
                return Ok(());
            }
            Ok(_) => LostFile::Replaced,
            Err(error) if error.kind() == io::ErrorKind::NotFound => LostFile::Gone,
            Err(error) => return Err(error).context("look for", &self.path),
        };
        Err(RolloutError::Lost { thread_id: self.thread_id, path: self.path.clone(), what })
    }

    /// Returns when all bytes before `end` are on the medium, and the file's names.
    ///
    /// Those who ask at the same time wait for each other, and one sync serves all whose bytes were written when it began.
    ///
    /// # Errors
    /// [`RolloutError::Unsynced`], also when somebody else's sync failed. It is not tried again: the system may have dropped
    /// what it could not write, and would then call a second try a success.
    pub(crate) fn sync_to(&self, end: u64) -> Result<()> {
        let mut medium = locked(&self.medium);
        if medium.has_names && end <= medium.end {
            return Ok(());
        }
        let written = {
            let tail = locked(&self.tail);
            self.check(&tail)?;
            tail.len
        };
        if let Err(error) = self.sync_file_and_names(medium.has_names) {
            let error = Arc::new(error);
            self.fail(&medium, &error);
            return Err(self.unsynced(error));
        }
        medium.has_names = true;
        medium.end = written;
        medium.keep = medium.keep.max(written);
        Ok(())
    }

    fn sync_file_and_names(&self, has_names: bool) -> io::Result<()> {
        self.file.sync()?;
        if has_names {
            return Ok(());
        }
        self.home.sync_names(&self.path).map_err(|error| match error {
            RolloutError::Io { source, .. } => source,
            other => io::Error::other(other),
        })
    }

    /// Has nothing written any more. At level synced nothing behind the last sync was acknowledged, so it is taken back, as
    /// far as that goes on a medium that fails; at level written all of it was.
    fn fail(&self, medium: &Medium, error: &Arc<io::Error>) {
        let mut tail = locked(&self.tail);
        tail.failed = Some(Arc::clone(error));
        let is_ours = || self.file.file().metadata().is_ok_and(|metadata| metadata.len() == tail.len);
        if self.home.is_synced() && medium.keep < tail.len && is_ours() && self.file.set_len(medium.keep).is_ok() {
            tail.len = medium.keep;
        }
    }
}

/// A panic while the lock is held leaves at worst an unwritten batch, which was never acknowledged.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
