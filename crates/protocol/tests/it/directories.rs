//! Spellings of directories.

use proptest::prelude::*;
use selvedge_protocol::{CwdFilter, DirectoryFilter, DirectoryPath};

fn key(path: &str) -> String {
    DirectoryPath::new(path).unwrap().key()
}

fn text(path: &str) -> String {
    DirectoryPath::new(path).unwrap().to_string()
}

/// Each line has spellings of one directory. No two lines have the same one.
const DIRECTORIES: &[&[&str]] = &[
    &["/", "//", "/.", "/..", "/../..", "/home/.."],
    &[
        "/home/kim/proj",
        "/home/kim/proj/",
        "/home/kim//proj",
        "/home/kim/./proj",
        "//home/kim/proj",
        "/home/kim/a/../proj/.",
    ],
    &["/home/kim/proj/sub", "/home/kim/proj/sub//"],
    &["/home/kim/proj2"],
    // Unix distinguishes case, and has backslashes in names.
    &["/home/Kim/proj"],
    &[r"/home/kim\proj"],
    &["/home/größe"],
    &["/home/GRÖßE"],
    &[
        r"C:\Users\Kim\proj",
        r"C:\Users\Kim\proj\",
        r"c:\users\kim\proj",
        "C:/Users/Kim/proj",
        r"C:\\Users\\Kim\\proj",
        r"C:\Users/Kim\.\x\..\proj",
        r"\\?\C:\Users\Kim\proj",
        r"\\.\c:\users\KIM\proj",
        "//?/C:/Users/Kim/proj",
        "/mnt/c/Users/Kim/proj",
        "/mnt/c//users/kim/./proj/",
        r"\\wsl$\Ubuntu\mnt\c\Users\Kim\proj",
        r"\\wsl.localhost\Debian\mnt\c\Users\Kim\proj",
    ],
    &[r"C:\", "C:", "c:/", r"C:\..", r"\\?\C:\", "/mnt/c", "/mnt/c/"],
    &[r"D:\Users\Kim\proj", "/mnt/d/users/kim/proj"],
    &[r"C:\Users\KIM\größe", r"c:\users\kim\GRÖßE"],
    // `ß` has no capital letter of its own, and the dotless `ı` is no `i`.
    &[r"C:\Users\Kim\grösse"],
    &[r"C:\ı"],
    &[r"C:\i", r"C:\I"],
    &[r"C:\ΣΊΣΥΦΟΣ", r"c:\σίσυφοσ"],
    // Below `/mnt`, only the names that WSL makes are drives.
    &["/mnt/C/Users"],
    &["/mnt/cd/Users"],
    &["/mnt"],
    &["/mnt/ü"],
    &[
        r"\\server\share\p",
        r"\\SERVER\Share\p\",
        r"\\server/share/P",
        r"\\?\UNC\server\share\p",
        r"\\?\unc\server\share\p",
        r"\\.\UNC\server\share\p",
        "//?/UNC/server/share/p",
        r"\\server\share\x\..\p",
        r"\\\\server\\share\\p",
    ],
    &[r"\\server\share", r"\\server\share\", r"\\server\share\.."],
    &[r"\\server", r"\\server\"],
    &[r"\\server\share2\p"],
    &[r"\\server2\share\p"],
    &["/server/share/p", "//server/share/p"],
    &[
        r"\\wsl$\Ubuntu\home\kim\proj",
        r"\\wsl.localhost\Ubuntu\home\kim\proj",
        r"\\WSL.LOCALHOST\ubuntu\home\kim\proj\",
        r"\\?\UNC\wsl.localhost\Ubuntu\home\kim\proj",
        "//wsl.localhost/Ubuntu/home/kim/proj",
        "//wsl$/Ubuntu/home/kim/./proj",
    ],
    // A distribution has its own files, and distinguishes case.
    &[r"\\wsl$\Debian\home\kim\proj"],
    &[r"\\wsl$\Ubuntu\home\Kim\proj"],
    &[r"\\wsl$\Ubuntu", r"\\wsl.localhost\ubuntu\"],
    &[r"\\wsl$", r"\\wsl.localhost"],
    &[r"\\?\Volume{b75e2c83}\p", r"\\?\volume{b75e2c83}\P"],
    // Where these begin is not known.
    &["proj", "proj/", "./proj", "x/../proj"],
    &["..", "../", "x/../.."],
    &["../..", "../x/../.."],
    &[".", "./", "x/.."],
    &[r"C:proj"],
    &[r"\proj"],
    &[r"\\", "x/../\\\\", r"./\\"],
    // These look like the root of Windows, and begin in a directory that is not known.
    &["./C:/p", "x/../C:/p/"],
    &[r"./\\SERVER/SHARE/P", r"x/../\\SERVER/SHARE/P"],
    &[r"\\?\UNC\"],
    &[r"\\?\abé"],
    &["1:/x"],
    &["ä:/x"],
];

#[test]
fn spellings_of_a_directory_have_one_key_and_different_directories_have_not() {
    let all: Vec<(usize, &str)> =
        DIRECTORIES.iter().enumerate().flat_map(|(n, paths)| paths.iter().map(move |path| (n, *path))).collect();
    for (n, path) in &all {
        for (m, other) in &all {
            assert_eq!(key(path) == key(other), n == m, "{path} and {other}");
        }
        let filter = DirectoryFilter::new(&[CwdFilter::Exactly((*path).to_owned())]);
        let matched: Vec<usize> = all.iter().filter(|(_, other)| filter.matches(other)).map(|(m, _)| *m).collect();
        assert_eq!(matched, vec![*n; DIRECTORIES[*n].len()], "{path}");
    }
    assert_eq!(DirectoryPath::new(""), None);
}

#[test]
fn the_shortest_form_is_that_of_the_system_of_the_path() {
    for (path, expected) in [
        ("/", "/"),
        ("//home//kim/./x/..", "/home/kim"),
        ("/mnt/c", "/mnt/c"),
        ("/mnt/c/Users/../p/", "/mnt/c/p"),
        ("/mnt/c/..", "/mnt"),
        ("c:", r"C:\"),
        ("c:/Users/kim/", r"C:\Users\kim"),
        (r"\\?\c:\Users", r"C:\Users"),
        (r"\\?\UNC\Server\share\p\", r"\\Server\share\p"),
        (r"\\Server", r"\\Server"),
        (r"\\wsl$\Ubuntu\home", r"\\wsl.localhost\Ubuntu\home"),
        (r"\\wsl$\Ubuntu\mnt\c\p", r"C:\p"),
        (r"\\?\Volume{1}\p", r"\\?\Volume{1}\p"),
        ("a/../b/", "b"),
        ("./", "."),
    ] {
        assert_eq!(text(path), expected);
    }
    let is_absolute = |path| DirectoryPath::new(path).unwrap().is_absolute();
    assert!(["/", "/a", r"C:\", "c:", r"\\server\share", "//wsl$/Ubuntu"].into_iter().all(is_absolute));
    assert!(!["a", ".", "..", r"\a", "C:a", r"\\"].into_iter().any(is_absolute));
}

#[test]
fn a_filter_finds_what_is_below_and_nothing_beside() {
    let under =
        |directory: &str, path: &str| DirectoryFilter::new(&[CwdFilter::Under(directory.to_owned())]).matches(path);
    for (directory, inside, outside) in [
        ("/", &["/", "/a", "/mnt/c/a", r"C:\a"][..], &[r"\\server\share", "a", "."][..]),
        ("/a", &["/a", "/a/b", "/a//b/"], &["/ab", "/a0", "/A/b", "/", "/b/a"]),
        ("/mnt", &["/mnt/xy", "/mnt", "/mnt/c", "/mnt/c/a", r"C:\"], &["/home/mnt"]),
        (r"C:\", &[r"c:\a", "/mnt/c", "/mnt/c/a"], &[r"D:\a", "/c/a"]),
        (r"C:\Users\kim", &[r"C:\USERS\KIM\x", "/mnt/c/Users/Kim"], &[r"C:\Users\kimberly", r"C:\Users"]),
        (r"\\server", &[r"\\SERVER\share\p", r"\\server\x"], &[r"\\server2\share"]),
        (r"\\server\share", &[r"\\?\UNC\server\share\p"], &[r"\\server\share2\p", r"\\server"]),
        (r"\\wsl$\Ubuntu\home", &[r"\\wsl.localhost\Ubuntu\home\kim"], &["/home/kim", r"\\wsl$\Debian\home\kim"]),
    ] {
        for path in inside {
            assert!(under(directory, path), "{path} is in {directory}");
        }
        for path in outside {
            assert!(!under(directory, path), "{path} is not in {directory}");
        }
    }
    let several = DirectoryFilter::new(&[CwdFilter::Exactly("/a".to_owned()), CwdFilter::Under("/b".to_owned())]);
    let matched = ["/a", "/a/x", "/b", "/b/x", "/c", ""].map(|path| several.matches(path));
    assert_eq!(matched, [true, false, true, true, false, false]);
    assert!(!DirectoryFilter::new(&[CwdFilter::Under(String::new())]).matches("/a"), "an empty path is no directory");
}

#[test]
fn slashes_behind_two_backslashes_are_backslashes() {
    for (spelling, directory) in [
        (r"\\/./C:", r"C:\"),
        (r"\\/?/UNC/server/share", r"\\server\share"),
        (r"\\/server/share", r"\\server\share"),
        ("///wsl$/Ubuntu", "/wsl$/Ubuntu"),
    ] {
        assert_eq!((text(spelling).as_str(), key(spelling)), (directory, key(directory)), "{spelling}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_text_has_a_key_and_its_shortest_form_has_the_same(
        path in r"(//|\\\\|\.\.)?(/|\\|\./|\.|[cC]:|:|\?|UNC|wsl\$|mnt|[cC]|é| ){0,10}",
    ) {
        if let Some(parsed) = DirectoryPath::new(&path) {
            let short = parsed.to_string();
            prop_assert_eq!(key(&short), parsed.key(), "{} is {}", path, short);
            prop_assert_eq!(text(&short), short);
            prop_assert!(DirectoryFilter::new(&[CwdFilter::Under(path.clone())]).matches(&path));
        }
    }

    #[test]
    fn a_directory_contains_what_is_below_it(
        root in prop::sample::select(vec!["/", "/mnt/c", r"C:\", r"\\server\share", r"\\wsl$\Ubuntu"]),
        names in prop::collection::vec("[a-zA-Zé]{2,3}", 0..4),
        below in prop::collection::vec("[a-zA-Zé]{2,3}", 0..3),
    ) {
        let path = format!("{root}/{}", names.join("/"));
        let inside = format!("{path}/{}", below.join("/"));
        let filter = DirectoryFilter::new(&[CwdFilter::Under(path.clone())]);
        prop_assert!(filter.matches(&inside));
        prop_assert_eq!(DirectoryFilter::new(&[CwdFilter::Under(inside)]).matches(&path), below.is_empty());
    }
}
