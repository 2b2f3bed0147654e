//! What a rule is.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::{NotApplicable, StorePlace};

/// What a check comes to, if it comes to an end. It panics when the rule is broken.
pub(crate) type CheckFuture = Pin<Box<dyn Future<Output = Result<(), NotApplicable>>>>;

/// A sentence of the contract, and how it is checked.
pub struct Rule {
    /// Names the rule, as `append.ordinals-are-consecutive`. Does not change.
    pub id: &'static str,
    /// What a store must do.
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

/// Makes the table of the rules.
macro_rules! rule_table {
    ({} $($module:ident { $($kind:ident $check:ident = $text:literal;)* })*) => {
        /// Every rule.
        pub(crate) const RULES: &[Rule] = &[$($(Rule {
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

/// Makes a check that opens as many hosts as the rule is about.
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

/// The name with `-` for `_`.
pub(crate) const fn with_hyphens<const LEN: usize>(name: &str) -> [u8; LEN] {
    let name = name.as_bytes();
    let mut id = [0; LEN];
    let mut at = 0;
    while at < LEN {
        id[at] = if name[at] == b'_' { b'-' } else { name[at] };
        at += 1;
    }
    id
}
