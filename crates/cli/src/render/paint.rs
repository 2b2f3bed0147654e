//! Colours, by the meaning of what is coloured.

use std::fmt::Display;

use anstream::AutoStream;
use anstream::stream::RawStream;
use anstyle::{AnsiColor, Style};

/// Colours text, or leaves it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint {
    enabled: bool,
}

impl Paint {
    /// Decides whether to colour what goes to `stream`. The command line counts first, then `NO_COLOR` and
    /// `CLICOLOR_FORCE`, then whether the stream is a terminal.
    pub(crate) fn for_stream<S: RawStream>(color: clap::ColorChoice, stream: &S) -> Self {
        let enabled = match color {
            clap::ColorChoice::Always => true,
            clap::ColorChoice::Never => false,
            clap::ColorChoice::Auto => AutoStream::choice(stream) != anstream::ColorChoice::Never,
        };
        Self { enabled }
    }

    /// Uses no colours.
    pub(crate) const fn plain() -> Self {
        Self { enabled: false }
    }

    fn with(self, style: Style, text: impl Display) -> String {
        if self.enabled { format!("{style}{text}{style:#}") } else { text.to_string() }
    }

    /// For titles and headings.
    pub(crate) fn heading(self, text: impl Display) -> String {
        self.with(Style::new().bold(), text)
    }

    /// For details that most readers skip.
    pub(crate) fn dim(self, text: impl Display) -> String {
        self.with(Style::new().dimmed(), text)
    }

    /// For an id, which a reader may copy.
    pub(crate) fn id(self, text: impl Display) -> String {
        self.with(AnsiColor::Yellow.on_default(), text)
    }

    /// For what the user says.
    pub(crate) fn user(self, text: impl Display) -> String {
        self.with(AnsiColor::Cyan.on_default().bold(), text)
    }

    /// For what the agent says.
    pub(crate) fn agent(self, text: impl Display) -> String {
        self.with(AnsiColor::Green.on_default().bold(), text)
    }

    /// For calls of tools.
    pub(crate) fn tool(self, text: impl Display) -> String {
        self.with(AnsiColor::Magenta.on_default(), text)
    }

    /// For errors and damage in a thread.
    pub(crate) fn bad(self, text: impl Display) -> String {
        self.with(AnsiColor::Red.on_default(), text)
    }

    /// For a match of a search.
    pub(crate) fn hit(self, text: impl Display) -> String {
        self.with(AnsiColor::Red.on_default().bold(), text)
    }

    /// For the word before an error of the program.
    pub(crate) fn error(self, text: impl Display) -> String {
        self.with(AnsiColor::Red.on_default().bold(), text)
    }

    /// For the word before a hint.
    pub(crate) fn hint(self, text: impl Display) -> String {
        self.with(AnsiColor::Cyan.on_default(), text)
    }
}
