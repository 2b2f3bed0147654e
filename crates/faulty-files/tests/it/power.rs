//! The states that a power loss leaves.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use selvedge_faulty_files::{FaultyFiles, PowerLoss};
use selvedge_protocol::Durability;
use selvedge_rollout::{FileSystem, OpenMode, RolloutHome};

/// Returns the content of a file in the state that a power loss leaves of a directory. `None` if the file does not
/// exist then.
fn content_after(files: &FaultyFiles, root: &Path, loss: PowerLoss, name: &str) -> Option<Vec<u8>> {
    let target = tempfile::tempdir().unwrap();
    files.disk().lose_power(root, loss, target.path()).unwrap();
    fs::read(target.path().join(name)).ok()
}

fn start() -> (tempfile::TempDir, FaultyFiles) {
    let dir = tempfile::tempdir().unwrap();
    let files = FaultyFiles::new().adopting(dir.path()).unwrap();
    (dir, files)
}

#[test]
fn bytes_and_names_are_durable_after_they_were_synced() {
    let (dir, files) = start();
    let root = dir.path();
    let file = files.open(&root.join("a"), OpenMode::New).unwrap();
    file.write(b"one").unwrap();
    assert_eq!(content_after(&files, root, PowerLoss::OnlySynced, "a"), None);
    assert_eq!(content_after(&files, root, PowerLoss::NamesWithoutBytes, "a").unwrap(), b"");
    file.sync().unwrap();
    assert_eq!(content_after(&files, root, PowerLoss::OnlySynced, "a"), None);
    files.sync_dir(root).unwrap();
    file.write(b"two").unwrap();
    assert_eq!(content_after(&files, root, PowerLoss::OnlySynced, "a").unwrap(), b"one");
    assert_eq!(content_after(&files, root, PowerLoss::BytesWithoutNames, "a").unwrap(), b"onetwo");
    for seed in 0..50 {
        let torn = content_after(&files, root, PowerLoss::Torn(seed), "a").unwrap();
        assert!(torn.starts_with(b"one") && torn.len() <= 6, "{torn:?}");
    }
}

#[test]
fn a_file_that_moves_always_has_a_name() {
    let (dir, files) = start();
    let root = dir.path();
    fs::create_dir(root.join("to")).unwrap();
    fs::write(root.join("a"), "one").unwrap();
    let files = files.adopting(root).unwrap();
    files.rename(&root.join("a"), &root.join("to/a")).unwrap();
    let mut seen = [false; 2];
    for seed in 0..50 {
        let found = ["a", "to/a"].map(|name| content_after(&files, root, PowerLoss::Torn(seed), name).is_some());
        assert!(found[0] || found[1]);
        seen = [seen[0] || found[0], seen[1] || found[1]];
    }
    assert_eq!(seen, [true, true]);
    files.sync_dir(root).unwrap();
    assert!(content_after(&files, root, PowerLoss::OnlySynced, "to/a").is_some());
}

#[test]
fn bytes_that_a_failed_sync_lost_stay_lost() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "one").unwrap();
    let scenario = |files: &FaultyFiles| {
        let file = files.open(&path, OpenMode::Append).unwrap();
        file.write(b"two").unwrap();
        (file.sync().is_ok(), file.sync().is_ok())
    };
    let files = FaultyFiles::with_fault(2, selvedge_faulty_files::Fault::Io).adopting(dir.path()).unwrap();
    assert_eq!(scenario(&files), (false, true));
    assert_eq!(content_after(&files, dir.path(), PowerLoss::OnlySynced, "a").unwrap(), b"one\0\0\0");
}

#[test]
fn a_synced_file_of_a_home_is_complete() {
    let (dir, files) = start();
    let home =
        RolloutHome::new(dir.path()).with_durability(Durability::Synced).with_file_system(Arc::new(files.clone()));
    home.write_new_file(&dir.path().join("deep/er/a"), |out| out.write_all(b"whole")).unwrap();
    for loss in [PowerLoss::OnlySynced, PowerLoss::NamesWithoutBytes, PowerLoss::BytesWithoutNames, PowerLoss::Torn(1)]
    {
        assert_eq!(content_after(&files, dir.path(), loss, "deep/er/a").unwrap(), b"whole", "{loss:?}");
    }
}
