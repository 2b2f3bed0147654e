//! The docs of a thread in a run: which item each of them is.
//!
//! ```text
//! for each doc, ascending by turn:
//!   turn      varint, as the difference to the turn of the doc before
//!   item      varint
//!   words     varint
//! ```

use selvedge_history::varint;
use selvedge_protocol::ItemPosition;

/// An item that was indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ItemDoc {
    /// The index of its turn in the thread.
    pub(crate) turn: u64,
    /// The index of the item in the turn.
    pub(crate) item: u64,
    /// How many of its words were indexed.
    pub(crate) words: u64,
}

impl ItemDoc {
    /// Returns the packed position of the item in the thread.
    pub(crate) fn position(&self) -> u64 {
        ItemPosition { turn: self.turn, item: self.item }.position()
    }
}

/// Packs the docs of a thread, which are sorted by turn.
pub(crate) fn pack_docs(docs: &[ItemDoc]) -> Vec<u8> {
    // Most items take 4 bytes: the difference and the item are small, the number of words takes one or two.
    let mut bytes = Vec::with_capacity(docs.len() * 4);
    let mut turn = 0;
    for doc in docs {
        varint::put(&mut bytes, doc.turn.saturating_sub(turn));
        varint::put(&mut bytes, doc.item);
        varint::put(&mut bytes, doc.words);
        turn = doc.turn;
    }
    bytes
}

/// Unpacks the docs of [`pack_docs`], in their order. Ends at the first bytes that are no docs.
pub(crate) fn unpack_docs(mut bytes: &[u8]) -> impl Iterator<Item = ItemDoc> {
    let mut turn = 0;
    std::iter::from_fn(move || {
        turn += varint::take(&mut bytes)?;
        Some(ItemDoc { turn, item: varint::take(&mut bytes)?, words: varint::take(&mut bytes)? })
    })
}
