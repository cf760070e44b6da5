//! What an expression of PromQL asks for: enough of a reader for tests/observability.rs, and no more.
//!
//! It knows selectors with their matchers, groupings, ranges, strings, comments, and the variables of Grafana. It does not
//! know precedence: whether an expression is PromQL at all is for promtool to say.

use std::collections::{BTreeMap, BTreeSet};

/// A selector: a metric and what its labels must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    pub(crate) matchers: Vec<Matcher>,
}

/// `label="value"`, and its relatives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Matcher {
    pub(crate) label: String,
    pub(crate) operator: String,
    pub(crate) value: String,
}

/// What an expression names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) selectors: Vec<Selector>,
    /// Labels in `by`, `without`, `on`, `ignoring`, `group_left` and `group_right`.
    pub(crate) grouped: BTreeSet<String>,
}

/// The samples of a scrape: for each name the values that each of its labels has.
pub(crate) type Scrape = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Words that labels in parentheses follow.
const GROUPINGS: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Words between expressions.
const OPERATORS: &[&str] = &[
    "and", "or", "unless", "atan2", "offset", "bool", "start", "end", "inf", "nan",
];

/// Prometheus puts these on whatever it scrapes.
const LABELS_OF_PROMETHEUS: &[&str] = &["job", "instance"];

/// Prometheus makes these itself.
const METRICS_OF_PROMETHEUS: &[&str] = &["up"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    /// A number, a duration, or a variable of Grafana.
    Constant,
    Sign(char),
}

/// Reads an expression.
///
/// # Errors
/// It ends within a string, a selector or a grouping, or a selector has no name.
pub(crate) fn named(expression: &str) -> Result<Named, String> {
    let expression = as_promql(expression);
    let tokens = tokens(&expression)?;
    let mut rest = tokens.as_slice();
    let mut named = Named::default();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            Token::Word(word) if is_grouping(word) && rest.first() == Some(&Token::Sign('(')) => {
                rest = labels(&rest[1..], &mut named.grouped)?;
            }
            Token::Word(word) if names_a_metric(word, rest) => {
                let (matchers, after) = matchers(rest)?;
                rest = after;
                named.selectors.push(Selector {
                    metric: word.clone(),
                    matchers,
                });
            }
            Token::Sign('{') => return Err("a selector without the name of a metric".to_owned()),
            Token::Sign('[') => rest = beyond(rest, ']')?,
            _ => {}
        }
    }
    Ok(named)
}

/// What `expression` asks for and `scrape` does not have.
pub(crate) fn faults(expression: &str, scrape: &Scrape) -> Vec<String> {
    let named = match named(expression) {
        Ok(named) => named,
        Err(why) => return vec![why],
    };
    if named.selectors.is_empty() {
        return vec!["it asks for no metric".to_owned()];
    }
    let mut faults = Vec::new();
    for selector in &named.selectors {
        if METRICS_OF_PROMETHEUS.contains(&selector.metric.as_str()) {
            continue;
        }
        let Some(known) = scrape.get(&selector.metric) else {
            faults.push(format!("there is no metric {}", selector.metric));
            continue;
        };
        let grouped = named.grouped.iter().filter_map(|label| missing(label, known));
        let matched = selector.matchers.iter().filter_map(|m| unmatched(m, known));
        faults.extend(
            grouped
                .chain(matched)
                .map(|fault| format!("{}: {fault}", selector.metric)),
        );
    }
    faults
}

/// Reads the text of a scrape.
pub(crate) fn scrape(text: &str) -> Scrape {
    let mut scrape = Scrape::new();
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        let sample = line.rsplit_once(' ').expect("a sample has a value").0;
        let named = named(sample).unwrap_or_else(|why| panic!("{why}: {line}"));
        for selector in named.selectors {
            let labels = scrape.entry(selector.metric).or_default();
            for matcher in selector.matchers {
                labels.entry(matcher.label).or_default().insert(matcher.value);
            }
        }
    }
    scrape
}

fn missing(label: &str, known: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let here = LABELS_OF_PROMETHEUS.contains(&label) || known.contains_key(label);
    (!here).then(|| format!("it has no label {label}"))
}

/// A matcher whose label there is not, or which names a value that its label never has.
fn unmatched(matcher: &Matcher, known: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    let Some(values) = known.get(&matcher.label) else {
        return missing(&matcher.label, known);
    };
    if matcher.value.contains('$') {
        return None;
    }
    let wanted: Vec<&str> = match matcher.operator.as_str() {
        "=" | "!=" => vec![matcher.value.as_str()],
        _ => matcher.value.split('|').collect(),
    };
    let unknown = wanted.into_iter().find(|value| !values.contains(*value))?;
    Some(format!("its label {} is never {unknown:?}", matcher.label))
}

