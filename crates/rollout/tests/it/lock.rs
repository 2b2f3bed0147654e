//! The writer lock: one holder, over all processes.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use selvedge_protocol::{Durability, HistoryMode, ThreadId};
use selvedge_rollout::{LockHolder, RolloutError, RolloutHome, RolloutRecorder, WriterLock};

use crate::support::{TestHome, WatchedFiles, head, helper, message, skip, thread};

fn holder_of(home: &RolloutHome, id: ThreadId) -> LockHolder {
    match WriterLock::acquire(home, id) {
        Err(RolloutError::Locked { thread_id, holder }) => {
            assert_eq!(thread_id, id);
            holder
        }
        other => panic!("{other:?}"),
    }
}

fn lock_path(home: &RolloutHome, id: ThreadId) -> std::path::PathBuf {
    home.locks_dir().join(format!("{id}.lock"))
}

#[track_caller]
fn check_process(holder: LockHolder, process_id: u32) {
    if cfg!(target_os = "linux") {
        assert_eq!(holder.process_id, Some(process_id));
        assert_eq!(holder.to_string(), format!("process {process_id}"));
    }
}

/// Ends a process, also if the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn wait_until(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
#[ignore = "a helper of other tests, run in a process of its own"]
fn holds_a_lock() {
    let Some(root) = std::env::var_os("SELVEDGE_TEST_HOME") else { return };
    let root = Path::new(&root);
    let lock = WriterLock::acquire(&RolloutHome::new(root), thread(1)).unwrap();
    fs::write(root.join("held"), "").unwrap();
    // Until the test closes the input of this process.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    drop(lock);
}

fn other_process(home: &RolloutHome) -> Running {
    let mut command = helper("lock::holds_a_lock");
    let child = command.env("SELVEDGE_TEST_HOME", home.root()).stdin(Stdio::piped()).spawn().unwrap();
    let running = Running(child);
    wait_until(|| home.root().join("held").exists());
    fs::remove_file(home.root().join("held")).unwrap();
    running
}

#[test]
fn one_process_gets_the_lock_once() {
    let test = TestHome::new();
    let lock = WriterLock::acquire(&test.home, thread(1)).unwrap();
    assert_eq!(fs::read(lock_path(&test.home, thread(1))).unwrap(), b"", "the file stays empty");
    check_process(holder_of(&test.home, thread(1)), std::process::id());
    let other = WriterLock::acquire(&test.home, thread(2)).unwrap();
    assert!(lock_path(&test.home, thread(1)).exists(), "a refused call removes nothing");

    drop(lock);
    assert!(!lock_path(&test.home, thread(1)).exists());
    assert!(test.home.locks_dir().join(".coordination.lock").exists());
    drop(WriterLock::acquire(&test.home, thread(1)).unwrap());
    drop(other);
    assert_eq!(fs::read_dir(test.home.locks_dir()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn lock_files_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let test = TestHome::new();
    let _lock = WriterLock::acquire(&test.home, thread(1)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&lock_path(&test.home, thread(1))), 0o600);
    assert_eq!(mode(&test.home.locks_dir()), 0o700);
}

#[test]
fn another_process_holds_the_lock_until_it_releases_it() {
    let test = TestHome::new();
    let mut other = other_process(&test.home);
    check_process(holder_of(&test.home, thread(1)), other.0.id());
    drop(WriterLock::acquire(&test.home, thread(2)).unwrap());

    drop(other.0.stdin.take());
    assert!(other.0.wait().unwrap().success());
    assert!(!lock_path(&test.home, thread(1)).exists());
    WriterLock::acquire(&test.home, thread(1)).unwrap();
}

#[cfg(unix)]
#[test]
fn a_killed_process_holds_no_lock() {
    let test = TestHome::new();
    let mut other = other_process(&test.home);
    holder_of(&test.home, thread(1));
    other.0.kill().unwrap();
    other.0.wait().unwrap();
    assert!(lock_path(&test.home, thread(1)).exists(), "its file remains");
    let lock = WriterLock::acquire(&test.home, thread(1)).unwrap();
    check_process(holder_of(&test.home, thread(1)), std::process::id());
    drop(lock);
    assert!(!lock_path(&test.home, thread(1)).exists());
}

/// Holds a lock on a file by `flock(1)`, like a program of another author.
fn foreign(path: &Path, ready: &Path) -> Option<Running> {
    let mut command = Command::new("flock");
    // With `--no-fork`, `flock` becomes the shell. So the process that took the lock is the one that the test waits for.
    command.args(["--exclusive", "--no-fork"]).arg(path).args(["sh", "-c", "touch \"$0\"; exec sleep 60"]).arg(ready);
    let Ok(child) = command.stdout(Stdio::null()).spawn() else {
        skip("there is no flock(1)");
        return None;
    };
    let running = Running(child);
    wait_until(|| ready.exists());
    Some(running)
}

#[test]
fn a_lock_of_another_program_excludes_a_writer() {
    let test = TestHome::new();
    fs::create_dir_all(test.home.locks_dir()).unwrap();
    let Some(mut other) = foreign(&lock_path(&test.home, thread(1)), &test.dir().join("ready")) else { return };
    check_process(holder_of(&test.home, thread(1)), other.0.id());
    other.0.kill().unwrap();
    other.0.wait().unwrap();
    WriterLock::acquire(&test.home, thread(1)).unwrap();
}

#[test]
fn lock_files_are_created_and_removed_under_the_coordination_lock() {
    let test = TestHome::new();
    let held = WriterLock::acquire(&test.home, thread(2)).unwrap();
    let coordination = test.home.locks_dir().join(".coordination.lock");
    let Some(other) = foreign(&coordination, &test.dir().join("ready")) else { return };
    std::thread::scope(|scope| {
        let acquire = scope.spawn(|| WriterLock::acquire(&test.home, thread(1)).map(drop));
        drop(held);
        std::thread::sleep(Duration::from_millis(100));
        assert!(!acquire.is_finished(), "it waits for the coordination lock");
        assert!(!lock_path(&test.home, thread(1)).exists());
        assert!(lock_path(&test.home, thread(2)).exists());
        assert!(!WriterLock::seems_held(&test.home, thread(2)), "released at once");
        drop(other);
        acquire.join().unwrap().unwrap();
    });
    wait_until(|| !lock_path(&test.home, thread(2)).exists());
}

/// Holds the coordination lock, like a process that hangs while it creates a lock file.
fn hold_coordination(home: &RolloutHome) -> fs::File {
    fs::create_dir_all(home.locks_dir()).unwrap();
    let coordination = fs::File::create(home.locks_dir().join(".coordination.lock")).unwrap();
    coordination.lock().unwrap();
    coordination
}

#[test]
fn no_wait_for_a_hanging_process_is_endless() {
    let test = TestHome::new();
    let held = WriterLock::acquire(&test.home, thread(2)).unwrap();
    let coordination = hold_coordination(&test.home);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| WriterLock::holder(&test.home, thread(2)));
        drop(held);
        assert!(begun.elapsed() < Duration::from_secs(1), "a lock is released without a wait");
        let error = WriterLock::acquire(&test.home, thread(1)).unwrap_err();
        let RolloutError::LockTimeout { path, holder: holds, waited } = &error else { panic!("{error:?}") };
        assert!(path.ends_with("thread-writer-locks/.coordination.lock"), "{path:?}");
        check_process(*holds, std::process::id());
        assert_eq!(*waited, Duration::from_secs(5));
        assert!(matches!(holder.join().unwrap(), Err(RolloutError::LockTimeout { .. })));
    });
    assert!(begun.elapsed() < Duration::from_secs(60));
    drop(coordination);
    // The next writer takes the remaining file over.
    assert!(lock_path(&test.home, thread(2)).exists());
    drop(WriterLock::acquire(&test.home, thread(2)).unwrap());
    assert!(!lock_path(&test.home, thread(2)).exists());
}

