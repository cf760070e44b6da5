//! The snapshot of one server, by the replication protocol, checked on its way.
//!
//! ```text
//! greet, announce rdb-only -> PSYNC ? -1 -> +FULLRESYNC -> bytes: scan, write -> the end -> close the link -> make durable
//! ```
//!
//! Until the server grants a snapshot it is tried again, with [`Patience`]; after that never: each costs it a fork, and whether it is to bear
//! another one is the operator's to say. Nothing is acknowledged: a server that closes the link behind the snapshot (`rdb-only`) while there is
//! something of ours that it has not read would take the snapshot's last bytes back.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::block_in_place;
use tokio::time::{interval, timeout};

use super::patience::{Patience, Trouble};
use crate::cmd::file::Out;
use crate::cmd::progress::{Download, REDRAW_EVERY};
use crate::cmd::{Exit, Failure};
use crate::core::position::Position;
use crate::core::rdb::{self, End, Item, Scanner, Step, Version};
use crate::core::source::handshake::Answer;
use crate::core::source::{Error, Event, Follower, Settings};

/// A snapshot that came whole.
#[derive(Debug, Clone)]
pub(super) struct Snapshot {
    /// What it brings an empty server to.
    pub(super) position: Position,
    /// What its header says.
    pub(super) version: Version,
    /// Its keys, those whose time is up included.
    pub(super) keys: u64,
    /// How long it is, and whether a checksum was in it.
    pub(super) end: End,
}

/// Takes the snapshot of the server.
///
/// # Errors
/// Wrong password and the like (2); the server gives none, the link breaks, the bytes are no whole RDB, `out` cannot be written (1).
pub(super) async fn dump(
    settings: &Settings,
    patience: Duration,
    out: &mut Out,
    shown: &mut Download,
) -> Result<Snapshot, Failure> {
    let (follower, position) = granted(settings, patience, shown).await?;
    tracing::info!(source = %settings.endpoint.address, %position, "the source sends a snapshot");
    let mut reading = Reading::new(settings.endpoint.address.to_string());
    receive(follower, patience, &mut reading, out, shown).await?;
    let snapshot = reading.end(position)?;
    // A disk may take its time, and the runtime has other work.
    block_in_place(|| out.finish())?;
    Ok(snapshot)
}

/// A link on which a snapshot is granted, and its position.
async fn granted(
    settings: &Settings,
    limit: Duration,
    shown: &mut Download,
) -> Result<(Follower, Position), Failure> {
    let mut patience = Patience::new(limit);
    loop {
        match showing(shown, ask(settings, limit)).await {
            Ok(granted) => return Ok(granted),
            Err(trouble) => showing(shown, patience.after(trouble)).await?,
        }
    }
}

async fn ask(settings: &Settings, limit: Duration) -> Result<(Follower, Position), Trouble> {
    let address = &settings.endpoint.address;
    let greeted = timeout(limit, Follower::connect(settings)).await;
    let mut follower = greeted.map_err(|_| Trouble::silence(&address.to_string(), limit))??;
    // As long as it takes: while the source prepares the snapshot it sends newlines.
    match follower.follow(None).await? {
        Answer::FullResync(position) => Ok((follower, position)),
        Answer::Continue(_) => Err(Trouble::from(Error::Protocol {
            address: address.clone(),
            what: "it was asked for a snapshot and continues a stream".to_owned(),
        })),
    }
}

/// Everything from the header of the snapshot to its end. The link is closed then.
async fn receive(
    mut follower: Follower,
    patience: Duration,
    reading: &mut Reading,
    out: &mut Out,
    shown: &mut Download,
) -> Result<(), Failure> {
    let mut has_begun = false;
    loop {
        let event = match has_begun {
            false => showing(shown, follower.next()).await,
            true => match timeout(patience, follower.next()).await {
                Ok(event) => event,
                Err(_) => return Err(reading.silence(patience)),
            },
        };
        match event.map_err(|error| reading.broken_off(&error))? {
            Event::SnapshotBegins(total) => {
                has_begun = true;
                shown.begins(total);
            }
            Event::Snapshot(bytes) => {
                let len = bytes.len() as u64;
                block_in_place(|| {
                    reading.take(bytes.clone())?;
                    out.write(&bytes)
                })?;
                shown.received(len);
            }
            // The stream comes behind it, where the server does not know rdb-only.
            Event::SnapshotEnds | Event::Stream(_) => return Ok(()),
        }
    }
}

