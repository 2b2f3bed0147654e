//! Parsers for values of options: times, ages and names.

use std::time::Duration;

use jiff::civil::Time;
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use selvedge_protocol::Timestamp;

use crate::clock::now;

/// Parses a time, a day (which means its first moment) or an age. Days, and times without an offset, are local.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    // No text fits two of the formats: an age ends with its unit, a time with an offset with `Z` or that offset, and
    // anything else is local.
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    if let Some(at) = parse_local(text) {
        return Ok(at);
    }
    let age = parse_age(text).ok_or(
        "neither a local time (2026-11-21T09:00), a local day (2026-11-21), a time with an offset \
        (2026-11-21T09:00:00Z) nor an age (90m, 12h, 3d, 2w)",
    )?;
    Ok(ago(age))
}

/// Parses a day or a time without an offset, in the time zone of the system or of `TZ`.
fn parse_local(text: &str) -> Option<Timestamp> {
    let pieces = Pieces::parse(text).ok()?;
    // A time with an offset that was not accepted before is out of range. It must not be taken for a local one.
    if pieces.offset().is_some() || pieces.time_zone_annotation().is_some() {
        return None;
    }
    let local = pieces.date().to_datetime(pieces.time().unwrap_or_else(Time::midnight));
    // When clocks are set forward, a time that they skip is as much later as they skip; so a day without a midnight begins
    // with its first moment. When they are set back, the first of two equal times counts.
    let zoned = local.to_zoned(TimeZone::system()).ok()?;
    Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}

/// Parses a number of days, or an age, as the time that long ago.
pub(crate) fn parse_days_or_age(text: &str) -> Result<Timestamp, String> {
    let days = text.parse::<u64>().ok().map(|days| Duration::from_secs(days.saturating_mul(86_400)));
    days.or_else(|| parse_age(text))
        .map(ago)
        .ok_or_else(|| "neither a number of days nor an age (12h, 3d, 2w)".to_owned())
}

/// Parses a name. A name must be one line, because names are printed in tables and stored in a line-based index.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("a name is one line of plain text".to_owned());
    }
    Ok(text.trim().to_owned())
}

fn ago(age: Duration) -> Timestamp {
    let millis = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now().as_millis().saturating_sub(millis))
}

/// Parses a number with a unit: s, m, h, d or w.
fn parse_age(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let count: u64 = text[..text.len() - 1].parse().ok()?;
    Some(Duration::from_secs(count.saturating_mul(seconds)))
}
