//! Tests of the ledger against a model that keeps a log of all lines and computes everything again after each line.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use selvedge_protocol::{Compacted, ResponseItem};

use super::RollbackLedger;
use super::message::{CountedMessage, ItemPlace, MessageAuthor, RollbackPoint};
use crate::context_fragments::{is_counted_text, is_program_summary, is_user_fragment, is_user_message};

/// A line that changes the messages.
#[derive(Clone, Debug)]
enum TestLine {
    Item(&'static str),
    AgentMessage(&'static str),
    Event(&'static str),
    /// An event that shows anything other than a message.
    OtherEvent,
    /// A compaction with a replacement history: texts, and whether each is of an agent.
    Compaction(Option<&'static str>, Vec<(&'static str, bool)>),
    /// A compaction without a replacement history: its summary.
    LegacyCompaction(&'static str),
    /// Undoes this number of the newest messages, and this number of the newest compactions with a replacement history.
    Rollback(usize, u64),
}

/// A message of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ModelMessage {
    text: String,
    author: MessageAuthor,
    point: RollbackPoint,
    position: Option<u64>,
}

/// The model: a log of all lines, from which the active messages are computed again each time.
#[derive(Default)]
struct Model {
    messages: Vec<ModelMessage>,
    log: Vec<ModelEntry>,
    undone: HashSet<u64>,
    compactions: u64,
    /// Indexes of the messages that came as an item and have no event yet, since the last line that is not a message.
    without_event: Vec<usize>,
    /// Texts of the messages that came as an event and have no item yet, since the same line.
    without_item: Vec<&'static str>,
}

enum ModelEntry {
    Message(usize),
    Compaction { number: u64, replacement: Vec<(String, bool)>, summary: String, point: RollbackPoint },
    LegacyCompaction { summary: String, point: RollbackPoint },
    Rollback(usize),
}

impl Model {
    fn push(&mut self, text: &str, author: MessageAuthor, point: RollbackPoint, position: u64) {
        self.log.push(ModelEntry::Message(self.messages.len()));
        self.messages.push(ModelMessage { text: text.to_owned(), author, point, position: Some(position) });
    }

    /// The event that waits for an item of this text.
    fn event_of(&self, text: &str) -> Option<usize> {
        let same = self.without_item.iter().position(|event| *event == text);
        let are_equal = self.without_item.windows(2).all(|pair| pair[0] == pair[1]);
        same.or_else(|| {
            self.without_item.iter().position(|event| are_equal && !event.is_empty() && text.contains(event))
        })
    }

    fn apply(&mut self, line: &TestLine, point: RollbackPoint, position: u64) -> Option<RollbackPoint> {
        let is_message = matches!(line, TestLine::Item(_) | TestLine::AgentMessage(_) | TestLine::Event(_));
        if !is_message {
            (self.without_event, self.without_item) = (Vec::new(), Vec::new());
        }
        match line {
            TestLine::OtherEvent => {}
            TestLine::AgentMessage(text) => self.push(text, MessageAuthor::Agent, point, position),
            TestLine::Item(text) if self.event_of(text).is_some() => {
                let event = self.event_of(text).unwrap();
                self.without_item.remove(event);
            }
            TestLine::Item(text) => {
                self.without_event.push(self.messages.len());
                self.push(text, MessageAuthor::User, point, position);
            }
            TestLine::Event(text) if self.without_event.is_empty() => {
                self.without_item.push(text);
                self.push(text, MessageAuthor::User, point, position);
            }
            TestLine::Event(text) => {
                let same = self.without_event.iter().position(|index| self.messages[*index].text == *text);
                let index = self.without_event.remove(same.unwrap_or(0));
                self.messages[index].position = Some(position);
            }
            TestLine::Compaction(summary, replacement) => {
                let replacement =
                    replacement.iter().filter(|(text, is_of_agent)| *is_of_agent || !is_user_fragment(text));
                self.log.push(ModelEntry::Compaction {
                    number: self.compactions,
                    replacement: replacement.map(|(text, is_of_agent)| ((*text).to_owned(), *is_of_agent)).collect(),
                    summary: summary.unwrap_or_default().to_owned(),
                    point,
                });
                self.compactions += 1;
            }
            TestLine::LegacyCompaction(summary) => {
                self.log.push(ModelEntry::LegacyCompaction { summary: (*summary).to_owned(), point });
            }
            TestLine::Rollback(count, newest) => {
                self.undone.extend(self.compactions.saturating_sub(*newest)..self.compactions);
                let (compacted_away, in_context) = self.active();
                let all = [compacted_away, in_context].concat();
                self.log.push(ModelEntry::Rollback(*count));
                return all.iter().rev().take(*count).map(|message| message.point).min();
            }
        }
        None
    }

    /// The messages that a compaction removed from the context, and those in the context.
    fn active(&self) -> (Vec<ModelMessage>, Vec<ModelMessage>) {
        let (mut compacted_away, mut in_context) = (Vec::new(), Vec::new());
        for entry in &self.log {
            match entry {
                ModelEntry::Message(index) => in_context.push(self.messages[*index].clone()),
                ModelEntry::Compaction { number, .. } if self.undone.contains(number) => {}
                ModelEntry::Compaction { replacement, summary, point, .. } => {
                    in_context = compact(&mut compacted_away, in_context, replacement, summary, *point);
                }
                ModelEntry::LegacyCompaction { summary, point } => {
                    let replacement = legacy_replacement(&in_context, summary);
                    in_context = compact(&mut compacted_away, in_context, &replacement, summary, *point);
                }
                ModelEntry::Rollback(count) => {
                    for _ in 0..*count {
                        _ = in_context.pop().or_else(|| compacted_away.pop());
                    }
                }
            }
        }
        (compacted_away, in_context)
    }
}

/// Finds the messages of a replacement history in the context, from the last one to the first. Each is the newest message with
/// its text that is older than the message found before.
fn compact(
    compacted_away: &mut Vec<ModelMessage>,
    in_context: Vec<ModelMessage>,
    replacement: &[(String, bool)],
    summary: &str,
    point: RollbackPoint,
) -> Vec<ModelMessage> {
    let mut before: Vec<Option<ModelMessage>> = in_context.into_iter().map(Some).collect();
    let mut end = before.len();
    let mut kept = Vec::new();
    let mut has_passed_summary = !summary.is_empty() && replacement.iter().any(|(text, _)| text == summary);
    for (text, is_of_agent) in replacement.iter().rev() {
        if is_program_summary(text) && !is_of_agent {
            has_passed_summary = true;
            continue;
        }
        let text = text.clone();
        let found = (0..end).rev().find(|index| before[*index].as_ref().is_some_and(|message| message.text == text));
        if text == summary || (found.is_none() && !has_passed_summary) {
            kept.insert(0, ModelMessage { text, author: MessageAuthor::Summary, point, position: None });
            continue;
        }
        has_passed_summary = true;
        let index = found.or(end.checked_sub(1));
        end = index.unwrap_or(0);
        let known = index.and_then(|index| before[index].take());
        let author = if *is_of_agent { MessageAuthor::Agent } else { MessageAuthor::User };
        let known = known.unwrap_or(ModelMessage { text: String::new(), author, point, position: None });
        kept.insert(0, ModelMessage { text, ..known });
    }
    compacted_away.extend(before.into_iter().flatten().filter(|message| message.author != MessageAuthor::Summary));
    kept
}

/// The user's own messages that a legacy compaction retains, 20,000 tokens of four bytes, and its summary.
fn legacy_replacement(in_context: &[ModelMessage], summary: &str) -> Vec<(String, bool)> {
    let first_line = summary.split_inclusive('\n').next().filter(|line| line.len() > 200 && line.ends_with('\n'));
    let mut replacement = vec![if summary.is_empty() { "(no summary available)" } else { summary }.to_owned()];
    let mut tokens: usize = 20_000;
    for message in in_context.iter().rev().filter(|message| message.author != MessageAuthor::Agent) {
        if tokens == 0 {
            break;
        }
        if first_line.is_none_or(|line| !message.text.starts_with(line)) {
            let truncated = crate::truncation::OutputLimit::Tokens(tokens).truncate(&message.text);
            replacement.insert(0, truncated.map_or_else(|| message.text.clone(), |parts| parts.concat()));
            tokens = tokens.saturating_sub(message.text.len().div_ceil(4));
        }
    }
    replacement.into_iter().filter(|text| !is_user_fragment(text)).map(|text| (text, false)).collect()
}

fn compacted(message: Option<&str>, replacement: Option<&[(&str, bool)]>) -> Compacted {
    let item = |(text, is_of_agent): &(&str, bool)| match is_of_agent {
        true => ResponseItem::agent_message("", "", text),
        false => ResponseItem::user_text(text),
    };
    Compacted {
        message: message.map(str::to_owned),
        replacement_history: replacement.map(|messages| messages.iter().map(item).collect()),
        ..Compacted::default()
    }
}

const PLACE: ItemPlace = ItemPlace { turn: 0, item: 0 };

fn record(ledger: &mut RollbackLedger, line: &TestLine, point: RollbackPoint, position: u64) -> Option<RollbackPoint> {
    match line {
        TestLine::Item(text) => {
            if ledger.pair_item(text).is_none() {
                ledger.record_item((*text).to_owned(), PLACE, point, position);
            }
        }
        TestLine::AgentMessage(text) => ledger.record_agent_message((*text).to_owned(), point, position),
        TestLine::Event(text) => {
            if ledger.pair_event(text, position).is_none() {
                ledger.record_event(text, 0, point, position);
            }
        }
        TestLine::OtherEvent => ledger.commit_pending(),
        TestLine::Compaction(summary, replacement) => ledger.compact(&compacted(*summary, Some(replacement)), point),
        TestLine::LegacyCompaction(summary) => ledger.compact(&compacted(Some(summary), None), point),
        TestLine::Rollback(count, newest) => {
            return ledger.roll_back(*count, ledger.compactions().saturating_sub(*newest));
        }
    }
    None
}

fn active_messages(ledger: &RollbackLedger) -> Vec<ModelMessage> {
    let message = |message: &CountedMessage| {
        let CountedMessage { text, author, point, position } = message;
        ModelMessage { text: (**text).to_owned(), author: *author, point: *point, position: *position }
    };
    ledger.active.messages().chain(ledger.pending.messages()).map(message).collect()
}

/// Two texts that are long enough to be truncated, two summaries that begin with the same long line, and one that the program
/// marked as a summary.
static LONG: LazyLock<[String; 5]> = LazyLock::new(|| {
    let known = |text: &str| format!("{}\n{text}", "The line of it. ".repeat(16));
    let marked = format!("Another language model started to solve this problem{}\nso far", " and more".repeat(30));
    ["long ".repeat(3_500), "longer ".repeat(6_000), known("one"), known("other"), marked]
});

/// Texts that often repeat, look like context fragments, or are long.
fn any_text() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        8 => prop::sample::select(&["a", "b", "c", "d", "e", "f"][..]),
        2 => prop::sample::select(&["s", "", "(no summary available)", "<skill>x</skill>"][..]),
        2 => (0..LONG.len()).prop_map(|at| LONG[at].as_str()),
    ]
}

