//! The ThreadStore contract, its requests and errors, and the in-memory reference implementation.
