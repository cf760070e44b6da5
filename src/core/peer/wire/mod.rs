//! What a leader and its follower say to each other: the body of `GET /peer/log`, frame after frame, without I/O.
//!
//! Owns the format. Promises that whatever bytes come, decoding ends in frames or in an error, takes no more memory than the largest frame, and
//! hands out nothing whose checksum is wrong. Leaves to others what the frames are for: [`super::serve`] makes them, [`super::follower`] takes them.
//!
//! # Format, version 1
//!
//! All numbers little endian.
//!
//! | bytes | head of the body |
//! | --- | --- |
//! | 0..8 | magic `GNYPEER1` |
//! | 8..12 | version, u32: 1. Goes up only where an older gunyu must not read on |
//!
//! Then frames without anything between them:
//!
//! | bytes | frame |
//! | --- | --- |
//! | 0 | kind, u8. One that is not known is skipped, so that versions can mix while a group is renewed one by one |
//! | 1..5 | length of the payload, u32: at most 1 MiB + 64 |
//! | 5.. | payload; where it is longer than known here, the rest is of a newer version and ignored (in kinds 1 to 3, 5 and 7) |
//! | 4 at the end | CRC-32C of everything before it in the frame, u32 |
//!
//! | kind | frame | payload |
//! | --- | --- | --- |
//! | 1 | History | id, 40 characters; whether there is a previous one, u8: 0, 1; its id, 40; the last offset that both share, u64 |
//! | 2 | Begins | the offset after which the stream begins, u64 |
//! | 3 | SnapshotBegins | the offset that the snapshot brings a target to, u64; its length, u64, all ones where it is not known |
//! | 4 | Snapshot | bytes of it, 1 to 1 MiB |
//! | 5 | SnapshotEnds | nothing |
//! | 6 | Stream | the offset before the first byte, u64; bytes, 1 to 1 MiB |
//! | 7 | Standing | received, u64; the source's own, u64; applied, u64; checkpointed, u64; flags, u8: 1 is exact, 2 waits, 4 is in a full sync (the rest is not read); how long it has waited, in ms, u64; length of the name, u16; the name of the input that is waited for |
//! | 8 | Windows | JSON that this room does not read |
//!
//! The order is: the head; History; Begins or SnapshotBegins; a Standing; then the rest as it comes. History comes again when the history goes on
//! under another id, before bytes of that. After SnapshotEnds the stream follows from the snapshot's offset on.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};

use crate::core::position::{History, Offset, ReplId};

const MAGIC: &[u8; 8] = b"GNYPEER1";
/// The version that is written, and the newest that is read.
const VERSION: u32 = 1;
const HEAD_LEN: usize = MAGIC.len() + 4;

/// The most bytes of stream or snapshot in one frame.
pub const PIECE_MAX: usize = 1 << 20;
/// The longest payload.
const PAYLOAD_MAX: usize = PIECE_MAX + 64;
/// Kind and length.
const FRAME_HEAD_LEN: usize = 5;
const CRC_LEN: usize = 4;
/// A frame up to this size is made in one piece, and one that has been read does not hold the buffer it came in.
const SMALL: usize = 16 << 10;

const UNKNOWN_LEN: u64 = u64::MAX;
/// Why a number is not believed.
const BEYOND: &str = "it goes beyond the last offset";
const IS_EXACT: u8 = 1;
const WAITS: u8 = 2;
const IS_COPYING: u8 = 4;

const HISTORY: u8 = 1;
const BEGINS: u8 = 2;
const SNAPSHOT_BEGINS: u8 = 3;
const SNAPSHOT: u8 = 4;
const SNAPSHOT_ENDS: u8 = 5;
const STREAM: u8 = 6;
const STANDING: u8 = 7;
const WINDOWS: u8 = 8;

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Under which ids the history goes, from here on.
    History(History),
    /// The stream that follows begins after this offset.
    Begins(Offset),
    /// A snapshot follows, and after it the stream from its offset on.
    SnapshotBegins {
        /// What it brings a target to.
        offset: Offset,
        /// Its length, where the source has said it.
        declared: Option<u64>,
    },
    /// The next bytes of the snapshot.
    Snapshot(Bytes),
    /// The snapshot is whole.
    SnapshotEnds,
    /// Some of the stream.
    Stream {
        /// The offset before its first byte.
        start: Offset,
        /// The bytes.
        bytes: Bytes,
    },
    /// How far the leader is.
    Standing(Standing),
    /// What the leader knows of commands that cross slots or shards, for whoever takes over.
    Windows(String),
}

