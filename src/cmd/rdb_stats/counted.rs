//! Everything that is counted of a file.
//!
//! Owns what costs something for each key: no allocation, no text. What is bigger than all but a few is kept by name; see [`super::top`]. Memory
//! does not grow with the file: all that is kept has a limit, beyond which it is only counted.

use bytes::Bytes;

use super::prefix::Prefixes;
use super::tally::{Databases, Lifetimes, Packing};
use super::top::Top;
use crate::core::rdb::value::{Counter, count};
use crate::core::rdb::{Flavor, Glance, Item, Key, ModuleId, unpack};

/// So many fields about the file, libraries and modules are kept by name.
const NAMED_MAX: usize = 100;

/// So many bytes of each are kept.
const KEPT_BYTES_MAX: usize = 1024;

/// An RDB byte never stands for more elements: three bytes of LZF for 264 of an intset's or listpack's.
const ELEMENTS_PER_BYTE_MAX: u64 = 88;

/// What has been counted.
#[derive(Debug)]
pub(super) struct Counted {
    flavor: Flavor,
    pub(super) keys: u64,
    pub(super) databases: Databases,
    pub(super) lifetimes: Lifetimes,
    pub(super) prefixes: Prefixes,
    pub(super) by_bytes: Top<Big>,
    pub(super) by_elements: Top<Big>,
    pub(super) others: Others,
    /// The key whose value comes in pieces.
    large: Option<Large>,
}

/// A big key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Big {
    pub(super) db: u32,
    pub(super) key: Box<[u8]>,
    pub(super) packing: Packing,
    pub(super) bytes: u64,
    /// Not of strings, of modules' values, nor of a packed collection that does not say.
    pub(super) elements: Option<u64>,
}

/// A field about the file: its name and what it says, as far as that is kept.
pub(super) type Field = (Box<[u8]>, Box<[u8]>);

/// What is not a key. Named up to a limit, and counted.
#[derive(Debug, Default)]
pub(super) struct Others {
    pub(super) aux: Vec<Field>,
    pub(super) aux_count: u64,
    /// Names, and bytes of code.
    pub(super) libraries: Vec<(Option<Box<[u8]>>, u64)>,
    pub(super) libraries_count: u64,
    /// Modules that keep something beside the keys, and how many bytes.
    pub(super) module_aux: Vec<(ModuleId, u64)>,
    pub(super) module_aux_count: u64,
}

#[derive(Debug)]
struct Large {
    head: Key,
    counter: Option<Counter>,
}

/// What is known of a key but for its elements.
struct Measured<'a> {
    db: u32,
    key: &'a [u8],
    packing: Packing,
    bytes: u64,
    expire_at_ms: Option<i64>,
}

impl Counted {
    /// Nothing yet. `top` is how many big keys are wanted; `now_ms` what lifetimes are counted from.
    pub(super) fn new(top: usize, separators: &[u8], now_ms: i64) -> Counted {
        Counted {
            flavor: Flavor::Redis,
            keys: 0,
            databases: Databases::new(),
            lifetimes: Lifetimes::from(now_ms),
            prefixes: Prefixes::new(separators),
            by_bytes: Top::new(top),
            by_elements: Top::new(top),
            others: Others::default(),
            large: None,
        }
    }

    /// Whose file it is: to be told before its first key.
    pub(super) fn is_of(&mut self, flavor: Flavor) {
        self.flavor = flavor;
    }

    pub(super) fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// Counts a key that is there whole.
    #[inline]
    pub(super) fn key(&mut self, key: &Glance<'_>) {
        let measured = Measured {
            db: key.db,
            key: key.key,
            packing: Packing::of(key.value_type, key.value),
            bytes: key.end - key.start,
            expire_at_ms: key.expire_at_ms,
        };
        self.measure(&measured);
        let may_have_most = !measured.packing.is_string() && self.may_have_most(key.value.len());
        if may_have_most || self.by_bytes.wants(measured.bytes) {
            self.rank(&measured, count(key.value_type, self.flavor, key.value));
        }
    }

    /// Counts what is not a key.
    pub(super) fn item(&mut self, item: &Item) {
        let others = &mut self.others;
        match item {
            Item::Key(key) => self.key(&key.glance()),
            Item::Aux { key, value } => {
                others.aux_count += 1;
                if others.aux.len() < NAMED_MAX {
                    others.aux.push((kept(key), kept(value)));
                }
            }
            Item::Function(raw) => {
                others.libraries_count += 1;
                if others.libraries.len() < NAMED_MAX {
                    others.libraries.push(library(raw));
                }
            }
            Item::ModuleAux { module, raw } => others.module_aux(*module, raw.len() as u64),
            Item::SelectDb(_) | Item::ResizeDb { .. } | Item::SlotInfo { .. } | Item::SlotImport { .. } => {}
        }
    }

