//! Points in time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use selvedge_protocol::Timestamp;

use crate::support::at;

#[test]
fn a_time_is_written_in_utc_with_three_decimals() {
    assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
    assert_eq!(Timestamp::from_millis(1_795_252_136_680).to_string(), "2026-11-21T09:08:56.680Z");
    assert_eq!(Timestamp::from_seconds(-1).to_string(), "1969-12-31T23:59:59.000Z");
    assert_eq!(serde_json::to_string(&Timestamp::from_millis(7)).unwrap(), "\"1970-01-01T00:00:00.007Z\"");
}

#[test]
fn a_time_is_read_with_any_offset_and_any_decimals() {
    let wanted = at("2026-11-21T09:08:56.680Z");
    for text in [
        "2026-11-21T09:08:56.68Z",
        "2026-11-21T09:08:56.680999999Z",
        "2026-11-21T09:08:56.680000+00:00",
        "2026-11-21T10:38:56.680+01:30",
        "2026-11-20T22:08:56.6800-11:00",
    ] {
        assert_eq!(text.parse::<Timestamp>().unwrap(), wanted, "{text}");
        assert_eq!(serde_json::from_str::<Timestamp>(&format!("\"{text}\"")).unwrap(), wanted);
    }
    assert_eq!(at("2026-11-21T09:08:56Z").as_millis() % 1000, 0);
    assert_eq!(at("1969-12-31T23:59:59.9999Z").as_millis(), -1, "finer decimals are cut off before 1970, too");
    assert_eq!(at("1969-12-31T23:59:59.999Z").as_millis(), -1);
}

#[test]
fn only_an_rfc_3339_time_is_accepted() {
    for text in [
        "",
        "now",
        "2026-11-21",
        "2026-11-21T09:08:56",
        "2026-13-21T09:08:56Z",
        "2026-11-21T09:08:56.680",
        "1795252136",
    ] {
        let error = text.parse::<Timestamp>().unwrap_err();
        assert_eq!(error.to_string(), format!("not an RFC 3339 time: {text:?}"));
        serde_json::from_str::<Timestamp>(&format!("\"{text}\"")).unwrap_err();
    }
    serde_json::from_str::<Timestamp>("7").unwrap_err();
}

#[test]
fn a_time_is_limited_to_the_years_that_can_be_written() {
    let (first, last) = (Timestamp::from_millis(i64::MIN), Timestamp::from_millis(i64::MAX));
    assert_eq!(first.to_string(), "0000-01-01T00:00:00.000Z");
    assert_eq!(last.to_string(), "9999-12-30T22:00:00.000Z");
    assert_eq!(at("9999-12-30T22:00:00.999Z"), last);
    assert_eq!((Timestamp::from_seconds(i64::MIN), Timestamp::from_seconds(i64::MAX)), (first, last));
    assert_eq!(last.saturating_add(Duration::MAX), last);
    assert_eq!(first.saturating_since(last), Duration::ZERO);
    assert_eq!(at(&last.to_string()), last);
    assert_eq!(Timestamp::from(UNIX_EPOCH - Duration::from_secs(1 << 40)), first);
}

#[test]
fn times_are_added_subtracted_and_converted() {
    let time = at("2026-11-21T09:08:56.680Z");
    let later = time.saturating_add(Duration::from_millis(1500));
    assert_eq!(later.to_string(), "2026-11-21T09:08:58.180Z");
    assert_eq!(later.saturating_since(time), Duration::from_millis(1500));
    assert_eq!(time.as_seconds(), 1_795_252_136);
    assert_eq!(Timestamp::from_millis(-1).as_seconds(), -1);
    assert_eq!(Timestamp::from(UNIX_EPOCH + Duration::from_micros(1500)).as_millis(), 1);
    assert_eq!(Timestamp::from(UNIX_EPOCH - Duration::from_millis(5)).as_millis(), -5);
    let now = Timestamp::from(SystemTime::now());
    assert!(now > at("2024-01-01T00:00:00Z"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn times_round_trip(millis in -62_167_219_200_000_i64..=253_402_207_200_000) {
        let time = Timestamp::from_millis(millis);
        let text = time.to_string();
        prop_assert_eq!(text.len(), "2026-11-21T09:08:56.680Z".len());
        prop_assert_eq!(text.parse::<Timestamp>().unwrap(), time);
        prop_assert_eq!(time.as_millis(), millis);
    }
}
