//! Working directories that are the same one through symbolic links.
//!
//! A query names directories, and the threads have recorded others. Both sides are resolved here, because only this machine knows
//! its links. The other parts of a query stay as they are: a directory of a thread that leads to a wanted one is simply wanted as
//! well, so the index and the logs have nothing to know of links.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use selvedge_history::StatsFold;
use selvedge_protocol::{CwdFilter, DirectoryFilter, DirectoryPath, StatsKey, StatsQuery, ThreadQuery, ThreadStats};

/// How many links a path may go through. Linux has the same limit.
const MAX_LINKS: usize = 40;

/// The most bytes of a path that are looked up. Systems refuse longer ones, and a log can contain anything.
const MAX_PATH_BYTES: usize = 4096;

/// The symbolic links that were looked up, so that each directory is looked at once for all threads below it.
#[derive(Debug, Default)]
struct DirectoryLinks {
    /// For each path without a link before its last name: where it leads if it is a link.
    targets: HashMap<PathBuf, Option<PathBuf>>,
}

impl DirectoryLinks {
    /// Returns where a directory really is. `None` if its path goes through no link, or is none of this system. What does not
    /// exist is no link: a directory that has vanished is where the last existing directory of its path is, and the rest below.
    fn real_path(&mut self, path: &str) -> Option<String> {
        let path = DirectoryPath::new(path)?;
        if !path.is_absolute() || path.is_windows() != cfg!(windows) {
            return None;
        }
        let path = path.to_string();
        if path.len() > MAX_PATH_BYTES {
            return None;
        }
        self.resolve(Path::new(&path))?.into_os_string().into_string().ok()
    }

    fn resolve(&mut self, path: &Path) -> Option<PathBuf> {
        // `real` is the part that is resolved, and contains no link. The names that follow are in `waiting`, the next one last.
        // The target of a link takes the place of its name there.
        let mut real = PathBuf::new();
        let mut waiting = components(path);
        let mut links = 0;
        while let Some(name) = waiting.pop() {
            if name == ".." {
                real.pop();
                continue;
            }
            // An absolute target begins with a root, and `push` replaces everything by a root.
            let next = real.join(name);
            match self.target(&next) {
                Some(_) if links == MAX_LINKS => return None,
                Some(target) => {
                    links += 1;
                    waiting.extend(components(target));
                }
                None => real = next,
            }
        }
        (links > 0).then_some(real)
    }

    fn target(&mut self, path: &Path) -> Option<&Path> {
        if !self.targets.contains_key(path) {
            self.targets.insert(path.to_owned(), std::fs::read_link(path).ok());
        }
        self.targets.get(path)?.as_deref()
    }
}

/// Returns the components of a path, the last one first.
fn components(path: &Path) -> Vec<std::ffi::OsString> {
    let all = path.components().filter(|component| *component != Component::CurDir);
    let mut all: Vec<_> = all.map(|component| component.as_os_str().to_owned()).collect();
    all.reverse();
    all
}

/// The directories that a query asks for, with the places to which their links lead.
#[derive(Debug)]
pub(super) struct WantedDirectories {
    filter: DirectoryFilter,
    links: DirectoryLinks,
}

impl WantedDirectories {
    /// Creates the filter for the directories of a query. `None` if the query allows any directory.
    pub(super) fn of(query: &ThreadQuery) -> Option<Self> {
        if query.cwd.is_empty() {
            return None;
        }
        let mut links = DirectoryLinks::default();
        let mut wanted = query.cwd.clone();
        for filter in &query.cwd {
            wanted.extend(match filter {
                CwdFilter::Exactly(path) => links.real_path(path).map(CwdFilter::Exactly),
                CwdFilter::Under(path) => links.real_path(path).map(CwdFilter::Under),
            });
        }
        Some(Self { filter: DirectoryFilter::new(&wanted), links })
    }

    /// Returns whether a recorded directory is one of the wanted ones.
    pub(super) fn matches(&mut self, path: &str) -> bool {
        self.filter.matches(path) || self.links.real_path(path).is_some_and(|real| self.filter.matches(&real))
    }
}

/// Returns a query that names, of these recorded directories, all that the query wants. Reads links, so it may block.
pub(crate) fn with_links_resolved<'a>(
    query: &'a ThreadQuery,
    recorded: impl IntoIterator<Item = String>,
) -> Cow<'a, ThreadQuery> {
    let Some(mut wanted) = WantedDirectories::of(query) else { return Cow::Borrowed(query) };
    let mut cwd = query.cwd.clone();
    cwd.extend(recorded.into_iter().filter(|path| wanted.matches(path)).map(CwdFilter::Exactly));
    Cow::Owned(ThreadQuery { cwd, ..query.clone() })
}

/// Unites the groups of directories that are the same one. Reads links, so it may block.
pub(crate) fn unite_linked_groups(query: &StatsQuery, stats: ThreadStats) -> ThreadStats {
    if query.by != StatsKey::Project {
        return stats;
    }
    let mut links = DirectoryLinks::default();
    let mut fold = StatsFold::new(query);
    for group in stats.groups {
        let real = group.key.as_deref().map(|name| links.real_path(name).unwrap_or_else(|| name.to_owned()));
        fold.group_as(real.map(|real| query.group_key(&real)), group);
    }
    fold.finish()
}