/// Waits for `what`, with a line now and then that we do.
async fn showing<T>(shown: &mut Download, what: impl Future<Output = T>) -> T {
    let mut what = pin!(what);
    let mut ticks = interval(REDRAW_EVERY);
    loop {
        tokio::select! {
            biased;
            result = &mut what => return result,
            _ = ticks.tick() => shown.say_when_due(),
        }
    }
}

/// Longer values are read over in pieces: nothing of them is wanted here.
const HELD_BYTES_MAX: usize = 256 << 10;

/// What has been read of the snapshot.
struct Reading {
    source: String,
    scanner: Scanner,
    version: Option<Version>,
    bytes: u64,
    keys: u64,
}

impl Reading {
    fn new(source: String) -> Reading {
        Reading {
            source,
            scanner: Scanner::new().in_pieces(HELD_BYTES_MAX),
            version: None,
            bytes: 0,
            keys: 0,
        }
    }

    fn take(&mut self, bytes: Bytes) -> Result<(), Failure> {
        self.bytes += bytes.len() as u64;
        self.scanner.push(bytes);
        self.scan().map_err(|error| self.wrong(&error))
    }

    /// Reads over what is there. Nothing else here knows how the scanner gives what it finds.
    fn scan(&mut self) -> Result<(), rdb::Error> {
        loop {
            match self.scanner.step()? {
                Step::Item(Item::Key(_)) | Step::Large(_) => self.keys += 1,
                Step::Item(_) | Step::Piece(_) | Step::LargeEnd(_) => {}
                Step::NeedMore | Step::End(_) => break,
            }
        }
        self.version = self.scanner.version();
        Ok(())
    }

    fn end(mut self, position: Position) -> Result<Snapshot, Failure> {
        let scanner = std::mem::take(&mut self.scanner);
        let end = scanner.finish().map_err(|error| self.wrong(&error))?;
        let no_version = || {
            Failure::new(
                Exit::Failed,
                format!("the snapshot of {} has no header", self.source),
            )
        };
        Ok(Snapshot {
            position,
            version: self.version.ok_or_else(no_version)?,
            keys: self.keys,
            end,
        })
    }

    fn wrong(&self, error: &rdb::Error) -> Failure {
        let message = format!("the snapshot of {} is wrong: {error}", self.source);
        let hint = "run the command again; where it fails at the same byte, the server itself writes it so, or a gunyu that is newer may know it";
        Failure::new(Exit::Failed, message).with_hint(Some(hint.to_owned()))
    }

    fn broken_off(&self, error: &Error) -> Failure {
        let failure = Failure::new(Exit::Failed, error.to_string());
        if self.bytes == 0 {
            let hint =
                "see in its log why it could not make a snapshot (memory, disk), then run the command again";
            return failure
                .with_context("before the snapshot came")
                .with_hint(Some(hint.to_owned()));
        }
        let hint = "run the command again; where it breaks off each time, see in the source's log why (client-output-buffer-limit of replicas, repl-timeout)";
        failure
            .with_context(&format!("after {} bytes of the snapshot", self.bytes))
            .with_hint(Some(hint.to_owned()))
    }

    fn silence(&self, limit: Duration) -> Failure {
        let (source, seconds, bytes) = (&self.source, limit.as_secs(), self.bytes);
        let message =
            format!("nothing has come from {source} for {seconds} s (after {bytes} bytes of the snapshot)");
        let hint = "see whether it is frozen or overloaded, or wait longer with --patience SECONDS";
        Failure::new(Exit::Failed, message).with_hint(Some(hint.to_owned()))
    }
}
