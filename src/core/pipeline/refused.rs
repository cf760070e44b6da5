//! What becomes of a command that the target refuses: the dead letter, and whether the pipeline may go on.

use super::dead_letter::{DeadLetters, Letter};
use super::{End, OnError};
use crate::core::progress::{Counters, Progress};
use crate::core::target::batch::Batch;
use crate::core::target::{self, Failed};

/// Writes dead letters, and says whether the pipeline may go on.
pub(super) fn refuse(
    progress: &Progress,
    on_error: OnError,
    file: &mut DeadLetters,
    letters: &[Letter],
) -> Result<(), End> {
    let counters = &progress.counters;
    let letters = file.write(letters).map_err(|error| End::Letters {
        message: format!("cannot write dead letters to {}: {error}", file.path().display()),
        hint:
            "free space or mend the folder: it goes on by itself then; a restart before that loses the letter"
                .to_owned(),
    })?;
    Counters::add(&counters.commands_refused, letters.len() as u64);
    Counters::add(&counters.dead_letters, letters.len() as u64);
    let reason = letters
        .last()
        .map(|letter| letter.reason.clone())
        .unwrap_or_default();
    tracing::warn!(
        count = letters.len(),
        reason,
        "commands could not be applied; they are in the dead-letter file"
    );
    let path = file.path().display();
    // What to do about this very reply, where that is known.
    let mend = target::refusal::Kind::of(&reason).hint(&reason);
    let mend = mend.unwrap_or_else(|| "mend the cause".to_owned());
    match on_error {
        OnError::Stop => Err(End::Stuck {
            message: format!("the target refused a command: {reason}"),
            hint: format!(
                "see {path}; {mend}, and restart; or set output.replay.onError: dead_letter to go on without such commands"
            ),
        }),
        OnError::DeadLetter { budget } if Counters::read(&counters.dead_letters) > budget => {
            Err(End::Stuck {
                message: format!("more than {budget} commands could not be applied, the last one: {reason}"),
                hint: format!("see {path}; mend the cause and restart, or raise output.replay.errorBudget"),
            })
        }
        OnError::DeadLetter { .. } => {
            progress.report(
                format!("the target refused a command: {reason}"),
                Some(format!("see {path}; {mend}")),
            );
            Ok(())
        }
    }
}

pub(super) fn no_database(db: u32, databases: u32) -> End {
    let hint = match databases {
        // All that a cluster has.
        1 => {
            "of a cluster: set output.replay.dbOnCluster to drop or to merge; otherwise raise `databases` in the target's configuration, or map \
              databases with output.replay.targetDbMap"
        }
        _ => {
            "raise `databases` in the target's configuration, or map databases with output.replay.targetDbMap"
        }
    };
    End::Stuck {
        message: format!("the source uses database {db}, the target has only {databases}"),
        hint: hint.to_owned(),
    }
}

/// An argument that the target would close the connection for.
pub(super) fn too_long(key: &[u8], bytes: usize, limit: usize) -> End {
    let key = String::from_utf8_lossy(key);
    End::Stuck {
        message: format!("key {key}: a value of {bytes} bytes is more than the target takes ({limit}, its proto-max-bulk-len)"),
        hint: "raise it with CONFIG SET proto-max-bulk-len on the target, and restart; or leave the key out with \
               output.filter.keyFilter.prefixKeyBlacklist"
            .to_owned(),
    }
}

pub(super) fn letter(batch: &mut Batch, failed: &Failed) -> Letter {
    let (command, db) = failed
        .index
        .and_then(|index| batch.command(index))
        .unwrap_or_default();
    Letter {
        offset: batch.end(),
        db,
        reason: failed.reply.clone(),
        command,
    }
}
