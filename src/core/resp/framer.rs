//! Command boundaries in a replication stream that arrives in chunks.

use bytes::{Bytes, BytesMut};

use super::frame::Frame;
use super::scan::Scan;
use super::{Error, Fault, Limits};
use crate::core::position::Offset;

/// Cuts chunks of a replication stream into commands.
///
/// ```text
/// framer.push(start, chunk)?;
/// while let Some(frame) = framer.next()? { ... }
/// ```
///
/// A command that lies within one chunk is a slice of it. One that spans chunks is looked at once as its chunks come,
/// and copied once, when its last byte is there; until then the chunks themselves are held, so a false declaration
/// of a great length reserves nothing.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    scan: Scan,
    /// The chunk being cut.
    chunk: Bytes,
    /// Where the command in hand begins in `chunk`, or, where it began in an earlier one, goes on.
    at: usize,
    /// What earlier chunks held of the command in hand.
    held: Vec<Bytes>,
    /// The last command that spanned chunks.
    assembled: Bytes,
    /// The offset before the command in hand; set by the first chunk.
    offset: Option<Offset>,
    /// The fault that ended framing. It stays: nothing after it can be trusted.
    failed: Option<Error>,
}

impl Default for Framer {
    fn default() -> Self {
        Framer::new(Limits::default())
    }
}

