//! A value written in pieces under its staged name, while it is read; and going on with it after a crash.
//!
//! The place of what is written counts elements, too, so that the low-water mark moves within the key. Whoever comes back to such a mark finds
//! the elements before it under the staged name:
//!
//! | type | goes on |
//! | --- | --- |
//! | list | after the elements that the mark counts; what was written beyond is trimmed |
//! | string, set, sorted set, hash | after those; what was written beyond is written again, and is the same |
//! | stream | after the last entry that is there; groups are made anew |
//! | any, if the staged name is not there | from the beginning |
//!
//! A target that evicts keys may let the staged name go in the middle, and what comes after would make a part of the value look whole. So it is
//! looked at in the end:
//!
//! | type | it was there all the time if |
//! | --- | --- |
//! | set, sorted set, hash, stream | it has as many elements as were sent |
//! | hash whose fields expire | a field of ours, written first and named as the staged key is, is still there |
//! | list | the same of an item of ours, before all others: those that came after a loss might be as many as were trimmed |
//! | string, which is filled up with zeros | its first byte that is none is still that byte |

use bytes::{Bytes, BytesMut};

use super::told::is_of;
use super::{How, Placed, Replayer, Why, asked, how};
use crate::core::pipeline::End;
use crate::core::rdb::value::{Decoder, Element, Step, StreamId};
use crate::core::rdb::{self, Key, kind_of};
use crate::core::resp::Value;
use crate::core::target::checkpoint::Cursor;
use crate::core::target::door::Door;
use crate::core::target::rewrite::stream::Dangling;
use crate::core::target::rewrite::{Commands, Rewriter};

/// Commands are put on the lane when there are so many bytes of them.
const SEND_BYTES: usize = 64 << 10;

/// The value in hand.
#[derive(Debug)]
pub(super) enum Pieces {
    /// There is none.
    None,
    /// It is not replayed: its pieces pass.
    Passed,
    /// Only `RESTORE` can write it: it is put together.
    Gathered(Box<Gathered>),
    /// It is written while it is read.
    Written(Box<Written>),
}

/// A value that is put together.
#[derive(Debug)]
pub(super) struct Gathered {
    head: Key,
    to: Placed,
    value: BytesMut,
}

/// A value that is being written.
#[derive(Debug)]
pub(super) struct Written {
    /// The key, without its value.
    pub(super) head: Key,
    pub(super) to: Placed,
    /// The name it is written under.
    pub(super) staged: Bytes,
    /// What `TYPE` will say.
    pub(super) object: &'static str,
    pub(super) mark: Mark,
    pub(super) rewriter: Rewriter,
    decoder: Decoder,
    skip: Skip,
    /// Elements in commands that are on the lane.
    sent: u64,
    /// Bytes of the value that the decoder has been given.
    given_bytes: u64,
}

/// By what it is known that the staged name was there all the time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mark {
    /// The number of elements.
    Number,
    /// A field of ours: fields expire.
    Field,
    /// An item of ours.
    Item,
    /// Of a string: the first byte that is not zero, once it has come, and where it stands.
    Byte(Option<(u64, u8)>),
}

/// What is there already.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Skip {
    Nothing,
    /// So many elements more; of a string, bytes.
    Elements(u64),
    /// Entries up to this one.
    Entries(StreamId),
}

impl Pieces {
    pub(super) fn gather(key: &Key, to: Placed) -> Pieces {
        Pieces::Gathered(Box::new(Gathered {
            head: head_of(key),
            to,
            value: BytesMut::new(),
        }))
    }

    /// Whether there is one that is written or put together.
    pub(super) fn is_in_hand(&self) -> bool {
        matches!(self, Pieces::Gathered(_) | Pieces::Written(_))
    }

    /// How far the value in hand is on its lane.
    pub(super) fn place(&self) -> Option<Cursor> {
        match self {
            Pieces::None | Pieces::Passed => None,
            Pieces::Gathered(gathered) => Some(gathered.to.at),
            Pieces::Written(written) => Some(written.place()),
        }
    }
}

