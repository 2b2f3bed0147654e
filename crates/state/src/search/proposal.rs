//! What the index of words proposes of one thread.

use std::collections::VecDeque;

use selvedge_protocol::ThreadId;

use crate::search::docs::ItemDoc;

/// A thread and its items that may be hits, in the order in which they are to be read. Without items only the name may be a hit.
#[derive(Clone, Debug)]
pub(super) struct ProposedThread {
    pub(super) id: ThreadId,
    pub(super) items: VecDeque<ItemDoc>,
}
