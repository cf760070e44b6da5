//! The calls that docs/openapi.yaml lists: what they are asked with, and whether an answer is as it says.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::schema;
use crate::support::http::Response;

/// A method on a path.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    /// What the document says of it.
    pub(crate) told: Value,
}

impl Call {
    pub(crate) fn id(&self) -> &str {
        self.told["operationId"].as_str().unwrap()
    }

    pub(crate) fn lists(&self, status: u16) -> bool {
        !self.told["responses"][status.to_string()].is_null()
    }

    pub(crate) fn parameters<'a>(&'a self, document: &'a Value) -> Vec<&'a Value> {
        let list = self.told["parameters"].as_array().into_iter().flatten();
        list.map(|one| schema::resolved(one, document)).collect()
    }

    /// One target for the required parameters alone, and one more for each example of each parameter.
    pub(crate) fn targets(&self, document: &Value, source: &str) -> BTreeSet<String> {
        let parameters = self.parameters(document);
        let required = parameters.iter().filter(|one| one["required"] == true);
        let always: Vec<String> = required.map(|one| examples(one, source).remove(0)).collect();
        let mut targets = BTreeSet::from([target(&self.path, &always)]);
        for parameter in &parameters {
            for example in examples(parameter, source) {
                let name = format!("{}=", parameter["name"].as_str().unwrap());
                let others = always.iter().filter(|pair| !pair.starts_with(&name));
                let pairs: Vec<String> = others.cloned().chain([example]).collect();
                targets.insert(target(&self.path, &pairs));
            }
        }
        targets
    }

    /// What of an answer is not as documented.
    pub(crate) fn faults(&self, document: &Value, response: &Response) -> Vec<String> {
        let told = &self.told["responses"][response.status.to_string()];
        if told.is_null() {
            return vec![format!(
                "{} is not documented: {}",
                response.status,
                response.text()
            )];
        }
        let content = &schema::resolved(told, document)["content"];
        let kind = content_type(response);
        let Some(media) = content.get(&kind) else {
            return vec![format!("{} with content type {kind:?}", response.status)];
        };
        match body(&kind, response) {
            Ok(body) => schema::faults(&body, &media["schema"], document),
            Err(why) => vec![why],
        }
    }
}

fn target(path: &str, pairs: &[String]) -> String {
    if pairs.is_empty() {
        return path.to_owned();
    }
    format!("{path}?{}", pairs.join("&"))
}

/// `name=value` for each example. The address in the document is not that of the source here.
pub(crate) fn examples(parameter: &Value, source: &str) -> Vec<String> {
    let name = parameter["name"].as_str().unwrap();
    let examples = parameter["examples"].as_object().unwrap().values();
    examples
        .map(|one| one["value"].as_str().unwrap().replace("127.0.0.1:6379", source))
        .map(|value| format!("{name}={value}"))
        .collect()
}

fn content_type(response: &Response) -> String {
    let line = response.headers.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-type").then_some(value)
    });
    let kind = line.unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().to_owned()
}

/// The body as the value that its schema describes.
pub(crate) fn body(kind: &str, response: &Response) -> Result<Value, String> {
    match kind {
        "application/json" => {
            serde_json::from_slice(&response.body).map_err(|e| format!("not JSON ({e}): {}", response.text()))
        }
        "application/yaml" => {
            serde_yaml::from_slice(&response.body).map_err(|e| format!("not YAML ({e}): {}", response.text()))
        }
        _ => Ok(Value::String(response.text())),
    }
}

/// Every documented call but the one that ends the process; those that read come first.
pub(crate) fn calls(document: &Value) -> Vec<Call> {
    let mut calls = all_calls(document);
    calls.retain(|call| call.id() != "stop");
    calls.sort_by_key(|call| (call.method != "get", call.path.clone()));
    calls
}

pub(crate) fn all_calls(document: &Value) -> Vec<Call> {
    let mut calls = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, told) in methods.as_object().unwrap() {
            calls.push(Call {
                method: method.clone(),
                path: path.clone(),
                told: told.clone(),
            });
        }
    }
    calls
}
