//! Which turns and which parts of a thread a document contains.

use clap::Args;
use selvedge_protocol::{Turn, TurnQuery};
use selvedge_thread_store::ThreadReader;
use selvedge_transcript::TranscriptParts;

use crate::failure::{Failure, FailureKind, Result};
use crate::render::counted::counted;

/// Options that select turns and parts.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Documents (markdown, html, json)")]
pub(crate) struct SelectionArgs {
    /// Only these turns, counted from 1: `3`, `3-7` or `3-`
    #[arg(long, value_name = "RANGE", value_parser = parse_range)]
    turns: Option<TurnRange>,
    /// Leave out commands, changes of files, tools and searches
    #[arg(long)]
    no_tools: bool,
    /// Leave out the reasoning of the model
    #[arg(long)]
    no_reasoning: bool,
    /// Leave out the bytes of images
    #[arg(long)]
    no_images: bool,
}

/// The numbers of the first and the last turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TurnRange {
    first: usize,
    last: usize,
}

/// Parses `3`, `3-7` or `3-`.
fn parse_range(text: &str) -> std::result::Result<TurnRange, String> {
    let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number > 0);
    let range = match text.split_once('-') {
        None => number(text).map(|first| TurnRange { first, last: first }),
        Some((first, "")) => number(first).map(|first| TurnRange { first, last: usize::MAX }),
        Some((first, last)) => number(first).zip(number(last)).map(|(first, last)| TurnRange { first, last }),
    };
    range
        .filter(|range| range.first <= range.last)
        .ok_or_else(|| "neither `3`, `3-7` nor `3-`, counted from 1".to_owned())
}

impl SelectionArgs {
    /// Returns the parts that a document contains.
    pub(crate) fn parts(&self) -> TranscriptParts {
        TranscriptParts { tools: !self.no_tools, reasoning: !self.no_reasoning, images: !self.no_images }
    }

    /// Returns whether everything is selected.
    pub(crate) fn is_everything(&self) -> bool {
        self.turns.is_none() && self.parts() == TranscriptParts::default()
    }

    /// Reads the selected turns of a thread. Returns them with the number of the first one.
    pub(crate) async fn read(
        &self,
        store: &dyn ThreadReader,
        id: selvedge_protocol::ThreadId,
    ) -> Result<(Vec<Turn>, u64)> {
        let mut turns = store.list_turns(&TurnQuery::all(id)).await?.items;
        let Some(TurnRange { first, last }) = self.turns else { return Ok((turns, 1)) };
        if first > turns.len() {
            return Err(Failure::new(
                FailureKind::NotFound,
                format!("the thread has {}", counted(turns.len(), "turn")),
            )
            .hint("--turns counts from 1"));
        }
        turns.truncate(last);
        turns.drain(..first - 1);
        Ok((turns, u64::try_from(first).unwrap_or(u64::MAX)))
    }

    /// Removes the items that a document does not contain.
    pub(crate) fn cut(&self, turns: &mut [Turn]) {
        let parts = self.parts();
        for turn in turns {
            turn.items.retain(|item| parts.contain(&item.content));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{TurnRange, parse_range};

    #[test]
    fn ranges_of_turns() {
        assert_eq!(parse_range("3"), Ok(TurnRange { first: 3, last: 3 }));
        assert_eq!(parse_range("3-7"), Ok(TurnRange { first: 3, last: 7 }));
        assert_eq!(parse_range("3-"), Ok(TurnRange { first: 3, last: usize::MAX }));
        for wrong in ["", "-", "0", "7-3", "a", "1-b", "-3"] {
            assert!(parse_range(wrong).is_err(), "{wrong}");
        }
    }
}
