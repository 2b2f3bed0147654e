//! Choosing a thread on the terminal.
//!
//! `choice` is what is chosen from, `view` makes lines of it, `screen` puts them on the terminal, `preview` reads what threads
//! said. The terminal is opened by name, so that standard output is free for the answer.

mod choice;
mod preview;
pub(crate) mod screen;
mod signals;
mod view;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use selvedge_protocol::StoredThread;
use selvedge_thread_store::ThreadStore;

use self::choice::{Choice, Step};
use self::preview::Previews;
use self::screen::Screen;
use self::signals::Signals;
use self::view::Label;
use crate::exit::{Code, Failure, Result};
use crate::render::style::Paint;
use crate::render::time::ago;
use crate::render::transcript::Style;

/// How long a look at previews and signals may wait for a key.
const TICK: Duration = Duration::from_millis(50);

/// What a choice begins with.
pub(crate) struct Start {
    /// The threads, in their order.
    pub(crate) threads: Vec<StoredThread>,
    /// How many characters of their ids to show.
    pub(crate) id_length: usize,
    /// What is typed already.
    pub(crate) typed: String,
    /// How to colour.
    pub(crate) paint: Paint,
    /// How to write previews: plain.
    pub(crate) style: Style,
}

/// Lets somebody choose one of the threads. None when they left.
pub(crate) async fn pick(start: Start, store: Arc<dyn ThreadStore>) -> Result<Option<StoredThread>> {
    let previews = Previews::of(store, start.style);
    let chosen = tokio::task::spawn_blocking(move || choose(start, previews)).await;
    chosen.context("the choice did not come to an end")?
}

fn choose(start: Start, mut previews: Previews) -> Result<Option<StoredThread>> {
    let Start { mut threads, id_length, typed, paint, style } = start;
    let label = |thread: &StoredThread| Label {
        id: thread.id.to_string().chars().take(id_length).collect(),
        age: ago(thread.updated_at, style.now),
    };
    let labels: Vec<Label> = threads.iter().map(label).collect();
    let mut choice = Choice::new(&threads, &typed);
    screen::give_back_on_panic();
    let signals = Signals::listen().context("cannot listen for signals")?;
    let mut screen = Screen::take().map_err(no_terminal)?;
    let on_terminal = || "cannot use the terminal";
    let mut is_stale = true;
    loop {
        if signals.came() {
            drop(screen);
            signals.obey().with_context(on_terminal)?;
            // It was stopped, and goes on.
            screen = Screen::take().map_err(no_terminal)?;
            screen.forget();
            is_stale = true;
        }
        if previews.refresh() || is_stale {
            let preview = choice.chosen().map_or(Some(""), |at| previews.get(threads[at].id));
            let frame = view::frame(&mut choice, &labels, preview, Screen::size(), paint);
            screen.draw(frame).with_context(on_terminal)?;
            is_stale = false;
        }
        // All keys that are there, before the next frame: what is pasted is typed at once.
        let mut wait = TICK;
        while event::poll(wait).with_context(on_terminal)? {
            wait = Duration::ZERO;
            is_stale = true;
            match event::read().with_context(on_terminal)? {
                Event::Key(key) if key.kind != KeyEventKind::Release => match meaning(key) {
                    Some(Key::Leave) => return Ok(None),
                    Some(Key::Choose) => {
                        if let Some(at) = choice.chosen() {
                            return Ok(Some(threads.swap_remove(at)));
                        }
                    }
                    Some(Key::Step(step)) => choice.take(step),
                    Some(Key::Pages(pages)) => {
                        let (width, height) = Screen::size();
                        let rows = isize::try_from(view::page(width, height).max(1)).unwrap_or(1);
                        choice.take(Step::Move(pages.saturating_mul(rows)));
                    }
                    None => {}
                },
                Event::Resize(..) => screen.forget(),
                _ => {}
            }
        }
    }
}

fn no_terminal(error: std::io::Error) -> Failure {
    Failure::new(Code::Failure, format!("a thread is chosen on a terminal, and there is none: {error}"))
        .hint("`selvedge list --json` and `selvedge search --json` are for scripts")
}

/// What a key means.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    Leave,
    Choose,
    Step(Step),
    Pages(isize),
}

fn meaning(key: KeyEvent) -> Option<Key> {
    let step = |step| Some(Key::Step(step));
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c' | 'g') => Some(Key::Leave),
            KeyCode::Char('p') => step(Step::Move(-1)),
            KeyCode::Char('n') => step(Step::Move(1)),
            KeyCode::Char('u') => step(Step::Clear),
            KeyCode::Char('w') => step(Step::EraseWord),
            KeyCode::Char('h') => step(Step::Erase),
            _ => None,
        };
    }
    match key.code {
        KeyCode::Esc => Some(Key::Leave),
        KeyCode::Enter => Some(Key::Choose),
        KeyCode::Up => step(Step::Move(-1)),
        KeyCode::Down => step(Step::Move(1)),
        KeyCode::PageUp => Some(Key::Pages(-1)),
        KeyCode::PageDown => Some(Key::Pages(1)),
        KeyCode::Home => step(Step::First),
        KeyCode::End => step(Step::Last),
        KeyCode::Backspace => step(Step::Erase),
        KeyCode::Char(letter) if !key.modifiers.contains(KeyModifiers::ALT) => step(Step::Type(letter)),
        _ => None,
    }
}