fn any_line() -> impl Strategy<Value = TestLine> {
    let replacement = prop::collection::vec((any_text(), prop::bool::weighted(0.1)), 0..5);
    prop_oneof![
        6 => any_text().prop_filter("is a message of the user", |text| is_user_message(&ResponseItem::user_text(text)))
            .prop_map(TestLine::Item),
        2 => any_text().prop_map(TestLine::AgentMessage),
        4 => any_text().prop_map(TestLine::Event),
        2 => Just(TestLine::OtherEvent),
        3 => (prop::option::of(any_text()), replacement)
            .prop_map(|(summary, replacement)| TestLine::Compaction(summary, replacement)),
        2 => any_text().prop_map(TestLine::LegacyCompaction),
        3 => (1..6_usize, prop_oneof![3 => 0..4_u64, 1 => Just(u64::MAX)])
            .prop_map(|(count, newest)| TestLine::Rollback(count, newest)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn the_ledger_equals_the_model_after_each_line(lines in prop::collection::vec(any_line(), 0..40)) {
        let (mut ledger, mut model) = (RollbackLedger::default(), Model::default());
        for (position, line) in (0..).zip(&lines) {
            let point = RollbackPoint { turn: position as usize / 3, item: position as usize % 3 };
            let undone = model.apply(line, point, position);
            prop_assert_eq!(record(&mut ledger, line, point, position), undone);
            let (compacted_away, in_context) = model.active();
            prop_assert_eq!(active_messages(&ledger), [compacted_away, in_context].concat(), "after {:?}", line);
        }
    }

    /// All items come before the first event.
    #[test]
    fn events_pair_with_items_as_in_the_model(items in prop::collection::vec(any_text(), 0..60), events in prop::collection::vec(any_text(), 0..60)) {
        let (mut ledger, mut model) = (RollbackLedger::default(), Model::default());
        let items = items.into_iter().filter(|text| is_counted_text(text)).map(TestLine::Item);
        let lines = items.chain(events.into_iter().map(TestLine::Event));
        for (position, line) in (0..).zip(lines) {
            let point = RollbackPoint { turn: 0, item: position as usize };
            model.apply(&line, point, position);
            record(&mut ledger, &line, point, position);
        }
        let (compacted_away, in_context) = model.active();
        prop_assert_eq!(active_messages(&ledger), [compacted_away, in_context].concat());
    }
}

/// Fails if the time for four times as many grows like quadratic time, which would be sixteen times as long.
fn assert_linear(few: usize, time_for: impl Fn(usize) -> Duration) {
    let fastest = |count: usize| (0..3).map(|_| time_for(count)).min().unwrap_or_default();
    let (short, long) = (fastest(few), fastest(4 * few));
    assert!(long < short * 10, "{short:?} and {long:?}");
}

#[test]
fn events_may_come_in_any_order_long_after_their_items() {
    assert_linear(10_000, |count| {
        let texts: Vec<String> = (0..count).map(|n| format!("message {n:08}")).collect();
        let point = RollbackPoint { turn: 0, item: 0 };
        let start = Instant::now();
        let mut ledger = RollbackLedger::default();
        texts.iter().for_each(|text| ledger.record_item(text.clone(), PLACE, point, 0));
        (1..).zip(texts.iter().rev()).for_each(|(position, text)| _ = ledger.pair_event(text, position));
        let took = start.elapsed();
        assert!(ledger.positions().eq((1..=count as u64).rev()));
        took
    });
}

#[test]
fn rollbacks_do_not_apply_all_later_messages_again() {
    assert_linear(1_000, |count| {
        let point = RollbackPoint { turn: 0, item: 0 };
        let mut ledger = RollbackLedger::default();
        for _ in 0..count {
            ledger.record_agent_message("question".to_owned(), point, 0);
            ledger.compact(&compacted(Some("summary"), Some(&[("question", true), ("summary", false)])), point);
        }
        (0..4 * count).for_each(|_| ledger.record_agent_message("more".to_owned(), point, 0));
        let start = Instant::now();
        // Each rollback undoes one compaction, and only two of the messages after it.
        (0..count as u64).rev().for_each(|compactions| _ = ledger.roll_back(2, compactions));
        let took = start.elapsed();
        assert_eq!(ledger.positions().count(), 3 * count);
        took
    });
}
