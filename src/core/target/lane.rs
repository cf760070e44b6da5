//! One ordered connection to a target node.
//!
//! Owns logging in, sending without copying what is large, and scanning replies. Promises that no reply takes more memory than what was asked for
//! can be. Leaves to others what is sent and what the replies
//! mean.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};

use super::refusal::Kind;
use super::{Error, Settings};
use crate::core::net::{Address, Connection, ReadHalf, WriteHalf};
use crate::core::resp::{self, Event, ReplyScanner, Value, Values};

/// Slices shorter than this are copied together: a system call takes at most [`SLICES_MAX`], and each costs more than the copy.
const COPY_BELOW: usize = 8 << 10;

/// So many slices go into one system call.
const SLICES_MAX: usize = 64;

/// Room for one read of replies.
const READ_BUFFER: usize = 64 << 10;

/// The longest reply to a question about the server.
const REPLY_BYTES_MAX: usize = 64 << 20;

/// The longest where a value may be among what is answered: as long as servers take one, and what is around it.
const VALUE_BYTES_MAX: usize = (512 << 20) + REPLY_BYTES_MAX;

/// A connection. What is sent is answered in the same order.
#[derive(Debug)]
pub struct Lane {
    read: ReadHalf,
    write: WriteHalf,
    input: BytesMut,
    scanner: ReplyScanner,
    values: Values,
    address: Address,
    reply_limit: Duration,
    /// When the peer last said something, or we last sent something to it.
    last_moved: Instant,
}

impl Lane {
    /// Connects, logs in and names the connection `client_name`.
    ///
    /// # Errors
    /// The target cannot be reached, or refuses us.
    pub async fn open(settings: &Settings, client_name: &str) -> Result<Lane, Error> {
        let connection = Connection::open(&settings.endpoint).await?;
        let (read, write) = connection.split();
        let mut lane = Lane {
            read,
            write,
            input: BytesMut::with_capacity(READ_BUFFER),
            scanner: ReplyScanner::new(),
            values: Values::new(REPLY_BYTES_MAX),
            address: settings.endpoint.address.clone(),
            reply_limit: settings.reply_limit,
            last_moved: Instant::now(),
        };
        if let Some(auth) = settings.endpoint.credentials.auth_command() {
            lane.call(&auth).await?;
        }
        // The name is for people and for ending older sessions; where it is not permitted, transactions are still fenced. Where it only is not taken now, the
        // connection is none: without a name whoever takes over would not find it, or the server has no room for it and closes it.
        match lane.call(&[b"CLIENT", b"SETNAME", client_name.as_bytes()]).await {
            Ok(_) => {}
            Err(Error::Refused { reply, .. }) if !Kind::of(&reply).may_be_repeated() => {
                tracing::debug!(reply, "the target does not let us name connections");
            }
            Err(error) => return Err(error),
        }
        Ok(lane)
    }

    /// The target.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends one command and waits for its reply. Nothing else may be under way.
    ///
    /// # Errors
    /// The connection fails, or the reply is an error.
    pub async fn call(&mut self, args: &[&[u8]]) -> Result<Value, Error> {
        let mut request = BytesMut::new();
        resp::encode_command(&mut request, args);
        self.last_moved = Instant::now();
        self.write.write_all(&request, "sending a command").await?;
        let verb = args.first().copied().unwrap_or_default();
        self.values.limit(longest(verb));
        let value = self.value().await?;
        match value.error() {
            Some(text) => Err(Error::Refused {
                address: self.address.clone(),
                command: String::from_utf8_lossy(verb).into_owned(),
                reply: resp::said(text),
            }),
            None => Ok(value),
        }
    }

    async fn value(&mut self) -> Result<Value, Error> {
        loop {
            let read = self.values.next(&mut self.input);
            match read.map_err(|cause| self.protocol(cause))? {
                Some(value) => return Ok(value),
                None => self.fill(Some(self.reply_limit)).await?,
            }
        }
    }

