//! A proxy between a client and a server that loses what it carries.
//!
//! Each connection has two threads. One forwards what the client sends, a group of messages at a time, and decides for each
//! group whether it goes wrong. The other one forwards what the server sends, a message at a time, and applies the fault.
//!
//! ```text
//! client ── Parse Bind Execute Sync ──▶ decide ──▶ server
//!        ◀── apply ◀── … CommandComplete ReadyForQuery ──
//! ```

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::server_url::{self, ServerAddress};
use crate::wire::{self, Opening};

/// What goes wrong with one request, which is a group of messages that executes a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyFault {
    /// The connection is cut, and the server never sees the request.
    CutBeforeRequest,
    /// The server gets the request and the connection is cut at once. The server may complete it or not.
    CutAfterRequest,
    /// The server completes the request, and the connection is cut before the first byte of the reply.
    LoseReply,
    /// The server completes the request, and the connection is cut after this number of bytes of the reply.
    CutInReply(usize),
    /// The server completes the request. The client gets no reply and the connection stays open.
    HoldReply,
    /// The reply comes this much later.
    DelayReply(Duration),
}

/// What a proxy did. Each fault counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyCounts {
    /// Connections that clients opened and that were accepted.
    pub connections: u64,
    /// Requests that arrived, faulty ones included.
    pub requests: u64,
    /// Connections that were cut before their request was forwarded.
    pub cut_before_request: u64,
    /// Connections that were cut after their request was forwarded, and before or in its reply.
    pub cut_after_request: u64,
    /// Replies that were kept from a client that goes on waiting.
    pub held: u64,
    /// Replies that were delayed.
    pub delayed: u64,
    /// Connections that were cut by [`FaultyProxy::cut_all`].
    pub cut_by_hand: u64,
}

impl ProxyCounts {
    /// Returns how many faults there were.
    pub fn faults(&self) -> u64 {
        self.cut_before_request + self.cut_after_request + self.held + self.delayed + self.cut_by_hand
    }
}

/// A proxy on a port of its own. It ends, with all of its connections, when the value is dropped.
#[derive(Debug)]
pub struct FaultyProxy {
    target: String,
    address: SocketAddr,
    state: Arc<Mutex<ProxyState>>,
}

#[derive(Debug, Default)]
struct ProxyState {
    plan: FaultPlan,
    is_refusing: bool,
    is_ending: bool,
    counts: ProxyCounts,
    /// Both ends of each open connection.
    open: BTreeMap<u64, (TcpStream, ServerStream)>,
}

/// Which request goes wrong.
#[derive(Debug, Default)]
enum FaultPlan {
    #[default]
    None,
    /// The next one that contains these bytes.
    Next(Vec<u8>, ProxyFault),
    /// One in so many, chosen by the seed and the number of the request.
    Random { seed: u64, one_in: u64 },
}

