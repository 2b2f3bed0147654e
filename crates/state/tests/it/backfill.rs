//! Filling an index in the background.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use selvedge_rollout::CachedHome;
use selvedge_state::{StateIndex, UpdateReport};

use crate::homes::{Home, rows};

fn cached_home(home: &Home) -> Arc<CachedHome> {
    Arc::new(CachedHome::new(home.home.clone()))
}

async fn fill(home: &Home) -> Option<UpdateReport> {
    StateIndex::fill(cached_home(home), &home.index_path()).await.unwrap()
}

fn lock_path(home: &Home) -> PathBuf {
    home.index_path().with_extension("sqlite.filling")
}

#[tokio::test]
async fn only_one_process_fills_an_index() {
    let home = Home::new();
    home.thread();
    let held = fs::File::options().append(true).create_new(true).open(lock_path(&home)).unwrap();
    held.try_lock().unwrap();
    assert_eq!(fill(&home).await, None);
    assert!(!home.index_path().exists(), "the process that holds the lock creates the index");

    drop(held);
    let report = fill(&home).await.unwrap();
    assert_eq!((report.threads, report.read_whole), (1, 1));
    assert_eq!(rows(&home.index().await).await.len(), 1);
    assert!(!lock_path(&home).exists());
}

#[tokio::test]
async fn the_lock_file_is_removed_even_if_filling_fails() {
    let home = Home::new();
    home.thread();
    fs::create_dir(home.index_path()).unwrap();
    StateIndex::fill(cached_home(&home), &home.index_path()).await.unwrap_err();
    assert!(!lock_path(&home).exists());
}
