//! The settings of one turn.

use serde_json::Value;

use crate::TurnId;
use crate::open::open_object;

open_object! {
    /// Payload of a `turn_context` line: what the model was run with from here on.
    pub struct TurnContext {
        /// The turn, in newer files.
        turn_id: TurnId,
        /// Working directory.
        cwd: String,
        /// Model.
        model: String,
        /// Reasoning effort.
        effort: String,
        /// When to ask for approval: a word, or an object.
        approval_policy: Value,
        /// What commands may touch; old files tag it with `mode`, new ones with `type`.
        sandbox_policy: Value,
        /// What commands may touch, in newer files.
        permission_profile: Value,
    }
}
