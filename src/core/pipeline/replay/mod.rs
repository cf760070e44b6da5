//! What becomes of each item of a snapshot on the target: the engine of a full sync, and of loading a file.
//!
//! ```text
//! rdb::Item -> how (RESTORE, commands in one go, in pieces) -> target::Restorer (N lanes)
//! ```
//!
//! Owns how a value is written, `keyExists` and `functionExists`, and what is told where the target cannot hold something. Promises that a key
//! is there whole, with its expiry, or as it was; that nothing of an old value is merged with the new one; and that nothing is left out in
//! silence: what the target refuses and what it cannot hold comes out of [`Replayer::take_refused`] alike.
//!
//! Leaves to the caller which keys are replayed and where to, the pace, the place of what is written, and what a refusal means.
//!
//! | file | what |
//! | --- | --- |
//! | `how.rs` | how a value gets to the target: the decision |
//! | `one_go.rs` | a value written in one transaction |
//! | `pieces.rs` | a value written in pieces, and going on with it |
//! | `finish.rs` | how it takes its name |
//! | `told.rs` | what is told of what the target refused or cannot hold |

mod finish;
mod how;
mod one_go;
mod pieces;
mod told;

use bytes::{Bytes, BytesMut};

use super::{End, FunctionExists, KeyExists, ModuleAux};
use crate::core::rdb::payload::{self, Modules, Payload};
use crate::core::rdb::{self, Key, ModuleId, Plain, Version, kind_of, value};
use crate::core::resp::{self, Value};
use crate::core::target::checkpoint::Cursor;
use crate::core::target::door::Door;
use crate::core::target::facts::Facts;
use crate::core::target::restore::{self, Refused, Restorer};
use crate::core::target::rewrite::Ability;
use crate::core::target::staging::Names;
use how::{Case, How, Why};
use pieces::Pieces;

/// How items are replayed.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The deployment's name: part of staged keys' names.
    pub deployment: String,
    /// What to do with a key that is there.
    pub key_exists: KeyExists,
    /// What to do with a library that is there.
    pub function_exists: FunctionExists,
    /// What to do with data of modules beside the keys.
    pub module_aux: ModuleAux,
    /// Whether `RESTORE` is used where the target takes it.
    pub restore: bool,
    /// The longest argument of `RESTORE`, whatever the target would take.
    pub restore_bytes_max: usize,
    /// Longer values are written in pieces.
    pub big_value_bytes: usize,
}

/// Where a key goes.
#[derive(Debug, Clone, Copy)]
pub struct Placed {
    /// The target's database.
    pub db: u32,
    /// The expiry that it gets, Unix time in milliseconds.
    pub expire_at_ms: Option<i64>,
    /// Where in the snapshot it stands.
    pub at: Cursor,
}

/// Replays items. See the module's head.
#[derive(Debug)]
pub struct Replayer {
    policy: Policy,
    facts: Facts,
    ability: Ability,
    /// Target databases in which a key that is there was written by us: it is replaced whatever `keyExists` says.
    pub ours: Vec<u32>,
    /// The lanes.
    pub restorer: Restorer,
    pieces: Pieces,
    told: Vec<Refused>,
    functions_flushed: bool,
    /// Databases in which staged names may be in use.
    staged: Vec<u32>,
    /// What those names are.
    names: Names,
    /// Whose format the snapshot is in.
    source: Version,
}

impl Replayer {
    /// Replays through these lanes. `resumed`: libraries of functions have been let go already.
    #[must_use]
    pub fn new(
        policy: Policy,
        facts: Facts,
        mut restorer: Restorer,
        ours: Vec<u32>,
        resumed: bool,
    ) -> Replayer {
        Replayer {
            names: Names::of(&policy.deployment, restorer.is_cluster()),
            ability: Ability::of(&facts),
            policy,
            facts,
            ours,
            restorer,
            pieces: Pieces::None,
            told: Vec::new(),
            functions_flushed: resumed,
            staged: Vec::new(),
            source: Version::SHARED,
        }
    }

