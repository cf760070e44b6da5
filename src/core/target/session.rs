//! A session: the right to write to a target for one deployment, taken from whoever had it before.
//!
//! ```text
//! connect -> replace the session's key, where the epoch there allows it [take] -> end older sessions' connections on every master [end] -> WATCH the key
//!         -> read the checkpoint and the fences [read]
//! ```
//!
//! A connection that was given up may still have a transaction in the server's socket buffer, and a process that was stopped may wake up. Both belong to an
//! older session. Two things keep it from writing behind our back, that is after *read*:
//!
//! - Transactions of a session that carry its own keys run under `WATCH` of the session's key, read back *after* it was watched: after *take* they fail,
//!   whether they were sent before or after. The stream onto one node goes in such transactions alone ([`super::exact`]).
//! - Every other connection is *named* for its session, then *asks* the session's key whether it is still its session's ([`super::guard`]), and only then
//!   carries data. That is: the lanes of a stream onto a cluster, its clerks, the lanes of a full sync, and whatever the session itself does on the
//!   nodes where its key is not (marks, stale keys, flushes, functions).
//!
//! Where an older process may have been stopped, or its bytes may lie, on such a connection to a node:
//!
//! | it has | at *take* the key names | then |
//! | --- | --- | --- |
//! | not connected, or connected and not been named | us | it asks after *take*: it is not its session any more, and it sends nothing |
//! | been named, and has not asked | us | the same; and if it was named before *end*, *end* finds and closes the connection |
//! | asked, and has been answered yes | – | it was named before it asked, and asked before *take*: so *end*, which comes after, finds it by its name. Nothing that it sends from then on arrives |
//! | sent, and the bytes lie in the node's socket buffer, in a proxy, on the way | – | as before: closed by *end* they are thrown away, and carried out before *end* they are there before *read* |
//! | sent to a node that is frozen or cut off from us | – | *end* does not come about, so nothing is read and nothing written by us; it is tried again |
//! | lost the way to the session's key, not to the node | – | a connection that cannot ask carries nothing |
//! | lost a connection, and makes another | us | as one that has not connected |
//! | not begun to take the session, its epoch being older | us | its *take* is refused ([`Error::Outranked`]) |
//!
//! What is not covered, and no client of a cluster can: a failover of the node with the session's key that loses *take* itself (replication is asynchronous).
//! Then the older key stands there again, until the newer session finds that the node was replaced, which it does within a second of the cluster, and takes the
//! right anew. And a node that has become a master by the older process's map, while all that we ask say that it is none yet, is not looked at by *end*.
//!
//! Where `CLIENT SETNAME`, `CLIENT LIST` or `CLIENT KILL` is not permitted, *end* does nothing. What asks after *take* still sends nothing, and what is under `WATCH` still fails: on
//! one node the stream is exactly once all the same. But a connection that was answered yes before *take*, of a stream onto a cluster, of a full sync or of a
//! delivery at least once, goes on carrying what its process sends, until that hears of it: with its next checkpoint or cursor, which are due every second.
//!
//! Owns the taking over. Leaves to [`super::exact`] and [`super::loose`] what is written.

mod claim;
mod everywhere;
mod transaction;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::checkpoint::{self, Record};
use super::cluster::fences::{self, Fences};
use super::door::{Door, Seat};
use super::facts::Facts;
use super::guard::Guard;
use super::{Error, Settings};
use crate::core::crash::{self, Step};
use crate::core::net::Address;
use crate::core::position::Epoch;
use crate::core::resp::{self, Value};

pub use claim::Claim;
use transaction::command;
pub use transaction::{Flush, Member};

/// The right to write, and its main connection. At rest database 0 is selected and the session key is watched.
#[derive(Debug)]
pub struct Session {
    /// The connection.
    pub lane: Door,
    /// Names this session among others.
    pub token: String,
    /// That of its lease.
    pub epoch: Epoch,
    /// The session that had the right before.
    pub previous: Option<String>,
    /// The deployment's.
    name: String,
    key: Bytes,
    session_key: Bytes,
    /// Where the session's key is watched, since it was last read; nothing once a transaction has ended that.
    seat: Option<Seat>,
    /// What the server is.
    pub facts: Facts,
    /// What is applied already, slot by slot, where the target is a cluster.
    pub fences: Arc<Fences>,
    /// What stood on the target when the session began, kept up to date by whoever writes it.
    pub record: Record,
}

