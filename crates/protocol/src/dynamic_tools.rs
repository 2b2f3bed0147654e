//! The tools that a client offers to the model.

use serde_json::Value;

use crate::ThreadId;
use crate::open_object::open_object;

open_object! {
    /// Payload of a `dynamic_tools_updated` line: from here on, the client offers other tools than the head says.
    pub struct DynamicToolsUpdated {
        /// The thread whose tools these are. In a copied history it is another thread.
        thread_id: ThreadId,
        /// All tools that the client offers, in the form of the `dynamic_tools` of a head.
        tools: Value,
    }
}
