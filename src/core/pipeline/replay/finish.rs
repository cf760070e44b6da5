//! How a value that was written in pieces takes its key's name.
//!
//! Everything sent has been answered by then. The target is asked how many elements there are: one that evicts keys may have let the staged
//! name go in the middle, and what came after it would have made a part of the value look whole. Then the value gets its expiry and the name.

use bytes::{Bytes, BytesMut};

use super::pieces::Written;
use super::{Placed, Replayer, asked};
use crate::core::pipeline::End;
use crate::core::pipeline::parked::must_not_be_refused;
use crate::core::position::Offset;
use crate::core::resp::{self, Framer, Limits, Value};
use crate::core::target::lane::Lane;
use crate::core::target::restore::Refused;

impl Replayer {
    pub(super) async fn take_name(&mut self, control: &mut Lane, mut written: Written) -> Result<(), End> {
        let to = written.to;
        self.tell_lost(to, written.rewriter.take_lost());
        let is_refused = self
            .restorer
            .refused()
            .iter()
            .any(|one| is_of(one, &written.staged));
        if is_refused {
            return drop_staged(control, to.db, &written.staged).await;
        }
        if written.rewriter.taken() == 0 && !matches!(written.object, "string" | "stream") {
            // A collection without elements is no key.
            let gone = vec![vec![b"DEL".to_vec(), written.head.key.to_vec()]];
            return asked(control, to.db, gone).await.map(|_| ());
        }
        self.look_at_groups(control, &written).await?;
        if let Some(there) = count(control, &written).await?
            && written
                .rewriter
                .expected()
                .is_some_and(|expected| expected != there)
        {
            drop_staged(control, to.db, &written.staged).await?;
            return Err(not_whole(&written, there));
        }
        self.rename(control, &written).await?;
        self.restorer.confirm_key();
        Ok(())
    }

    async fn rename(&mut self, control: &mut Lane, written: &Written) -> Result<(), End> {
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
        let now = i64::try_from(crate::core::target::session::now_ms()).unwrap_or(i64::MAX);
        if answers.iter().any(missing) && to.expire_at_ms.is_some_and(|at| at <= now) {
            // It has expired on its way.
            return Ok(());
        }
        must_not_be_refused(&answers)
    }

    /// Tells of pending entries that the target did not take, because their entries are gone.
    async fn look_at_groups(&mut self, control: &mut Lane, written: &Written) -> Result<(), End> {
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
        let Placed { db, at, .. } = written.to;
        self.told.push(Refused {
            command: command.freeze(),
            db,
            reply: reason,
            at,
        });
    }
}

/// Whether a refused command was to write under this name.
fn is_of(refused: &Refused, staged: &Bytes) -> bool {
    let mut framer = Framer::new(Limits::default());
    if framer.push(Offset::ZERO, refused.command.clone()).is_err() {
        return false;
    }
    matches!(framer.next(), Ok(Some(frame)) if frame.args().any(|arg| arg == &staged[..]))
}

async fn drop_staged(control: &mut Lane, db: u32, staged: &Bytes) -> Result<(), End> {
    let gone = vec![vec![b"DEL".to_vec(), staged.to_vec()]];
    asked(control, db, gone).await.map(|_| ())
}

/// How many elements stand under the staged name.
async fn count(control: &mut Lane, written: &Written) -> Result<Option<u64>, End> {
    let verb: &[u8] = match written.object {
        "string" => b"STRLEN",
        "list" => b"LLEN",
        "set" => b"SCARD",
        "zset" => b"ZCARD",
        "hash" => b"HLEN",
        _ => b"XLEN",
    };
    let ask = vec![vec![verb.to_vec(), written.staged.to_vec()]];
    let answers = asked(control, written.to.db, ask).await?;
    Ok(match answers.first() {
        Some(Value::Int(there)) => u64::try_from(*there).ok(),
        _ => None,
    })
}

fn not_whole(written: &Written, there: u64) -> End {
    let expected = written.rewriter.taken();
    End::Stuck {
        message: format!(
            "key {} ({}) came to {there} instead of {expected} elements while it was written",
            String::from_utf8_lossy(&written.head.key),
            written.object
        ),
        hint: "the target evicts keys (see its maxmemory and maxmemory-policy), or somebody else writes to keys named redis-gunyu-staged:…; \
               mend that and restart"
            .to_owned(),
    }
}