impl FaultyProxy {
    /// Starts a proxy in front of the server that the URL names. It forwards everything until it is told otherwise.
    ///
    /// Clients must not encrypt: the proxy says that the server does not offer it.
    ///
    /// # Panics
    /// If no port of the loopback interface can be had.
    pub fn start(target: &str) -> Self {
        let listener =
            TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("no port for the proxy: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("no address of the proxy: {error}"));
        let state = Arc::<Mutex<ProxyState>>::default();
        let server = server_url::address(target);
        let accepting = Arc::clone(&state);
        std::thread::spawn(move || accept_all(&listener, &server, &accepting));
        Self { target: target.to_owned(), address, state }
    }

    /// Returns the URL of the target with the address of the proxy.
    pub fn url(&self) -> String {
        server_url::with_address(&self.target, &self.address.to_string())
    }

    /// Makes the next request of any connection go wrong.
    pub fn fail_next(&self, fault: ProxyFault) {
        self.fail_next_containing("", fault);
    }

    /// Makes the next request that contains this text go wrong, such as `COMMIT`.
    ///
    /// The text of a prepared statement is in the message that prepares it, and not in the requests that execute it.
    pub fn fail_next_containing(&self, text: &str, fault: ProxyFault) {
        lock(&self.state).plan = FaultPlan::Next(text.as_bytes().to_vec(), fault);
    }

    /// Makes one in `one_in` requests go wrong from now on, each with a fault that the seed chooses: cuts before and after the
    /// request, cuts in the reply, lost replies, and delays of up to 20 ms. Replies are not held, as clients without a time
    /// limit would wait forever.
    pub fn fail_at_random(&self, seed: u64, one_in: u64) {
        lock(&self.state).plan = FaultPlan::Random { seed, one_in };
    }

    /// Lets everything pass from now on, and accepts connections again.
    pub fn pass_all(&self) {
        let mut state = lock(&self.state);
        state.plan = FaultPlan::None;
        state.is_refusing = false;
    }

    /// Closes new connections at once, as if no server were there. Open connections stay.
    pub fn refuse(&self) {
        lock(&self.state).is_refusing = true;
    }

    /// Cuts all open connections, and returns how many there were.
    pub fn cut_all(&self) -> usize {
        let mut state = lock(&self.state);
        let open = std::mem::take(&mut state.open);
        state.counts.cut_by_hand += open.len() as u64;
        open.values().for_each(|(client, server)| cut(client, server));
        open.len()
    }

    /// Returns what the proxy did so far.
    pub fn counts(&self) -> ProxyCounts {
        lock(&self.state).counts
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        lock(&self.state).is_ending = true;
        self.cut_all();
        // The thread that accepts connections waits for one.
        let _ = TcpStream::connect(self.address);
    }
}

impl ProxyState {
    /// Counts a request, and returns what goes wrong with it.
    fn next_fault(&mut self, request: &[u8]) -> Option<ProxyFault> {
        self.counts.requests += 1;
        match &self.plan {
            FaultPlan::None => None,
            FaultPlan::Next(text, fault) => {
                let fault = *fault;
                let is_met = text.is_empty() || request.windows(text.len()).any(|window| window == text.as_slice());
                if is_met {
                    self.plan = FaultPlan::None;
                }
                is_met.then_some(fault)
            }
            FaultPlan::Random { seed, one_in } => {
                let mut hasher = DefaultHasher::new();
                (seed, self.counts.requests).hash(&mut hasher);
                let number = hasher.finish();
                number.is_multiple_of(*one_in).then(|| random_fault(number / one_in))
            }
        }
    }
}

fn random_fault(number: u64) -> ProxyFault {
    let detail = number / 5;
    match number % 5 {
        0 => ProxyFault::CutBeforeRequest,
        1 => ProxyFault::CutAfterRequest,
        2 => ProxyFault::LoseReply,
        // Most replies to a write are shorter than 64 bytes.
        3 => ProxyFault::CutInReply(usize::try_from(1 + detail % 63).unwrap_or(1)),
        _ => ProxyFault::DelayReply(Duration::from_millis(detail % 20)),
    }
}

/// A connection to the server.
#[derive(Debug)]
enum ServerStream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl ServerStream {
    fn connect(address: &ServerAddress) -> io::Result<Self> {
        match address {
            ServerAddress::Unix(path) => UnixStream::connect(path).map(Self::Unix),
            ServerAddress::Tcp(host) => TcpStream::connect(host).map(Self::Tcp),
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
        }
    }

    fn shutdown(&self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
        }
    }
}

