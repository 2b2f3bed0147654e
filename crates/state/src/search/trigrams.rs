//! A filter that finds out whether a word of a block can contain a text.
//!
//! It is a Bloom filter with one hash function over trigrams, which are three consecutive bytes of a word. A word can contain
//! `loom` only if the bits of `loo` and `oom` are set. The filter has false positives, for which a
//! block is loaded in vain. It has no false negatives.
//!
//! ```text
//! trigram b0 b1 b2 ──▶ b0 << 16 | b1 << 8 | b2 ──▶ × 0x9e3779b1 (mod 2³²) ──▶ the upper 12 bits: one of 4096 bits
//! ```

/// The bits of a [`TrigramFilter`]: 512 bytes for a block of some 10 KiB.
pub(crate) const FILTER_BITS: u32 = 4096;

/// A block ends when this number of bits of its filter is set. With more, a text of two trigrams would match by chance too often.
const FULL_FILTER: u32 = FILTER_BITS * 2 / 5;

/// The trigrams of the words of a block. Several trigrams share a bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrigramFilter(pub(crate) Vec<u64>);

impl Default for TrigramFilter {
    fn default() -> Self {
        Self(vec![0; FILTER_BITS as usize / 64])
    }
}

impl TrigramFilter {
    pub(crate) fn add(&mut self, word: &[u8]) {
        for trigram in word.windows(3) {
            let bit = bit_of(trigram);
            self.0[bit / 64] |= 1 << (bit % 64);
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.iter().map(|bits| bits.count_ones()).sum::<u32>() >= FULL_FILTER
    }

    /// Returns whether a word of the block may contain this text. Always true for a text without a trigram.
    pub(crate) fn may_contain(&self, text: &[u8]) -> bool {
        text.windows(3).map(bit_of).all(|bit| self.0[bit / 64] & 1 << (bit % 64) != 0)
    }
}

/// Returns the bit of a trigram. A multiplicative hash: neighbours spread over all bits, and only the upper bits are well mixed.
fn bit_of(trigram: &[u8]) -> usize {
    let number = trigram.iter().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    (number.wrapping_mul(0x9e37_79b1) >> (32 - FILTER_BITS.ilog2())) as usize
}
