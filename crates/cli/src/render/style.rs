//! Colours by meaning.

use std::fmt::Display;

use anstream::AutoStream;
use anstream::stream::RawStream;
use anstyle::{AnsiColor, Style};

/// Whether to colour, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint {
    enabled: bool,
}

impl Paint {
    /// How to colour what goes to `stream`. A word on the command line counts more than `NO_COLOR` and
    /// `CLICOLOR_FORCE`, and those count more than whether it is a terminal.
    pub(crate) fn for_stream<S: RawStream>(color: clap::ColorChoice, stream: &S) -> Self {
        let enabled = match color {
            clap::ColorChoice::Always => true,
            clap::ColorChoice::Never => false,
            clap::ColorChoice::Auto => AutoStream::choice(stream) != anstream::ColorChoice::Never,
        };
        Self { enabled }
    }

    /// No colours.
    pub(crate) const fn plain() -> Self {
        Self { enabled: false }
    }

    fn with(self, style: Style, text: impl Display) -> String {
        if self.enabled { format!("{style}{text}{style:#}") } else { text.to_string() }
    }

    /// What stands above other things.
    pub(crate) fn heading(self, text: impl Display) -> String {
        self.with(Style::new().bold(), text)
    }

    /// What is there to be looked up.
    pub(crate) fn dim(self, text: impl Display) -> String {
        self.with(Style::new().dimmed(), text)
    }

    /// An id to be copied.
    pub(crate) fn id(self, text: impl Display) -> String {
        self.with(AnsiColor::Yellow.on_default(), text)
    }

    /// The user's part.
    pub(crate) fn user(self, text: impl Display) -> String {
        self.with(AnsiColor::Cyan.on_default().bold(), text)
    }

    /// The agent's part.
    pub(crate) fn agent(self, text: impl Display) -> String {
        self.with(AnsiColor::Green.on_default().bold(), text)
    }

    /// What a tool was asked and did.
    pub(crate) fn tool(self, text: impl Display) -> String {
        self.with(AnsiColor::Magenta.on_default(), text)
    }

    /// What went wrong in a thread.
    pub(crate) fn bad(self, text: impl Display) -> String {
        self.with(AnsiColor::Red.on_default(), text)
    }

    /// What was searched for.
    pub(crate) fn hit(self, text: impl Display) -> String {
        self.with(AnsiColor::Red.on_default().bold(), text)
    }

    /// The word before an error.
    pub(crate) fn error(self, text: impl Display) -> String {
        self.with(AnsiColor::Red.on_default().bold(), text)
    }

    /// The word before a hint.
    pub(crate) fn hint(self, text: impl Display) -> String {
        self.with(AnsiColor::Cyan.on_default(), text)
    }
}
