//! The items of a log: the content of its lines, by kind.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::lone_surrogates::without_lone_surrogates;
use crate::open_object::{RawFields, open_object};
use crate::{
    Compacted, DynamicToolsUpdated, EventMsg, OpenItem, RealtimeItem, ResponseItem, RetainedContext, SessionMeta,
    ThreadId, ThreadMetadataPatch, TokenUsageRecord, TurnContext, WorldStateRecord,
};

/// The content of one line of a log, by its kind.
///
/// An item is what a caller appends. It serializes as `{"type": …, "payload": …}`; the store adds the time and the
/// ordinal, and so makes a line of it ([`RolloutLine`](crate::RolloutLine)).
///
/// Response items are what the *model* sees, and events are what a *client* sees. The same message of a user is often
/// in the log as both.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RolloutItem {
    /// The head of a segment, or an update of the metadata of a legacy thread.
    SessionMeta(Box<SessionMeta>),
    /// An item of the model's input or output.
    ResponseItem(ResponseItem),
    /// An event for clients: a turn began, a message was shown, tokens were counted, …
    EventMsg(EventMsg),
    /// The settings with which the model runs from here on.
    TurnContext(Box<TurnContext>),
    /// A compaction: from here on, the model sees a shorter history.
    Compacted(Box<Compacted>),
    /// A snapshot of the world state, or a patch of it.
    WorldState(WorldStateRecord),
    /// A message between agents.
    InterAgentCommunication(InterAgentCommunication),
    /// Whether the message between agents on the next line begins a turn.
    InterAgentCommunicationMetadata(InterAgentCommunicationMetadata),
    /// The tools that the client offers were replaced.
    DynamicToolsUpdated(DynamicToolsUpdated),
    /// Tokens of one response of the model.
    TokenUsageRecord(Box<TokenUsageRecord>),
    /// Something that must survive compactions.
    RetainedContext(Box<RetainedContext>),
    /// Something that happened in a voice session.
    RealtimeItem(Box<RealtimeItem>),
    /// How dangerous a classifier considers an action.
    SecurityRiskScore(SecurityRiskScore),
    /// Metadata that a user or a client set explicitly, and for which the format has no other line. Only Selvedge
    /// writes it; other programs skip it.
    ThreadMetadata(Box<ThreadMetadataRecord>),
    /// A kind that this version does not know, or a known kind with a payload of an unexpected shape. The payload is kept as it was read.
    Other(OpenItem),
}

open_object! {
    /// Payload of an `inter_agent_communication` line: a message from one agent to another.
    pub struct InterAgentCommunication {
        /// The agent that sends the message.
        author: String,
        /// The agent that receives it.
        recipient: String,
        /// The message.
        content: String,
    }
}

open_object! {
    /// Payload of an `inter_agent_communication_metadata` line, which is directly before the `agent_message` that it
    /// describes.
    pub struct InterAgentCommunicationMetadata {
        /// Whether the message begins a turn of the agent that receives it.
        trigger_turn: bool,
    }
}

open_object! {
    /// Payload of a `security_risk_score` line: how dangerous a classifier considers an action.
    pub struct SecurityRiskScore {
        /// A number for each category, as an object.
        scores: Value,
        /// The call that is assessed.
        call_id: String,
        /// The action that is assessed.
        action: String,
        /// The time of the assessment, as the program spells it.
        sampled_at: String,
    }
}

open_object! {
    /// Payload of a `thread_metadata` line: metadata that was set explicitly.
    ///
    /// It names its thread, because a fork by copy also contains such lines of its source, which do not describe the
    /// fork. See `docs/decisions/0008-explicit-metadata-in-the-log.md`.
    pub struct ThreadMetadataRecord {
        /// The thread whose metadata was set.
        thread_id: ThreadId,
        /// The change.
        patch: ThreadMetadataPatch,
    }
}

impl ThreadMetadataRecord {
    /// Creates the record of a change of this thread.
    #[must_use]
    pub fn new(thread_id: ThreadId, patch: ThreadMetadataPatch) -> Self {
        Self { thread_id: Some(thread_id), patch: Some(patch), ..Self::default() }
    }
}

impl From<ThreadMetadataRecord> for RolloutItem {
    fn from(record: ThreadMetadataRecord) -> Self {
        Self::ThreadMetadata(Box::new(record))
    }
}

