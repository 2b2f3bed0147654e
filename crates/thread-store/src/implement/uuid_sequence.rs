//! Unique ids that cost less than random ones.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// The bits of a UUIDv7 that count: the low 61 of the 62 random bits at its end.
///
/// ```text
/// bits 127..80   the time at which the sequence was created, in milliseconds
/// bits  79..76   the version of the UUID
/// bits  75..64   random
/// bits  63..62   the variant of the UUID
/// bit       61   random
/// bits  60..0    a random start plus the number of the id, modulo 2^61
/// ```
const NUMBER_BITS: u64 = (1 << 61) - 1;

/// Unique ids that count up from a random UUIDv7.
///
/// Only the first id needs random bytes. Getting them for each id would cost as much as a small append: it is a call of the system.
#[derive(Debug)]
pub struct UuidSequence {
    first: u128,
    count: AtomicU64,
}

impl Default for UuidSequence {
    fn default() -> Self {
        Self::new()
    }
}

impl UuidSequence {
    /// Creates a sequence that begins at a random UUIDv7 of this moment.
    #[must_use]
    pub fn new() -> Self {
        Self { first: Uuid::now_v7().as_u128(), count: AtomicU64::new(0) }
    }

    /// Returns the next id.
    pub fn next(&self) -> Uuid {
        // Relaxed is enough: each number must be unique, and no other memory depends on it.
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let number = (self.first as u64 & NUMBER_BITS).wrapping_add(count) & NUMBER_BITS;
        Uuid::from_u128(self.first & !u128::from(NUMBER_BITS) | u128::from(number))
    }
}