impl Session {
    /// Connects and takes over by this claim; `token` names the session among others.
    ///
    /// # Errors
    /// The target cannot be reached, refuses us or writes, or holds a checkpoint that is none of ours; [`Error::Outranked`], nothing being changed, where
    /// the claim is not good enough.
    pub async fn take(
        settings: &Settings,
        source_run_id: Option<&str>,
        token: String,
        claim: Claim<'_>,
    ) -> Result<Session, Error> {
        let prefix = format!("gunyu:{}:", settings.name);
        let key = checkpoint::key(&settings.name);
        let mut lane = Door::open(settings, &format!("{prefix}{token}"), &key).await?;
        let mut facts = Facts::of_server(&mut lane).await?;
        for node in lane.masters() {
            // Before anything is written: the source itself must not become its own target.
            refuse_source(&mut lane, &node, source_run_id).await?;
        }
        let session_key = checkpoint::session_key(&settings.name);
        let keys = claim::Keys {
            checkpoint: key.clone(),
            session: session_key.clone(),
        };
        let previous = claim::take(&mut lane, &keys, &token, claim).await?;
        crash::pass(Step::TargetClaimed);
        lane.set_guard(Guard::new(&settings.name, &token));
        end_older_everywhere(&mut lane, &prefix, &token).await?;
        crash::pass(Step::TargetCleared);
        facts.complete(&mut lane, &session_key).await?;
        let (record, seat) = (Record::default(), None);
        let mut session = Session {
            lane,
            token,
            epoch: claim.epoch,
            previous,
            name: settings.name.clone(),
            key,
            session_key,
            facts,
            fences: Arc::default(),
            record,
            seat,
        };
        session.watch().await?;
        session.record = session.read_record().await?;
        if claim.epoch != Epoch::NONE {
            session.record.epoch = claim.epoch;
        }
        if let Some(router) = session.lane.router() {
            session.fences = Arc::new(fences::read(router, &settings.name, &mut session.record).await?);
        }
        Ok(session)
    }

    /// A name for a session.
    #[must_use]
    pub fn new_token() -> String {
        format!("{:016x}", fastrand::u64(..))
    }

    /// The name under which further connections of this session log in.
    #[must_use]
    pub fn client_name(&self, settings: &Settings) -> String {
        format!("gunyu:{}:{}", settings.name, self.token)
    }

    /// What its further connections ask before they carry data.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard::new(&self.name, &self.token)
    }

    /// The command that counts the deployment's keys in the selected database.
    #[must_use]
    pub fn count_own_keys(&self) -> Vec<Vec<u8>> {
        vec![b"EXISTS".to_vec(), self.key.to_vec(), self.session_key.to_vec()]
    }

    /// Watches the session key and makes sure that it is still ours.
    async fn watch(&mut self) -> Result<(), Error> {
        self.seat = None;
        let seat = self.lane.watch(&self.session_key).await?;
        let question = command(&[b"HGET", &self.session_key, self.token.as_bytes()]);
        let replies = self.lane.call_seated(&seat, vec![question]).await?;
        match replies.first() {
            None | Some(Value::Nil) => Err(self.superseded()),
            Some(Value::Error(text)) => Err(self.refused("HGET", text)),
            Some(_) => {
                self.seat = Some(seat);
                Ok(())
            }
        }
    }

    /// Where the session's key is watched; where it is not any more, it is watched anew.
    async fn seated(&mut self) -> Result<Seat, Error> {
        if self.seat.is_none() {
            self.watch().await?;
        }
        Ok(self.seat.clone().expect("the key has just been watched"))
    }

    async fn read_record(&mut self) -> Result<Record, Error> {
        let reply = self.lane.call(&[b"HGETALL", &self.key]).await?;
        if !matches!(reply, Value::Array(_) | Value::Map(_)) {
            return Err(Error::Unexpected {
                address: self.lane.address().clone(),
                command: "HGETALL".into(),
            });
        }
        Record::parse(claim::fields(&reply)).map_err(|cause| Error::Checkpoint {
            address: self.lane.address().clone(),
            cause,
        })
    }

    /// The error of a session that is none any more.
    #[must_use]
    pub fn superseded(&self) -> Error {
        Error::Superseded {
            address: self.lane.address().clone(),
        }
    }

    /// Writes the command that records `record` as it is now.
    pub fn encode_checkpoint(&self, out: &mut BytesMut, record: &Record) {
        let args = record.command(self.facts.hash_verb(), &self.key, now_ms());
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        resp::encode_command(out, &args);
    }

    /// Writes the command that puts the session's key back after a flush.
    pub fn encode_session(&self, out: &mut BytesMut) {
        let epoch = self.epoch.to_string();
        let words = [
            b"HSET",
            &self.session_key[..],
            self.token.as_bytes(),
            epoch.as_bytes(),
        ];
        resp::encode_command(out, &words);
    }

    /// Writes the command that removes both keys.
    pub fn encode_removal(&self, out: &mut BytesMut) {
        resp::encode_command(out, &[b"DEL", &self.key, &self.session_key]);
    }

    /// Writes the two commands with which a batch makes ready for the next: watch the session's key, then read it.
    /// The second answers nil where the session is not ours any more.
    pub fn encode_watch(&self, out: &mut BytesMut) {
        resp::encode_command(out, &[b"WATCH", &self.session_key]);
        self.encode_question(out);
    }

    /// Writes the command that answers nil where the session is not ours any more.
    pub fn encode_question(&self, out: &mut BytesMut) {
        resp::encode_command(out, &[b"HGET", &self.session_key, self.token.as_bytes()]);
    }
}

