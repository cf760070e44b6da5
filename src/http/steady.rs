//! A stream to a client that must take what it asked for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream whose writes must get on: after `limit` without progress they fail, and with them the connection.
///
/// What it holds back is only the *write*: how long a read may take is hyper's matter.
pub(super) struct Steady<S> {
    stream: S,
    limit: Duration,
    /// There while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> Steady<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Steady<S> {
        Steady {
            stream,
            limit,
            waiting: None,
        }
    }

    /// Passes on what the stream said, and keeps the time while it says nothing.
    fn timed<T>(&mut self, context: &mut Context<'_>, said: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if said.is_ready() {
            self.waiting = None;
            return said;
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Steady<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Steady<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.timed(context, said)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let said = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.timed(context, said)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // A TCP stream has nothing to flush and never waits here, so this must not end the time of a write that waits.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let said = Pin::new(&mut self.stream).poll_shutdown(context);
        self.timed(context, said)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    }

    #[test]
    fn a_write_that_nobody_reads_fails() {
        runtime().block_on(async {
            let (near, _far) = duplex(4);
            let error = Steady::new(near, LIMIT).write_all(&[0; 100]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn a_slow_reader_that_goes_on_reading_gets_everything() {
        runtime().block_on(async {
            let (near, mut far) = duplex(1);
            let limit = Duration::from_secs(1);
            let writing = tokio::spawn(async move { Steady::new(near, limit).write_all(&[7; 20]).await });
            let mut got = Vec::new();
            // Together longer than the limit, each wait far below it.
            while let Ok(byte) = far.read_u8().await {
                got.push(byte);
                sleep(limit / 16).await;
            }
            writing.await.unwrap().unwrap();
            assert_eq!(got, [7; 20]);
        });
    }

    #[test]
    fn reading_has_no_limit_here() {
        runtime().block_on(async {
            let (near, mut far) = duplex(4);
            let mut near = Steady::new(near, LIMIT);
            let (read, ()) = tokio::join!(near.read_u8(), async {
                sleep(LIMIT * 2).await;
                far.write_u8(9).await.unwrap();
            });
            assert_eq!(read.unwrap(), 9);
        });
    }
}