/// How far the leader is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Received from the source.
    pub received: Offset,
    /// The source's own offset when last asked.
    pub source: Offset,
    /// Confirmed by the target.
    pub applied: Offset,
    /// Recorded on the target.
    pub checkpointed: Offset,
    /// The target has all of what is applied and nothing else: no full sync is under way.
    pub is_exact: bool,
    /// A snapshot is being restored, or waits for that.
    pub is_copying: bool,
    /// It waits for another input.
    pub waits_for: Option<Waiting>,
}

/// A wait for another input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The name of that one's pipeline.
    pub input: String,
    /// For how long already.
    pub since: Duration,
}

/// The body is not what a leader says. The caller closes the link and asks again from its log's end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not begin as it should.
    #[error("this is not the log of a gunyu")]
    Magic,
    /// A newer gunyu says what this one must not read.
    #[error("the leader speaks version {found} of the peers' language, this gunyu {VERSION} at most")]
    Newer {
        /// Its version.
        found: u32,
    },
    /// A byte was changed on the way.
    #[error("a frame of kind {kind} was damaged on its way")]
    Damaged {
        /// The kind that it says it has.
        kind: u8,
    },
    /// A frame claims to be longer than any is.
    #[error("a frame of kind {kind} claims {len} bytes")]
    TooLong {
        /// The kind that it says it has.
        kind: u8,
        /// The length that it says it has.
        len: u32,
    },
    /// What a frame says makes no sense, though its checksum is right.
    #[error("a frame of kind {kind} makes no sense: {why}")]
    Senseless {
        /// Its kind.
        kind: u8,
        /// What is wrong.
        why: &'static str,
    },
}

impl Error {
    /// What a person may do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Newer { .. } => Some("run the same version of gunyu on all members of the group"),
            Error::Magic => Some(
                "server.listenPeer of each member must be reached directly, or through what leaves HTTP bodies as they are",
            ),
            Error::Damaged { .. } | Error::TooLong { .. } | Error::Senseless { .. } => None,
        }
    }
}

fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    // A CRC-32 in the lower half of a u64.
    digest.finalize() as u32
}

/// The head of the body.
#[must_use]
pub fn head() -> Bytes {
    let mut head = BytesMut::with_capacity(HEAD_LEN);
    head.put_slice(MAGIC);
    head.put_u32_le(VERSION);
    head.freeze()
}

/// A frame as the pieces that go out one after the other. Long payloads are not copied.
///
/// # Panics
/// Where bytes of stream or snapshot are more than [`PIECE_MAX`], or none.
pub fn encode(frame: &Frame) -> impl Iterator<Item = Bytes> + use<> {
    let mut fields = BytesMut::new();
    let (kind, payload) = match frame {
        Frame::History(history) => (HISTORY, put_history(&mut fields, history)),
        Frame::Begins(offset) => {
            fields.put_u64_le(offset.get());
            (BEGINS, Bytes::new())
        }
        Frame::SnapshotBegins { offset, declared } => {
            fields.put_u64_le(offset.get());
            fields.put_u64_le(declared.unwrap_or(UNKNOWN_LEN));
            (SNAPSHOT_BEGINS, Bytes::new())
        }
        Frame::Snapshot(bytes) => (SNAPSHOT, piece(bytes)),
        Frame::SnapshotEnds => (SNAPSHOT_ENDS, Bytes::new()),
        Frame::Stream { start, bytes } => {
            fields.put_u64_le(start.get());
            (STREAM, piece(bytes))
        }
        Frame::Standing(standing) => (STANDING, put_standing(&mut fields, standing)),
        Frame::Windows(json) => (WINDOWS, Bytes::copy_from_slice(json.as_bytes())),
    };
    pieces(kind, &fields, payload)
}

fn piece(bytes: &Bytes) -> Bytes {
    assert!(
        !bytes.is_empty() && bytes.len() <= PIECE_MAX,
        "a piece has 1 byte to 1 MiB"
    );
    bytes.clone()
}

