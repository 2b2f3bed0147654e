//! The ledger against a model that keeps no state but what happened, and works it all out again each time.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use selvedge_protocol::{Compacted, ResponseItem};

use super::{Cut, Message, RollbackLedger, Speaker};
use crate::markers::{is_user_fragment, is_user_message};

/// Something that happens.
#[derive(Clone, Debug)]
enum Happening {
    Told(&'static str),
    ToldByAgent(&'static str),
    Shown(&'static str),
    SomethingElseShows,
    /// A compaction that says what it leaves: texts, and whether an agent's.
    Compacted(Option<&'static str>, Vec<(&'static str, bool)>),
    /// One that does not.
    OldCompacted(&'static str),
    /// Undoes so many messages, and the compactions behind all but so many of the newest.
    RolledBack(usize, u64),
}

/// What a message of the model says, who says it, and where it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    text: String,
    speaker: Speaker,
    cut: Cut,
    position: Option<u64>,
}

/// The model.
#[derive(Default)]
struct Model {
    said: Vec<Said>,
    log: Vec<Entry>,
    undone: HashSet<u64>,
    compactions: u64,
    /// Of the messages since something else showed: those that were told and not shown.
    unshown: Vec<usize>,
    untold: usize,
}

enum Entry {
    Said(usize),
    Left { number: u64, left: Vec<(String, bool)>, summary: String, cut: Cut },
    LeftToReader { summary: String, cut: Cut },
    RolledBack(usize),
}

impl Model {
    fn say(&mut self, text: &str, speaker: Speaker, cut: Cut, position: u64) {
        self.log.push(Entry::Said(self.said.len()));
        self.said.push(Said { text: text.to_owned(), speaker, cut, position: Some(position) });
    }

    fn take(&mut self, happening: &Happening, cut: Cut, position: u64) -> Option<Cut> {
        let shows_message = matches!(happening, Happening::Told(_) | Happening::ToldByAgent(_) | Happening::Shown(_));
        if !shows_message {
            (self.unshown, self.untold) = (Vec::new(), 0);
        }
        match happening {
            Happening::SomethingElseShows => {}
            Happening::ToldByAgent(text) => self.say(text, Speaker::Agent, cut, position),
            Happening::Told(_) if self.untold > 0 => self.untold -= 1,
            Happening::Told(text) => {
                self.unshown.push(self.said.len());
                self.say(text, Speaker::User, cut, position);
            }
            Happening::Shown(text) if self.unshown.is_empty() => {
                self.untold += 1;
                self.say(text, Speaker::User, cut, position);
            }
            Happening::Shown(text) => {
                let same = self.unshown.iter().position(|told| self.said[*told].text == *text);
                let told = self.unshown.remove(same.unwrap_or(0));
                (self.said[told].cut, self.said[told].position) = (cut, Some(position));
            }
            Happening::Compacted(summary, left) => {
                let left = left.iter().filter(|(text, is_of_agent)| *is_of_agent || !is_user_fragment(text));
                self.log.push(Entry::Left {
                    number: self.compactions,
                    left: left.map(|(text, is_of_agent)| ((*text).to_owned(), *is_of_agent)).collect(),
                    summary: summary.unwrap_or_default().to_owned(),
                    cut,
                });
                self.compactions += 1;
            }
            Happening::OldCompacted(summary) => {
                self.log.push(Entry::LeftToReader { summary: (*summary).to_owned(), cut });
            }
            Happening::RolledBack(count, newest) => {
                self.undone.extend(self.compactions.saturating_sub(*newest)..self.compactions);
                let (left_out, seen) = self.standing();
                let all = [left_out, seen].concat();
                self.log.push(Entry::RolledBack(*count));
                return all.iter().rev().take(*count).map(|said| said.cut).min();
            }
        }
        None
    }

    /// The messages that go on showing, and those that the model sees.
    fn standing(&self) -> (Vec<Said>, Vec<Said>) {
        let (mut left_out, mut seen) = (Vec::new(), Vec::new());
        for entry in &self.log {
            match entry {
                Entry::Said(at) => seen.push(self.said[*at].clone()),
                Entry::Left { number, .. } if self.undone.contains(number) => {}
                Entry::Left { left, summary, cut, .. } => {
                    seen = leave(&mut left_out, seen, left, summary, *cut);
                }
                Entry::LeftToReader { summary, cut } => {
                    let left = left_to_reader(&seen, summary);
                    seen = leave(&mut left_out, seen, &left, summary, *cut);
                }
                Entry::RolledBack(count) => {
                    for _ in 0..*count {
                        _ = seen.pop().or_else(|| left_out.pop());
                    }
                }
            }
        }
        (left_out, seen)
    }
}

/// Which messages a compaction leaves: each is the newest of its text that is older than the one behind it.
fn leave(left_out: &mut Vec<Said>, seen: Vec<Said>, left: &[(String, bool)], summary: &str, own: Cut) -> Vec<Said> {
    let mut seen: Vec<Option<Said>> = seen.into_iter().map(Some).collect();
    let mut older = seen.len();
    let mut kept = Vec::new();
    let mut is_found = !summary.is_empty() && left.iter().any(|(text, _)| text == summary);
    for (text, is_of_agent) in left.iter().rev() {
        let text = text.clone();
        let found = (0..older).rev().find(|at| seen[*at].as_ref().is_some_and(|said| said.text == text));
        if text == summary || (found.is_none() && !is_found) {
            kept.insert(0, Said { text, speaker: Speaker::Summary, cut: own, position: None });
            continue;
        }
        is_found = true;
        let at = found.or(older.checked_sub(1));
        older = at.unwrap_or(0);
        let known = at.and_then(|at| seen[at].take());
        let speaker = if *is_of_agent { Speaker::Agent } else { Speaker::User };
        let known = known.unwrap_or(Said { text: String::new(), speaker, cut: own, position: None });
        kept.insert(0, Said { text, ..known });
    }
    left_out.extend(seen.into_iter().flatten().filter(|said| said.speaker != Speaker::Summary));
    kept
}

/// The words of the user that an old compaction keeps, 20,000 tokens of four bytes, and its summary.
fn left_to_reader(seen: &[Said], summary: &str) -> Vec<(String, bool)> {
    let first_line = summary.split_inclusive('\n').next().filter(|line| line.len() > 200 && line.ends_with('\n'));
    let mut left = vec![if summary.is_empty() { "(no summary available)" } else { summary }.to_owned()];
    let mut tokens: usize = 20_000;
    for said in seen.iter().rev().filter(|said| said.speaker != Speaker::Agent) {
        if tokens == 0 {
            break;
        }
        if first_line.is_none_or(|line| !said.text.starts_with(line)) {
            left.insert(0, crate::shorten::shorten(&said.text, tokens * 4).into_owned());
            tokens = tokens.saturating_sub(said.text.len().div_ceil(4));
        }
    }
    left.into_iter().filter(|text| !is_user_fragment(text)).map(|text| (text, false)).collect()
}

fn compacted(message: Option<&str>, left: Option<&[(&str, bool)]>) -> Compacted {
    let item = |(text, is_of_agent): &(&str, bool)| match is_of_agent {
        true => ResponseItem::agent_message("", "", text),
        false => ResponseItem::user_text(text),
    };
    Compacted {
        message: message.map(str::to_owned),
        replacement_history: left.map(|left| left.iter().map(item).collect()),
        ..Compacted::default()
    }
}

fn happen(heard: &mut RollbackLedger, happening: &Happening, cut: Cut, position: u64) -> Option<Cut> {
    match happening {
        Happening::Told(text) => heard.told(&ResponseItem::user_text(text), cut, position),
        Happening::ToldByAgent(text) => heard.told_by_agent((*text).to_owned(), cut, position),
        Happening::Shown(text) => heard.shown(text, cut, position),
        Happening::SomethingElseShows => heard.settle(),
        Happening::Compacted(summary, left) => heard.compact(&compacted(*summary, Some(left)), cut),
        Happening::OldCompacted(summary) => heard.compact(&compacted(Some(summary), None), cut),
        Happening::RolledBack(count, newest) => {
            return heard.roll_back(*count, heard.compactions().saturating_sub(*newest));
        }
    }
    None
}

fn standing(heard: &RollbackLedger) -> Vec<Said> {
    let said = |message: &Message| {
        let Message { text, speaker, cut, position } = message;
        Said { text: (**text).to_owned(), speaker: *speaker, cut: *cut, position: *position }
    };
    heard.standing.messages().chain(heard.recent.messages()).map(said).collect()
}

/// Texts that are too long to be kept whole, and summaries of one program.
static LONG: LazyLock<[String; 4]> = LazyLock::new(|| {
    let known = |text: &str| format!("{}\n{text}", "The line of it. ".repeat(16));
    ["long ".repeat(3_500), "longer ".repeat(6_000), known("one"), known("other")]
});

/// Texts that are often the same, look like the program's, or are long.
fn any_text() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        8 => prop::sample::select(&["a", "b", "c", "d", "e", "f"][..]),
        2 => prop::sample::select(&["s", "", "(no summary available)", "<environment_context>here"][..]),
        2 => (0..LONG.len()).prop_map(|at| LONG[at].as_str()),
    ]
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let left = prop::collection::vec((any_text(), prop::bool::weighted(0.1)), 0..5);
    prop_oneof![
        6 => any_text().prop_filter("is a message of the user", |text| is_user_message(&ResponseItem::user_text(text)))
            .prop_map(Happening::Told),
        2 => any_text().prop_map(Happening::ToldByAgent),
        4 => any_text().prop_map(Happening::Shown),
        2 => Just(Happening::SomethingElseShows),
        3 => (prop::option::of(any_text()), left).prop_map(|(summary, left)| Happening::Compacted(summary, left)),
        2 => any_text().prop_map(Happening::OldCompacted),
        3 => (1..6_usize, prop_oneof![3 => 0..4_u64, 1 => Just(u64::MAX)])
            .prop_map(|(count, newest)| Happening::RolledBack(count, newest)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn stands_what_the_model_says(happenings in prop::collection::vec(any_happening(), 0..40)) {
        let (mut heard, mut model) = (RollbackLedger::default(), Model::default());
        for (position, happening) in (0..).zip(&happenings) {
            let cut = Cut { turn: position as usize / 3, item: position as usize % 3 };
            let undone = model.take(happening, cut, position);
            prop_assert_eq!(happen(&mut heard, happening, cut, position), undone);
            let (left_out, seen) = model.standing();
            prop_assert_eq!(standing(&heard), [left_out, seen].concat(), "after {:?}", happening);
        }
    }

    /// Many messages that the model is told before one of them shows.
    #[test]
    fn shows_what_the_model_says(told in prop::collection::vec(any_text(), 0..60), shown in prop::collection::vec(any_text(), 0..60)) {
        let (mut heard, mut model) = (RollbackLedger::default(), Model::default());
        let told = told.into_iter().filter(|text| !is_user_fragment(text)).map(Happening::Told);
        let happenings = told.chain(shown.into_iter().map(Happening::Shown));
        for (position, happening) in (0..).zip(happenings) {
            let cut = Cut { turn: 0, item: position as usize };
            model.take(&happening, cut, position);
            happen(&mut heard, &happening, cut, position);
        }
        let (left_out, seen) = model.standing();
        prop_assert_eq!(standing(&heard), [left_out, seen].concat());
    }
}

/// What takes time by the square of a number takes sixteen times as long for four times as much.
fn assert_linear(few: usize, time_for: impl Fn(usize) -> Duration) {
    let fastest = |count: usize| (0..3).map(|_| time_for(count)).min().unwrap_or_default();
    let (short, long) = (fastest(few), fastest(4 * few));
    assert!(long < short * 10, "{short:?} and {long:?}");
}

#[test]
fn messages_may_show_in_any_order_long_after_they_were_told() {
    assert_linear(10_000, |count| {
        let texts: Vec<String> = (0..count).map(|n| format!("message {n:08}")).collect();
        let items: Vec<_> = texts.iter().map(|text| ResponseItem::user_text(text)).collect();
        let cut = Cut { turn: 0, item: 0 };
        let start = Instant::now();
        let mut heard = RollbackLedger::default();
        items.iter().for_each(|item| heard.told(item, cut, 0));
        (1..).zip(texts.iter().rev()).for_each(|(position, text)| heard.shown(text, cut, position));
        let took = start.elapsed();
        assert!(heard.positions().eq((1..=count as u64).rev()));
        took
    });
}

#[test]
fn rollbacks_do_not_repeat_all_that_was_said_since() {
    assert_linear(1_000, |count| {
        let cut = Cut { turn: 0, item: 0 };
        let mut heard = RollbackLedger::default();
        for _ in 0..count {
            heard.told_by_agent("question".to_owned(), cut, 0);
            heard.compact(&compacted(Some("summary"), Some(&[("question", true), ("summary", false)])), cut);
        }
        (0..4 * count).for_each(|_| heard.told_by_agent("more".to_owned(), cut, 0));
        let start = Instant::now();
        // Each undoes one compaction, and but two of the messages behind it.
        (0..count as u64).rev().for_each(|compactions| _ = heard.roll_back(2, compactions));
        let took = start.elapsed();
        assert_eq!(heard.positions().count(), 3 * count);
        took
    });
}
