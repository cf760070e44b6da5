//! Commands applied as one: slices of the stream in their order, and where the stream stands after them.
//!
//! Owns what a batch is made of. A kept command stays the slice in which it arrived; neighbours in one chunk are one slice, so a busy link sends
//! a few large slices. Leaves to [`super::exact`] and [`super::loose`] how a batch is put on the wire, and to the caller when it is
//! full.

use std::time::Instant;

use bytes::Bytes;

use crate::core::position::Offset;
use crate::core::resp::{Frame, Framer, Limits, Run};

/// A stretch of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Whole commands, as they go to the target.
    Commands {
        /// The commands.
        bytes: Bytes,
        /// How many they are.
        count: usize,
    },
    /// The checkpoint is removed here: what follows moves whole databases, and would take it along.
    RemoveCheckpoint {
        /// The target's database to be selected afterwards.
        back_to: u32,
    },
    /// What comes up to [`Piece::Close`] is carried out as one, so that at no moment anybody finds the session's key missing. Where the batch is a
    /// transaction itself there is neither.
    Open,
    /// Its end.
    Close,
    /// The checkpoint is written here again: what came before may have removed it.
    RestoreCheckpoint {
        /// The target's database to be selected afterwards.
        back_to: u32,
    },
}

/// A batch being filled, or on its way.
#[derive(Debug, Clone)]
pub struct Batch {
    pieces: Vec<Piece>,
    run: Option<(Run, usize)>,
    commands: usize,
    bytes: usize,
    first_target_db: u32,
    target_db: u32,
    source_db: u32,
    end: Offset,
    oldest: Option<Instant>,
    in_transaction: bool,
    /// Where each command ends in the stream; empty where nobody asks for it.
    ends: Vec<Offset>,
    swapped: Vec<(u32, u32)>,
}

impl Batch {
    /// An empty batch that begins at `start` with these databases selected.
    #[must_use]
    pub fn new(start: Offset, source_db: u32, target_db: u32) -> Batch {
        Batch {
            pieces: Vec::new(),
            run: None,
            commands: 0,
            bytes: 0,
            first_target_db: target_db,
            target_db,
            source_db,
            end: start,
            oldest: None,
            in_transaction: false,
            ends: Vec::new(),
            swapped: Vec::new(),
        }
    }

    /// Two databases of the target change places in it.
    pub fn swap(&mut self, one: u32, other: u32) {
        self.swapped.push((one, other));
    }

    /// The databases of the target that change places in it, in their order.
    #[must_use]
    pub fn swapped(&self) -> &[(u32, u32)] {
        &self.swapped
    }

    /// Notes that the commands added since the last such note end at `end`.
    pub fn note_end(&mut self, end: Offset) {
        self.ends.resize(self.commands, end);
    }

    /// Where each command ends in the stream, as far as it was noted.
    #[must_use]
    pub fn ends(&self) -> &[Offset] {
        &self.ends
    }

    /// The empty batch that follows this one.
    #[must_use]
    pub fn successor(&self) -> Batch {
        Batch::new(self.end, self.source_db, self.target_db)
    }

    /// Adds a command unchanged, as the slice in which it arrived.
    pub fn keep(&mut self, frame: &Frame<'_>) {
        self.commands += 1;
        self.bytes += frame.bytes().len();
        if let Some((run, count)) = &mut self.run
            && run.extend(frame)
        {
            *count += 1;
            return;
        }
        self.flush_run();
        self.run = Some((Run::new(frame), 1));
    }

    /// Adds `count` whole commands that were assembled or rewritten.
    pub fn push(&mut self, bytes: Bytes, count: usize) {
        self.flush_run();
        self.commands += count;
        self.bytes += bytes.len();
        self.pieces.push(Piece::Commands { bytes, count });
    }

    /// Adds whole commands that were rewritten, however many they are.
    pub fn push_counted(&mut self, bytes: Bytes) {
        let mut framer = Framer::new(Limits::default());
        let mut count = 0;
        if framer.push(Offset::ZERO, bytes.clone()).is_ok() {
            while let Ok(Some(_)) = framer.next() {
                count += 1;
            }
        }
        self.push(bytes, count);
    }