fn put_history(fields: &mut BytesMut, history: &History) -> Bytes {
    fields.put_slice(history.id.as_str().as_bytes());
    match &history.previous {
        None => fields.put_bytes(0, 1 + 40 + 8),
        Some((id, shared)) => {
            fields.put_u8(1);
            fields.put_slice(id.as_str().as_bytes());
            fields.put_u64_le(shared.get());
        }
    }
    Bytes::new()
}

fn put_standing(fields: &mut BytesMut, standing: &Standing) -> Bytes {
    for offset in [
        standing.received,
        standing.source,
        standing.applied,
        standing.checkpointed,
    ] {
        fields.put_u64_le(offset.get());
    }
    let exact = if standing.is_exact { IS_EXACT } else { 0 };
    let phase = exact | if standing.is_copying { IS_COPYING } else { 0 };
    let (flags, since, name) = match &standing.waits_for {
        None => (phase, Duration::ZERO, ""),
        Some(waiting) => (phase | WAITS, waiting.since, waiting.input.as_str()),
    };
    fields.put_u8(flags);
    fields.put_u64_le(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    // A pipeline's name is a folder's, so it is far shorter.
    let len = u16::try_from(name.len()).unwrap_or(u16::MAX);
    fields.put_u16_le(len);
    fields.put_slice(&name.as_bytes()[..usize::from(len)]);
    Bytes::new()
}

fn pieces(kind: u8, fields: &[u8], payload: Bytes) -> impl Iterator<Item = Bytes> + use<> {
    let len = fields.len() + payload.len();
    let is_small = len <= SMALL;
    let mut front =
        BytesMut::with_capacity(FRAME_HEAD_LEN + fields.len() + if is_small { len + CRC_LEN } else { 0 });
    front.put_u8(kind);
    front.put_u32_le(u32::try_from(len).expect("no payload comes near 4 GiB"));
    front.put_slice(fields);
    let crc = crc32c(&[&front, &payload]);
    if is_small {
        front.put_slice(&payload);
        front.put_u32_le(crc);
        return [Some(front.freeze()), None, None].into_iter().flatten();
    }
    let back = Bytes::copy_from_slice(&crc.to_le_bytes());
    [Some(front.freeze()), Some(payload), Some(back)]
        .into_iter()
        .flatten()
}

/// Reads a body that comes in whatever pieces.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    has_head: bool,
}

