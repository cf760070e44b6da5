//! What a session writes in transactions of its own: the steps of a full sync. The stream's checkpoints go with its batches.
//!
//! Promises that a transaction goes out as a whole, `MULTI` to `EXEC` in one write, so that a connection that stalls or breaks leaves all of it or
//! none; and that a record never says more of the target than is certain.

use super::{Session, claim, now_ms};
use crate::core::crash::{self, Step};
use crate::core::resp::{self, Value};
use crate::core::target::Error;
use crate::core::target::checkpoint::{self, Record};
use crate::core::target::cluster::redirect::Redirect;

pub(super) type Command = Vec<Vec<u8>>;

/// How databases of the target are emptied.
#[derive(Debug)]
pub struct Flush<'a> {
    /// The command that empties one: `FLUSHDB`, or what it was renamed to.
    pub command: &'a str,
    /// The databases.
    pub databases: &'a [u32],
    /// The deployments that feed them, this session's among them. The sessions of the others end with it.
    pub members: &'a [Member],
}

/// A deployment whose data goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its session. Where it is another's by now, nothing is done.
    pub token: String,
    /// What stands on the target of it where it is not certain that all of it went.
    pub otherwise: Record,
    /// What stands there when it is.
    pub emptied: Record,
}

impl Flush<'_> {
    /// What went wrong in the executed transaction, if anything did. Each database has three replies: of `SELECT`, of the command, and its size.
    pub(super) fn failure(&self, replies: &[Value]) -> Option<String> {
        if let Some(error) = replies.iter().find_map(Value::error) {
            return Some(resp::said(error));
        }
        let sizes = replies.chunks_exact(3).map(|of_one| &of_one[2]);
        let mut kept = self
            .databases
            .iter()
            .zip(sizes)
            .filter(|(_, size)| **size != Value::Int(0));
        let (db, _) = kept.next()?;
        Some(format!("{} has not emptied database {db}", self.command))
    }
}

impl Session {
    /// Writes `record` in place of what stood there.
    ///
    /// # Errors
    /// The connection fails, the target refuses, or another session has taken over.
    pub async fn write_record(&mut self, record: Record) -> Result<(), Error> {
        self.transaction(self.replacing(&self.key, &record).into())
            .await?;
        self.record = record;
        self.watch().await
    }

