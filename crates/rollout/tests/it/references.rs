//! The reference lock: between adding references to segments and removing segments.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use selvedge_rollout::doctor::{FindingKind, diagnose};
use selvedge_rollout::{ReferenceLock, RolloutError, RolloutHome};

use crate::support::TestHome;

fn path(home: &RolloutHome) -> PathBuf {
    home.root().join("selvedge-references.lock")
}

fn is_held(home: &RolloutHome) -> bool {
    matches!(File::open(path(home)).unwrap().try_lock(), Err(TryLockError::WouldBlock))
}

#[test]
fn references_share_the_lock_and_a_removal_holds_it_alone() {
    let test = TestHome::new();
    let shared = [ReferenceLock::shared(&test.home).unwrap(), ReferenceLock::shared(&test.home).unwrap()];
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let home = &test.home;
        scope.spawn(move || {
            let _alone = ReferenceLock::exclusive(home).unwrap();
            sender.send("removed").unwrap();
            std::thread::sleep(Duration::from_millis(100));
            sender.send("done").unwrap();
        });
        assert!(receiver.recv_timeout(Duration::from_millis(100)).is_err(), "it waits for both");
        let [one, other] = shared;
        drop(one);
        assert!(receiver.recv_timeout(Duration::from_millis(100)).is_err(), "it waits for the other one");
        drop(other);
        assert_eq!(receiver.recv().unwrap(), "removed");
        let _shared = ReferenceLock::shared(&test.home).unwrap();
        assert_eq!(receiver.try_recv(), Ok("done"), "a new reference waits for the removal");
    });
    assert!(!is_held(&test.home));
}

#[test]
fn a_lock_that_is_never_released_is_an_error_that_names_its_holder() {
    let test = TestHome::new();
    let _held = ReferenceLock::shared(&test.home).unwrap();
    let begun = Instant::now();
    let error = ReferenceLock::exclusive(&test.home).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(60));
    let RolloutError::LockTimeout { path: locked, holder, waited } = &error else { panic!("{error:?}") };
    assert_eq!((locked, *waited), (&path(&test.home), Duration::from_secs(10)));
    if cfg!(target_os = "linux") {
        assert_eq!(holder.process_id, Some(std::process::id()));
    }
    assert!(error.to_string().contains("has held") && error.to_string().contains("more than 10 s"), "{error}");
}

#[test]
fn a_lock_file_that_was_replaced_during_the_wait_is_locked_again() {
    let test = TestHome::new();
    let before = ReferenceLock::exclusive(&test.home).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ReferenceLock::exclusive(&test.home).unwrap());
        std::thread::sleep(Duration::from_millis(100));
        fs::remove_file(path(&test.home)).unwrap();
        File::create(path(&test.home)).unwrap();
        drop(before);
        let lock = waiting.join().unwrap();
        assert!(is_held(&test.home), "the lock is on the file that others find");
        drop(lock);
        assert!(!is_held(&test.home));
    });
}

#[cfg(unix)]
#[test]
fn the_lock_file_is_private_and_a_link_out_of_the_home_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let test = TestHome::new();
    drop(ReferenceLock::shared(&test.home).unwrap());
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path(&test.home)), 0o600);
    assert_eq!(diagnose(&test.home, None, &|_| {}).unwrap().findings, []);
    fs::set_permissions(path(&test.home), fs::Permissions::from_mode(0o644)).unwrap();
    let found = diagnose(&test.home, None, &|_| {}).unwrap().findings;
    assert!(matches!(&found[..], [finding] if finding.kind == FindingKind::WideMode), "{found:?}");

    fs::remove_file(path(&test.home)).unwrap();
    let outside = test.dir().join("precious");
    fs::write(&outside, "mine").unwrap();
    std::os::unix::fs::symlink(&outside, path(&test.home)).unwrap();
    let refused = ReferenceLock::exclusive(&test.home).unwrap_err();
    assert_eq!(refused.io_kind(), Some(ErrorKind::PermissionDenied));
    assert_eq!(fs::read(outside).unwrap(), b"mine");
}