impl Written {
    /// About how many bytes of it so many elements are: all have the same length.
    pub(super) fn bytes_of(&self, elements: u64) -> u64 {
        let taken = self.rewriter.taken().max(1);
        let bytes = u128::from(self.given_bytes) * u128::from(elements.min(taken)) / u128::from(taken);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    fn place(&self) -> Cursor {
        Cursor {
            elements: self.sent,
            ..self.to.at
        }
    }

    /// Takes an element, less what is there already.
    fn take(&mut self, element: Element) {
        if let (Element::Text(text), Mark::Byte(None)) = (&element, self.mark) {
            let at = text.iter().position(|byte| *byte != 0);
            self.mark = Mark::Byte(at.map(|at| (self.rewriter.taken() + at as u64, text[at])));
        }
        match (&mut self.skip, element) {
            (Skip::Elements(left), Element::Text(mut text)) if *left > 0 => {
                let there = text.split_to(text.len().min(usize::try_from(*left).unwrap_or(usize::MAX)));
                *left -= there.len() as u64;
                self.rewriter.skip(there.len() as u64);
                if !text.is_empty() {
                    self.rewriter.element(Element::Text(text));
                }
            }
            (Skip::Elements(left), _) if *left > 0 => {
                *left -= 1;
                self.rewriter.skip(1);
            }
            (Skip::Entries(last), Element::Entry { id, .. }) if id <= *last => self.rewriter.skip(1),
            (_, element) => self.rewriter.element(element),
        }
    }
}

impl Replayer {
    /// Writes in pieces a value that is there whole.
    pub(super) async fn in_pieces(&mut self, control: &mut Door, key: &Key, to: Placed) -> Result<(), End> {
        let dangling = self.dangling(key);
        let to = match dangling {
            // The stand-ins come first.
            Some(_) => to.unwritten(),
            None => to,
        };
        self.begin_pieces(control, key, to).await?;
        if let (Pieces::Written(written), Some(dangling)) = (&mut self.pieces, dangling) {
            written.rewriter.prepare(dangling);
        }
        self.piece(key.value.clone()).await?;
        self.end_pieces(control).await
    }

    /// The pending entries whose entries are gone, of a stream that is there whole. What is broken is found when it is written.
    fn dangling(&self, key: &Key) -> Option<Dangling> {
        let flavor = self.source.flavor;
        kind_of(key.value_type, flavor).filter(|kind| kind.object == "stream")?;
        let mut decoder = Decoder::of(key, flavor).ok()?;
        Dangling::find(|| decoder.element()).ok()
    }

    /// Begins, or goes on with, a value that is written in pieces. What `key` has of it is still to be given.
    pub(super) async fn begin_pieces(
        &mut self,
        control: &mut Door,
        key: &Key,
        to: Placed,
    ) -> Result<(), End> {
        self.pieces = Pieces::Passed;
        let head = head_of(key);
        if self.is_kept(control, &head, to).await? {
            return Ok(());
        }
        let staged = self.names.name(&key.key);
        self.note_staged(to.db);
        // Another key may have had the name before: what was refused of that is not of this one.
        self.restorer.finish().await.map_err(End::Target)?;
        self.tell_refused_of(&staged);
        let kind = kind_of(key.value_type, self.source.flavor);
        let object = kind.map_or("unknown", |kind| kind.object);
        let expires = kind.is_some_and(|kind| kind.encoding.ends_with("_ex"));
        let mark = Mark::of(object, expires && self.ability.fields_expire);
        let skip = match to.at.elements {
            0 => Skip::Nothing,
            elements => written_before(control, to.db, &staged, (object, mark), elements).await?,
        };
        let to = match skip {
            Skip::Nothing => to.unwritten(),
            _ => to,
        };
        if skip == Skip::Nothing {
            let commands = clearing(self.facts.removal_verb(), &staged, mark);
            let sent = self.restorer.commands(to.at, to.db, &key.key, &commands, 0).await;
            sent.map_err(End::Target)?;
        } else {
            let name = String::from_utf8_lossy(&key.key).into_owned();
            tracing::info!(key = name, ?skip, "goes on within a key");
        }
        let decoder = Decoder::new(key.value_type, self.source.flavor, key.value_start());
        let decoder = decoder.map_err(End::Snapshot)?;
        let resumed = skip != Skip::Nothing;
        self.tell_metadata(&head, to);
        self.pieces = Pieces::Written(Box::new(Written {
            head,
            to,
            rewriter: Rewriter::new(staged.clone(), key.key.clone(), self.ability, resumed),
            staged,
            object,
            mark,
            decoder,
            skip,
            sent: to.at.elements,
            given_bytes: 0,
        }));
        Ok(())
    }

