//! Fuzz target `replay`; what it does is in `selvedge_fuzz::replay_items`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::replay_items(bytes));
