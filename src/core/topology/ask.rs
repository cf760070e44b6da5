//! Questions to a node or a sentinel: a connection for a few commands.
//!
//! Promises that a question has an answer, or a reason why there is none, within [`ANSWER_LIMIT`], whatever the other side does; and that no answer takes more
//! memory than [`ANSWER_BYTES_MAX`].

use std::time::Duration;

use bytes::BytesMut;
use tokio::time::timeout;

use super::Error;
use crate::core::net::{Address, Connection, Endpoint, ReadHalf, WriteHalf};
use crate::core::resp::{self, Value, Values};

/// Connecting and logging in together, and each answer, take at most so long. Short: others are asked as well, and what does not answer is looked
/// at again.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// No answer is longer: not of the largest cluster.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A wait for what is told unasked has no limit of its own: whoever waits also looks at intervals.
const NO_LIMIT: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// A connection, logged in.
#[derive(Debug)]
pub(super) struct Asker {
    read: ReadHalf,
    write: WriteHalf,
    input: BytesMut,
    values: Values,
    address: Address,
}

impl Asker {
    /// Connects and logs in. Each step may take so long.
    pub(super) async fn open(endpoint: &Endpoint) -> Result<Asker, Error> {
        let connection = Connection::open_within(endpoint, ANSWER_LIMIT).await?;
        let (read, write) = connection.split();
        let log_in = async {
            let mut asker = Asker {
                read,
                write,
                input: BytesMut::new(),
                values: Values::new(ANSWER_BYTES_MAX),
                address: endpoint.address.clone(),
            };
            if let Some(auth) = endpoint.credentials.auth_command() {
                asker.call(&auth).await?;
            }
            Ok(asker)
        };
        timeout(ANSWER_LIMIT, log_in)
            .await
            .unwrap_or_else(|_| Err(silent(&endpoint.address)))
    }

    /// Asks one question.
    pub(super) async fn call(&mut self, args: &[&[u8]]) -> Result<Value, Error> {
        let mut request = BytesMut::new();
        resp::encode_command(&mut request, args);
        self.write.write_all(&request, "asking").await?;
        let answer = timeout(ANSWER_LIMIT, self.value()).await;
        let answer = answer.unwrap_or_else(|_| Err(silent(&self.address)))?;
        match answer.error() {
            Some(text) => Err(Error::Refused {
                address: self.address.clone(),
                command: String::from_utf8_lossy(args.first().copied().unwrap_or_default()).into_owned(),
                reply: resp::said(text),
            }),
            None => Ok(answer),
        }
    }

    /// Asks one question whose answer is a text.
    pub(super) async fn text(&mut self, args: &[&[u8]]) -> Result<String, Error> {
        let answer = self.call(args).await?;
        let text = answer.text().ok_or_else(|| self.nonsense(args))?;
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// Waits for what is told next, for however long. Cancel safe.
    pub(super) async fn value(&mut self) -> Result<Value, Error> {
        loop {
            let parsed = self
                .values
                .next(&mut self.input)
                .map_err(|cause| Error::Nonsense {
                    address: self.address.clone(),
                    what: cause.to_string(),
                })?;
            if let Some(value) = parsed {
                return Ok(value);
            }
            self.read
                .read(&mut self.input, NO_LIMIT, "waiting for an answer")
                .await?;
        }
    }

    /// The error of an answer that is none.
    pub(super) fn nonsense(&self, args: &[&[u8]]) -> Error {
        Error::Nonsense {
            address: self.address.clone(),
            what: format!(
                "its answer to {} has another shape",
                String::from_utf8_lossy(&args.join(&b' '))
            ),
        }
    }
}

fn silent(address: &Address) -> Error {
    Error::Silent {
        address: address.clone(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::core::net::Credentials;

    #[tokio::test]
    async fn an_answer_without_end_is_an_error_and_is_not_hoarded() {
        for (head, piece) in [
            ("*999999999\r\n", "$5\r\nhello\r\n"),
            ("", "+hello"),
            ("", "|1\r\n+a\r\n+b\r\n"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = Endpoint {
                address: Address {
                    host: "127.0.0.1".to_owned(),
                    port: listener.local_addr().unwrap().port(),
                },
                credentials: Credentials::default(),
                tls: None,
            };
            let babbling = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut sent, piece) = (0, piece.repeat(4_000));
                stream.write_all(head.as_bytes()).await.unwrap();
                while stream.write_all(piece.as_bytes()).await.is_ok() {
                    sent += piece.len();
                }
                sent
            });
            let mut asker = Asker::open(&endpoint).await.unwrap();
            let answer = asker.call(&[b"PING"]).await;
            assert!(
                matches!(&answer, Err(Error::Nonsense { .. })),
                "{piece}: {answer:?}"
            );
            drop(asker);
            let sent = babbling.await.unwrap();
            // What the sockets hold on either side comes on top.
            assert!(sent < 2 * ANSWER_BYTES_MAX, "{piece}: {sent}");
        }
    }
}
