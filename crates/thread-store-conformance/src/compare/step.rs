//! What a step of a comparison is.

/// The limit for the length of a sequence.
///
/// Longer sequences reach rarer states, but each step makes a comparison slower: both stores are read in full after each change.
pub(super) const MAX_STEPS: usize = 40;

/// How many threads the steps use. A small number makes steps meet in one thread, or in a thread and its fork.
pub(super) const THREADS: u32 = 4;

/// One operation on both stores.
///
/// A thread is referred to by its number. A turn is named after the step that appends it: step 7 appends the turn `t7`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each calls the method of its name")]
pub enum Step {
    Create {
        thread: u32,
        is_paginated: bool,
    },
    Persist {
        thread: u32,
    },
    Resume {
        thread: u32,
    },
    /// Appends a turn, with or without its end. The batch is appended once, or twice with the same id. Then the thread record is
    /// patched with the facts of the items.
    Append {
        thread: u32,
        is_whole: bool,
        is_repeated: bool,
    },
    Flush {
        thread: u32,
    },
    Shutdown {
        thread: u32,
    },
    Discard {
        thread: u32,
    },
    Fork {
        source: u32,
        thread: u32,
        at: RelativeBoundary,
    },
    Revert {
        thread: u32,
        to: RelativeBoundary,
    },
    Archive {
        thread: u32,
    },
    Unarchive {
        thread: u32,
    },
    Rename {
        thread: u32,
        name: Option<u8>,
    },
    SetModel {
        thread: u32,
        model: Option<u8>,
    },
    Delete {
        thread: u32,
    },
    Detach {
        thread: u32,
    },
    List {
        is_descending: bool,
        archived: Option<bool>,
        limit: usize,
    },
    Find {
        name: u8,
    },
    Search {
        step: usize,
    },
    Lines {
        thread: u32,
        is_descending: bool,
        limit: usize,
    },
    Turns {
        thread: u32,
        is_descending: bool,
        limit: usize,
    },
    Items {
        thread: u32,
        is_descending: bool,
        limit: usize,
    },
    Export {
        thread: u32,
    },
    Changes,
    /// The host dies, and a new one is opened.
    Reopen,
}

/// A boundary between two turns, relative to the end of the thread. The newest turn is 0. The number can be too large: then the
/// boundary refers to a turn that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as `TurnBoundary`")]
pub enum RelativeBoundary {
    Latest,
    After(usize),
    Before(usize),
    BeforeNewest(u64),
}
