//! Parsers for values of options: times, ages and names.

use std::time::Duration;

use selvedge_protocol::Timestamp;

use crate::clock::now;

/// Parses a time, a date (which means its first moment in UTC) or an age.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    // No text fits two of the formats: an age ends with its unit, a time with `Z` or an offset, and a date with a
    // digit.
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    if let Ok(at) = format!("{text}T00:00:00Z").parse() {
        return Ok(at);
    }
    let age = parse_age(text)
        .ok_or("neither a time (2026-11-21T09:00:00Z), a date (2026-11-21) nor an age (90m, 12h, 3d, 2w)")?;
    Ok(ago(age))
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