/// `label_values(metric, label)` of Grafana's variables, as PromQL.
fn as_promql(expression: &str) -> String {
    let inner = expression
        .strip_prefix("label_values(")
        .and_then(|rest| rest.strip_suffix(')'));
    match inner.and_then(|inner| inner.rsplit_once(',')) {
        Some((metric, label)) => format!("count by ({label}) ({metric})"),
        None => expression.to_owned(),
    }
}

fn is_grouping(word: &str) -> bool {
    GROUPINGS.contains(&word)
}

/// Neither an operator, nor a function, nor an aggregation, which `(` or `by` follows. `group_left` may have no labels.
fn names_a_metric(word: &str, rest: &[Token]) -> bool {
    if is_grouping(word) || OPERATORS.contains(&word.to_lowercase().as_str()) {
        return false;
    }
    match rest.first() {
        Some(Token::Sign('(')) => false,
        Some(Token::Word(next)) => next != "by" && next != "without",
        _ => true,
    }
}

/// The labels up to `)`, and what follows it.
fn labels<'a>(tokens: &'a [Token], into: &mut BTreeSet<String>) -> Result<&'a [Token], String> {
    let rest = beyond(tokens, ')')?;
    let inner = &tokens[..tokens.len() - rest.len()];
    into.extend(inner.iter().filter_map(|token| match token {
        Token::Word(label) => Some(label.clone()),
        _ => None,
    }));
    Ok(rest)
}

/// The matchers, where `{` comes next, and what follows them.
fn matchers(tokens: &[Token]) -> Result<(Vec<Matcher>, &[Token]), String> {
    if tokens.first() != Some(&Token::Sign('{')) {
        return Ok((Vec::new(), tokens));
    }
    let rest = beyond(&tokens[1..], '}')?;
    let inner = &tokens[1..tokens.len() - rest.len() - 1];
    let one = |tokens: &[Token]| match tokens {
        [Token::Word(label), signs @ .., Token::Text(value)] => Ok(Matcher {
            label: label.clone(),
            operator: signs
                .iter()
                .filter_map(|t| if let Token::Sign(c) = t { Some(*c) } else { None })
                .collect(),
            value: value.clone(),
        }),
        other => Err(format!("this is no matcher: {other:?}")),
    };
    let parts = inner.split(|token| *token == Token::Sign(','));
    let matchers = parts.filter(|part| !part.is_empty()).map(one);
    Ok((matchers.collect::<Result<_, _>>()?, rest))
}

fn beyond(tokens: &[Token], end: char) -> Result<&[Token], String> {
    let at = tokens.iter().position(|token| *token == Token::Sign(end));
    at.map(|at| &tokens[at + 1..])
        .ok_or_else(|| format!("{end:?} is missing"))
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (len, token) = match first {
            '#' => (rest.find('\n').unwrap_or(rest.len()), None),
            '"' | '\'' | '`' => {
                let (len, text) = string(rest, first)?;
                (len, Some(Token::Text(text)))
            }
            '$' => (1 + variable_len(&rest[1..]), Some(Token::Constant)),
            '0'..='9' | '.' => (span(rest, |c| is_word(c) || c == '.'), Some(Token::Constant)),
            c if is_word(c) => {
                let len = span(rest, is_word);
                (len, Some(Token::Word(rest[..len].to_owned())))
            }
            c => (c.len_utf8(), Some(Token::Sign(c))),
        };
        tokens.extend(token);
        rest = rest[len..].trim_start();
    }
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn span(text: &str, holds: impl Fn(char) -> bool) -> usize {
    text.find(|c| !holds(c)).unwrap_or(text.len())
}

/// `name` or `{name}`.
fn variable_len(rest: &str) -> usize {
    match rest.strip_prefix('{').and_then(|inner| inner.find('}')) {
        Some(end) => end + 2,
        None => span(rest, is_word),
    }
}

/// The length of the string that `text` begins with, and what it says.
fn string(text: &str, quote: char) -> Result<(usize, String), String> {
    let mut said = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((at + 1, said)),
            '\\' if quote != '`' => said.extend(chars.next().map(|(_, escaped)| escaped)),
            c => said.push(c),
        }
    }
    Err(format!("a string does not end: {text}"))
}
