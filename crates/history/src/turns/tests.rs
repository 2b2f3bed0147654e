//! Tests that a lookup by id finds the same as a scan of all entries.

use proptest::prelude::*;
use selvedge_protocol::{ItemContent, TurnId, TurnItem};

use super::closed::{ClosedTurns, SCANNED_TURNS};
use super::draft::{LineStamp, SCANNED_ITEMS, TurnDraft, Upserted};
use crate::projected_turn::TurnRestart;

fn draft(id: u8) -> TurnDraft {
    TurnDraft::new(TurnId::from(id.to_string()), TurnRestart::default(), None)
}

fn item(id: u8, is_of_user: bool) -> TurnItem {
    let text = String::new();
    let content = if is_of_user {
        ItemContent::UserMessage { text, images: Vec::new(), attachments: Vec::new(), client_id: None }
    } else {
        ItemContent::Plan { text }
    };
    TurnItem::new(id.to_string().into(), content)
}

const STAMP: LineStamp = LineStamp { position: 0, time: None };

#[derive(Clone, Debug)]
enum Change {
    Add(u8),
    Truncate(usize),
    TakeFirst(usize),
    Find(u8),
}

/// A change to a list whose entries have one of `ids` ids. Up to `scanned` entries are scanned before an index is built.
fn any_change(ids: u8, scanned: usize) -> impl Strategy<Value = Change> {
    prop_oneof![
        20 => (0..ids).prop_map(Change::Add),
        1 => (scanned / 2..scanned * 3).prop_map(Change::Truncate),
        1 => (0..scanned * 2).prop_map(Change::TakeFirst),
        10 => (0..ids).prop_map(Change::Find),
    ]
}

proptest! {
    #[test]
    fn lookup_finds_the_newest_closed_turn_of_an_id(changes in prop::collection::vec(any_change(60, SCANNED_TURNS), 0..200)) {
        let (mut turns, mut ids) = (ClosedTurns::default(), Vec::new());
        for change in changes {
            match change {
                Change::Add(id) => {
                    turns.push(draft(id));
                    ids.push(id);
                }
                Change::Truncate(len) => {
                    turns.truncate(len);
                    ids.truncate(len);
                }
                Change::TakeFirst(count) => {
                    let count = count.min(ids.len());
                    prop_assert_eq!(turns.drain_first(count).len(), count);
                    ids.drain(..count);
                }
                Change::Find(id) => {
                    let found = turns.newest_index_of(&TurnId::from(id.to_string()));
                    prop_assert_eq!(found, ids.iter().rposition(|known| *known == id));
                }
            }
        }
        prop_assert_eq!(turns.len(), ids.len());
    }

    #[test]
    fn lookup_finds_the_first_item_of_an_id(
        changes in prop::collection::vec((any_change(250, SCANNED_ITEMS), any::<bool>(), any::<bool>()), 0..500),
    ) {
        let (mut turn, mut items) = (draft(0), Vec::<(u8, bool)>::new());
        for (change, is_of_user, is_new) in changes {
            match change {
                // An item without an id in the log is added without a lookup.
                Change::Add(id) if is_new => {
                    turn.push(STAMP, item(id, is_of_user), true);
                    items.push((id, is_of_user));
                }
                Change::Add(id) | Change::Find(id) => {
                    let known = items.iter().position(|(known, _)| *known == id);
                    match known {
                        Some(known) => items[known].1 = is_of_user,
                        None => items.push((id, is_of_user)),
                    }
                    let upserted = if known.is_none() { Upserted::New(items.len() - 1) } else { Upserted::Updated };
                    prop_assert_eq!(turn.upsert(STAMP, item(id, is_of_user)), upserted);
                }
                Change::Truncate(len) => {
                    turn.truncate_items(len);
                    items.truncate(len);
                }
                Change::TakeFirst(_) => {}
            }
            let first = items.iter().position(|(_, is_of_user)| *is_of_user).unwrap_or(items.len());
            prop_assert_eq!(turn.rollback_point(0, first).item, 0);
            prop_assert_eq!(turn.rollback_point(0, first + 1).item, if first < items.len() { first + 1 } else { 0 });
        }
        let expected = items.iter().map(|(id, is_of_user)| item(*id, *is_of_user));
        prop_assert_eq!(turn.turn.items, expected.collect::<Vec<_>>());
    }
}