    /// The dialect of a target's `RESTORE`, under a policy.
    #[must_use]
    pub fn dialect(policy: &Policy, facts: &Facts) -> restore::Dialect {
        restore::Dialect {
            absolute_ttl: facts.since((5, 0, 0), (0, 0, 0)),
            set_absolute_ttl: facts.since((6, 2, 0), (0, 0, 0)),
            replace: policy.key_exists == KeyExists::Replace,
        }
    }

    /// Says whose format the snapshot is in: to be known before the first item is replayed.
    pub fn set_source(&mut self, source: Version) {
        self.source = source;
    }

    /// Replays a key whose value is there whole. `control` is a connection beside the lanes, with database 0 selected.
    ///
    /// # Errors
    /// The target fails, or needs a person.
    pub async fn key(&mut self, control: &mut Door, key: &Key, to: Placed) -> Result<(), End> {
        match how::decide(self.case(key, to, key.value.len() as u64)) {
            How::Set => self.set(key, to).await,
            How::Restore(footer) => self.restore(&key.payload(), key, to, footer).await,
            How::OneGo => self.one_go(control, key, to).await,
            How::Pieces => self.in_pieces(control, key, to).await,
            How::Refuse(why) => {
                self.refuse(key, to, why);
                Ok(())
            }
        }
    }

    /// Begins a key whose value comes in pieces; `key` has the first. What came before it is done with first: while a value is in hand nothing
    /// else is under way, so that whatever is refused meanwhile is of this one.
    ///
    /// # Errors
    /// As [`Replayer::key`].
    pub async fn begin(&mut self, control: &mut Door, key: &Key, to: Placed) -> Result<(), End> {
        self.restorer.finish().await.map_err(End::Target)?;
        self.settle(control).await?;
        let at_least = key.value.len().max(self.policy.big_value_bytes.saturating_add(1)) as u64;
        match how::decide(self.case(key, to, at_least)) {
            // What only RESTORE can write must be there whole first.
            How::Restore(_) => self.pieces = Pieces::gather(key, to),
            How::Set | How::OneGo | How::Pieces => self.begin_pieces(control, key, to).await?,
            How::Refuse(why) => {
                self.refuse(&pieces::head_of(key), to, why);
                self.pieces = Pieces::Passed;
            }
        }
        self.piece(key.value.clone()).await
    }

    /// The pieces that follow belong to a key that is not replayed.
    pub fn pass(&mut self) {
        self.pieces = Pieces::Passed;
    }

