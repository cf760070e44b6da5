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

use super::answer::{Answer, May, has_no_limits, judged, judged_dry, known};
use super::ask::Asker;
use super::facts::{Node, Seen};
use super::info::Version;
use super::needs::{self, Need};
use super::{Plan, Shape};

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

    /// What is asked about twice, on two keys, is lacking where it is on either.
    fn add(&mut self, command: &'static str, may: May) {
        let known = self.may.entry(command).or_insert(may);
        if *known == May::Yes && matches!(may, May::No | May::NotThere) {
            *known = may;
        }
    }
}

impl FromIterator<(&'static str, May)> for Rights {
    fn from_iter<T: IntoIterator<Item = (&'static str, May)>>(all: T) -> Rights {
        let mut rights = Rights::default();
        for (command, may) in all {
            rights.add(command, may);
        }
        rights
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

    /// The same on another key; nothing where it is about none.
    fn on(&self, key: &str) -> Option<Question> {
        let words = self.words.iter().map(|word| match word.as_str() {
            needs::KEY => key.to_owned(),
            word => word.to_owned(),
        });
        self.words
            .iter()
            .any(|word| word == needs::KEY)
            .then(|| Question {
                command: self.command,
                words: words.collect(),
            })
    }

    fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }
}

/// What is to be found out on the servers of a side: what the rules judge, and nothing else.
struct Asked<'a> {
    needs: &'static [Need],
    /// Whatever the server's version is: that it does not know one is worth telling.
    replicated: Vec<&'static Need>,
    shape: &'a Shape,
    psync: &'a str,
    /// The user may be let to our own keys alone.
    probe: Option<&'a str>,
    in_transaction: bool,
}

impl Asked<'_> {
    fn of(&self, version: Option<Version>) -> Vec<Question> {
        let needs = self.needs.iter();
        let needs = needs.filter(|need| need.applies(self.shape) && need.is_known(version));
        let all = needs.chain(self.replicated.iter().copied());
        let mut all: Vec<Question> = all.map(|need| Question::new(need, self.psync)).collect();
        if let Some(key) = self.probe {
            let again: Vec<Question> = all.iter().filter_map(|question| question.on(key)).collect();
            all.extend(again);
        }
        all
    }
}

/// Finds out what the users may do, on every server that has answered.
pub(super) async fn learn(plan: &Plan, source: &mut Seen, target: &mut Seen) {
    let called = calls(source);
    let is_wanted =
        |need: &&Need| called.contains(need.command) && !plan.filter.denies(need.command.as_bytes());
    let asked = |needs, shape| Asked {
        needs,
        replicated: Vec::new(),
        shape,
        psync: &plan.psync_command,
        probe: None,
        in_transaction: false,
    };
    let of_source = asked(needs::SOURCE, &plan.source.shape);
    let of_target = Asked {
        replicated: needs::REPLICATED.iter().filter(is_wanted).collect(),
        probe: plan.probe.as_deref(),
        in_transaction: true,
        ..asked(needs::TARGET, &plan.target.shape)
    };
    // What is asked of sentinels is the same on either side.
    let of_sentinels = asked(needs::SENTINELS, &plan.source.shape);
    let sentinels = source.sentinels.iter_mut().chain(&mut target.sentinels);
    tokio::join!(
        learn_each(source.nodes.iter_mut(), &of_source),
        learn_each(target.nodes.iter_mut(), &of_target),
        learn_each(sentinels, &of_sentinels)
    );
}

/// What the source's clients have called, and what that becomes.
fn calls(source: &Seen) -> BTreeSet<String> {
    let infos = source.nodes.iter().filter_map(|node| node.info.as_ref());
    let called: BTreeSet<&str> = infos.flat_map(|info| info.calls().into_keys()).collect();
    let becomes = needs::REPLICATED_AS
        .iter()
        .filter(|(name, _)| called.contains(name))
        .map(|(_, other)| *other);
    let all = called.iter().copied().chain(becomes);
    all.map(str::to_owned).collect()
}

async fn learn_each(nodes: impl Iterator<Item = &mut Node>, asked: &Asked<'_>) {
    let heard = nodes.filter(|node| node.trouble.is_none());
    join_all(heard.map(|node| async move {
        let questions = asked.of(node.version());
        node.rights = rights(node, &questions, asked.in_transaction).await;
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
    let known = known(&asker.ask(&words).await)?;
    let may = questions.iter().map(|question| question.command).zip(known);
    Some(may.collect())
}

/// In 6.x: whether the user has no limits at all, and may say so.
async fn may_do_all(asker: &Asker, user: &str) -> bool {
    has_no_limits(&asker.ask(&["ACL", "GETUSER", user]).await)
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
    Some(
        may.map(|(question, answer)| (question.command, judged_dry(answer)))
            .collect(),
    )
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
            Some(answer) => rights.add(question.command, judged(&answer)),
            None => rights.add(question.command, May::Untold),
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
    rights.add("multi", judged(&multi));
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
        rights.add(question.command, judged(&answer));
    }
    let exec = judged(&asker.ask(&["EXEC"]).await);
    rights.add("exec", exec);
    rights
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who may use our own keys alone cannot write anybody else's.
    #[test]
    fn a_permission_is_lacking_where_it_is_on_either_key() {
        let set = needs::TARGET.iter().find(|need| need.command == "set").unwrap();
        let set = Question::new(set, "");
        assert_eq!(set.on("app:1").unwrap().words(), ["set", "app:1", "v", "XX"]);
        let ping = Question::new(&needs::SOURCE[0], "");
        assert!(ping.on("app:1").is_none());
        let rights: Rights = [
            ("set", May::Yes),
            ("get", May::NotThere),
            ("del", May::Yes),
            ("set", May::NotThere),
            ("get", May::Yes),
            ("del", May::Untold),
        ]
        .into_iter()
        .collect();
        assert_eq!(
            ["set", "get", "del"].map(|command| rights.may(command)),
            [May::NotThere, May::NotThere, May::Yes]
        );
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
