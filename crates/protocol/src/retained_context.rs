//! What must survive compactions beside the history of the model.

use crate::TurnId;
use crate::open_object::open_object;

open_object! {
    /// Payload of a `retained_context` line: something that must survive compactions. Each kind has some of the fields.
    ///
    /// | `kind` | meaning | its fields |
    /// | --- | --- | --- |
    /// | `verified_answer` | the user answered questions of the agent | `call_id`, `questions`, `acceptance_order` |
    /// | `delivered_assistant_message` | a message that the user was shown | `message_id`, `text`, `order`, `revision`, `complete` |
    ///
    /// The answers are also in the output of the call. A delivered message can be in no other line.
    pub struct RetainedContext {
        /// The kind of the record.
        kind: String as "type",
        /// The turn to which it belongs.
        turn_id: TurnId,
        /// The call that asked the questions.
        call_id: String,
        /// The questions that the user answered.
        questions: Vec<AnsweredQuestion>,
        /// The place of the answer among the inputs of the user.
        acceptance_order: u64,
        /// The id of the message.
        message_id: String,
        /// The text of the message.
        text: String,
        /// The place of the message among the messages of the thread.
        order: u64,
        /// How often the message was changed.
        revision: u64,
        /// Whether the message is complete.
        complete: bool,
    }
}

open_object! {
    /// A question of the agent, with the answer of the user.
    pub struct AnsweredQuestion {
        /// The question, followed by a line for each option that was chosen.
        question: String,
        /// The answer.
        answer: String,
    }
}
