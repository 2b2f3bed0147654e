//! What each key does.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::state::PickerAction;

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeyCommand {
    /// Leave without a choice.
    Cancel,
    /// Choose the selected thread.
    Accept,
    /// Change the typed text or the selection.
    Act(PickerAction),
    /// Move the selection by this many pages. The length of a page depends on the screen.
    MovePages(isize),
}

/// Returns what a key asks for, or `None` if it has no meaning here.
pub(crate) fn command(key: KeyEvent) -> Option<KeyCommand> {
    // Control keys come first: Ctrl-P is also the character `p`. The bindings are those of readline, with Ctrl-G to
    // leave as well.
    let act = |action| Some(KeyCommand::Act(action));
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c' | 'g') => Some(KeyCommand::Cancel),
            KeyCode::Char('p') => act(PickerAction::Move(-1)),
            KeyCode::Char('n') => act(PickerAction::Move(1)),
            KeyCode::Char('u') => act(PickerAction::Clear),
            KeyCode::Char('w') => act(PickerAction::EraseWord),
            KeyCode::Char('h') => act(PickerAction::Erase),
            _ => None,
        };
    }
    match key.code {
        KeyCode::Esc => Some(KeyCommand::Cancel),
        KeyCode::Enter => Some(KeyCommand::Accept),
        KeyCode::Up => act(PickerAction::Move(-1)),
        KeyCode::Down => act(PickerAction::Move(1)),
        KeyCode::PageUp => Some(KeyCommand::MovePages(-1)),
        KeyCode::PageDown => Some(KeyCommand::MovePages(1)),
        KeyCode::Home => act(PickerAction::First),
        KeyCode::End => act(PickerAction::Last),
        KeyCode::Backspace => act(PickerAction::Erase),
        // In many programs Alt with a letter is a command, so the letter is not added to the text.
        KeyCode::Char(letter) if !key.modifiers.contains(KeyModifiers::ALT) => act(PickerAction::Type(letter)),
        _ => None,
    }
}
