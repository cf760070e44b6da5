//! Checkpoints: each line of the input is a field, a space, and its value.

use gunyu::core::command::SLOTS;
use gunyu::core::target::checkpoint::{Record, epoch_of_session};

/// What was read can be written, and is read then as it was written.
pub fn check(input: &[u8]) {
    let pairs = input.split(|byte| *byte == b'\n').map(|line| {
        let at = line.iter().position(|byte| *byte == b' ');
        at.map_or((line, &[][..]), |at| (&line[..at], &line[at + 1..]))
    });
    for (_, value) in pairs.clone() {
        assert!(i64::try_from(epoch_of_session(value).get()).is_ok());
    }
    let Ok(record) = Record::parse(pairs) else {
        return;
    };
    assert!(record.marks.iter().all(|slot| *slot < SLOTS));
    // What stands there without meaning anything is not written again.
    let once = again(&record);
    assert_eq!(again(&once), once);
    assert_eq!(once.checkpoint, record.checkpoint);
    assert_eq!(
        (once.full_sync, once.cursor, &once.marks),
        (record.full_sync, record.cursor, &record.marks)
    );
}

fn again(record: &Record) -> Record {
    let written = record.command(b"HSET", b"key", 1);
    let fields = written[2..].chunks_exact(2);
    Record::parse(fields.map(|pair| (&pair[0][..], &pair[1][..]))).expect("what we write is what we read")
}