/// Writes `SELECT db`.
pub fn encode_select(out: &mut BytesMut, db: u32) {
    let mut digits = itoa::Buffer::new();
    resp::encode_command(out, &[b"SELECT", digits.format(db).as_bytes()]);
}

/// Unix time in milliseconds.
#[must_use]
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The source itself must not become its own target.
async fn refuse_source(lane: &mut Door, node: &Address, source_run_id: Option<&str>) -> Result<(), Error> {
    let run_id = Facts::of_node(lane, node).await?.run_id;
    match run_id.is_some() && run_id.as_deref() == source_run_id {
        true => Err(Error::SameServer {
            address: node.clone(),
        }),
        false => Ok(()),
    }
}

/// Ends the connections of older sessions to every node that takes writes; of a cluster, until there is none that has come to take some meanwhile.
async fn end_older_everywhere(lane: &mut Door, prefix: &str, token: &str) -> Result<(), Error> {
    let mut done: Vec<Address> = Vec::new();
    loop {
        if let Some(router) = lane.router() {
            router.refresh().await?;
        }
        let mut left = lane.masters();
        left.retain(|node| !done.contains(node));
        if left.is_empty() {
            return Ok(());
        }
        for node in left {
            end_older(lane, &node, prefix, token).await?;
            done.push(node);
        }
    }
}

/// Ends the connections of older sessions to this node. Where that is not permitted, `WATCH` still keeps their transactions out of the node with the
/// session's key.
async fn end_older(lane: &mut Door, node: &Address, prefix: &str, token: &str) -> Result<(), Error> {
    let list = match lane.call_at(node, &[b"CLIENT", b"LIST"]).await {
        Ok(list) => list,
        Err(Error::Refused { reply, .. }) => {
            tracing::debug!(reply, "the target does not let us list connections");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for id in older_ids(
        &String::from_utf8_lossy(list.text().unwrap_or_default()),
        prefix,
        token,
    ) {
        match lane
            .call_at(node, &[b"CLIENT", b"KILL", b"ID", id.as_bytes()])
            .await
        {
            Ok(_) => tracing::debug!(id, "ended a connection of an older session on the target"),
            Err(Error::Refused { reply, .. }) => {
                tracing::debug!(reply, "could not end an older session's connection");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The ids of connections named `{prefix}…` but not `{prefix}{token}`, from the text of `CLIENT LIST`.
fn older_ids(list: &str, prefix: &str, token: &str) -> Vec<String> {
    let field = |line: &str, name: &str| {
        line.split(' ')
            .find_map(|word| word.strip_prefix(name).map(str::to_owned))
    };
    list.lines()
        .filter(|line| {
            let name = field(line, "name=").unwrap_or_default();
            name.strip_prefix(prefix)
                .is_some_and(|rest| !rest.starts_with(token))
        })
        .filter_map(|line| field(line, "id="))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_of_older_sessions_of_this_deployment_are_ended() {
        let list = "id=3 addr=127.0.0.1:1 name=gunyu:a:old age=5\n\
                    id=4 addr=127.0.0.1:2 name=gunyu:a:mine age=5\n\
                    id=5 addr=127.0.0.1:3 name=gunyu:ab:old age=5\n\
                    id=6 addr=127.0.0.1:4 name= age=5\n";
        assert_eq!(older_ids(list, "gunyu:a:", "mine"), ["3"]);
    }
}
