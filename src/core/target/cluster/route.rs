//! Where a command of the stream goes on a cluster.

use bytes::Bytes;

use crate::core::command::{Command, Kind, slot};
use crate::core::resp::Frame;

/// What becomes of commands over several slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrossSlot {
    /// They are split or rewritten where that is possible.
    Split,
    /// They are refused.
    Refuse,
}

/// Where a command goes.
#[derive(Debug)]
pub enum Route {
    /// All its keys are in this slot.
    Slot(u16),
    /// It goes in parts.
    Split(Vec<(u16, Bytes)>),
    /// To every master.
    EveryMaster,
    /// To any master.
    AnyMaster,
    /// No cluster takes it.
    Refused(&'static str),
}

/// Where a command goes.
#[must_use]
pub fn route(command: &'static Command, frame: &Frame<'_>, _how: CrossSlot) -> Route {
    let mut slots = command.keys(frame).map(|key| slot(key.bytes));
    if let Some(first) = slots.next() {
        return match slots.all(|other| other == first) {
            true => Route::Slot(first),
            false => Route::Refused("its keys are in several slots of the target cluster"),
        };
    }
    match command.kind {
        Kind::Publish | Kind::Eval => Route::AnyMaster,
        Kind::Function | Kind::Script | Kind::Flushall | Kind::Flushdb => Route::EveryMaster,
        _ => Route::Refused("it has no key, and so no place in a cluster"),
    }
}