    /// Sends commands together and waits for all their replies; an error reply is a value among them. Nothing else may be under way.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn call_many(
        &mut self,
        commands: impl IntoIterator<Item = Vec<Vec<u8>>>,
    ) -> Result<Vec<Value>, Error> {
        let mut request = BytesMut::new();
        let (mut expected, mut reply_max) = (0, REPLY_BYTES_MAX);
        for args in commands {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            resp::encode_command(&mut request, &args);
            reply_max = reply_max.max(longest(args.first().copied().unwrap_or_default()));
            expected += 1;
        }
        self.last_moved = Instant::now();
        self.write.write_all(&request, "sending commands").await?;
        self.values.limit(reply_max);
        self.values(expected).await
    }

    /// The same for commands that are encoded already; `expected` is how many.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn exchange(&mut self, request: &[u8], expected: usize) -> Result<Vec<Value>, Error> {
        self.last_moved = Instant::now();
        self.write.write_all(request, "sending commands").await?;
        // Commands of the stream and of transactions answer with values.
        self.values.limit(VALUE_BYTES_MAX);
        self.values(expected).await
    }

    async fn values(&mut self, expected: usize) -> Result<Vec<Value>, Error> {
        let mut values = Vec::with_capacity(expected);
        while values.len() < expected {
            values.push(self.value().await?);
        }
        Ok(values)
    }

    /// Sends `pieces` one after the other. Not cancel safe: see [`Lane::send_wire`].
    ///
    /// # Errors
    /// The connection fails.
    pub async fn send(&mut self, pieces: impl IntoIterator<Item = Bytes>) -> Result<(), Error> {
        self.send_wire(pieces.into_iter().collect()).await
    }

    /// Sends what is to be sent, in its order. Not cancel safe: a lane whose send was dropped must be dropped too.
    ///
    /// # Errors
    /// The connection fails.
    pub async fn send_wire(&mut self, wire: Wire) -> Result<(), Error> {
        self.last_moved = Instant::now();
        let mut slices = wire.into_slices();
        let mut first = 0;
        while first < slices.len() {
            let window: Vec<IoSlice<'_>> = slices[first..]
                .iter()
                .take(SLICES_MAX)
                .map(|bytes| IoSlice::new(bytes))
                .collect();
            let mut written = self.write.write_some(&window, "sending a batch").await?;
            while first < slices.len() && written >= slices[first].len() {
                written -= slices[first].len();
                slices[first].clear();
                first += 1;
            }
            if first < slices.len() {
                slices[first].advance(written);
            }
        }
        Ok(())
    }

    /// Waits for bytes and tells `on` what replies they hold. Cancel safe. `waiting` says that replies are owed, so
    /// that their absence is a failure; otherwise it waits until the peer speaks or closes (TCP keepalive sees to a peer that is gone).
    ///
    /// # Errors
    /// The connection fails, closes, or makes no sense.
    pub async fn replies(&mut self, waiting: bool, on: impl FnMut(Event<'_>)) -> Result<(), Error> {
        if self.input.is_empty() {
            self.fill(waiting.then_some(self.reply_limit)).await?;
        }
        let scanned = self.scanner.scan(&self.input, on).map(|_| ());
        self.input.clear();
        scanned.map_err(|cause| self.protocol(cause))
    }

    async fn fill(&mut self, limit: Option<Duration>) -> Result<(), Error> {
        /// Longer than any idle time: a wait without a limit of its own.
        const NO_LIMIT: Duration = Duration::from_secs(60 * 60 * 24 * 365);
        self.input.reserve(READ_BUFFER);
        // Since the peer last moved, not since this call: callers drop it now and then to do something else.
        let left = limit.map_or(NO_LIMIT, |limit| limit.saturating_sub(self.last_moved.elapsed()));
        let read = self.read.read(&mut self.input, left, "waiting for replies").await;
        read.map_err(|error| error.with_limit(limit.unwrap_or(NO_LIMIT)))?;
        self.last_moved = Instant::now();
        Ok(())
    }

    fn protocol(&self, cause: resp::Error) -> Error {
        Error::Protocol {
            address: self.address.clone(),
            cause,
        }
    }
}

/// How long the reply to a command may be: a few answer with a value of the data.
fn longest(verb: &[u8]) -> usize {
    let gives_value = [&b"DUMP"[..], b"LINDEX", b"EXEC"];
    match gives_value.iter().any(|one| verb.eq_ignore_ascii_case(one)) {
        true => VALUE_BYTES_MAX,
        false => REPLY_BYTES_MAX,
    }
}

/// What is to be sent: small neighbours are copied together, large ones stay as they are.
#[derive(Debug, Default)]
pub struct Wire {
    slices: Vec<Bytes>,
    small: BytesMut,
}

