//! Fuzz target `texts`; what it does is in `selvedge_fuzz::texts`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::texts(bytes));
