//! A rule of the contract, and the macros that make the table of all rules.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::{NotApplicable, StorePlace};

/// A running check. It panics if the store breaks the rule.
pub(crate) type CheckFuture = Pin<Box<dyn Future<Output = Result<(), NotApplicable>>>>;

/// A statement of the contract with its check.
pub struct Rule {
    /// The id of the rule, such as `append.ordinals-are-consecutive`. An id never changes.
    pub id: &'static str,
    /// The statement: what a store must do.
    pub text: &'static str,
    pub(crate) check: fn(Arc<dyn StorePlace>) -> CheckFuture,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("id", &self.id).field("text", &self.text).finish_non_exhaustive()
    }
}

/// Returns every rule.
#[must_use]
pub const fn rules() -> &'static [Rule] {
    crate::rules::RULES
}

/// Makes the table of all rules. [`for_each_rule!`](crate::for_each_rule) calls it with the list.
macro_rules! rule_table {
    ({} $($module:ident { $($kind:ident $check:ident = $text:literal;)* })*) => {
        /// Every rule, in the order of the list.
        pub(crate) const RULES: &[Rule] = &[$($(Rule {
            // The id is computed at compile time, so that a rule needs no name but that of its check.
            id: {
                const NAME: &str = concat!(stringify!($module), ".", stringify!($check));
                const BYTES: [u8; NAME.len()] = $crate::rule::with_hyphens(NAME);
                match std::str::from_utf8(&BYTES) {
                    Ok(id) => id,
                    Err(_) => NAME,
                }
            },
            text: $text,
            check: $crate::rule::check_of!($kind $module::$check),
        },)*)*];
    };
}
pub(crate) use rule_table;

/// Makes the check of a rule from its function: opens the hosts that the function takes, or passes the place itself.
macro_rules! check_of {
    (one $($check:ident)::+) => {
        |place| {
            Box::pin(async move {
                let store = place.open_host().await;
                $($check)::+(store).await;
                Ok(())
            })
        }
    };
    (two $($check:ident)::+) => {
        |place| {
            Box::pin(async move {
                let (store, other) = (place.open_host().await, place.open_host().await);
                $($check)::+(store, other).await;
                Ok(())
            })
        }
    };
    (place $($check:ident)::+) => {
        |place| Box::pin($($check)::+(place))
    };
}
pub(crate) use check_of;

/// Returns the name with `-` instead of `_`.
pub(crate) const fn with_hyphens<const LEN: usize>(name: &str) -> [u8; LEN] {
    // `replace` and iterators are not available in a `const fn`. Names are identifiers, so that every byte is one character.
    let name = name.as_bytes();
    let mut id = [0; LEN];
    let mut at = 0;
    while at < LEN {
        id[at] = if name[at] == b'_' { b'-' } else { name[at] };
        at += 1;
    }
    id
}
