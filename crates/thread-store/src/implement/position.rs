//! What a [`LinePosition`] holds.

use selvedge_protocol::{SegmentId, ThreadId};

use crate::LinePosition;

/// How many bytes before a position its checksum is over at most.
pub(super) const WINDOW: u64 = 1024;

/// A place in a segment, in the form in which it is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentPosition {
    pub(super) thread_id: ThreadId,
    pub(super) segment_id: SegmentId,
    /// The byte just past the entry before.
    pub(super) byte: u64,
    /// The ordinal of the line that ends there, if one does and has one: by it the place is found again in a segment that the
    /// lines were copied into.
    pub(super) ordinal: Option<u64>,
    /// Of the line before: whether the bytes are still the ones that were read.
    pub(super) checksum: u64,
}

impl SegmentPosition {
    /// Returns the opaque form: `l1.<thread>.<segment>.<byte>.<ordinal or ->.<checksum>`.
    pub(super) fn encode(&self) -> LinePosition {
        let Self { thread_id, segment_id, byte, ordinal, checksum } = self;
        let (thread_id, segment_id) = (thread_id.as_uuid().simple(), segment_id.as_uuid().simple());
        let ordinal = ordinal.map_or_else(|| "-".to_owned(), |ordinal| ordinal.to_string());
        format!("l1.{thread_id}.{segment_id}.{byte}.{ordinal}.{checksum:x}").into()
    }

    /// Returns what an opaque position means. `None` if it is malformed.
    pub(super) fn decode(position: &LinePosition) -> Option<Self> {
        let parts: Vec<&str> = position.as_str().split('.').collect();
        let ["l1", thread_id, segment_id, byte, ordinal, checksum] = parts[..] else { return None };
        Some(Self {
            thread_id: thread_id.parse().ok()?,
            segment_id: segment_id.parse().ok()?,
            byte: byte.parse().ok()?,
            ordinal: if ordinal == "-" { None } else { Some(ordinal.parse().ok()?) },
            checksum: u64::from_str_radix(checksum, 16).ok()?,
        })
    }
}

/// Returns the checksum of the line that `window`, the last bytes before a place, ends with: FNV-1a over as much of it as
/// is in the window.
pub(super) fn checksum(window: &[u8]) -> u64 {
    // The newline that ends the line does not begin it.
    let before = window.len().saturating_sub(1);
    let start = window[..before].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    window[start..]
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_comes_back() {
        let id = "01a1fd5d-aacb-7641-837d-630af077ebd5";
        for ordinal in [None, Some(0), Some(u64::MAX)] {
            let (thread_id, segment_id) = (id.parse().unwrap(), id.parse().unwrap());
            let position = SegmentPosition { thread_id, segment_id, byte: 17, ordinal, checksum: 0xfe };
            assert_eq!(SegmentPosition::decode(&position.encode()), Some(position));
        }
        for text in ["", "l1", "l1.a.b.0.-.0", "l2.00.00.0.-.0"] {
            assert_eq!(SegmentPosition::decode(&text.to_owned().into()), None);
        }
    }

    #[test]
    fn only_the_last_line_counts() {
        assert_eq!(checksum(b"one\ntwo\n"), checksum(b"two\n"));
        assert_ne!(checksum(b"two\n"), checksum(b"two"));
        assert_ne!(checksum(b"one\n\n"), checksum(b"one\n"));
    }
}
