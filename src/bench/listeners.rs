//! Very many listeners on one thread: they read event streams and note when each event came.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use super::latency::micros;

/// Connections opened at once: more would overflow the queue of the listening socket.
const AT_ONCE: usize = 64;
/// How long one may take to open.
const OPEN: Duration = Duration::from_secs(30);
/// What one read takes at most; all listeners share the room.
const ROOM: usize = 64 * 1024;

/// One listener to be.
pub struct Place {
    /// Its team, counted from 0.
    pub team: usize,
    /// What it sends.
    pub request: Vec<u8>,
}

/// When which event was published, and what has come of it. Shared by publisher and listeners.
pub struct Board {
    epoch: Instant,
    /// Microseconds after the epoch, by team and place.
    published: Vec<Box<[AtomicU32]>>,
    started: AtomicU32,
    delivered: AtomicUsize,
    bytes: AtomicU64,
    last: AtomicU32,
}

impl Board {
    /// Room for so many events of each team.
    pub fn new(teams: usize, events: usize) -> Self {
        let row = || (0..events).map(|_| AtomicU32::new(0)).collect();
        Self {
            epoch: Instant::now(),
            published: (0..teams).map(|_| row()).collect(),
            started: AtomicU32::new(0),
            delivered: AtomicUsize::new(0),
            bytes: AtomicU64::new(0),
            last: AtomicU32::new(0),
        }
    }

    /// Publishing begins.
    pub fn start(&self) {
        self.started.store(micros(self.epoch.elapsed()), Ordering::Relaxed);
    }

    /// Time since publishing began.
    pub fn elapsed(&self) -> Duration {
        self.since_start(micros(self.epoch.elapsed()))
    }

    /// An event is about to be published.
    pub fn publishing(&self, team: usize, place: usize) {
        // Before the statement that makes the event visible, and seen by whoever gets it.
        self.published[team][place].store(micros(self.epoch.elapsed()).max(1), Ordering::Release);
    }

    /// Deliveries so far.
    pub fn delivered(&self) -> usize {
        self.delivered.load(Ordering::Acquire)
    }

    /// Bytes read since publishing began.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// From the beginning of publishing to the latest delivery.
    pub fn last_delivery(&self) -> Option<Duration> {
        let last = self.last.load(Ordering::Relaxed);
        (last > 0).then(|| self.since_start(last))
    }

    fn since_start(&self, now: u32) -> Duration {
        let began = self.started.load(Ordering::Relaxed);
        Duration::from_micros(u64::from(now.saturating_sub(began)))
    }

    /// An event came; answers how long it took. `None` for what was not published here.
    fn came(&self, team: usize, number: u64) -> Option<u32> {
        let place = usize::try_from(number.checked_sub(1)?).ok()?;
        let published = self.published[team].get(place)?.load(Ordering::Acquire);
        let now = micros(self.epoch.elapsed());
        self.last.store(now, Ordering::Relaxed);
        self.delivered.fetch_add(1, Ordering::Release);
        (published > 0).then(|| now.saturating_sub(published))
    }
}

/// Open listeners on a thread of their own.
pub struct Listeners {
    stop: CancellationToken,
    open: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<u32>>,
}

impl Listeners {
    /// How many are connected.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Closes them; answers the time of every delivery in microseconds.
    pub fn stop(self) -> Vec<u32> {
        self.stop.cancel();
        self.thread.join().unwrap_or_default()
    }
}

/// Opens all of them and returns once each has its stream.
pub async fn open(
    address: SocketAddr,
    places: Vec<Place>,
    board: &Arc<Board>,
) -> Result<Listeners> {
    let (stop, open) = (CancellationToken::new(), Arc::<AtomicUsize>::default());
    let (ready, told) = oneshot::channel();
    let (board, stopped, count) = (Arc::clone(board), stop.clone(), Arc::clone(&open));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::spawn(move || {
        let local = LocalSet::new();
        local.block_on(&runtime, listen(address, places, board, count, ready, stopped))
    });
    let guard = stop.clone().drop_guard();
    told.await.context("the listeners ended")??;
    guard.disarm();
    Ok(Listeners { stop, open, thread })
}

