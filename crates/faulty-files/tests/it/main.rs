//! Tests of the faulty files: they behave like real files, and know what is durable.

#![expect(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

mod power;
