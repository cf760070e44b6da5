//! What the status looks like: lines of plain characters, made from plain values.
//!
//! Promises that no line is wider than the page and that a page with a height is not left. What does not fit is summed up
//! in the last line, so that nothing is silently missing.
//!
//! | order | inputs |
//! | --- | --- |
//! | 0 | stopped, or in backoff: somebody may have to act |
//! | 1 | connecting |
//! | 2 | full sync |
//! | 3 | paused |
//! | 4 | all others, the largest lag first |

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::pace::Pace;
use super::words::{bytes, count, end_of, harmless, span, start_of, wrapped};
use crate::http::model::{FOLLOWER, FullSync, InputStatus, LastError};

/// The width where nobody says another.
pub(super) const WIDTH: usize = 80;

/// Columns beside the two addresses, with the spaces between.
const FIXED: usize = 6 + 11 + 9 + 7 + 5;

/// What an address gets at least: an IPv4 address with its port.
const ADDRESS_MIN: usize = 21;

/// So long a trouble is shown of an input that is live: it may last, or may just have passed.
const RECENT: Duration = Duration::from_secs(60);

/// Where to draw.
#[derive(Debug, Clone)]
pub(super) struct Page {
    /// Characters in a line.
    pub(super) width: usize,
    /// Lines, where they are limited.
    pub(super) height: Option<usize>,
    /// The time of day.
    pub(super) clock: String,
}

/// What a line is about, which gives it its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// As the terminal has it.
    Plain,
    /// A heading.
    Head,
    /// Something is wrong.
    Trouble,
    /// Something is under way.
    Busy,
    /// Somebody wanted it so.
    Paused,
    /// Of less weight.
    Aside,
}

/// A line without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) tone: Tone,
}

impl Line {
    fn new(tone: Tone, text: String) -> Line {
        Line { text, tone }
    }

    /// The text, between the terminal's codes for its colour.
    pub(super) fn painted(&self, colours: bool) -> String {
        let code = match self.tone {
            _ if !colours => return self.text.clone(),
            Tone::Plain => return self.text.clone(),
            Tone::Head => "1",
            Tone::Trouble => "31",
            Tone::Busy => "33",
            Tone::Paused => "36",
            Tone::Aside => "2",
        };
        format!("\x1b[{code}m{}\x1b[0m", self.text)
    }
}

/// A table for whoever is no terminal: 80 columns, the order of the daemon, no summary.
pub(super) fn plain(inputs: &[InputStatus], pace: &Pace) -> String {
    let mut lines = vec![header(WIDTH)];
    lines.extend(inputs.iter().flat_map(|input| block(input, pace, WIDTH)));
    lines.extend(members(inputs, WIDTH));
    lines.into_iter().map(|line| line.text + "\n").collect()
}

/// A page for a terminal: a summary, then the inputs, those first that need attention.
pub(super) fn view(inputs: &[InputStatus], pace: &Pace, page: &Page) -> Vec<Line> {
    let mut sorted: Vec<&InputStatus> = inputs.iter().collect();
    sorted.sort_by_key(|input| (order(input), Reverse((input.lag_bytes, input.lag_ms))));
    let mut lines = summary(inputs, page);
    if !inputs.is_empty() {
        lines.push(header(page.width));
    }
    let Some(height) = page.height else {
        lines.extend(sorted.iter().flat_map(|input| block(input, pace, page.width)));
        lines.extend(members(inputs, page.width));
        return lines;
    };
    fill(&mut lines, &sorted, height, |input| {
        block(input, pace, page.width)
    });
    // Of less weight than the inputs: where there is room.
    lines.extend(members(inputs, page.width));
    for line in &mut lines {
        line.text = start_of(&line.text, page.width);
    }
    lines.truncate(height);
    lines
}

/// Adds block after block while there is room for it and for the line that tells of the rest.
fn fill(
    lines: &mut Vec<Line>,
    sorted: &[&InputStatus],
    height: usize,
    block: impl Fn(&InputStatus) -> Vec<Line>,
) {
    for (nth, input) in sorted.iter().enumerate() {
        let rest = &sorted[nth + 1..];
        let room = height.saturating_sub(lines.len() + usize::from(!rest.is_empty()));
        let block = block(input);
        if block.len() <= room {
            lines.extend(block);
            continue;
        }
        // Its row, and of its remarks what fits; nothing of the others, or the order would be another.
        let shown = room.min(block.len());
        lines.extend(block.into_iter().take(shown));
        let missing = if shown > 0 { rest } else { &sorted[nth..] };
        lines.extend(left_out(missing));
        return;
    }
}

fn left_out(inputs: &[&InputStatus]) -> Option<Line> {
    let lag_bytes = inputs.iter().map(|input| input.lag_bytes).max()?;
    let kinds = kinds(&inputs.iter().copied());
    let what = match kinds.as_slice() {
        [(_, word)] if inputs.len() > 1 => format!(", all {word},"),
        [(_, word)] => format!(", {word},"),
        _ => format!(": {},", listed(&kinds)),
    };
    let text = format!(
        "… and {} more{what} lag at most {}",
        inputs.len(),
        bytes(lag_bytes)
    );
    Some(Line::new(Tone::Aside, text))
}

