//! Directories that a user names: made absolute and clean, or found by the end that a table shows.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use selvedge_protocol::{ArchivedFilter, DirectoryPath, ThreadQuery};
use selvedge_thread_store::ThreadStore;

use crate::failure::Result;
use crate::render::text::single_line;

/// What a table shows in place of the beginning of a long path.
const CUT: char = '…';

/// Returns a directory as it is written to disk and compared: absolute and in its shortest form.
///
/// A relative path begins in the current directory. A path of another system is absolute already: `C:\p` on Linux, and
/// `/home/kim` on Windows. A directory of this system that is called `C:\p` is `./C:\p`.
pub(crate) fn absolute(path: &Path) -> Result<String> {
    let is_foreign = |path: &DirectoryPath| path.is_absolute() && path.is_windows() != cfg!(windows);
    if let Some(foreign) = DirectoryPath::new(&path.to_string_lossy()).filter(is_foreign) {
        return Ok(foreign.to_string());
    }
    let path = std::path::absolute(path).with_context(|| format!("cannot make {:?} absolute", path.display()))?;
    Ok(clean(&path.to_string_lossy()))
}

/// Returns a recorded directory in its shortest form. `None` if it is not absolute, so that nobody knows which one it is.
pub(crate) fn clean_if_absolute(path: &str) -> Option<String> {
    DirectoryPath::new(path).filter(DirectoryPath::is_absolute).map(|path| path.to_string())
}

/// Returns the current directory.
pub(crate) fn current() -> String {
    std::env::current_dir().map_or_else(|_| "/".to_owned(), |path| clean(&path.to_string_lossy()))
}

fn clean(path: &str) -> String {
    DirectoryPath::new(path).map_or_else(|| path.to_owned(), |path| path.to_string())
}

/// Returns the directories that a filter names. There can be several if the path was copied from a table that has cut it
/// at the beginning.
pub(crate) async fn named_by_filter(path: &Path, store: &dyn ThreadStore) -> Result<Vec<String>> {
    if let Some(end) = path.to_string_lossy().strip_prefix(CUT).filter(|end| !end.is_empty()) {
        let found = ending_with(end, store).await?;
        if !found.is_empty() {
            return Ok(found.into_iter().collect());
        }
    }
    Ok(vec![absolute(path)?])
}

/// Returns the recorded directories that a table shows with this end.
async fn ending_with(end: &str, store: &dyn ThreadStore) -> Result<BTreeSet<String>> {
    let query = ThreadQuery { archived: ArchivedFilter::All, limit: usize::MAX, ..ThreadQuery::default() };
    let threads = store.list_threads(&query).await?.items.into_iter();
    // Lists show a path as it is recorded, and statistics its shortest form.
    let has_end = |cwd: &String| [single_line(cwd), single_line(&clean(cwd))].iter().any(|shown| shown.ends_with(end));
    Ok(threads.filter_map(|thread| thread.cwd).filter(has_end).collect())
}
