//! Slots that move: key by key as `redis-cli --cluster reshard` does it, or at once where the server can; shards that
//! come and go.

use std::collections::BTreeSet;

use redis::{Connection, Value};

use super::LONG;
use super::cluster::Fleet;
use super::slot::ranges;
use crate::support::wait_for;

/// Keys that one MIGRATE carries.
const KEYS_AT_ONCE: usize = 50;

/// How long one MIGRATE may take.
const MIGRATE_LIMIT_MS: usize = 5_000;

/// Slots that went away from a shard, which is named by its number: masters change.
#[derive(Debug, Clone)]
pub(super) struct Move {
    from: usize,
    slots: Vec<u16>,
}

impl Fleet {
    /// Moves the first so many slots of one master to another, key by key, while clients may write to them.
    #[track_caller]
    pub fn reshard(&mut self, from: usize, to: usize, count: usize) {
        let slots: Vec<u16> = self.shard(from).slots.into_iter().take(count).collect();
        self.move_slots(from, to, &slots);
        let from = self.members[from];
        self.moved.push(Move { from, slots });
    }

    /// Moves back what [`Fleet::reshard`] moved last, from whoever has it by now.
    #[track_caller]
    pub fn reshard_back(&mut self) {
        let moved = self.moved.pop().expect("slots were moved");
        let home = self.master_of(moved.from);
        for holder in self.shards().into_iter().filter(|shard| shard.master != home) {
            let mut slots = holder.slots;
            slots.retain(|slot| moved.slots.contains(slot));
            if !slots.is_empty() {
                self.move_slots(holder.master, home, &slots);
            }
        }
    }

    /// Whether slots were moved and not moved back.
    pub fn is_resharded(&self) -> bool {
        !self.moved.is_empty()
    }

    /// Moves these slots key by key (MIGRATE), each as a whole before the next.
    #[track_caller]
    pub fn move_slots(&self, from: usize, to: usize, slots: &[u16]) {
        let mut others: Vec<usize> = self.masters_at();
        others.retain(|place| ![from, to].contains(place));
        let mut hands = Hands {
            from: self.nodes[from].conn(),
            to: self.nodes[to].conn(),
            others: others.iter().map(|place| self.nodes[*place].conn()).collect(),
            from_id: self.id(from).to_owned(),
            to_id: self.id(to).to_owned(),
            to_port: self.nodes[to].port(),
            password: self.layout.secured.as_ref().map(|one| one.password().to_owned()),
        };
        for slot in slots {
            hands.carry(*slot);
        }
        self.wait_owned(to, slots);
    }

    /// Moves these slots at once, as Redis 8.4 and Valkey 9.0 can; `false` where the server cannot.
    #[track_caller]
    pub fn move_slots_atomically(&self, from: usize, to: usize, slots: &[u16]) -> bool {
        let (place, command) = match (self.layout.binary.product.as_str(), self.layout.binary.version) {
            ("redis", version) if version >= (8, 4, 0) => (to, ["MIGRATION", "IMPORT"].as_slice()),
            ("valkey", version) if version >= (9, 0, 0) => (from, ["MIGRATESLOTS", "SLOTSRANGE"].as_slice()),
            _ => return false,
        };
        let mut asked = redis::cmd("CLUSTER");
        asked.arg(command);
        for (first, last) in ranges(slots) {
            asked.arg(first).arg(last);
        }
        if place == from {
            asked.arg("NODE").arg(self.id(to));
        }
        asked.exec(&mut self.nodes[place].conn()).unwrap();
        self.wait_owned(to, slots);
        true
    }

    /// Waits until all nodes agree that this master serves these slots.
    #[track_caller]
    fn wait_owned(&self, master: usize, slots: &[u16]) {
        wait_for(LONG, "the slots have arrived", || {
            let shards = self.shards();
            let owned = shards.iter().find(|shard| shard.master == master);
            let owned: BTreeSet<u16> = owned
                .map(|shard| shard.slots.clone())
                .into_iter()
                .flatten()
                .collect();
            let missing: Vec<u16> = slots
                .iter()
                .copied()
                .filter(|slot| !owned.contains(slot))
                .collect();
            match missing.as_slice() {
                [] => Ok(()),
                missing => Err(format!("not there: {:?}", ranges(missing))),
            }
        });
        self.wait_whole();
    }

