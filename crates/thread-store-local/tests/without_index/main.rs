//! The contract in a build without the feature `index`: the logs answer everything. `cargo xtask ci` builds and runs it.

#![cfg(not(feature = "index"))]
#![expect(clippy::unwrap_used, reason = "a test that cannot continue has failed")]

#[path = "../it/conformance.rs"]
mod conformance;

use selvedge_thread_store_local::IndexLocation;

#[test]
fn a_store_has_no_index_unless_it_is_built_with_one() {
    assert_eq!(IndexLocation::default(), IndexLocation::Disabled);
}
