//! Where values come from, and which of them wins: flags, then environment, then file, then default.
//!
//! Owns the walk over what was written: unknown keys, keys written twice and wrong types are found here. Leaves to
//! [`super::check`] what only shows when several keys are seen together.

use std::collections::HashMap;

use super::document::{At, Content, Document, Entry as Written, Node};
use super::environment::{Environment, substitute};
use super::error::{Error, Origin, Problem};
use super::keys::ROOT;
use super::schema::{self, Entry, Fate, Key, Kind, Shape, join};
use super::secret::Secret;
use super::sections::RedisKind;
use super::units;
use super::url::{Endpoint, FORMS};
use super::value::{Reading, Value};
use super::values::{Place, Values};
use super::{File, Sources};

/// Collects every layer.
///
/// # Errors
/// Everything that is wrong with single keys.
pub(super) fn collect(sources: &Sources<'_>) -> Result<Values, Error> {
    let mut layers = Layers {
        values: Values::defaults(),
        problems: Vec::new(),
        environment: sources.environment,
    };
    if let Some(file) = &sources.file {
        layers.file(file)?;
    }
    layers.password("GUNYU_SOURCE_PASSWORD", "input.redis.password");
    layers.password("GUNYU_TARGET_PASSWORD", "output.redis.password");
    layers.url(sources.source, "--source", "input.redis");
    layers.url(sources.target, "--target", "output.redis");
    for setting in sources.set {
        layers.set(setting);
    }
    match layers.problems.is_empty() {
        true => Ok(layers.values),
        false => Err(Error::Problems(layers.problems)),
    }
}

struct Layers<'e> {
    values: Values,
    problems: Vec<Problem>,
    environment: Environment<'e>,
}

/// A text that is walked over, and what to call it.
struct Text<'t> {
    document: &'t Document,
    /// The file's name, or the flag.
    source: Source<'t>,
}

enum Source<'t> {
    File(&'t str),
    Flag(&'t str),
}

impl Text<'_> {
    fn origin(&self, at: At) -> Origin {
        match self.source {
            Source::File(name) => Origin::File {
                name: name.to_owned(),
                line: self.document.line(at),
            },
            Source::Flag(flag) => Origin::Flag(flag.to_owned()),
        }
    }

    fn place(&self, at: At) -> Place {
        match self.source {
            Source::File(_) => Place::File(at),
            Source::Flag(flag) => Place::Flag(flag.to_owned()),
        }
    }

    fn is_flag(&self) -> bool {
        matches!(self.source, Source::Flag(_))
    }
}

/// The keys met so far in one text, by canonical path, and where.
type Seen = HashMap<String, At>;

