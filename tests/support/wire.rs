//! Many commands in one buffer: what makes the workload fast.

use redis::{ConnectionLike, RedisResult, Value};

/// Commands, encoded, not yet sent.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    bytes: Vec<u8>,
    commands: usize,
}

impl Batch {
    /// Begins a command of `args` arguments, its name included; that many [`Batch::arg`] must follow.
    pub fn begin(&mut self, args: usize) {
        self.commands += 1;
        self.head(b'*', args);
    }

    /// One argument.
    pub fn arg(&mut self, arg: &impl Arg) {
        arg.append_to(self);
    }

    fn bulk(&mut self, bytes: &[u8]) {
        self.head(b'$', bytes.len());
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn head(&mut self, kind: u8, number: usize) {
        self.bytes.push(kind);
        self.bytes
            .extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// Encoded size.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// How many commands it holds.
    pub fn commands(&self) -> usize {
        self.commands
    }

    /// Sends all and reads every reply; an error reply is a [`Value::ServerError`]. The batch is empty afterwards.
    ///
    /// # Errors
    /// The connection broke: any number of the commands may have been executed.
    pub fn send(&mut self, conn: &mut redis::Connection) -> RedisResult<Vec<Value>> {
        let replies = conn.req_packed_commands(&self.bytes, 0, self.commands);
        self.bytes.clear();
        self.commands = 0;
        replies
    }

    /// Sends all; a broken connection or an error reply fails the test.
    #[track_caller]
    pub fn must(&mut self, conn: &mut redis::Connection) -> Vec<Value> {
        let replies = self.send(conn).unwrap();
        if let Some(error) = replies
            .iter()
            .find(|reply| matches!(reply, Value::ServerError(_)))
        {
            panic!("a command was refused: {error:?}");
        }
        replies
    }
}

/// What can be an argument.
pub trait Arg {
    /// Appends `$len`, the bytes, and the line's end.
    fn append_to(&self, batch: &mut Batch);
}

macro_rules! bytes_are_arguments {
    ($($kind:ty),+) => {$(
        impl Arg for $kind {
            fn append_to(&self, batch: &mut Batch) {
                batch.bulk(self.as_ref());
            }
        }
    )+};
}
bytes_are_arguments!(&str, String, &String, &[u8], Vec<u8>, &Vec<u8>);

macro_rules! integers_are_arguments {
    ($($kind:ty),+) => {$(
        impl Arg for $kind {
            fn append_to(&self, batch: &mut Batch) {
                batch.bulk(itoa::Buffer::new().format(*self).as_bytes());
            }
        }
    )+};
}
integers_are_arguments!(i32, u32, i64, u64, usize);

/// Puts a command into a batch: `put!(batch, "SET", key, 1)`.
macro_rules! put {
    ($batch:expr, $($arg:expr),+ $(,)?) => {{
        $batch.begin([$(stringify!($arg)),+].len());
        $($batch.arg(&$arg);)+
    }};
}
pub(crate) use put;
