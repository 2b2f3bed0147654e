//! Directories: in filters, in groups, and as they are written to disk.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Home, copy, meta_line, run};

/// The threads of the home `spellings`, by what their directories are.
const ON_DRIVE_C: [&str; 6] = ["w1", "w2", "w3", "w4", "w5", "w16"];
const IN_WSL: [&str; 3] = ["w6", "w7", "w8"];
const ON_UNIX: [&str; 4] = ["w9", "w10", "w11", "w12"];

/// Options with which the index answers, and with which the logs do.
const INDEX: [&[&str]; 2] = [&[], &["--index", "off"]];

fn case(name: &str) -> Home {
    let home = Home::empty();
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(name).join("home"), &home.path());
    home
}

/// Returns the first messages of the threads in a list.
fn titles(threads: &Value) -> BTreeSet<&str> {
    threads.as_array().unwrap().iter().map(|thread| thread["preview"].as_str().unwrap()).collect()
}

fn set<'a>(parts: &[&[&'a str]]) -> BTreeSet<&'a str> {
    parts.concat().into_iter().collect()
}

/// Checks which threads `list` finds with and without an index.
#[track_caller]
fn finds(home: &Home, args: &[&str], expected: &BTreeSet<&str>) {
    for index in INDEX {
        let threads = home.json(&[&["list"], index, args].concat());
        assert_eq!(titles(&threads), *expected, "{args:?} {index:?}");
    }
}

