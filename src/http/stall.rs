//! A connection that gives up on a peer that has stalled.
//!
//! hyper's header timer starts once the protocol is known, and it has none for
//! writes: a client that connects and says nothing, or asks and never reads,
//! would hold its place for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// hyper-util decides between HTTP/1 and HTTP/2 by this many bytes at most.
const PREFACE: usize = 24;

/// Limits on a stream's silence.
pub struct Stall<S> {
    inner: S,
    write_limit: Duration,
    read: usize,
    timer: Pin<Box<Sleep>>,
    writing: bool,
}

impl<S> Stall<S> {
    /// The first bytes must come within `first`; no write may wait longer than
    /// `write_limit`.
    pub fn new(inner: S, first: Duration, write_limit: Duration) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + first));
        Self { inner, write_limit, read: 0, timer, writing: false }
    }

    /// Lets a result pass, or fails when the peer has not taken a byte for too
    /// long. The timer is armed by the first write that has to wait.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.writing = false;
            return result;
        }
        if !self.writing {
            self.writing = true;
            let limit = Instant::now() + self.write_limit;
            self.timer.as_mut().reset(limit);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stall<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.read = self.read.saturating_add(buffer.filled().len() - before);
        if result.is_pending()
            && self.read < PREFACE
            && !self.writing
            && self.timer.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer is silent")));
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stall<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.watch(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_flush(cx);
        self.watch(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.watch(cx, result)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_too_little_is_given_up() {
        let (mut peer, ours) = duplex(64);
        let mut ours = Stall::new(ours, 10 * SECOND, 30 * SECOND);
        peer.write_all(b"GET").await.unwrap();
        let started = Instant::now();
        let error = ours.read_exact(&mut [0; 30]).await.unwrap_err();
        assert_eq!((error.kind(), started.elapsed()), (io::ErrorKind::TimedOut, 10 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_has_spoken_may_be_silent() {
        let (mut peer, ours) = duplex(64);
        let mut ours = Stall::new(ours, 10 * SECOND, 30 * SECOND);
        peer.write_all(&[b'x'; PREFACE]).await.unwrap();
        ours.read_exact(&mut [0; PREFACE]).await.unwrap();
        let silence = tokio::time::timeout(3600 * SECOND, ours.read_u8()).await;
        assert!(silence.is_err(), "no limit of ours after the preface");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_given_up() {
        let (_peer, ours) = duplex(8);
        let mut ours = Stall::new(ours, 10 * SECOND, 30 * SECOND);
        tokio::time::advance(60 * SECOND).await;
        ours.write_all(b"12345678").await.unwrap();
        let started = Instant::now();
        let error = ours.write_all(b"9").await.unwrap_err();
        assert_eq!((error.kind(), started.elapsed()), (io::ErrorKind::TimedOut, 30 * SECOND));
    }
}
