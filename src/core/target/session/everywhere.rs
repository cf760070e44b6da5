//! What is done on every node of a cluster, of which a transaction covers one slot only: marks, and its emptying.
//!
//! | step | what | after a crash just behind it |
//! | --- | --- | --- |
//! | 1 | each master is asked whether it would: the command is queued, and given up | as before |
//! | 2 | the other members' checkpoints go, each in its slot | they begin with a full sync |
//! | 3 | home: one transaction empties it, and this session's checkpoint goes | the same |
//! | 4 | the other masters are emptied, one by one | the same |
//! | 5 | what the records say of the empty target is written | – |
//!
//! Promises that no checkpoint outlives the data that it vouches for.

use super::Session;
use super::transaction::{Command, Flush, Member, command};
use crate::core::net::Address;
use crate::core::position::Offset;
use crate::core::resp::Value;
use crate::core::target::cluster::fences;
use crate::core::target::cluster::map::SlotMap;
use crate::core::target::{Error, checkpoint};

impl Session {
    /// Leaves a mark on every node of a cluster: whoever finds it there finds what was confirmed before it, too. Gives the slots for the record.
    ///
    /// # Errors
    /// The target fails.
    pub async fn leave_marks(&mut self, offset: Offset, db: u32) -> Result<Vec<u16>, Error> {
        let mark = fences::mark(self.record.lineage, offset, db);
        match self.lane.router() {
            Some(router) => {
                router.still_ours().await?;
                fences::leave(router, &self.name, &mark, None).await
            }
            None => Ok(Vec::new()),
        }
    }

    /// Takes away every fence and every mark, also those that the record names no more: slots move, and a full sync before had its own.
    pub(super) async fn take_fences_away(&mut self) -> Result<(), Error> {
        match self.lane.router() {
            Some(router) => fences::take_away(router, &self.name).await,
            None => Ok(()),
        }
    }

    pub(super) async fn flush_cluster(&mut self, flush: &Flush<'_>) -> Result<(), Error> {
        let map = self.look().await?;
        self.ask_all(flush).await?;
        let (own, others): (Vec<Member>, Vec<Member>) =
            flush.members.iter().cloned().partition(|one| self.is_ours(one));
        for member in &others {
            let done = self.replace_record(member, &member.otherwise).await;
            done.map_err(|error| self.half_done(error.to_string()))?;
        }
        let home = Flush {
            members: &own,
            ..*flush
        };
        let replies = self.transaction(self.emptying(&home)).await?;
        if let Some(reply) = flush.failure(&replies) {
            return Err(self.half_done(reply));
        }
        match self.empty_others(flush, &map).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.half_done(error.to_string())),
        }
    }

    async fn empty_others(&mut self, flush: &Flush<'_>, map: &Option<SlotMap>) -> Result<(), Error> {
        self.watch().await?;
        let home = self.lane.address().clone();
        for node in self.lane.masters().iter().filter(|node| **node != home) {
            let replies = self.flush_at(node, flush, b"EXEC").await?;
            if let Some(reply) = flush.failure(replies.array().unwrap_or_default()) {
                return Err(self.half_done(reply));
            }
        }
        if self.look().await? != *map {
            return Err(self.half_done("slots changed hands while the cluster was emptied".to_owned()));
        }
        for member in flush.members {
            match self.is_ours(member) {
                true => self.write_record(member.emptied.clone()).await?,
                false => self.replace_record(member, &member.emptied).await?,
            }
        }
        Ok(())
    }

    /// Who serves what, asked anew.
    async fn look(&mut self) -> Result<Option<SlotMap>, Error> {
        if let Some(router) = self.lane.router() {
            router.refresh().await?;
        }
        Ok(self.lane.map().cloned())
    }

    /// Whether every master would do it.
    async fn ask_all(&mut self, flush: &Flush<'_>) -> Result<(), Error> {
        for node in self.lane.masters() {
            self.flush_at(&node, flush, b"DISCARD").await?;
        }
        // What was given up at home was watched no more.
        self.watch().await
    }

    /// Empties a master in a transaction that ends so; the replies are those that emptying a database has.
    async fn flush_at(&mut self, node: &Address, flush: &Flush<'_>, end: &[u8]) -> Result<Value, Error> {
        self.lane.call_at(node, &[b"MULTI"]).await?;
        for command in self.emptying_databases(flush) {
            let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            if let Err(error) = self.lane.call_at(node, &args).await {
                self.lane.call_at(node, &[b"DISCARD"]).await?;
                return Err(error);
            }
        }
        self.lane.call_at(node, &[end]).await
    }

    fn is_ours(&self, member: &Member) -> bool {
        checkpoint::key(&member.name) == self.key
    }

    /// Ends the session of another member and puts a record in place of its own.
    async fn replace_record(&mut self, member: &Member, record: &checkpoint::Record) -> Result<(), Error> {
        let (key, session_key) = (
            checkpoint::key(&member.name),
            checkpoint::session_key(&member.name),
        );
        let seat = self.lane.watch(&session_key).await?;
        let asked = self
            .lane
            .call_seated(&seat, vec![command(&[b"HGETALL", &session_key])])
            .await?;
        self.is_unchanged(member, &asked)?;
        let mut commands: Vec<Command> = vec![command(&[b"MULTI"]), command(&[b"DEL", &session_key])];
        commands.extend(self.replacing(&key, record));
        commands.push(command(&[b"EXEC"]));
        let replies = self.lane.call_seated(&seat, commands).await?;
        let executed = replies.last().and_then(Value::array);
        match replies
            .iter()
            .chain(executed.unwrap_or_default())
            .find_map(Value::error)
        {
            Some(error) => Err(self.refused("EXEC", error)),
            None if executed.is_none() => Err(self.superseded()),
            None => Ok(()),
        }
    }
}
