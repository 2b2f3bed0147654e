//! A model of durable storage, and of the states in which a power loss can leave it.
//!
//! The model is a journaling file system that behaves as badly as such systems are allowed to:
//!
//! - The bytes of a file are durable once the file was synced. Of the bytes written since then, any prefix can be
//!   durable, cut at any byte. The length can also be durable without the bytes, which then are zero.
//! - The names in a directory are durable once the directory was synced. Of the changes since then, any prefix can be
//!   durable, and a different prefix in each directory.
//! - A rename within a directory is atomic. A rename from one directory to another makes the new name durable before it
//!   removes the old one, or at the same time. So the file is never without a name.
//! - Bytes that a failed sync should have made durable are lost. A later sync that succeeds does not make them durable:
//!   the kernel has dropped them.
//!
//! [`Disk`] records two states: what every process *sees*, and what is *durable*. The difference is a list of pending
//! changes. A power loss keeps some of them, and [`PowerLoss`] selects which.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::random::Random;

/// Files and directories, with what is durable of them and what is not yet.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// The contents of all files. A file keeps its index when it is renamed or linked, like an inode.
    files: Vec<FileContent>,
    /// The names that every process sees.
    seen: BTreeMap<PathBuf, DiskNode>,
    /// The names that are durable.
    durable: BTreeMap<PathBuf, DiskNode>,
    /// The changes of names that are not durable yet, in their order.
    pending: Vec<DirectoryChange>,
    /// The number of changes of names so far, which is the number of the next one.
    changes: u64,
}

/// What a name refers to: a directory, or a file by its index in [`Disk::files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DiskNode {
    Dir,
    File(usize),
}

/// The bytes of a file: those that every process sees, those that are durable, and the edits between the two.
#[derive(Clone, Debug, Default)]
struct FileContent {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Edit>,
    /// The ranges that a failed sync has lost. They are zero in durable storage for ever, unless they are cut off.
    forgotten: Vec<Range<usize>>,
}

/// A change of a file's bytes that is not durable yet.
#[derive(Clone, Debug)]
enum Edit {
    Append(Vec<u8>),
    SetLen(usize),
}

/// A change of the names in one directory.
#[derive(Clone, Debug)]
struct DirectoryChange {
    dir: PathBuf,
    /// The name that is added or replaced.
    puts: Option<(PathBuf, DiskNode)>,
    /// The name that is removed.
    removes: Option<PathBuf>,
    /// The number of a change that must be durable before this one is.
    after: Option<u64>,
    number: u64,
}

/// Selects one of the states in which a power loss can leave durable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerLoss {
    /// Only what was synced is durable.
    OnlySynced,
    /// All names are durable. Of the bytes, only what was synced is.
    NamesWithoutBytes,
    /// All bytes are durable. Of the names, only what was synced are.
    BytesWithoutNames,
    /// A part of the pending changes is durable. The seed selects it.
    Torn(u64),
}

impl Disk {
    /// Creates a disk on which this directory and everything below it is durable.
    ///
    /// # Errors
    /// If a directory or a file cannot be read.
    pub fn adopt(root: &Path) -> io::Result<Self> {
        let mut disk = Self::default();
        disk.adopt_dir(root)?;
        disk.durable.clone_from(&disk.seen);
        Ok(disk)
    }

