//! Numbers of tokens that a thread used.

use crate::open_object::open_object;
use crate::{SessionId, ThreadId, TurnId};

open_object! {
    /// Numbers of tokens: of the whole thread, and of its last request to the model.
    pub struct TokenUsageInfo {
        /// The tokens of the whole thread so far.
        total_token_usage: TokenUsage,
        /// The tokens of the last request.
        last_token_usage: TokenUsage,
        /// The size of the model's context window, in tokens.
        model_context_window: u64,
    }
}

open_object! {
    /// Numbers of tokens, by kind.
    pub struct TokenUsage {
        /// Tokens that the model read, from a cache or not.
        input_tokens: u64,
        /// The part of `input_tokens` that came from a cache.
        cached_input_tokens: u64,
        /// Tokens that the model wrote.
        output_tokens: u64,
        /// The part of `output_tokens` that is reasoning.
        reasoning_output_tokens: u64,
        /// Tokens read and written.
        total_tokens: u64,
    }
}

impl TokenUsage {
    /// Creates the numbers of a request for which the model read and wrote this many tokens. The parts of them, such as those from a
    /// cache, are fields that can be set afterwards.
    #[must_use]
    pub fn new(input: u64, output: u64) -> Self {
        Self {
            input_tokens: Some(input),
            output_tokens: Some(output),
            total_tokens: Some(input.saturating_add(output)),
            ..Self::default()
        }
    }
}

open_object! {
    /// Payload of a `token_usage_record` line: the tokens of one response of the model, with the sums up to it.
    ///
    /// A `token_count` event with the same total of the thread follows it. So the tokens of a thread record come from the
    /// events, which older files have, too.
    pub struct TokenUsageRecord {
        /// The thread that sent the request. In a copied history it is another thread.
        thread_id: ThreadId,
        /// The turn that sent the request.
        turn_id: TurnId,
        /// The tree of sub-agents to which the thread belongs.
        session_id: SessionId,
        /// The turn at the root of the tree, for which the turn works.
        root_turn_id: TurnId,
        /// The id of the response, as the provider of the model gave it.
        response_id: String,
        /// The tokens of the response.
        usage: TokenUsage,
        /// The tokens of the turn so far.
        turn_token_usage: TokenUsage,
        /// The tokens of the thread so far.
        thread_token_usage: TokenUsage,
    }
}
