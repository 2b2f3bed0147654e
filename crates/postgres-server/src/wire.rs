//! As much of PostgreSQL's protocol as a proxy has to understand: where a message begins and ends, and what kind it is.
//!
//! A message is a byte for its kind, four bytes for the length of the rest, and the rest. The first messages of a client
//! have no kind. See <https://www.postgresql.org/docs/current/protocol-message-formats.html>.

use std::io::{self, Read};

/// No message of a test is longer.
const MAX_LEN: usize = 1 << 30;

/// The first message of a client, or one of the requests that can come before it.
pub(crate) enum Opening {
    /// Asks for encryption. The answer is one byte.
    Encryption,
    /// Begins the session, or cancels the statement of another one.
    Session(Vec<u8>),
}

/// Reads a message without a kind. `None` at the end of the stream.
pub(crate) fn read_opening(stream: &mut impl Read) -> io::Result<Option<Opening>> {
    const ENCRYPTION_CODES: [u32; 2] = [80_877_103, 80_877_104];
    let mut message = Vec::new();
    if !read_body(stream, &mut message)? {
        return Ok(None);
    }
    let code = message.get(4..8).and_then(|code| code.try_into().ok()).map(u32::from_be_bytes);
    let is_encryption = code.is_some_and(|code| ENCRYPTION_CODES.contains(&code));
    Ok(Some(if is_encryption { Opening::Encryption } else { Opening::Session(message) }))
}

/// Reads a message with its kind, which is the first byte of the result. `None` at the end of the stream.
pub(crate) fn read_message(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut message = vec![0];
    if stream.read(&mut message)? == 0 || !read_body(stream, &mut message)? {
        return Ok(None);
    }
    Ok(Some(message))
}

/// Appends the length of a message and what follows it. False at the end of the stream.
fn read_body(stream: &mut impl Read, message: &mut Vec<u8>) -> io::Result<bool> {
    let mut len = [0; 4];
    match stream.read_exact(&mut len) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        outcome => outcome?,
    }
    let rest =
        usize::try_from(u32::from_be_bytes(len)).ok().and_then(|len| len.checked_sub(4)).filter(|len| *len < MAX_LEN);
    let rest = rest.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a message with an impossible length"))?;
    message.extend_from_slice(&len);
    let start = message.len();
    message.resize(start + rest, 0);
    stream.read_exact(&mut message[start..]).map(|()| true)
}

/// Returns whether a client sends this kind of message and then waits for an answer, or for nothing.
pub(crate) fn ends_a_group(kind: u8) -> bool {
    // Query, Sync, Flush, FunctionCall, Terminate, passwords, and the parts of a COPY.
    b"QSHFXpdcf".contains(&kind)
}

/// Returns whether a server executes something for this kind of message: Query, Execute and FunctionCall.
pub(crate) fn executes(kind: u8) -> bool {
    b"QEF".contains(&kind)
}

/// Returns whether this kind of message is the last one of an answer: ReadyForQuery.
pub(crate) fn ends_an_answer(kind: u8) -> bool {
    kind == b'Z'
}