/// Who can be asked to lead, where there is a group.
fn members(inputs: &[InputStatus], width: usize) -> Vec<Line> {
    if !inputs.iter().any(is_in_group) {
        return Vec::new();
    }
    let members: BTreeSet<String> = inputs
        .iter()
        .flat_map(|input| &input.members)
        .map(|id| harmless(id))
        .collect();
    let text = match members.is_empty() {
        true => "members: not known".to_owned(),
        false => format!("members: {}", Vec::from_iter(members).join(", ")),
    };
    let lines = wrapped(&text, width, 2).into_iter();
    lines.map(|line| Line::new(Tone::Aside, line)).collect()
}

/// Alone there are neither followers nor leases.
fn is_in_group(input: &InputStatus) -> bool {
    input.role == FOLLOWER || input.epoch > 0
}

/// Who leads it, where that is not plain.
fn lead(input: &InputStatus) -> Option<(Tone, String)> {
    let (leader, epoch) = (harmless(&input.leader), input.epoch);
    match (is_in_group(input), leader.is_empty(), input.role == FOLLOWER) {
        (false, ..) => None,
        (true, true, _) => Some((Tone::Trouble, "nobody leads it".to_owned())),
        (true, false, true) => Some((Tone::Aside, format!("led by {leader}, epoch {epoch}"))),
        (true, false, false) => Some((Tone::Aside, format!("leads, epoch {epoch}"))),
    }
}

fn summary(inputs: &[InputStatus], page: &Page) -> Vec<Line> {
    let worst_bytes = inputs.iter().map(|input| input.lag_bytes).max();
    let worst_ms = inputs.iter().map(|input| input.lag_ms).max();
    let kinds = kinds(&inputs.iter());
    let what = match (inputs.len(), kinds.as_slice()) {
        (0, _) => "no inputs".to_owned(),
        (1, [(_, word)]) => format!("1 input: {word}"),
        (many, _) => format!("{many} inputs: {}", listed(&kinds)),
    };
    let lag = worst_bytes.zip(worst_ms).map(|(lag_bytes, lag_ms)| {
        format!(
            "lag {}, {}",
            bytes(lag_bytes),
            span(Duration::from_millis(lag_ms))
        )
    });
    let worst = if inputs.len() > 1 { "worst " } else { "" };
    let parts = |worst: &str| {
        let lag = lag.as_ref().map(|lag| format!("{worst}{lag}"));
        [Some(what.clone()), lag, Some(page.clock.clone())]
            .into_iter()
            .flatten()
    };
    let lines = match joined(parts(worst), page.width) {
        one if one.len() == 1 => one,
        // A word less may save a line.
        _ => joined(parts(""), page.width),
    };
    let lines = lines.into_iter().flat_map(|line| wrapped(&line, page.width, 2));
    lines.map(|line| Line::new(Tone::Head, line)).collect()
}

/// The parts with dots between them, in as few lines as they fit into.
fn joined(parts: impl Iterator<Item = String>, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 3 + part.chars().count() <= width => {
                line.push_str(" · ");
                line.push_str(&part);
            }
            _ => lines.push(part),
        }
    }
    lines
}

