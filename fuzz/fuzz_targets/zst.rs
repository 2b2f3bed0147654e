//! Fuzz target `zst`; what it does is in `selvedge_fuzz::zst`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::zst(bytes));
