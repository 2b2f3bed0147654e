//! Heads that were copied into a detached segment.

use selvedge_protocol::{RolloutItem, RolloutLine};

const HEAD: &str = r#"{"timestamp":"2026-11-21T09:08:56.680Z","ordinal":29,"type":"session_meta","payload":{"id":"01a1fd5d-aacb-7641-837d-630af077ebd5","x":"\"session_meta\""}}"#;

#[test]
fn a_copied_head_has_the_same_content_under_another_kind() {
    let line = RolloutLine::parse(HEAD).unwrap();
    let text = line.as_copied_head();
    assert_eq!(text, HEAD.replacen("session_meta", "copied_session_meta", 1));
    let copied = RolloutLine::parse(&text).unwrap();
    assert_eq!((copied.text(), copied.kind()), (text.as_str(), "session_meta"));
    assert_eq!((copied.ordinal(), copied.timestamp(), copied.payload()), (Some(29), line.timestamp(), line.payload()));
    assert!(matches!(copied.item(), RolloutItem::SessionMeta(_)));
    assert_eq!(copied.item(), line.item());
    assert_eq!(copied.as_copied_head(), text, "a copied head can be copied again");
}

#[test]
fn the_kind_of_a_copied_head_can_be_behind_the_payload() {
    let text = r#"{"payload":{"x":"session_meta"},"ordinal":1, "type" : "session_meta"}"#;
    let copied = RolloutLine::parse(text).unwrap().as_copied_head();
    assert_eq!(copied, r#"{"payload":{"x":"session_meta"},"ordinal":1, "type" : "copied_session_meta"}"#);
}
