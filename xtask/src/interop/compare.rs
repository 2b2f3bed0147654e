//! What counts as the same: turns by id, status and items; model input by what the model gets.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::codex::app_server::AppServer;

/// The parts of a turn in which two programs must agree.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct TurnShape {
    pub(super) id: String,
    status: String,
    items: Vec<ItemShape>,
}

/// The type of an item, and its text if it has one.
#[derive(Clone, PartialEq, Eq)]
struct ItemShape {
    kind: String,
    text: Option<String>,
}

impl TurnShape {
    /// Returns whether the turn is complete and has a user message with exactly this text and an answer.
    pub(super) fn is_answered(&self, question: &str) -> bool {
        let asked = |item: &ItemShape| item.kind == "userMessage" && item.text.as_deref() == Some(question);
        self.status == "completed"
            && self.items.iter().any(asked)
            && self.items.iter().any(|item| item.kind == "agentMessage")
    }
}

/// Returns the turns without ids, for a release that makes its own turn ids.
pub(super) fn without_ids(turns: &[TurnShape]) -> Vec<TurnShape> {
    turns.iter().map(|turn| TurnShape { id: String::new(), ..turn.clone() }).collect()
}

/// Returns the turns without compactions, for a release that does not show compactions.
pub(super) fn without_compactions(turns: &[TurnShape]) -> Vec<TurnShape> {
    let mut turns = turns.to_vec();
    turns.iter_mut().for_each(|turn| turn.items.retain(|item| item.kind != "contextCompaction"));
    turns.retain(|turn| !turn.items.is_empty());
    turns
}

impl fmt::Display for TurnShape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items: Vec<String> = self.items.iter().map(ItemShape::to_string).collect();
        write!(out, "{} {} [{}]", self.id, self.status, items.join(", "))
    }
}

impl fmt::Display for ItemShape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => write!(out, "{} {:?}", self.kind, cut(text, 40)),
            None => out.write_str(&self.kind),
        }
    }
}

/// Returns all turns of a thread as Codex shows them.
pub(super) fn turns_of(server: &mut AppServer, thread: &str) -> Result<Vec<TurnShape>> {
    turn_shapes(&server.turns(thread)?)
}

/// Converts turn objects, `{id, status, items: [{type, …}]}`, as either program prints them, without what Codex never shows.
pub(super) fn turn_shapes(turns: &[Value]) -> Result<Vec<TurnShape>> {
    turns.iter().filter(|turn| !only_from_model(turn)).map(turn_shape).collect()
}

/// Returns whether an item of a turn has an `origin`: Selvedge took it from the items of the model, because no event tells it. Codex
/// makes turns from events alone and does not show such an item.
fn is_from_model(item: &Value) -> bool {
    !item["origin"].is_null()
}

/// Returns whether a turn consists of items that Codex does not show, and no event started it either.
fn only_from_model(turn: &Value) -> bool {
    let items = turn["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    !items.is_empty() && items.iter().all(is_from_model) && turn["started_at"].is_null()
}

fn turn_shape(turn: &Value) -> Result<TurnShape> {
    let word = |key: &str| turn[key].as_str().with_context(|| format!("a turn without {key}: {turn}"));
    let items = turn["items"].as_array().with_context(|| format!("a turn without items: {turn}"))?;
    let items = items.iter().filter(|item| !is_from_model(item)).map(item_shape).collect();
    Ok(TurnShape { id: word("id")?.to_owned(), status: in_one_word(word("status")?), items })
}

/// Converts an item. Codex prints a user message as a list of parts, Selvedge as one text.
fn item_shape(item: &Value) -> ItemShape {
    let kind = in_one_word(item["type"].as_str().unwrap_or("(no type)"));
    // Codex distinguishes tools of the client and of MCP servers by the kind, Selvedge by the server.
    let kind = if matches!(&*kind, "dynamicToolCall" | "mcpToolCall") { "toolCall".to_owned() } else { kind };
    let text = match (kind.as_str(), item["content"].as_array()) {
        ("userMessage", Some(parts)) => Some(parts.iter().filter_map(|part| part["text"].as_str()).collect()),
        ("userMessage" | "agentMessage", _) => item["text"].as_str().map(str::to_owned),
        _ => None,
    };
    ItemShape { kind, text }
}

/// Converts a name of Selvedge to the spelling of Codex: `user_message` to `userMessage`.
fn in_one_word(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        name + &letters.next().map(|letter| letter.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    })
}

/// Checks that the turns are equal. The error names the first turn that differs.
pub(super) fn same_turns(expected: &[TurnShape], shown: &[TurnShape]) -> Result<()> {
    let side = |turns: &[TurnShape], at: usize| turns.get(at).map_or("nothing".to_owned(), TurnShape::to_string);
    for at in 0..expected.len().max(shown.len()) {
        if expected.get(at) != shown.get(at) {
            bail!("turn {at}: expected {}, shown is {}", side(expected, at), side(shown, at));
        }
    }
    Ok(())
}

/// Returns the items of a model input without ids, bookkeeping and nulls.
pub(super) fn plain_items(items: &[Value]) -> Vec<Value> {
    items.iter().map(plain_item).collect()
}

