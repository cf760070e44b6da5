//! `RESTORE` and `SET` in the target's dialect.

use bytes::BytesMut;

use crate::core::resp;
use crate::core::target::session::now_ms;

/// What the target's `RESTORE` understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// `ABSTTL`, `IDLETIME` and `FREQ`: from 5.0 on.
    pub absolute_ttl: bool,
    /// `PXAT` of `SET`: from 6.2 on.
    pub set_absolute_ttl: bool,
    /// Whether keys that are there are replaced.
    pub replace: bool,
}

/// One key to restore.
#[derive(Debug)]
pub struct Key<'a> {
    /// The target's database.
    pub db: u32,
    /// Its name.
    pub name: &'a [u8],
    /// When it expires, Unix time in milliseconds.
    pub expire_at_ms: Option<i64>,
    /// Seconds since it was last used.
    pub idle_secs: Option<u64>,
    /// Its LFU counter.
    pub freq: Option<u8>,
    /// How long the payload will be.
    pub payload_len: usize,
    /// It is replaced whatever the dialect says.
    pub replace: bool,
}

/// Appends `RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME s] [FREQ n]`; `payload` writes what `DUMP` would give.
pub fn encode_restore(
    out: &mut BytesMut,
    key: &Key<'_>,
    dialect: Dialect,
    payload: impl FnOnce(&mut BytesMut),
) {
    let idle = key.idle_secs.filter(|_| dialect.absolute_ttl);
    let freq = key.freq.filter(|_| dialect.absolute_ttl);
    let absolute = dialect.absolute_ttl && key.expire_at_ms.is_some();
    let replace = dialect.replace || key.replace;
    let words = 4
        + usize::from(replace)
        + usize::from(absolute)
        + 2 * usize::from(idle.is_some())
        + 2 * usize::from(freq.is_some());
    out.reserve(key.name.len() + key.payload_len + 96);
    resp::write_array_header(out, words);
    resp::write_bulk(out, b"RESTORE");
    resp::write_bulk(out, key.name);
    resp::write_number(out, ttl_argument(key.expire_at_ms, dialect));
    out.extend_from_slice(b"$");
    out.extend_from_slice(itoa::Buffer::new().format(key.payload_len).as_bytes());
    out.extend_from_slice(b"\r\n");
    payload(out);
    out.extend_from_slice(b"\r\n");
    if replace {
        resp::write_bulk(out, b"REPLACE");
    }
    if absolute {
        resp::write_bulk(out, b"ABSTTL");
    }
    if let Some(seconds) = idle {
        resp::write_bulk(out, b"IDLETIME");
        resp::write_number(out, seconds);
    }
    if let Some(freq) = freq {
        resp::write_bulk(out, b"FREQ");
        resp::write_number(out, u64::from(freq));
    }
}

/// `SET key text [PXAT at]`
pub(super) fn encode_set(out: &mut BytesMut, key: &Key<'_>, text: &[u8]) {
    out.reserve(key.name.len() + text.len() + 96);
    resp::write_array_header(out, if key.expire_at_ms.is_some() { 5 } else { 3 });
    resp::write_bulk(out, b"SET");
    resp::write_bulk(out, key.name);
    resp::write_bulk(out, text);
    if let Some(at) = key.expire_at_ms {
        resp::write_bulk(out, b"PXAT");
        // A time before 1970 has passed, too.
        resp::write_number(out, u64::try_from(at).unwrap_or(0).max(1));
    }
}

/// Absolute where the target takes that, else what is left now; never 0, which means no expiry.
fn ttl_argument(expire_at_ms: Option<i64>, dialect: Dialect) -> u64 {
    let Some(at) = expire_at_ms else { return 0 };
    let at = u64::try_from(at).unwrap_or(0).max(1);
    if dialect.absolute_ttl {
        at
    } else {
        at.saturating_sub(now_ms()).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(key: &Key<'_>, dialect: Dialect) -> String {
        let mut out = BytesMut::new();
        encode_restore(&mut out, key, dialect, |out| out.extend_from_slice(b"PAYLOAD"));
        String::from_utf8(out.to_vec()).unwrap().replace("\r\n", " ")
    }

    const KEY: Key<'static> = Key {
        db: 0,
        name: b"k",
        expire_at_ms: Some(9_000_000_000_000),
        idle_secs: Some(7),
        freq: None,
        payload_len: 7,
        replace: false,
    };

    #[test]
    fn a_modern_target_gets_absolute_ttl_and_idle_time() {
        let dialect = Dialect {
            absolute_ttl: true,
            set_absolute_ttl: true,
            replace: true,
        };
        assert_eq!(
            encoded(&KEY, dialect),
            "*8 $7 RESTORE $1 k $13 9000000000000 $7 PAYLOAD $7 REPLACE $6 ABSTTL $8 IDLETIME $1 7 "
        );
    }

    #[test]
    fn a_string_is_set_with_its_expiry() {
        let mut out = BytesMut::new();
        encode_set(&mut out, &KEY, b"text");
        encode_set(
            &mut out,
            &Key {
                expire_at_ms: None,
                ..KEY
            },
            b"",
        );
        let said = String::from_utf8(out.to_vec()).unwrap().replace("\r\n", " ");
        assert_eq!(
            said,
            "*5 $3 SET $1 k $4 text $4 PXAT $13 9000000000000 *3 $3 SET $1 k $0  "
        );
    }

    #[test]
    fn an_old_target_gets_what_is_left_of_the_ttl_and_at_least_a_millisecond() {
        let dialect = Dialect {
            absolute_ttl: false,
            set_absolute_ttl: false,
            replace: false,
        };
        let expired = Key {
            expire_at_ms: Some(5),
            ..KEY
        };
        assert_eq!(encoded(&expired, dialect), "*4 $7 RESTORE $1 k $1 1 $7 PAYLOAD ");
        let none = Key {
            expire_at_ms: None,
            ..KEY
        };
        assert_eq!(encoded(&none, dialect), "*4 $7 RESTORE $1 k $1 0 $7 PAYLOAD ");
    }
}
