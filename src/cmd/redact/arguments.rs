//! Which parts of a command line are secret: judged by its looks, before anything is parsed.
//!
//! | what stands there | what is secret |
//! | --- | --- |
//! | `scheme://user:PW@host`, `scheme://:PW@host` | `PW`, as written and percent-decoded |
//! | `scheme://user:PW` without a host, where `PW` is no port | `PW` |
//! | `name=VALUE` and `name: VALUE`, the name ending in password, token or secret (any case, also within `{…}`) | `VALUE` |
//! | `--name VALUE`, likewise | `VALUE` |
//!
//! A mistaken command line looks like a right one here, so that no message about it tells the secret.

use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::sync::LazyLock;

use regex::Regex;

use super::super::config::Secret;

static NAMED: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(?i)(?:password|passwd|token|secret)["']?\s*[=:]\s*"#));
static FLAG: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?i)^--?[\w.-]*(?:password|passwd|token|secret)s?$"));
static NAME: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)(?:password|passwd|token|secret)$"));
static WRITTEN_URL: LazyLock<Regex> = LazyLock::new(|| pattern(r"(://[^\s/@:]*:)\S+@"));
static WRITTEN_PAIR: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"(?i)((?:password|passwd|token|secret)["']?=)[^\s'"<\x1b]+"#));

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is a literal")
}

/// Where a secret stands: in which argument, and which of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The argument, from 0.
    pub argument: usize,
    /// The bytes of it.
    pub bytes: Range<usize>,
}

/// The secrets of a command line. Each is registered too.
#[must_use]
pub fn find(args: &[OsString]) -> Vec<Found> {
    let mut found = Vec::new();
    for (argument, arg) in args.iter().enumerate() {
        let is_value = argument > 0 && FLAG.is_match(&args[argument - 1].to_string_lossy());
        let mut ranges = register(arg);
        if is_value && !arg.as_bytes().starts_with(b"--") {
            super::register(&arg.to_string_lossy());
            let whole = 0..arg.len();
            ranges = vec![whole];
        }
        found.extend(ranges.into_iter().map(|bytes| Found { argument, bytes }));
    }
    found
}

/// Registers the secrets of one argument, and tells where they stand.
pub(super) fn register(arg: &OsStr) -> Vec<Range<usize>> {
    let Some(text) = arg.to_str() else {
        return register_unreadable(arg);
    };
    let ranges: Vec<Range<usize>> = in_url(text).into_iter().chain(in_pairs(text)).collect();
    for range in &ranges {
        let secret = &text[range.clone()];
        super::register(secret);
        super::register(&decoded(secret));
        // Quotes belong to a value on the command line, and not in YAML.
        super::register(secret.trim_matches(['"', '\'']));
    }
    ranges
}

/// What is no UTF-8 cannot be looked into, but if it looks like a secret, all of it is one.
fn register_unreadable(arg: &OsStr) -> Vec<Range<usize>> {
    let text = arg.to_string_lossy();
    if in_url(&text).is_none() && in_pairs(&text).is_empty() {
        return Vec::new();
    }
    super::register(&text);
    let whole = 0..arg.len();
    vec![whole]
}

/// Whether a variable or a key is named for a secret.
pub(super) fn names_a_secret(name: &str) -> bool {
    NAME.is_match(name)
}

/// The text of a message about a mistaken command line, with what looks like a secret masked. For what [`find`] could not see.
#[must_use]
pub fn scrub_written(text: &str) -> String {
    let mask = format!("${{1}}{}", Secret::MASK);
    let text = WRITTEN_URL.replace_all(text, format!("{mask}@"));
    WRITTEN_PAIR.replace_all(&text, mask).into_owned()
}

/// The password of a URL. As the reader of URLs has it, the last `@` ends it, whatever stands before.
fn in_url(text: &str) -> Option<Range<usize>> {
    let start = text.find("://")? + 3;
    let rest = &text[start..];
    let host = rest.rfind('@');
    let login = &rest[..host.unwrap_or(rest.len())];
    let from = login.find(':')? + 1;
    let secret = &login[from..];
    let is_address = host.is_none() && {
        let port = secret.split(['/', '?']).next().unwrap_or_default();
        port.bytes().all(|b| b.is_ascii_digit()) || login.starts_with('[') || secret.contains(',')
    };
    (!secret.is_empty() && !is_address).then(|| start + from..start + login.len())
}

