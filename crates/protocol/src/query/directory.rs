//! Directories, independent of the spelling of their paths and of the system that wrote them.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use super::thread_query::CwdFilter;

/// The name of the server under which Windows shows the files of WSL distributions. `wsl$` is its older name.
const WSL_SERVER: &str = "wsl.localhost";
const WSL_SERVER_BEFORE_2021: &str = "wsl$";

/// What separates names in a path of Windows.
const SLASHES: [char; 2] = ['/', '\\'];

/// The path of a directory, parsed without looking at any file system.
///
/// A path is recognised by its form, whatever system this program runs on:
///
/// | spelling | directory |
/// | --- | --- |
/// | `/home/kim/proj` | on Unix |
/// | `C:\p`, `c:/p`, `\\?\C:\p`, `\\.\C:\p` | on a drive of Windows |
/// | `/mnt/c/p` | on the same drive, as WSL shows it |
/// | `\\server\share\p`, `\\?\UNC\server\share\p` | in a network share |
/// | `\\wsl.localhost\Ubuntu\home\kim`, `\\wsl$\Ubuntu\home\kim` | in a WSL distribution, as Windows shows it |
/// | `//?/…`, `//wsl$/…`, `//wsl.localhost/…` | the same with slashes. Any other path with two slashes in front is one on Unix |
/// | anything else | relative to a directory that is not known |
///
/// `.`, `..`, doubled slashes and slashes at the end are resolved lexically. `..` never leaves the root.
///
/// Two paths name the same directory if their [keys](Self::key) are equal. Whether one of them is a symbolic link is a
/// question to a file system, so it is none of this type.
///
/// ```
/// use selvedge_protocol::DirectoryPath;
///
/// let key = |path: &str| DirectoryPath::new(path).map(|directory| directory.key());
/// assert_eq!(key(r"\\?\C:\Users\Kim"), key("/mnt/c/users/kim/"));
/// assert_ne!(key("/home/kim"), key("/home/Kim"));
/// assert_eq!(DirectoryPath::new("/home/kim//a/../proj/").unwrap().to_string(), "/home/kim/proj");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryPath {
    root: DirectoryRoot,
    /// The names below the root. Only a relative path can begin with `..`.
    names: Vec<String>,
}

/// Where a path begins.
#[derive(Clone, Debug, PartialEq, Eq)]
enum DirectoryRoot {
    /// `/`.
    Unix,
    /// `C:\`. The letter is a capital one.
    Drive(char),
    /// `/mnt/c`: the root of a drive, as WSL shows it. The letter is a capital one.
    MountedDrive(char),
    /// `\\server\share`. The share is empty in a path of the server alone.
    Share { server: String, share: String },
    /// The directory is not known.
    Relative,
}