/// How many there are of each kind, the kinds in the order of attention but what is live first.
fn kinds<'a>(inputs: &(impl Iterator<Item = &'a InputStatus> + Clone)) -> Vec<(usize, String)> {
    let mut words: Vec<String> = Vec::new();
    for input in inputs.clone() {
        let word = kind(input);
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let place = |word: &String| {
        let known = [
            "live",
            "following",
            "full sync",
            "paused",
            "connecting",
            "backoff",
            "stopped",
        ];
        known.iter().position(|name| name == word).unwrap_or(known.len())
    };
    words.sort_by_key(place);
    let number = |word: &String| inputs.clone().filter(|input| kind(input) == *word).count();
    words.into_iter().map(|word| (number(&word), word)).collect()
}

fn listed(kinds: &[(usize, String)]) -> String {
    let each: Vec<String> = kinds
        .iter()
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    each.join(", ")
}

/// One word for what an input is doing; state goes before phase.
fn kind(input: &InputStatus) -> String {
    match (input.state.as_str(), input.phase.as_str()) {
        ("stop", _) => "stopped".to_owned(),
        ("pause", _) => "paused".to_owned(),
        (_, "incremental") => "live".to_owned(),
        (_, phase) => harmless(&phase.replace('_', " ")),
    }
}

fn order(input: &InputStatus) -> u8 {
    match (input.state.as_str(), input.phase.as_str()) {
        ("stop", _) | (_, "backoff") => 0,
        ("pause", _) => 3,
        (_, "connecting") => 1,
        (_, "full_sync") => 2,
        _ => 4,
    }
}

fn tone(input: &InputStatus) -> Tone {
    match order(input) {
        0 => Tone::Trouble,
        1 | 2 => Tone::Busy,
        3 => Tone::Paused,
        _ => Tone::Plain,
    }
}

fn header(width: usize) -> Line {
    let text = row(width, ["INPUT", "TARGET", "STATE", "PHASE", "LAG", "DELAY"]);
    Line::new(Tone::Head, text)
}

/// The row of an input, and below it what there is to remark.
fn block(input: &InputStatus, pace: &Pace, width: usize) -> Vec<Line> {
    let lag = bytes(input.lag_bytes);
    let delay = span(Duration::from_millis(input.lag_ms));
    let state = if input.state == "pause" {
        "PAUSED"
    } else {
        &input.state
    };
    let cells = [&input.input, &input.target, state, &input.phase, &lag, &delay];
    let mut lines = vec![Line::new(tone(input), row(width, cells))];
    for (tone, remark) in remarks(input, pace) {
        let wrapped = wrapped(&remark, width.saturating_sub(2), 2);
        lines.extend(
            wrapped
                .into_iter()
                .map(|line| Line::new(tone, format!("  {line}"))),
        );
    }
    lines
}

fn row(width: usize, [input, target, state, phase, lag, delay]: [&str; 6]) -> String {
    let address = (width.saturating_sub(FIXED) / 2).max(ADDRESS_MIN);
    let cell = |text: &str| end_of(&harmless(text), address);
    let word = |text: &str, width: usize| start_of(&harmless(text), width);
    let row = format!(
        "{:<address$} {:<address$} {:<6} {:<11} {lag:>9} {delay:>7}",
        cell(input),
        cell(target),
        word(state, 6),
        word(phase, 11)
    );
    start_of(&row, width)
}

fn remarks(input: &InputStatus, pace: &Pace) -> Vec<(Tone, String)> {
    let mut remarks = Vec::from_iter(lead(input));
    if let Some(full_sync) = input.full_sync.as_ref().filter(|_| input.phase == "full_sync") {
        remarks.push((Tone::Busy, progress(full_sync, pace.left(input))));
    }
    let is_well = ["incremental", "full_sync", "following"].contains(&input.phase.as_str());
    let in_trouble = input.state == "stop" || !is_well;
    let told = input.last_error.as_ref();
    if let Some((error, title)) = told.and_then(|error| Some((error, title(error, in_trouble)?))) {
        remarks.push((Tone::Trouble, format!("{title}: {}", harmless(&error.message))));
        if !error.hint.is_empty() {
            remarks.push((Tone::Plain, format!("hint: {}", harmless(&error.hint))));
        }
    }
    if input.phase == "incremental" && input.full_sync.as_ref().is_some_and(|one| one.expiries_pending) {
        let text = "keys of the full sync get their expiry once everything is caught up".to_owned();
        remarks.push((Tone::Plain, text));
    }
    if input.dead_letters > 0 {
        let noun = if input.dead_letters == 1 {
            "command"
        } else {
            "commands"
        };
        let text = format!("{} {noun} in the dead-letter file", count(input.dead_letters));
        remarks.push((Tone::Trouble, text));
    }
    remarks
}

/// How a trouble is introduced. Where the input is well all the same, only if it is recent: a part of the target may take nothing, or lose what it has.
fn title(error: &LastError, in_trouble: bool) -> Option<String> {
    if in_trouble {
        return Some("error".to_owned());
    }
    let told = UNIX_EPOCH + Duration::from_millis(error.at);
    // Of the daemon's future, where the clocks differ: now.
    let age = SystemTime::now().duration_since(told).unwrap_or_default();
    (age < RECENT).then(|| format!("{} s ago", age.as_secs()))
}

fn progress(full_sync: &FullSync, left: Option<Duration>) -> String {
    let known = full_sync.total_bytes > 0;
    let percent = if known {
        format!(" {}%,", full_sync.percent)
    } else {
        String::new()
    };
    let of = if known {
        format!(" of {}", bytes(full_sync.total_bytes))
    } else {
        String::new()
    };
    let left = left.map_or_else(String::new, |left| format!(", eta {}", span(left)));
    format!(
        "full sync ({}):{percent} {} keys, {}{of}{left}",
        harmless(&full_sync.reason),
        count(full_sync.keys),
        bytes(full_sync.bytes)
    )
}

/// An input that is live and well, but for these fields.
#[cfg(test)]
pub(super) fn example(but: &serde_json::Value) -> InputStatus {
    let mut input = serde_json::json!({
        "Input": "127.0.0.1:6379", "Target": "127.0.0.1:6380", "Role": "leader", "Transaction": true,
        "State": "run", "Phase": "incremental", "LagBytes": 0, "LagMs": 0, "FullSync": null, "LastError": null,
        "Offset": {"Source": 1, "Received": 1, "Applied": 1, "Checkpoint": 1}, "DeadLetters": 0, "Leader": "me",
    });
    for (field, value) in but.as_object().unwrap() {
        input[field] = value.clone();
    }
    serde_json::from_value(input).unwrap()
}

#[cfg(test)]
mod tests;
