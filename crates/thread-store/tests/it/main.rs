//! Tests of the helpers for authors of stores, through the public API. The rules of the contract, and the store in
//! memory, are tested in `selvedge-thread-store-conformance`.

mod paging;
