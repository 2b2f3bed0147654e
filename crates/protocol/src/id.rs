//! Ids: which thread, which file of it, which window.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// A text that is no id of the wanted kind.
#[derive(Clone, Debug, thiserror::Error)]
#[error("not a {kind}: {text:?}")]
pub struct IdError {
    /// What was wanted, such as `thread id`.
    pub kind: &'static str,
    /// What was given.
    pub text: String,
}

fn new_v7(at: Timestamp) -> Uuid {
    let seconds = u64::try_from(at.as_seconds()).unwrap_or(0);
    let nanos = u32::try_from(at.as_millis().rem_euclid(1000)).unwrap_or(0) * 1_000_000;
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos))
}

fn v7_time(uuid: Uuid) -> Option<Timestamp> {
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
            /// A fresh id: a UUIDv7 whose time part is `at`.
            #[must_use]
            pub fn new(at: Timestamp) -> Self {
                Self(new_v7(at))
            }

            /// The id that is this UUID.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID that this id is.
            #[must_use]
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }

            /// When the id was made, for a UUIDv7; nothing for any other UUID.
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
    /// Names a thread. A UUIDv7 when made here, any UUID when read: programs before 2025-11 made version 4.
    ThreadId, "thread id"
}
uuid_id! {
    /// Names a tree of sub-agent threads by its root thread. A thread without parents is its own session.
    SessionId, "session id"
}
uuid_id! {
    /// Names one file of a thread. The first segment has its thread's id, later ones have ids of their own.
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

/// Names a context window: the stretch of a thread from one compaction to the next. Always a UUIDv7; any other UUID in a
/// file counts as no id at all, as programs that wrote such ids did not mean a window by them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct WindowId(Uuid);

impl WindowId {
    /// A fresh id whose time part is `at`.
    #[must_use]
    pub fn new(at: Timestamp) -> Self {
        Self(new_v7(at))
    }

    /// The UUID that this id is.
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
            /// The id as text.
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
    /// Names a turn within its thread. The UUID that the log gives it, or `turn-N` (counted from 1) for the turns of
    /// files that give none.
    TurnId
}
text_id! {
    /// Names an item within its thread: the id that the log gives it, or `item-N` (counted from 1) where it gives none.
    ItemId
}
