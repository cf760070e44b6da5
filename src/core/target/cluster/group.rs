//! A group: the commands of one slot out of a stretch of the stream, delivered as one.
//!
//! Owns how a group goes out and what its replies mean:
//!
//! | its commands | on the wire | where a part of it is redirected or put off |
//! | --- | --- | --- |
//! | blind writes, none of a transaction of the source | plain, pipelined | all of it goes out again: that changes nothing |
//! | anything else | `MULTI`, the slot's fence, the commands, `EXEC` | nothing was applied: all of it goes out again |
//!
//! Leaves to [`super::fenced`] when it goes where.

use bytes::{Bytes, BytesMut};
use smallvec::{SmallVec, smallvec};

use super::fences;
use super::redirect::{Redirect, is_passing};
use crate::core::net::Address;
use crate::core::position::Offset;
use crate::core::resp::{self, Event, said};
use crate::core::target::lane::Wire;

/// A command of a group.
#[derive(Debug, Clone)]
struct Member {
    /// The slice in which it came.
    command: Bytes,
    end: Offset,
    blind: bool,
}

/// The commands of one slot. Of most slots a stretch has one: that allocates nothing.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) slot: u16,
    /// The batches of which it holds commands.
    pub(super) batches: SmallVec<[u64; 2]>,
    members: SmallVec<[Member; 1]>,
    /// Where the stream stands after the last of them, also of those that were taken out again.
    end: Offset,
    bytes: usize,
    /// Whether it must be a transaction.
    whole: bool,
}

/// Who writes, as fences name it; nothing where fences are not wanted.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    pub(super) name: String,
    pub(super) lineage: u64,
}

impl Writer {
    /// Writes the command that sets the slot's fence.
    pub(super) fn encode_fence(&self, out: &mut BytesMut, slot: u16, end: Offset) {
        let value = fences::fence(self.lineage, end);
        let key = fences::key(slot);
        resp::encode_command(out, &[b"HSET", key, self.name.as_bytes(), value.as_bytes()]);
    }
}

/// A command that the target did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) nth: usize,
    pub(super) reply: String,
}

/// What became of a group that was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is applied, but for these commands.
    Applied(Vec<Refused>),
    /// Nothing of it is applied, because of these.
    Rejected(Vec<Refused>),
    /// To be sent again: another node serves the slot.
    Moved(Address),
    /// To be sent again, one by one: the slot is on its way.
    OnItsWay,
    /// To be sent again after a while: the node said this.
    Later(String),
}

impl Group {
    pub(super) fn new(slot: u16, batch: u64) -> Group {
        Group {
            batches: smallvec![batch],
            ..Group::empty(slot)
        }
    }

    fn empty(slot: u16) -> Group {
        Group {
            slot,
            batches: SmallVec::new(),
            members: SmallVec::new(),
            end: Offset::ZERO,
            bytes: 0,
            whole: false,
        }
    }

    /// Adds a command that ends at `end` in the stream.
    pub(super) fn keep(&mut self, command: Bytes, end: Offset, blind: bool, in_transaction: bool) {
        self.bytes += command.len();
        self.whole |= !blind || in_transaction;
        self.end = end;
        self.members.push(Member { command, end, blind });
    }

    /// Takes in the next group of the slot.
    pub(super) fn absorb(&mut self, next: Group) {
        self.batches.extend(next.batches);
        self.members.extend(next.members);
        self.end = next.end;
        self.bytes += next.bytes;
        self.whole |= next.whole;
    }