    /// Adds a mark for the checkpoint.
    pub fn mark(&mut self, piece: Piece) {
        self.flush_run();
        self.pieces.push(piece);
    }

    /// The stream is judged up to `end`: what was to be kept is in the batch.
    pub fn advance(&mut self, end: Offset) {
        debug_assert!(self.end <= end, "a batch moves forward");
        self.end = end;
    }

    /// From here on these databases are selected at the source and at the target.
    pub fn select(&mut self, source_db: u32, target_db: u32) {
        self.source_db = source_db;
        self.target_db = target_db;
    }

    /// Notes when the oldest command of this batch was received.
    pub fn received(&mut self, at: Instant) {
        self.oldest.get_or_insert(at);
    }

    /// Enters or leaves a transaction of the source, which must not be split.
    pub fn set_in_transaction(&mut self, inside: bool) {
        self.in_transaction = inside;
    }

    /// Whether a transaction of the source is open: the batch must not be sent yet.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// Whether nothing is to be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commands == 0
    }

    /// How many commands of the stream are in it.
    #[must_use]
    pub fn commands(&self) -> usize {
        self.commands
    }

    /// How many bytes of commands are in it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where the stream stands after it.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// The source's database after it.
    #[must_use]
    pub fn source_db(&self) -> u32 {
        self.source_db
    }

    /// The target's database that its first command expects.
    #[must_use]
    pub fn first_target_db(&self) -> u32 {
        self.first_target_db
    }

    /// The target's database after it.
    #[must_use]
    pub fn target_db(&self) -> u32 {
        self.target_db
    }

    /// When its oldest command was received.
    #[must_use]
    pub fn oldest(&self) -> Option<Instant> {
        self.oldest
    }

    /// What it is made of. Call after the last command was added.
    pub fn pieces(&mut self) -> &[Piece] {
        self.flush_run();
        &self.pieces
    }

    /// The `n`th command of the stream in it, from 0, and the target's database in which it runs. Slow: for what has gone wrong.
    pub fn command(&mut self, n: usize) -> Option<(Bytes, u32)> {
        self.flush_run();
        let (mut left, mut db) = (n, self.first_target_db);
        for piece in &self.pieces {
            let Piece::Commands { bytes, .. } = piece else {
                continue;
            };
            let mut framer = Framer::new(Limits::default());
            framer.push(Offset::ZERO, bytes.clone()).ok()?;
            while let Some(frame) = framer.next().ok()? {
                if left == 0 {
                    return Some((frame.to_bytes(), db));
                }
                left -= 1;
                if frame.name().eq_ignore_ascii_case(b"SELECT") {
                    let number = frame.arg(1).and_then(|n| std::str::from_utf8(n).ok());
                    db = number.and_then(|n| n.parse().ok()).unwrap_or(db);
                }
            }
        }
        None
    }

    /// Takes the `n`th command of the stream out, from 0: the target does not take it. Slow, like [`Batch::command`].
    pub fn remove(&mut self, n: usize) {
        self.flush_run();
        let mut before = 0;
        for at in 0..self.pieces.len() {
            let Piece::Commands { bytes, count } = &self.pieces[at] else {
                continue;
            };
            if n >= before + count {
                before += count;
                continue;
            }
            let (bytes, count) = (bytes.clone(), *count);
            let Some((start, end)) = span(&bytes, n - before) else {
                return;
            };
            let halves = [
                (bytes.slice(..start), n - before),
                (bytes.slice(end..), count - (n - before) - 1),
            ];
            let pieces = halves.into_iter().filter(|(_, count)| *count > 0);
            self.pieces.splice(
                at..=at,
                pieces.map(|(bytes, count)| Piece::Commands { bytes, count }),
            );
            self.commands -= 1;
            self.bytes -= end - start;
            return;
        }
    }

    fn flush_run(&mut self) {
        if let Some((run, count)) = self.run.take() {
            self.pieces.push(Piece::Commands {
                bytes: run.into_bytes(),
                count,
            });
        }
    }
}

