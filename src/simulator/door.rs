//! The listening address as a door: open, refusing, or so crowded that a connection never stands.
//!
//! An unreachable platform is played by the operating system itself, so that a client meets the
//! very errors that it would meet outside: a port that is bound but not listened on refuses, and
//! one whose queue is full leaves a handshake without an answer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

/// Connections that may wait to be accepted while the door is open.
const BACKLOG: u32 = 1024;
/// A connection on loopback that takes longer than this is one that nobody answers.
const UNANSWERED: Duration = Duration::from_millis(100);
/// Between two tries to take the address again.
const PAUSE: Duration = Duration::from_millis(50);

/// Whether connections are accepted. Closing it also breaks those that are open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// Accepts.
    #[default]
    Open,
    /// Connections are refused.
    Refuse,
    /// Connections get no answer: they never stand, and are never refused.
    Hang,
}

/// Sets the door, and knows when that is done.
pub(crate) struct DoorHandle {
    wanted: watch::Sender<(u64, Door)>,
    reached: watch::Receiver<u64>,
}

/// The listener's side of a [`DoorHandle`].
pub(crate) struct DoorOrders {
    pub(super) wanted: watch::Receiver<(u64, Door)>,
    pub(super) reached: watch::Sender<u64>,
}

impl DoorHandle {
    pub(crate) fn new() -> (Self, DoorOrders) {
        let (wanted, orders) = watch::channel((0, Door::Open));
        let (done, reached) = watch::channel(0);
        (Self { wanted, reached }, DoorOrders { wanted: orders, reached: done })
    }

    /// Returns when the door stands so, or nobody is left to move it.
    pub(crate) async fn set(&self, door: Door) {
        let mut number = 0;
        self.wanted.send_modify(|wanted| {
            number = wanted.0 + 1;
            *wanted = (number, door);
        });
        let _ = self.reached.clone().wait_for(|reached| *reached >= number).await;
    }
}

/// The address in one of its states.
pub(super) enum Doorway {
    /// Listening.
    Open(TcpListener),
    /// Bound, so that nobody else takes the port, and not listening.
    Shut(TcpSocket),
    /// Listening with a queue that these fill.
    Crowded { _listener: TcpListener, _queue: Vec<TcpStream> },
}

impl Doorway {
    /// The doorway in that state; retries until the address can be had.
    pub(super) async fn turn(self, address: SocketAddr, door: Door) -> Self {
        let mut next = match (self, door) {
            (open @ Self::Open(_), Door::Open) => return open,
            // The port was never let go of.
            (Self::Shut(socket), Door::Open) => socket.listen(BACKLOG).map(Self::Open),
            // Dropped before the address is taken anew.
            (_, door) => Self::enter(address, door).await,
        };
        loop {
            match next {
                Ok(doorway) => return doorway,
                Err(error) => {
                    tracing::warn!(%error, %address, "the simulator does not have its address yet");
                    tokio::time::sleep(PAUSE).await;
                    next = Self::enter(address, door).await;
                }
            }
        }
    }

    async fn enter(address: SocketAddr, door: Door) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Connections of the last state still linger on the address.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        match door {
            Door::Open => socket.listen(BACKLOG).map(Self::Open),
            Door::Refuse => Ok(Self::Shut(socket)),
            Door::Hang => {
                let listener = socket.listen(1)?;
                let mut queue = Vec::new();
                while let Ok(stream) = timeout(UNANSWERED, TcpStream::connect(address)).await {
                    queue.push(stream?);
                }
                Ok(Self::Crowded { _listener: listener, _queue: queue })
            }
        }
    }
}