    fn adopt_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.seen.insert(dir.to_owned(), DiskNode::Dir);
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                self.adopt_dir(&path)?;
            } else {
                let bytes = fs::read(&path)?;
                let content = FileContent { seen: bytes.clone(), durable: bytes, ..FileContent::default() };
                self.files.push(content);
                self.seen.insert(path, DiskNode::File(self.files.len() - 1));
            }
        }
        Ok(())
    }

    /// Returns the index of the file with this name. Creates the file if there is none.
    pub(crate) fn open(&mut self, path: &Path) -> usize {
        if let Some(DiskNode::File(file)) = self.seen.get(path) {
            return *file;
        }
        self.files.push(FileContent::default());
        let file = self.files.len() - 1;
        self.put(path, DiskNode::File(file));
        file
    }

    pub(crate) fn create_dir(&mut self, path: &Path) {
        self.put(path, DiskNode::Dir);
    }

    pub(crate) fn hard_link(&mut self, original: &Path, link: &Path) {
        if let Some(node) = self.seen.get(original).copied() {
            self.put(link, node);
        }
    }

    pub(crate) fn remove(&mut self, path: &Path) {
        self.seen.remove(path);
        self.change(parent(path), None, Some(path.to_owned()), None);
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) {
        let Some(node) = self.seen.remove(from) else { return };
        self.seen.insert(to.to_owned(), node);
        if parent(from) == parent(to) {
            self.change(parent(to), Some((to.to_owned(), node)), Some(from.to_owned()), None);
        } else {
            // Two directories are synced one by one. `after` orders the two changes: the old name disappears only after the
            // new one exists.
            let new = self.change(parent(to), Some((to.to_owned(), node)), None, None);
            self.change(parent(from), None, Some(from.to_owned()), Some(new));
        }
    }

    /// Adds or replaces a name.
    fn put(&mut self, path: &Path, node: DiskNode) {
        self.seen.insert(path.to_owned(), node);
        self.change(parent(path), Some((path.to_owned(), node)), None, None);
    }

    /// Records a pending change of names, and returns its number.
    fn change(
        &mut self,
        dir: &Path,
        puts: Option<(PathBuf, DiskNode)>,
        removes: Option<PathBuf>,
        after: Option<u64>,
    ) -> u64 {
        let number = self.changes;
        self.changes += 1;
        self.pending.push(DirectoryChange { dir: dir.to_owned(), puts, removes, after, number });
        number
    }

    pub(crate) fn append(&mut self, file: usize, bytes: &[u8]) {
        let content = &mut self.files[file];
        content.seen.extend_from_slice(bytes);
        content.unsynced.push(Edit::Append(bytes.to_owned()));
    }

    pub(crate) fn set_len(&mut self, file: usize, len: u64) {
        let content = &mut self.files[file];
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        content.seen.resize(len, 0);
        content.unsynced.push(Edit::SetLen(len));
        // Bytes that are cut off are no longer lost. What is written in their place later is new.
        content.forgotten.retain_mut(|range| {
            range.end = range.end.min(len);
            range.start < range.end
        });
    }

    pub(crate) fn sync(&mut self, file: usize) {
        let content = &mut self.files[file];
        // The kernel reports success although it has dropped these ranges before.
        content.durable.clone_from(&content.seen);
        for range in &content.forgotten {
            content.durable[range.clone()].fill(0);
        }
        content.unsynced.clear();
    }

    /// Records a sync that failed. The kernel has dropped the bytes and considers them written from now on, so no later
    /// sync makes them durable.
    pub(crate) fn fail_sync(&mut self, file: usize) {
        // Only appended bytes are modelled as lost; logs are not overwritten in place.
        let content = &mut self.files[file];
        let durable = content.durable.len();
        if content.seen.len() > durable {
            content.forgotten.push(durable..content.seen.len());
        }
        content.unsynced.clear();
    }

    pub(crate) fn sync_dir(&mut self, dir: &Path) {
        // A sync makes all changes of this directory durable, and with them the changes of other directories that they
        // need.
        let chosen: BTreeSet<u64> =
            self.pending.iter().filter(|change| change.dir == dir).map(|change| change.number).collect();
        self.durable = self.with_changes(&chosen);
        let done = self.with_prerequisites(&chosen);
        self.pending.retain(|change| !done.contains(&change.number));
    }

    /// Writes the durable state that a power loss leaves of everything below `root` to the directory `target`.
    ///
    /// # Errors
    /// If `target` cannot be written.
    pub fn lose_power(&self, root: &Path, loss: PowerLoss, target: &Path) -> io::Result<()> {
        let mut random = Random::new(if let PowerLoss::Torn(seed) = loss { seed } else { 0 });
        let chosen = match loss {
            PowerLoss::OnlySynced | PowerLoss::BytesWithoutNames => BTreeSet::new(),
            PowerLoss::NamesWithoutBytes => self.pending.iter().map(|change| change.number).collect(),
            PowerLoss::Torn(_) => self.choose_prefixes(&mut random),
        };
        let tree = self.with_changes(&chosen);
        // The tree is sorted by path, so that a directory comes before what is in it.
        let target_path = |path: &Path| path.strip_prefix(root).map(|inside| target.join(inside)).ok();
        let mut made_dirs = HashSet::new();
        for (path, node) in &tree {
            let Some(in_target) = target_path(path) else { continue };
            // A name in a directory that is not durable is lost with the directory.
            if path != root && !made_dirs.contains(parent(path)) {
                continue;
            }
            match node {
                DiskNode::Dir => {
                    fs::create_dir_all(&in_target)?;
                    made_dirs.insert(path.as_path());
                }
                DiskNode::File(file) => fs::write(&in_target, self.files[*file].after(loss, &mut random))?,
            }
        }
        Ok(())
    }

    /// Selects a prefix of the pending changes of each directory at random.
    fn choose_prefixes(&self, random: &mut Random) -> BTreeSet<u64> {
        // A journal replays the changes of a directory in their order, so a prefix of them is durable. Directories are
        // independent.
        let mut by_dir: BTreeMap<&Path, Vec<u64>> = BTreeMap::new();
        for change in &self.pending {
            by_dir.entry(&change.dir).or_default().push(change.number);
        }
        by_dir.into_values().flat_map(|changes| changes[..random.up_to(changes.len())].to_vec()).collect()
    }

    /// Returns the chosen changes and those that must be durable before them.
    fn with_prerequisites(&self, chosen: &BTreeSet<u64>) -> BTreeSet<u64> {
        let mut all = chosen.clone();
        for change in self.pending.iter().filter(|change| chosen.contains(&change.number)) {
            let Some(after) = change.after else { continue };
            // The changes of a directory become durable in their order, so all earlier ones of that directory are
            // needed, too.
            let dir = self.pending.iter().find(|other| other.number == after).map(|other| &other.dir);
            let before = self.pending.iter().filter(|other| Some(&other.dir) == dir && other.number <= after);
            all.extend(before.map(|other| other.number));
        }
        all
    }

    /// Returns the durable names after these pending changes have become durable.
    fn with_changes(&self, chosen: &BTreeSet<u64>) -> BTreeMap<PathBuf, DiskNode> {
        let chosen = self.with_prerequisites(chosen);
        let mut tree = self.durable.clone();
        for change in self.pending.iter().filter(|change| chosen.contains(&change.number)) {
            if let Some(path) = &change.removes {
                tree.remove(path);
            }
            if let Some((path, node)) = &change.puts {
                tree.insert(path.clone(), *node);
            }
        }
        tree
    }
}

