//! No secret leaves the process in words.
//!
//! Owns the list of what is secret in this process, and [`scrub`], through which every trace, every error and every panic
//! goes on its way out. Promises that none of them holds a registered secret, neither plain nor as it stands in a URL, in
//! JSON or in Rust's `{:?}`. What is handed to programs on purpose (a password to Redis, a token to the daemon) does not pass here.
//!
//! A secret of four characters or more is replaced wherever it occurs: a masked word too many is better than a password
//! too many. A shorter one is replaced only where it stands alone, between characters that are neither letters nor
//! digits nor `_`; where it consists of punctuation only it is let be, or nothing could be read any more.

mod arguments;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::sync::{PoisonError, RwLock};

use super::config::{Auth, Config, Meta, Redis, RedisKind, Secret};

pub use arguments::{Found, find, scrub_written};

/// From this length on, in characters, a secret is masked inside of words too.
const LONG: usize = 4;

/// The forms that are looked for, the longest first: a secret that contains another is masked as a whole.
static FORMS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// From now on this is secret.
pub fn register(secret: &str) {
    if secret.trim_matches('*').trim().is_empty() {
        return;
    }
    let debug = format!("{secret:?}");
    let inside = |quoted: &str| quoted[1..quoted.len() - 1].to_owned();
    let mut wanted = vec![
        secret.to_owned(),
        inside(&debug),
        secret.escape_default().to_string(),
    ];
    for form in wanted.clone() {
        // A text of ours never fails to become JSON.
        wanted.extend(serde_json::to_string(&form).map(|json| inside(&json)));
    }
    let mut forms = FORMS.write().unwrap_or_else(PoisonError::into_inner);
    for form in wanted {
        if !forms.contains(&form) {
            forms.push(form);
        }
    }
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
}

/// Registers every secret of a configuration; of a token file, what is in it.
pub fn register_config(config: &Config) {
    register_redis(&config.input.redis);
    register_redis(&config.output.redis);
    register_auth(&config.server.auth);
    if let Some(cluster) = &config.cluster {
        register_auth(&cluster.auth);
        match &cluster.meta {
            Meta::Etcd(etcd) => register_some(etcd.password.as_ref()),
            Meta::Redis(redis) => register_redis(redis),
            Meta::Source => {}
        }
    }
}

fn register_auth(auth: &Auth) {
    match auth {
        Auth::None => {}
        Auth::Token(token) => register(token.expose()),
        // Where it cannot be read there is nothing to keep secret; whoever needs it reports that.
        Auth::TokenFile(path) => register(std::fs::read_to_string(path).unwrap_or_default().trim()),
    }
}

fn register_redis(redis: &Redis) {
    register_some(redis.password.as_ref());
    if let RedisKind::Sentinel { password, .. } = &redis.kind {
        register_some(password.as_ref());
    }
}

fn register_some(secret: Option<&Secret>) {
    if let Some(secret) = secret {
        register(secret.expose());
    }
}

/// Registers what a file says of passwords and tokens, before it is known whether it is a configuration at all.
pub fn register_file(text: &str) {
    let is_nothing =
        |line: &str| line.starts_with('#') || [" null", " ~"].iter().any(|none| line.ends_with(none));
    for line in text.lines().map(str::trim).filter(|line| !is_nothing(line)) {
        let told = line.split_once(" #").map_or(line, |(told, _)| told);
        arguments::register(OsStr::new(told));
    }
}

/// Registers the secrets of the environment: every `GUNYU_…` that is named for a password or a token.
pub fn register_environment() {
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with("GUNYU_")) else {
            continue;
        };
        if arguments::names_a_secret(name) {
            register(&value.to_string_lossy());
        } else {
            arguments::register(&value);
        }
    }
}

/// The text with every secret replaced by `***`.
#[must_use]
pub fn scrub(text: &str) -> Cow<'_, str> {
    let forms = FORMS.read().unwrap_or_else(PoisonError::into_inner);
    scrub_with(text, &forms)
}

