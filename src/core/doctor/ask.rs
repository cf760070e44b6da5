//! A connection for some questions: what a server answers, and what it refuses.
//!
//! Promises that a refusal is an answer like any other, and that no question waits for ever.

use redis::Value;
use redis::aio::MultiplexedConnection;

use super::answer::Answer;
use crate::core::net::Connection;
use crate::core::net::Endpoint;
use crate::core::survey;

/// A connection, logged in. Its questions may be asked at the same time, and are answered in their order.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    connection: MultiplexedConnection,
}

impl Asker {
    /// Connects and logs in; and the server's certificate, where it has shown one.
    pub(super) async fn open(endpoint: &Endpoint) -> Result<(Asker, Option<Vec<u8>>), survey::Error> {
        let connection = Connection::open(endpoint).await?;
        let certificate = connection.certificate();
        let connection = survey::log_in(endpoint, connection).await?;
        Ok((Asker { connection }, certificate))
    }

    /// Asks one question.
    pub(super) async fn ask(&self, words: &[&str]) -> Answer {
        let mut command = redis::cmd(words.first().copied().unwrap_or_default());
        for word in words.iter().skip(1) {
            command.arg(*word);
        }
        let mut connection = self.connection.clone();
        match command.query_async::<Value>(&mut connection).await {
            Ok(Value::ServerError(error)) => Answer::Refused(format!(
                "{} {}",
                error.code(),
                error.details().unwrap_or_default()
            )),
            Ok(value) => Answer::Said(value),
            Err(error) => match error.code() {
                Some(code) => Answer::Refused(format!("{code} {}", error.detail().unwrap_or_default())),
                None => Answer::Lost(error.to_string()),
            },
        }
    }
}
