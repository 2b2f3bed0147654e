//! The turns in which the user wrote a message, with the state before each.

use std::collections::HashSet;

use selvedge_protocol::TurnId;

/// The turns of the user: those with a message of the user. A rollback counts them and restores the state before the oldest
/// one that it undoes.
///
/// `S` is that state.
///
/// ```text
///                open (task_started)                message of the user
///   Implicit ---------------------------> Silent(S) -------------------> OfUser --+ message of the user:
///    ^    ^ |                                 |                            |  <---+ part of the same turn
///    |    | | message of the user:            |                            |
///    |    +-+ a turn of its own               | end, roll_back             | end, roll_back
///    +----------------------------------------+----------------------------+
/// ```
#[derive(Debug)]
pub(crate) struct UserTurns<S> {
    open: OpenTurn<S>,
    id: Option<TurnId>,
    /// Ids of all turns so far. An end that names an older turn does not end the open one.
    seen: HashSet<TurnId>,
    /// State before each turn of the user that is not undone.
    before: Vec<S>,
}

/// The turn that items belong to.
#[derive(Debug)]
enum OpenTurn<S> {
    /// No turn was opened. Each message of the user is a turn of its own.
    Implicit,
    /// A turn was opened, with this state before it. It has no message of the user yet.
    Silent(S),
    /// A turn was opened and has a message of the user.
    OfUser,
}

impl<S> Default for UserTurns<S> {
    fn default() -> Self {
        Self { open: OpenTurn::Implicit, id: None, seen: HashSet::new(), before: Vec::new() }
    }
}

impl<S> UserTurns<S> {
    /// Opens a turn; `before` is the state before it.
    pub(crate) fn open(&mut self, id: Option<TurnId>, before: S) {
        self.open = OpenTurn::Silent(before);
        self.seen.extend(id.clone());
        self.id = id;
    }

    /// Ends the turn with this id. Without an id, or with an id that no turn has, it ends the open turn.
    pub(crate) fn end(&mut self, id: Option<&TurnId>) {
        // The end of an older turn can come late, after the next turn has begun. It does not end that one.
        if id.is_none() || id == self.id.as_ref() || id.is_some_and(|id| !self.seen.contains(id)) {
            self.open = OpenTurn::Implicit;
        }
    }

    /// Returns whether a turn with this id was opened.
    pub(crate) fn has_seen(&self, id: &TurnId) -> bool {
        self.seen.contains(id)
    }

    /// Returns whether a turn is open, so messages are part of it.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.open, OpenTurn::Implicit)
    }

    /// Returns whether a turn is open that has no message of the user.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.open, OpenTurn::Silent(_))
    }

    /// Records a message of the user. If it makes the open turn one of the user, this returns the state before that turn.
    /// If no turn is open, the message is a turn of its own, and `now` is the state before it.
    pub(crate) fn record_message(&mut self, now: impl FnOnce() -> S) -> Option<&S> {
        match std::mem::replace(&mut self.open, OpenTurn::OfUser) {
            // The next message is a turn of its own, too: the state stays.
            OpenTurn::Implicit => {
                self.open = OpenTurn::Implicit;
                self.before.push(now());
                None
            }
            OpenTurn::Silent(before) => {
                self.before.push(before);
                self.before.last()
            }
            OpenTurn::OfUser => None,
        }
    }

    /// Returns the number of turns of the user that are not undone.
    pub(crate) fn len(&self) -> usize {
        self.before.len()
    }

    /// Undoes the newest `turns` turns and returns the state before the oldest of them. `None` if there was none to undo.
    pub(crate) fn roll_back(&mut self, turns: usize) -> Option<S> {
        // A rollback ends the open turn, even if that has no message to undo.
        self.open = OpenTurn::Implicit;
        let remaining = self.before.len().saturating_sub(turns);
        self.before.drain(remaining..).next()
    }

    /// Returns every state that a rollback can restore.
    pub(crate) fn states_mut(&mut self) -> impl Iterator<Item = &mut S> {
        let open = if let OpenTurn::Silent(before) = &mut self.open { Some(before) } else { None };
        self.before.iter_mut().chain(open)
    }
}
