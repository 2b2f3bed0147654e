//! Tests of what stores share, by the public door. The contract's rules and the store in memory are checked in
//! `selvedge-thread-store-conformance`.

mod paging;