impl DirectoryPath {
    /// Parses a path. `None` if the text is empty, which names no directory.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let (root, names) = parse_windows(text).unwrap_or_else(|| {
            let root = if text.starts_with('/') { DirectoryRoot::Unix } else { DirectoryRoot::Relative };
            (root, text.split('/').collect())
        });
        let mut path = Self { names: normalized(&names, root == DirectoryRoot::Relative), root };
        path.recognize_mounted_drive();
        Some(path)
    }

    /// Replaces a root by the drive that WSL mounts below it. Every distribution shows the drives of its machine there, so
    /// `\\wsl$\Ubuntu\mnt\c` is that drive as well.
    fn recognize_mounted_drive(&mut self) {
        let drive = match &self.names[..] {
            [mnt, letter, ..] if mnt == "mnt" => letter.chars().next().filter(|_| letter.len() == 1),
            _ => None,
        };
        // WSL makes the names of its mounts in lower case.
        let Some(letter) = drive.filter(char::is_ascii_lowercase).map(|letter| letter.to_ascii_uppercase()) else {
            return;
        };
        self.root = match self.root {
            DirectoryRoot::Unix => DirectoryRoot::MountedDrive(letter),
            _ if self.is_in_wsl() => DirectoryRoot::Drive(letter),
            _ => return,
        };
        self.names.drain(..2);
    }

    /// Returns whether the path begins at a root, and not in a directory that is not known.
    #[must_use]
    pub fn is_absolute(&self) -> bool {
        self.root != DirectoryRoot::Relative
    }

    /// Returns whether the path has the form of Windows: `C:\…` or `\\server\share\…`.
    #[must_use]
    pub fn is_windows(&self) -> bool {
        matches!(self.root, DirectoryRoot::Drive(_) | DirectoryRoot::Share { .. })
    }

    /// Returns the text by which directories are compared. It is the same for all spellings of a directory.
    ///
    /// The key of a directory begins with the key of each directory above it and a slash. Names of Windows are in upper
    /// case, because Windows ignores case. Names of Unix and of a WSL distribution are as they are written.
    #[must_use]
    pub fn key(&self) -> String {
        let is_case_sensitive = match self.root {
            DirectoryRoot::Unix | DirectoryRoot::Relative => true,
            DirectoryRoot::Drive(_) | DirectoryRoot::MountedDrive(_) => false,
            DirectoryRoot::Share { .. } => self.is_in_wsl(),
        };
        let names = self.names.join("/");
        let names = if is_case_sensitive { names } else { to_windows_upper(&names) };
        match &self.root {
            DirectoryRoot::Unix => format!("/{names}"),
            // Where WSL shows the drive, so that it is below `/mnt` and below `/`.
            DirectoryRoot::Drive(letter) | DirectoryRoot::MountedDrive(letter) => {
                format!("/mnt/{}/{names}", letter.to_ascii_lowercase()).trim_end_matches('/').to_owned()
            }
            // The backslashes keep shares apart from what is below the root of Unix.
            DirectoryRoot::Share { server, share } => {
                let root = format!(r"\\{}/{}", to_windows_upper(server), to_windows_upper(share));
                format!("{root}/{names}").trim_end_matches('/').to_owned()
            }
            // The dot keeps names apart that look like the key of another path.
            DirectoryRoot::Relative => format!("./{names}").trim_end_matches('/').to_owned(),
        }
    }

    fn is_in_wsl(&self) -> bool {
        matches!(&self.root, DirectoryRoot::Share { server, share } if server == WSL_SERVER && !share.is_empty())
    }
}

/// Writes the path in its shortest form, as the system writes it that it is of: `/home/kim`, `/mnt/c/p`, `C:\p`,
/// `\\server\share\p`.
impl fmt::Display for DirectoryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names.join(if self.is_windows() { r"\" } else { "/" });
        match &self.root {
            DirectoryRoot::Unix => write!(f, "/{names}"),
            DirectoryRoot::Drive(letter) => write!(f, r"{letter}:\{names}"),
            DirectoryRoot::MountedDrive(letter) => {
                let root = format!("/mnt/{}", letter.to_ascii_lowercase());
                if names.is_empty() { f.write_str(&root) } else { write!(f, "{root}/{names}") }
            }
            DirectoryRoot::Share { server, share } => {
                f.write_str(format!(r"\\{server}\{share}\{names}").trim_end_matches('\\'))
            }
            // A name that looks like the root of Windows is none: `./C:/p`.
            DirectoryRoot::Relative if names.is_empty() || parse_windows(&names).is_some() => {
                f.write_str(format!("./{names}").trim_end_matches('/'))
            }
            DirectoryRoot::Relative => f.write_str(&names),
        }
    }
}

/// Parses a path of Windows: its root, and the names below it as they are written. `None` if it is no absolute path of
/// Windows.
fn parse_windows(text: &str) -> Option<(DirectoryRoot, Vec<&str>)> {
    // A path that was escaped twice has more backslashes. Behind two of them, Windows takes a slash for one, too.
    let path = match (text.strip_prefix(r"\\"), text.strip_prefix("//")) {
        (Some(path), _) => path.trim_start_matches(SLASHES),
        (None, Some(path)) => path.trim_start_matches('\\'),
        (None, None) => return parse_drive(text),
    };
    let (server, rest) = path.split_once(SLASHES).unwrap_or((path, ""));
    // The prefixes `\\?\` and `\\.\` say that a path goes to the system as it is. A drive or a share may follow them;
    // anything else, such as the id of a volume, stays as a share of the server `?` or `.`.
    if server == "?" || server == "." {
        let rest = rest.trim_start_matches(SLASHES);
        let share = rest.split_once(SLASHES).filter(|(name, _)| name.eq_ignore_ascii_case("UNC"));
        if let Some(path) = parse_drive(rest).or_else(|| parse_share(share?.1)) {
            return Some(path);
        }
    }
    // Two slashes in front are one slash on Unix. Only the servers that no Unix path has are recognised.
    if text.starts_with('\\') || is_wsl_server(server) { parse_share(path) } else { None }
}

