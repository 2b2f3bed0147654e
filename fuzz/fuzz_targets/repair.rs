//! Fuzz target `repair`; what it does is in `selvedge_fuzz::repair`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::repair(bytes));
