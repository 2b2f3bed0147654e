//! Names of rollout files.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use selvedge_protocol::{SegmentId, ThreadId, Timestamp};

/// The name of a rollout file: `rollout-<local time>-<thread id>[_<segment id>].jsonl[.zst]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RolloutFileName {
    /// The time at which the segment was created, in the local time of its writer.
    pub created: DateTime,
    /// The thread.
    pub thread_id: ThreadId,
    /// The id of the segment. `None` for the first segment of a thread, which has the id of the thread.
    pub later_segment: Option<SegmentId>,
    /// Whether the file is compressed (one zstd frame).
    pub compressed: bool,
}

impl RolloutFileName {
    /// Returns the name of a segment that is created at `at`.
    #[must_use]
    pub fn new(at: Timestamp, thread_id: ThreadId, later_segment: Option<SegmentId>) -> Self {
        let utc = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
        let created = TimeZone::system().to_datetime(utc);
        Self { created, thread_id, later_segment, compressed: false }
    }

    /// Returns the time in the name, read as if it were UTC. It is wrong by the UTC offset of its writer.
    #[must_use]
    pub fn created_utc(&self) -> Timestamp {
        let utc = self.created.to_zoned(TimeZone::UTC);
        utc.map_or_else(|_| Timestamp::default(), |utc| Timestamp::from_millis(utc.timestamp().as_millisecond()))
    }

    /// Parses a file name. `None` if it is not the name of a rollout file.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // From the outside to the inside: `rollout-` … `.jsonl[.zst]`, then the time of fixed length, then one or two ids.
        let rest = text.strip_prefix("rollout-")?;
        let (rest, compressed) = match rest.strip_suffix(".zst") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let rest = rest.strip_suffix(".jsonl")?;
        let (created, ids) = rest.split_at_checked("YYYY-MM-DDTHH-MM-SS".len())?;
        let ids = ids.strip_prefix('-')?;
        let (thread_id, later_segment) = match ids.split_once('_') {
            Some((thread_id, segment_id)) => (thread_id, Some(canonical_id(segment_id)?.parse().ok()?)),
            None => (ids, None),
        };
        let created = parse_time(created)?;
        Some(Self { created, thread_id: canonical_id(thread_id)?.parse().ok()?, later_segment, compressed })
    }

    /// Returns the id of the segment.
    #[must_use]
    pub fn segment_id(&self) -> SegmentId {
        self.later_segment.unwrap_or_else(|| self.thread_id.into())
    }

    /// Returns the name of the plain file of the same segment.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self { compressed: false, ..self.clone() }
    }

    /// Returns a key that orders the segments of one thread by age, the oldest first.
    pub(crate) fn age_key(&self) -> (bool, Option<Timestamp>, DateTime, SegmentId) {
        // The first segment comes first in any case. After it, the time in a UUIDv7 is more reliable than the local time in the
        // name, which jumps with daylight saving time. The id makes the order total.
        let made_at = self.later_segment.and_then(|id| id.made_at());
        (self.later_segment.is_some(), made_at, self.created, self.segment_id())
    }
}

/// Returns the id if it is spelled as this crate writes ids. A UUID has other spellings, but a file with one of those would not
/// be found by the name that is computed for its id.
fn canonical_id(id: &str) -> Option<&str> {
    (id.len() == 36 && !id.bytes().any(|byte| byte.is_ascii_uppercase())).then_some(id)
}

/// Parses a time of the form `YYYY-MM-DDTHH-MM-SS`. Written by hand for speed: a scan parses thousands of names.
fn parse_time(text: &str) -> Option<DateTime> {
    let bytes = text.as_bytes();
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b'-'), (16, b'-')];
    if !separators.iter().all(|(at, byte)| bytes.get(*at) == Some(byte)) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        let digits = bytes.get(range)?;
        let is_number = digits.iter().all(u8::is_ascii_digit);
        is_number.then(|| digits.iter().fold(0_i16, |number, digit| number * 10 + i16::from(digit - b'0')))
    };
    let part = |start: usize| i8::try_from(number(start..start + 2)?).ok();
    DateTime::new(number(0..4)?, part(5)?, part(8)?, part(11)?, part(14)?, part(17)?, 0).ok()
}

impl fmt::Display for RolloutFileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rollout-{}-{}", self.created.strftime("%Y-%m-%dT%H-%M-%S"), self.thread_id)?;
        if let Some(segment) = self.later_segment {
            write!(f, "_{segment}")?;
        }
        f.write_str(if self.compressed { ".jsonl.zst" } else { ".jsonl" })
    }
}
