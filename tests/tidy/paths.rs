//! Which paths a file of Rust names: enough of a reader for tests/tidy.rs, and no more.
//!
//! It knows comments, strings, groups, `self` and `super`, and modules written inside a file. It does not know macros,
//! nor names that a `use` brought in: those are seen where they were brought in.

/// A word or a sign of Rust, outside comments, strings and characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// As written.
    pub(crate) text: String,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// Cuts Rust into words, `::` and single signs. Comments, strings and characters leave nothing behind.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let (mut rest, mut line, mut tokens) = (text, 1, Vec::new());
    while let Some(first) = rest.chars().next() {
        let len = skipped(rest);
        if len > 0 {
            line += rest[..len].matches('\n').count();
            rest = &rest[len..];
            continue;
        }
        let len = match first {
            ':' if rest.starts_with("::") => 2,
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        tokens.push(Token {
            text: rest[..len].to_owned(),
            line,
        });
        rest = &rest[len..];
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How many bytes at the beginning of `rest` are space, a comment, a string or a character.
fn skipped(rest: &str) -> usize {
    let first = rest.chars().next().unwrap();
    if first.is_whitespace() {
        return first.len_utf8();
    }
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if let Some(len) = string(rest) {
        return len;
    }
    character(rest).unwrap_or(0)
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let (change, len) = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        depth = depth.saturating_add_signed(change);
        at += len;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a string literal of any kind (`"…"`, `b"…"`, `r#"…"#`), if one begins here.
fn string(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let behind = rest.strip_prefix(prefix).unwrap_or_default();
        behind.trim_start_matches('#').starts_with('"') && (prefix.contains('r') || behind.starts_with('"'))
    })?;
    let behind = &rest[prefix.len()..];
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let body = prefix.len() + hashes + 1;
    if prefix.contains('r') {
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(
            rest[body..]
                .find(&end)
                .map_or(rest.len(), |at| body + at + end.len()),
        );
    }
    let mut escaped = false;
    let end = rest[body..].find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    Some(end.map_or(rest.len(), |at| body + at + 1))
}

/// The length of a character literal, if one begins here; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let behind = rest.strip_prefix('\'')?;
    let mut chars = behind.char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        chars.next(); // what is escaped, were it a quote
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 2);
    }
    chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at + 2)
}

/// Every path that the text names, with its line, as seen from the crate's root: `super` and `self` are resolved
/// from `module`, groups (`a::{b, c}`) are taken apart.
pub(crate) fn paths(text: &str, module: &[String]) -> Vec<(usize, Vec<String>)> {
    let tokens = tokens(text);
    let (mut found, mut inside, mut braces) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        let word = tokens[at].text.as_str();
        let next = |ahead: usize| tokens.get(at + ahead).map_or("", |token| token.text.as_str());
        match word {
            "mod" if next(2) == "{" => {
                inside.push(next(1).to_owned());
                braces.push(true);
                at += 3;
                continue;
            }
            "{" => braces.push(false),
            "}" if braces.pop() == Some(true) => drop(inside.pop()),
            // A path begins at a word that no `::` stands before; `use name;` is one too.
            _ if word.starts_with(is_word) && (next(1) == "::" || at > 0 && tokens[at - 1].text == "use") => {
                let here: Vec<String> = module.iter().chain(&inside).cloned().collect();
                let mut leaves = Vec::new();
                let end = tree(&tokens, at, &mut Vec::new(), &mut leaves);
                found.extend(
                    leaves
                        .into_iter()
                        .map(|leaf| (tokens[at].line, resolved(leaf, &here))),
                );
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Reads one path, with its groups, from token `at` on; gives the token behind it.
fn tree(tokens: &[Token], mut at: usize, stem: &mut Vec<String>, leaves: &mut Vec<Vec<String>>) -> usize {
    let depth = stem.len();
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = tree(tokens, at, stem, leaves);
                    // Over `as other` to the next of the group.
                    at += tokens[at..]
                        .iter()
                        .take_while(|token| ![",", "}"].contains(&token.text.as_str()))
                        .count();
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                stem.truncate(depth);
                return at + 1;
            }
            name if name.starts_with(is_word) || name == "*" => stem.push(name.to_owned()),
            _ => break,
        }
        at += 1;
        match tokens.get(at).map(|token| token.text.as_str()) {
            Some("::") => at += 1,
            _ => break,
        }
    }
    if stem.len() > depth {
        leaves.push(stem.clone());
    }
    stem.truncate(depth);
    at
}

fn resolved(path: Vec<String>, module: &[String]) -> Vec<String> {
    let mut base = match path[0].as_str() {
        "self" | "super" => module.to_vec(),
        _ => return path,
    };
    let mut rest = path.as_slice();
    while let Some(first @ ("self" | "super")) = rest.first().map(String::as_str) {
        if first == "super" {
            base.pop();
        }
        rest = &rest[1..];
    }
    base.extend_from_slice(rest);
    base
}

/// A checker that overlooks things is worse than none.
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let module = ["crate", "core", "log", "segment"].map(str::to_owned);
        paths(text, &module)
            .into_iter()
            .map(|(_, path)| path.join("::"))
            .collect()
    }

    #[test]
    fn takes_groups_apart() {
        let text = "use crate::core::{position::{Offset, self}, progress::Progress as P};";
        let wanted = [
            "crate::core::position::Offset",
            "crate::core::position::self",
            "crate::core::progress::Progress",
        ];
        assert_eq!(read(text), wanted);
        assert_eq!(read("use std::{fs, env};"), ["std::fs", "std::env"]);
    }

    #[test]
    fn resolves_super_from_files_and_from_modules_inside_them() {
        assert_eq!(
            read("use super::super::position::Offset;"),
            ["crate::core::position::Offset"]
        );
        assert_eq!(read("use super::disk;"), ["crate::core::log::disk"]);
        let tests = "fn f() { if a { b } } mod tests { use super::*; fn g() { super::super::disk::open() } } use super::tail;";
        assert_eq!(
            read(tests),
            [
                "crate::core::log::segment::*",
                "crate::core::log::disk::open",
                "crate::core::log::tail"
            ]
        );
    }

    #[test]
    fn sees_paths_inside_code() {
        assert_eq!(
            read("fn f() -> Result<()> { crate::core::target::apply(anyhow::anyhow!(\"x\")) }"),
            ["crate::core::target::apply", "anyhow::anyhow"]
        );
        assert_eq!(read("use clap;"), ["clap"]);
    }

    #[test]
    fn overlooks_comments_strings_and_characters() {
        let text = r##"
            // use crate::core::target;
            /* use /* nested */ crate::core::target::A; */
            let a = "crate::core::target::B \" crate::core::target::C";
            let b = r#"crate::core::target::D "quoted" "#; let c = '"'; let d = '\''; let e = b'"';
            fn f<'a>(x: &'a str) -> crate::core::position::Offset {}
        "##;
        assert_eq!(read(text), ["crate::core::position::Offset"]);
    }

    #[test]
    fn names_the_line() {
        let module = ["crate"].map(str::to_owned);
        assert_eq!(paths("//! x\n\n\"two\nlines\"; use a::b;\n", &module)[0].0, 4);
    }
}
