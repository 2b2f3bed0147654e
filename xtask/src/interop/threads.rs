//! Threads that Selvedge records, forks and rewinds, to be opened by Codex.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::compare::TurnShape;
use super::material::story;
use super::selvedge::Selvedge;
use crate::codex::thread_mode::ThreadMode;

/// A thread that Selvedge wrote.
pub(super) struct SelvedgeThread {
    pub(super) name: String,
    pub(super) mode: ThreadMode,
    pub(super) id: String,
    /// The number of files of the thread, without its bases.
    pub(super) segments: usize,
    /// Whether one of these files has a message of the user.
    pub(super) has_own_message: bool,
    pub(super) turns: Vec<TurnShape>,
    pub(super) context: Vec<Value>,
}

/// Makes the threads of one mode.
pub(super) struct ThreadMaker<'a> {
    pub(super) selvedge: &'a Selvedge,
    pub(super) mode: ThreadMode,
    pub(super) cwd: &'a Path,
    /// Returns the items of a turn with a message of the user.
    pub(super) turn: fn(ThreadMode, &str, &str) -> Vec<Value>,
}

impl ThreadMaker<'_> {
    /// Makes a thread with the recorded story.
    pub(super) fn recorded(&self) -> Result<String> {
        let id = self.selvedge.create(self.mode, self.cwd)?;
        self.selvedge.append(&id, &story(self.mode, &id, self.cwd)?)?;
        Ok(id)
    }

    /// Makes a thread with three plain turns.
    pub(super) fn made(&self) -> Result<String> {
        let id = self.selvedge.create(self.mode, self.cwd)?;
        for text in ["one", "two", "three"] {
            self.add(&id, text)?;
        }
        Ok(id)
    }

    /// Appends a turn.
    pub(super) fn add(&self, id: &str, text: &str) -> Result<()> {
        self.selvedge.append(id, &(self.turn)(self.mode, id, text))
    }

    /// Makes the forks of a thread, and rewound threads, `rewound` first.
    pub(super) fn family(&self, plain: String, rewound: String) -> Result<Vec<SelvedgeThread>> {
        let turns = self.selvedge.turns(&plain)?;
        let second = &turns.get(1).context("fewer than two turns")?.id;
        let forked = self.selvedge.fork(&plain, Some(second))?;
        self.add(&forked, "added to the fork")?;
        let grandchild = self.selvedge.fork(&forked, None)?;
        self.add(&grandchild, "added to the fork of the fork")?;
        let bare_fork = self.selvedge.fork(&plain, Some(second))?;

        self.selvedge.rewind(&rewound, 1)?;
        self.add(&rewound, "added after the rewind")?;
        let twice = self.made()?;
        self.selvedge.rewind(&twice, 1)?;
        self.selvedge.rewind(&twice, 1)?;
        let rewound_fork = self.selvedge.fork(&rewound, None)?;
        self.selvedge.rewind(&rewound_fork, 1)?;
        let to_nothing = self.made()?;
        self.selvedge.rewind(&to_nothing, 3)?;
        self.add(&to_nothing, "added after all was undone")?;

        [
            ("", plain, 1, true),
            (", forked at a turn", forked, 1, true),
            (", forked, nothing added", bare_fork, 1, false),
            (", fork of a fork", grandchild, 1, true),
            (", rewound", rewound, 2, true),
            (", rewound twice, nothing added", twice, 3, true),
            (", fork, rewound", rewound_fork, 2, false),
            (", rewound to nothing", to_nothing, 2, true),
        ]
        .into_iter()
        .map(|(what, id, segments, said)| {
            let subject = self.subject(what, id, segments)?;
            // The file of a fork by copy has the messages of the source.
            Ok(SelvedgeThread { has_own_message: said || self.mode == ThreadMode::Legacy, ..subject })
        })
        .collect()
    }

    /// Returns the current state of a thread.
    pub(super) fn subject(&self, what: &str, id: String, segments: usize) -> Result<SelvedgeThread> {
        let name = format!("{}{what}", self.mode.name());
        let segments = if self.mode == ThreadMode::Legacy { 1 } else { segments };
        let turns = self.selvedge.turns(&id).with_context(|| name.clone())?;
        let context = self.selvedge.context(&id).with_context(|| name.clone())?;
        Ok(SelvedgeThread { name, mode: self.mode, id, segments, has_own_message: true, turns, context })
    }
}