    /// Empties databases. The checkpoints of its members go in the same transaction; what their records say of the empty databases is written when that
    /// is certain.
    ///
    /// # Errors
    /// As [`Session::write_record`], nothing being changed where the target has refused; [`Error::HalfDone`] where it may have been done in part.
    pub async fn flush(&mut self, flush: Flush<'_>) -> Result<(), Error> {
        if self.lane.router().is_some() {
            return self.flush_cluster(&flush).await;
        }
        self.watch_members(&flush).await?;
        let replies = self.transaction(self.emptying(&flush)).await?;
        if let Some(reply) = flush.failure(&replies) {
            return Err(self.half_done(reply));
        }
        crash::pass(Step::FlushEmptied);
        // From here on it is done, whatever is said.
        let noted = async {
            self.watch().await?;
            self.watch_members(&flush).await?;
            let records = flush.members.iter();
            let records = records.flat_map(|one| self.replacing(&checkpoint::key(&one.name), &one.emptied));
            self.transaction(records.collect()).await?;
            crash::pass(Step::FlushNoted);
            self.record = self.read_record().await?;
            self.watch().await
        };
        match noted.await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.half_done(error.to_string())),
        }
    }

    /// Watches the sessions of all members too, and makes sure that they are what they were, or gone with the flush.
    async fn watch_members(&mut self, flush: &Flush<'_>) -> Result<(), Error> {
        for member in flush.members {
            let key = checkpoint::session_key(&member.name);
            let asks = vec![command(&[b"WATCH", &key]), command(&[b"HGETALL", &key])];
            let seat = self.seated().await?;
            let replies = self.lane.call_seated(&seat, asks).await?;
            self.is_unchanged(member, &replies)?;
        }
        Ok(())
    }

    /// Whether the last reply, what stands under a member's session key, is the session that it was, or nothing.
    pub(super) fn is_unchanged(&self, member: &Member, replies: &[Value]) -> Result<(), Error> {
        if let Some(error) = replies.iter().find_map(Value::error) {
            return Err(self.refused("HGETALL", error));
        }
        let sessions = replies.last().map(claim::fields).unwrap_or_default();
        match sessions
            .iter()
            .all(|(token, _)| *token == member.token.as_bytes())
        {
            true => Ok(()),
            false => Err(self.superseded()),
        }
    }

    /// The commands that empty the databases: three for each.
    pub(super) fn emptying_databases(&self, flush: &Flush<'_>) -> Vec<Command> {
        let mut commands = Vec::new();
        for db in flush.databases {
            commands.push(command(&[b"SELECT", db.to_string().as_bytes()]));
            commands.push(match self.facts.version.0 {
                0..4 => command(&[flush.command.as_bytes()]),
                _ => command(&[flush.command.as_bytes(), b"ASYNC"]),
            });
            commands.push(command(&[b"DBSIZE"]));
        }
        commands
    }

    pub(super) fn emptying(&self, flush: &Flush<'_>) -> Vec<Command> {
        let mut commands = self.emptying_databases(flush);
        commands.push(command(&[b"SELECT", b"0"]));
        for member in flush.members {
            commands.push(command(&[b"DEL", &checkpoint::session_key(&member.name)]));
            commands.extend(self.replacing(&checkpoint::key(&member.name), &member.otherwise));
        }
        let epoch = self.epoch.to_string();
        commands.push(command(&[
            b"HSET",
            &self.session_key,
            self.token.as_bytes(),
            epoch.as_bytes(),
        ]));
        commands
    }

    /// Removes both keys of the deployment: nothing of ours stays on the target.
    ///
    /// # Errors
    /// As [`Session::write_record`].
    pub async fn remove_keys(&mut self) -> Result<(), Error> {
        let removal = command(&[b"DEL", &self.key, &self.session_key]);
        self.transaction(vec![removal]).await?;
        self.take_fences_away().await
    }

    /// The commands that put a record in place of what stands under the key.
    pub(super) fn replacing(&self, key: &[u8], record: &Record) -> [Command; 2] {
        let verb = self.facts.hash_verb();
        [command(&[b"DEL", key]), record.command(verb, key, now_ms())]
    }

    /// Runs commands in a transaction, under `WATCH` of the session's key; the replies of `EXEC`.
    pub(super) async fn transaction(&mut self, commands: Vec<Command>) -> Result<Vec<Value>, Error> {
        let all = [command(&[b"MULTI"])]
            .into_iter()
            .chain(commands)
            .chain([command(&[b"EXEC"])]);
        let all: Vec<Command> = all.collect();
        let seat = self.seated().await?;
        self.seat = None;
        let mut replies = self.lane.call_seated(&seat, all.clone()).await?;
        if self.has_moved(&replies) {
            // Nothing is applied. Where the slot has gone the key is watched anew, and it is asked whose it is.
            let seat = self.seated().await?;
            self.seat = None;
            replies = self.lane.call_seated(&seat, all).await?;
        }
        // A command that is refused when it is queued makes EXEC fail, and nothing is applied; its own words say more.
        if let Some(error) = replies.iter().find_map(Value::error) {
            return Err(self.refused("EXEC", error));
        }
        match replies.pop() {
            Some(Value::Array(replies)) => Ok(replies),
            Some(Value::Nil) => Err(self.superseded()),
            _ => Err(Error::Unexpected {
                address: self.lane.address().clone(),
                command: "EXEC".to_owned(),
            }),
        }
    }

    /// Whether a cluster's node has sent a transaction on.
    fn has_moved(&self, replies: &[Value]) -> bool {
        let address = self.lane.address();
        let mut errors = replies.iter().filter_map(Value::error).map(resp::said);
        self.lane.map().is_some() && errors.any(|reply| Redirect::of(&reply, address).is_some())
    }

    pub(super) fn refused(&self, command: &str, error: &[u8]) -> Error {
        Error::Refused {
            address: self.lane.address().clone(),
            command: command.to_owned(),
            reply: resp::said(error),
        }
    }

    pub(super) fn half_done(&self, reply: String) -> Error {
        Error::HalfDone {
            address: self.lane.address().clone(),
            reply,
        }
    }
}

pub(super) fn command(args: &[&[u8]]) -> Command {
    args.iter().map(|arg| arg.to_vec()).collect()
}
