//! Compressed files: read like plain ones, kept as far as they can be read.

use std::fs;
use std::io::ErrorKind;

use selvedge_protocol::log::{DamageKind, Entry};
use selvedge_rollout::{RolloutHome, RolloutReader};

use crate::support::{basic, damage, read_bytes, read_file, recordings, texts};

fn compress(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn recording_of(bytes: usize) -> Vec<u8> {
    let one = basic("0.118.0");
    one.repeat(bytes / one.len() + 1)
}

#[test]
fn a_compressed_recording_reads_like_the_plain_one() {
    let dir = tempfile::tempdir().unwrap();
    for path in recordings() {
        let bytes = fs::read(&path).unwrap();
        let compressed = dir.path().join("log.jsonl.zst");
        fs::write(&compressed, compress(&bytes)).unwrap();
        assert_eq!(read_file(&compressed), read_file(&path), "{}", path.display());
    }
}

#[test]
fn several_frames_are_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let compressed = dir.path().join("log.jsonl.zst");
    let bytes = basic("0.58.0");
    // The second frame begins in the middle of a line.
    let (one, two) = bytes.split_at(1000);
    fs::write(&compressed, [compress(one), compress(two)].concat()).unwrap();
    assert_eq!(read_file(&compressed), read_bytes(bytes));
}

#[test]
fn what_decompresses_of_a_truncated_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.jsonl.zst");
    let bytes = recording_of(600_000);
    let plain = read_bytes(bytes.clone());
    let compressed = compress(&bytes);
    let mut kept = Vec::new();
    for percent in (0..100).step_by(3) {
        fs::write(&path, &compressed[..compressed.len() * percent / 100]).unwrap();
        let entries = read_file(&path);
        let found = texts(&entries);
        assert_eq!(found, texts(&plain)[..found.len()], "at {percent} %");
        let (lines, rest) = entries.split_at(found.len());
        assert_eq!(lines, &plain[..found.len()], "positions are those of the decompressed file, at {percent} %");
        // Behind the lines there may be a torn line, and then the point where decompression fails.
        let Some(Entry::Damage(end)) = rest.last() else { panic!("{rest:?} at {percent} %") };
        assert!(matches!(end.kind, DamageKind::Compression { .. }), "{end:?}");
        assert!(end.range.is_empty());
        if let [Entry::Damage(torn), _] = rest {
            assert_eq!(torn.kind, DamageKind::Torn);
            assert_eq!(torn.range.end, end.range.start);
        } else {
            assert_eq!(rest.len(), 1);
        }
        kept.push(found.len());
    }
    assert!(kept.is_sorted());
    assert!(kept.last().unwrap() > &(plain.len() / 2), "{kept:?} of {}", plain.len());
}

#[test]
fn the_damage_at_the_end_of_a_truncated_file_has_its_line_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.jsonl.zst");
    let mut bytes = compress(b"{}\n{}\n{}\n");
    bytes.extend_from_slice(b"no frame");
    fs::write(&path, bytes).unwrap();
    let entries = read_file(&path);
    assert_eq!(texts(&entries).len(), 3);
    let Entry::Damage(end) = &entries[3] else { panic!() };
    assert_eq!((end.range.clone(), end.number), (9..9, 4));
}

#[test]
fn noise_in_a_compressed_file_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.jsonl.zst");
    for junk in [&b"not a frame"[..], b"{}\n", b""] {
        fs::write(&path, junk).unwrap();
        let entries = read_file(&path);
        assert_eq!(texts(&entries), [""; 0]);
        let all_compression = damage(&entries).iter().all(|(_, kind)| matches!(kind, DamageKind::Compression { .. }));
        assert!(all_compression, "{entries:?}");
        assert_eq!(entries.len(), usize::from(!junk.is_empty()).max(entries.len()), "{entries:?}");
    }
}

#[test]
fn a_range_of_a_compressed_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.jsonl.zst");
    let bytes = recording_of(300_000);
    fs::write(&path, compress(&bytes)).unwrap();
    let plain = read_bytes(bytes);
    let range = plain[500].range().start..plain[510].range().end;
    let found: Vec<_> = RolloutReader::open_range(&path, range).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(texts(&found), texts(&plain[500..=510]));
    assert_eq!(found[10].range(), plain[510].range());
}

#[test]
fn a_long_compressed_line_takes_no_quadratic_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.jsonl.zst");
    // The line is no object, so that the parser ends immediately and only the reading takes time.
    let bytes = vec![b'x'; 64 << 20];
    fs::write(&path, compress(&bytes)).unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(damage(&read_file(&path)), [(0..64 << 20, &DamageKind::Torn)]);
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}

#[test]
fn a_file_is_decompressed_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let compressed = dir.path().join("log.jsonl.zst");
    let bytes = basic("0.36.0");
    fs::write(&compressed, compress(&bytes)).unwrap();
    let plain = RolloutHome::new(dir.path()).decompress_in_place(&compressed).unwrap();
    assert_eq!(plain, dir.path().join("log.jsonl"));
    assert_eq!(fs::read(&plain).unwrap(), bytes);
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["log.jsonl"], "the compressed file is gone, and nothing else was left");
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&plain).unwrap().permissions()) & 0o777, 0o600);
}

#[test]
fn a_frame_that_is_damaged_is_not_decompressed_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let compressed = dir.path().join("log.jsonl.zst");
    let bytes = compress(&recording_of(300_000));
    fs::write(&compressed, &bytes[..bytes.len() / 2]).unwrap();
    RolloutHome::new(dir.path()).decompress_in_place(&compressed).unwrap_err();
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["log.jsonl.zst"]);
}

#[test]
fn a_plain_file_is_not_replaced_by_its_compressed_form() {
    let dir = tempfile::tempdir().unwrap();
    let compressed = dir.path().join("log.jsonl.zst");
    let plain = dir.path().join("log.jsonl");
    fs::write(&compressed, compress(b"old\n")).unwrap();
    fs::write(&plain, "new\n").unwrap();
    let error = RolloutHome::new(dir.path()).decompress_in_place(&compressed).unwrap_err();
    assert_eq!(error.io_kind(), Some(ErrorKind::AlreadyExists));
    assert_eq!(fs::read(&plain).unwrap(), b"new\n");
    assert!(compressed.exists());
}
