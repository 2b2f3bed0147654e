//! What a scan leaves out of the directories of rollouts: what it cannot read, and what does not belong there.

use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Why a scan leaves something out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LeftOutKind {
    /// The system does not let this user read it, or fails to. It may hold rollouts.
    Unreadable,
    /// A directory that is none of a year, a month or a day. No program puts rollouts there.
    ForeignDirectory,
    /// A FIFO, a socket or a device. To open one could block forever.
    SpecialFile,
    /// A symbolic link in the place of a directory or a rollout.
    SymbolicLink,
}

/// A directory or file that a scan leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LeftOut {
    /// Its path.
    pub path: PathBuf,
    /// The kind of reason.
    pub kind: LeftOutKind,
    /// The reason in words, as a part of a sentence: "Permission denied".
    pub reason: String,
}

impl LeftOut {
    /// Returns an entry that the system did not let this process read.
    pub(crate) fn unreadable(path: impl Into<PathBuf>, error: &io::Error) -> Self {
        Self { path: path.into(), kind: LeftOutKind::Unreadable, reason: reason_of(error) }
    }

    /// Returns an entry that is left out because of its type. `levels` is the number of levels of directories that follow at its
    /// place, and `is_rollout` says whether it has the name of a rollout. `None` if nothing has to be said about it: a file of
    /// another program, or one that this crate made.
    pub(crate) fn by_type(path: &Path, file_type: FileType, levels: usize, is_rollout: bool) -> Option<Self> {
        let (kind, reason) = if file_type.is_symlink() {
            if levels == 0 && !is_rollout {
                return None;
            }
            (LeftOutKind::SymbolicLink, "a symbolic link, which is not followed")
        } else if file_type.is_dir() && is_rollout {
            (LeftOutKind::ForeignDirectory, "a directory in the place of a rollout")
        } else if file_type.is_dir() {
            (LeftOutKind::ForeignDirectory, "no directory of a year, a month or a day")
        } else {
            (LeftOutKind::SpecialFile, special_type(file_type)?)
        };
        Some(Self { path: path.to_owned(), kind, reason: reason.to_owned() })
    }
}

/// Returns whether a directory at this place can hold rollouts. Codex takes a directory for a year, a month or a day if its name is a
/// number, with or without a zero in front. `levels` is the number of levels of directories that follow below it.
pub(crate) fn is_date_directory(name: &std::ffi::OsStr, levels: usize) -> bool {
    let longest = if levels == 2 { 4 } else { 2 };
    name.to_str()
        .is_some_and(|name| (1..=longest).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns whether an error says something about this process and not about the file: then nothing may be left out because of it.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let errno = error.raw_os_error().map(Errno::from_raw_os_error);
        matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR))
    }
    #[cfg(not(unix))]
    {
        error.kind() == io::ErrorKind::OutOfMemory
    }
}

/// Returns the text of an error without the number that the standard library adds to it.
fn reason_of(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or_else(|| text.clone(), |(text, _)| text.to_owned())
}

/// Returns what a special file is. `None` for a regular file.
fn special_type(file_type: FileType) -> Option<&'static str> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        let types = [
            (file_type.is_fifo(), "a FIFO"),
            (file_type.is_socket(), "a socket"),
            (file_type.is_block_device(), "a block device"),
            (file_type.is_char_device(), "a character device"),
        ];
        types.into_iter().find_map(|(is, text)| is.then_some(text))
    }
    #[cfg(not(unix))]
    {
        let _ = file_type;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_directories_of_dates() {
        for (name, levels, expected) in [
            ("2026", 2, true),
            ("9", 1, true),
            ("09", 0, true),
            ("123", 0, false),
            ("20261", 2, false),
            ("lost+found", 2, false),
            (".Trash-0", 2, false),
            ("node_modules", 0, false),
            ("1x", 0, false),
            ("", 0, false),
            ("-1", 0, false),
            ("٣", 0, false),
        ] {
            assert_eq!(is_date_directory(std::ffi::OsStr::new(name), levels), expected, "{name} {levels}");
        }
    }
}
