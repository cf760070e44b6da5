//! What stands in a file in which order: from bytes to items, without holding any bytes.
//!
//! Owns the state between two parts of an item. Promises to leave the reader at the end of the last part that was
//! there whole, and to go on from there. Leaves holding the bytes to [`super::window`].
//!
//! | state | reads | then |
//! | --- | --- | --- |
//! | `Header` | magic and version | `Record` |
//! | `Record` | expiry, idle time, frequency | `Record`, a key must follow |
//! | `Record` | the opcode of a key's metadata | `Meta` |
//! | `Record` | a type byte | `KeyName` |
//! | `Record` | the opcode for the end | `Trailer`, or `Ended` before RDB 5 |
//! | `Record` | another opcode | `Body` |
//! | `Meta` | a key's metadata | `Record`, a key must follow |
//! | `KeyName` | a key's name | `Value` |
//! | `Value`, `Body` | to the end of it | an item, `Record` |
//! | `Trailer` | the checksum | `Ended` |

use std::ops::Range;

use bytes::{Buf, Bytes};

use super::error::{Cause, Reading};
use super::glance::Of;
use super::item::{Item, Key, ModuleId};
use super::layout::{self, kind_of, opcode};
use super::reader::{Reader, Stop};
use super::skip::Skip;
use super::string::{skip_or_unpack, unpack_at};
use super::{Flavor, Version};

/// What is being read, and what is known of the item so far.
#[derive(Debug)]
pub(super) struct Parse {
    pub(super) version: Version,
    pub(super) db: u32,
    pub(super) state: State,
    skip: Skip,
    draft: Draft,
}

/// See the table at the module's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Header,
    Record,
    Meta,
    KeyName,
    Value,
    Body,
    Trailer,
    Ended,
}

/// What has been read of an item. Places count from its start.
#[derive(Debug, Default)]
struct Draft {
    /// The type byte or opcode.
    code: u8,
    expire_at_ms: Option<i64>,
    idle_secs: Option<u64>,
    freq: Option<u8>,
    meta: Range<usize>,
    /// Where the name begins.
    key: usize,
    /// The name, where it was packed: then it is unpacked as soon as it is there, since its value may take long to come.
    unpacked_key: Option<Bytes>,
    /// Where the value begins, or what follows the opcode.
    body: usize,
    /// Something that only stands before keys has been read.
    prefixed: bool,
}

/// Something that has been read whole.
#[derive(Debug, PartialEq)]
pub(super) enum Whole {
    Header,
    Item,
    /// The opcode for the end.
    Eof,
    /// The checksum.
    Trailer(u64),
}

impl Parse {
    pub(super) fn new(state: State, version: Version, db: u32) -> Parse {
        Parse {
            version,
            db,
            state,
            skip: Skip::default(),
            draft: Draft::default(),
        }
    }

    /// Reads on, to the next thing that is whole. `from` is where in the item the reader began.
    pub(super) fn read(&mut self, reader: &mut Reader<'_>, from: usize) -> Result<Whole, Stop> {
        loop {
            let before = reader.at;
            let whole = match self.state {
                State::Meta | State::Value | State::Body => self.read_on(reader, from)?,
                _ => self.read_part(reader, from).inspect_err(|_| reader.at = before)?,
            };
            if let Some(whole) = whole {
                return Ok(whole);
            }
        }
    }

    /// Reads what has a layout. Keeps what it has read when it stops.
    fn read_on(&mut self, reader: &mut Reader<'_>, from: usize) -> Result<Option<Whole>, Stop> {
        self.skip.run(reader)?;
        if self.state == State::Meta {
            self.draft.meta.end = from + reader.at;
            self.state = State::Record;
            return Ok(None);
        }
        Ok(Some(Whole::Item))
    }

    /// Reads what is one part.
    #[inline]
    fn read_part(&mut self, reader: &mut Reader<'_>, from: usize) -> Result<Option<Whole>, Stop> {
        match self.state {
            State::Header => {
                self.version = Version::of_magic(reader.array()?).map_err(Stop::Bad)?;
                self.state = State::Record;
                Ok(Some(Whole::Header))
            }
            State::KeyName => {
                self.draft.key = from + reader.at;
                self.draft.unpacked_key = skip_or_unpack(reader)?;
                self.draft.body = from + reader.at;
                self.state = State::Value;
                Ok(None)
            }
            State::Trailer => {
                let stored = u64::from_le_bytes(reader.array()?);
                self.state = State::Ended;
                Ok(Some(Whole::Trailer(stored)))
            }
            // Nobody reads on after the end: the scanner answers for it.
            State::Ended => Err(Stop::Short(reader.at + 1)),
            _ => self.read_record(reader, from),
        }
    }

    #[inline]
    fn read_record(&mut self, reader: &mut Reader<'_>, from: usize) -> Result<Option<Whole>, Stop> {
        let start = from + reader.at;
        let code = reader.byte()?;
        let flavor = self.version.flavor;
        if let Some(kind) = kind_of(code, flavor) {
            self.draft.code = code;
            self.skip.begin(kind.parts);
            self.state = State::KeyName;
            return Ok(None);
        }
        let draft = &mut self.draft;
        match (code, flavor) {
            (opcode::EXPIRETIME_MS, _) => draft.expire_at_ms = Some(i64::from_le_bytes(reader.array()?)),
            (opcode::EXPIRETIME, _) => {
                draft.expire_at_ms = Some(i64::from(i32::from_le_bytes(reader.array()?)) * 1000);
            }
            (opcode::IDLE, _) => draft.idle_secs = Some(reader.length()?),
            (opcode::FREQ, _) => draft.freq = Some(reader.byte()?),
            (opcode::KEY_META, Flavor::Redis) => {
                draft.meta = start..start;
                self.skip.begin(layout::KEY_META);
                self.state = State::Meta;
            }
            _ => return self.read_opcode(code, from + reader.at),
        }
        draft.prefixed = true;
        Ok(None)
    }

