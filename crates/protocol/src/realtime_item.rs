//! What a voice session said and did.

use serde_json::Value;

use crate::TurnId;
use crate::open_object::open_object;

open_object! {
    /// Payload of a `realtime_item` line: one thing that happened in a voice session. Each kind has some of the fields.
    ///
    /// | `kind` | meaning | its fields |
    /// | --- | --- | --- |
    /// | `realtime_session_started`, `realtime_session_closed` | the session began or ended | `outcome` |
    /// | `frame` | words were spoken | `channels` |
    /// | `transcript_segment` | the same in an earlier form | `role`, `text` |
    /// | `turn_input_accepted` | spoken words became the input of a turn | `turn_id`, `mode`, `input` |
    /// | `session_end_input_saved` | words at the end of the session became input | `input` |
    /// | `bem_item_promoted` | the session shows an item of a turn | `turn_id`, `item_id`, `presentation` |
    pub struct RealtimeItem {
        /// The kind of the item.
        kind: String as "type",
        /// The id of the item.
        id: String,
        /// The voice session.
        realtime_session_id: String,
        /// The time at which the program observed it, in milliseconds since the beginning of 1970.
        observed_at_ms: i64,
        /// Who spoke: `user` or `assistant`.
        role: String,
        /// The words that were spoken.
        text: String,
        /// The channels of a frame. [`Self::transcript`] reads the spoken words in them.
        channels: Value,
        /// The turn that the item concerns.
        turn_id: TurnId,
        /// The item of the turn that is shown.
        item_id: String,
        /// How the session shows the item of a turn.
        presentation: Value,
        /// Whether the input starts a turn (`start`) or steers a running one (`steer`).
        mode: String,
        /// The words that became input.
        input: Value,
        /// The id of the input as an item.
        input_item_id: String,
        /// The way in which the session ended: `ended` or `failed`.
        outcome: String,
    }
}

impl RealtimeItem {
    /// Returns who spoke and the words that were spoken. `None` if the item contains no speech.
    #[must_use]
    pub fn transcript(&self) -> Option<(&str, &str)> {
        let of_frame = || {
            let transcript = self.channels.as_ref()?.get("voice_transcript")?;
            Some((transcript.get("role")?.as_str()?, transcript.get("text")?.as_str()?))
        };
        self.role.as_deref().zip(self.text.as_deref()).or_else(of_frame)
    }
}