impl Read for ServerStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for ServerStream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(buffer),
            Self::Tcp(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn accept_all(listener: &TcpListener, server: &ServerAddress, state: &Arc<Mutex<ProxyState>>) {
    for (number, client) in (0..).zip(listener.incoming()) {
        let is_refusing = {
            let state = lock(state);
            if state.is_ending {
                return;
            }
            state.is_refusing
        };
        // A client that is gone, or a server that is not there: the client finds its connection closed.
        if let (Ok(client), false) = (client, is_refusing) {
            let _ = open_connection(number, client, server, state);
        }
    }
}

fn open_connection(
    number: u64,
    client: TcpStream,
    server: &ServerAddress,
    state: &Arc<Mutex<ProxyState>>,
) -> io::Result<()> {
    let server = ServerStream::connect(server)?;
    // A proxy that waits to fill packets would be slower than the server.
    client.set_nodelay(true)?;
    let ends = (client.try_clone()?, server.try_clone()?);
    {
        let mut state = lock(state);
        state.counts.connections += 1;
        state.open.insert(number, ends);
    }
    // What goes wrong with the reply that the server sends next.
    let pending = Arc::<Mutex<Option<ProxyFault>>>::default();
    let (replies_to, replies_from) = (client.try_clone()?, server.try_clone()?);
    for direction in [
        Box::new({
            let (state, pending) = (Arc::clone(state), Arc::clone(&pending));
            move || forward_requests(client, server, &state, &pending)
        }) as Box<dyn FnOnce() -> io::Result<()> + Send>,
        Box::new({
            let state = Arc::clone(state);
            move || forward_replies(replies_from, replies_to, &state, &pending)
        }),
    ] {
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            // However one direction ends, the connection ends with it.
            let _ = direction();
            if let Some((client, server)) = lock(&state).open.remove(&number) {
                cut(&client, &server);
            }
        });
    }
    Ok(())
}

fn cut(client: &TcpStream, server: &ServerStream) {
    // An end that is closed already cannot be closed again.
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown();
}

/// Forwards what a client sends until the connection ends or is cut.
fn forward_requests(
    mut client: TcpStream,
    mut server: ServerStream,
    state: &Mutex<ProxyState>,
    pending: &Mutex<Option<ProxyFault>>,
) -> io::Result<()> {
    loop {
        match wire::read_opening(&mut client)? {
            None => return Ok(()),
            Some(Opening::Encryption) => client.write_all(b"N")?,
            Some(Opening::Session(message)) => {
                server.write_all(&message)?;
                break;
            }
        }
    }
    let (mut group, mut is_request) = (Vec::new(), false);
    let mut client = io::BufReader::new(client);
    while let Some(message) = wire::read_message(&mut client)? {
        let kind = message[0];
        is_request |= wire::executes(kind);
        group.extend_from_slice(&message);
        if !wire::ends_a_group(kind) {
            continue;
        }
        let fault = if is_request { lock(state).next_fault(&group) } else { None };
        match fault {
            Some(ProxyFault::CutBeforeRequest) => {
                lock(state).counts.cut_before_request += 1;
                return Ok(());
            }
            Some(ProxyFault::CutAfterRequest) => {
                server.write_all(&group)?;
                lock(state).counts.cut_after_request += 1;
                return Ok(());
            }
            // The server cannot answer before it has the request.
            _ => *lock(pending) = fault,
        }
        server.write_all(&group)?;
        group.clear();
        is_request = false;
    }
    Ok(())
}

/// Forwards what a server sends until the connection ends or is cut.
fn forward_replies(
    server: ServerStream,
    mut client: TcpStream,
    state: &Mutex<ProxyState>,
    pending: &Mutex<Option<ProxyFault>>,
) -> io::Result<()> {
    let mut server = io::BufReader::new(server);
    // How much of a reply has to be lost has reached the client. `None` outside of such a reply.
    let mut sent = 0;
    let mut is_held = false;
    while let Some(message) = wire::read_message(&mut server)? {
        let fault = *lock(pending);
        let may_pass = match fault {
            Some(ProxyFault::DelayReply(delay)) => {
                std::thread::sleep(delay);
                *lock(pending) = None;
                lock(state).counts.delayed += 1;
                usize::MAX
            }
            Some(ProxyFault::LoseReply | ProxyFault::HoldReply) => 0,
            Some(ProxyFault::CutInReply(len)) => len - sent,
            _ => usize::MAX,
        };
        if is_held {
            continue;
        }
        let passing = &message[..message.len().min(may_pass)];
        client.write_all(passing)?;
        if may_pass == usize::MAX {
            continue;
        }
        sent += passing.len();
        // The server has completed the request when its reply is complete.
        if wire::ends_an_answer(message[0]) {
            let mut state = lock(state);
            if fault == Some(ProxyFault::HoldReply) {
                state.counts.held += 1;
                is_held = true;
            } else {
                state.counts.cut_after_request += 1;
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Locks a state. A thread that panicked in between has left it whole: each change is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
