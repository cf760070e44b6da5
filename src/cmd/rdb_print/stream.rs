//! A stream as a JSON object, written while its parts come.
//!
//! ```text
//! {"entries":[{"id":…,"fields":{…}}],"length":…,"last_id":…,…,"groups":[
//!   {"name":…,"last_id":…,"entries_read":…,"pending":[{"id":…,"delivered_ms":…,"deliveries":…}],
//!    "consumers":[{"name":…,"seen_ms":…,"active_ms":…,"pending":[ids]}]}],
//!  "idempotence":{…},"producers":[…]}
//! ```
//!
//! The fields of an entry are an object, or an array of pairs where a name is not UTF-8 or comes twice.

use std::io::{self, Write};

use bytes::Bytes;

use super::json;
use crate::core::rdb::value::{Element, Group, Pending, StreamMeta};

/// When a consumer got something that never did.
const NEVER: u64 = u64::MAX;

/// What is open, outermost first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Open {
    /// The object.
    Top,
    Entries,
    Groups,
    Group,
    Pending,
    Consumers,
    Consumer,
    Owned,
    GivenBack,
    Producers,
}

impl Open {
    const fn close(self) -> &'static str {
        match self {
            Open::Top | Open::Group | Open::Consumer => "}",
            _ => "]",
        }
    }
}

/// A stream that is being written.
#[derive(Debug)]
pub(super) struct Stream {
    open: Vec<Open>,
    /// The array that is open innermost has nothing yet.
    is_first: bool,
    /// The group in hand has its consumers.
    has_consumers: bool,
}

impl Stream {
    pub(super) fn begin(out: &mut dyn Write) -> io::Result<Stream> {
        out.write_all(b"{\"entries\":[")?;
        Ok(Stream {
            open: vec![Open::Top, Open::Entries],
            is_first: true,
            has_consumers: true,
        })
    }

    pub(super) fn element(&mut self, out: &mut dyn Write, element: Element) -> io::Result<()> {
        match element {
            Element::Entry { id, fields } => {
                self.comma(out)?;
                write!(out, "{{\"id\":\"{id}\",\"fields\":")?;
                entry_fields(out, &fields)?;
                out.write_all(b"}")
            }
            Element::StreamMeta(meta) => self.meta(out, meta),
            Element::Group(group) => self.group(out, &group),
            Element::Pending(one) => self.pending(out, one),
            Element::Consumer {
                name,
                seen_ms,
                active_ms,
            } => self.consumer(out, &name, seen_ms, active_ms),
            Element::Owned(id) => {
                self.comma(out)?;
                write!(out, "\"{id}\"")
            }
            Element::GivenBack(id) => {
                if self.open.last() != Some(&Open::GivenBack) {
                    self.close_to(out, Open::Group)?;
                    self.end_group(out)?;
                    self.array(out, ",\"given_back\":[", Open::GivenBack)?;
                }
                self.comma(out)?;
                write!(out, "\"{id}\"")
            }
            Element::Idempotence {
                duration_secs,
                ids_max,
            } => {
                self.close_to(out, Open::Top)?;
                write!(
                    out,
                    ",\"idempotence\":{{\"duration_secs\":{duration_secs},\"ids_max\":{ids_max}}}"
                )?;
                self.array(out, ",\"producers\":[", Open::Producers)
            }
            Element::Produced {
                producer,
                produced,
                id,
            } => {
                self.comma(out)?;
                out.write_all(b"{\"producer\":")?;
                json::text(out, &producer)?;
                out.write_all(b",\"produced\":")?;
                json::text(out, &produced)?;
                write!(out, ",\"id\":\"{id}\"}}")
            }
            _ => Ok(()),
        }
    }

    pub(super) fn end(mut self, out: &mut dyn Write) -> io::Result<()> {
        self.close_to(out, Open::Top)?;
        out.write_all(Open::Top.close().as_bytes())
    }

    fn comma(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match std::mem::take(&mut self.is_first) {
            true => Ok(()),
            false => out.write_all(b","),
        }
    }

    fn array(&mut self, out: &mut dyn Write, head: &str, open: Open) -> io::Result<()> {
        out.write_all(head.as_bytes())?;
        self.open.push(open);
        self.is_first = true;
        Ok(())
    }