    /// A key whose value comes in pieces begins.
    pub(super) fn begin_large(&mut self, mut head: Key) {
        let packing = Packing::of(head.value_type, &head.value);
        let mut counter = (!packing.is_string()).then(|| Counter::new(head.value_type, self.flavor));
        if let Some(counter) = &mut counter {
            counter.push(head.value.clone());
        }
        // Slices would hold all of their chunk; of the value the first byte says how it is packed.
        head.key = Bytes::copy_from_slice(&head.key);
        head.value = Bytes::copy_from_slice(head.value.get(..1).unwrap_or_default());
        head.meta = Bytes::new();
        self.large = Some(Large { head, counter });
    }

    /// The next piece.
    pub(super) fn piece(&mut self, piece: Bytes) {
        if let Some(counter) = self.large.as_mut().and_then(|large| large.counter.as_mut()) {
            counter.push(piece);
        }
    }

    /// It ends before this byte of the file.
    pub(super) fn end_large(&mut self, end: u64) {
        let Some(Large { head, counter }) = self.large.take() else {
            return;
        };
        let measured = Measured {
            db: head.db,
            key: &head.key,
            packing: Packing::of(head.value_type, &head.value),
            bytes: end - head.start,
            expire_at_ms: head.expire_at_ms,
        };
        self.measure(&measured);
        self.rank(&measured, counter.and_then(|counter| counter.count()));
    }

    /// Everything has been counted: to be called before anything is asked.
    pub(super) fn finish(&mut self) {
        self.databases.finish();
        self.prefixes.finish();
    }

    /// Whether a value of so many bytes may be among those with most elements.
    #[inline]
    fn may_have_most(&self, value_bytes: usize) -> bool {
        self.by_elements
            .wants((value_bytes as u64).saturating_mul(ELEMENTS_PER_BYTE_MAX))
    }

    #[inline]
    fn measure(&mut self, key: &Measured<'_>) {
        self.keys += 1;
        self.databases
            .add(key.db, key.packing, key.bytes, key.expire_at_ms.is_some());
        if let Some(expire_at_ms) = key.expire_at_ms {
            self.lifetimes.add(expire_at_ms, key.bytes);
        }
        self.prefixes.add(key.key, key.bytes);
    }

    fn rank(&mut self, key: &Measured<'_>, elements: Option<u64>) {
        // The count of a string is its length.
        let elements = elements.filter(|_| !key.packing.is_string());
        let big = || Big {
            db: key.db,
            key: key.key.into(),
            packing: key.packing,
            bytes: key.bytes,
            elements,
        };
        if self.by_bytes.wants(key.bytes) {
            self.by_bytes.offer(key.bytes, big());
        }
        if let Some(elements) = elements.filter(|elements| self.by_elements.wants(*elements)) {
            self.by_elements.offer(elements, big());
        }
    }
}

impl Others {
    fn module_aux(&mut self, module: ModuleId, bytes: u64) {
        self.module_aux_count += 1;
        let has_room = self.module_aux.len() < NAMED_MAX;
        match self.module_aux.iter_mut().find(|(known, _)| *known == module) {
            Some((_, sum)) => *sum += bytes,
            None if has_room => self.module_aux.push((module, bytes)),
            None => {}
        }
    }
}

/// The first bytes of something that somebody may have made very long.
fn kept(bytes: &[u8]) -> Box<[u8]> {
    bytes.get(..KEPT_BYTES_MAX).unwrap_or(bytes).into()
}

/// A library's name, and how long it is.
fn library(raw: &Bytes) -> (Option<Box<[u8]>>, u64) {
    // One that cannot be unpacked is counted all the same: nobody needs its code here.
    let code = unpack(raw).unwrap_or_default();
    (library_name(&code).map(kept), code.len() as u64)
}

/// The name that a library gives itself in its first line: `#!lua name=mylib`.
fn library_name(code: &[u8]) -> Option<&[u8]> {
    let line = code.strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?;
    line.split(u8::is_ascii_whitespace)
        .find_map(|word| word.strip_prefix(b"name="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_named_in_its_first_line() {
        assert_eq!(library_name(b"#!lua name=one\nname=two"), Some(&b"one"[..]));
        assert_eq!(library_name(b"#!LUA  flags=x name=one\r\n"), Some(&b"one"[..]));
        assert_eq!(library_name(b"#!lua\nname=two"), None);
        assert_eq!(library_name(b"return 1"), None);
    }
}
