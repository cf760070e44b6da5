//! What the lanes and the clerks say, and what follows from it for groups, nodes and the low-water mark.

use std::time::Instant;

use super::super::clerk::{Done, Errand};
use super::super::group::{Fate, Group, Refused};
use super::super::map::SlotMap;
use super::super::node::News;
use super::{Fenced, LOOK_EVERY, LOOK_SOON, REST, State};
use crate::core::net::Address;
use crate::core::position::Position;
use crate::core::target::checkpoint::Checkpoint;
use crate::core::target::{Error, Trouble};

impl Fenced {
    pub(super) fn hear(&mut self, from: &Address, news: News) -> Result<(), Error> {
        match news {
            News::Landed(groups) => {
                self.set_state(from, State::Idle);
                for (group, fate) in groups {
                    self.judge(Some(from), group, fate);
                }
                self.close();
                Ok(())
            }
            News::Lost(error) => {
                self.set_state(from, State::Lost);
                self.tell(Trouble::from(&error));
                tracing::warn!(node = %from, %error, "a node of the target is lost; the others go on");
                self.lost.get_or_insert(error);
                self.look_soon();
                Ok(())
            }
            News::Back => Err(self.lost_again(from)),
        }
    }

    /// The error with which a session ends that has lost a node.
    fn lost_again(&mut self, node: &Address) -> Error {
        self.lost.take().unwrap_or_else(|| Error::Unexpected {
            address: node.clone(),
            command: "a batch".into(),
        })
    }

    fn judge(&mut self, from: Option<&Address>, mut group: Group, fate: Fate) {
        match fate {
            Fate::Applied(refused) => {
                self.note_refused(&mut group, refused, true);
                self.confirm(&group);
            }
            Fate::Rejected(refused) => {
                let places: Vec<usize> = refused.iter().map(|one| one.nth).collect();
                self.note_refused(&mut group, refused, false);
                let before = group.bytes();
                group.remove(&places);
                self.held_bytes -= before - group.bytes();
                match group.commands() {
                    0 => self.confirm(&group),
                    _ => self.again(group),
                }
            }
            Fate::Moved(_) => {
                // Where another node has taken this one's place, it may lack what was confirmed here: the whole map decides.
                self.look_at = Some(Instant::now() + LOOK_SOON);
                self.put_back(group);
            }
            Fate::OnItsWay => {
                // It stays under way: nothing of its slot goes out before it.
                let _ = self.detour.errands.send(Errand::Deliver(group));
            }
            Fate::Later(reply) => {
                self.look_soon();
                self.tell(Trouble::of_reply(from, &reply));
                if let Some(from) = from {
                    self.set_state(from, State::Resting(Instant::now() + REST));
                }
                self.again(group);
            }
        }
    }

    fn note_refused(&mut self, group: &mut Group, refused: Vec<Refused>, applied: bool) {
        if refused.is_empty() {
            return;
        }
        let commands = group.each();
        for one in refused {
            match commands.get(one.nth) {
                Some(_)
                    if applied
                        && is_of_state(&one.reply)
                        && group.may_be_replayed(one.nth, self.replayed_until) =>
                {
                    self.report.replayed += 1;
                }
                Some(command) => self.report.refused.push((command.clone(), one.reply)),
                None => {}
            }
        }
    }

    /// The group goes out again, before anything else of its slot.
    fn again(&mut self, group: Group) {
        let slot = group.slot;
        self.put_back(group);
        self.make_ready(slot);
    }

    /// The group is the first of its slot again, and goes out when the next map has come.
    fn put_back(&mut self, group: Group) {
        let queue = self.slots.entry(group.slot).or_default();
        queue.push_front(group);
        queue.under_way = false;
    }

    fn confirm(&mut self, group: &Group) {
        self.held_bytes -= group.bytes();
        let oldest = self.next_batch - self.window.len() as u64;
        for batch in &group.batches {
            self.part_is_done(batch - oldest);
        }
        let Some(queue) = self.slots.get_mut(&group.slot) else {
            return;
        };
        queue.under_way = false;
        match queue.is_empty() {
            true => drop(self.slots.remove(&group.slot)),
            false => self.make_ready(group.slot),
        }
    }

    fn part_is_done(&mut self, place: u64) {
        let place = usize::try_from(place).expect("a place in memory");
        self.window[place].left -= 1;
    }