impl Wire {
    /// Adds bytes that are there already.
    pub fn push(&mut self, piece: &Bytes) {
        match piece.len() < COPY_BELOW {
            true => self.small.extend_from_slice(piece),
            false => self.push_large(piece.clone()),
        }
    }

    fn push_large(&mut self, piece: Bytes) {
        self.end_small();
        self.slices.push(piece);
    }

    /// Adds what is written for this alone; it is short.
    pub fn write(&mut self, encode: impl FnOnce(&mut BytesMut)) {
        encode(&mut self.small);
    }

    fn end_small(&mut self) {
        if !self.small.is_empty() {
            self.slices.push(self.small.split().freeze());
        }
    }

    /// The bytes, in their order.
    pub(super) fn into_slices(mut self) -> Vec<Bytes> {
        self.end_small();
        self.slices
    }
}

impl FromIterator<Bytes> for Wire {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Wire {
        let mut wire = Wire::default();
        for piece in pieces {
            match piece.len() < COPY_BELOW {
                true => wire.small.extend_from_slice(&piece),
                false => wire.push_large(piece),
            }
        }
        wire
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::core::net::{Credentials, Endpoint};
    use crate::core::target::Shape;

    #[test]
    fn small_neighbours_are_copied_together_and_large_ones_are_not() {
        let large = Bytes::from(vec![b'x'; COPY_BELOW]);
        let pieces = [
            Bytes::from_static(b"a"),
            Bytes::from_static(b"b"),
            large.clone(),
            Bytes::from_static(b"c"),
        ];
        let slices = pieces.into_iter().collect::<Wire>().into_slices();
        assert_eq!(
            slices.iter().map(Bytes::len).collect::<Vec<_>>(),
            [2, COPY_BELOW, 1]
        );
        assert_eq!(slices[1].as_ptr(), large.as_ptr());
    }

    fn settings_of(listener: &TcpListener) -> Settings {
        Settings {
            endpoint: Endpoint {
                address: Address {
                    host: "127.0.0.1".to_owned(),
                    port: listener.local_addr().unwrap().port(),
                },
                credentials: Credentials::default(),
                tls: None,
            },
            shape: Shape::One,
            name: "n".to_owned(),
            reply_limit: Duration::from_secs(60),
        }
    }

    /// Such a connection would carry data under no name, or be closed for a reason that nobody hears of.
    #[tokio::test]
    async fn a_connection_that_cannot_be_named_now_is_none_and_one_that_never_can_is_one() {
        #[rustfmt::skip]
        let rows = [
            ("-ERR max number of clients reached\r\n",                        false),
            ("-BUSY Redis is busy running a script.\r\n",                     false),
            ("-LOADING Redis is loading the dataset in memory\r\n",           false),
            ("-NOAUTH Authentication required.\r\n",                          false),
            ("-DENIED Redis is running in protected mode\r\n",                false),
            ("-NOPERM this user has no permissions to run 'client|setname'\r\n", true),
            ("-ERR unknown command 'CLIENT'\r\n",                             true),
        ];
        for (reply, is_one) in rows {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let settings = settings_of(&listener);
            let server = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(reply.as_bytes()).await.unwrap();
                stream
            });
            let opened = Lane::open(&settings, "n").await;
            match &opened {
                Ok(_) => assert!(is_one, "{reply}"),
                Err(Error::Refused { reply: said, .. }) => {
                    assert!(!is_one && reply.contains(said.as_str()), "{reply}");
                }
                Err(other) => panic!("{reply}: {other}"),
            }
            drop(server.await.unwrap());
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_an_error_and_is_not_hoarded() {
        for (head, piece) in [("*999999999\r\n", "$5\r\nhello\r\n"), ("", "+hello")] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let settings = settings_of(&listener);
            let babbling = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut sent, piece) = (0, piece.repeat(4_000));
                stream.write_all(head.as_bytes()).await.unwrap();
                while stream.write_all(piece.as_bytes()).await.is_ok() {
                    sent += piece.len();
                }
                sent
            });
            let opened = Lane::open(&settings, "n").await;
            assert!(
                matches!(&opened, Err(Error::Protocol { .. })),
                "{piece}: {opened:?}"
            );
            let sent = babbling.await.unwrap();
            assert!(sent < REPLY_BYTES_MAX, "{piece}: {sent}");
        }
    }
}