    /// Whether the pieces that follow are not replayed.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self.pieces, Pieces::Passed)
    }

    async fn set(&mut self, key: &Key, to: Placed) -> Result<(), End> {
        let mut digits = itoa::Buffer::new();
        let text = match rdb::plain(&key.value) {
            Some(Plain::Bytes(text)) => text,
            Some(Plain::Number(number)) => digits.format(number).as_bytes(),
            None => unreachable!("it was looked at when it was decided"),
        };
        let set = restore::Key {
            db: to.db,
            name: &key.key,
            expire_at_ms: to.expire_at_ms,
            idle_secs: None,
            freq: None,
            payload_len: text.len(),
            replace: true,
        };
        self.restorer.set(to.at, &set, text).await.map_err(End::Target)
    }

    /// Whether a key can be written with `SET`: a string without anything that only `RESTORE` can say, which replaces whatever is there.
    fn sets(&self, key: &Key, to: Placed) -> bool {
        key.value_type == rdb::STRING
            && !self.keeps(to.db)
            && key.meta.is_empty()
            && key.idle_secs.is_none()
            && key.freq.is_none()
            && (to.expire_at_ms.is_none() || self.restorer.dialect().set_absolute_ttl)
            && rdb::plain(&key.value).is_some()
    }

    async fn restore(
        &mut self,
        payload: &Payload<'_>,
        key: &Key,
        to: Placed,
        footer: u16,
    ) -> Result<(), End> {
        let restore = restore::Key {
            db: to.db,
            name: &key.key,
            expire_at_ms: to.expire_at_ms,
            idle_secs: key.idle_secs,
            freq: key.freq,
            payload_len: payload.len_bytes(),
            replace: self.ours.contains(&to.db),
        };
        let written = self
            .restorer
            .restore(to.at, &restore, |out| payload.write(out, footer))
            .await;
        written.map_err(End::Target)
    }

    fn case(&self, key: &Key, to: Placed, bytes: u64) -> Case {
        let source = self.source;
        let kind = kind_of(key.value_type, source.flavor);
        let object = kind.map_or("", |kind| kind.object);
        let bulk_bytes_max = self.facts.bulk_bytes_max;
        Case {
            restore: self.policy.restore && (self.keeps(to.db) || self.ability.restore_replaces),
            sets: self.sets(key, to),
            footer: key.payload().footer(source, self.rdb_version(), Modules::Unknown),
            is_module: object == "module",
            is_foreign_stream: object == "stream" && !self.ability.streams,
            text_bytes: (object == "string")
                .then(|| value::count(key.value_type, source.flavor, &key.value))
                .flatten(),
            bytes: bytes + payload::FOOTER_BYTES as u64 + 1,
            resumed: to.at.elements > 0,
            restore_bytes_max: self.policy.restore_bytes_max.min(bulk_bytes_max) as u64,
            bulk_bytes_max: bulk_bytes_max as u64,
            big_value_bytes: self.policy.big_value_bytes as u64,
        }
    }

    /// The target's RDB version; where it may not be asked for it, it is taken for the source's, and what it refuses is written with commands.
    fn rdb_version(&self) -> Version {
        self.facts.rdb_version.unwrap_or(self.source)
    }

    /// Whether a key that is there stays.
    fn keeps(&self, db: u32) -> bool {
        self.policy.key_exists != KeyExists::Replace && !self.ours.contains(&db)
    }

    /// Whether the key is there and must stay; with `keyExists: error` that is told.
    async fn is_kept(&mut self, control: &mut Door, key: &Key, to: Placed) -> Result<bool, End> {
        if !self.keeps(to.db) {
            return Ok(false);
        }
        let answers = asked(control, to.db, vec![vec![b"EXISTS".to_vec(), key.key.to_vec()]]).await?;
        super::parked::must_not_be_refused(&answers)?;
        if !matches!(answers.first(), Some(Value::Int(1))) {
            return Ok(false);
        }
        let reply = "BUSYKEY Target key name already exists.".to_owned();
        self.tell_key(key, to, reply);
        Ok(true)
    }

    /// The place before which everything is confirmed and told; `reader` is where the snapshot's reader stands.
    #[must_use]
    pub fn low_water(&self, reader: Cursor) -> Cursor {
        let low = self.restorer.low_water(self.pieces.place().unwrap_or(reader));
        let told = self.told.iter().map(|one| one.at);
        told.chain([low])
            .min_by_key(|cursor| (cursor.at, cursor.elements))
            .unwrap_or(low)
    }

    /// About how many bytes of the snapshot are on the target, those of a value in hand among them, where the low-water mark is `low`.
    #[must_use]
    pub fn bytes_confirmed(&self, low: Cursor) -> u64 {
        match &self.pieces {
            Pieces::Written(written) if written.to.at.at == low.at => low.at + written.bytes_of(low.elements),
            _ => low.at,
        }
    }

    /// Hands over what is being filled, so that it is confirmed without waiting for more.
    ///
    /// # Errors
    /// As [`Replayer::key`].
    pub async fn flush(&mut self) -> Result<(), End> {
        self.flush_pieces().await?;
        self.restorer.flush().await.map_err(End::Target)
    }

    /// Waits until everything is confirmed, and lets the staged names go.
    ///
    /// # Errors
    /// As [`Replayer::key`].
    pub async fn finish(&mut self, control: &mut Door) -> Result<(), End> {
        self.restorer.finish().await.map_err(End::Target)?;
        for db in std::mem::take(&mut self.staged) {
            // Of a cluster it would be the size of one node.
            let size = asked(control, db, vec![vec![b"DBSIZE".to_vec()]]).await?;
            if size.first() == Some(&Value::Int(0)) && !self.restorer.is_cluster() {
                continue;
            }
            let clearing = self.names.clearing(self.facts.removal_verb());
            let answers = asked(control, db, clearing).await?;
            super::parked::must_not_be_refused(&answers)?;
        }
        Ok(())
    }

    /// Staged names of an earlier process may be in use in these databases, too.
    pub fn clear_staged_in(&mut self, databases: &[u32]) {
        for db in databases {
            self.note_staged(*db);
        }
    }

    fn note_staged(&mut self, db: u32) {
        if !self.staged.contains(&db) {
            self.staged.push(db);
        }
    }

    /// Replays a library of functions; `library` is its code as an RDB string.
    ///
    /// # Errors
    /// As [`Replayer::key`].
    pub async fn function(&mut self, library: &Bytes, at: Cursor) -> Result<(), End> {
        let to = Placed {
            db: 0,
            expire_at_ms: None,
            at,
        };
        // What FUNCTION RESTORE refuses could not be written in another way afterwards; so nothing is tried that may be refused.
        let known = self.facts.rdb_version;
        let footer = known.and_then(|target| payload::functions_footer(self.source, target));
        let code = rdb::unpack(library).unwrap_or_default();
        if !self.ability.functions || (footer.is_none() && known.is_some()) {
            let mut command = BytesMut::new();
            resp::encode_command(&mut command, &[b"FUNCTION", b"LOAD", b"REPLACE", &code]);
            let reason = "the source has functions, which the target does not know (before 7.0)".to_owned();
            self.tell(to, command.freeze(), reason);
            return Ok(());
        }
        let policy = self.policy.function_exists;
        if policy == FunctionExists::Flush && !std::mem::replace(&mut self.functions_flushed, true) {
            let flushed = self.restorer.command(at, &[b"FUNCTION", b"FLUSH"]).await;
            flushed.map_err(End::Target)?;
        }
        let appends = policy == FunctionExists::Append;
        let sent = match footer.filter(|_| self.policy.restore) {
            Some(footer) => {
                let mut dump = BytesMut::new();
                payload::write_functions(&mut dump, [&library[..]], footer);
                let how: &[u8] = if appends { b"APPEND" } else { b"REPLACE" };
                self.restorer
                    .command(at, &[b"FUNCTION", b"RESTORE", &dump, how])
                    .await
            }
            None if appends => self.restorer.command(at, &[b"FUNCTION", b"LOAD", &code]).await,
            None => {
                let args: [&[u8]; 4] = [b"FUNCTION", b"LOAD", b"REPLACE", &code];
                self.restorer.command(at, &args).await
            }
        };
        sent.map_err(End::Target)
    }

    /// Replays a script that the source keeps cached.
    ///
    /// # Errors
    /// As [`Replayer::key`].
    pub async fn script(&mut self, script: &[u8], at: Cursor) -> Result<(), End> {
        let sent = self.restorer.command(at, &[b"SCRIPT", b"LOAD", script]).await;
        sent.map_err(End::Target)
    }

    /// What a module keeps beside the keys: no command takes it.
    ///
    /// # Errors
    /// The policy says that a person must decide.
    pub fn module_aux(&self, module: ModuleId) -> Result<(), End> {
        let module = module.to_string();
        if self.policy.module_aux == ModuleAux::Skip {
            tracing::warn!(module, "module data beside the keys is left out");
            return Ok(());
        }
        Err(End::Stuck {
            message: format!("the snapshot holds data of module {module} beside the keys, which no command can restore"),
            hint: "set output.replay.moduleAuxPolicy: skip to leave it out (search indexes must then be made anew on the target)"
                .to_owned(),
        })
    }
}

/// Asks in a database of the target; the answers without those of the selecting.
async fn asked(control: &mut Door, db: u32, asks: Vec<Vec<Vec<u8>>>) -> Result<Vec<Value>, End> {
    let select = |db: u32| vec![b"SELECT".to_vec(), db.to_string().into_bytes()];
    let count = asks.len();
    let all = [vec![select(db)], asks, vec![select(0)]].concat();
    let answers = control.call_many(all).await.map_err(End::Target)?;
    super::parked::must_not_be_refused(answers.first().map(std::slice::from_ref).unwrap_or_default())?;
    Ok(answers.into_iter().skip(1).take(count).collect())
}
