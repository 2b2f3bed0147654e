//! The fuzz targets on a small corpus: recordings, slightly cut and damaged, and inputs that once failed.

use std::fs;
use std::path::Path;

#[expect(unreachable_pub, reason = "elsewhere it is a crate of its own")]
#[path = "../../../../fuzz/src/lib.rs"]
mod targets;

/// Small recordings, damage, texts, and every file in `fuzz/found`.
fn corpus() -> Vec<Vec<u8>> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let mut inputs: Vec<Vec<u8>> = [
        "",
        "{}",
        "\u{feff}{}\n\0\0{\"a\":1}",
        "{\"a\":{\"b\":1,\"c\":null}} {\"a\":{\"c\":[1]},\"d\":2}",
        "{\"a\":1} {\"a\":1}",
        "01a1fd5d-aacb-7641-837d-630af077ebd5",
        "2026-11-21T09:08:56.680Z",
        "rollout-2026-11-21T09-08-56-01a1fd5d-aacb-7641-837d-630af077ebd5.jsonl",
        "p1.7",
        "\u{1}\u{0}{\"timestamp\":\"2026-11-21T09:08:56.680Z\",\"ordinal\":1,\"type\":\"x\",\"payload\":{}}{\"timestamp\":",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    for path in recordings(&root.join("samples")) {
        let bytes = fs::read(path).unwrap();
        let line = bytes.split(|byte| *byte == b'\n').nth(1).unwrap_or_default().to_vec();
        let third = bytes.len() / 3;
        inputs.push([&bytes[..third], &[0; 9], &bytes[third + 40..]].concat());
        inputs.push(bytes[..2 * third].to_vec());
        inputs.extend([bytes, line]);
    }
    for entry in fs::read_dir(root.join("fuzz/found")).into_iter().flatten() {
        inputs.push(fs::read(entry.unwrap().path()).unwrap());
    }
    inputs
}

fn recordings(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(recordings(&path));
        } else if path.to_string_lossy().contains("rollout-") && fs::metadata(&path).unwrap().len() < 20_000 {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_fuzz_target_accepts_the_corpus() {
    let inputs = corpus();
    assert!(inputs.len() > 20);
    for (name, target) in targets::TARGETS {
        for (number, input) in inputs.iter().enumerate() {
            let outcome = std::panic::catch_unwind(|| target(input));
            assert!(outcome.is_ok(), "{name} on input {number}: {:?}", String::from_utf8_lossy(input));
        }
    }
}
