//! A server that answers the next request with the next reply, byte for byte.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What becomes of one request.
#[derive(Clone)]
pub(super) enum Reply {
    /// These bytes, and the connection stays for the next request.
    Bytes(Vec<u8>),
    /// These bytes, then nothing, with the connection open.
    ThenSilence(Vec<u8>),
    /// These bytes, then the end of the connection.
    ThenClose(Vec<u8>),
    /// These bytes one by one for ever, each after the reader took the last.
    Endless(Vec<u8>, Vec<u8>),
}

impl Reply {
    pub(super) fn status(line: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut bytes = format!("HTTP/1.1 {line}\r\ncontent-length: {}\r\n", body.len());
        for header in headers {
            bytes.push_str(header);
            bytes.push_str("\r\n");
        }
        bytes.push_str("\r\n");
        Self::Bytes([bytes.as_bytes(), body].concat())
    }

    pub(super) fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::status("200 OK", &["content-type: application/json;charset=UTF-8"], body)
    }

    /// A head that promises more than there is.
    pub(super) fn promise(body: &str) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len() + 1000)
            .into_bytes()
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) head: String,
    pub(super) body: String,
    /// Which connection it came over, from 0.
    pub(super) connection: usize,
}

#[derive(Default)]
struct State {
    replies: VecDeque<Reply>,
    requests: Vec<Request>,
}

/// A running server; its last reply is repeated.
pub(super) struct Server {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let replies = replies.into_iter().collect();
        let state = Arc::new(Mutex::new(State { replies, requests: Vec::new() }));
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { break };
                connections.spawn(serve(stream, Arc::clone(&shared), connection));
            }
        });
        Self { address, state, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.state.lock().expect("no panics inside").requests.clone()
    }

    /// Refuses connections from now on.
    pub(super) async fn stop(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, connection: usize) {
    while let Some(mut request) = read(&mut stream).await {
        request.connection = connection;
        let reply = {
            let mut state = state.lock().expect("no panics inside");
            state.requests.push(request);
            let next = state.replies.pop_front().expect("a reply");
            if state.replies.is_empty() {
                state.replies.push_back(next.clone());
            }
            next
        };
        let (bytes, then) = match reply {
            Reply::Bytes(bytes) => (bytes, None),
            Reply::ThenSilence(bytes) => (bytes, Some(Vec::new())),
            Reply::Endless(bytes, more) => (bytes, Some(more)),
            Reply::ThenClose(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
        };
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
        match then {
            None => {}
            Some(more) if more.is_empty() => std::future::pending::<()>().await,
            Some(more) => while stream.write_all(&more).await.is_ok() {},
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(Request {
                    head: head.to_owned(),
                    body: body.to_owned(),
                    connection: 0,
                });
            }
        }
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
    }
}
