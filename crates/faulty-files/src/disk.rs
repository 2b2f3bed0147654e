//! What is on the medium, and what a power loss may leave of the rest.
//!
//! The model is that of a file system with a journal, at its worst within what such systems promise:
//!
//! - The bytes of a file are on the medium when the file was synced. Of those written since, any beginning may be there, cut
//!   at any byte; the length may be there without the bytes, which are zero then.
//! - The names in a directory are on the medium when the directory was synced. Of the changes since, any beginning may be
//!   there, and another one in every other directory.
//! - A rename within a directory is there or not. One from a directory to another puts the new name there before the old
//!   one goes, or at the same time.
//! - What a failed sync should have put on the medium never comes there by a later one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::random::Random;

/// Files and directories as a power loss would meet them.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    files: Vec<Content>,
    /// The names as every process sees them.
    seen: BTreeMap<PathBuf, Node>,
    /// The names on the medium.
    durable: BTreeMap<PathBuf, Node>,
    /// What is not on the medium yet, in order.
    pending: Vec<Change>,
    /// How many changes there were.
    changes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

/// The bytes of a file.
#[derive(Clone, Debug, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Edit>,
    /// What a failed sync has forgotten.
    forgotten: Vec<Range<usize>>,
}

#[derive(Clone, Debug)]
enum Edit {
    Append(Vec<u8>),
    SetLen(usize),
}

/// A change of one directory.
#[derive(Clone, Debug)]
struct Change {
    dir: PathBuf,
    puts: Option<(PathBuf, Node)>,
    removes: Option<PathBuf>,
    /// The number of the change without which this one is not on the medium.
    after: Option<u64>,
    number: u64,
}

/// Which of the states that a power loss may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerLoss {
    /// Only what was synced is there.
    OnlySynced,
    /// All names are there, and of the files only what was synced.
    NamesWithoutBytes,
    /// All bytes are there, and of the names only what was synced.
    BytesWithoutNames,
    /// Of everything something: which, the seed says.
    Torn(u64),
}

impl Disk {
    /// A medium that has this directory and everything below it.
    ///
    /// # Errors
    /// When something cannot be read.
    pub fn adopt(root: &Path) -> io::Result<Self> {
        let mut disk = Self::default();
        disk.adopt_dir(root)?;
        disk.durable.clone_from(&disk.seen);
        Ok(disk)
    }

