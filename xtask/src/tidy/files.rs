//! The files that the rules check.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A text file of the repository.
#[derive(Clone)]
pub(super) struct SourceFile {
    /// Path relative to the root, with `/` as separator.
    pub(super) path: String,
    pub(super) text: String,
}

/// Reads every Rust and markdown file, sorted by path, except in hidden directories and in `target`.
pub(super) fn read_all(root: &Path) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            let skipped = name.to_string_lossy().starts_with('.') || name == "target";
            if skipped {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if let Some(file) = read(root, entry.path())? {
                files.push(file);
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn read(root: &Path, path: PathBuf) -> Result<Option<SourceFile>> {
    if !path.extension().is_some_and(|extension| extension == "rs" || extension == "md") {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let inside = path.strip_prefix(root).unwrap_or(&path);
    let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
    Ok(Some(SourceFile { path: parts.join("/"), text }))
}
