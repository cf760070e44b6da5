//! A server whose own replication stream is read: what it sends on of a command, and no more.

// Only the test beside it sees this.
#![allow(unreachable_pub)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gunyu::core::position::Offset;
use gunyu::core::resp::{Frame, Framer, Value, encode_command, parse_value};

use super::support::Server;

/// A connection that speaks the library's values.
pub struct Wire {
    link: TcpStream,
    input: Vec<u8>,
}

impl Wire {
    pub fn to(server: &Server) -> Wire {
        let link = TcpStream::connect(server.addr()).unwrap();
        link.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        link.set_nodelay(true).unwrap();
        Wire {
            link,
            input: Vec::new(),
        }
    }

    fn more(&mut self) {
        let mut chunk = vec![0; 1 << 16];
        let read = self.link.read(&mut chunk).unwrap();
        assert!(read > 0, "the server hung up");
        self.input.extend_from_slice(&chunk[..read]);
    }

    pub fn ask_encoded(&mut self, command: &[u8]) -> Value {
        self.link.write_all(command).unwrap();
        loop {
            if let Some((value, len)) = parse_value(&self.input).unwrap() {
                self.input.drain(..len);
                return value;
            }
            self.more();
        }
    }

    pub fn ask<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Value {
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        let mut out = BytesMut::new();
        encode_command(&mut out, &words);
        self.ask_encoded(&out)
    }
}

/// A server and what it sends to replicas.
pub struct Source {
    pub client: Wire,
    stream: Wire,
    framer: Framer,
    at: u64,
    asked: u64,
}

impl Source {
    pub fn of(server: &Server) -> Source {
        let mut stream = Wire::to(server);
        stream.link.write_all(b"SYNC\r\n").unwrap();
        skip_snapshot(&mut stream);
        Source {
            client: Wire::to(server),
            stream,
            framer: Framer::default(),
            at: 0,
            asked: 0,
        }
    }

    /// Runs a command and hands each frame that comes of it to `each`. Says what the server answered.
    pub fn run(&mut self, words: &[String], mut each: impl FnMut(&Frame<'_>)) -> Value {
        let answer = self.client.ask(words);
        self.asked += 1;
        let mark = format!("asked {}", self.asked);
        self.client.ask(&["PUBLISH", "mark", &mark]);
        loop {
            while let Some(frame) = self.framer.next().unwrap() {
                if frame.arg(2) == Some(mark.as_bytes()) {
                    return answer;
                }
                each(&frame);
            }
            if self.stream.input.is_empty() {
                self.stream.more();
            }
            let bytes = Bytes::from(std::mem::take(&mut self.stream.input));
            let len = bytes.len() as u64;
            self.framer.push(Offset::new(self.at), bytes).unwrap();
            self.at += len;
        }
    }
}

/// `$length`, CRLF and the file; newlines may come before, while the server is at it.
fn skip_snapshot(stream: &mut Wire) {
    loop {
        let newlines = stream.input.iter().take_while(|byte| **byte == b'\n').count();
        stream.input.drain(..newlines);
        if let Some(end) = stream.input.iter().position(|byte| *byte == b'\n') {
            let head = String::from_utf8_lossy(&stream.input[..end]).into_owned();
            let len: usize = head.trim_start_matches('$').trim().parse().unwrap();
            while stream.input.len() < end + 1 + len {
                stream.more();
            }
            stream.input.drain(..end + 1 + len);
            return;
        }
        stream.more();
    }
}
