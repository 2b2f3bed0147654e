//! Lock files of writers that have ended while another process held the coordination lock.
//!
//! They mean nothing, since nobody holds them, and the next writer takes them over. They are removed so that they do not pile up.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::coordination::coordinate;
use crate::home::RolloutHome;
use crate::timing::RELEASE_TIMEOUT;

/// The files that the thread of this process is to remove. `None` while there is no such thread.
static UNUSED: Mutex<Option<Vec<(RolloutHome, PathBuf)>>> = Mutex::new(None);

/// Removes a lock file, unless it is locked again by then, as soon as the coordination lock is free. Returns at once.
pub(super) fn remove_later(home: RolloutHome, path: PathBuf) {
    let mut unused = UNUSED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(waiting) = &mut *unused {
        waiting.push((home, path));
    } else if thread::Builder::new().name("selvedge-locks".to_owned()).spawn(remove_all).is_ok() {
        *unused = Some(vec![(home, path)]);
    }
}

fn remove_all() {
    loop {
        let mut unused = UNUSED.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((home, path)) = unused.as_mut().and_then(Vec::pop) else {
            *unused = None;
            return;
        };
        drop(unused);
        match coordinate(&home, RELEASE_TIMEOUT) {
            Ok(_coordination) => home.remove_unless_locked(&path),
            Err(error) => tracing::debug!(path = %path.display(), %error, "a lock file stays"),
        }
    }
}
