//! Recordings of Codex, which make up the home of the demo. They are compiled into the program, so the demo needs no files.

macro_rules! recorded {
    ($($version:literal: [$($path:literal),* $(,)?]),* $(,)?) => {
        &[$($(($path, include_bytes!(concat!("../../../../../samples/", $version, "/home/", $path)))),*),*]
    };
}

/// Paths within a home and contents of files. They are the homes that six versions recorded, merged into one: no two of them have a
/// thread in common. A path that occurs twice is a file that grows.
pub(crate) const FILES: &[(&str, &[u8])] = recorded! {
    "basic-0.20.0": [
        "sessions/2026/11/21/rollout-2026-11-21T09-07-26-6c1959de-8bdf-489c-a664-66b58be0c216.jsonl",
    ],
    "basic-0.36.0": [
        "sessions/2026/11/21/rollout-2026-11-21T09-07-26-f5da5fd7-8a08-4fc0-a43e-0dfab513b993.jsonl",
    ],
    "basic-0.58.0": [
        "sessions/2026/11/21/rollout-2026-11-21T09-07-27-01a1fd5c-4dd4-7c40-b044-4673113c588d.jsonl",
    ],
    "basic-0.118.0": [
        "sessions/2026/11/21/rollout-2026-11-21T09-07-35-01a1fd5c-6d91-7e03-8ee0-5aaa5257b42b.jsonl",
    ],
    "story-0.144.6": [
        "archived_sessions/rollout-2026-11-21T09-09-06-01a1fd5d-d016-74b2-9a71-e86411827f4b.jsonl",
        "session_index.jsonl",
        "sessions/2026/11/21/rollout-2026-11-21T09-09-03-01a1fd5d-c3f2-7313-862d-a0ba485d5b31.jsonl",
        "sessions/2026/11/21/rollout-2026-11-21T09-09-03-01a1fd5d-c6c8-7a71-ac95-699c8dab1ede.jsonl",
        "sessions/2026/11/21/rollout-2026-11-21T09-09-03-01a1fd5d-c755-7213-96e5-89d822329fbd.jsonl",
        "sessions/2026/11/21/rollout-2026-11-21T09-09-05-01a1fd5d-cbbd-7473-9f80-bbacfadca78c.jsonl",
        "sessions/2026/11/21/rollout-2026-11-21T09-09-06-01a1fd5d-d07a-7290-add5-68e5282c99d8.jsonl",
    ],
    "story-0.169.0": [
        "archived_sessions/rollout-2026-11-21T09-09-00-01a1fd5d-ba49-7d22-be9f-dbbc8754e1c2.jsonl",
        "session_index.jsonl",
        "sessions/2026/11/21/rollout-2026-11-21T09-08-56-01a1fd5d-aacb-7641-837d-630af077ebd5.jsonl",
        "sessions/2026/11/21/rollout-2026-11-21T09-08-57-01a1fd5d-add7-7c40-912f-9130719f1691.jsonl",
        "sessions/2026/11/21/rollout-2026-11-21T09-08-57-01a1fd5d-ae48-7320-8f6d-105eeac19055.jsonl",
        "sessions/2026/11/21/rollout-2026-11-21T09-08-58-01a1fd5d-aacb-7641-837d-630af077ebd5_01a1fd5d-b04b-76f0-9534-302120bdec6d.jsonl",
        "sessions/2026/11/21/rollout-2026-11-21T09-08-59-01a1fd5d-b60b-7432-a7c6-e94e926ff3a7.jsonl",
        "sessions/2026/11/21/rollout-2026-11-21T09-09-00-01a1fd5d-ba9e-7a91-89fe-30bc9e36e105.jsonl",
    ],
};

/// Returns how many threads the recordings have. A thread may have several files.
pub(crate) fn thread_count() -> usize {
    let mut ids: Vec<&str> = FILES.iter().filter_map(|(path, _)| thread_id(path)).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.len()
}

/// Returns the thread id in a file name such as `rollout-2026-11-21T09-08-58-<thread>_<segment>.jsonl`.
fn thread_id(path: &str) -> Option<&str> {
    let name = path.rsplit('/').next()?.strip_prefix("rollout-")?;
    name.get("2026-11-21T09-08-58-".len()..)?.get(..36)
}
