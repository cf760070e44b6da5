//! One connection on which questions are asked, and answered in their order.

use std::time::Duration;

use bytes::BytesMut;

use super::Error;
use crate::core::net::{Address, Connection, Endpoint, ReadHalf, WriteHalf};
use crate::core::resp::{self, Value, Values};

/// A server that owes an answer for so long is taken for dead.
const REPLY_LIMIT: Duration = Duration::from_secs(60);

/// The longest answer: a value as long as servers take one, and what is around it.
const REPLY_BYTES_MAX: usize = (512 << 20) + (64 << 20);

/// Room for one read.
const READ_BUFFER: usize = 64 << 10;

/// So the connection is called. Not like those that carry data: those are ended by whoever takes over.
const NAME: &[u8] = b"gunyu-verify";

/// A connection.
#[derive(Debug)]
pub(super) struct Talk {
    read: ReadHalf,
    write: WriteHalf,
    input: BytesMut,
    values: Values,
    address: Address,
    db: u32,
}

impl Talk {
    /// Connects and logs in. A replica of a cluster, where that is what is followed, is told that we only read.
    pub(super) async fn open(endpoint: &Endpoint, reads_only: bool) -> Result<Talk, Error> {
        let (read, write) = Connection::open(endpoint).await?.split();
        let mut talk = Talk {
            read,
            write,
            input: BytesMut::with_capacity(READ_BUFFER),
            values: Values::new(REPLY_BYTES_MAX),
            address: endpoint.address.clone(),
            db: 0,
        };
        if let Some(auth) = endpoint.credentials.auth_command() {
            talk.call(&auth).await?;
        }
        // The name is for people: where it is not permitted, nothing is lost.
        match talk.call(&[b"CLIENT", b"SETNAME", NAME]).await {
            Ok(_) | Err(Error::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
        if reads_only {
            talk.call(&[b"READONLY"]).await?;
        }
        Ok(talk)
    }

    /// Asks one question.
    pub(super) async fn call(&mut self, args: &[&[u8]]) -> Result<Value, Error> {
        let mut request = BytesMut::new();
        resp::encode_command(&mut request, args);
        let answer = self.exchange(&request, 1).await?.pop();
        match answer.expect("as many answers as were expected") {
            Value::Error(text) => Err(self.refused(args.first().copied().unwrap_or_default(), &text)),
            value => Ok(value),
        }
    }

    /// Asks `expected` questions, encoded one after the other, in that database.
    pub(super) async fn ask(
        &mut self,
        db: u32,
        request: &mut BytesMut,
        expected: usize,
    ) -> Result<Vec<Value>, Error> {
        if db != self.db {
            self.call(&[b"SELECT", db.to_string().as_bytes()]).await?;
            self.db = db;
        }
        self.exchange(request, expected).await
    }

    async fn exchange(&mut self, request: &[u8], expected: usize) -> Result<Vec<Value>, Error> {
        self.write.write_all(request, "asking").await?;
        let mut answers = Vec::with_capacity(expected);
        while answers.len() < expected {
            let next = self.values.next(&mut self.input);
            match next.map_err(|cause| self.protocol(cause))? {
                Some(value) => answers.push(value),
                None => {
                    self.input.reserve(READ_BUFFER);
                    self.read
                        .read(&mut self.input, REPLY_LIMIT, "waiting for answers")
                        .await?;
                }
            }
        }
        Ok(answers)
    }

    pub(super) fn refused(&self, command: &[u8], reply: &[u8]) -> Error {
        Error::Refused {
            address: self.address.clone(),
            command: String::from_utf8_lossy(command).into_owned(),
            reply: resp::said(reply),
        }
    }

    pub(super) fn unexpected(&self, command: &str) -> Error {
        Error::Unexpected {
            address: self.address.clone(),
            command: command.to_owned(),
        }
    }

    fn protocol(&self, cause: resp::Error) -> Error {
        let address = self.address.clone();
        match cause {
            resp::Error::Reply(resp::Fault::ReplyCost(_)) => Error::TooLong { address },
            cause => Error::Protocol { address, cause },
        }
    }
}
