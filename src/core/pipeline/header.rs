//! Where the reading of a snapshot begins: at its first byte, or at the cursor of a full sync that was interrupted.
//!
//! Owns what is wanted of a snapshot's head whatever comes after it: the version, and the database that the stream has selected. The
//! latter stands in the field `repl-stream-db`. A master selects a database anew after each snapshot; a replica passes its master's
//! stream on as it is, so that the field is all there is to know it from.

use bytes::Bytes;

use super::End;
use crate::core::log::{Log, SnapshotReader};
use crate::core::rdb::{self, Checksum, Item, Prefix, Scanner, Step};
use crate::core::target::checkpoint::Cursor;

/// The names of the libraries of functions in a snapshot; nothing for one whose name cannot be read.
pub type Libraries = Vec<Option<Bytes>>;

/// A snapshot, opened.
pub struct Opened {
    /// Gives the chunks that the scanner has not got yet.
    pub reader: SnapshotReader,
    /// Stands at the cursor; what lies before it is in its checksum.
    pub scanner: Scanner,
    /// The database that the stream after the snapshot has selected, as far as the head has been read here.
    pub stream_db: u32,
    /// The names of the libraries of functions before the cursor.
    pub libraries: Libraries,
}

/// Opens the log's snapshot at the cursor.
///
/// # Errors
/// The snapshot cannot be read, or is not that of the cursor.
pub async fn open(log: &Log, cursor: Option<Cursor>) -> Result<Opened, End> {
    let mut reader = log.snapshot_reader(0).map_err(End::Log)?;
    let Some(cursor) = cursor else {
        return Ok(Opened {
            reader,
            scanner: Scanner::new(),
            stream_db: 0,
            libraries: Vec::new(),
        });
    };
    let (mut head, mut checksum, mut at) = (Head::new(), Checksum::new(), 0);
    loop {
        let Some(chunk) = reader.next().await.map_err(End::Log)? else {
            return Err(End::LogChanged);
        };
        head.read(&chunk)?;
        let left = usize::try_from(cursor.at - at).unwrap_or(usize::MAX);
        let take = left.min(chunk.len());
        checksum.update(&chunk[..take]);
        at += take as u64;
        if at == cursor.at
            && let Some(version) = head.scanner.version()
        {
            tracing::info!(at, keys = cursor.keys, "the full sync goes on where it was");
            let from = rdb::Cursor {
                at,
                db: cursor.db,
                version,
            };
            let mut scanner = Scanner::resume(from, Prefix::Hashed(checksum));
            scanner.push(chunk.slice(take..));
            return Ok(Opened {
                reader,
                scanner,
                stream_db: head.stream_db,
                libraries: head.libraries,
            });
        }
    }
}

/// What the field says of the stream's database, where it is that field.
#[must_use]
pub fn stream_db(key: &[u8], value: &[u8]) -> Option<u32> {
    let text = (key == b"repl-stream-db").then(|| std::str::from_utf8(value));
    text?.ok()?.parse().ok()
}

/// The name of a library as the snapshot holds it, from its first line: `#!lua name=mylib` (`functions.c`, `functionExtractLibMetaData`).
#[must_use]
pub fn library_name(raw: &Bytes) -> Option<Bytes> {
    let code = rdb::unpack(raw).ok()?;
    name_in(&code).map(|name| code.slice_ref(name))
}

fn name_in(code: &[u8]) -> Option<&[u8]> {
    let first = code.split(|byte| *byte == b'\n').next()?.strip_prefix(b"#!")?;
    let mut words = first.split(|byte| byte.is_ascii_whitespace());
    let name = words.find_map(|word| word.strip_prefix(b"name="))?;
    let bare = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\""));
    Some(bare.unwrap_or(name))
}

/// The fields and functions before the first key.
struct Head {
    scanner: Scanner,
    stream_db: u32,
    libraries: Libraries,
    done: bool,
}

impl Head {
    fn new() -> Head {
        Head {
            // The first key is all that is wanted of it; its value may be larger than memory.
            scanner: Scanner::new().in_pieces(0),
            stream_db: 0,
            libraries: Vec::new(),
            done: false,
        }
    }

    fn read(&mut self, chunk: &Bytes) -> Result<(), End> {
        if self.done {
            return Ok(());
        }
        self.scanner.push(chunk.clone());
        loop {
            match self.scanner.step().map_err(End::Snapshot)? {
                Step::Item(Item::Aux { key, value }) => {
                    self.stream_db = stream_db(&key, &value).unwrap_or(self.stream_db);
                }
                Step::Item(Item::Function(raw)) => self.libraries.push(library_name(&raw)),
                // Data of modules may stand before the functions.
                Step::Item(Item::ModuleAux { .. }) => {}
                Step::Item(_) | Step::Large(_) | Step::Piece(_) | Step::LargeEnd(_) | Step::End(_) => {
                    self.done = true;
                    return Ok(());
                }
                Step::NeedMore => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_known_by_the_name_in_its_first_line() {
        assert_eq!(name_in(b"#!lua name=my_lib\nreturn 1"), Some(&b"my_lib"[..]));
        assert_eq!(name_in(b"#!lua  name=\"x\" \nname=y"), Some(&b"x"[..]));
        assert_eq!(name_in(b"return 1\n#!lua name=x"), None);
    }

    #[test]
    fn the_streams_database_is_known_from_its_field_alone() {
        assert_eq!(stream_db(b"repl-stream-db", b"5"), Some(5));
        assert_eq!(stream_db(b"repl-stream-db", b"-1"), None);
        assert_eq!(stream_db(b"repl-offset", b"5"), None);
    }
}
