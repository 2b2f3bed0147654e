//! What root makes in the home of another user belongs to that user, as after a command with `sudo`.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::other_user::{PLAIN_USER, as_plain_user, give, give_to_plain_user, is_root};
use crate::support::{Home, RunResult, T169, message, run, small_log};

/// Returns every file and directory below a path, and the path itself.
fn everything(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            found.extend(everything(&entry.unwrap().path()));
        }
    }
    found
}

#[track_caller]
fn assert_all_belong_to_plain_user(path: &Path, what: &str) {
    for path in everything(path) {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let owner = (metadata.uid(), metadata.gid());
        assert_eq!(owner, (PLAIN_USER, PLAIN_USER), "{what}: {}", path.display());
    }
}

/// Returns whether this process is root. Prints that the test did not run if it is not.
#[expect(clippy::print_stderr, reason = "a test that is skipped silently would count as passed")]
fn can_run() -> bool {
    if !is_root() {
        eprintln!("SKIPPED: only root can make files for another user");
    }
    is_root()
}

fn run_plain(home: &Home, args: &[&str]) -> RunResult {
    run(as_plain_user(home, &mut home.command(args)))
}

#[test]
fn what_root_makes_in_the_home_of_another_user_belongs_to_that_user() {
    if !can_run() {
        return;
    }
    for (durability, index) in [("written", &[][..]), ("synced", &[]), ("written", &["--index", "off"])] {
        let home = Home::sample("story-0.169.0");
        give_to_plain_user(&home);
        let options = [&["--durability", durability], index].concat();
        let as_root = |verb: &[&str]| {
            let run = home.run(&[&options[..], verb].concat());
            assert_eq!(run.code, 0, "{verb:?}: {}", run.err);
            assert_all_belong_to_plain_user(&home.path(), &format!("{verb:?}"));
            run.out.trim().to_owned()
        };
        as_root(&["list"]);
        let id = as_root(&["new", "--name", "made by root"]);
        assert_eq!(home.append(&id, message("of root")).code, 0);
        assert_all_belong_to_plain_user(&home.path(), "append");
        as_root(&["rename", &id, "renamed by root"]);
        as_root(&["archive", &id]);
        as_root(&["unarchive", &id]);
        as_root(&["fork", T169]);
        as_root(&["compress", &id]);
        assert_eq!(home.append(&id, message("of root again")).code, 0);
        assert_all_belong_to_plain_user(&home.path(), "append to a compressed file");
        as_root(
            &["index", "rebuild"].map(|word| if index.is_empty() { word } else { "list" })
                [..1 + usize::from(index.is_empty())],
        );
        as_root(&["search", "zebra"]);
        as_root(&["doctor", "--repair"]);

        // The owner goes on without `sudo`.
        for verb in [
            &["rename", &id, "renamed by the owner"][..],
            &["new", "--name", "made by the owner"],
            &["compress", &id],
            &["archive", &id],
            &["unarchive", &id],
            &["index", "sync"],
            &["delete", "--yes", &id],
            &["list"],
            &["doctor"],
        ] {
            let run = run_plain(&home, verb);
            assert_eq!(run.code, 0, "{verb:?}: {} {}", run.err, run.out);
            assert!(!run.err.contains("left out"), "{verb:?}: {}", run.err);
        }
    }
}

#[test]
fn a_home_that_root_makes_belongs_to_the_owner_of_the_directory_around_it() {
    if !can_run() {
        return;
    }
    let home = Home::missing();
    give_to_plain_user(&home);
    let path = home.user().join("deep/.selvedge");
    let made = run(home.bare().arg("--home").arg(&path).args(["new", "--name", "first"]));
    assert_eq!(made.code, 0, "{}", made.err);
    assert_all_belong_to_plain_user(&home.user(), "new");
    let listed = run(as_plain_user(&home, home.bare().arg("--home").arg(&path).arg("list")));
    assert!(listed.out.contains("first"), "{} {}", listed.out, listed.err);
}

#[test]
fn a_log_that_root_creates_again_belongs_to_the_owner_of_the_home() {
    if !can_run() {
        return;
    }
    // A lock and a database that the owner had already stay as they are; those that root creates are given away, also where an
    // earlier command of root left directories of its own.
    let home = Home::sample("story-0.169.0");
    give_to_plain_user(&home);
    give(&home.path().join("sessions"), 0);
    assert_eq!(home.run(&["rename", T169, "named by root"]).code, 0);
    let made = home.new_thread(&["--name", "in a directory of today"]);
    let file = everything(&home.path()).into_iter().find(|path| path.to_string_lossy().contains(&made)).unwrap();
    for path in [&file, file.parent().unwrap(), &home.path().join("selvedge-index.sqlite")] {
        if path.exists() {
            assert_eq!(fs::metadata(path).unwrap().uid(), PLAIN_USER, "{}", path.display());
        }
    }
}

#[test]
fn what_only_root_can_read_is_left_out_for_the_owner_although_root_has_indexed_it() {
    if !can_run() {
        return;
    }
    let home = Home::sample("story-0.169.0");
    give_to_plain_user(&home);
    let private = home.path().join("sessions/2026/11/22");
    fs::create_dir(&private).unwrap();
    let id = "01a1fd5d-2222-7000-8000-000000000002";
    fs::write(private.join(format!("rollout-2026-11-22T09-00-00-{id}.jsonl")), small_log(id)).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    for _ in 0..2 {
        let of_root = home.run(&["list", "--all", "--json"]);
        assert!(of_root.out.contains(id) && !of_root.err.contains("left out"), "{}", of_root.err);
        let of_owner = run_plain(&home, &["list", "--all", "--json"]);
        assert!(of_owner.code == 0 && !of_owner.out.contains(id), "{}", of_owner.out);
        assert!(of_owner.out.contains(T169) && of_owner.err.contains("11/22 (Permission denied)"), "{}", of_owner.err);
    }
}
