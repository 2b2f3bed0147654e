//! Atomic operations on files.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use selvedge_rollout::{RolloutHome, open_bytes};

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_new_file_is_complete_or_does_not_exist() {
    let dir = tempfile::tempdir().unwrap();
    let home = RolloutHome::new(dir.path());
    let path = dir.path().join("a/b/new.jsonl");
    let broken = home.write_new_file(&path, |out| {
        out.write_all(b"half")?;
        Err(io::Error::other("broken off"))
    });
    broken.unwrap_err();
    assert_eq!(names(path.parent().unwrap()), [""; 0]);

    home.write_new_file(&path, |out| out.write_all(&[b'x'; 100_000])).unwrap();
    assert_eq!(fs::read(&path).unwrap(), [b'x'; 100_000]);
    assert_eq!(names(path.parent().unwrap()), ["new.jsonl"]);

    let refused = home.write_new_file(&path, |out| out.write_all(b"other")).unwrap_err();
    assert_eq!(refused.io_kind(), Some(ErrorKind::AlreadyExists));
    assert_eq!(fs::read(&path).unwrap().len(), 100_000, "the existing file is not replaced");
    assert_eq!(names(path.parent().unwrap()), ["new.jsonl"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }
}

#[test]
fn a_file_is_moved_only_to_a_free_path() {
    let dir = tempfile::tempdir().unwrap();
    let home = RolloutHome::new(dir.path());
    let (from, to) = (dir.path().join("from"), dir.path().join("deep/er/to"));
    fs::write(&from, "one").unwrap();
    home.move_file(&from, &to).unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"one");
    assert!(!from.exists());

    fs::write(&from, "two").unwrap();
    assert_eq!(home.move_file(&from, &to).unwrap_err().io_kind(), Some(ErrorKind::AlreadyExists));
    assert_eq!((fs::read(&from).unwrap(), fs::read(&to).unwrap()), (b"two".to_vec(), b"one".to_vec()));
    let missing = home.move_file(&dir.path().join("missing"), &dir.path().join("x")).unwrap_err();
    assert_eq!(missing.io_kind(), Some(ErrorKind::NotFound));
}

#[test]
fn removing_a_file_that_does_not_exist_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let home = RolloutHome::new(dir.path());
    let path = dir.path().join("file");
    fs::write(&path, "").unwrap();
    home.remove_file(&path).unwrap();
    assert!(!path.exists());
    home.remove_file(&path).unwrap();
    home.remove_file(dir.path()).unwrap_err();
}

#[test]
fn a_range_has_the_same_bytes_plain_and_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let text: Vec<u8> = (0..300_000_u32).flat_map(u32::to_be_bytes).collect();
    let (plain, compressed) = (dir.path().join("a.jsonl"), dir.path().join("a.jsonl.zst"));
    fs::write(&plain, &text).unwrap();
    fs::write(&compressed, zstd::encode_all(&text[..], 1).unwrap()).unwrap();
    for (path, is_compressed) in [(&plain, false), (&compressed, true)] {
        for range in [0..10, 7..7, 200_000..900_001, 1_199_999..u64::MAX, 5_000_000..u64::MAX] {
            let (mut bytes, is_reported_compressed) = open_bytes(path, range.clone()).unwrap();
            let mut found = Vec::new();
            bytes.read_to_end(&mut found).unwrap();
            let end = usize::try_from(range.end).unwrap().min(text.len());
            let start = usize::try_from(range.start).unwrap().min(end);
            assert!(found == text[start..end] && is_reported_compressed == is_compressed, "{range:?}");
        }
    }
}
