//! The proxy does what its behaviours say, or the tests behind it prove nothing.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::support::proxy::{Behaviour, Proxy};

/// Long enough for anything that comes on a loaded machine.
const SOON: Duration = Duration::from_secs(20);
/// Long enough to say that nothing comes.
const NEVER: Duration = Duration::from_millis(100);

/// Answers with what it was sent, and tells what arrived; an empty message is
/// the end of a connection.
async fn echo() -> (SocketAddr, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, arrived) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut bytes = [0; 1024];
                loop {
                    let length = client.read(&mut bytes).await.unwrap_or(0);
                    let _ = tell.send(bytes[..length].to_vec());
                    if length == 0 || client.write_all(&bytes[..length]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, arrived)
}

struct Scene {
    proxy: Proxy,
    client: TcpStream,
    arrived: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl Scene {
    async fn new() -> Self {
        let (server, arrived) = echo().await;
        let proxy = Proxy::before(server).await;
        let client = TcpStream::connect(proxy.address()).await.unwrap();
        let mut scene = Self { proxy, client, arrived };
        scene.say(b"hello").await;
        assert_eq!(scene.hear(5).await.unwrap(), b"hello");
        assert_eq!(scene.arrived().await, b"hello");
        scene
    }

    async fn say(&mut self, words: &[u8]) {
        self.client.write_all(words).await.unwrap();
    }

    /// The next bytes, or the end.
    async fn hear(&mut self, length: usize) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        timeout(SOON, self.client.read_exact(&mut bytes)).await.expect("it comes")?;
        Ok(bytes)
    }

    async fn is_silent(&mut self) -> bool {
        timeout(NEVER, self.client.read_u8()).await.is_err()
    }

    async fn arrived(&mut self) -> Vec<u8> {
        timeout(SOON, self.arrived.recv()).await.expect("it arrives").expect("the server lives")
    }
}

#[tokio::test]
async fn latency_and_drip_only_take_time() {
    let mut scene = Scene::new().await;
    for behaviour in
        [Behaviour::Latency(Duration::from_millis(60)), Behaviour::Drip(Duration::from_millis(15))]
    {
        scene.proxy.set(behaviour);
        let began = Instant::now();
        scene.say(b"late").await;
        assert_eq!(scene.hear(4).await.unwrap(), b"late", "{behaviour:?}");
        assert!(began.elapsed() >= Duration::from_millis(60), "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_cut_comes_after_so_many_bytes() {
    let mut scene = Scene::new().await;
    scene.proxy.set(Behaviour::CutAfter(3));
    scene.say(b"abcdef").await;
    assert_eq!(scene.hear(3).await.unwrap(), b"abc");
    assert!(scene.hear(1).await.is_err());
    assert_eq!(scene.proxy.until(|counts| counts.standing == 0).await.connections, 1);
}

#[tokio::test]
async fn a_blackhole_takes_everything_and_gives_nothing() {
    let mut scene = Scene::new().await;
    scene.proxy.set(Behaviour::Blackhole);
    scene.say(b"lost").await;
    assert!(scene.is_silent().await);
    scene.proxy.set(Behaviour::Pass);
    scene.say(b"here").await;
    assert_eq!(scene.arrived().await, b"here", "what fell in never arrived");
    assert_eq!(scene.hear(4).await.unwrap(), b"here");
}

#[tokio::test]
async fn swallowed_answers_were_given() {
    let mut scene = Scene::new().await;
    scene.proxy.set(Behaviour::SwallowAnswers);
    scene.say(b"done").await;
    assert_eq!(scene.arrived().await, b"done");
    scene.proxy.until(|counts| counts.swallowed == 4).await;
    assert!(scene.is_silent().await);
}

#[tokio::test]
async fn a_half_open_connection_is_dead_and_does_not_know() {
    let mut scene = Scene::new().await;
    scene.proxy.half_open();
    assert_eq!(scene.arrived().await, b"", "the server saw the end");
    scene.say(b"anybody?").await;
    assert!(scene.is_silent().await);
    scene.client = TcpStream::connect(scene.proxy.address()).await.unwrap();
    scene.say(b"again").await;
    assert_eq!(scene.hear(5).await.unwrap(), b"again");
}

#[tokio::test]
async fn a_cut_ends_both_sides() {
    let mut scene = Scene::new().await;
    scene.proxy.cut();
    assert_eq!(scene.arrived().await, b"");
    assert!(scene.hear(1).await.is_err());
}