impl RolloutItem {
    /// Returns the kind of the item, which is the `type` of its line.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::SessionMeta(_) => "session_meta",
            Self::ResponseItem(_) => "response_item",
            Self::EventMsg(_) => "event_msg",
            Self::TurnContext(_) => "turn_context",
            Self::Compacted(_) => "compacted",
            Self::WorldState(_) => "world_state",
            Self::InterAgentCommunication(_) => "inter_agent_communication",
            Self::InterAgentCommunicationMetadata(_) => "inter_agent_communication_metadata",
            Self::DynamicToolsUpdated(_) => "dynamic_tools_updated",
            Self::TokenUsageRecord(_) => "token_usage_record",
            Self::RetainedContext(_) => "retained_context",
            Self::RealtimeItem(_) => "realtime_item",
            Self::SecurityRiskScore(_) => "security_risk_score",
            Self::ThreadMetadata(_) => "thread_metadata",
            Self::Other(item) => item.kind(),
        }
    }

    /// Creates the item of this kind with this payload. If the payload of a known kind has an unexpected shape, the
    /// item is [`RolloutItem::Other`].
    ///
    /// U+FFFD replaces each lone surrogate escape in the payload ([`without_lone_surrogates`]).
    #[must_use]
    pub fn from_json(kind: &str, payload: &RawValue) -> Self {
        // These two replace lone surrogates themselves.
        let clean = match kind {
            "response_item" | "event_msg" => Cow::Borrowed(payload.get()),
            _ => without_lone_surrogates(payload.get()),
        };
        let text = &*clean;
        // Nearly every object parses, because the fields of the views are optional. What fails is a payload that is not
        // an object.
        let typed = match kind {
            "session_meta" => serde_json::from_str(text).ok().map(Self::SessionMeta),
            "response_item" => serde_json::from_str(text).ok().map(Self::ResponseItem),
            // An event keeps any JSON value as `EventMsg::Other`, so it would also accept a payload that is not an
            // object.
            "event_msg" if text.starts_with('{') => serde_json::from_str(text).ok().map(Self::EventMsg),
            "turn_context" => serde_json::from_str(text).ok().map(Self::TurnContext),
            "compacted" => serde_json::from_str(text).ok().map(Self::Compacted),
            "world_state" => serde_json::from_str(text).ok().map(Self::WorldState),
            "inter_agent_communication" => serde_json::from_str(text).ok().map(Self::InterAgentCommunication),
            "inter_agent_communication_metadata" => {
                serde_json::from_str(text).ok().map(Self::InterAgentCommunicationMetadata)
            }
            "dynamic_tools_updated" => serde_json::from_str(text).ok().map(Self::DynamicToolsUpdated),
            "token_usage_record" => serde_json::from_str(text).ok().map(Self::TokenUsageRecord),
            "retained_context" => serde_json::from_str(text).ok().map(Self::RetainedContext),
            "realtime_item" => serde_json::from_str(text).ok().map(Self::RealtimeItem),
            "security_risk_score" => serde_json::from_str(text).ok().map(Self::SecurityRiskScore),
            "thread_metadata" => serde_json::from_str(text).ok().map(Self::ThreadMetadata),
            _ => None,
        };
        typed.unwrap_or_else(|| Self::Other(OpenItem::new(kind, payload.to_owned())))
    }

    /// Writes the JSON text of the payload to `out`.
    ///
    /// # Errors
    /// If `out` fails. The items themselves can always be written as JSON.
    pub fn write_payload<W: std::io::Write>(&self, out: W) -> serde_json::Result<()> {
        serde_json::to_writer(out, &Payload(self))
    }
}

impl From<ResponseItem> for RolloutItem {
    fn from(item: ResponseItem) -> Self {
        Self::ResponseItem(item)
    }
}

impl From<EventMsg> for RolloutItem {
    fn from(event: EventMsg) -> Self {
        Self::EventMsg(event)
    }
}

impl From<SessionMeta> for RolloutItem {
    fn from(meta: SessionMeta) -> Self {
        Self::SessionMeta(Box::new(meta))
    }
}

impl From<TurnContext> for RolloutItem {
    fn from(context: TurnContext) -> Self {
        Self::TurnContext(Box::new(context))
    }
}

impl From<Compacted> for RolloutItem {
    fn from(compacted: Compacted) -> Self {
        Self::Compacted(Box::new(compacted))
    }
}

impl From<WorldStateRecord> for RolloutItem {
    fn from(record: WorldStateRecord) -> Self {
        Self::WorldState(record)
    }
}

/// Serializes the payload of an item alone, without its kind.
struct Payload<'a>(&'a RolloutItem);

impl Serialize for Payload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            RolloutItem::SessionMeta(payload) => payload.serialize(serializer),
            RolloutItem::ResponseItem(payload) => payload.serialize(serializer),
            RolloutItem::EventMsg(payload) => payload.serialize(serializer),
            RolloutItem::TurnContext(payload) => payload.serialize(serializer),
            RolloutItem::Compacted(payload) => payload.serialize(serializer),
            RolloutItem::WorldState(payload) => payload.serialize(serializer),
            RolloutItem::InterAgentCommunication(payload) => payload.serialize(serializer),
            RolloutItem::InterAgentCommunicationMetadata(payload) => payload.serialize(serializer),
            RolloutItem::DynamicToolsUpdated(payload) => payload.serialize(serializer),
            RolloutItem::TokenUsageRecord(payload) => payload.serialize(serializer),
            RolloutItem::RetainedContext(payload) => payload.serialize(serializer),
            RolloutItem::RealtimeItem(payload) => payload.serialize(serializer),
            RolloutItem::SecurityRiskScore(payload) => payload.serialize(serializer),
            RolloutItem::ThreadMetadata(payload) => payload.serialize(serializer),
            RolloutItem::Other(payload) => payload.serialize(serializer),
        }
    }
}

impl Serialize for RolloutItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("type", self.kind())?;
        map.serialize_entry("payload", &Payload(self))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for RolloutItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Read from raw fields, because the type of the payload depends on the kind, which can come behind it.
        let (mut kind, mut payload) = (None, None);
        for (key, value) in RawFields::deserialize(deserializer)?.0 {
            match key.as_str() {
                "type" => kind = serde_json::from_str::<String>(&without_lone_surrogates(value.get())).ok(),
                "payload" => payload = Some(value),
                _ => {}
            }
        }
        let kind = kind.ok_or_else(|| serde::de::Error::custom("an item needs a `type`, which is a string"))?;
        let payload = payload.ok_or_else(|| serde::de::Error::custom("an item needs a `payload`"))?;
        Ok(Self::from_json(&kind, &payload))
    }
}
