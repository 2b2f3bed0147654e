//! Fuzz target `line`; what it does is in `selvedge_fuzz::line`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::line(bytes));
