//! Work that is repeated while other processes move files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io};

use selvedge_protocol::{HistoryBase, HistoryMode, SessionMeta};
use selvedge_rollout::{CachedHome, RolloutRecorder, retry_if_moved};

use crate::support::{TestHome, head, message, thread};

/// Ends a thread of a scope, also if an assertion fails: the scope waits for the thread.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn is_moved(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn moved() -> io::Error {
    io::ErrorKind::NotFound.into()
}

#[test]
fn the_first_retry_is_immediate_and_the_others_pause() {
    let mut shortest = Duration::MAX;
    for _ in 0..20 {
        let begun = Instant::now();
        let mut attempts = Vec::new();
        let outcome = retry_if_moved(is_moved, || {
            attempts.push(begun.elapsed());
            if attempts.len() < 6 { Err(moved()) } else { Ok("found") }
        });
        assert_eq!(outcome.unwrap(), "found");
        let pauses: Vec<Duration> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (pause, least) in pauses[1..].iter().zip([1, 2, 4, 8]) {
            assert!(*pause >= Duration::from_millis(least), "{pauses:?}");
        }
        shortest = shortest.min(pauses[0]);
    }
    assert!(shortest < Duration::from_millis(1), "{shortest:?}");
}

#[test]
fn another_error_is_returned_immediately() {
    let mut attempts = 0;
    let outcome: io::Result<()> = retry_if_moved(is_moved, || {
        attempts += 1;
        Err(if attempts == 1 { moved() } else { io::ErrorKind::PermissionDenied.into() })
    });
    assert_eq!((outcome.unwrap_err().kind(), attempts), (io::ErrorKind::PermissionDenied, 2));
}

#[test]
fn work_whose_files_always_move_is_given_up_after_two_seconds() {
    let begun = Instant::now();
    let mut attempts = 0;
    let outcome: io::Result<()> = retry_if_moved(is_moved, || {
        attempts += 1;
        Err(moved())
    });
    assert!(is_moved(&outcome.unwrap_err()));
    assert!((Duration::from_secs(2)..Duration::from_secs(30)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert!((100..150).contains(&attempts), "{attempts}");
}

#[test]
fn a_history_is_resolved_while_its_base_is_moved() {
    let test = TestHome::new();
    let base = RolloutRecorder::create(&test.home, head(thread(1), HistoryMode::Paginated)).unwrap();
    base.append(&[message("one")]).unwrap();
    let (next, len) = base.end();
    base.shutdown();
    let reference = HistoryBase {
        thread_id: Some(thread(1).into()),
        end_ordinal_exclusive: next,
        end_byte_offset: Some(len),
        ..HistoryBase::default()
    };
    let fork = SessionMeta { history_base: Some(reference), ..head(thread(2), HistoryMode::Paginated) };
    RolloutRecorder::create(&test.home, fork).unwrap().persist().unwrap();
    let active = base.path();
    let archived = test.home.archived_dir().join(active.file_name().unwrap());
    fs::create_dir_all(test.home.archived_dir()).unwrap();
    let remembered = Arc::new(CachedHome::new(test.home.clone()));
    let before = remembered.files().unwrap();
    // One attempt with the old path finds the new one.
    fs::rename(&active, &archived).unwrap();
    let (_, resolved) = remembered.try_resolve(Arc::clone(&before), thread(2)).unwrap();
    assert_eq!(resolved.unwrap().parts[0].file.path, archived);

    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                // A scan makes at most eight passes. With a move in each of them, what it finds would be chance.
                fs::rename(&archived, &active).unwrap();
                std::thread::sleep(Duration::from_micros(200));
                fs::rename(&active, &archived).unwrap();
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        let _end = EndOnDrop(&is_over);
        for _ in 0..300 {
            let (_, resolved) = remembered.resolve(Arc::clone(&before), thread(2)).unwrap();
            let resolved = resolved.unwrap();
            assert_eq!((resolved.parts.len(), &resolved.missing), (2, &None));
        }
    });
}
