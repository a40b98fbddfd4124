//! A client that costs next to nothing: one connection, one request at a time, bodies of known
//! length that are counted and thrown away unless they are asked for. It measures servers; the
//! platform client of the service is another matter.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const ROOM: usize = 256 * 1024;

/// An open connection.
pub struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

/// An answer without its body.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The entity tag as it was sent.
    pub etag: Option<String>,
    /// Bytes of the body.
    pub bytes: usize,
}

impl Line {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("the server cannot be reached")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; ROOM], filled: 0 })
    }

    /// Sends a request as it is and reads the answer to its end.
    pub async fn ask(&mut self, request: &[u8], keep: Option<&mut Vec<u8>>) -> Result<Answer> {
        self.stream.write_all(request).await?;
        self.filled = 0;
        let head = loop {
            if let Some(end) = memchr::memmem::find(&self.buffer[..self.filled], b"\r\n\r\n") {
                break end + 4;
            }
            self.fill().await?;
        };
        let text = std::str::from_utf8(&self.buffer[..head]).context("the head is not text")?;
        let status: u16 = text
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .context("the answer has no status")?;
        let field = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let etag = field("etag");
        let bytes = match field("content-length") {
            Some(length) => length.parse::<usize>().context("content-length")?,
            None if matches!(status, 204 | 304) => 0,
            None => bail!("an answer of unknown length with status {status}"),
        };
        let mut keep = keep;
        let mut take = |piece: &[u8]| {
            if let Some(kept) = keep.as_deref_mut() {
                kept.extend_from_slice(piece);
            }
        };
        take(&self.buffer[head..self.filled]);
        let mut left = bytes.saturating_sub(self.filled - head);
        while left > 0 {
            let room = left.min(ROOM);
            let read = self.stream.read(&mut self.buffer[..room]).await?;
            if read == 0 {
                bail!("the server ended the connection within an answer");
            }
            take(&self.buffer[..read]);
            left -= read;
        }
        Ok(Answer { status, etag, bytes })
    }

    async fn fill(&mut self) -> Result<()> {
        if self.filled == ROOM {
            bail!("the head of an answer is longer than {ROOM} bytes");
        }
        let read = self.stream.read(&mut self.buffer[self.filled..]).await?;
        if read == 0 {
            bail!("the server ended the connection before it answered");
        }
        self.filled += read;
        Ok(())
    }
}

/// The address in a URL of the form `http://127.0.0.1:8080`.
pub fn address(url: &str) -> Result<SocketAddr> {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    rest.trim_end_matches('/').parse().with_context(|| format!("{url} names no address and port"))
}