impl FileContent {
    /// Returns the bytes that a power loss leaves.
    fn after(&self, loss: PowerLoss, random: &mut Random) -> Vec<u8> {
        match loss {
            PowerLoss::OnlySynced | PowerLoss::NamesWithoutBytes => self.durable.clone(),
            PowerLoss::BytesWithoutNames => self.with_edits(self.unsynced.len(), usize::MAX, false),
            PowerLoss::Torn(_) => {
                // A prefix of the edits. If its last one is an append, that is cut at any byte, and in one of four
                // cases its length is durable without the other bytes.
                let edits = random.up_to(self.unsynced.len());
                let last_len = match edits.checked_sub(1).map(|at| &self.unsynced[at]) {
                    Some(Edit::Append(bytes)) => random.up_to(bytes.len()),
                    _ => usize::MAX,
                };
                self.with_edits(edits, last_len, random.up_to(3) == 0)
            }
        }
    }

    /// Returns the durable bytes with the first `edits` edits. If the last of them is an append, only its first
    /// `last_len` bytes are durable. With `zeros` its length is durable, too, and the other bytes are zero.
    fn with_edits(&self, edits: usize, last_len: usize, zeros: bool) -> Vec<u8> {
        //     durable   appended 1   appended 2
        //     ├───────┤ ├──────────┤ ├───│╌╌╌╌╌╌┤
        //                            last_len  lost, or zero with `zeros`
        let mut bytes = self.durable.clone();
        for (at, edit) in self.unsynced[..edits].iter().enumerate() {
            match edit {
                Edit::SetLen(len) => bytes.resize(*len, 0),
                Edit::Append(more) if at + 1 == edits => {
                    let durable_len = last_len.min(more.len());
                    bytes.extend_from_slice(&more[..durable_len]);
                    if zeros {
                        bytes.resize(bytes.len() + more.len() - durable_len, 0);
                    }
                }
                Edit::Append(more) => bytes.extend_from_slice(more),
            }
        }
        bytes
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}
