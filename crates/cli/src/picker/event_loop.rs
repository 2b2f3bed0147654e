//! The loop that reads keys and draws frames, until the user chooses or leaves.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use selvedge_protocol::StoredThread;
use selvedge_thread_store::ThreadStore;

use super::frame::{self, RowLabel};
use super::keys::{self, KeyCommand};
use super::preview::PreviewCache;
use super::screen::{self, Screen};
use super::signals::Signals;
use super::state::{PickerAction, PickerState};
use crate::failure::{Failure, FailureKind, Result};
use crate::render::paint::Paint;
use crate::render::time::ago;
use crate::render::transcript::TranscriptStyle;
use crate::timing::PICKER_TICK;

/// What the picker begins with.
pub(crate) struct PickerInput {
    /// The threads, in the order of the list.
    pub(crate) threads: Vec<StoredThread>,
    /// How many characters of each id to show.
    pub(crate) id_len: usize,
    /// Text that counts as typed already.
    pub(crate) typed: String,
    /// Colours of the list.
    pub(crate) paint: Paint,
    /// Style of the previews. It has to be without colours, because the frame cuts their lines.
    pub(crate) style: TranscriptStyle,
}

/// Lets the user choose one of the threads. Returns `None` if the user cancels.
pub(crate) async fn pick(input: PickerInput, store: Arc<dyn ThreadStore>) -> Result<Option<StoredThread>> {
    let previews = PreviewCache::new(store, input.style);
    // The loop waits for keys, which would block the runtime.
    let chosen = tokio::task::spawn_blocking(move || run(input, previews)).await;
    chosen.context("the picker did not finish")?
}

/// Each round hands over to a signal, draws a frame if something changed, and takes the keys that have arrived.
fn run(input: PickerInput, mut previews: PreviewCache) -> Result<Option<StoredThread>> {
    let PickerInput { mut threads, id_len, typed, paint, style } = input;
    let label = |thread: &StoredThread| RowLabel {
        id: thread.id.to_string().chars().take(id_len).collect(),
        age: ago(thread.updated_at, style.now),
    };
    let labels: Vec<RowLabel> = threads.iter().map(label).collect();
    let mut state = PickerState::new(&threads, &typed);
    screen::restore_on_panic();
    let signals = Signals::listen().context("cannot listen for signals")?;
    let mut screen = Screen::enter().map_err(no_terminal)?;
    let mut is_stale = true;
    loop {
        if signals.has_arrived() {
            // The signal acts on the process only after the terminal is restored. For a stop signal, the next line
            // returns when the process is continued. Another program may have drawn on the terminal since.
            drop(screen);
            signals.deliver().with_context(on_terminal)?;
            screen = Screen::enter().map_err(no_terminal)?;
            screen.invalidate();
            is_stale = true;
        }
        // A preview that arrived may be that of another thread than the selected one. Drawing it costs nothing then,
        // because no line differs.
        if previews.receive() || is_stale {
            let preview = state.selected().map_or(Some(""), |index| previews.get(threads[index].id));
            let frame = frame::render(&mut state, &labels, preview, Screen::size(), paint);
            screen.draw(frame).with_context(on_terminal)?;
        }
        is_stale = false;
        // All keys that have arrived come before the next frame. Pasted text is then searched once, and not per
        // character.
        let mut wait = PICKER_TICK;
        while event::poll(wait).with_context(on_terminal)? {
            wait = Duration::ZERO;
            is_stale = true;
            match event::read().with_context(on_terminal)? {
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    if let ControlFlow::Break(chosen) = apply_key(key, &mut state) {
                        return Ok(chosen.map(|index| threads.swap_remove(index)));
                    }
                }
                Event::Resize(..) => screen.invalidate(),
                _ => {}
            }
        }
    }
}

/// Applies a key. Breaks with the index of the chosen thread, or with `None` if the user cancels.
fn apply_key(key: KeyEvent, state: &mut PickerState) -> ControlFlow<Option<usize>> {
    match keys::command(key) {
        Some(KeyCommand::Cancel) => return ControlFlow::Break(None),
        Some(KeyCommand::Accept) => {
            if let Some(index) = state.selected() {
                return ControlFlow::Break(Some(index));
            }
        }
        Some(KeyCommand::Act(action)) => state.apply(action),
        Some(KeyCommand::MovePages(pages)) => {
            let (width, height) = Screen::size();
            let rows = isize::try_from(frame::list_height(width, height).max(1)).unwrap_or(1);
            state.apply(PickerAction::Move(pages.saturating_mul(rows)));
        }
        None => {}
    }
    ControlFlow::Continue(())
}

fn on_terminal() -> &'static str {
    "cannot use the terminal"
}

fn no_terminal(error: std::io::Error) -> Failure {
    Failure::new(FailureKind::Other, format!("choosing a thread needs a terminal, and there is none: {error}"))
        .hint("`selvedge list --json` and `selvedge search --json` are for scripts")
}
