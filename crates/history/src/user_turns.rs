//! Which turns are the user's.

use std::collections::HashSet;

use selvedge_protocol::TurnId;

/// The turns in which the user spoke, each with what there was before it: what a rollback counts, and goes back to.
///
/// `S` is whatever is to be set back.
#[derive(Debug)]
pub(crate) struct UserTurns<S> {
    open: OpenTurn<S>,
    id: Option<TurnId>,
    /// The turns so far: an end may name one that was left behind.
    seen: HashSet<TurnId>,
    /// For every user turn that stands, what was before it.
    before: Vec<S>,
}

/// The turn that items belong to.
#[derive(Debug)]
enum OpenTurn<S> {
    /// No turn was opened: every message of the user begins one.
    Implicit,
    /// Opened, with what was before it; the user has not spoken in it.
    Silent(S),
    /// Opened, and a user turn: further messages of the user are part of it.
    OfUser,
}

impl<S> Default for UserTurns<S> {
    fn default() -> Self {
        Self { open: OpenTurn::Implicit, id: None, seen: HashSet::new(), before: Vec::new() }
    }
}

impl<S> UserTurns<S> {
    /// Opens a turn, before which there was this.
    pub(crate) fn open(&mut self, id: Option<TurnId>, before: S) {
        self.open = OpenTurn::Silent(before);
        self.seen.extend(id.clone());
        self.id = id;
    }

    /// Ends the turn of this id. Without an id, or with one that no turn has, the open turn is meant.
    pub(crate) fn end(&mut self, id: Option<&TurnId>) {
        if id.is_none() || id == self.id.as_ref() || id.is_some_and(|id| !self.seen.contains(id)) {
            self.open = OpenTurn::Implicit;
        }
    }

    /// Whether a turn of this id was opened.
    pub(crate) fn has_seen(&self, id: &TurnId) -> bool {
        self.seen.contains(id)
    }

    /// Whether a turn is open, so that what is said is part of it.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.open, OpenTurn::Implicit)
    }

    /// Whether a turn is open in which the user has not spoken.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.open, OpenTurn::Silent(_))
    }

    /// The user speaks. Gives what was before the open turn, if this makes it the user's; a turn of its own begins with `now`.
    pub(crate) fn speak(&mut self, now: impl FnOnce() -> S) -> Option<&S> {
        match std::mem::replace(&mut self.open, OpenTurn::OfUser) {
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

    /// How many user turns stand.
    pub(crate) fn len(&self) -> usize {
        self.before.len()
    }

    /// Undoes the newest turns and gives what was before them, if there were any.
    pub(crate) fn roll_back(&mut self, turns: usize) -> Option<S> {
        self.open = OpenTurn::Implicit;
        let standing = self.before.len().saturating_sub(turns);
        self.before.drain(standing..).next()
    }

    /// Everything that can be gone back to.
    pub(crate) fn all_before(&mut self) -> impl Iterator<Item = &mut S> {
        let open = if let OpenTurn::Silent(before) = &mut self.open { Some(before) } else { None };
        self.before.iter_mut().chain(open)
    }
}
