//! Bytes of a thread: layout, recorder and readers of the JSONL log, locks and the name index.
