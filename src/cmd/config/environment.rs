//! `${NAME}` in a value stands for a variable of the environment; `$${` is a plain `${`.

use super::document::{At, Content, Entry, Node};

/// A variable by its name. The process' environment, or in tests a map.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A reference that leads nowhere.
#[derive(Debug, PartialEq)]
pub(super) struct Dangling {
    /// Where the text stands.
    pub(super) at: At,
    pub(super) message: String,
}

/// The node with every reference replaced, and whether there was one.
///
/// It works on parsed values, so that no variable can add keys or change the file's structure.
pub(super) fn substitute(node: &Node, environment: Environment<'_>) -> Result<(Node, bool), Dangling> {
    let mut replaced = false;
    let node = in_node(node, environment, &mut replaced)?;
    Ok((node, replaced))
}

fn in_node(node: &Node, environment: Environment<'_>, replaced: &mut bool) -> Result<Node, Dangling> {
    let content = match &node.content {
        Content::Text(text) if text.contains("${") => {
            let new = in_text(text, environment).map_err(|message| Dangling { at: node.at, message })?;
            *replaced = true;
            Content::Text(new)
        }
        Content::List(nodes) => {
            let nodes: Result<Vec<Node>, Dangling> =
                nodes.iter().map(|n| in_node(n, environment, replaced)).collect();
            Content::List(nodes?)
        }
        Content::Map(entries) => {
            let mut new = Vec::with_capacity(entries.len());
            for entry in entries {
                let value = in_node(&entry.value, environment, replaced)?;
                new.push(Entry {
                    value,
                    key: entry.key.clone(),
                    at: entry.at,
                });
            }
            Content::Map(new)
        }
        other => other.clone(),
    };
    Ok(Node { at: node.at, content })
}

fn in_text(text: &str, environment: Environment<'_>) -> Result<String, String> {
    let mut new = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        if let Some(escaped) = before.strip_suffix('$') {
            new.push_str(escaped);
            new.push_str("${");
            rest = &from[2..];
            continue;
        }
        let name = from[2..]
            .split_once('}')
            .map(|(name, _)| name)
            .filter(|name| is_name(name));
        let name = name.ok_or(
            "`${` must be followed by the name of a variable and `}`; a plain `${` is written `$${`",
        )?;
        let value = environment(name)
            .ok_or_else(|| format!("the environment variable {name} is not set (export {name}=…)"))?;
        new.push_str(before);
        new.push_str(&value);
        rest = &from[name.len() + 3..];
    }
    new.push_str(rest);
    Ok(new)
}

fn is_name(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str) -> Result<String, String> {
        in_text(text, &|name| (name == "NAME").then(|| "v$a{l}".to_owned()))
    }

    #[test]
    fn references_are_replaced_and_what_they_bring_is_left_alone() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${NAME}", "v$a{l}"),
            ("a${NAME}b${NAME}", "av$a{l}bv$a{l}"),
            ("$NAME $ {} $", "$NAME $ {} $"),
            ("$${NAME}", "${NAME}"),
            ("$${NAME} ${NAME}", "${NAME} v$a{l}"),
        ] {
            assert_eq!(replaced(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_reference_that_leads_nowhere_is_named() {
        assert_eq!(
            replaced("x${OTHER}"),
            Err("the environment variable OTHER is not set (export OTHER=…)".to_owned())
        );
        for text in ["${", "${}", "${NAME", "${NA ME}", "${1}"] {
            assert!(replaced(text).unwrap_err().contains("$${"), "{text}");
        }
    }
}
