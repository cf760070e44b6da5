//! Writing commands: the way a client, and a master, writes them.

use bytes::{BufMut, BytesMut};

/// Writes `*count\r\n`: that many arguments follow.
pub fn write_array_header(out: &mut BytesMut, count: usize) {
    header(out, b'*', count as u64);
}

/// Writes one argument.
pub fn write_bulk(out: &mut BytesMut, bytes: &[u8]) {
    header(out, b'$', bytes.len() as u64);
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

/// Writes a number as an argument.
pub fn write_number(out: &mut BytesMut, number: u64) {
    write_bulk(out, itoa::Buffer::new().format(number).as_bytes());
}

/// Writes a whole command.
pub fn encode_command(out: &mut BytesMut, args: &[&[u8]]) {
    let bytes: usize = args.iter().map(|arg| arg.len() + 16).sum();
    out.reserve(bytes + 16);
    write_array_header(out, args.len());
    for arg in args {
        write_bulk(out, arg);
    }
}

fn header(out: &mut BytesMut, kind: u8, number: u64) {
    out.put_u8(kind);
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        let mut out = BytesMut::new();
        encode_command(&mut out, &[b"SET", b"", b"\r\n"]);
        assert_eq!(&out[..], b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n");
        out.clear();
        write_number(&mut out, 100);
        assert_eq!(&out[..], b"$3\r\n100\r\n");
    }
}
