//! Takes random steps in this store and in the store in memory, and compares every answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use selvedge_thread_store_conformance::{MemoryPlace, compare_stores};
use selvedge_thread_store_postgres::PostgresThreadStore;

use crate::place::{PostgresPlace, new_schema};

#[test]
fn it_answers_like_the_store_in_memory() {
    let schema = new_schema();
    let has_tables = AtomicBool::new(false);
    let sequences = std::env::var("SELVEDGE_COMPARE_SEQUENCES").map_or(24, |count| count.parse().unwrap());
    let new_place = async || {
        let place = PostgresPlace::new(Arc::clone(&schema));
        if !has_tables.swap(true, Ordering::Relaxed) {
            PostgresThreadStore::migrate(&place.options).await.unwrap();
        }
        place
    };
    compare_stores(new_place, async || MemoryPlace::new(), sequences)
        .unwrap_or_else(|difference| panic!("{difference}"));
}
