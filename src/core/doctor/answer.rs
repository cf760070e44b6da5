//! What a server answers to the doctor's questions, and what that says of permissions. Without I/O.

use redis::Value;

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// What was asked for.
    Said(Value),
    /// An error reply, as it was written.
    Refused(String),
    /// Nothing: the connection is of no more use.
    Lost(String),
}

impl Answer {
    /// The text of what was said.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        match self {
            Answer::Said(value) => text(value),
            Answer::Refused(_) | Answer::Lost(_) => None,
        }
    }

    /// Whether the user lacks the permission to ask.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Answer::Refused(reply) if reply.starts_with("NOPERM"))
    }
}

/// The text of a string.
#[must_use]
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) => Some(text.clone()),
        Value::Okay => Some("OK".to_owned()),
        Value::Int(number) => Some(number.to_string()),
        Value::VerbatimString { text, .. } => Some(text.clone()),
        _ => None,
    }
}

/// Whether a command may be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum May {
    /// It may.
    Yes,
    /// The user lacks the permission.
    No,
    /// It may be run, but not on that key or channel.
    NotThere,
    /// The server has no command of that name.
    NoSuch,
    /// It could not be found out.
    Untold,
}

/// Which commands there are, by the answer to `COMMAND INFO`; nothing where it is none.
#[must_use]
pub fn known(answer: &Answer) -> Option<Vec<May>> {
    let Answer::Said(Value::Array(known)) = answer else {
        return None;
    };
    let may = known.iter().map(|known| match known {
        Value::Nil => May::NoSuch,
        _ => May::Yes,
    });
    Some(may.collect())
}

/// Whether a user has no limits at all, by the answer to `ACL GETUSER` of 6.x.
#[must_use]
pub fn has_no_limits(answer: &Answer) -> bool {
    let Answer::Said(Value::Array(facts)) = answer else {
        return false;
    };
    let Some(Value::Array(flags)) = facts.get(1) else {
        return false;
    };
    let flags: Vec<String> = flags.iter().filter_map(text).collect();
    ["allcommands", "allkeys"]
        .iter()
        .all(|flag| flags.iter().any(|one| one == flag))
}

/// By the answer to `ACL DRYRUN`.
#[must_use]
pub fn judged_dry(answer: &Answer) -> May {
    match answer {
        Answer::Said(_) => match answer.text().unwrap_or_default().as_str() {
            "OK" => May::Yes,
            text if text.contains("to run the") => May::No,
            text if text.contains("no permissions") => May::NotThere,
            _ => May::Untold,
        },
        Answer::Refused(reply) if reply.contains("' not found") => May::NoSuch,
        Answer::Refused(_) | Answer::Lost(_) => May::Untold,
    }
}

/// Whatever else is wrong with a command is found out after the permission. `EXEC` wraps the refusal: `EXECABORT Transaction discarded because of: …`.
#[must_use]
pub fn judged(answer: &Answer) -> May {
    let reply = match answer {
        Answer::Said(_) => return May::Yes,
        Answer::Refused(reply) => reply.to_ascii_lowercase(),
        Answer::Lost(_) => return May::Untold,
    };
    let has = |what: &str| reply.contains(what);
    match () {
        () if has("no permissions") && has("to run the") => May::No,
        () if has("no permissions") => May::NotThere,
        () if has("unknown command") || has("unknown subcommand") => May::NoSuch,
        // Refused before the permission was looked at.
        () if has("wrong number of arguments") || reply.starts_with("noauth") => May::Untold,
        () => May::Yes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_every_version_are_understood() {
        let said = |text: &str| Answer::Said(Value::SimpleString(text.to_owned()));
        let refused = |text: &str| Answer::Refused(text.to_owned());
        for (answer, expected) in [
            (said("OK"), May::Yes),
            (
                said("User gunyu has no permissions to run the 'psync' command"),
                May::No,
            ),
            (
                said("This user has no permissions to run the 'psync' command"),
                May::No,
            ),
            (
                said("User gunyu has no permissions to access the 'k' key"),
                May::NotThere,
            ),
            (refused("ERR Command 'unlink' not found"), May::NoSuch),
            (
                refused("NOPERM User gunyu has no permissions to run the 'acl|dryrun' command"),
                May::Untold,
            ),
            (Answer::Lost(String::new()), May::Untold),
        ] {
            assert_eq!(judged_dry(&answer), expected, "{answer:?}");
        }
        for (answer, expected) in [
            (said("QUEUED"), May::Yes),
            (refused("ERR WATCH inside MULTI is not allowed"), May::Yes),
            (refused("MOVED 12 127.0.0.1:7"), May::Yes),
            (
                refused("EXECABORT Transaction discarded because of previous errors."),
                May::Yes,
            ),
            (
                refused("NOPERM User gunyu has no permissions to run the 'set' command"),
                May::No,
            ),
            (
                refused("NOPERM this user has no permissions to run the 'set' command or its subcommand"),
                May::No,
            ),
            (refused("NOPERM No permissions to access a key"), May::NotThere),
            (
                refused(
                    "EXECABORT Transaction discarded because of: User gunyu has no permissions to run the 'exec' command",
                ),
                May::No,
            ),
            (
                refused("NOPERM this user has no permissions to access one of the keys used as arguments"),
                May::NotThere,
            ),
            (
                refused("ERR unknown command 'psync', with args beginning with: "),
                May::NoSuch,
            ),
            (
                refused("ERR Unknown subcommand or wrong number of arguments for 'x'"),
                May::NoSuch,
            ),
            (
                refused("ERR wrong number of arguments for 'get' command"),
                May::Untold,
            ),
        ] {
            assert_eq!(judged(&answer), expected, "{answer:?}");
        }
    }
}