#[test]
fn nothing_is_synced_under_the_coordination_lock() {
    let test = TestHome::new();
    let calls: Arc<Mutex<Vec<(&'static str, PathBuf)>>> = Arc::default();
    let recorded = Arc::clone(&calls);
    let files = WatchedFiles::new(move |what, path| {
        recorded.lock().unwrap().push((what, path.to_owned()));
        Ok(())
    });
    let home = files.of(&test.home).with_durability(Durability::Synced);
    let recorder = RolloutRecorder::create(&home, head(thread(1), HistoryMode::Paginated)).unwrap();
    recorder.append(&[message("one")]).unwrap();
    recorder.shutdown();
    let file = home.files().unwrap().segments(thread(1))[0].clone();
    RolloutRecorder::resume(&home, &file).unwrap().append(&[message("two")]).unwrap();
    let calls = calls.lock().unwrap();
    let (mut is_held, mut times) = (false, 0);
    for (what, path) in calls.iter() {
        if path.ends_with(".coordination.lock") {
            is_held = *what == "lock" || is_held && *what != "close";
            times += usize::from(*what == "lock");
        }
        assert!(!is_held || !what.contains("sync"), "{what} {path:?} under the coordination lock");
    }
    assert_eq!(times, 4, "to take two locks and to release them");
    assert!(calls.iter().any(|(what, path)| *what == "sync_dir" && path == home.root()));
}

#[test]
fn only_one_of_many_threads_holds_the_lock_at_a_time() {
    let test = TestHome::new();
    let inside = std::sync::atomic::AtomicUsize::new(0);
    let won = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                use std::sync::atomic::Ordering::SeqCst;
                for _ in 0..100 {
                    let Ok(lock) = WriterLock::acquire(&test.home, thread(1)) else { continue };
                    assert_eq!(inside.fetch_add(1, SeqCst), 0);
                    won.fetch_add(1, SeqCst);
                    inside.fetch_sub(1, SeqCst);
                    drop(lock);
                }
            });
        }
    });
    assert!(won.into_inner() > 0);
}

#[test]
fn a_home_that_cannot_be_written_is_an_io_error() {
    let test = TestHome::new();
    fs::write(test.home.root(), "a file where a home should be").unwrap();
    assert!(matches!(WriterLock::acquire(&test.home, thread(1)), Err(RolloutError::Io { .. })));
}
