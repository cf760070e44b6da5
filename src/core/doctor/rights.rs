//! What a user may do on a server, without doing it.
//!
//! | how | where | leaves behind |
//! | --- | --- | --- |
//! | asked: `ACL DRYRUN` | Redis 7.0 and later, where the user may ask that | nothing |
//! | tried, on a target | elsewhere: within a transaction that cannot be executed, as its first command does not exist, on a connection that is closed then | an entry in the ACL log for each refusal |
//! | tried, on a source and on sentinels | elsewhere: each by itself, `PSYNC` with an offset that is no number | the same, and a line of the server's log |
//! | no limits | 6.x, where `ACL GETUSER` says that the user has none: as without ACL | nothing |
//! | no ACL | before 6.0: only whether the commands are there, by `COMMAND INFO` | nothing |
//!
//! A transaction is judged command by command when it is queued, permissions included (`processCommand`), and nothing of it runs before `EXEC`, which refuses it
//! (`EXECABORT`). `PSYNC` with such an offset is refused since 7.0; in 6.2 a failover that is asked of it is, with an id that no server has. Before, it would begin a
//! full sync, and is not tried.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::Plan;
use super::ask::{Answer, Asker, text};
use super::facts::{Node, Seen, Version};
use super::needs::{self, Need, When};

/// Whether a command may be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
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

/// What a user may do on a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) may: BTreeMap<&'static str, May>,
}

impl Rights {
    /// Whether this command may be run.
    pub(super) fn may(&self, command: &str) -> May {
        self.may.get(command).copied().unwrap_or(May::Untold)
    }
}

/// One command to find out about.
struct Question {
    command: &'static str,
    words: Vec<String>,
}

impl Question {
    fn new(need: &Need, psync: &str) -> Question {
        let name = match need.command {
            "psync" => psync,
            name => name,
        };
        let words = name.split('|').chain(need.args.iter().copied());
        Question {
            command: need.command,
            words: words.map(str::to_owned).collect(),
        }
    }

    fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }
}

/// Finds out what the users may do, on every server that has answered.
pub(super) async fn learn(plan: &Plan, source: &mut Seen, target: &mut Seen) {
    let called: BTreeSet<&str> = calls(source);
    let replicated = needs::REPLICATED
        .iter()
        .filter(|need| called.contains(need.command));
    let questions = |needs: &[Need], more: Vec<&Need>, cluster: bool| -> Vec<Question> {
        let is_asked = |need: &&Need| need.when != When::Cluster || cluster;
        let all = needs.iter().filter(is_asked).chain(more);
        all.map(|need| Question::new(need, &plan.psync_command)).collect()
    };
    let of_source = questions(needs::SOURCE, Vec::new(), plan.source.shape.is_cluster());
    let of_target = questions(
        needs::TARGET,
        replicated.collect(),
        plan.target.shape.is_cluster(),
    );
    let of_sentinels = questions(needs::SENTINELS, Vec::new(), false);
    let sentinels = source.sentinels.iter_mut().chain(&mut target.sentinels);
    tokio::join!(
        learn_each(source.nodes.iter_mut(), &of_source, false),
        learn_each(target.nodes.iter_mut(), &of_target, true),
        learn_each(sentinels, &of_sentinels, false)
    );
}

/// What the source's clients have called.
fn calls(source: &Seen) -> BTreeSet<&str> {
    let infos = source.nodes.iter().filter_map(|node| node.info.as_ref());
    infos.flat_map(|info| info.calls().into_keys()).collect()
}

async fn learn_each(nodes: impl Iterator<Item = &mut Node>, questions: &[Question], in_transaction: bool) {
    let heard = nodes.filter(|node| node.trouble.is_none());
    join_all(heard.map(|node| async move {
        node.rights = rights(node, questions, in_transaction).await;
    }))
    .await;
}

async fn rights(node: &Node, questions: &[Question], in_transaction: bool) -> Option<Rights> {
    let (asker, _) = Asker::open(&node.endpoint).await.ok()?;
    let version = node.version();
    if version.is_some_and(|version| !version.since((6, 0), (0, 0))) {
        return there(&asker, questions).await;
    }
    if let Some(rights) = asked(&asker, node.user(), questions).await {
        return Some(rights);
    }
    if version.is_some_and(|version| !version.knows_since((7, 0))) && may_do_all(&asker, node.user()).await {
        return there(&asker, questions).await;
    }
    match in_transaction {
        true => Some(tried_in_transaction(&asker, questions).await),
        false => Some(tried(&asker, questions, version).await),
    }
}

