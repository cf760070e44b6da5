//! What the replies to a portion say of its commands, one by one: which were refused, and which a cluster's node has sent on.
//!
//! What is sent on is sent on in *units*: a command, or a transaction from `MULTI` to `EXEC`. Owns the finding of both; leaves to
//! [`super::Restorer`] when the units are sent again.

use bytes::{Bytes, BytesMut};

use super::Refused;
use super::flight::Portion;
use crate::core::command::{self, slot};
use crate::core::net::Address;
use crate::core::position::Offset;
use crate::core::resp::{self, Frame, Value, said};
use crate::core::target::Error;
use crate::core::target::checkpoint::Cursor;
use crate::core::target::cluster::redirect::Redirect;
use crate::core::target::refusal::Kind;

/// What the target has answered with an error: which command, and its words.
pub(super) type Errors = Vec<(usize, String)>;

/// A command, or a transaction, that is sent again as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    /// Which command of its portion is the first.
    first: usize,
    /// How many there are.
    pub(super) count: usize,
    /// As they were sent.
    pub(super) bytes: Bytes,
    /// The slot of its keys.
    pub(super) slot: u16,
}

/// What of a portion was sent on.
#[derive(Debug, Default)]
pub(super) struct Redirected {
    /// In the order in which it was sent.
    pub(super) units: Vec<Unit>,
    /// Something was carried out: behind the first of the units, or, where there is none, at all.
    pub(super) has_overtaken: bool,
    /// The node's words about the first.
    pub(super) reply: String,
}

/// Takes from the errors of a portion those of units that `node` has sent on.
pub(super) fn redirected(portion: &Portion, errors: Errors, node: &Address) -> (Redirected, Errors) {
    let is_redirect = |reply: &String| Redirect::of(reply, node).is_some();
    let Some((_, reply)) = errors.iter().find(|(_, reply)| is_redirect(reply)) else {
        let redirected = Redirected {
            has_overtaken: portion.count > 0,
            ..Redirected::default()
        };
        return (redirected, errors);
    };
    let reply = reply.clone();
    let (mut found, mut has_overtaken) = (Vec::new(), false);
    for unit in units(&portion.commands) {
        let mut of_it = errors.iter().filter(|(index, _)| unit.holds(*index));
        match of_it.any(|(_, reply)| is_redirect(reply)) {
            true => found.push(unit),
            false => has_overtaken |= !found.is_empty(),
        }
    }
    let mut left = errors;
    left.retain(|(index, _)| !found.iter().any(|unit| unit.holds(*index)));
    let redirected = Redirected {
        units: found,
        has_overtaken,
        reply,
    };
    (redirected, left)
}

impl Unit {
    fn holds(&self, index: usize) -> bool {
        (self.first..self.first + self.count).contains(&index)
    }

    /// What was refused of it in the end.
    pub(super) fn refused(&self, replies: &[Value], node: &Address) -> Result<Vec<Refused>, Error> {
        let mut errors = Errors::new();
        for (index, reply) in replies.iter().enumerate() {
            if let Some(text) = reply.error() {
                errors.push((index, said(text)));
            }
            // The elements of an `EXEC` are the replies to the commands before it.
            let elements = reply.array().unwrap_or_default();
            for (element, inner) in elements.iter().enumerate() {
                let of_command = (index + element).saturating_sub(elements.len());
                errors.extend(inner.error().map(|text| (of_command, said(text))));
            }
        }
        refused(&self.bytes, 0, errors, node)
    }
}

/// The commands that were refused. One that may be repeated ends the lane: the whole full sync goes on from its cursor later.
pub(super) fn refused(
    commands: &Bytes,
    first_db: u32,
    errors: Errors,
    node: &Address,
) -> Result<Vec<Refused>, Error> {
    let several = errors.len() > 1;
    let mut refused = Vec::new();
    for (index, reply) in errors {
        if Kind::of(&reply).may_be_repeated() {
            return Err(Error::Refused {
                address: node.clone(),
                command: "RESTORE".into(),
                reply,
            });
        }
        // The reason for it is another command's.
        if several && reply.starts_with("EXECABORT") {
            continue;
        }
        let (command, db) = nth_command(commands, first_db, index);
        refused.push(Refused {
            command,
            db,
            reply,
            at: Cursor::default(),
        });
    }
    Ok(refused)
}

