//! Times for people.

use jiff::tz::TimeZone;
use selvedge_protocol::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const TWO_DAYS: i64 = 2 * DAY;
const MONTH: i64 = 30 * DAY;
/// The clocks of two machines differ. An age down to this is taken for now, although it lies in the future.
const CLOCK_SKEW: i64 = -MINUTE;

/// Returns how long ago `at` was, or its date if it is a month or more ago, or in the future.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    // `div_euclid` rounds down for the future, too: half a second ahead is -1, which is still within the skew.
    let seconds = (now.as_millis() - at.as_millis()).div_euclid(1000);
    match seconds {
        CLOCK_SKEW..MINUTE => "just now".to_owned(),
        MINUTE..HOUR => format!("{} min ago", seconds / MINUTE),
        HOUR..DAY => format!("{} h ago", seconds / HOUR),
        DAY..TWO_DAYS => "1 day ago".to_owned(),
        TWO_DAYS..MONTH => format!("{} days ago", seconds / DAY),
        _ => format(at, "%Y-%m-%d"),
    }
}

/// Returns the date and the time of day, in the time zone of the reader.
pub(crate) fn date_time(at: Timestamp) -> String {
    format(at, "%Y-%m-%d %H:%M:%S")
}

fn format(at: Timestamp, pattern: &str) -> String {
    match jiff::Timestamp::from_millisecond(at.as_millis()) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime(pattern).to_string(),
        Err(_) => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_rounded_down_to_its_largest_unit() {
        let now = Timestamp::from_seconds(1_000_000_000);
        let before = |seconds: i64| ago(Timestamp::from_seconds(1_000_000_000 - seconds), now);
        assert_eq!(before(-5), "just now");
        assert_eq!(before(59), "just now");
        assert_eq!(before(60), "1 min ago");
        assert_eq!(before(2 * HOUR), "2 h ago");
        assert_eq!(before(DAY), "1 day ago");
        assert_eq!(before(29 * DAY), "29 days ago");
        assert!(before(40 * DAY).starts_with("2001-0"));
        assert!(before(-DAY).starts_with("2001-09-1"));
    }
}