    /// Closes everything within the innermost `keep`.
    fn close_to(&mut self, out: &mut dyn Write, keep: Open) -> io::Result<()> {
        while let Some(open) = self.open.last().copied().filter(|open| *open != keep) {
            if open == Open::Top {
                break;
            }
            if open == Open::Group {
                self.end_group(out)?;
            }
            self.open.pop();
            out.write_all(open.close().as_bytes())?;
            self.is_first = false;
        }
        Ok(())
    }

    /// A group without consumers says so.
    fn end_group(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match std::mem::replace(&mut self.has_consumers, true) {
            true => Ok(()),
            false => out.write_all(b",\"consumers\":[]"),
        }
    }

    fn meta(&mut self, out: &mut dyn Write, meta: StreamMeta) -> io::Result<()> {
        self.close_to(out, Open::Top)?;
        write!(
            out,
            ",\"length\":{},\"last_id\":\"{}\"",
            meta.length, meta.last_id
        )?;
        if let Some(since) = meta.since_7 {
            let (first, deleted, added) = (since.first_id, since.max_deleted_id, since.entries_added);
            write!(
                out,
                ",\"first_id\":\"{first}\",\"max_deleted_id\":\"{deleted}\",\"entries_added\":{added}"
            )?;
        }
        self.array(out, ",\"groups\":[", Open::Groups)
    }

    fn group(&mut self, out: &mut dyn Write, group: &Group) -> io::Result<()> {
        self.close_to(out, Open::Groups)?;
        self.comma(out)?;
        out.write_all(b"{\"name\":")?;
        json::text(out, &group.name)?;
        write!(out, ",\"last_id\":\"{}\",\"entries_read\":", group.last_id)?;
        number(out, group.entries_read)?;
        self.open.push(Open::Group);
        self.has_consumers = false;
        self.array(out, ",\"pending\":[", Open::Pending)
    }

    fn pending(&mut self, out: &mut dyn Write, one: Pending) -> io::Result<()> {
        self.comma(out)?;
        write!(
            out,
            "{{\"id\":\"{}\",\"delivered_ms\":{},\"deliveries\":{}}}",
            one.id, one.delivered_ms, one.deliveries
        )
    }

    fn consumer(
        &mut self,
        out: &mut dyn Write,
        name: &Bytes,
        seen_ms: u64,
        active_ms: Option<u64>,
    ) -> io::Result<()> {
        if self.open.contains(&Open::Consumers) {
            self.close_to(out, Open::Consumers)?;
        } else {
            self.close_to(out, Open::Group)?;
            self.array(out, ",\"consumers\":[", Open::Consumers)?;
            self.has_consumers = true;
        }
        self.comma(out)?;
        out.write_all(b"{\"name\":")?;
        json::text(out, name)?;
        write!(out, ",\"seen_ms\":{seen_ms},\"active_ms\":")?;
        number(out, active_ms.filter(|at| *at != NEVER))?;
        self.open.push(Open::Consumer);
        self.array(out, ",\"pending\":[", Open::Owned)
    }
}

fn number(out: &mut dyn Write, number: Option<u64>) -> io::Result<()> {
    match number {
        Some(number) => write!(out, "{number}"),
        None => out.write_all(b"null"),
    }
}

fn entry_fields(out: &mut dyn Write, fields: &[(Bytes, Bytes)]) -> io::Result<()> {
    let mut names: Vec<&Bytes> = fields.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    let is_object = names.windows(2).all(|pair| pair[0] != pair[1])
        && names.iter().all(|name| std::str::from_utf8(name).is_ok());
    let (open, close) = if is_object { ("{", "}") } else { ("[", "]") };
    out.write_all(open.as_bytes())?;
    for (nth, (name, value)) in fields.iter().enumerate() {
        if nth > 0 {
            out.write_all(b",")?;
        }
        if !is_object {
            out.write_all(b"[")?;
        }
        json::text(out, name)?;
        out.write_all(if is_object { b":" } else { b"," })?;
        json::text(out, value)?;
        if !is_object {
            out.write_all(b"]")?;
        }
    }
    out.write_all(close.as_bytes())
}
