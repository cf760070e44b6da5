//! What the operator should know of how much is open to others: files that hold secrets or data and that other users of this machine may use, and servers that are not
//! verified.
//!
//! Nothing is narrowed here: who may use a file that the operator has made is the operator's to say.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Auth, Channel, Config, Meta, RedisKind, Secret, Storage, Tls};

impl Config {
    /// What others may use although it should be this user's alone, in sentences to be traced as warnings, once. The token's file of the API is told by
    /// [`Auth::token_file_note`](super::Auth::token_file_note).
    #[must_use]
    pub fn exposed(&self) -> Vec<String> {
        let mut notes: Vec<String> = self.channel.exposed().into_iter().collect();
        for (path, tls) in self.tls_sections() {
            notes.extend(
                tls.key
                    .as_deref()
                    .and_then(|key| note(&format!("{path}.key"), key)),
            );
            if tls.insecure_skip_verify {
                notes.push(format!(
                    "{path}.insecureSkipVerify: whoever is on the way can take the server's place and read the password; set {path}.ca instead"
                ));
            }
        }
        if let Some(tls) = &self.server.tls {
            notes.extend(note("server.tls.key", &tls.key));
        }
        if let Some(Auth::TokenFile(path)) = self.cluster.as_ref().map(|cluster| &cluster.auth) {
            notes.extend(note("cluster.tokenFile", path));
        }
        notes
    }

    fn tls_sections(&self) -> Vec<(&'static str, &Tls)> {
        let cluster = self.cluster.as_ref();
        let meta = cluster.and_then(|cluster| match &cluster.meta {
            Meta::Etcd(etcd) => Some(("cluster.metaEtcd.tls", etcd.tls.as_ref()?)),
            Meta::Redis(redis) => Some(("cluster.metaRedis.tls", redis.tls.as_ref()?)),
            Meta::Source => None,
        });
        let input = self.input.redis.tls.as_ref().map(|tls| ("input.redis.tls", tls));
        let output = self
            .output
            .redis
            .tls
            .as_ref()
            .map(|tls| ("output.redis.tls", tls));
        let peers = cluster.and_then(|cluster| Some(("cluster.tls", cluster.tls.as_ref()?)));
        [input, output, peers, meta].into_iter().flatten().collect()
    }

    /// The configuration's file holds a password or a token, and others may read it.
    #[must_use]
    pub(in crate::cmd) fn file_note(&self, file: &Path, text: &str) -> Option<String> {
        let is_in_it = |secret: &&Secret| !secret.expose().is_empty() && text.contains(secret.expose());
        self.secrets()
            .iter()
            .any(is_in_it)
            .then(|| note("--config", file))
            .flatten()
    }

    fn secrets(&self) -> Vec<&Secret> {
        let mut redis = vec![&self.input.redis, &self.output.redis];
        let mut auths = vec![&self.server.auth];
        let mut secrets = Vec::new();
        if let Some(cluster) = &self.cluster {
            auths.push(&cluster.auth);
            match &cluster.meta {
                Meta::Etcd(etcd) => secrets.extend(&etcd.password),
                Meta::Redis(one) => redis.push(one),
                Meta::Source => {}
            }
        }
        for auth in auths {
            if let Auth::Token(token) = auth {
                secrets.push(token);
            }
        }
        for one in redis {
            secrets.extend(&one.password);
            if let RedisKind::Sentinel { password, .. } = &one.kind {
                secrets.extend(password);
            }
        }
        secrets
    }
}

impl Channel {
    /// The folder is there already, and others may look into it. One that is not there is made for this user alone.
    fn exposed(&self) -> Option<String> {
        let is_used = self.kind == Storage::Storer;
        is_used
            .then(|| note("channel.storer.dirPath", &self.dir))
            .flatten()
    }
}

/// That others may use what `key` names, where they may.
pub(super) fn note(key: &str, path: &Path) -> Option<String> {
    let about = std::fs::metadata(path).ok()?;
    let mode = about.permissions().mode() & 0o7777;
    let wanted = if about.is_dir() { "700" } else { "600" };
    (mode & 0o077 != 0).then(|| {
        let path = path.display();
        format!("{key}: others on this machine may use {path} (mode {mode:03o}); chmod {wanted} it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::config::{File, Sources};

    #[test]
    fn a_folder_that_others_may_look_into_is_told_with_what_to_type() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, is_told) in [(0o700, false), (0o750, true), (0o701, true), (0o755, true)] {
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(mode)).unwrap();
            let note = note("dirPath", folder.path()).unwrap_or_default();
            assert_eq!(note.contains("chmod 700"), is_told, "{mode:o}: {note:?}");
        }
        assert_eq!(note("dirPath", &folder.path().join("none")), None);
    }

    fn config(yaml: &str) -> Config {
        let both = "input: {redis: {addresses: [\"127.0.0.1:1\"], password: of-the-source}}\noutput: {redis: {addresses: [\"127.0.0.1:2\"]}}\n";
        let text = match yaml.contains("output:") {
            true => yaml.to_owned(),
            false => format!("{both}{yaml}"),
        };
        let file = File {
            name: "gunyu.yaml".to_owned(),
            text,
        };
        Config::check(&Sources {
            file: Some(file),
            source: None,
            target: None,
            set: &[],
            environment: &|_| None,
        })
        .unwrap()
    }

    #[test]
    fn keys_and_tokens_that_others_may_read_are_told_and_so_is_a_server_that_is_not_verified() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, mode: u32| {
            let path = folder.path().join(name);
            std::fs::write(&path, "x").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            path.display().to_string()
        };
        let told = |mode: u32, skip: bool| {
            let [of_source, of_server, token] = ["source", "server", "token"].map(|name| file(name, mode));
            config(&format!(
                "input: {{redis: {{addresses: [\"127.0.0.1:1\"], tls: {{enable: true, cert: c, key: {of_source}, insecureSkipVerify: {skip}}}}}}}\n\
                 output: {{redis: {{addresses: [\"127.0.0.1:2\"]}}}}\n\
                 server: {{tls: {{cert: c, key: {of_server}}}}}\n\
                 cluster: {{groupName: g, tokenFile: {token}}}\n\
                 channel: {{storer: {{dirPath: {}}}}}\n",
                folder.path().join("none").display()
            ))
            .exposed()
        };
        assert_eq!(told(0o600, false), Vec::<String>::new());
        let all = told(0o640, true).join("\n");
        for part in [
            "input.redis.tls.key: others",
            "server.tls.key: others",
            "cluster.tokenFile: others",
            "input.redis.tls.insecureSkipVerify: ",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
    }

    #[test]
    fn a_configuration_that_others_may_read_is_told_where_a_password_is_in_it() {
        let config = config("");
        let file = tempfile::NamedTempFile::new().unwrap();
        for (mode, text, is_told) in [
            (0o644, "password: of-the-source", true),
            (0o644, "password: ${SECRET}", false),
            (0o600, "password: of-the-source", false),
        ] {
            std::fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).unwrap();
            let note = config.file_note(file.path(), text);
            assert_eq!(note.is_some(), is_told, "{mode:o} {text}: {note:?}");
        }
    }
}