    /// Moves the low-water mark over what is confirmed.
    pub(super) fn close(&mut self) {
        while self.window.front().is_some_and(|open| open.left == 0)
            && let Some(open) = self.window.pop_front()
        {
            self.confirmed = Checkpoint {
                position: Position {
                    id: self.history,
                    offset: open.end,
                },
                db: open.db,
            };
            self.report.applied = Some(open.end);
            self.report.batches += 1;
            self.report.commands += open.commands;
            self.report.oldest = self.report.oldest.or(open.oldest);
        }
    }

    pub(super) fn hear_clerk(&mut self, done: Done) -> Result<(), Error> {
        match done {
            Done::Map(map) => self.take_map(map),
            Done::Recorded(at, marks) => {
                self.recording = false;
                self.record_at = Instant::now() + self.record_every;
                self.recorded = at.position.offset;
                self.session.record.checkpoint = Some(at);
                self.session.record.marks = marks;
                self.report.checkpointed = Some(at.position.offset);
                Ok(())
            }
            Done::Superseded => Err(self.session.superseded()),
            Done::Delivered(group, fate) => {
                self.judge(None, group, fate);
                self.close();
                Ok(())
            }
            Done::Acted(number, end, refused) => {
                self.acting = false;
                match refused {
                    Some((_, reply)) if end <= self.replayed_until && is_of_library(&reply) => {
                        self.report.replayed += 1;
                    }
                    refused => self.report.refused.extend(refused),
                }
                let oldest = self.next_batch - self.window.len() as u64;
                self.part_is_done(number - oldest);
                self.close();
                Ok(())
            }
            Done::Failed(error, back) => self.clerk_failed(error, back),
        }
    }

    /// An errand could not be done now: it is tried again when it is next due. Where it is not known what was done of it, the session ends: the
    /// fences know.
    fn clerk_failed(&mut self, error: Error, back: Errand) -> Result<(), Error> {
        let is_certain = matches!(error, Error::Refused { .. } | Error::SlotsMissing { .. });
        self.tell(Trouble::from(&error));
        match back {
            Errand::Deliver(_) | Errand::Act(..) if !is_certain => return Err(error),
            Errand::Deliver(group) => self.again(group),
            act @ Errand::Act(..) => {
                let _ = self.detour.errands.send(act);
            }
            Errand::Record(_) => {
                self.recording = false;
                self.record_at = Instant::now() + LOOK_EVERY;
                // Other nodes may serve the slots by now, and nothing that is written has come to where one would hear of it.
                self.look_soon();
            }
            Errand::Look => {
                self.looking = false;
                self.look_at = Some(Instant::now() + LOOK_EVERY);
            }
        }
        Ok(())
    }

    /// A new map: slots with something to send go to whoever serves them now.
    fn take_map(&mut self, map: SlotMap) -> Result<(), Error> {
        self.looking = false;
        // Also one to which this session has sent nothing: what an earlier one has sent may be gone with it.
        let lost = self.nodes.iter().filter(|(_, node)| node.state == State::Lost);
        let replaced = self
            .map
            .masters()
            .chain(lost.map(|(address, _)| address))
            .find(|address| map.slots_of(address).next().is_none())
            .cloned();
        if let Some(address) = replaced {
            // Another may have taken its place without its last writes: marks and fences know.
            return Err(self.lost_again(&address));
        }
        if self.nodes.values().any(|node| node.state == State::Lost) {
            self.look_soon();
        }
        self.map = map;
        for node in self.nodes.values_mut() {
            node.ready.clear();
        }
        let waiting = self
            .slots
            .iter()
            .filter(|(_, queue)| !queue.under_way && !queue.is_empty());
        let waiting: Vec<u16> = waiting.map(|(slot, _)| *slot).collect();
        waiting.into_iter().for_each(|slot| self.make_ready(slot));
        Ok(())
    }
}

/// Whether a refusal comes of what the key holds: a blind write that comes again may meet what only a later one has put there.
fn is_of_state(reply: &str) -> bool {
    const STARTS: [&str; 4] = [
        "WRONGTYPE",
        "INVALIDOBJ",
        "ERR no such key",
        "ERR index out of range",
    ];
    STARTS.iter().any(|start| reply.starts_with(start))
}

/// Whether a library that comes again is refused because another one, which the stream loads later, has a function of the same name by now. What deletes
/// the first stands in between.
fn is_of_library(reply: &str) -> bool {
    reply.starts_with("ERR Function ") && reply.contains("already exists")
}