fn plain_item(item: &Value) -> Value {
    const BOOKKEEPING: [&str; 5] = ["id", "metadata", "internal_chat_message_metadata_passthrough", "phase", "status"];
    let mut item = without_nulls(item);
    if let Value::Object(fields) = &mut item {
        fields.retain(|key, _| !BOOKKEEPING.contains(&key.as_str()));
    }
    item
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// Returns the items of the model input after the history. Fails if the input does not begin with the history.
///
/// A developer item at the beginning repeats the base instructions and is not part of the history.
pub(super) fn after_history(history: &[Value], input: &[Value]) -> Result<Vec<Value>> {
    let history = plain_items(history);
    let input = plain_items(input);
    let base = input.first().is_some_and(|item| item["role"] == "developer") && input.first() != history.first();
    let input = if base { &input[1..] } else { &input[..] };
    for (at, item) in history.iter().enumerate() {
        let heard = input.get(at).with_context(|| format!("the model input ends before item {at}: {}", brief(item)))?;
        ensure!(heard == item, "item {at} of the model input: expected {}, found {}", brief(item), brief(heard));
    }
    Ok(input[history.len()..].to_vec())
}

/// Checks that the model input is the history and then the prompt. Only fragments of the program may be between the two.
pub(super) fn only_history(history: &[Value], input: &[Value], prompt: &str) -> Result<()> {
    let rest = after_history(history, input)?;
    let (last, told) = rest.split_last().context("the model input has no prompt")?;
    ensure!(text_of(last) == prompt, "the model input does not end with the prompt, but with {}", brief(last));
    match told.iter().find(|item| !is_fragment(item)) {
        Some(more) => bail!("after the history the model input has {}", brief(more)),
        None => Ok(()),
    }
}

/// Returns whether the program made this message itself, in the role of the user or of the developer.
pub(super) fn is_fragment(item: &Value) -> bool {
    text_of(item).starts_with(['<', '#'])
}

/// Returns the first text of a message.
pub(super) fn text_of(item: &Value) -> &str {
    item["content"][0]["text"].as_str().unwrap_or_default()
}

/// Returns the beginning of a value as JSON.
pub(super) fn brief(value: &Value) -> String {
    cut(&value.to_string(), 160)
}

fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(role: &str, text: &str) -> Value {
        json!({"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]})
    }

    #[test]
    fn bookkeeping_and_base_instructions_are_not_compared() {
        let mut heard = item("user", "one");
        heard["id"] = json!("msg_1");
        heard["phase"] = Value::Null;
        let input = [item("developer", "base"), heard, item("user", "probe")];
        assert_eq!(after_history(&[item("user", "one")], &input).unwrap(), [item("user", "probe")]);
    }

    #[test]
    fn a_developer_item_at_the_beginning_of_the_history_is_compared() {
        let history = [item("developer", "rules"), item("user", "one")];
        assert_eq!(after_history(&history, &history).unwrap(), [] as [Value; 0]);
    }

    #[test]
    fn the_first_difference_is_named() {
        let error = after_history(&[item("user", "one")], &[item("user", "two")]).unwrap_err().to_string();
        assert!(error.starts_with("item 0") && error.contains("two"), "{error}");
        assert!(after_history(&[item("user", "one")], &[]).is_err());
    }

    #[test]
    fn only_fragments_may_follow_the_history() {
        let history = [item("user", "one")];
        let told =
            [item("user", "one"), item("developer", "<permissions>"), item("user", "# AGENTS"), item("user", "p")];
        assert!(only_history(&history, &told, "p").is_ok());
        let undone = [item("user", "one"), item("user", "undone"), item("user", "p")];
        assert!(only_history(&history, &undone, "p").unwrap_err().to_string().contains("undone"));
        assert!(only_history(&history, &history, "p").is_err());
    }

    #[test]
    fn ids_and_compactions_can_be_ignored() {
        let turn = |id: &str, kind: &str| json!({"id": id, "status": "completed", "items": [{"type": kind}]});
        let ours = turn_shapes(&[turn("a", "plan"), turn("b", "context_compaction")]).unwrap();
        let theirs = turn_shapes(&[turn("turn-1", "plan")]).unwrap();
        assert!(same_turns(&without_ids(&without_compactions(&ours)), &without_ids(&theirs)).is_ok());
        assert!(same_turns(&without_ids(&ours), &without_ids(&theirs)).is_err());
    }

    #[test]
    fn both_spellings_are_the_same_turn() {
        let ours = json!({"id": "t", "status": "in_progress", "items": [{"type": "user_message", "text": "one"}]});
        let parts = json!([{"type": "text", "text": "one"}]);
        let theirs = json!({"id": "t", "status": "inProgress", "items": [{"type": "userMessage", "content": parts}]});
        assert!(same_turns(&turn_shapes(&[ours]).unwrap(), &turn_shapes(&[theirs]).unwrap()).is_ok());
    }

    #[test]
    fn items_that_only_the_model_got_are_not_compared() {
        let call = json!({"type": "tool_call", "origin": "model"});
        let said = json!({"type": "user_message", "text": "one"});
        let turn = |items: &[&Value]| json!({"id": "t", "status": "completed", "items": items});
        let shown = turn_shapes(&[turn(&[&said])]).unwrap();
        assert!(same_turns(&turn_shapes(&[turn(&[&said, &call]), turn(&[&call])]).unwrap(), &shown).is_ok());
        let mut started = turn(&[&call]);
        started["started_at"] = json!(1);
        assert!(same_turns(&turn_shapes(&[started]).unwrap(), &turn_shapes(&[turn(&[])]).unwrap()).is_ok());
    }

    #[test]
    fn turns_differ_by_text_and_by_number() {
        let turn =
            |text: &str| json!({"id": "t", "status": "completed", "items": [{"type": "agentMessage", "text": text}]});
        let one = turn_shapes(&[turn("one")]).unwrap();
        let two = turn_shapes(&[turn("two")]).unwrap();
        assert!(same_turns(&one, &one).is_ok());
        assert!(same_turns(&one, &two).unwrap_err().to_string().contains("turn 0"));
        assert!(same_turns(&one, &[]).unwrap_err().to_string().contains("nothing"));
    }
}
