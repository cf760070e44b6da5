//! One element of a collection whose elements are written out.
//!
//! | record | written |
//! | --- | --- |
//! | `Item`, `Member` | a string |
//! | `Field` | two strings |
//! | `ScoredAsText` | a string; a byte: 253 is NaN, 254 and 255 the infinities, else the length of the text that follows |
//! | `Scored` | a string, a double little endian |
//! | `Expiring` | time of expiry or 0, as a length; two strings |
//! | `ExpiringSince` | 0, or the time of expiry counted from the hash's earliest, plus 1, as a length; two strings |
//! | `ExpiringOfValkey` | two strings; the time of expiry or -1, 8 bytes little endian |
//!
//! Source: `rdb.c` of Redis (`rdbSaveObject`) and Valkey.

use bytes::Bytes;

use super::element::Element;
use super::packed::parse_score;
use crate::core::rdb::Cause;
use crate::core::rdb::reader::{Reader, Stop};
use crate::core::rdb::string;

/// See the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    Item,
    Member,
    Field,
    ScoredAsText,
    Scored,
    Expiring,
    ExpiringSince,
    ExpiringOfValkey,
}

/// Reads over one.
pub(super) fn skip(record: Record, reader: &mut Reader<'_>) -> Result<(), Stop> {
    if matches!(record, Record::Expiring | Record::ExpiringSince) {
        reader.length()?;
    }
    reader.skip_string()?;
    match record {
        Record::Item | Record::Member => Ok(()),
        Record::Field | Record::Expiring | Record::ExpiringSince => reader.skip_string(),
        Record::ScoredAsText => reader.skip_score(),
        Record::Scored => reader.take(8).map(|_| ()),
        Record::ExpiringOfValkey => {
            reader.skip_string()?;
            reader.take(8).map(|_| ())
        }
    }
}

/// What one holds, given its bytes.
pub(super) fn decode(record: Record, raw: &Bytes, since_ms: i64) -> Result<Element, Stop> {
    let mut reader = Reader::new(raw);
    let reader = &mut reader;
    let time = match record {
        Record::Expiring | Record::ExpiringSince => reader.length()?,
        _ => 0,
    };
    let first = string::read(raw, reader)?;
    Ok(match record {
        Record::Item => Element::Item(first),
        Record::Member => Element::Member(first),
        Record::ScoredAsText => Element::Scored {
            member: first,
            score: score_as_text(reader)?,
        },
        Record::Scored => Element::Scored {
            member: first,
            score: number(f64::from_le_bytes(reader.array()?))?,
        },
        Record::Field | Record::Expiring | Record::ExpiringSince => Element::Field {
            name: first,
            value: string::read(raw, reader)?,
            expire_at_ms: expiry(record, time, since_ms)?,
        },
        Record::ExpiringOfValkey => {
            let value = string::read(raw, reader)?;
            let time = i64::from_le_bytes(reader.array()?);
            Element::Field {
                name: first,
                value,
                expire_at_ms: (time != -1).then_some(time),
            }
        }
    })
}

fn expiry(record: Record, time: u64, since_ms: i64) -> Result<Option<i64>, Stop> {
    if time == 0 {
        return Ok(None);
    }
    let too_far = Stop::Bad(Cause::Contradiction(
        "a field's time of expiry is beyond all time",
    ));
    let time = i64::try_from(time);
    let at = match (record, time) {
        (Record::ExpiringSince, Ok(time)) => since_ms.checked_add(time - 1),
        (_, Ok(time)) => Some(time),
        (_, Err(_)) => None,
    };
    at.map(Some).ok_or(too_far)
}

fn score_as_text(reader: &mut Reader<'_>) -> Result<f64, Stop> {
    match reader.byte()? {
        253 => Err(Stop::Bad(Cause::Score)),
        254 => Ok(f64::INFINITY),
        255 => Ok(f64::NEG_INFINITY),
        len => parse_score(reader.take(u64::from(len))?).ok_or(Stop::Bad(Cause::Score)),
    }
}

fn number(score: f64) -> Result<f64, Stop> {
    match score.is_nan() {
        true => Err(Stop::Bad(Cause::Score)),
        false => Ok(score),
    }
}
