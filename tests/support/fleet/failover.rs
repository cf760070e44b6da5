//! Masters that change: handed over, killed, killed and replaced.

use std::time::{Duration, Instant};

use super::LONG;
use super::cluster::Fleet;
use crate::support::wait_for;

impl Fleet {
    /// Hands a shard over to its first replica (`CLUSTER FAILOVER`): no write that was acknowledged is lost.
    ///
    /// Gives the place of the new master, as soon as all nodes agree on it.
    #[track_caller]
    pub fn fail_over(&mut self, master: usize) -> usize {
        let heir = *self
            .shard(master)
            .replicas
            .first()
            .expect("the shard has a replica");
        wait_for(LONG, "the replica has taken over", || {
            let asked = redis::cmd("CLUSTER")
                .arg("FAILOVER")
                .exec(&mut self.nodes[heir].conn());
            // An attempt ends by itself after 5 s where the master did not answer in time.
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(6) {
                if self.is_master(heir) {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(format!("{asked:?}; {}", self.nodes[heir].log()))
        });
        self.wait_whole();
        heir
    }

    fn is_master(&self, node: usize) -> bool {
        self.nodes[node].info("replication")["role"] == "master"
    }

    /// Kills a master as a crash would, and waits until one of its replicas was elected: its place.
    ///
    /// Writes that it had acknowledged and not yet sent to the replica are lost. It stays away until [`Fleet::revive`]
    /// or [`Fleet::replace`].
    #[track_caller]
    pub fn crash(&mut self, master: usize) -> usize {
        let heirs = self.shard(master).replicas;
        assert!(!heirs.is_empty(), "a shard without a replica does not come back");
        self.kill(master);
        let heir = wait_for(LONG, "a replica was elected", || {
            let elected = heirs.iter().find(|heir| self.is_master(**heir));
            elected.copied().ok_or_else(|| self.nodes[heirs[0]].log())
        });
        self.wait_whole();
        heir
    }

    /// Kills a node and waits for nothing.
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill9();
        self.down.insert(node);
    }

    /// Starts a killed node again, empty: it finds out that another has its slots and becomes a replica.
    ///
    /// Only after the election: a master that comes back before it comes back without its data.
    #[track_caller]
    pub fn revive(&mut self, node: usize) {
        self.nodes[node].restart();
        self.down.remove(&node);
        wait_for(LONG, "the node that came back is a replica", || {
            match self.is_master(node) {
                false => Ok(()),
                true => Err("still a master".to_owned()),
            }
        });
        self.wait_whole();
    }

    /// A crash, and the killed node comes back as a replica: who is master now.
    #[track_caller]
    pub fn crash_and_revive(&mut self, master: usize) -> usize {
        let heir = self.crash(master);
        self.revive(master);
        heir
    }

    /// Replaces a node that was killed by a fresh one, a replica of `master`; all forget the old one. The new one's
    /// place.
    #[track_caller]
    pub fn replace(&mut self, node: usize, master: usize) -> usize {
        assert!(self.down.contains(&node), "only a killed node is replaced");
        self.forget(&[node]);
        let new = self.join(1, self.members[master]).start;
        self.replicate(new, master);
        self.wait_whole();
        new
    }

    /// Makes all nodes that stay forget these.
    pub(super) fn forget(&self, gone: &[usize]) {
        for (place, node) in self.live().filter(|(place, _)| !gone.contains(place)) {
            let mut conn = node.conn();
            for id in gone.iter().map(|gone| &self.ids[*gone]) {
                let answer = redis::cmd("CLUSTER").arg("FORGET").arg(id).exec(&mut conn);
                if let Err(error) = answer
                    // Newer nodes tell each other.
                    && !error.to_string().contains("Unknown node")
                {
                    panic!("node {place} does not forget {id}: {error}");
                }
            }
        }
    }
}
