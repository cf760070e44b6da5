//! The socket to the source: drives the handshake, hands on chunks as they arrive, acknowledges.
//!
//! Every method that waits is cancel safe once the handshake is done, so that a caller may wait for the source and for something
//! else at once.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::handshake::{Announcement, Answer, Failure, Handshake, Progress, Refusal};
use super::info::SourceInfo;
use super::transfer::{Part, Transfer};
use super::{Error, Settings};
use crate::core::net::{Address, Connection, ReadHalf, WriteHalf};
use crate::core::position::{Offset, Position};
use crate::core::resp;

/// A receive buffer: chunks are cut from it without copying, and a new one is taken when less than [`READ_MIN`] is left.
const READ_BUFFER: usize = 512 << 10;

/// The least room for one read.
const READ_MIN: usize = 64 << 10;

/// A source writes a diskless snapshot in pieces as small as a key. A read that brought less than this is followed by a short wait, so that
/// the next one brings more: nobody waits for a snapshot's single bytes, and each chunk costs a write to the log.
const SNAPSHOT_READ_MIN: usize = 64 << 10;

/// That wait.
const SNAPSHOT_GATHER: Duration = Duration::from_millis(1);

/// What the source sent.
#[derive(Debug)]
pub enum Event {
    /// The snapshot begins; its length in bytes where the source knows it.
    SnapshotBegins(Option<u64>),
    /// Bytes of the snapshot.
    Snapshot(Bytes),
    /// The snapshot was whole; the stream follows on the same connection.
    SnapshotEnds,
    /// Bytes of the stream.
    Stream(Bytes),
}

/// A link to the source.
#[derive(Debug)]
pub struct Follower {
    read: ReadHalf,
    write: WriteHalf,
    input: BytesMut,
    /// Bytes that the last read brought.
    last_read: usize,
    last_heard: Instant,
    handshake: Handshake,
    transfer: Transfer,
    info: SourceInfo,
    address: Address,
    settings: Settings,
}

impl Follower {
    /// Connects, logs in and announces us: everything before `PSYNC`.
    ///
    /// # Errors
    /// The source cannot be reached, or refuses a step.
    pub async fn connect(settings: &Settings) -> Result<Follower, Error> {
        let connection = Connection::open(&settings.endpoint).await?;
        let announcement = Announcement {
            credentials: settings.endpoint.credentials.clone(),
            ip: connection.local_ip().map(|ip| ip.to_string()),
            version: settings.announce_version.clone(),
            rdb_only: settings.snapshot_only,
        };
        let (handshake, first) = Handshake::start(announcement);
        let (read, write) = connection.split();
        let mut follower = Follower {
            read,
            write,
            input: BytesMut::with_capacity(READ_BUFFER),
            last_read: 0,
            last_heard: Instant::now(),
            handshake,
            transfer: Transfer::of_stream(),
            info: SourceInfo::default(),
            address: settings.endpoint.address.clone(),
            settings: settings.clone(),
        };
        follower.write.write_all(&first, "greeting the source").await?;
        follower.info = follower.until_ready().await?;
        Ok(follower)
    }

    /// What `INFO` told during the handshake.
    #[must_use]
    pub fn info(&self) -> &SourceInfo {
        &self.info
    }

    /// Asks the source to continue after `from`, or for a snapshot, and waits for its answer. While it prepares one it sends
    /// newlines; only their absence for `silence_limit` ends the wait.
    ///
    /// # Errors
    /// The connection breaks, or the source refuses.
    pub async fn follow(&mut self, from: Option<Position>) -> Result<Answer, Error> {
        let request = self.handshake.psync(&self.settings.psync_command, from);
        self.write.write_all(&request, "asking for the stream").await?;
        loop {
            if let Progress::Answered(answer) = self.advance()? {
                self.transfer = match answer {
                    Answer::Continue(_) => Transfer::of_stream(),
                    Answer::FullResync(_) => Transfer::of_snapshot(),
                };
                return Ok(answer);
            }
            self.fill("waiting for the answer to PSYNC").await?;
        }
    }

    /// Waits for what the source sends next. Cancel safe.
    ///
    /// # Errors
    /// The connection breaks, falls silent, or the snapshot's header is no such thing.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.buffered()? {
                return Ok(event);
            }
            if self.transfer.is_in_snapshot() && self.last_read < SNAPSHOT_READ_MIN {
                // Cancel safe: a wait that is begun anew only makes the next read larger.
                tokio::time::sleep(SNAPSHOT_GATHER).await;
            }
            self.fill("following the stream").await?;
        }
    }

    /// Tells the source how far we are: what the target has recorded.
    ///
    /// # Errors
    /// The connection breaks.
    pub async fn acknowledge(&mut self, offset: Offset) -> Result<(), Error> {
        let mut ack = BytesMut::with_capacity(64);
        let mut digits = itoa::Buffer::new();
        resp::encode_command(
            &mut ack,
            &[b"REPLCONF", b"ACK", digits.format(offset.get()).as_bytes()],
        );
        Ok(self.write.write_all(&ack, "acknowledging").await?)
    }

    fn buffered(&mut self) -> Result<Option<Event>, Error> {
        let part = self
            .transfer
            .next(&mut self.input)
            .map_err(|bad| match bad.0.strip_prefix('-') {
                Some(reply) => self.failed(Failure::Refused {
                    step: "the snapshot",
                    reply: reply.to_owned(),
                }),
                None => self.failed(Failure::Nonsense(bad.to_string())),
            })?;
        Ok(part.map(|part| match part {
            Part::SnapshotBegins(length) => Event::SnapshotBegins(length),
            Part::Snapshot(bytes) => Event::Snapshot(bytes),
            Part::SnapshotEnds => Event::SnapshotEnds,
            Part::Stream(bytes) => Event::Stream(bytes),
        }))
    }

    async fn until_ready(&mut self) -> Result<SourceInfo, Error> {
        loop {
            match self.advance()? {
                Progress::Ready(info) => return Ok(info),
                Progress::Send(bytes) => self.write.write_all(&bytes, "introducing gunyu").await?,
                Progress::NeedMore | Progress::Answered(_) => self.fill("introducing gunyu").await?,
            }
        }
    }

    fn advance(&mut self) -> Result<Progress, Error> {
        self.handshake
            .advance(&mut self.input)
            .map_err(|failure| self.failed(failure))
    }

    fn failed(&self, failure: Failure) -> Error {
        let address = self.address.clone();
        match failure {
            Failure::Refused { step, reply } => {
                let kind = Refusal::of(&reply);
                Error::Refused {
                    address,
                    step,
                    reply,
                    kind,
                }
            }
            Failure::Nonsense(what) => Error::Protocol { address, what },
        }
    }

    async fn fill(&mut self, doing: &'static str) -> Result<(), Error> {
        if self.input.capacity() - self.input.len() < READ_MIN {
            self.input.reserve(READ_BUFFER);
        }
        // Since the source was last heard, not since this call: callers drop it now and then to do something else.
        let limit = self.settings.silence_limit;
        let left = limit.saturating_sub(self.last_heard.elapsed());
        let read = self.read.read(&mut self.input, left, doing).await;
        self.last_read = read.map_err(|error| error.with_limit(limit))?;
        self.last_heard = Instant::now();
        Ok(())
    }
}
