//! Points in time with a resolution of milliseconds, in the spelling of the log.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time, in milliseconds since 1970-01-01T00:00:00Z.
///
/// It is written as RFC 3339 in UTC with exactly three decimals. It is read with any offset and any number of decimals;
/// further decimals are cut off.
///
/// ```
/// use selvedge_protocol::Timestamp;
///
/// let at: Timestamp = "2026-11-21T10:57:47.0549+02:00".parse()?;
/// assert_eq!(at.to_string(), "2026-11-21T08:57:47.054Z");
/// # Ok::<(), selvedge_protocol::TimestampError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text is not an RFC 3339 time.
#[derive(Clone, Debug, thiserror::Error)]
#[error("not an RFC 3339 time: {text:?}")]
#[non_exhaustive]
pub struct TimestampError {
    /// The text that was parsed.
    pub text: String,
}

/// 9999-12-30T22:00:00.000Z: the last second that is in the year 9999 in every time zone, and the last one that `jiff`
/// accepts.
const MAX_MILLIS: i64 = 253_402_207_200_000;
/// 0000-01-01T00:00:00.000Z: the first millisecond that RFC 3339 can express.
const MIN_MILLIS: i64 = -62_167_219_200_000;

impl Timestamp {
    /// Creates the time `millis` milliseconds after 1970-01-01T00:00:00Z. A time outside of the years 0 to 9999 becomes
    /// the nearest time within them, so that every timestamp can be written.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        if millis > MAX_MILLIS {
            Self(MAX_MILLIS)
        } else if millis < MIN_MILLIS {
            Self(MIN_MILLIS)
        } else {
            Self(millis)
        }
    }

    /// Creates the time `seconds` seconds after 1970-01-01T00:00:00Z, with the limits of [`Self::from_millis`].
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// Returns the milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns the whole seconds since 1970-01-01T00:00:00Z, rounded down (also before 1970).
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Returns the time `duration` later, or the last possible time.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// Returns the duration from `earlier` to this time. Zero if `earlier` is later.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    fn to_jiff(self) -> jiff::Timestamp {
        // The limits of `from_millis` are within those of jiff, so this cannot fail.
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self::from_millis(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)),
            Err(before) => {
                // The difference to 1970 is positive here. It saturates, so the negation cannot overflow.
                let millis = i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX);
                Self::from_millis(-millis)
            }
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.to_jiff())
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse::<jiff::Timestamp>()
            .map(|time| {
                // Cutting decimals off means rounding down, also before 1970, where a division would round up.
                let millis = time.as_nanosecond().div_euclid(1_000_000);
                Self::from_millis(i64::try_from(millis).unwrap_or_default())
            })
            .map_err(|_| TimestampError { text: text.to_owned() })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