    /// The next piece of the value in hand.
    ///
    /// # Errors
    /// As [`Replayer::key`].
    pub async fn piece(&mut self, piece: Bytes) -> Result<(), End> {
        match &mut self.pieces {
            Pieces::None | Pieces::Passed => Ok(()),
            Pieces::Gathered(gathered) => {
                gathered.value.extend_from_slice(&piece);
                let fits =
                    gathered.value.len() <= self.policy.restore_bytes_max.min(self.facts.bulk_bytes_max);
                if !fits {
                    let (head, to) = (gathered.head.clone(), gathered.to);
                    let bytes = gathered.value.len() as u64;
                    self.pieces = Pieces::Passed;
                    self.refuse(&head, to, Why::TooLong(bytes));
                }
                Ok(())
            }
            Pieces::Written(written) => {
                written.given_bytes += piece.len() as u64;
                written.decoder.push(piece);
                self.write_on().await
            }
        }
    }

    /// Writes the elements that are there.
    async fn write_on(&mut self) -> Result<(), End> {
        while let Pieces::Written(written) = &mut self.pieces {
            let element = match written.decoder.step() {
                Ok(Step::Element(element)) => element,
                Ok(Step::NeedMore | Step::End) => return Ok(()),
                Err(error) => {
                    return self
                        .give_up(&format!("cannot be written with commands: {error}"))
                        .await;
                }
            };
            if let Element::Text(text) = element {
                self.write_text(text).await?;
                continue;
            }
            let longest = element.longest_bytes();
            if longest > self.facts.bulk_bytes_max {
                let reason = self.too_long_element(longest);
                return self.give_up(&reason).await;
            }
            written.take(element);
            if written.rewriter.commands().bytes.len() >= SEND_BYTES {
                self.send_written().await?;
            }
        }
        Ok(())
    }

    /// Writes a piece of a string. It may be as long as what arrived of it before it was known to be large.
    async fn write_text(&mut self, mut text: Bytes) -> Result<(), End> {
        while let (Pieces::Written(written), false) = (&mut self.pieces, text.is_empty()) {
            let part = text.split_to(text.len().min(SEND_BYTES));
            written.take(Element::Text(part));
            self.send_written().await?;
        }
        Ok(())
    }

    /// Puts the commands that are ready on the lane.
    async fn send_written(&mut self) -> Result<(), End> {
        let Pieces::Written(written) = &mut self.pieces else {
            return Ok(());
        };
        let (place, to) = (written.place(), written.to);
        let lost = written.rewriter.take_lost();
        let commands = written.rewriter.commands().take();
        written.sent = written.rewriter.closed();
        let (head, staged) = (written.head.clone(), written.staged.clone());
        self.tell_lost(to, lost);
        if commands.count == 0 {
            return Ok(());
        }
        let sent = self
            .restorer
            .commands(place, to.db, &head.key, &commands, 0)
            .await;
        sent.map_err(End::Target)?;
        match self.tell_refused_value(&head, to, &staged) {
            true => self.abandon().await.map(|_| ()),
            false => Ok(()),
        }
    }

    /// Puts everything that has been read on the lane.
    pub(super) async fn flush_pieces(&mut self) -> Result<(), End> {
        if let Pieces::Written(written) = &mut self.pieces {
            written.rewriter.close();
            self.send_written().await?;
        }
        Ok(())
    }

    /// The value cannot be written after all, and that is told.
    async fn give_up(&mut self, why: &str) -> Result<(), End> {
        if let Some((head, to)) = self.abandon().await? {
            let reason = format!("key {} {why}", String::from_utf8_lossy(&head.key));
            self.tell_key(&head, to, reason);
        }
        Ok(())
    }

    /// Nothing of the value in hand stays. Gives whose it is.
    async fn abandon(&mut self) -> Result<Option<(Key, Placed)>, End> {
        let Pieces::Written(written) = std::mem::replace(&mut self.pieces, Pieces::Passed) else {
            return Ok(None);
        };
        // What is still under way of it may be refused, too: that is told already.
        self.restorer.finish().await.map_err(End::Target)?;
        self.restorer
            .take_refused_where(|one| is_of(one, &written.staged));
        let mut commands = Commands::default();
        commands.push(&[self.facts.removal_verb(), &written.staged]);
        let (at, to, key) = (written.place(), written.to, &written.head.key);
        let sent = self.restorer.commands(at, to.db, key, &commands, 0).await;
        sent.map_err(End::Target)?;
        Ok(Some((written.head, to)))
    }

