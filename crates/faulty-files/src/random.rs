//! Pseudo-random numbers that are the same in every run, so that a failed test can be repeated from its seed.

/// A generator of pseudo-random numbers (SplitMix64). The same seed yields the same numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Creates the generator for a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    fn number(&mut self) -> u64 {
        // The state counts up by the golden ratio; the rest mixes its bits. See https://prng.di.unimi.it/splitmix64.c.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number from 0 to `max`, both included.
    pub(crate) fn up_to(&mut self, max: usize) -> usize {
        // The remainder prefers small numbers a little. For tests that does not matter.
        let count = max as u64 + 1;
        usize::try_from(self.number() % count).unwrap_or(max)
    }
}
