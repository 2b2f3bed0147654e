//! A stand-in for the realtime API, with which Codex holds voice sessions: a web socket on loopback that accepts every session and sends
//! the events that it is told to send.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tungstenite::{Error, Message, WebSocket, accept};

/// How long the stand-in waits for a message of the client before it looks for events to send.
const BEAT: Duration = Duration::from_millis(20);

/// A running stand-in for one session at a time. It serves until the process ends.
pub(crate) struct VoiceStandIn {
    address: SocketAddr,
    events: Sender<Value>,
}

impl VoiceStandIn {
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("cannot listen on loopback")?;
        let address = listener.local_addr()?;
        let (events, script) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // If the session breaks off, the voice session of the program ends with an error.
                let _ = serve(stream, &script);
            }
        });
        Ok(Self { address, events })
    }

    /// The base URL for the configuration of Codex.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// The person said this, in one go.
    pub(crate) fn hear(&self, id: &str, text: &str) -> Result<()> {
        let kind = "conversation.item.input_audio_transcription";
        self.send(json!({"type": format!("{kind}.delta"), "item_id": id, "delta": text}))?;
        self.send(json!({"type": format!("{kind}.completed"), "item_id": id, "transcript": text}))
    }

    /// The person began to say this and did not end.
    pub(crate) fn hear_beginning(&self, id: &str, text: &str) -> Result<()> {
        self.send(json!({"type": "conversation.item.input_audio_transcription.delta", "item_id": id, "delta": text}))
    }

    /// The voice model said this, in one go.
    pub(crate) fn speak(&self, id: &str, text: &str) -> Result<()> {
        self.send(json!({"type": "response.output_audio_transcript.delta", "item_id": id, "delta": text}))?;
        self.send(json!({"type": "response.output_audio_transcript.done", "item_id": id, "transcript": text}))
    }

    /// The voice model hands work to the thread.
    pub(crate) fn hand_over(&self, id: &str, prompt: &str) -> Result<()> {
        let item = json!({
            "id": id, "type": "function_call", "name": "background_agent", "call_id": format!("call_{id}"),
            "arguments": json!({"prompt": prompt}).to_string(),
        });
        self.send(json!({"type": "conversation.item.done", "item": item}))
    }

    fn send(&self, event: Value) -> Result<()> {
        self.events.send(event).context("the voice stand-in has ended")
    }
}

/// Serves one session until the client closes it.
fn serve(stream: TcpStream, script: &Receiver<Value>) -> Result<()> {
    let mut socket = accept(stream).map_err(|error| anyhow::anyhow!("no web socket: {error}"))?;
    socket.get_ref().set_read_timeout(Some(BEAT))?;
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => answer(&mut socket, &serde_json::from_str(&text)?)?,
            Ok(_) => {}
            Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return Ok(()),
        }
        for event in script.try_iter() {
            socket.send(Message::text(event.to_string()))?;
        }
    }
}

/// Confirms the settings of a session. Nothing else needs an answer.
fn answer(socket: &mut WebSocket<TcpStream>, message: &Value) -> Result<()> {
    if message["type"] == "session.update" {
        let session = json!({"id": "sess_1", "instructions": "none"});
        socket.send(Message::text(json!({"type": "session.updated", "session": session}).to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_confirms_the_session_and_sends_what_was_said() {
        let voice = VoiceStandIn::start().unwrap();
        let (mut client, _) = tungstenite::connect(voice.url()).unwrap();
        client.send(Message::text(json!({"type": "session.update"}).to_string())).unwrap();
        voice.hear("a", "count the geese").unwrap();
        let mut next = || serde_json::from_str::<Value>(client.read().unwrap().to_text().unwrap()).unwrap();
        assert_eq!(next()["type"], "session.updated");
        assert_eq!(next()["delta"], "count the geese");
        assert_eq!(next()["transcript"], "count the geese");
    }
}