fn in_pairs(text: &str) -> Vec<Range<usize>> {
    let names = NAMED.find_iter(text);
    let values = names.map(|name| {
        let rest = &text[name.end()..];
        // In `{password: x, …}` the value ends with its entry; elsewhere it goes on to the end, whatever it holds.
        let end = match text[..name.start()].contains('{') {
            true => rest.find([',', '}']).unwrap_or(rest.len()),
            false => rest.len(),
        };
        let value = &rest[..end];
        let inner = value.trim();
        let from = name.end() + value.find(inner).unwrap_or(0);
        from..from + inner.len()
    });
    values.filter(|range| !range.is_empty()).collect()
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut new = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                new.push(byte);
                at += 3;
            }
            None => {
                new.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&new).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(args: &[&str]) -> Vec<String> {
        let owned: Vec<OsString> = args.iter().map(OsString::from).collect();
        let found = find(&owned).into_iter();
        found
            .map(|found| args[found.argument][found.bytes].to_owned())
            .collect()
    }

    #[test]
    fn what_looks_like_a_secret_is_found_and_nothing_else() {
        let table: &[(&[&str], &[&str])] = &[
            (&["--source", "redis://h:6379/0"], &[]),
            (&["--source", "redis://user@h"], &[]),
            (&["redis://:one1@h"], &["one1"]),
            (&["--source=redis://u:a:b@c/d@h:1"], &["a:b@c/d"]),
            (&["redis://u:p%40x@h"], &["p%40x"]),
            (&["redis://:hunter2"], &["hunter2"]),
            (&["redis+cluster://a:1,b:2"], &[]),
            (&["redis://[::1]:6379"], &[]),
            (&["--server=http://127.0.0.1:18001/x"], &[]),
            (&["--token", "abc d"], &["abc d"]),
            (&["--token=abc"], &["abc"]),
            (&["--tokens", "abc"], &["abc"]),
            (&["--token", "--json"], &[]),
            (&["--set", "input.redis.password=a,b"], &["a,b"]),
            (&["--set=server.auth.token=abc"], &["abc"]),
            (&["--set=server.auth.tokenFile=/a/b"], &[]),
            (&["--set", "input.redis={password: 'a b', type: x}"], &["'a b'"]),
            (&["--config", "token.yaml"], &[]),
            (&["password: \"quoted\""], &["\"quoted\""]),
            (&["password:"], &[]),
        ];
        for (args, expected) in table {
            assert_eq!(secrets(args), *expected, "{args:?}");
        }
    }

    #[test]
    fn a_password_is_registered_as_written_and_decoded() {
        drop(secrets(&["redis://u:p%40ss%2Fw0rd@h"]));
        assert_eq!(super::super::scrub("p%40ss%2Fw0rd p@ss/w0rd"), "*** ***");
        drop(secrets(&["password: 'qu0ted one'"]));
        assert_eq!(super::super::scrub("said qu0ted one"), "said ***");
    }

    #[test]
    fn a_message_is_masked_by_its_looks_alone() {
        for (text, expected) in [
            (
                "argument 'redis://:pw@host' found",
                "argument 'redis://:***@host' found",
            ),
            ("'input.redis.password=x1' is", "'input.redis.password=***' is"),
            (
                "a value is required for '--token <TOKEN>'",
                "a value is required for '--token <TOKEN>'",
            ),
        ] {
            assert_eq!(scrub_written(text), expected);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_hidden_as_a_whole() {
        let arg = OsStr::from_bytes(b"redis://:\xff\xfe@h").to_owned();
        let found = find(std::slice::from_ref(&arg));
        assert_eq!(
            found,
            [Found {
                argument: 0,
                bytes: 0..arg.len()
            }]
        );
    }
}