fn is_wsl_server(name: &str) -> bool {
    [WSL_SERVER, WSL_SERVER_BEFORE_2021].iter().any(|wsl| name.eq_ignore_ascii_case(wsl))
}

/// Parses a path that begins with a drive: `C:\p` or `C:/p`.
fn parse_drive(text: &str) -> Option<(DirectoryRoot, Vec<&str>)> {
    let (drive, rest) = text.split_once(':')?;
    let letter = drive.chars().next().filter(|letter| drive.len() == 1 && letter.is_ascii_alphabetic())?;
    // `C:p` is relative to a directory that only the system of the path knows.
    if !(rest.is_empty() || rest.starts_with(SLASHES)) {
        return None;
    }
    Some((DirectoryRoot::Drive(letter.to_ascii_uppercase()), rest.split(SLASHES).collect()))
}

/// Parses what follows the two backslashes in front of a share. `None` if there is no server.
fn parse_share(path: &str) -> Option<(DirectoryRoot, Vec<&str>)> {
    let mut names = path.split(SLASHES).filter(|name| !name.is_empty());
    let server = names.next()?;
    let server = if is_wsl_server(server) { WSL_SERVER } else { server }.to_owned();
    let share = names.next().unwrap_or_default().to_owned();
    Some((DirectoryRoot::Share { server, share }, names.collect()))
}

/// Removes empty names and `.`, and each `..` with the name before it. A `..` without a name before it is kept if the path is
/// relative, and else is the root.
fn normalized(names: &[&str], is_relative: bool) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for name in names {
        match *name {
            "" | "." => {}
            ".." if kept.last().is_some_and(|last| last != "..") => _ = kept.pop(),
            ".." if !is_relative => {}
            name => kept.push(name.to_owned()),
        }
    }
    kept
}

/// Converts names as Windows does to compare them: letter by letter, each to one capital letter. So `ß` stays, as it has
/// no such letter in Windows. Two letters whose capital is an ASCII letter stay, too, and so do letters beyond U+FFFF.
fn to_windows_upper(names: &str) -> String {
    let upper = |letter: char| {
        let mut capital = letter.to_uppercase();
        match (capital.next(), capital.next()) {
            (Some(capital), None) if u32::from(letter) <= 0xFFFF && letter.is_ascii() == capital.is_ascii() => capital,
            _ => letter,
        }
    };
    names.chars().map(upper).collect()
}

/// The working directories that a query asks for, prepared to be matched against many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectoryFilter {
    keys: BTreeSet<String>,
    ranges: Vec<Range<String>>,
}

impl DirectoryFilter {
    /// Creates the filter for directories of which a thread must have one.
    #[must_use]
    pub fn new(wanted: &[CwdFilter]) -> Self {
        let mut filter = Self::default();
        for wanted in wanted {
            let (CwdFilter::Exactly(path) | CwdFilter::Under(path)) = wanted;
            let Some(key) = DirectoryPath::new(path).map(|path| path.key()) else { continue };
            if let CwdFilter::Under(_) = wanted {
                // "Begins with the directory and a slash" as a range: `0` is the character after `/`. The key of the root
                // of Unix is that slash.
                let above = key.trim_end_matches('/');
                filter.ranges.push(format!("{above}/")..format!("{above}0"));
            }
            filter.keys.insert(key);
        }
        filter
    }

    /// Returns the keys of the wanted directories.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str)
    }

    /// Returns the ranges of keys of what is below wanted directories, for those whose descendants match.
    #[must_use]
    pub fn ranges(&self) -> &[Range<String>] {
        &self.ranges
    }

    /// Returns whether the directory with this path matches.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let Some(key) = DirectoryPath::new(path).map(|path| path.key()) else { return false };
        self.keys.contains(&key) || self.ranges.iter().any(|range| range.contains(&key))
    }
}
