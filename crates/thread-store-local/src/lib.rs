//! LocalThreadStore: threads in a home directory, log first.
