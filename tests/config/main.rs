//! What the configuration promises to whoever writes one.
//!
//! Here is only how a test writes one; the claims are in the files beside this one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod compatible;
mod effective;
mod files;
mod layers;
mod messages;
mod together;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gunyu::cmd::config::*;

const ADDRESSES: &str = "input: {redis: {addresses: [a:1]}}\noutput: {redis: {addresses: [b:2]}}\n";

/// A configuration in the making.
#[derive(Default, Clone)]
struct Written {
    file: Option<String>,
    source: Option<&'static str>,
    target: Option<&'static str>,
    set: Vec<String>,
    environment: HashMap<&'static str, &'static str>,
}

impl Written {
    fn file(text: &str) -> Written {
        Written {
            file: Some(text.to_owned()),
            ..Written::default()
        }
    }

    /// The two addresses, and `text` besides.
    fn with(text: &str) -> Written {
        Written::file(text)
            .set("input.redis.addresses=a:1")
            .set("output.redis.addresses=b:2")
    }

    fn urls(source: &'static str, target: &'static str) -> Written {
        Written {
            source: Some(source),
            target: Some(target),
            ..Written::default()
        }
    }

    fn set(mut self, setting: &str) -> Written {
        self.set.push(setting.to_owned());
        self
    }

    fn variable(mut self, name: &'static str, value: &'static str) -> Written {
        self.environment.insert(name, value);
        self
    }

    fn check(&self) -> Result<Config, Error> {
        self.check_by(Config::check)
    }

    fn check_by(&self, check: fn(&Sources<'_>) -> Result<Config, Error>) -> Result<Config, Error> {
        let file = self.file.as_ref().map(|text| File {
            name: "gunyu.yaml".to_owned(),
            text: text.clone(),
        });
        check(&Sources {
            file,
            source: self.source,
            target: self.target,
            set: &self.set,
            environment: &|name| self.environment.get(name).map(|value| (*value).to_owned()),
        })
    }

    #[track_caller]
    fn config(&self) -> Config {
        self.check().unwrap_or_else(|e| panic!("{e}"))
    }

    #[track_caller]
    fn problems(&self) -> Vec<Problem> {
        let error = self.check().expect_err("this must not be accepted");
        assert!(!error.problems().is_empty(), "{error}");
        error.problems().to_vec()
    }

    /// The only thing that is wrong.
    #[track_caller]
    fn problem(&self) -> Problem {
        let problems = self.problems();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        problems[0].clone()
    }
}

fn defaults() -> Config {
    Written::file(ADDRESSES).config()
}

/// The dotted paths of everything that is not a section; a map of databases is not one either.
fn leaves(value: &serde_yaml::Value) -> BTreeSet<String> {
    fn collect(value: &serde_yaml::Value, path: &str, into: &mut BTreeSet<String>) {
        let map = value.as_mapping().filter(|_| !path.ends_with("targetDbMap"));
        let Some(map) = map else {
            into.insert(path.to_owned());
            return;
        };
        for (key, value) in map {
            let key = key.as_str().unwrap();
            let path = if path.is_empty() {
                key.to_owned()
            } else {
                format!("{path}.{key}")
            };
            collect(value, &path, into);
        }
    }
    let mut paths = BTreeSet::new();
    collect(value, "", &mut paths);
    paths
}
