//! Ids of threads, segments, sessions, context windows, turns and items.
//!
//! Each kind of id is a type of its own, so that the compiler refuses a segment id where a thread id is expected. Ids
//! of threads, segments, sessions and windows are UUIDs; new ones are UUIDv7, which sort by the time of their creation.
//! Ids of turns and items are texts, because programs of different age spell them differently.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// The text is not an id of the expected kind.
#[derive(Clone, Debug, thiserror::Error)]
#[error("not a {kind}: {text:?}")]
#[non_exhaustive]
pub struct IdError {
    /// The expected kind, such as `thread id`.
    pub kind: &'static str,
    /// The text that was parsed.
    pub text: String,
}

/// Creates a UUIDv7 with the time `at` and random other bits.
fn new_v7(at: Timestamp) -> Uuid {
    // `rem_euclid` keeps the milliseconds of a time before 1970 in the range 0 to 999. Its seconds become 0, because a
    // UUIDv7 has no negative times. No such time is expected; it just must not panic.
    let seconds = u64::try_from(at.as_seconds()).unwrap_or(0);
    let nanos = u32::try_from(at.as_millis().rem_euclid(1000)).unwrap_or(0) * 1_000_000;
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos))
}

/// Returns the time part of a UUIDv7. `None` for any other version.
fn v7_time(uuid: Uuid) -> Option<Timestamp> {
    // Versions 1 and 6 contain a time as well. No program is known to write them, so they count as ids without a time.
    if uuid.get_version_num() != 7 {
        return None;
    }
    let (seconds, nanos) = uuid.get_timestamp()?.to_unix();
    let millis = i64::try_from(seconds).ok()?.checked_mul(1000)?;
    Some(Timestamp::from_millis(millis + i64::from(nanos / 1_000_000)))
}

macro_rules! uuid_id {
    ($(#[$meta:meta])* $name:ident, $kind:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Creates a new id: a UUIDv7 whose time part is `at`, the current time.
            #[must_use]
            pub fn new(at: Timestamp) -> Self {
                Self(new_v7(at))
            }

            /// Creates an id from its UUID.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Returns the UUID of the id.
            #[must_use]
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }

            /// Returns the time at which the id was created, which a UUIDv7 contains. `None` for any other UUID.
            #[must_use]
            pub fn made_at(&self) -> Option<Timestamp> {
                v7_time(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text)
                    .map(Self)
                    .map_err(|_| IdError { kind: $kind, text: text.to_owned() })
            }
        }
    };
}

uuid_id! {
    /// Identifies a thread.
    ///
    /// A new id is a UUIDv7. Any UUID is accepted when it is read, because programs before November 2025 created
    /// version 4.
    ThreadId, "thread id"
}
uuid_id! {
    /// Identifies a tree of sub-agent threads, by the id of its root thread.
    ///
    /// A thread that no other thread started is a session of its own.
    SessionId, "session id"
}
uuid_id! {
    /// Identifies a segment: one file of a thread, or the equivalent in a store without files.
    ///
    /// The first segment of a thread has the id of the thread. Each later segment, such as a revert creates, has an id
    /// of its own.
    SegmentId, "segment id"
}

impl From<ThreadId> for SessionId {
    fn from(id: ThreadId) -> Self {
        Self(id.0)
    }
}

impl From<ThreadId> for SegmentId {
    fn from(id: ThreadId) -> Self {
        Self(id.0)
    }
}

/// Identifies a context window: the part of a thread from one compaction to the next.
///
/// It is always a UUIDv7. Any other UUID in a file counts as a missing id, because the programs that wrote such ids did
/// not identify a window by them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct WindowId(Uuid);

impl WindowId {
    /// Creates a new id whose time part is `at`, the current time.
    #[must_use]
    pub fn new(at: Timestamp) -> Self {
        Self(new_v7(at))
    }

    /// Returns the UUID of the id.
    #[must_use]
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl fmt::Display for WindowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for WindowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowId({})", self.0)
    }
}

impl FromStr for WindowId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Uuid::parse_str(text) {
            Ok(uuid) if uuid.get_version_num() == 7 => Ok(Self(uuid)),
            _ => Err(IdError { kind: "window id (UUIDv7)", text: text.to_owned() }),
        }
    }
}

impl<'de> Deserialize<'de> for WindowId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Returns the id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

text_id! {
    /// Identifies a turn in its thread: the UUID that the log contains, or the synthetic id `turn-N` if the log has
    /// none. `N` is the number of the turn, counted from 1.
    ///
    /// A log can contain several turns with the same id.
    TurnId
}

impl TurnId {
    /// Returns the time at which the turn began, if the id is a UUIDv7. `None` for any other id.
    #[must_use]
    pub fn made_at(&self) -> Option<Timestamp> {
        v7_time(Uuid::parse_str(&self.0).ok()?)
    }
}

text_id! {
    /// Identifies an item in its thread: the id that the log contains, or the synthetic id `item-N` if the log has
    /// none. `N` is counted from 1.
    ItemId
}
