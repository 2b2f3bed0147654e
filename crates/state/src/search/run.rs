//! A run: a piece of the index of words, as it is kept in the database.
//!
//! A run numbers its items from 0; such a number is called a *doc*. The docs of a thread are consecutive. The words are sorted and
//! grouped into *blocks*. A run consists of four kinds of data:
//!
//! | column | content | format |
//! | --- | --- | --- |
//! | `search_runs.directory` | which docs belong to which thread; of each block its first word and its trigrams | [`directory`](super::directory) |
//! | `search_threads.docs` | which item of a thread each doc is | [`docs`](super::docs) |
//! | `search_blocks.words` | the words of a block | [`block`](super::block) |
//! | `search_blocks.postings` | for each word of a block the docs that have it | [`postings`](super::postings) |
//!
//! A search loads the directories once, and keeps them. They determine in which blocks a word can be. Of those blocks it loads the
//! words, and only of blocks with a match the postings.
//!
//! All numbers are [variable-length integers](selvedge_history::varint).

use selvedge_protocol::ThreadId;

use crate::search::block::Block;
use crate::search::docs::ItemDoc;

/// A thread with items in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunThread {
    pub(crate) id: ThreadId,
    /// The doc of its first item.
    pub(crate) first_doc: u32,
    pub(crate) docs: Vec<ItemDoc>,
}

/// A run that is to be written.
#[derive(Debug)]
pub(crate) struct Run {
    /// The number of docs.
    pub(crate) docs: u32,
    pub(crate) threads: Vec<RunThread>,
    pub(crate) blocks: Vec<Block>,
}