    /// An opcode that stands for itself.
    fn read_opcode(&mut self, code: u8, body: usize) -> Result<Option<Whole>, Stop> {
        let known = layout::body_of(code, self.version.flavor);
        if self.draft.prefixed && (known.is_some() || code == opcode::EOF) {
            return Err(Stop::Bad(Cause::PrefixWithoutKey(code)));
        }
        if let Some(parts) = known {
            self.draft.code = code;
            self.draft.body = body;
            self.skip.begin(parts);
            self.state = State::Body;
            return Ok(None);
        }
        match code {
            opcode::EOF => {
                self.state = if self.version.has_checksum() {
                    State::Trailer
                } else {
                    State::Ended
                };
                Ok(Some(Whole::Eof))
            }
            MODULE_PRE_GA => Err(Stop::Bad(Cause::ModulePreGa)),
            opcode::FUNCTION_PRE_GA => Err(Stop::Bad(Cause::FunctionPreGa)),
            _ => Err(Stop::Bad(Cause::Unknown {
                code,
                version: self.version,
            })),
        }
    }

    /// Makes an item of `raw`, all of its bytes, which began at `start` in the file.
    pub(super) fn item(&mut self, raw: Bytes, start: u64) -> Result<Item, Cause> {
        let draft = std::mem::take(&mut self.draft);
        let was = std::mem::replace(&mut self.state, State::Record);
        if was == State::Value {
            return self.key(draft, raw, start).map(Item::Key);
        }
        let body = after(raw, draft.body);
        self.other(draft.code, body).map_err(|stop| match stop {
            Stop::Bad(cause) => cause,
            Stop::Short(_) => Cause::Truncated,
        })
    }

    /// What keys that come next are of; none where a part of an item has been read, be it only what stands before a key.
    pub(super) fn between_items(&self) -> Option<Of> {
        let is_between_items = self.state == State::Record && !self.draft.prefixed;
        is_between_items.then_some(Of {
            flavor: self.version.flavor,
            db: self.db,
        })
    }

    /// Where the value in hand begins, from the item's start; none while no value is being read.
    pub(super) fn value_at(&self) -> Option<usize> {
        (self.state == State::Value).then_some(self.draft.body)
    }

    /// Makes a key of `raw`, the beginning of an item whose value is given in pieces: all that comes before the value,
    /// and the value as far as it goes. The value in hand begins at the item's start from now on.
    pub(super) fn head(&mut self, raw: Bytes, start: u64) -> Result<Key, Cause> {
        let code = self.draft.code;
        let draft = std::mem::replace(
            &mut self.draft,
            Draft {
                code,
                ..Draft::default()
            },
        );
        self.key(draft, raw, start)
    }

    /// The value that was given in pieces is whole.
    pub(super) fn end_value(&mut self) {
        self.draft = Draft::default();
        self.state = State::Record;
    }

    #[inline]
    fn key(&self, draft: Draft, raw: Bytes, start: u64) -> Result<Key, Cause> {
        let key = match draft.unpacked_key {
            Some(key) => key,
            None => unpack_at(&raw, draft.key)?,
        };
        Ok(Key {
            db: self.db,
            key,
            value_type: draft.code,
            expire_at_ms: draft.expire_at_ms,
            idle_secs: draft.idle_secs,
            freq: draft.freq,
            meta: raw.slice(draft.meta),
            start,
            end: start + raw.len() as u64,
            value: after(raw, draft.body),
        })
    }

    fn other(&mut self, code: u8, body: Bytes) -> Result<Item, Stop> {
        let mut reader = Reader::new(&body);
        Ok(match code {
            opcode::SELECTDB => {
                let db = reader.length()?;
                self.db = u32::try_from(db).map_err(|_| Stop::Bad(Cause::Database(db)))?;
                Item::SelectDb(self.db)
            }
            opcode::RESIZEDB => Item::ResizeDb {
                keys: reader.length()?,
                expires: reader.length()?,
            },
            opcode::SLOT_INFO => Item::SlotInfo {
                slot: reader.length()?,
                keys: reader.length()?,
                expires: reader.length()?,
            },
            opcode::AUX => {
                reader.skip_string()?;
                let value = reader.at;
                let unpacked = |at| unpack_at(&body, at).map_err(Stop::Bad);
                Item::Aux {
                    key: unpacked(0)?,
                    value: unpacked(value)?,
                }
            }
            opcode::MODULE_AUX => Item::ModuleAux {
                module: ModuleId(reader.length()?),
                raw: body,
            },
            opcode::FUNCTION2 => Item::Function(body),
            // The table of bodies has nothing else.
            _ => Item::SlotImport { raw: body },
        })
    }

    /// What an error that happens now is about.
    pub(super) fn reading(&self) -> Reading {
        let (code, flavor) = (self.draft.code, self.version.flavor);
        match self.state {
            State::Header => Reading::Header,
            State::Record => Reading::Record,
            State::Meta => Reading::KeyMeta,
            State::KeyName => Reading::KeyName(code, flavor),
            State::Value => Reading::Value(code, flavor),
            State::Body => Reading::Opcode(code),
            State::Trailer => Reading::Trailer,
            State::Ended => Reading::End,
        }
    }
}

/// The type byte of modules' values before Redis 4.0.
const MODULE_PRE_GA: u8 = 6;

/// What of `raw` begins at `at`, without another count on it.
fn after(mut raw: Bytes, at: usize) -> Bytes {
    raw.advance(at);
    raw
}
