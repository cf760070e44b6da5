//! How a value that was written in pieces takes its key's name.
//!
//! Everything sent has been answered by then. The target is asked whether all of it is there; then the value gets its expiry and the name.
//!
//! | the value | the key |
//! | --- | --- |
//! | was refused in part | stays as it was; the refusal is told |
//! | has fewer elements than were sent, or more | stays as it was; an error, a person must see to the target |
//! | is empty, all its fields having expired | goes |
//! | has expired | goes |
//! | is whole | has it |
//!
//! Where `keyExists` says that a key which is there stays, it stays in any case.

use bytes::{Bytes, BytesMut};

use super::pieces::{Mark, Written};
use super::{Replayer, asked};
use crate::core::crash::{self, Step};
use crate::core::pipeline::End;
use crate::core::pipeline::parked::must_not_be_refused;
use crate::core::resp::{self, Value};
use crate::core::target::door::Door;
use crate::core::target::session::now_ms;

/// The clocks of the target and of us may differ by so much.
const CLOCKS_DIFFER_MS: i64 = 60_000;

impl Replayer {
    pub(super) async fn take_name(&mut self, control: &mut Door, mut written: Written) -> Result<(), End> {
        let to = written.to;
        self.tell_lost(to, written.rewriter.take_lost());
        if self.tell_refused_value(&written.head, to, &written.staged) {
            return self.drop_staged(control, &written).await;
        }
        if written.rewriter.taken() == 0 && !matches!(written.object, "string" | "stream") {
            // A collection without elements is no key.
            return self.let_go(control, &written).await;
        }
        self.look_at_groups(control, &written).await?;
        let came_to = match look(control, &written).await? {
            Found::Whole => None,
            Found::Nothing => return self.let_go(control, &written).await,
            Found::Wrong(there) => Some(there.to_string()),
            Found::Remains => Some("the last of them".to_owned()),
        };
        if let Some(came_to) = came_to {
            self.drop_staged(control, &written).await?;
            return Err(not_whole(&written, &came_to));
        }
        crash::pass(Step::ValueStaged);
        self.rename(control, &written).await?;
        crash::pass(Step::ValueNamed);
        self.restorer.confirm_key();
        Ok(())
    }

    async fn rename(&mut self, control: &mut Door, written: &Written) -> Result<(), End> {
        let (to, keeps) = (written.to, self.keeps(written.to.db));
        let word = |word: &[u8]| word.to_vec();
        let (staged, key) = (word(&written.staged), word(&written.head.key));
        let mut asks = Vec::new();
        if let Some(at) = to.expire_at_ms {
            let at = at.max(1).to_string().into_bytes();
            asks.push(vec![word(b"PEXPIREAT"), staged.clone(), at]);
        }
        let verb = if keeps { word(b"RENAMENX") } else { word(b"RENAME") };
        asks.push(vec![verb, staged.clone(), key]);
        if keeps {
            asks.push(vec![word(b"DEL"), staged]);
        }
        let answers = asked(control, to.db, asks).await?;
        let missing = |answer: &Value| {
            answer
                .error()
                .is_some_and(|text| text.starts_with(b"ERR no such key"))
        };
        let now = i64::try_from(now_ms()).unwrap_or(i64::MAX);
        let has_expired = |at: i64| at <= now.saturating_add(CLOCKS_DIFFER_MS);
        if answers.iter().any(missing) && to.expire_at_ms.is_some_and(has_expired) {
            return self.let_go(control, written).await;
        }
        must_not_be_refused(&answers)?;
        let (Some(at), [Value::Int(0), Value::Simple(_) | Value::Int(1), ..]) =
            (to.expire_at_ms, &answers[..])
        else {
            return Ok(());
        };
        // A cluster's node took the second only, and the first came again when the name had gone.
        let at = at.max(1).to_string().into_bytes();
        let expiry = vec![b"PEXPIREAT".to_vec(), written.head.key.to_vec(), at];
        must_not_be_refused(&asked(control, to.db, vec![expiry]).await?)
    }

    async fn drop_staged(&mut self, control: &mut Door, written: &Written) -> Result<(), End> {
        let gone = vec![self.facts.removal_verb().to_vec(), written.staged.to_vec()];
        asked(control, written.to.db, vec![gone]).await.map(|_| ())
    }