/// All listeners, until `stop`.
async fn listen(
    address: SocketAddr,
    places: Vec<Place>,
    board: Arc<Board>,
    open: Arc<AtomicUsize>,
    ready: oneshot::Sender<Result<()>>,
    stop: CancellationToken,
) -> Vec<u32> {
    let times = Rc::new(RefCell::new(Vec::new()));
    let room = Rc::new(RefCell::new(vec![0; ROOM]));
    let gate = Rc::new(Semaphore::new(AT_ONCE));
    let opening = places.into_iter().map(|Place { team, request }| {
        let (gate, board, open) = (Rc::clone(&gate), Arc::clone(&board), Arc::clone(&open));
        let (times, room, stop) = (Rc::clone(&times), Rc::clone(&room), stop.clone());
        tokio::task::spawn_local(async move {
            let _permit = gate.acquire().await?;
            let connect = connect(address, &request, &room);
            let stream =
                tokio::time::timeout(OPEN, connect).await.context("no stream in time")??;
            open.fetch_add(1, Ordering::AcqRel);
            tokio::task::spawn_local(async move {
                tokio::select! {
                    () = read(stream, team, &board, &times, &room) => {}
                    () = stop.cancelled() => {}
                }
                open.fetch_sub(1, Ordering::AcqRel);
            });
            anyhow::Ok(())
        })
    });
    let mut result = Ok(());
    for opened in opening.collect::<Vec<_>>() {
        if let Err(error) = opened.await.map_err(anyhow::Error::from).flatten() {
            result = Err(error);
        }
    }
    let _ = ready.send(result);
    stop.cancelled().await;
    times.take()
}

/// A stream whose head and first frame have been read.
async fn connect(
    address: SocketAddr,
    request: &[u8],
    room: &RefCell<Vec<u8>>,
) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request).await?;
    let mut head = Vec::new();
    loop {
        stream.readable().await?;
        let read = stream.try_read(&mut room.borrow_mut());
        match read {
            Ok(0) => bail!("the service ended the connection"),
            Ok(read) => head.extend_from_slice(&room.borrow()[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if memchr::memmem::find(&head, b"retry:").is_some() {
            return Ok(stream);
        }
        if head.starts_with(b"HTTP/1.1 ") && !head.starts_with(b"HTTP/1.1 200") {
            bail!(
                "{}",
                String::from_utf8_lossy(
                    head.split(|byte| *byte == b'\r').next().unwrap_or_default()
                )
            );
        }
    }
}

/// Reads until the stream ends.
async fn read(
    stream: TcpStream,
    team: usize,
    board: &Board,
    times: &RefCell<Vec<u32>>,
    room: &RefCell<Vec<u8>>,
) {
    let mut scanner = Scanner::default();
    while stream.readable().await.is_ok() {
        let mut room = room.borrow_mut();
        match stream.try_read(&mut room) {
            Ok(0) => return,
            Ok(read) => {
                board.bytes.fetch_add(read as u64, Ordering::Relaxed);
                let mut times = times.borrow_mut();
                scanner.feed(&room[..read], |number| times.extend(board.came(team, number)));
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Finds the lines `id: N` in a stream that comes in pieces.
#[derive(Default)]
struct Scanner {
    /// Bytes of the pattern seen so far; past its end, a number is being read.
    matched: usize,
    number: u64,
}

const PATTERN: &[u8] = b"\nid: ";

impl Scanner {
    fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(u64)) {
        for &byte in bytes {
            if self.matched == PATTERN.len() {
                if byte.is_ascii_digit() {
                    self.number = self.number * 10 + u64::from(byte - b'0');
                    continue;
                }
                found(self.number);
                (self.matched, self.number) = (0, 0);
            }
            // The pattern's first byte does not come again within it.
            self.matched = match byte {
                byte if byte == PATTERN[self.matched] => self.matched + 1,
                b'\n' => 1,
                _ => 0,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_wherever_the_pieces_end() {
        let text = b"HTTP\r\n\r\n7\r\nretry: 1\n\n9\r\nid: 12\nevent: a\ndata: {\"id: 5\":1}\n\n\r\n9\r\nid: 13\n\nid: 14\n\n";
        for size in 1..text.len() {
            let (mut scanner, mut seen) = (Scanner::default(), Vec::new());
            for piece in text.chunks(size) {
                scanner.feed(piece, |number| seen.push(number));
            }
            assert_eq!(seen, [12, 13, 14], "pieces of {size}");
        }
    }

    #[test]
    fn the_board_knows_what_it_published() {
        let board = Board::new(1, 2);
        board.start();
        board.publishing(0, 0);
        assert!(board.came(0, 1).is_some() && board.delivered() == 1);
        assert!(board.came(0, 0).is_none() && board.came(0, 3).is_none());
        assert!(board.last_delivery().is_some());
    }
}
