//! Tests of the faulty files: they do what the real ones do, and know what would be on the medium.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod power;
