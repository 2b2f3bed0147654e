//! Ids.

use selvedge_protocol::{SegmentId, SessionId, ThreadId, Timestamp, WindowId};

use crate::support::at;

const V7: &str = "01a1fd5d-aacb-7641-837d-630af077ebd5";
const V4: &str = "6c1959de-8bdf-489c-a664-66b58be0c216";

#[test]
fn any_uuid_is_a_thread_id() {
    for text in [V7, V4, "00000000-0000-0000-0000-000000000000"] {
        let id: ThreadId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<ThreadId>(&format!("\"{text}\"")).unwrap(), id);
        assert_eq!((SessionId::from(id).as_uuid(), SegmentId::from(id).as_uuid()), (id.as_uuid(), id.as_uuid()));
        assert_eq!(ThreadId::from_uuid(id.as_uuid()), id);
    }
    for text in ["", "x", &V7[1..], &format!("{V7} ")] {
        let error = text.parse::<ThreadId>().unwrap_err();
        assert_eq!(error.to_string(), format!("not a thread id: {text:?}"));
    }
    serde_json::from_str::<ThreadId>("7").unwrap_err();
}

#[test]
fn a_new_id_is_a_v7_that_contains_its_time_of_creation() {
    for time in ["2026-11-21T09:08:56.681Z", "1970-01-01T00:00:00.000Z", "9999-12-30T22:00:00.000Z"] {
        let (one, two) = (ThreadId::new(at(time)), ThreadId::new(at(time)));
        assert_ne!(one, two);
        assert_eq!(one.as_uuid().get_version_num(), 7);
        assert_eq!(one.made_at(), Some(at(time)));
    }
    assert_eq!(V7.parse::<ThreadId>().unwrap().made_at(), Some(at("2026-11-21T09:08:56.651Z")));
    assert_eq!(V4.parse::<SegmentId>().unwrap().made_at(), None);
    assert_eq!(ThreadId::new(Timestamp::from_millis(-5)).made_at(), Some(Timestamp::from_millis(995)), "no panic");
}

#[test]
fn later_ids_sort_after_earlier_ones() {
    let early = SegmentId::new(at("2026-11-21T09:08:56.681Z"));
    let late = SegmentId::new(at("2026-11-21T09:08:56.682Z"));
    assert!(early < late && early.to_string() < late.to_string());
}

#[test]
fn only_a_v7_is_a_window_id() {
    assert_eq!(V7.parse::<WindowId>().unwrap().to_string(), V7);
    assert!(V4.parse::<WindowId>().is_err());
    assert!(serde_json::from_str::<WindowId>(&format!("\"{V4}\"")).is_err());
    assert_eq!(serde_json::from_str::<WindowId>(&format!("\"{V7}\"")).unwrap().to_string(), V7);
    assert_eq!(WindowId::new(at("2026-11-21T09:08:56.681Z")).as_uuid().get_version_num(), 7);
}
