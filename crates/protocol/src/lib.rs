//! Words of a thread: ids, the line envelope, item types, world state, queries and metadata.
