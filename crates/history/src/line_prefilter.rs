//! Recognizes lines that need not be parsed, by the first bytes of their envelopes.
//!
//! Many bytes of a log are in lines that do not change the metadata of a thread, or do not show in its turns. A reader of one or the
//! other skips them before the JSON is parsed. The answer is a hint: lines with an unusual spelling are parsed.

/// Kinds of lines without metadata.
const KINDS_WITHOUT_METADATA: [&[u8]; 4] =
    [b"token_usage_record\"", b"compacted\"", b"world_state\"", b"dynamic_tools_updated\""];

/// Kinds of lines that are no activity of a thread.
const KINDS_WITHOUT_ACTIVITY: [&[u8]; 4] =
    [b"compacted\"", b"world_state\"", b"dynamic_tools_updated\"", b"thread_metadata\""];

/// How many bytes of a line are searched for its kind. Time and ordinal come before it and are shorter.
const MAX_BYTES_TO_KIND: usize = 96;

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
    let Some(rest) = line.strip_prefix(TIME) else { return false };
    let Some(time_end) = rest.iter().take(MAX_TIME_BYTES).position(|byte| *byte == b'"') else { return false };
    let Some(rest) = rest[time_end + 1..].strip_prefix(b",") else { return false };
    // After the time, only an ordinal may come before the type.
    let rest = match rest.strip_prefix(b"\"ordinal\":") {
        Some(number) => {
            let digits = number.iter().take_while(|byte| byte.is_ascii_digit()).count();
            number[digits..].strip_prefix(b",").unwrap_or_default()
        }
        None => rest,
    };
    rest.strip_prefix(TYPE).is_some_and(|kind| KINDS_NEVER_SHOWN.iter().any(|known| kind.starts_with(known)))
}
