//! `selvedge demo`: the tour, and the commands that it suggests.

use std::fs;
use std::time::Instant;

use crate::support::{Home, RunResult, run};

fn demo(home: &Home, args: &[&str]) -> RunResult {
    let folder = home.folder().join("tmp");
    fs::create_dir_all(&folder).unwrap();
    run(home.bare().env("TMPDIR", folder).arg("demo").args(args))
}

#[test]
fn the_demo_keeps_its_promises_and_leaves_no_files() {
    let home = Home::missing();
    let begun = Instant::now();
    let run = demo(&home, &[]);
    assert_eq!(run.code, 0, "{}\n{}", run.out, run.err);
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    assert_eq!(run.err, "");
    for words in [
        "1. The threads of this home",
        "Thread on zebras",
        "── turn 1",
        "was killed with SIGKILL after",
        "What to type next",
        "demo --keep",
    ] {
        assert!(run.out.contains(words), "{words:?} in {}", run.out);
    }
    assert_eq!(fs::read_dir(home.folder().join("tmp")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(home.user()).unwrap().count(), 0);
}

#[test]
fn the_commands_that_a_kept_demo_suggests_work() {
    let home = Home::missing();
    let shown = demo(&home, &["--keep"]);
    assert_eq!(shown.code, 0, "{}\n{}", shown.out, shown.err);
    let next = shown.out.split_once("What to type next\n").unwrap().1;
    let mut tried = 0;
    for line in next.lines().map(str::trim).filter(|line| line.contains("--home")) {
        let args = line.split_once("--home").unwrap().1.split_whitespace();
        let run = run(home.bare().arg("--home").args(args));
        assert_eq!(run.code, 0, "{line}: {}", run.err);
        tried += 1;
    }
    assert!(tried >= 3, "{next}");
}

#[test]
fn a_demo_run_in_the_folder_of_the_program_suggests_commands_that_work_there() {
    let home = Home::missing();
    // The path is canonical, because the program gets its own path from the system.
    let folder = home.folder().canonicalize().unwrap();
    fs::copy(env!("CARGO_BIN_EXE_selvedge"), folder.join("copied")).unwrap();
    let shown = run(std::process::Command::new(folder.join("copied"))
        .env_clear()
        .env("TMPDIR", home.user())
        .current_dir(&folder)
        .arg("demo"));
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert!(shown.out.contains("\n  ./copied list"), "{}", shown.out);
}