impl Layers<'_> {
    fn file(&mut self, file: &File) -> Result<(), Error> {
        let document = Document::parse(&file.text).map_err(|e| Error::Syntax {
            origin: Origin::File {
                name: file.name.clone(),
                line: e.line,
            },
            message: e.message + braces_hint(&file.text, e.line),
        })?;
        let text = Text {
            document: &document,
            source: Source::File(&file.name),
        };
        self.section(&text, ROOT, "", &document.root, &mut Seen::new());
        self.values.read_from(&file.name, document);
        Ok(())
    }

    /// Walks over the keys of a section. `prefix` is the section's path, `node` what was written for it.
    fn section(
        &mut self,
        text: &Text<'_>,
        entries: &'static [Entry],
        prefix: &str,
        node: &Node,
        seen: &mut Seen,
    ) {
        match &node.content {
            Content::Null => {}
            Content::Map(written) => {
                for one in written {
                    self.entry(text, entries, prefix, one, seen);
                }
            }
            _ => {
                let problem = Problem::new(text.origin(node.at), prefix, "expected a section of keys");
                self.problems.push(problem);
            }
        }
    }

    fn entry(
        &mut self,
        text: &Text<'_>,
        entries: &'static [Entry],
        prefix: &str,
        one: &Written,
        seen: &mut Seen,
    ) {
        let Some(entry) = entries.iter().find(|entry| entry.is_called(&one.key)) else {
            let origin = text.origin(one.at);
            return self.problems.push(unknown(origin, &join(prefix, &one.key)));
        };
        let path = join(prefix, canonical(entry));
        if let Some(first) = seen.insert(path.clone(), one.at) {
            let line = text
                .document
                .line(first)
                .map_or(String::new(), |line| format!(", first in line {line}"));
            let message = format!("{path} is written twice{line}");
            return self.problems.push(Problem::new(
                text.origin(one.at),
                &join(prefix, &one.key),
                message,
            ));
        }
        match &entry.shape {
            Shape::Section(inner) => self.section(text, inner, &path, &one.value, seen),
            Shape::Key(key) => self.key(text, &path, key, one.at, &one.value),
        }
    }

    /// Takes one value. `at` is where its key stands, which is the better place to point at.
    fn key(&mut self, text: &Text<'_>, path: &str, key: &Key, at: At, node: &Node) {
        if node.content == Content::Null {
            return;
        }
        if let Fate::Ignored(why) = key.fate {
            let note = format!("{}: {path} has no effect: {why}", text.origin(at));
            return self.values.notes.push(note);
        }
        let node = match text.is_flag() {
            true => Ok((node.clone(), true)),
            false => substitute(node, self.environment),
        };
        let (node, from_text) = match node {
            Ok(substituted) => substituted,
            Err(e) => {
                return self
                    .problems
                    .push(Problem::new(text.origin(e.at), path, e.message));
            }
        };
        let written = |at| text.document.written(at);
        let reading = Reading {
            kind: key.kind,
            from_text,
            zero_is_unset: key.zero_is_unset,
            written: &written,
        };
        match reading.read(&node) {
            Ok(value) => self.insert(path, key, value, text.place(at), &|| text.origin(at)),
            Err(e) => {
                let at = e.at.filter(|inner| *inner != node.at).unwrap_or(at);
                self.problems.push(Problem::new(text.origin(at), path, e.message));
            }
        }
    }

    fn insert(&mut self, path: &str, key: &Key, value: Value, place: Place, origin: &dyn Fn() -> Origin) {
        if key.zero_is_unset && value.is_zero() {
            return;
        }
        let value = match limited(key.kind, value) {
            Ok(value) => value,
            Err((value, why)) => {
                self.values.notes.push(format!("{}: {path}: {why}", origin()));
                value
            }
        };
        self.values.put(path, value, place);
    }

    fn password(&mut self, variable: &str, path: &str) {
        if let Some(password) = (self.environment)(variable).filter(|text| !text.is_empty()) {
            let place = Place::Environment(variable.to_owned());
            self.values.put(path, Value::Text(password), place);
        }
    }

    /// Lays a URL over a side. What the URL does not say stays as it is.
    fn url(&mut self, url: Option<&str>, flag: &str, side: &str) {
        let Some(url) = url else { return };
        let endpoint = match Endpoint::parse(url) {
            Ok(endpoint) => endpoint,
            Err(e) => {
                let problem = Problem::new(Origin::Flag(flag.to_owned()), "", e.to_string());
                return self.problems.push(problem.hint(format!("write {FORMS}")));
            }
        };
        let mut put = |key: &str, value| {
            let place = Place::Flag(flag.to_owned());
            self.values.put(&join(side, key), value, place);
        };
        let redis = endpoint.redis;
        put("type", Value::Text(redis.kind.as_str().to_owned()));
        put("addresses", Value::Addresses(redis.addresses));
        put("tls.enable", Value::Flag(redis.tls.is_some()));
        if let RedisKind::Sentinel { master, .. } = redis.kind {
            put("sentinel.masterName", Value::Text(master));
        }
        self.credentials(redis.user, redis.password, flag, side);
        let place = Place::Flag(flag.to_owned());
        if let Some(db) = endpoint.database {
            let (key, value) = match side {
                "input.redis" => ("output.filter.dbWhitelist", Value::Databases(vec![db])),
                _ => ("output.replay.targetDb", Value::Integer(db.into())),
            };
            self.values.put(key, value, place);
        }
    }

    /// User and password go together: with either in the URL, neither is taken from the file. A password in the
    /// environment is meant for whoever connects.
    fn credentials(&mut self, user: Option<String>, password: Option<Secret>, flag: &str, side: &str) {
        if user.is_none() && password.is_none() {
            return;
        }
        let (user_key, password_key) = (join(side, "userName"), join(side, "password"));
        let place = Place::Flag(flag.to_owned());
        self.values
            .put(&user_key, Value::Text(user.unwrap_or_default()), place.clone());
        match password {
            Some(password) => {
                let password = Value::Text(password.expose().to_owned());
                self.values.put(&password_key, password, place);
            }
            None if self.values.is_from_environment(&password_key) => {}
            None => self.values.unset(&password_key),
        }
    }

    /// One `--set key=value`.
    fn set(&mut self, setting: &str) {
        let Some((path, value)) = setting.split_once('=') else {
            let problem = Problem::new(Origin::Flag("--set".to_owned()), "", "it takes key=value");
            return self
                .problems
                .push(problem.hint("as --set output.replay.connections=8"));
        };
        let path = path.trim();
        let flag = format!("--set {path}");
        let (known, entry) = match find(ROOT, path) {
            Found::Entry(known, entry) => (known, entry),
            Found::Mapped(known, key, element) => return self.set_mapped(&flag, &known, key, element, value),
            Found::Nothing => return self.problems.push(unknown(Origin::Flag(flag), path)),
        };
        if value.is_empty() {
            return self.values.unset(&known);
        }
        let document = match parsed(&entry.shape, value) {
            Ok(document) => document,
            Err(message) => {
                return self
                    .problems
                    .push(Problem::new(Origin::Flag(flag), path, message));
            }
        };
        let text = Text {
            document: &document,
            source: Source::Flag(&flag),
        };
        match &entry.shape {
            Shape::Section(inner) => self.section(&text, inner, &known, &document.root, &mut Seen::new()),
            Shape::Key(key) => self.key(&text, &known, key, document.root.at, &document.root),
        }
    }

    /// `--set output.replay.targetDbMap.0=1`: one entry, beside those that are there.
    fn set_mapped(&mut self, flag: &str, known: &str, key: &'static Key, element: &str, value: &str) {
        let origin = || Origin::Flag(flag.to_owned());
        let [element, value] = [element, value].map(|text| serde_json::Value::from(text).to_string());
        let one = Document::parse(&format!("{{{element}: {value}}}")).map(|document| {
            let reading = Reading {
                kind: key.kind,
                from_text: true,
                zero_is_unset: key.zero_is_unset,
                written: &|_| None,
            };
            reading.read(&document.root).map_err(|e| e.message)
        });
        match one {
            Ok(Ok(Value::DatabaseMap(new))) => {
                let mut map = self.values.database_map(known).clone();
                map.extend(new);
                self.insert(
                    known,
                    key,
                    Value::DatabaseMap(map),
                    Place::Flag(flag.to_owned()),
                    &origin,
                );
            }
            Ok(Err(message)) => self.problems.push(Problem::new(origin(), known, message)),
            Ok(Ok(_)) | Err(_) => {
                self.problems.push(Problem::new(
                    origin(),
                    known,
                    format!("expected {}", key.kind.expected()),
                ));
            }
        }
    }
}

