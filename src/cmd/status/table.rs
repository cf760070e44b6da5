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
use std::time::Duration;

use super::pace::Pace;
use super::words::{bytes, count, end_of, harmless, span, start_of, wrapped};
use crate::http::model::{FullSync, InputStatus};

/// The width where nobody says another.
pub(super) const WIDTH: usize = 80;

/// Columns beside the two addresses, with the spaces between.
const FIXED: usize = 6 + 11 + 9 + 7 + 5;

/// What an address gets at least: an IPv4 address with its port.
const ADDRESS_MIN: usize = 21;

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
        return lines;
    };
    fill(&mut lines, &sorted, height, |input| {
        block(input, pace, page.width)
    });
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
    let mut remarks = Vec::new();
    if let Some(full_sync) = input.full_sync.as_ref().filter(|_| input.phase == "full_sync") {
        remarks.push((Tone::Busy, progress(full_sync, pace.left(input))));
    }
    let in_trouble = input.state == "stop" || !["incremental", "full_sync"].contains(&input.phase.as_str());
    if let Some(error) = input.last_error.as_ref().filter(|_| in_trouble) {
        remarks.push((Tone::Trouble, format!("error: {}", harmless(&error.message))));
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
mod tests {
    use serde_json::json;

    use super::*;

    fn page(width: usize, height: Option<usize>) -> Page {
        Page {
            width,
            height,
            clock: "12:03:44".into(),
        }
    }

    fn texts(inputs: &[InputStatus], page: &Page) -> Vec<String> {
        let lines = view(inputs, &Pace::default(), page).into_iter();
        lines.map(|line| line.text).collect()
    }

    fn in_backoff() -> InputStatus {
        example(&json!({
            "Input": "127.0.0.1:7001", "Phase": "backoff", "LagBytes": 1_258_291, "LagMs": 340, "DeadLetters": 2,
            "Target": "a-host-with-a-long-name.example.org:6380",
            "LastError": {"At": 0, "Message": "the target is away", "Hint": "bring it back"},
        }))
    }

    /// 47 live, two in a full sync, one in backoff.
    fn fifty() -> Vec<InputStatus> {
        let address = |n: u32| format!("[2001:db8:85a3::{n:x}]:6379");
        let mut inputs: Vec<InputStatus> = (0..47)
            .map(|n| example(&json!({"Input": address(n), "LagBytes": u64::from(n) * 64})))
            .collect();
        let full_sync = json!({
            "Percent": 42.3, "Keys": 1_234_567, "Bytes": 1_u64 << 30, "TotalBytes": 3_u64 << 30,
            "Reason": "the source refused to continue: its backlog no longer holds our position"
        });
        for n in 47..49 {
            inputs.push(example(
                &json!({"Input": address(n), "Phase": "full_sync", "FullSync": full_sync}),
            ));
        }
        inputs.push(in_backoff());
        inputs
    }

    fn widest(lines: &[String]) -> usize {
        lines.iter().map(|line| line.chars().count()).max().unwrap()
    }

    #[test]
    fn a_row_fits_eighty_columns_and_troubles_stand_below_it() {
        let text = plain(&[in_backoff()], &Pace::default());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].chars().count(), 80);
        assert_eq!(
            lines[1],
            "127.0.0.1:7001        …ame.example.org:6380 run    backoff       1.2 MiB  340 ms"
        );
        assert_eq!(
            &lines[2..],
            [
                "  error: the target is away",
                "  hint: bring it back",
                "  2 commands in the dead-letter file"
            ]
        );
        assert!(!text.contains('\x1b'));
    }

    #[test]
    fn one_input_is_a_summary_a_head_and_a_row() {
        let lines = texts(&[example(&json!({"LagBytes": 3_072}))], &page(80, Some(24)));
        assert_eq!(lines[0], "1 input: live · lag 3 KiB, 0 ms · 12:03:44");
        assert!(lines[1].starts_with("INPUT ") && lines[2].contains("incremental"));
        assert_eq!((lines.len(), widest(&lines)), (3, 80));
    }

    #[test]
    fn fifty_inputs_fit_a_window_and_the_rest_is_summed_up() {
        let lines = texts(&fifty(), &page(80, Some(24)));
        let all = "50 inputs: 47 live, 2 full sync, 1 backoff";
        assert_eq!(
            lines[0],
            format!("{all} · lag 1.2 MiB, 340 ms · 12:03:44"),
            "81 with `worst`"
        );
        let wide = texts(&fifty(), &page(81, None));
        assert_eq!(wide[0], format!("{all} · worst lag 1.2 MiB, 340 ms · 12:03:44"));
        let narrow = texts(&fifty(), &page(45, None));
        assert_eq!(narrow[..2], [all, "lag 1.2 MiB, 340 ms · 12:03:44"]);
        assert_eq!((lines.len(), widest(&lines)), (24, 80));
        let place = |text: &str| lines.iter().position(|line| line.contains(text)).unwrap();
        assert!(place(" backoff ") < place("full_sync") && place("full_sync") < place("incremental"));
        let shown = lines.iter().filter(|line| line.contains("incremental")).count();
        let rest = 47 - shown;
        let last = lines.last().unwrap();
        assert!(
            last.starts_with(&format!("… and {rest} more, all live, lag at most ")),
            "{last}"
        );
        assert!(
            place("85a3::2e]:6379") < place("85a3::2d]:6379"),
            "the largest lag first"
        );
    }

    #[test]
    fn without_a_height_all_inputs_are_shown() {
        let lines = texts(&fifty(), &page(80, None));
        let rows = lines.iter().filter(|line| line.contains("]:6379")).count();
        assert_eq!((rows, widest(&lines)), (49, 80));
    }

    #[test]
    fn no_window_is_too_small() {
        for (width, height) in [
            (80, 24),
            (40, 10),
            (20, 4),
            (80, 3),
            (80, 2),
            (3, 1),
            (1, 1),
            (200, 60),
        ] {
            let lines = texts(&fifty(), &page(width, Some(height)));
            assert!(
                lines.len() <= height && widest(&lines) <= width,
                "{width}x{height}: {lines:#?}"
            );
        }
    }

    #[test]
    fn a_wide_window_shows_addresses_whole() {
        let lines = texts(&[in_backoff()], &page(140, Some(24)));
        assert!(
            lines[2].contains(" a-host-with-a-long-name.example.org:6380 "),
            "{lines:#?}"
        );
    }

    #[test]
    fn what_needs_attention_comes_first() {
        let states = [
            ("a", json!({"LagBytes": 1})),
            ("b", json!({"LagBytes": 2})),
            ("c", json!({"State": "pause", "LagBytes": 900})),
            ("d", json!({"Phase": "full_sync"})),
            ("e", json!({"Phase": "connecting"})),
            ("f", json!({"State": "stop"})),
        ];
        let inputs: Vec<InputStatus> = states
            .into_iter()
            .map(|(name, mut but)| {
                but["Input"] = name.into();
                example(&but)
            })
            .collect();
        let lines = texts(&inputs, &page(80, Some(24)));
        let names: String = lines[3..].iter().filter_map(|line| line.chars().next()).collect();
        assert_eq!(names, "fedcba", "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains(" PAUSED ")), "{lines:#?}");
        assert!(lines[0].starts_with("6 inputs: 2 live, 1 full sync, 1 paused, 1 connecting, 1 stopped"));
    }

    #[test]
    fn a_full_sync_tells_how_far_it_is() {
        let full_sync = serde_json::from_value(json!({
            "Percent": 42.3, "Keys": 12_345, "Bytes": 1_u64 << 30, "TotalBytes": 3_u64 << 30, "Reason": "first sync"
        }));
        assert_eq!(
            progress(&full_sync.unwrap(), Some(Duration::from_secs(200))),
            "full sync (first sync): 42.3%, 12,345 keys, 1 GiB of 3 GiB, eta 3.3 min"
        );
        let diskless = serde_json::from_value(json!({
            "Percent": 0.0, "Keys": 1, "Bytes": 5, "TotalBytes": 0, "Reason": "first sync"
        }));
        assert_eq!(
            progress(&diskless.unwrap(), None),
            "full sync (first sync): 1 keys, 5 B"
        );
    }

    #[test]
    fn what_a_server_says_cannot_command_the_terminal() {
        let mut input = in_backoff();
        input.last_error.as_mut().unwrap().message = "a\x1b[2J\nb".into();
        let text = texts(&[input], &page(80, Some(24))).join("");
        assert!(
            !text.contains('\x1b') && text.contains("error: a [2J b"),
            "{text}"
        );
    }

    #[test]
    fn colours_are_put_around_a_line_and_only_where_wanted() {
        let line = Line::new(Tone::Trouble, "x".into());
        assert_eq!(line.painted(true), "\x1b[31mx\x1b[0m");
        assert_eq!(line.painted(false), "x");
    }
}