impl Framer {
    /// A framer that has seen nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Framer {
        Framer {
            limits,
            scan: Scan::new(),
            chunk: Bytes::new(),
            at: 0,
            held: Vec::new(),
            assembled: Bytes::new(),
            offset: None,
            failed: None,
        }
    }

    /// Forgets everything, as after a seek or a reconnect: the next chunk may begin anywhere.
    pub fn reset(&mut self) {
        *self = Framer::new(self.limits);
    }

    /// The offset before the command in hand: everything up to here has been given out.
    #[must_use]
    pub fn framed(&self) -> Option<Offset> {
        self.offset
    }

    /// Gives the chunk whose first byte follows `start`. Call it once [`Framer::next`] has answered `None`.
    ///
    /// # Errors
    /// The chunk does not continue the one before it.
    ///
    /// # Panics
    /// The chunk before it has not been read to its end.
    pub fn push(&mut self, start: Offset, chunk: Bytes) -> Result<(), Error> {
        assert!(
            self.at == self.chunk.len(),
            "next() is called until it answers None before the next push()"
        );
        let framed = *self.offset.get_or_insert(start);
        let expected = framed.after(self.scan.len() as usize);
        if start != expected {
            return Err(Error::Gap {
                expected,
                found: start,
            });
        }
        self.chunk = chunk;
        self.at = 0;
        Ok(())
    }

    /// The next command, or `None` where the chunk holds no whole one any more.
    ///
    /// # Errors
    /// The stream breaks the protocol. The same error is given ever after.
    #[allow(clippy::should_implement_trait)] // a frame borrows from the framer, which Iterator cannot say
    #[inline]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let rest = &self.chunk[self.at..];
        if let Some(bytes) = self.scan.whole(rest, &self.limits) {
            return Ok(Some(self.give(bytes)));
        }
        match self.scan.feed(rest, &self.limits) {
            Ok(Some(bytes)) => Ok(Some(self.give(bytes))),
            Ok(None) => {
                self.hold();
                Ok(None)
            }
            Err(fault) => Err(self.fail(fault)),
        }
    }

    /// Gives out the command whose last `bytes` bytes begin at `at`.
    #[inline]
    fn give(&mut self, bytes: usize) -> Frame<'_> {
        let start = self.at;
        self.at += bytes;
        let spans_chunks = !self.held.is_empty();
        if spans_chunks {
            self.assemble(start, bytes);
        }
        let (buffer, start, len) = match spans_chunks {
            true => (&self.assembled, 0, self.assembled.len()),
            false => (&self.chunk, start, bytes),
        };
        if buffer[start] != b'*' {
            self.scan.note_words(&buffer[start..start + len]);
        }
        let end = self.offset.unwrap_or(Offset::ZERO).after(len);
        self.offset = Some(end);
        let count = self.scan.count;
        self.scan.restart();
        Frame {
            buffer,
            start,
            len,
            end,
            spans: &self.scan.spans,
            count,
        }
    }

    #[cold]
    fn assemble(&mut self, start: usize, bytes: usize) {
        let held: usize = self.held.iter().map(Bytes::len).sum();
        let mut whole = BytesMut::with_capacity(held + bytes);
        for piece in self.held.drain(..) {
            whole.extend_from_slice(&piece);
        }
        whole.extend_from_slice(&self.chunk[start..start + bytes]);
        self.assembled = whole.freeze();
    }

    /// Keeps what the chunk holds of the command in hand.
    fn hold(&mut self) {
        if self.at < self.chunk.len() {
            self.held.push(self.chunk.slice(self.at..));
            self.at = self.chunk.len();
        }
    }

    #[cold]
    fn fail(&mut self, fault: Fault) -> Error {
        let command = self.offset.unwrap_or(Offset::ZERO);
        let error = Error::Stream {
            command,
            at: command.after(self.scan.mark() as usize),
            fault,
        };
        self.failed = Some(error.clone());
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::resp::{Run, encode_command};
    use proptest::prelude::*;

    fn stream(commands: &[&[&[u8]]]) -> Bytes {
        let mut out = BytesMut::new();
        for args in commands {
            encode_command(&mut out, args);
        }
        out.freeze()
    }

    type Seen = (Vec<u8>, Vec<Vec<u8>>, u64);

    /// All frames of `stream`, cut at `cuts`, as plain values.
    fn frames(stream: &[u8], cuts: &[usize]) -> Result<Vec<Seen>, Error> {
        frames_within(Limits::default(), stream, cuts)
    }

    fn frames_within(limits: Limits, stream: &[u8], cuts: &[usize]) -> Result<Vec<Seen>, Error> {
        let mut framer = Framer::new(limits);
        let mut seen = Vec::new();
        let mut start = 0;
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        ends.push(stream.len());
        ends.sort_unstable();
        for end in ends {
            framer.push(
                Offset::new(start as u64),
                Bytes::copy_from_slice(&stream[start..end]),
            )?;
            while let Some(frame) = framer.next()? {
                let args: Vec<Vec<u8>> = frame.args().map(<[u8]>::to_vec).collect();
                for (index, arg) in args.iter().enumerate() {
                    assert_eq!(frame.arg(index), Some(&arg[..]));
                }
                assert_eq!(frame.arg(args.len()), None);
                assert_eq!(args.len(), frame.arg_count());
                seen.push((frame.bytes().to_vec(), args, frame.end().get()));
            }
            start = end;
        }
        Ok(seen)
    }

    #[test]
    fn a_frame_is_a_slice_of_its_chunk() {
        let chunk = stream(&[&[b"SET", b"k", b"v"], &[b"PING"]]);
        let mut framer = Framer::default();
        framer.push(Offset::new(100), chunk.clone()).unwrap();
        let frame = framer.next().unwrap().unwrap();
        assert_eq!(frame.name(), b"SET");
        assert_eq!(frame.bytes().as_ptr(), chunk.as_ptr());
        assert_eq!(frame.to_bytes().as_ptr(), chunk.as_ptr());
        assert_eq!(frame.end(), Offset::new(100 + 27));
        assert_eq!(framer.next().unwrap().unwrap().name(), b"PING");
        assert!(framer.next().unwrap().is_none());
    }

    #[test]
    fn frames_side_by_side_make_one_slice_and_others_do_not() {
        let chunk = stream(&[&[b"A"], &[b"B"], &[b"C"], &[b"D"]]);
        let mut framer = Framer::default();
        framer.push(Offset::ZERO, chunk.clone()).unwrap();
        let mut run = Run::new(&framer.next().unwrap().unwrap());
        assert!(run.extend(&framer.next().unwrap().unwrap()));
        let _skipped = framer.next().unwrap().unwrap();
        assert!(!run.extend(&framer.next().unwrap().unwrap()));
        assert_eq!(run.len_bytes(), 22);
        let bytes = run.into_bytes();
        assert_eq!((bytes.as_ptr(), &bytes[..]), (chunk.as_ptr(), &chunk[..22]));
    }

    #[test]
    fn keepalives_and_inline_commands_are_frames() {
        let seen = frames(
            b"\n\r\nPING\r\n*0\r\n*-1\r\n SET  k\tv \n*1\r\n$4\r\nPING\r\n",
            &[],
        )
        .unwrap();
        let args: Vec<Vec<&[u8]>> = seen
            .iter()
            .map(|(_, args, _)| args.iter().map(Vec::as_slice).collect())
            .collect();
        let none = Vec::<&[u8]>::new;
        let ping = || vec![&b"PING"[..]];
        let set = vec![&b"SET"[..], b"k", b"v"];
        assert_eq!(args, [none(), none(), ping(), none(), none(), set, ping()]);
    }

    #[test]
    fn words_beyond_the_noted_ones_are_found() {
        let seen = frames(b"a b c d e f g h i j\r\n", &[3]).unwrap();
        assert_eq!(seen[0].1.concat(), b"abcdefghij");
    }

    #[test]
    fn a_chunk_that_does_not_continue_is_refused() {
        let mut framer = Framer::default();
        framer
            .push(Offset::new(7), Bytes::from_static(b"*1\r\n$4\r\nPI"))
            .unwrap();
        assert!(framer.next().unwrap().is_none());
        let gap = framer.push(Offset::new(17), Bytes::from_static(b"NG\r\n"));
        let (expected, found) = (Offset::new(17), Offset::new(17));
        assert!(gap.is_ok() && expected == found);
        let frame = framer.next().unwrap().unwrap();
        assert_eq!((frame.name(), frame.end()), (&b"PING"[..], Offset::new(21)));
        assert!(framer.next().unwrap().is_none());
        let gap = framer.push(Offset::new(22), Bytes::new());
        let (expected, found) = (Offset::new(21), Offset::new(22));
        assert_eq!(gap, Err(Error::Gap { expected, found }));
        framer.reset();
        assert_eq!(framer.push(Offset::new(22), Bytes::new()), Ok(()));
    }

    #[test]
    fn a_fault_names_its_offset_and_stays() {
        let cases: [(&[u8], u64, Fault); 8] = [
            (b"*x\r\n", 0, Fault::NotANumber),
            (b"*1\n", 0, Fault::NotANumber),
            (b"*1\r\n:1\r\n", 4, Fault::NotABulk(b':')),
            (b"*1\r\n$1\r\nab\r\n", 8, Fault::NoCrlf),
            (b"*1\r\n$1\r\na\rb", 8, Fault::NoCrlf),
            (b"*1\r\n$-1\r\n", 4, Fault::BulkLength(-1)),
            (b"*1\r\n$536870913\r\n", 4, Fault::BulkLength(536_870_913)),
            (b"*1048577\r\n", 0, Fault::ArgCount(1_048_577)),
        ];
        for (bytes, good, fault) in cases {
            let mut framer = Framer::default();
            let before = Bytes::from_static(b"*1\r\n$4\r\nPING\r\n");
            framer.push(Offset::new(1000), before).unwrap();
            framer.next().unwrap().unwrap();
            assert!(framer.next().unwrap().is_none());
            framer
                .push(Offset::new(1014), Bytes::copy_from_slice(bytes))
                .unwrap();
            let command = Offset::new(1014);
            let at = Offset::new(1014 + good);
            let error = Error::Stream { command, at, fault };
            for _ in 0..2 {
                assert_eq!(
                    framer.next().unwrap_err(),
                    error,
                    "{}",
                    String::from_utf8_lossy(bytes)
                );
            }
        }
    }

    #[test]
    fn a_line_without_end_is_an_error_and_is_not_hoarded() {
        let mut framer = Framer::default();
        framer
            .push(Offset::ZERO, Bytes::from(vec![b'x'; 70_000]))
            .unwrap();
        assert!(matches!(
            framer.next(),
            Err(Error::Stream {
                fault: Fault::LineLength(65_536),
                ..
            })
        ));
        let limits = Limits {
            command_bytes_max: 100,
            ..Limits::default()
        };
        let mut framer = Framer::new(limits);
        framer
            .push(Offset::ZERO, stream(&[&[b"SET", b"k", &[b'v'; 100]]]))
            .unwrap();
        assert!(matches!(
            framer.next(),
            Err(Error::Stream {
                fault: Fault::CommandLength(100),
                ..
            })
        ));
    }

    #[test]
    fn a_big_command_in_many_chunks_is_looked_at_and_copied_once() {
        let value = vec![b'v'; 8 << 20];
        let whole = stream(&[&[b"SET", b"k", &value], &[b"PING"]]);
        let mut framer = Framer::default();
        let mut at = 0;
        let mut names = Vec::new();
        while at < whole.len() {
            let end = whole.len().min(at + 1000);
            framer.push(Offset::new(at as u64), whole.slice(at..end)).unwrap();
            while let Some(frame) = framer.next().unwrap() {
                names.push((frame.name().to_vec(), frame.arg(2).map(<[u8]>::len)));
            }
            at = end;
        }
        assert_eq!(
            names,
            [(b"SET".to_vec(), Some(8 << 20)), (b"PING".to_vec(), None)]
        );
    }

    fn command() -> impl Strategy<Value = Vec<u8>> {
        let arg = prop::collection::vec(any::<u8>(), 0..40);
        let array = prop::collection::vec(arg, 0..14).prop_map(|args| {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let mut out = BytesMut::new();
            encode_command(&mut out, &args);
            out.to_vec()
        });
        prop_oneof![8 => array, 1 => Just(b"\n".to_vec()), 1 => Just(b"PING now\r\n".to_vec())]
    }

    proptest! {
        #[test]
        fn a_stream_cut_anywhere_gives_the_same_frames(
            commands in prop::collection::vec(command(), 0..20),
            cuts in prop::collection::vec(any::<usize>(), 0..30),
        ) {
            let stream = commands.concat();
            let whole = frames(&stream, &[]).unwrap();
            prop_assert_eq!(whole.iter().map(|f| f.0.clone()).collect::<Vec<_>>(), commands);
            prop_assert_eq!(whole.last().map_or(0, |f| f.2), stream.len() as u64);
            prop_assert_eq!(frames(&stream, &cuts).unwrap(), whole);
        }

        #[test]
        fn random_bytes_never_panic_and_cuts_do_not_matter(
            bytes in prop::collection::vec(prop::sample::select(b"*$0123-\r\nPx".to_vec()), 0..60),
            cuts in prop::collection::vec(any::<usize>(), 0..8),
        ) {
            prop_assert_eq!(frames(&bytes, &cuts), frames(&bytes, &[]));
        }

        /// What comes byte by byte is read the careful way only. Good commands, broken ones, and such as are beyond a limit.
        #[test]
        fn the_quick_way_sees_what_the_careful_way_sees(
            commands in prop::collection::vec(command(), 1..8),
            breaks in prop::collection::vec(
                (any::<prop::sample::Index>(), prop::sample::select(b"*$0129-\r\nPx".to_vec())), 0..3),
            maxima in prop_oneof![4 => Just([1 << 20; 3]), 1 => [0_u32..14, 0_u32..40, 0_u32..300]],
        ) {
            let mut stream = commands.concat();
            for (at, byte) in breaks {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
            let [args_max, bulk_bytes_max, command_bytes_max] = maxima;
            let limits = Limits { args_max, bulk_bytes_max, command_bytes_max, ..Limits::default() };
            let everywhere: Vec<usize> = (0..stream.len()).collect();
            let (quick, careful) = (frames_within(limits, &stream, &[]), frames_within(limits, &stream, &everywhere));
            prop_assert_eq!(quick.as_ref().ok(), careful.as_ref().ok());
            prop_assert_eq!(quick.is_err(), careful.is_err());
            // A limit that is passed within an argument is seen as its bytes come.
            if command_bytes_max == 1 << 20 {
                prop_assert_eq!(quick, careful);
            }
        }

        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = frames(&bytes, &[50, 51]);
        }
    }
}
