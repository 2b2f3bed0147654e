//! Finds the files in which Codex's databases still contain a deleted thread.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use memchr::memmem::Finder;
use selvedge_protocol::ThreadId;
use selvedge_thread_store::{Result, StoreError};

/// How many bytes are read at a time.
const BLOCK: usize = 1 << 20;

/// Returns the databases in a directory, and the logs beside them, that contain the id of a thread, in the order of their paths.
pub(super) fn find(directory: &Path, thread_id: ThreadId) -> Result<Vec<PathBuf>> {
    let id = thread_id.to_string();
    let finder = Finder::new(&id);
    let mut found = Vec::new();
    let failed = |path: &Path| {
        let message = format!("cannot read {}", path.display());
        move |error: io::Error| StoreError::backend(message, error)
    };
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let path = entry.map_err(failed(directory))?.path();
        if is_database(&path) && contains(&path, &finder).map_err(failed(&path))? {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Returns whether a file is a database of Codex, or the write-ahead log of one. The index of this program is none. The messages of the
/// program, in `logs_2.sqlite`, have ids of threads, and nothing that was said.
fn is_database(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_database = name.ends_with(".sqlite") || name.ends_with(".sqlite-wal");
    is_database && !name.starts_with("selvedge-") && !name.starts_with("logs_")
}

fn contains(path: &Path, finder: &Finder<'_>) -> io::Result<bool> {
    let mut file = match File::open(path) {
        // Codex may remove a log at any time.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    // The end of a block is kept, because the text may begin in one block and end in the next.
    let overlap = finder.needle().len() - 1;
    let mut block = Vec::with_capacity(BLOCK + overlap);
    loop {
        let read = file.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        if finder.find(&block).is_some() {
            return Ok(true);
        }
        if read == 0 {
            return Ok(false);
        }
        block.drain(..block.len().saturating_sub(overlap));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_across_blocks_and_in_databases_only() {
        let folder = tempfile::tempdir().unwrap();
        let id: ThreadId = "01a1fd5d-aacb-7641-837d-630af077ebd5".parse().unwrap();
        let mut bytes = vec![b'x'; BLOCK - 10];
        bytes.extend(id.to_string().into_bytes());
        for name in ["thread_history_1.sqlite-wal", "logs_2.sqlite", "selvedge-index.sqlite", "history.jsonl"] {
            fs::write(folder.path().join(name), &bytes).unwrap();
        }
        fs::write(folder.path().join("state_5.sqlite"), &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(find(folder.path(), id).unwrap(), [folder.path().join("thread_history_1.sqlite-wal")]);
    }
}