    /// The group itself, an empty one being left in its place.
    pub(super) fn take(&mut self) -> Group {
        std::mem::replace(self, Group::empty(self.slot))
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn commands(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Puts it on the wire; says how many replies will come.
    pub(super) fn encode(&self, writer: Option<&Writer>, wire: &mut Wire) -> usize {
        if !self.whole {
            self.members.iter().for_each(|member| wire.push(&member.command));
            return self.members.len();
        }
        wire.write(|out| {
            resp::encode_command(out, &[b"MULTI"]);
            if let Some(writer) = writer {
                writer.encode_fence(out, self.slot, self.end);
            }
        });
        self.members.iter().for_each(|member| wire.push(&member.command));
        wire.write(|out| resp::encode_command(out, &[b"EXEC"]));
        self.members.len() + 2 + usize::from(writer.is_some())
    }

    /// Each command as it came.
    pub(super) fn each(&self) -> Vec<Bytes> {
        self.members.iter().map(|member| member.command.clone()).collect()
    }

    /// Takes commands out: the target does not take them. Ascending places.
    pub(super) fn remove(&mut self, places: &[usize]) {
        let mut nth = 0;
        self.members.retain(|_| {
            nth += 1;
            !places.contains(&(nth - 1))
        });
        self.bytes = self.members.iter().map(|member| member.command.len()).sum();
    }

    /// Whether a refusal of this command may come of its being replayed: a blind write that ends before `until`.
    pub(super) fn may_be_replayed(&self, nth: usize, until: Offset) -> bool {
        self.members
            .get(nth)
            .is_some_and(|member| member.blind && member.end <= until)
    }
}

/// The replies to a group, as far as they have come.
#[derive(Debug)]
pub(super) struct Replies {
    expected: usize,
    seen: usize,
    /// Whether it is a transaction, and how many of its commands are ours.
    ours: Option<usize>,
    errors: Vec<(usize, String)>,
    elements: Vec<(usize, String)>,
    executed: bool,
}

impl Replies {
    pub(super) fn new(group: &Group, expected: usize) -> Replies {
        let ours = group.whole.then(|| expected - group.members.len() - 2);
        Replies {
            expected,
            seen: 0,
            ours,
            errors: Vec::new(),
            elements: Vec::new(),
            executed: false,
        }
    }

    /// How many replies are still owed.
    pub(super) fn owed(&self) -> usize {
        self.expected - self.seen
    }

    /// Takes a reply; of a run of good ones, at most those that are its own, and says how many.
    pub(super) fn hear(&mut self, event: &Event<'_>) -> usize {
        match event {
            Event::Ok(count) => {
                let taken = (*count).min(self.owed());
                self.seen += taken;
                return taken;
            }
            Event::ElementError { index, text } => {
                self.elements.push((*index, said(text)));
                return 0;
            }
            Event::Error(text) => self.errors.push((self.seen, said(text))),
            Event::Array { .. } if self.ours.is_some() && self.owed() == 1 => self.executed = true,
            Event::Array { .. } | Event::Nil => self.elements.clear(),
        }
        self.seen += 1;
        1
    }

    /// What they say; `asked` has answered.
    pub(super) fn fate(self, asked: &Address) -> Fate {
        match self.ours {
            None => plain(self.errors, asked),
            Some(ours) if self.executed => Fate::Applied(
                self.elements
                    .into_iter()
                    .filter_map(|(index, reply)| {
                        Some(Refused {
                            nth: index.checked_sub(ours)?,
                            reply,
                        })
                    })
                    .collect(),
            ),
            Some(ours) => aborted(self.errors, self.expected, ours, asked),
        }
    }
}

/// A plain group goes out again where any of it must.
fn plain(errors: Vec<(usize, String)>, asked: &Address) -> Fate {
    if let Some(again) = put_off(errors.iter().map(|(_, reply)| reply), asked) {
        return again;
    }
    let refused = errors.into_iter();
    Fate::Applied(refused.map(|(nth, reply)| Refused { nth, reply }).collect())
}

/// `EXEC` was refused: nothing is applied.
fn aborted(errors: Vec<(usize, String)>, expected: usize, ours: usize, asked: &Address) -> Fate {
    if let Some(again) = put_off(errors.iter().map(|(_, reply)| reply), asked) {
        return again;
    }
    let of_batch = |at: usize| at.checked_sub(1 + ours).filter(|_| at + 1 < expected);
    let (mut refused, mut other) = (Vec::new(), None);
    for (at, reply) in errors {
        match of_batch(at) {
            Some(nth) => refused.push(Refused { nth, reply }),
            None => other = other.or(Some(reply)),
        }
    }
    match refused.is_empty() {
        true => Fate::Later(other.unwrap_or_else(|| "EXEC answered nil".to_owned())),
        false => Fate::Rejected(refused),
    }
}

/// Whether the replies say to send it again.
fn put_off<'a>(replies: impl Iterator<Item = &'a String>, asked: &Address) -> Option<Fate> {
    let mut moved = None;
    for reply in replies {
        match Redirect::of(reply, asked) {
            Some(Redirect::Moved(_, to)) => moved = Some(Fate::Moved(to)),
            Some(Redirect::Ask(_)) => return Some(Fate::OnItsWay),
            Some(Redirect::Later) if reply.starts_with("TRYAGAIN") => return Some(Fate::OnItsWay),
            Some(Redirect::Later) => return Some(Fate::Later(reply.clone())),
            None if is_passing(reply, asked) => return Some(Fate::Later(reply.clone())),
            None => {}
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";

    fn asked() -> Address {
        Address {
            host: "h".into(),
            port: 1,
        }
    }

    fn group(blind: &[bool]) -> Group {
        let mut group = Group::new(7, 0);
        for (nth, blind) in blind.iter().enumerate() {
            let end = Offset::new(nth as u64);
            group.keep(Bytes::from_static(SET), end, *blind, false);
        }
        group
    }

    fn writer() -> Writer {
        Writer {
            name: "d".into(),
            lineage: 1,
        }
    }

    fn fate(blind: &[bool], events: &[Event<'_>]) -> Fate {
        let group = group(blind);
        let expected = group.encode(Some(&writer()), &mut Wire::default());
        let mut replies = Replies::new(&group, expected);
        for event in events {
            replies.hear(event);
        }
        assert_eq!(replies.owed(), 0);
        replies.fate(&asked())
    }

    #[test]
    fn blind_writes_go_plain_and_one_stateful_command_makes_it_a_transaction() {
        for (blind, expected) in [(&[true, true][..], 2), (&[true, false], 5)] {
            let mut wire = Wire::default();
            let group = group(blind);
            assert_eq!(group.encode(Some(&writer()), &mut wire), expected);
            let text = wire.into_slices().concat();
            let begins = text.starts_with(b"*1\r\n$5\r\nMULTI");
            assert_eq!(begins, blind.contains(&false));
        }
    }

    #[test]
    fn every_fate_is_told_from_the_replies() {
        let moved = || Event::Error(b"MOVED 7 :2");
        let to = Address { port: 2, ..asked() };
        let refused = |nth, reply: &str| Refused {
            nth,
            reply: reply.to_owned(),
        };
        let abort = || Event::Error(b"EXECABORT Transaction discarded because of previous errors.");
        let executed = || Event::Array {
            elements: 3,
            errors: 0,
        };
        let plain = &[true, true][..];
        let whole = &[true, false][..];
        let rows: Vec<(&[bool], Vec<Event<'_>>, Fate)> = vec![
            (plain, vec![Event::Ok(2)], Fate::Applied(vec![])),
            (
                plain,
                vec![Event::Ok(1), Event::Error(b"WRONGTYPE x")],
                Fate::Applied(vec![refused(1, "WRONGTYPE x")]),
            ),
            (plain, vec![Event::Ok(1), moved()], Fate::Moved(to.clone())),
            (plain, vec![moved(), Event::Error(b"ASK 7 :2")], Fate::OnItsWay),
            (
                plain,
                vec![Event::Ok(1), Event::Error(b"OOM x")],
                Fate::Later("OOM x".into()),
            ),
            (whole, vec![Event::Ok(4), executed()], Fate::Applied(vec![])),
            (
                whole,
                vec![
                    Event::Ok(4),
                    Event::ElementError {
                        index: 2,
                        text: b"WRONGTYPE x",
                    },
                    executed(),
                ],
                Fate::Applied(vec![refused(1, "WRONGTYPE x")]),
            ),
            (
                whole,
                vec![Event::Ok(2), moved(), moved(), abort()],
                Fate::Moved(to),
            ),
            (
                whole,
                vec![
                    Event::Ok(2),
                    Event::Error(b"ERR unknown command"),
                    Event::Ok(1),
                    abort(),
                ],
                Fate::Rejected(vec![refused(0, "ERR unknown command")]),
            ),
            (
                whole,
                vec![Event::Ok(4), Event::Error(b"TRYAGAIN x")],
                Fate::OnItsWay,
            ),
            (
                whole,
                vec![
                    Event::Ok(1),
                    Event::Error(b"CLUSTERDOWN x"),
                    Event::Ok(2),
                    abort(),
                ],
                Fate::Later("CLUSTERDOWN x".into()),
            ),
        ];
        for (blind, events, expected) in rows {
            let shown = format!("{events:?}");
            assert_eq!(fate(blind, &events), expected, "{shown}");
        }
    }

    /// Nobody asks what is in them.
    #[test]
    fn each_command_comes_out_as_it_came_whatever_it_is() {
        let long = Bytes::from(vec![b'x'; 10_000]);
        let came = ["a", "no command", "b"].map(Bytes::from);
        let came = [&came[..1], &[long.clone(), long], &came[1..]].concat();
        let mut group = Group::new(7, 0);
        for one in &came {
            group.keep(one.clone(), Offset::ZERO, true, false);
        }
        assert_eq!(group.each(), came);
        group.remove(&[1, 3]);
        assert_eq!(group.each(), [&came[..1], &came[2..3], &came[4..]].concat());
    }

    #[test]
    fn the_fence_stays_after_a_command_that_was_taken_out() {
        let mut group = group(&[false, false, false]);
        group.remove(&[2]);
        let mut wire = Wire::default();
        group.encode(Some(&writer()), &mut wire);
        let fence = fences::fence(1, Offset::new(2));
        let wire = String::from_utf8(wire.into_slices().concat()).unwrap();
        assert!(wire.contains(&fence), "{fence}: {wire}");
    }

    #[test]
    fn groups_of_a_slot_join_and_commands_come_out() {
        let mut first = group(&[true]);
        first.absorb(group(&[true, false]));
        first.remove(&[1]);
        assert_eq!(
            (first.commands(), first.bytes(), first.each().len()),
            (2, 2 * SET.len(), 2)
        );
        assert!(first.may_be_replayed(0, Offset::new(5)) && !first.may_be_replayed(1, Offset::new(5)));
    }
}
