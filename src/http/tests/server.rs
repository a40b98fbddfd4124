//! The listener over real sockets: slow clients, streams, shutdown.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::world::{World, config};
use crate::config::Seconds;
use crate::http::server::{Limits, Server};

async fn serve(router: Router, limits: Limits) -> (SocketAddr, CancellationToken, JoinHandle<()>) {
    let server = Server::bind(([127, 0, 0, 1], 0).into(), limits).await.unwrap();
    let (addr, stopping) = (server.local_addr().unwrap(), CancellationToken::new());
    let task = tokio::spawn(server.serve(router, stopping.clone()));
    (addr, stopping, task)
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

#[tokio::test]
async fn a_client_that_never_ends_its_headers_is_cut() {
    let limits = Limits { header_timeout: Duration::from_millis(300), ..Limits::default() };
    let (addr, stopping, task) = serve(hello(), limits).await;
    for start in ["", "G", "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "] {
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(start.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let closed = client.read_to_end(&mut answer);
        let closed = tokio::time::timeout(Duration::from_secs(20), closed).await;
        assert!(closed.is_ok(), "{start:?} still holds its place");
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{start:?}");
    }
    // The control: who asks properly is answered by the same listener.
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    stopping.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn large_headers_are_refused() {
    let (addr, stopping, task) = serve(hello(), Limits::default()).await;
    let mut client = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    // The server may close before all was written.
    let _ = client.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    stopping.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_problem_of_the_client() {
    let mut config = config();
    config.http.request_timeout_seconds = Seconds(1);
    let world = World::start_with(config).await;
    let (addr, stopping, task) = serve(world.router.clone(), Limits::default()).await;
    let body = r#"{"scope":"environments"}"#;
    let ask = async |sent: &str| {
        let mut client = TcpStream::connect(addr).await.unwrap();
        let head = format!(
            "POST /api/v1/teams/1/vz-sync HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nAuthorization: {}\r\n\r\n",
            body.len(),
            world.owner()
        );
        client.write_all(head.as_bytes()).await.unwrap();
        client.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let slow = ask(&body[..5]).await;
    assert!(slow.starts_with("HTTP/1.1 408"), "{slow}");
    assert!(slow.contains("urn:vz-sync:problem:timeout") && slow.contains("request_id"), "{slow}");
    let whole = ask(body).await;
    assert!(whole.starts_with("HTTP/1.1 202"), "control: {whole}");
    stopping.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_stream_over_a_socket_ends_with_the_service() {
    let world = World::start().await;
    let (addr, stopping, task) = serve(world.router.clone(), Limits::default()).await;
    let mut client = TcpStream::connect(addr).await.unwrap();
    let request = format!(
        "GET /api/v1/teams/1/events HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n\r\n",
        world.owner()
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let mut seen = String::new();
    let mut buffer = [0; 4096];
    while !seen.contains("event: sync.completed") {
        let count = client.read(&mut buffer).await.unwrap();
        assert_ne!(count, 0, "the stream ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        if seen.contains("retry: ") && !seen.contains("asked") {
            seen.push_str("asked");
            world.post("/api/v1/teams/1/vz-sync", r#"{"scope":"environments"}"#).await;
        }
    }
    assert!(seen.starts_with("HTTP/1.1 200") && seen.contains("text/event-stream"), "{seen}");
    stopping.cancel();
    world.api.stopping.cancel();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    task.await.unwrap();
}