/// The units that a portion is made of.
fn units(commands: &Bytes) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let (mut open, mut at) = (None::<(Unit, BytesMut)>, 0);
    each(commands, |frame| {
        let (unit, bytes) = open.get_or_insert_with(|| (Unit::begin(at), BytesMut::new()));
        bytes.extend_from_slice(frame.bytes());
        unit.count += 1;
        unit.slot = slot_of(frame).unwrap_or(unit.slot);
        at += 1;
        let is_within = match frame.name() {
            b"MULTI" => true,
            b"EXEC" => false,
            _ => unit.count > 1,
        };
        if let Some((unit, bytes)) = open.take_if(|_| !is_within) {
            let bytes = bytes.freeze();
            units.push(Unit { bytes, ..unit });
        }
        true
    });
    units
}

impl Unit {
    fn begin(first: usize) -> Unit {
        Unit {
            first,
            count: 0,
            bytes: Bytes::new(),
            slot: 0,
        }
    }
}

fn slot_of(frame: &Frame<'_>) -> Option<u16> {
    let key = command::of(frame).keys(frame).next()?;
    Some(slot(key.bytes))
}

/// The `nth` command, and the database it runs in.
fn nth_command(commands: &Bytes, first_db: u32, nth: usize) -> (Bytes, u32) {
    let (mut db, mut at, mut found) = (first_db, 0, Bytes::new());
    each(commands, |frame| {
        if at == nth {
            found = frame.to_bytes();
            return false;
        }
        if frame.name() == b"SELECT" {
            let number = frame
                .arg(1)
                .and_then(|n| std::str::from_utf8(n).ok())
                .and_then(|n| n.parse().ok());
            db = number.unwrap_or(db);
        }
        at += 1;
        true
    });
    (found, db)
}

/// Goes through commands as long as it is told to go on.
fn each(commands: &Bytes, mut on: impl FnMut(&Frame<'_>) -> bool) {
    let mut framer = resp::Framer::new(resp::Limits::default());
    if framer.push(Offset::ZERO, commands.clone()).is_err() {
        return;
    }
    while let Ok(Some(frame)) = framer.next() {
        if !on(&frame) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(commands: &[&[&[u8]]]) -> Bytes {
        let mut out = BytesMut::new();
        for command in commands {
            resp::encode_command(&mut out, command);
        }
        out.freeze()
    }

    #[test]
    fn a_transaction_is_one_unit_and_every_other_command_is_one() {
        let all = encoded(&[
            &[b"RESTORE", b"a", b"0", b"x"],
            &[b"MULTI"],
            &[b"DEL", b"b"],
            &[b"SET", b"b", b"1"],
            &[b"EXEC"],
            &[b"RPUSH", b"c", b"1"],
        ]);
        let found = units(&all);
        let shape: Vec<_> = found
            .iter()
            .map(|unit| (unit.first, unit.count, unit.slot))
            .collect();
        assert_eq!(
            shape,
            [(0, 1, slot(b"a")), (1, 4, slot(b"b")), (5, 1, slot(b"c"))]
        );
        let joined: Vec<u8> = found.iter().flat_map(|unit| unit.bytes.to_vec()).collect();
        assert_eq!(joined, all);
    }

    #[test]
    fn an_element_of_exec_that_failed_is_the_command_that_it_belongs_to() {
        let bytes = encoded(&[&[b"MULTI"], &[b"DEL", b"b"], &[b"RPUSH", b"b", b"1"], &[b"EXEC"]]);
        let unit = units(&bytes).remove(0);
        let ok = || Value::Simple(b"OK".to_vec());
        let wrong = Value::Error(b"WRONGTYPE x".to_vec());
        let replies = [ok(), ok(), ok(), Value::Array(vec![Value::Int(1), wrong])];
        let node = Address {
            host: "h".into(),
            port: 1,
        };
        let refused = unit.refused(&replies, &node).unwrap();
        assert_eq!(refused[0].command, encoded(&[&[b"RPUSH", b"b", b"1"]]));
        let moved = [Value::Error(b"MOVED 1 h:2".to_vec())];
        assert!(unit.refused(&moved, &node).is_err());
    }
}
