//! A TCP proxy inside the test, which does to a connection what networks do.
//!
//! What is chosen holds at once, also for connections that stand. Bytes from
//! the server to the client are *answers*, the others *requests*; the proxy
//! knows no protocol.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// What happens to bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Nothing.
    Pass,
    /// Answers come so much later.
    Latency(Duration),
    /// Answers come byte by byte, with a pause before each.
    Drip(Duration),
    /// A connection ends after so many bytes of answers, counted from now.
    CutAfter(usize),
    /// Connections and bytes are taken, and nothing gets through either way.
    Blackhole,
    /// Requests get through, and their answers never come back.
    SwallowAnswers,
}

/// A proxy before one server. It ends with the value, and all connections
/// through it.
pub struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    counts: watch::Sender<Counts>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    behaviour: Behaviour,
    /// How often it was changed.
    changes: u64,
    /// Connections made before this many cuts are ended.
    cuts: u64,
    /// Connections made before this many are half open.
    half_opens: u64,
}

/// What went through so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Connections that were made.
    pub connections: u64,
    /// Connections that stand.
    pub standing: u64,
    /// Bytes of answers that were not passed on.
    pub swallowed: u64,
}

impl Proxy {
    /// Stands before a server, on a port of its own.
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("it has an address");
        let (state, watched) = watch::channel(State {
            behaviour: Behaviour::Pass,
            changes: 0,
            cuts: 0,
            half_opens: 0,
        });
        let counts = watch::Sender::new(Counts::default());
        let counted = counts.clone();
        let task = tokio::spawn(async move {
            let mut relays = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                counted.send_modify(|counts| {
                    counts.connections += 1;
                    counts.standing += 1;
                });
                let (watched, counted) = (watched.clone(), counted.clone());
                relays.spawn(async move {
                    relay(client, server, watched, &counted).await;
                    counted.send_modify(|counts| counts.standing -= 1);
                });
                while relays.try_join_next().is_some() {}
            }
        });
        Self { address, state, counts, _task: AbortOnDropHandle::new(task) }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Behaves so from now on.
    pub fn set(&self, behaviour: Behaviour) {
        self.state.send_modify(|state| {
            state.behaviour = behaviour;
            state.changes += 1;
        });
    }

    /// Ends every connection that stands, for both sides; new ones work.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Ends the server's side of every connection that stands. The client is
    /// not told: its bytes are taken and nothing comes back. New ones work.
    pub fn half_open(&self) {
        self.state.send_modify(|state| state.half_opens += 1);
    }

    /// What went through so far.
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until the counts are as wished.
    pub async fn until(&self, wish: impl FnMut(&Counts) -> bool) -> Counts {
        let mut counts = self.counts.subscribe();
        *counts.wait_for(wish).await.expect("the proxy lives")
    }
}

async fn relay(
    client: TcpStream,
    server: SocketAddr,
    state: watch::Receiver<State>,
    counts: &watch::Sender<Counts>,
) {
    let born = *state.borrow();
    let Ok(server) = TcpStream::connect(server).await else { return };
    for end in [&client, &server] {
        let _ = end.set_nodelay(true);
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let requests = async {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut bytes).await {
            let passes = state.borrow().behaviour != Behaviour::Blackhole;
            if passes && to_server.write_all(&bytes[..length]).await.is_err() {
                return;
            }
        }
    };
    let answers = answers(from_server, &mut to_client, state.clone(), counts);
    let (mut cut, mut half_opened) = (state.clone(), state.clone());
    let is_half_open = tokio::select! {
        () = requests => false,
        () = answers => false,
        _ = cut.wait_for(|now| now.cuts > born.cuts) => false,
        _ = half_opened.wait_for(|now| now.half_opens > born.half_opens) => true,
    };
    drop(to_server);
    if is_half_open {
        let swallow = async {
            let mut bytes = [0; 4096];
            while let Ok(1..) = from_client.read(&mut bytes).await {}
        };
        tokio::select! {
            () = swallow => {}
            _ = cut.wait_for(|now| now.cuts > born.cuts) => {}
        }
    }
}

async fn answers(
    mut server: impl AsyncRead + Unpin,
    client: &mut (impl tokio::io::AsyncWrite + Unpin),
    state: watch::Receiver<State>,
    counts: &watch::Sender<Counts>,
) {
    let mut bytes = vec![0; 64 * 1024];
    let (mut since, mut passed) = (0, 0);
    while let Ok(length @ 1..) = server.read(&mut bytes).await {
        let State { behaviour, changes, .. } = *state.borrow();
        if changes != since {
            (since, passed) = (changes, 0);
        }
        let (mut answer, mut ends) = (&bytes[..length], false);
        match behaviour {
            Behaviour::Pass => {}
            Behaviour::Latency(late) => sleep(late).await,
            Behaviour::Drip(pause) => {
                for byte in answer {
                    sleep(pause).await;
                    if client.write_all(&[*byte]).await.is_err() {
                        return;
                    }
                }
                continue;
            }
            Behaviour::CutAfter(most) => {
                answer = &answer[..length.min(most - passed)];
                passed += answer.len();
                ends = passed == most;
            }
            Behaviour::Blackhole | Behaviour::SwallowAnswers => {
                counts.send_modify(|counts| counts.swallowed += length as u64);
                continue;
            }
        }
        if client.write_all(answer).await.is_err() || ends {
            return;
        }
    }
}
