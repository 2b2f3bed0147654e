//! Recognizes lines that need not be parsed, by the first bytes of their envelopes.
//!
//! Many bytes of a log are in lines that do not change the metadata of a thread, or do not show in its turns. A reader of one or the
//! other skips them before the JSON is parsed. The answer is a hint: lines with an unusual spelling are parsed. Of a long line, the
//! beginning can be enough: where `true` is returned for it, it is for each line that begins so.

/// Kinds of lines without metadata.
const KINDS_WITHOUT_METADATA: [&[u8]; 4] =
    [b"token_usage_record\"", b"compacted\"", b"world_state\"", b"dynamic_tools_updated\""];

/// Kinds of lines that are no activity of a thread.
const KINDS_WITHOUT_ACTIVITY: [&[u8]; 4] =
    [b"compacted\"", b"world_state\"", b"dynamic_tools_updated\"", b"thread_metadata\""];

/// How many bytes of a line are searched for its kind. Time and ordinal come before it and are shorter.
const MAX_BYTES_TO_KIND: usize = 96;

/// The events that change the state of a turn: when it begins and ends, and with which error.
const EVENTS_OF_TURN_STATE: [&[u8]; 6] =
    [b"task_started\"", b"turn_started\"", b"task_complete\"", b"turn_complete\"", b"turn_aborted\"", b"error\""];

/// Maximum length of the text of a timestamp.
const MAX_TIME_BYTES: usize = 40;

const TIME: &[u8] = b"{\"timestamp\":\"";
const TYPE: &[u8] = b"\"type\":\"";

/// Returns whether a line contains no metadata, by the first bytes of its envelope. When in doubt, it may contain some.
///
/// An item of the model can be the first message of the user. [`has_no_later_metadata`] excludes them.
#[must_use]
pub fn has_no_metadata(line: &[u8]) -> bool {
    is_of_kind(line, &KINDS_WITHOUT_METADATA)
}

/// Returns whether a line contains no metadata besides the first message of the user, by the first bytes of its envelope. When in
/// doubt, it may contain some.
#[must_use]
pub fn has_no_later_metadata(line: &[u8]) -> bool {
    is_of_kind(line, &[b"response_item\""]) || has_no_metadata(line)
}

/// Returns whether a line says nothing about turns and tokens ([`ActivityFold`](crate::ActivityFold)), by the first bytes of its
/// envelope. When in doubt, it may say something.
#[must_use]
pub fn has_no_activity(line: &[u8]) -> bool {
    is_of_kind(line, &KINDS_WITHOUT_ACTIVITY)
}

fn is_of_kind(line: &[u8], kinds: &[&[u8]]) -> bool {
    let head = &line[..line.len().min(MAX_BYTES_TO_KIND)];
    // The first `"type"` is that of the envelope, if no payload comes before it: time and ordinal cannot contain one.
    let Some(offset) = memchr::memmem::find(head, TYPE) else { return false };
    let (before, kind) = (&head[..offset], &head[offset + TYPE.len()..]);
    before.starts_with(TIME)
        && memchr::memmem::find(before, b"\"payload\"").is_none()
        && kinds.iter().any(|known| kind.starts_with(known))
}

/// Returns whether a line is never shown to a client, by the first bytes of its envelope. When in doubt, it may be shown.
///
/// A self-contained turn stays the same without these lines, except for the positions of lines.
#[must_use]
pub fn is_never_shown(line: &[u8]) -> bool {
    const KINDS_NEVER_SHOWN: [&[u8]; 3] = [b"turn_context\",", b"world_state\",", b"token_usage_record\","];
    let Some(kind) = kind_and_rest(line) else { return false };
    KINDS_NEVER_SHOWN.iter().any(|known| kind.starts_with(known))
}

/// Returns whether a line says nothing of the state of its turn, by the first bytes of its envelope: when it began and ended, how, and
/// with which error. When in doubt, it may say something.
#[must_use]
pub fn has_no_turn_state(line: &[u8]) -> bool {
    const PAYLOAD: &[u8] = b"event_msg\",\"payload\":{\"type\":\"";
    let Some(kind) = kind_and_rest(line) else { return false };
    match kind.strip_prefix(PAYLOAD) {
        Some(event) => !EVENTS_OF_TURN_STATE.iter().any(|known| event.starts_with(known)),
        // The kind of the event is anywhere in it, if not first. As a value, it is behind a colon.
        None if kind.starts_with(b"event_msg\"") => {
            let is_value = |at: &usize| line[..*at].trim_ascii_end().ends_with(b":");
            let has = |known: &[u8]| {
                let quoted = [b"\"", known].concat();
                memchr::memmem::find_iter(line, &quoted).any(|at| is_value(&at))
            };
            // A letter of the kind can be an escape. And if this is only the beginning of a line, its kind may follow.
            line.ends_with(b"\n")
                && memchr::memmem::find(line, b"\\u").is_none()
                && !EVENTS_OF_TURN_STATE.iter().any(|known| has(known))
        }
        None => true,
    }
}

/// Returns the kind of a line, without its first quotation mark, and what follows it. `None` if the envelope is spelt in an unusual way.
fn kind_and_rest(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(TIME)?;
    let time_end = rest.iter().take(MAX_TIME_BYTES).position(|byte| *byte == b'"')?;
    let rest = rest[time_end + 1..].strip_prefix(b",")?;
    // After the time, only an ordinal may come before the type.
    let rest = match rest.strip_prefix(b"\"ordinal\":") {
        Some(number) => {
            let digits = number.iter().take_while(|byte| byte.is_ascii_digit()).count();
            number[digits..].strip_prefix(b",").unwrap_or_default()
        }
        None => rest,
    };
    rest.strip_prefix(TYPE)
}

#[cfg(test)]
mod tests {
    use super::has_no_turn_state;

    #[test]
    fn only_lines_that_say_nothing_of_the_state_are_passed_over() {
        let line = |kind: &str, payload: &str| {
            format!(r#"{{"timestamp":"2026-11-21T09:08:56.705Z","ordinal":7,"type":"{kind}","payload":{payload}}}"#)
        };
        for kind in ["task_started", "turn_started", "task_complete", "turn_complete", "turn_aborted", "error"] {
            for payload in [format!(r#"{{"type":"{kind}"}}"#), format!(r#"{{"turn_id":"a", "type": "{kind}"}}"#)] {
                assert!(!has_no_turn_state(line("event_msg", &payload).as_bytes()), "{payload}");
            }
        }
        for payload in [r#"{"type":"item_completed","item":{}}"#, r#"{"item":{"error":null},"type":"item_completed"}"#]
        {
            assert!(has_no_turn_state((line("event_msg", payload) + "\n").as_bytes()), "{payload}");
        }
        // The kind may be in what follows the beginning of a line.
        assert!(!has_no_turn_state(line("event_msg", r#"{"item":{"error":null},"#).as_bytes()));
        assert!(has_no_turn_state(line("response_item", r#"{"type":"error"}"#).as_bytes()));
        // In doubt, a line may say something.
        assert!(!has_no_turn_state(br#"{"type":"response_item"}"#));
        assert!(!has_no_turn_state(line("event_msg", r#"{"a":1,"type":"\u0065rror"}"#).as_bytes()));
    }
}