/// Between braces YAML takes those of `${NAME}` for its own. `line` is where it noticed, from 1.
fn braces_hint(text: &str, line: Option<usize>) -> &'static str {
    let before = text.lines().take(line.unwrap_or(usize::MAX));
    let mut last = before.collect::<Vec<_>>().into_iter().rev().take(2);
    let is_bare =
        |line: &str| line.contains('{') && [": ${", ", ${", "[${"].iter().any(|one| line.contains(one));
    match last.any(is_bare) {
        true => "; between { } and [ ] quote what has braces of its own: '${NAME}'",
        false => "",
    }
}

/// The name under which a key's value is kept, relative to its section.
fn canonical(entry: &Entry) -> &'static str {
    match &entry.shape {
        Shape::Key(Key {
            fate: Fate::Alias(other),
            ..
        }) => other,
        _ => entry.name,
    }
}

fn unknown(origin: Origin, path: &str) -> Problem {
    let mut problem = Problem::new(origin, path, "this key is not known");
    problem.nearest = schema::nearest(ROOT, path);
    problem
}

/// What a dotted path leads to.
enum Found<'p> {
    Entry(String, &'static Entry),
    /// An element of a map: the map's path and key, and the element.
    Mapped(String, &'static Key, &'p str),
    Nothing,
}

fn find<'p>(entries: &'static [Entry], path: &'p str) -> Found<'p> {
    let mut entries = entries;
    let mut known = String::new();
    let mut rest = path;
    loop {
        let (name, after) = rest
            .split_once('.')
            .map_or((rest, None), |(name, after)| (name, Some(after)));
        let Some(entry) = entries.iter().find(|entry| entry.is_called(name)) else {
            return Found::Nothing;
        };
        known = join(&known, canonical(entry));
        match (&entry.shape, after) {
            (_, None) => return Found::Entry(known, entry),
            (Shape::Section(inner), Some(after)) => (entries, rest) = (inner, after),
            (Shape::Key(key), Some(element)) if matches!(key.kind, Kind::DatabaseMap) => {
                return Found::Mapped(known, key, element);
            }
            (Shape::Key(_), Some(_)) => return Found::Nothing,
        }
    }
}

/// The value of a `--set` as YAML: as it stands where YAML is meant (`[a, b]`, `{0: 1}`), and otherwise quoted, so that
/// nothing in it is special.
fn parsed(shape: &Shape, value: &str) -> Result<Document, String> {
    let text = match shape {
        Shape::Key(key) if matches!(key.kind, Kind::Slots) && !value.starts_with("[[") => {
            format!("[{value}]")
        }
        Shape::Key(key) if key.kind.is_list() && value.starts_with('[') => value.to_owned(),
        Shape::Key(key) if !matches!(key.kind, Kind::DatabaseMap) => {
            serde_json::Value::from(value).to_string()
        }
        Shape::Key(_) | Shape::Section(_) => value.to_owned(),
    };
    Document::parse(&text).map_err(|e| format!("not valid YAML: {}", e.message))
}

/// A duration beyond its limits is brought within them, as redis-GunYu does; it says so, as redis-GunYu does not.
fn limited(kind: Kind, value: Value) -> Result<Value, (Value, String)> {
    let (Kind::Duration { least, most }, Value::Duration(duration)) = (kind, &value) else {
        return Ok(value);
    };
    let limited = (*duration).clamp(least, most);
    if limited == *duration {
        return Ok(value);
    }
    let side = if limited == least { "least" } else { "most" };
    let [was, is] = [*duration, limited].map(units::duration_text);
    Err((
        Value::Duration(limited),
        format!("{was} is beyond what is possible; the {side}, {is}, is used"),
    ))
}
