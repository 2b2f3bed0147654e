//! Working directories as they are written: absolute and in their shortest form.

use selvedge_protocol::DirectoryPath;

/// Returns the path of a directory from the root on, in its shortest form. A relative path begins in the current directory.
pub(crate) fn absolute(path: &str) -> String {
    // A path of another system is absolute as well, and has nothing to do with the current directory.
    if let Some(path) = DirectoryPath::new(path).filter(DirectoryPath::is_absolute) {
        return path.to_string();
    }
    let path = std::env::current_dir().unwrap_or_else(|_| "/".into()).join(path);
    let path = path.to_string_lossy();
    DirectoryPath::new(&path).map_or_else(|| path.clone().into_owned(), |path| path.to_string())
}
