//! Fuzz target `readers`; what it does is in `selvedge_fuzz::readers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::readers(bytes));
