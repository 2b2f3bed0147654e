//! Numbers of tokens that a thread used.

use crate::open_object::open_object;

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