/// Where the `n`th of whole commands lies.
fn span(commands: &Bytes, n: usize) -> Option<(usize, usize)> {
    let mut framer = Framer::new(Limits::default());
    framer.push(Offset::ZERO, commands.clone()).ok()?;
    let mut start = 0;
    for _ in 0..n {
        start += framer.next().ok()??.bytes().len();
    }
    let len = framer.next().ok()??.bytes().len();
    Some((start, start + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] = b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";

    fn keep_all(batch: &mut Batch, chunk: &Bytes, but: Option<usize>) {
        let mut framer = Framer::new(Limits::default());
        framer.push(Offset::ZERO, chunk.clone()).unwrap();
        let mut n = 0;
        while let Some(frame) = framer.next().unwrap() {
            if Some(n) != but {
                batch.keep(&frame);
            }
            n += 1;
        }
    }

    #[test]
    fn neighbours_in_a_chunk_are_one_slice() {
        let chunk = Bytes::from_static(TWO);
        let mut batch = Batch::new(Offset::ZERO, 0, 0);
        keep_all(&mut batch, &chunk, None);
        assert_eq!(
            batch.pieces(),
            [Piece::Commands {
                bytes: chunk,
                count: 2
            }]
        );
        assert_eq!((batch.commands(), batch.bytes()), (2, TWO.len()));
    }

    #[test]
    fn a_gap_begins_a_new_slice() {
        let chunk = Bytes::from([TWO, TWO].concat());
        let mut batch = Batch::new(Offset::ZERO, 0, 0);
        keep_all(&mut batch, &chunk, Some(1));
        assert_eq!(batch.pieces().len(), 2);
    }

    #[test]
    fn any_command_can_be_found_again() {
        let chunk = Bytes::from_static(TWO);
        let mut batch = Batch::new(Offset::ZERO, 0, 0);
        keep_all(&mut batch, &chunk, Some(1));
        batch.mark(Piece::RestoreCheckpoint { back_to: 0 });
        batch.push(Bytes::from_static(TWO), 2);
        assert_eq!(batch.command(2), Some((Bytes::from_static(&TWO[14..]), 0)));
        assert_eq!(batch.command(3), None);
    }

    #[test]
    fn a_command_is_found_with_the_database_it_runs_in() {
        let mut batch = Batch::new(Offset::ZERO, 0, 5);
        batch.push(Bytes::from_static(TWO), 2);
        batch.push(Bytes::from_static(b"*2\r\n$6\r\nselect\r\n$1\r\n7\r\n"), 1);
        batch.push(Bytes::from_static(TWO), 2);
        let databases: Vec<u32> = (0..5)
            .filter_map(|n| batch.command(n))
            .map(|(_, db)| db)
            .collect();
        assert_eq!(databases, [5, 5, 5, 7, 7]);
    }

    #[test]
    fn a_command_taken_out_leaves_the_others_as_they_were() {
        let chunk = Bytes::from([TWO, TWO].concat());
        for n in 0..4 {
            let mut batch = Batch::new(Offset::ZERO, 0, 0);
            keep_all(&mut batch, &chunk, None);
            let kept: Vec<_> = (0..4).filter(|m| *m != n).map(|m| batch.command(m)).collect();
            batch.remove(n);
            assert_eq!((0..3).map(|m| batch.command(m)).collect::<Vec<_>>(), kept);
            assert_eq!(batch.commands(), 3);
            assert_eq!(
                batch.bytes(),
                kept.iter()
                    .flatten()
                    .map(|(command, _)| command.len())
                    .sum::<usize>()
            );
        }
    }

    #[test]
    fn the_successor_begins_where_the_batch_ended() {
        let mut batch = Batch::new(Offset::ZERO, 0, 0);
        batch.select(4, 2);
        batch.advance(Offset::new(90));
        let next = batch.successor();
        assert_eq!(
            (next.end(), next.source_db(), next.first_target_db()),
            (Offset::new(90), 4, 2)
        );
        assert!(next.is_empty());
    }
}