    /// Adds a master with its replicas, and gives it so many slots, taken from all others alike. Its place.
    #[track_caller]
    pub fn add_shard(&mut self, slots: usize) -> usize {
        let donors = self.shards();
        let number = self.members.iter().max().map_or(0, |last| last + 1);
        let new = self.join(1 + self.layout.replicas, number);
        for replica in new.clone().skip(1) {
            self.replicate(replica, new.start);
        }
        self.wait_whole();
        for (number, donor) in donors.iter().enumerate() {
            let share = slots * (number + 1) / donors.len() - slots * number / donors.len();
            let from_the_end = &donor.slots[donor.slots.len() - share..];
            self.move_slots(donor.master, new.start, from_the_end);
        }
        new.start
    }

    /// Gives the slots of this master to the others, and takes it and its replicas out of the cluster.
    ///
    /// They are shut down when `drained`, which is told their addresses, has come back: what they still have to say to those
    /// that follow them would be lost with them.
    #[track_caller]
    pub fn remove_shard(&mut self, master: usize, drained: &mut dyn FnMut(&[String])) {
        let leaving = self.shard(master);
        let heirs: Vec<usize> = self
            .masters_at()
            .into_iter()
            .filter(|place| *place != master)
            .collect();
        let share = leaving.slots.len().div_ceil(heirs.len());
        for (slots, heir) in leaving.slots.chunks(share).zip(heirs) {
            self.move_slots(master, heir, slots);
        }
        let gone: Vec<usize> = [master].into_iter().chain(leaving.replicas).collect();
        self.forget(&gone);
        let addresses: Vec<String> = gone.iter().map(|node| self.nodes[*node].addr()).collect();
        drained(&addresses);
        for node in gone {
            self.kill(node);
        }
        self.wait_whole();
    }
}

/// Connections to all masters while slots move.
struct Hands {
    from: Connection,
    to: Connection,
    others: Vec<Connection>,
    from_id: String,
    to_id: String,
    to_port: u16,
    /// The receiving master's.
    password: Option<String>,
}

impl Hands {
    fn carry(&mut self, slot: u16) {
        set_slot(&mut self.to, slot, "IMPORTING", &self.from_id);
        set_slot(&mut self.from, slot, "MIGRATING", &self.to_id);
        loop {
            let mut ask = redis::cmd("CLUSTER");
            ask.arg("GETKEYSINSLOT").arg(slot).arg(KEYS_AT_ONCE);
            let keys: Vec<Vec<u8>> = ask.query(&mut self.from).unwrap();
            if keys.is_empty() {
                break;
            }
            self.migrate(&keys);
        }
        // The importing one first: from then on somebody owns the slot, whatever happens.
        set_slot(&mut self.to, slot, "NODE", &self.to_id);
        for conn in [&mut self.from].into_iter().chain(&mut self.others) {
            set_slot(conn, slot, "NODE", &self.to_id);
        }
    }

    /// The exporting node tries again by itself where the importing one was slow: what it has not, it keeps.
    fn migrate(&mut self, keys: &[Vec<u8>]) {
        wait_for(LONG, "keys have migrated", || {
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(self.to_port).arg("").arg(0);
            migrate.arg(MIGRATE_LIMIT_MS);
            if let Some(password) = &self.password {
                migrate.arg("AUTH").arg(password);
            }
            migrate.arg("KEYS").arg(keys);
            match migrate.query::<Value>(&mut self.from) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        });
    }
}

fn set_slot(conn: &mut Connection, slot: u16, what: &str, id: &str) {
    wait_for(LONG, "SETSLOT is accepted", || {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SETSLOT").arg(slot).arg(what).arg(id);
        match command.exec(conn) {
            // A master that hears of the loss of its last slot before we tell it has become a replica by then.
            Err(error) if what == "NODE" && error.to_string().contains("only with masters") => Ok(()),
            answer => answer.map_err(|error| error.to_string()),
        }
    });
}