    /// The value in hand is whole.
    ///
    /// # Errors
    /// As [`Replayer::key`].
    pub async fn end_pieces(&mut self, control: &mut Door) -> Result<(), End> {
        if let Pieces::Written(written) = &mut self.pieces {
            if let Err(error) = ended(&mut written.decoder) {
                return self
                    .give_up(&format!("cannot be written with commands: {error}"))
                    .await;
            }
            written.rewriter.finish(written.object == "string");
            self.send_written().await?;
            self.restorer.finish().await.map_err(End::Target)?;
        }
        match std::mem::replace(&mut self.pieces, Pieces::None) {
            Pieces::None | Pieces::Passed => Ok(()),
            Pieces::Written(written) => self.take_name(control, *written).await,
            Pieces::Gathered(gathered) => {
                let Gathered { head, to, value } = *gathered;
                let value = value.freeze();
                let key = Key { value, ..head };
                match how::decide(self.case(&key, to, key.value.len() as u64)) {
                    How::Restore(footer) => self.restore(&key.payload(), &key, to, footer).await,
                    How::Refuse(why) => {
                        self.refuse(&key, to, why);
                        Ok(())
                    }
                    // What is gathered is a module's value, for which there is no other way.
                    How::Set | How::OneGo | How::Pieces => Ok(()),
                }
            }
        }
    }
}

impl Mark {
    fn of(object: &str, fields_expire: bool) -> Mark {
        match object {
            "string" => Mark::Byte(None),
            "list" => Mark::Item,
            "hash" if fields_expire => Mark::Field,
            _ => Mark::Number,
        }
    }
}

impl Placed {
    /// The same, nothing being written yet.
    fn unwritten(self) -> Placed {
        let at = Cursor {
            elements: 0,
            ..self.at
        };
        Placed { at, ..self }
    }
}

/// The commands that make a staged name ready.
fn clearing(verb: &[u8], staged: &Bytes, mark: Mark) -> Commands {
    let mut commands = Commands::default();
    commands.push(&[verb, staged]);
    match mark {
        Mark::Field => commands.push(&[b"HSET", staged, staged, b""]),
        Mark::Item => commands.push(&[b"RPUSH", staged, staged]),
        Mark::Number | Mark::Byte(_) => {}
    }
    commands
}

/// The key without its value.
pub(super) fn head_of(key: &Key) -> Key {
    Key {
        value: Bytes::new(),
        ..key.clone()
    }
}

/// Everything has been pushed: whether the value is whole.
fn ended(decoder: &mut Decoder) -> Result<(), rdb::Error> {
    decoder.element().map(|_| ())
}

/// How much of a value stands under its staged name already.
async fn written_before(
    control: &mut Door,
    db: u32,
    staged: &Bytes,
    (object, mark): (&str, Mark),
    elements: u64,
) -> Result<Skip, End> {
    let ask = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect::<Vec<_>>();
    let questions = match (object, mark) {
        ("list", _) => vec![ask(&[b"LINDEX", staged, b"0"]), ask(&[b"LLEN", staged])],
        ("string", _) => vec![ask(&[b"STRLEN", staged])],
        ("stream", _) => vec![ask(&[b"XREVRANGE", staged, b"+", b"-", b"COUNT", b"1"])],
        (_, Mark::Field) => vec![ask(&[b"HEXISTS", staged, staged])],
        _ => vec![ask(&[b"EXISTS", staged])],
    };
    let answers = asked(control, db, questions).await?;
    let at_least = |length: &i64, least: u64| u64::try_from(*length).is_ok_and(|length| length >= least);
    let there = match (object, &answers[..]) {
        ("stream", [Value::Array(entries)]) => {
            return Ok(last_entry(entries).map_or(Skip::Nothing, Skip::Entries));
        }
        ("list", [Value::Bulk(first), Value::Int(length)]) => {
            first[..] == staged[..] && at_least(length, elements + 1)
        }
        ("string", [Value::Int(length)]) => at_least(length, elements),
        (_, [Value::Int(exists)]) => *exists == 1,
        _ => false,
    };
    if !there {
        return Ok(Skip::Nothing);
    }
    if object == "list" {
        // One more than elements: the first is ours.
        let last = elements.to_string();
        asked(control, db, vec![ask(&[b"LTRIM", staged, b"0", last.as_bytes()])]).await?;
    }
    Ok(Skip::Elements(elements))
}

/// The id of the first of some entries, as `XREVRANGE` answers.
fn last_entry(entries: &[Value]) -> Option<StreamId> {
    let id = entries.first()?.array()?.first()?.text()?;
    let (ms, seq) = std::str::from_utf8(id).ok()?.split_once('-')?;
    Some(StreamId {
        ms: ms.parse().ok()?,
        seq: seq.parse().ok()?,
    })
}