#[test]
fn every_spelling_of_a_directory_finds_the_threads_of_all_spellings() {
    let home = case("spellings");
    let all = home.json(&["list"]);
    assert_eq!(all.as_array().unwrap().len(), 16);
    for thread in all.as_array().unwrap() {
        let title = thread["preview"].as_str().unwrap();
        let groups = [&ON_DRIVE_C[..], &IN_WSL, &ON_UNIX, &["w13"], &["w14"], &["w15"]];
        let group = groups.into_iter().find(|group| group.contains(&title)).unwrap();
        finds(&home, &["--cwd", thread["cwd"].as_str().unwrap()], &set(&[group]));
    }
    for (directory, expected) in [
        (r"c:\USERS\kim\proj", &ON_DRIVE_C[..]),
        (r"C:\Users\Kim\x\..\proj", &ON_DRIVE_C),
        ("/mnt/c/users/KIM//proj/.", &ON_DRIVE_C),
        ("//?/C:/Users/Kim/proj", &ON_DRIVE_C),
        ("//wsl$/Ubuntu/home/kim/proj/", &IN_WSL),
        ("//home/kim/x/../proj/", &ON_UNIX),
        ("/home/Kim/proj", &[]),
        (r"\\wsl$\Ubuntu\home\Kim\proj", &[]),
        (r"\\wsl$\Debian\home\kim\proj", &[]),
        (r"D:\Users\Kim\proj", &[]),
    ] {
        finds(&home, &["--cwd", directory], &set(&[expected]));
    }
    for (directory, expected) in [
        (r"C:\Users\Kim\proj\", set(&[&ON_DRIVE_C, &["w13"]])),
        ("/mnt/c", set(&[&ON_DRIVE_C, &["w13"]])),
        ("/home/kim/proj", set(&[&ON_UNIX, &["w14"]])),
        ("/home", set(&[&ON_UNIX, &["w14", "w15"]])),
        (r"\\wsl.localhost\Ubuntu", set(&[&IN_WSL])),
        ("/home/kim/pro", set(&[])),
    ] {
        finds(&home, &["--under", directory], &expected);
    }
    finds(&home, &["--cwd", "/home/kim/proj", "--cwd", r"\\wsl$\Ubuntu\home\kim\proj"], &set(&[&ON_UNIX, &IN_WSL]));
}

#[test]
fn what_a_table_shows_is_a_filter() {
    let home = case("spellings");
    for (width, by) in [("200", "list"), ("80", "list"), ("60", "list"), ("200", "stats"), ("40", "stats")] {
        let args = if by == "list" { vec!["list"] } else { vec!["stats", "--by", "project"] };
        let table = run(home.command(&args).env("COLUMNS", width)).out;
        // No directory of this home contains a blank.
        let shown = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        let mut count = 0;
        for words in shown.filter(|words| words[0] != "total") {
            let directory = if by == "list" { words.get(3) } else { words.first() };
            let Some(directory) = directory else { continue };
            count += 1;
            let found = home.json(&["list", "--cwd", directory]);
            let is_found = if by == "list" { titles(&found).contains(words[2]) } else { !titles(&found).is_empty() };
            assert!(is_found, "{directory} in {width} columns: {found}");
        }
        assert!(count > 5, "{table}");
    }
    // What ends like no directory finds nothing, and not everything.
    finds(&home, &["--cwd", "…/nowhere"], &set(&[]));
    finds(&home, &["--cwd", "…"], &set(&[]));
}

#[test]
fn statistics_have_one_group_for_all_spellings() {
    let home = case("spellings");
    for index in INDEX {
        let stats = home.json(&[&["stats", "--by", "project"], index].concat());
        let groups: BTreeSet<(&str, u64)> = stats["groups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|group| (group["key"].as_str().unwrap(), group["threads"].as_u64().unwrap()))
            .collect();
        let expected = [
            ("/mnt/c/Users/Kim/proj", 6),
            (r"C:\Users\Kim\proj\sub", 1),
            (r"\\wsl.localhost\Ubuntu\home\kim\proj", 3),
            ("/home/kim/proj", 4),
            ("/home/kim/proj/sub", 1),
            ("/home/kim/proj2", 1),
        ];
        assert_eq!(groups, BTreeSet::from(expected), "{index:?}");
    }
    let search = home.json(&["search", "w", "--cwd", r"\\?\C:\Users\Kim\proj"]);
    let found: BTreeSet<&str> =
        search.as_array().unwrap().iter().map(|hit| hit["thread"]["preview"].as_str().unwrap()).collect();
    assert!(found.is_subset(&set(&[&ON_DRIVE_C])), "{found:?}");
}

#[cfg(unix)]
#[test]
fn links_and_vanished_directories() {
    let home = case("linked");
    let folder = home.folder().canonicalize().unwrap();
    let at = |path: &str| folder.join(path).to_str().unwrap().to_owned();
    for path in fs::read_dir(home.path().join("sessions/2026/09/10")).unwrap().map(|entry| entry.unwrap().path()) {
        let log = fs::read_to_string(&path).unwrap();
        fs::write(&path, log.replace("/srv/lab05", folder.to_str().unwrap())).unwrap();
    }
    fs::create_dir_all(at("real/proj/sub")).unwrap();
    std::os::unix::fs::symlink("real", at("link")).unwrap();
    std::os::unix::fs::symlink(at("real/proj"), at("p")).unwrap();
    let directories = |args: &[&str], current: &Path| {
        let mut found = BTreeSet::new();
        for index in INDEX {
            let mut list = home.command(&[&["list", "--json"], index, args].concat());
            let run = run(list.current_dir(current).stdin(Stdio::null()));
            let threads: Value = serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{}", run.err));
            let paths = threads.as_array().unwrap().iter().map(|thread| thread["cwd"].as_str().unwrap());
            let paths: BTreeSet<String> =
                paths.map(|path| path[folder.to_str().unwrap().len() + 1..].to_owned()).collect();
            assert!(found.is_empty() || found == paths, "{args:?}: the index agrees with the logs");
            found = paths;
        }
        found
    };
    let same = BTreeSet::from(["real/proj", "link/proj", "p"].map(str::to_owned));
    for path in ["real/proj", "link/proj", "p", "link/proj/../proj/", "p/sub/.."] {
        assert_eq!(directories(&["--cwd", &at(path)], &folder), same, "{path}");
        assert_eq!(directories(&["--cwd", path], &folder), same, "{path}, relative to the current directory");
    }
    for current in ["real/proj", "link/proj"] {
        assert_eq!(directories(&["--cwd", "."], &folder.join(current)), same);
        assert_eq!(directories(&["--cwd", "../proj/sub/.."], &folder.join(current)), same);
        assert_eq!(directories(&["--cwd", "sub"], &folder.join(current)), BTreeSet::from(["real/proj/sub".to_owned()]));
    }
    assert_eq!(directories(&["--under", "link"], &folder).len(), 4);
    assert_eq!(directories(&["--cwd", "gone"], &folder), BTreeSet::from(["gone".to_owned()]));
    assert_eq!(directories(&["--cwd", "x/../gone/."], &folder), BTreeSet::from(["gone".to_owned()]));
    let groups = home.json(&["stats", "--by", "project"])["groups"].as_array().unwrap().len();
    assert_eq!(groups, 3, "the project, the directory below it, and the one that has vanished");
}

#[test]
fn what_is_written_is_absolute_and_clean() {
    let home = Home::missing();
    let folder = home.folder().canonicalize().unwrap().to_str().unwrap().to_owned();
    let below = |path: &str| format!("{folder}/{path}");
    let mut cases = vec![
        (".", folder.clone()),
        ("a/../b//c/.", below("b/c")),
        ("./x/", below("x")),
        ("/", "/".to_owned()),
        ("/srv//a/../b/", "/srv/b".to_owned()),
        ("/../srv", "/srv".to_owned()),
        ("/mnt/c/p/", "/mnt/c/p".to_owned()),
    ];
    if cfg!(unix) {
        cases.extend([
            // A path of Windows, and a directory of this system that is called like one.
            (r"\\?\c:\p\x\..\q", r"C:\p\q".to_owned()),
            (r"\\?\UNC\server\share\p\", r"\\server\share\p".to_owned()),
            (r"./C:\p", below(r"C:\p")),
        ]);
    }
    for (typed, written) in cases {
        let thread = home.json(&["new", "--cwd", typed]);
        assert_eq!(thread["cwd"], written, "{typed}");
        let log = fs::read_to_string(thread["location"].as_str().unwrap()).unwrap();
        let head: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
        assert_eq!(head["payload"]["cwd"], written, "{typed}");
        // The same spelling finds it, from the same directory.
        let found = home.json(&["list", "--cwd", typed]);
        assert_eq!(found[0]["id"], thread["id"], "{typed}");
    }
    assert_eq!(home.run(&["new", "--cwd", ""]).code, 2);
}

#[test]
fn a_fork_writes_the_directory_of_its_source_clean() {
    const SOURCE: &str = "01a1fd5d-0000-7000-8000-000000000001";
    let home = Home::empty();
    let current = home.folder().canonicalize().unwrap().to_str().unwrap().to_owned();
    for (recorded, written) in [
        ("/home/dev//proj/./", "/home/dev/proj"),
        (r"\\?\c:\proj\", r"C:\proj"),
        ("/home/dev/x/../proj", "/home/dev/proj"),
        // Nobody knows where this one begins.
        ("proj", current.as_str()),
    ] {
        let head = meta_line(SOURCE).replace(&json!("/home/dev/proj").to_string(), &json!(recorded).to_string());
        home.write(SOURCE, head.as_bytes());
        let fork = home.json(&["fork", SOURCE]);
        assert_eq!(fork["cwd"], written, "{recorded}");
        let log = fs::read_to_string(fork["location"].as_str().unwrap()).unwrap();
        let head: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
        assert_eq!(head["payload"]["cwd"], written, "{recorded}");
    }
}