impl Decoder {
    /// One that has read nothing.
    #[must_use]
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Takes the next bytes. All frames of those before should have been taken out first: that bounds what is held.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that are held and belong to no whole frame yet: after the last one of a whole body there are none.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The next frame, where it is there as a whole.
    ///
    /// # Errors
    /// The body is of no use from here on.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        if !self.has_head && !self.take_head()? {
            return Ok(None);
        }
        while let Some((kind, payload)) = self.take_frame()? {
            if let Some(frame) = frame(kind, payload)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    fn take_head(&mut self) -> Result<bool, Error> {
        let known = self.buffer.len().min(MAGIC.len());
        if self.buffer[..known] != MAGIC[..known] {
            return Err(Error::Magic);
        }
        if self.buffer.len() < HEAD_LEN {
            return Ok(false);
        }
        self.buffer.advance(MAGIC.len());
        let found = self.buffer.get_u32_le();
        if found != VERSION {
            return Err(Error::Newer { found });
        }
        self.has_head = true;
        Ok(true)
    }

    /// Kind and payload of the next frame whose checksum is right.
    fn take_frame(&mut self) -> Result<Option<(u8, Bytes)>, Error> {
        let Some(mut head) = self.buffer.get(..FRAME_HEAD_LEN) else {
            return Ok(None);
        };
        let (kind, len) = (head.get_u8(), head.get_u32_le());
        let payload = len as usize;
        if payload > PAYLOAD_MAX {
            return Err(Error::TooLong { kind, len });
        }
        let whole = FRAME_HEAD_LEN + payload + CRC_LEN;
        if self.buffer.len() < whole {
            // At once, rather than with every piece that comes.
            self.buffer.reserve(whole - self.buffer.len());
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(whole).freeze();
        let mut crc = frame.split_off(whole - CRC_LEN);
        if crc32c(&[&frame]) != crc.get_u32_le() {
            return Err(Error::Damaged { kind });
        }
        frame.advance(FRAME_HEAD_LEN);
        Ok(Some((kind, frame)))
    }
}

fn frame(kind: u8, mut payload: Bytes) -> Result<Option<Frame>, Error> {
    let senseless = |why| Error::Senseless { kind, why };
    let short = |_| senseless("it is too short");
    Ok(Some(match kind {
        HISTORY => Frame::History(history(payload).map_err(senseless)?),
        BEGINS => Frame::Begins(offset(&mut payload).map_err(short)?.ok_or(senseless(BEYOND))?),
        SNAPSHOT_BEGINS => {
            let offset = offset(&mut payload).map_err(short)?.ok_or(senseless(BEYOND))?;
            let declared = payload.try_get_u64_le().map_err(short)?;
            let declared = (declared != UNKNOWN_LEN).then_some(declared);
            if declared.is_some_and(|len| Offset::told(len).is_none()) {
                return Err(senseless(BEYOND));
            }
            Frame::SnapshotBegins { offset, declared }
        }
        SNAPSHOT => Frame::Snapshot(bytes(payload).map_err(senseless)?),
        SNAPSHOT_ENDS => Frame::SnapshotEnds,
        STREAM => {
            let start = offset(&mut payload).map_err(short)?.ok_or(senseless(BEYOND))?;
            let bytes = bytes(payload).map_err(senseless)?;
            Frame::Stream { start, bytes }
        }
        STANDING => Frame::Standing(standing(payload).map_err(senseless)?),
        WINDOWS => {
            let text = std::str::from_utf8(&payload).map_err(|_| senseless("it is no text"))?;
            Frame::Windows(text.to_owned())
        }
        _ => return Ok(None),
    }))
}

fn offset(payload: &mut Bytes) -> Result<Option<Offset>, bytes::TryGetError> {
    payload.try_get_u64_le().map(Offset::told)
}

fn bytes(payload: Bytes) -> Result<Bytes, &'static str> {
    match payload.len() {
        0 => Err("it is empty"),
        1..SMALL => Ok(Bytes::copy_from_slice(&payload)),
        SMALL..=PIECE_MAX => Ok(payload),
        _ => Err("it is longer than a piece"),
    }
}

fn history(mut payload: Bytes) -> Result<History, &'static str> {
    const LEN: usize = 40 + 1 + 40 + 8;
    if payload.len() < LEN {
        return Err("it is too short");
    }
    let id = ReplId::parse(&payload.split_to(40)).map_err(|_| "its id is none")?;
    let has_previous = payload.get_u8();
    let previous = payload.split_to(40);
    let shared = Offset::told(payload.get_u64_le()).ok_or(BEYOND)?;
    let previous = match has_previous {
        0 => None,
        1 => Some((
            ReplId::parse(&previous).map_err(|_| "its previous id is none")?,
            shared,
        )),
        _ => return Err("it has no such number of previous ids"),
    };
    Ok(History { id, previous })
}

fn standing(mut payload: Bytes) -> Result<Standing, &'static str> {
    const LEN: usize = 4 * 8 + 1 + 8 + 2;
    if payload.len() < LEN {
        return Err("it is too short");
    }
    let mut next = || Offset::told(payload.get_u64_le()).ok_or(BEYOND);
    let (received, source, applied, checkpointed) = (next()?, next()?, next()?, next()?);
    let (flags, since) = (payload.get_u8(), Duration::from_millis(payload.get_u64_le()));
    let len = usize::from(payload.get_u16_le());
    let name = payload.get(..len).ok_or("the name is too short")?;
    let name = std::str::from_utf8(name).map_err(|_| "the name is no text")?;
    if checkpointed > applied {
        return Err("the checkpoint is beyond the data");
    }
    Ok(Standing {
        received,
        source,
        applied,
        checkpointed,
        is_exact: flags & IS_EXACT != 0,
        is_copying: flags & IS_COPYING != 0,
        waits_for: (flags & WAITS != 0).then(|| Waiting {
            input: name.to_owned(),
            since,
        }),
    })
}

#[cfg(test)]
mod tests;