/// The same for one line of JSON, which stays JSON whatever the secrets are: only texts are looked at, not what
/// holds them together.
#[must_use]
pub fn scrub_json(line: &str) -> Cow<'_, str> {
    let forms = FORMS.read().unwrap_or_else(PoisonError::into_inner);
    if matches!(scrub_with(line, &forms), Cow::Borrowed(_)) {
        return Cow::Borrowed(line);
    }
    let Ok(mut value) = serde_json::from_str(line) else {
        return scrub_with(line, &forms);
    };
    scrub_texts(&mut value, &forms);
    let end = if line.ends_with('\n') { "\n" } else { "" };
    Cow::Owned(format!("{value}{end}"))
}

fn scrub_texts(value: &mut serde_json::Value, forms: &[String]) {
    match value {
        serde_json::Value::String(text) => *text = scrub_with(text, forms).into_owned(),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| scrub_texts(item, forms)),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(|field| scrub_texts(field, forms)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

fn scrub_with<'a>(text: &'a str, forms: &[String]) -> Cow<'a, str> {
    let mut clean = Cow::Borrowed(text);
    for form in forms {
        if let Some(new) = without(&clean, form) {
            clean = Cow::Owned(new);
        }
    }
    clean
}

/// The text with `secret` replaced, if it occurs.
fn without(text: &str, secret: &str) -> Option<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let is_long = secret.chars().count() >= LONG;
    if !is_long && !secret.chars().any(is_word) {
        return None;
    }
    let mut new = String::new();
    let mut kept = 0;
    for (at, _) in text.match_indices(secret) {
        let end = at + secret.len();
        let touches = text[..at].ends_with(is_word) || text[end..].starts_with(is_word);
        if is_long || !touches {
            new.push_str(&text[kept..at]);
            new.push_str(Secret::MASK);
            kept = end;
        }
    }
    (kept > 0).then(|| new + &text[kept..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(secrets: &[&str]) -> Vec<String> {
        secrets.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_long_secret_is_masked_everywhere_and_a_short_one_only_where_it_stands_alone() {
        for (secret, text, expected) in [
            ("hunter2", "user hunter2, xhunter2x", "user ***, x***x"),
            ("hunter2", "nothing here", "nothing here"),
            ("pw", "'pw' spw pws pw", "'***' spw pws ***"),
            ("a", "a=a; aa", "***=***; aa"),
            ("::", "a::b", "a::b"),
            ("ä1", "ä1 ä12", "*** ä12"),
        ] {
            assert_eq!(scrub_with(text, &forms(&[secret])), expected, "{secret}");
        }
    }

    #[test]
    fn a_text_without_secrets_is_not_copied() {
        assert!(matches!(
            scrub_with("plain", &forms(&["hunter2"])),
            Cow::Borrowed("plain")
        ));
    }

    #[test]
    fn registered_secrets_are_masked_plain_escaped_and_in_json() {
        let secret = "se\"cr\\et-\u{1}é";
        register(secret);
        let debug = format!("{secret:?}");
        let nested = serde_json::to_string(&serde_json::json!({ "message": debug })).unwrap();
        for text in [secret.to_owned(), debug, nested.clone()] {
            let clean = scrub(&text);
            assert!(
                clean.contains("***") && !clean.contains("cr"),
                "{text} became {clean}"
            );
        }
        let json: serde_json::Value = serde_json::from_str(&scrub_json(&nested)).unwrap();
        assert_eq!(json["message"], "\"***\"");
    }

    #[test]
    fn json_stays_json_even_where_a_secret_looks_like_its_frame() {
        register("\":\"");
        register("777");
        let line = "{\"level\":\"INFO\",\"lag\":777,\"said\":\"a\\\":\\\"b 777\"}\n";
        let clean = scrub_json(line);
        let json: serde_json::Value = serde_json::from_str(&clean).unwrap();
        assert_eq!((&json["level"], &json["lag"]), (&"INFO".into(), &777.into()));
        assert_eq!(json["said"], "a\":\"b ***"); // three signs of punctuation are let be
        assert!(clean.ends_with("}\n"));
    }

    #[test]
    fn nothing_and_masks_are_no_secrets() {
        for text in ["", " ", "*", "***"] {
            register(text);
        }
        assert_eq!(scrub("a * *** b"), "a * *** b");
    }
}
