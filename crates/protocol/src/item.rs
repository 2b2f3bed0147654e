//! What a line says, typed.

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::open::{RawFields, open_object};
use crate::{
    Compacted, EventMsg, OpenItem, ResponseItem, SessionMeta, ThreadId, ThreadMetadataPatch, TurnContext,
    WorldStateRecord,
};

/// What a line of a thread's log says.
///
/// Serialises as `{"type": …, "payload": …}`, the part of a line that its writer decides.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RolloutItem {
    /// Whose file this is.
    SessionMeta(Box<SessionMeta>),
    /// What the model sees.
    ResponseItem(ResponseItem),
    /// What a client was told.
    EventMsg(EventMsg),
    /// The settings of a turn.
    TurnContext(Box<TurnContext>),
    /// The history was replaced by a shorter one.
    Compacted(Box<Compacted>),
    /// What the model was told about its surroundings.
    WorldState(WorldStateRecord),
    /// A message between agents.
    InterAgentCommunication(InterAgentCommunication),
    /// Metadata that was set explicitly and that no other line says. Selvedge's own; other readers skip it.
    ThreadMetadata(Box<ThreadMetadataRecord>),
    /// A kind that no rule here needs a field of, or that this version does not know; kept whole.
    Other(OpenItem),
}

open_object! {
    /// Payload of an `inter_agent_communication` line.
    pub struct InterAgentCommunication {
        /// Who writes.
        author: String,
        /// To whom.
        recipient: String,
        /// What.
        content: String,
    }
}

open_object! {
    /// Payload of a `thread_metadata` line: metadata that was set explicitly. It names its thread, because a full-copy fork
    /// holds the lines of its source as well, and those do not speak of the fork.
    pub struct ThreadMetadataRecord {
        /// The thread.
        thread_id: ThreadId,
        /// What was set.
        patch: ThreadMetadataPatch,
    }
}

impl ThreadMetadataRecord {
    /// The record that this was set of that thread.
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
    /// The item's kind, the `type` of its line.
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
            Self::ThreadMetadata(_) => "thread_metadata",
            Self::Other(item) => item.kind(),
        }
    }

    /// The item of this kind with this payload. A known kind of a wrong shape is [`RolloutItem::Other`].
    #[must_use]
    pub fn from_json(kind: &str, payload: &RawValue) -> Self {
        let text = payload.get();
        let typed = match kind {
            "session_meta" => serde_json::from_str(text).ok().map(Self::SessionMeta),
            "response_item" => serde_json::from_str(text).ok().map(Self::ResponseItem),
            "event_msg" if text.starts_with('{') => serde_json::from_str(text).ok().map(Self::EventMsg),
            "turn_context" => serde_json::from_str(text).ok().map(Self::TurnContext),
            "compacted" => serde_json::from_str(text).ok().map(Self::Compacted),
            "world_state" => serde_json::from_str(text).ok().map(Self::WorldState),
            "inter_agent_communication" => serde_json::from_str(text).ok().map(Self::InterAgentCommunication),
            "thread_metadata" => serde_json::from_str(text).ok().map(Self::ThreadMetadata),
            _ => None,
        };
        typed.unwrap_or_else(|| Self::Other(OpenItem::new(kind, payload.to_owned())))
    }

    /// Writes the payload's JSON text to `out`.
    ///
    /// # Errors
    /// When a value cannot be JSON; the types here never make one.
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
        let (mut kind, mut payload) = (None, None);
        for (key, value) in RawFields::deserialize(deserializer)?.0 {
            match key.as_str() {
                "type" => kind = serde_json::from_str::<String>(value.get()).ok(),
                "payload" => payload = Some(value),
                _ => {}
            }
        }
        let kind = kind.ok_or_else(|| serde::de::Error::custom("an item needs a `type`, which is a string"))?;
        let payload = payload.ok_or_else(|| serde::de::Error::custom("an item needs a `payload`"))?;
        Ok(Self::from_json(&kind, &payload))
    }
}