/// By `COMMAND INFO`: nothing for a command that is not there.
async fn there(asker: &Asker, questions: &[Question]) -> Option<Rights> {
    let names = questions.iter().map(|question| question.words[0].as_str());
    let words: Vec<&str> = ["COMMAND", "INFO"].into_iter().chain(names).collect();
    let Answer::Said(redis::Value::Array(known)) = asker.ask(&words).await else {
        return None;
    };
    let may = questions.iter().zip(&known).map(|(question, known)| {
        let may = match known {
            redis::Value::Nil => May::NoSuch,
            _ => May::Yes,
        };
        (question.command, may)
    });
    Some(Rights { may: may.collect() })
}

/// In 6.x: whether the user has no limits at all, and may say so.
async fn may_do_all(asker: &Asker, user: &str) -> bool {
    let Answer::Said(redis::Value::Array(facts)) = asker.ask(&["ACL", "GETUSER", user]).await else {
        return false;
    };
    let Some(redis::Value::Array(flags)) = facts.get(1) else {
        return false;
    };
    let flags: Vec<String> = flags.iter().filter_map(text).collect();
    ["allcommands", "allkeys"]
        .iter()
        .all(|flag| flags.iter().any(|one| one == flag))
}

/// By `ACL DRYRUN`; nothing where that may not be asked.
async fn asked(asker: &Asker, user: &str, questions: &[Question]) -> Option<Rights> {
    let ask = async |question: &Question| {
        let words: Vec<&str> = ["ACL", "DRYRUN", user]
            .into_iter()
            .chain(question.words())
            .collect();
        asker.ask(&words).await
    };
    // One beforehand: what is refused may be refused loudly.
    let first = ask(questions.first()?).await;
    if judged_dry(&first) == May::Untold {
        return None;
    }
    let answers = join_all(questions.iter().map(ask)).await;
    let may = questions.iter().zip(&answers);
    Some(Rights {
        may: may
            .map(|(question, answer)| (question.command, judged_dry(answer)))
            .collect(),
    })
}

fn judged_dry(answer: &Answer) -> May {
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

/// Each by itself: none of them changes anything.
async fn tried(asker: &Asker, questions: &[Question], version: Option<Version>) -> Rights {
    let mut rights = Rights::default();
    for question in questions {
        let answer = match question.command {
            "psync" => psync(asker, &question.words[0], version).await,
            _ => Some(asker.ask(&question.words()).await),
        };
        match answer {
            // Each of the others would be waited for, too.
            Some(Answer::Lost(_)) => break,
            Some(answer) => rights.may.insert(question.command, judged(&answer)),
            None => rights.may.insert(question.command, May::Untold),
        };
    }
    rights
}

/// In a form that is refused by all who may run it; nothing where there is none.
async fn psync(asker: &Asker, name: &str, version: Option<Version>) -> Option<Answer> {
    let is = |since| version.is_some_and(|version| version.knows_since(since));
    // Under another name the server takes it for SYNC, whatever the arguments.
    if !name.eq_ignore_ascii_case("PSYNC") {
        return None;
    }
    let words: &[&str] = match (is((7, 0)), is((6, 2))) {
        (true, _) => &[name, "?", "none"],
        (false, true) => &[name, needs::KEY, "1", "FAILOVER"],
        (false, false) => return None,
    };
    Some(asker.ask(words).await)
}

async fn tried_in_transaction(asker: &Asker, questions: &[Question]) -> Rights {
    let mut rights = Rights::default();
    let multi = asker.ask(&["MULTI"]).await;
    rights.may.insert("multi", judged(&multi));
    // Whoever does not know transactions, or does not abort this one, is told nothing more.
    let is_open = multi.text().as_deref() == Some("OK");
    if !is_open || judged(&asker.ask(&["GUNYU-DOCTOR"]).await) != May::NoSuch {
        return rights;
    }
    let is_tried = |question: &&Question| {
        let hot = needs::TOO_HOT.contains(&question.command);
        !hot && !["multi", "exec"].contains(&question.command)
    };
    for question in questions.iter().filter(is_tried) {
        let answer = asker.ask(&question.words()).await;
        if matches!(answer, Answer::Lost(_)) {
            // Each of the others would be waited for, too.
            return rights;
        }
        rights.may.insert(question.command, judged(&answer));
    }
    let exec = judged(&asker.ask(&["EXEC"]).await);
    rights.may.insert("exec", exec);
    rights
}

/// Whatever else is wrong with a command is found out after the permission. `EXEC` wraps the refusal: `EXECABORT Transaction discarded because of: …`.
fn judged(answer: &Answer) -> May {
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
    use redis::Value;

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

    #[test]
    fn a_renamed_psync_is_asked_about_under_its_name() {
        let need = needs::SOURCE.iter().find(|need| need.command == "psync").unwrap();
        assert_eq!(Question::new(need, "SECRET").words(), ["SECRET", "?", "-1"]);
        let list = needs::TARGET
            .iter()
            .find(|need| need.command == "client|list")
            .unwrap();
        assert_eq!(Question::new(list, "").words(), ["client", "list"]);
    }
}