    /// The value is none: the key goes, unless it is to stay.
    async fn let_go(&mut self, control: &mut Door, written: &Written) -> Result<(), End> {
        let mut gone = vec![self.facts.removal_verb().to_vec(), written.staged.to_vec()];
        if !self.keeps(written.to.db) {
            gone.push(written.head.key.to_vec());
        }
        let answers = asked(control, written.to.db, vec![gone]).await?;
        must_not_be_refused(&answers)
    }

    /// Tells of pending entries that the target did not take, because their entries are gone.
    async fn look_at_groups(&mut self, control: &mut Door, written: &Written) -> Result<(), End> {
        let groups = written.rewriter.groups().to_vec();
        for (group, expected) in groups {
            let ask = vec![b"XPENDING".to_vec(), written.staged.to_vec(), group.to_vec()];
            let answers = asked(control, written.to.db, vec![ask]).await?;
            let first = answers
                .first()
                .and_then(Value::array)
                .and_then(|parts| parts.first());
            let Some(Value::Int(there)) = first else { continue };
            let missing = expected.saturating_sub(u64::try_from(*there).unwrap_or(0));
            if missing > 0 {
                self.tell_missing(written, &group, missing);
            }
        }
        Ok(())
    }

    fn tell_missing(&mut self, written: &Written, group: &Bytes, missing: u64) {
        let key = &written.head.key;
        let reason = format!(
            "key {}: {missing} pending entries of group {} are of entries that are gone, and a stream this large is written without those; \
             raise output.replay.bigValueBytes above its size in the RDB to write it whole",
            String::from_utf8_lossy(key),
            String::from_utf8_lossy(group),
        );
        let mut command = BytesMut::new();
        resp::encode_command(&mut command, &[b"XPENDING", key, group]);
        self.tell(written.to, command.freeze(), reason);
    }
}

/// How much of a value stands under its staged name.
enum Found {
    /// All of it; of a hash whose fields expire, what has not expired.
    Whole,
    /// Nothing of a hash: all its fields have expired.
    Nothing,
    /// So many elements, which are not as many as were sent.
    Wrong(u64),
    /// What came after the name had gone.
    Remains,
}

async fn look(control: &mut Door, written: &Written) -> Result<Found, End> {
    let verb: &[u8] = match written.object {
        "string" => b"STRLEN",
        "list" => b"LLEN",
        "set" => b"SCARD",
        "zset" => b"ZCARD",
        "hash" => b"HLEN",
        _ => b"XLEN",
    };
    let staged = written.staged.to_vec();
    let mark = mark(written);
    let asks = mark.iter().map(|(ask, _)| ask.clone());
    let asks = asks.chain([vec![verb.to_vec(), staged]]).collect();
    let answers = asked(control, written.to.db, asks).await?;
    must_not_be_refused(&answers)?;
    let there = answers.last().and_then(number).unwrap_or(0);
    let taken = written.rewriter.taken();
    if mark.is_some_and(|(_, expected)| answers.first() != Some(&expected)) {
        return Ok(Found::Remains);
    }
    Ok(match written.mark {
        Mark::Field if there == 0 => Found::Nothing,
        Mark::Field if there <= taken => Found::Whole,
        Mark::Number | Mark::Item | Mark::Byte(_) if there == taken => Found::Whole,
        _ => Found::Wrong(there),
    })
}

/// What is asked to know that the staged name was there all the time, and the answer that says so; what is ours goes with that.
fn mark(written: &Written) -> Option<(Vec<Vec<u8>>, Value)> {
    let staged = written.staged.to_vec();
    Some(match written.mark {
        Mark::Number | Mark::Byte(None) => return None,
        Mark::Field => (vec![b"HDEL".to_vec(), staged.clone(), staged], Value::Int(1)),
        Mark::Item => (vec![b"LPOP".to_vec(), staged.clone()], Value::Bulk(staged)),
        Mark::Byte(Some((at, byte))) => {
            let place = at.to_string().into_bytes();
            let ask = vec![b"GETRANGE".to_vec(), staged, place.clone(), place];
            (ask, Value::Bulk(vec![byte]))
        }
    })
}

fn number(answer: &Value) -> Option<u64> {
    match answer {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

fn not_whole(written: &Written, came_to: &str) -> End {
    let expected = written.rewriter.taken();
    End::Stuck {
        message: format!(
            "key {} ({}) came to {came_to} instead of {expected} elements while it was written",
            String::from_utf8_lossy(&written.head.key),
            written.object
        ),
        hint: "the target evicts keys (see its maxmemory and maxmemory-policy), or somebody else writes to keys named redis-gunyu-staged:…; \
               mend that and restart"
            .to_owned(),
    }
}