    fn adopt_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.seen.insert(dir.to_owned(), Node::Dir);
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                self.adopt_dir(&path)?;
            } else {
                let bytes = fs::read(&path)?;
                let content = Content { seen: bytes.clone(), durable: bytes, ..Content::default() };
                self.files.push(content);
                self.seen.insert(path, Node::File(self.files.len() - 1));
            }
        }
        Ok(())
    }

    /// The file of this name, which is made if there is none.
    pub(crate) fn open(&mut self, path: &Path) -> usize {
        if let Some(Node::File(file)) = self.seen.get(path) {
            return *file;
        }
        self.files.push(Content::default());
        let file = self.files.len() - 1;
        self.put(path, Node::File(file));
        file
    }

    pub(crate) fn create_dir(&mut self, path: &Path) {
        self.put(path, Node::Dir);
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
            let new = self.change(parent(to), Some((to.to_owned(), node)), None, None);
            self.change(parent(from), None, Some(from.to_owned()), Some(new));
        }
    }

    fn put(&mut self, path: &Path, node: Node) {
        self.seen.insert(path.to_owned(), node);
        self.change(parent(path), Some((path.to_owned(), node)), None, None);
    }

    fn change(
        &mut self,
        dir: &Path,
        puts: Option<(PathBuf, Node)>,
        removes: Option<PathBuf>,
        after: Option<u64>,
    ) -> u64 {
        let number = self.changes;
        self.changes += 1;
        self.pending.push(Change { dir: dir.to_owned(), puts, removes, after, number });
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
        content.forgotten.retain_mut(|range| {
            range.end = range.end.min(len);
            range.start < range.end
        });
    }

    pub(crate) fn sync(&mut self, file: usize) {
        let content = &mut self.files[file];
        content.durable.clone_from(&content.seen);
        for range in &content.forgotten {
            content.durable[range.clone()].fill(0);
        }
        content.unsynced.clear();
    }

    /// A sync that failed: what it should have put on the medium is taken for written from now on.
    pub(crate) fn fail_sync(&mut self, file: usize) {
        let content = &mut self.files[file];
        let durable = content.durable.len();
        if content.seen.len() > durable {
            content.forgotten.push(durable..content.seen.len());
        }
        content.unsynced.clear();
    }

    pub(crate) fn sync_dir(&mut self, dir: &Path) {
        let chosen: BTreeSet<u64> =
            self.pending.iter().filter(|change| change.dir == dir).map(|change| change.number).collect();
        self.durable = self.with_changes(&chosen);
        let done = self.with_what_they_need(&chosen);
        self.pending.retain(|change| !done.contains(&change.number));
    }

    /// Makes one of the states that a power loss may leave of what lies below `root`, in the directory `target`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn lose_power(&self, root: &Path, loss: PowerLoss, target: &Path) -> io::Result<()> {
        let mut random = Random::new(if let PowerLoss::Torn(seed) = loss { seed } else { 0 });
        let chosen = match loss {
            PowerLoss::OnlySynced | PowerLoss::BytesWithoutNames => BTreeSet::new(),
            PowerLoss::NamesWithoutBytes => self.pending.iter().map(|change| change.number).collect(),
            PowerLoss::Torn(_) => self.choose(&mut random),
        };
        let tree = self.with_changes(&chosen);
        let place = |path: &Path| path.strip_prefix(root).map(|inside| target.join(inside)).ok();
        let mut made = HashMap::new();
        for (path, node) in &tree {
            let Some(place) = place(path) else { continue };
            // What lies in a directory that is not there is not there either.
            if path != root && !made.contains_key(parent(path)) {
                continue;
            }
            match node {
                Node::Dir => {
                    fs::create_dir_all(&place)?;
                    made.insert(path.clone(), ());
                }
                Node::File(file) => fs::write(&place, self.files[*file].after(loss, &mut random))?,
            }
        }
        Ok(())
    }

    /// Of each directory's changes a beginning.
    fn choose(&self, random: &mut Random) -> BTreeSet<u64> {
        let mut by_dir: BTreeMap<&Path, Vec<u64>> = BTreeMap::new();
        for change in &self.pending {
            by_dir.entry(&change.dir).or_default().push(change.number);
        }
        by_dir.into_values().flat_map(|changes| changes[..random.up_to(changes.len())].to_vec()).collect()
    }

    fn with_what_they_need(&self, chosen: &BTreeSet<u64>) -> BTreeSet<u64> {
        let mut all = chosen.clone();
        for change in self.pending.iter().filter(|change| chosen.contains(&change.number)) {
            let Some(after) = change.after else { continue };
            // A directory's changes are there in order.
            let dir = self.pending.iter().find(|other| other.number == after).map(|other| &other.dir);
            let before = self.pending.iter().filter(|other| Some(&other.dir) == dir && other.number <= after);
            all.extend(before.map(|other| other.number));
        }
        all
    }

    fn with_changes(&self, chosen: &BTreeSet<u64>) -> BTreeMap<PathBuf, Node> {
        let chosen = self.with_what_they_need(chosen);
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

impl Content {
    /// The bytes that are left.
    fn after(&self, loss: PowerLoss, random: &mut Random) -> Vec<u8> {
        match loss {
            PowerLoss::OnlySynced | PowerLoss::NamesWithoutBytes => self.durable.clone(),
            PowerLoss::BytesWithoutNames => self.with_edits(self.unsynced.len(), usize::MAX, false),
            PowerLoss::Torn(_) => {
                let edits = random.up_to(self.unsynced.len());
                let last = match edits.checked_sub(1).map(|at| &self.unsynced[at]) {
                    Some(Edit::Append(bytes)) => random.up_to(bytes.len()),
                    _ => usize::MAX,
                };
                self.with_edits(edits, last, random.up_to(3) == 0)
            }
        }
    }

    /// The durable bytes with so many of the edits, of the last of which only so many bytes are there; with `zeros` its
    /// others are zero, and otherwise not there.
    fn with_edits(&self, edits: usize, last: usize, zeros: bool) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (at, edit) in self.unsynced[..edits].iter().enumerate() {
            match edit {
                Edit::SetLen(len) => bytes.resize(*len, 0),
                Edit::Append(more) if at + 1 == edits => {
                    let there = last.min(more.len());
                    bytes.extend_from_slice(&more[..there]);
                    if zeros {
                        bytes.resize(bytes.len() + more.len() - there, 0);
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
