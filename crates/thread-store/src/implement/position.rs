//! The content of a [`LinePosition`].

use selvedge_protocol::{SegmentId, ThreadId};

use crate::LinePosition;

/// How many bytes before a position its checksum covers at most.
///
/// A larger window detects more changes in long lines, and costs more bytes to read for each position that is resolved.
pub(super) const WINDOW: u64 = 1024;

/// A position in a segment, in the form in which callers keep it.
///
/// It does not refer to a part of a chain, because a rewind or a detach gives the thread another chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentPosition {
    pub(super) thread_id: ThreadId,
    pub(super) segment_id: SegmentId,
    /// The byte after the entry before the position.
    pub(super) byte: u64,
    /// The ordinal of the line that ends there. `None` if no line ends there or if it has no ordinal. By the ordinal,
    /// the position is found in a segment into which the lines were copied.
    pub(super) ordinal: Option<u64>,
    /// The checksum of the line before the position. It shows whether the bytes are still those that were read.
    pub(super) checksum: u64,
}

impl SegmentPosition {
    /// Returns the opaque form: `l1.<thread>.<segment>.<byte>.<ordinal or ->.<checksum>`. `l1` is the version.
    pub(super) fn encode(&self) -> LinePosition {
        let Self { thread_id, segment_id, byte, ordinal, checksum } = self;
        let (thread_id, segment_id) = (thread_id.as_uuid().simple(), segment_id.as_uuid().simple());
        let ordinal = ordinal.map_or_else(|| "-".to_owned(), |ordinal| ordinal.to_string());
        format!("l1.{thread_id}.{segment_id}.{byte}.{ordinal}.{checksum:x}").into()
    }

    /// Decodes the opaque form. `None` if it is malformed.
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

/// Returns the checksum of the last line of `window`, the bytes before a position: FNV-1a over the part of the line
/// that is in the window.
///
/// It covers one line and not the whole window, so that a repair of an earlier line leaves the positions after it
/// valid.
pub(super) fn checksum(window: &[u8]) -> u64 {
    // Search for the newline before the line, not for the one at its end.
    let before = window.len().saturating_sub(1);
    let start = window[..before].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    // FNV-1a with 64 bits: the offset basis, and the prime. It detects changes. It does not protect against forgery,
    // and need not: a program that can change the log can change everything.
    window[start..]
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_encoding_and_decoding() {
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
    fn the_checksum_covers_the_last_line_only() {
        assert_eq!(checksum(b"one\ntwo\n"), checksum(b"two\n"));
        assert_ne!(checksum(b"two\n"), checksum(b"two"));
        assert_ne!(checksum(b"one\n\n"), checksum(b"one\n"));
    }
}
