//! Fuzz target `world_state`; what it does is in `selvedge_fuzz::world_state`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| selvedge_fuzz::world_state(bytes));
