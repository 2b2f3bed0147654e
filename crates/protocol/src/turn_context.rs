//! The settings of a turn.

use serde_json::Value;

use crate::TurnId;
use crate::open_object::open_object;

open_object! {
    /// Payload of a `turn_context` line: the settings with which the model runs from here on.
    pub struct TurnContext {
        /// The id of the turn, in newer files.
        turn_id: TurnId,
        /// The working directory.
        cwd: String,
        /// The model.
        model: String,
        /// The reasoning effort.
        effort: String,
        /// When the agent asks the user for approval: a word such as `"never"`, or an object.
        approval_policy: Value,
        /// What commands may access, as an object. Old files tag it with `mode`, new ones with `type`.
        sandbox_policy: Value,
        /// What commands may access, in newer files.
        permission_profile: Value,
    }
}
