//! Numbers and texts as they stand in a narrow table: pure, and never wider than told.

use std::time::Duration;

/// `0 B`, `3 KiB`, `1.2 MiB`, `1023 GiB`: at most eight characters.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut number = count as f64 / 1024.0;
    let mut unit = 0;
    // 1023.5 would be shown as 1024.
    while number >= 1023.5 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    scaled(number, UNITS[unit])
}

/// `0 ms`, `340 ms`, `1.2 s`, `59 s`, `12 min`, `3.4 h`, `5 d`: at most seven characters up to three years.
pub(super) fn span(time: Duration) -> String {
    let ms = time.as_millis();
    let seconds = time.as_secs_f64();
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..59_500 => scaled(seconds, "s"),
        59_500..3_570_000 => scaled(seconds / 60.0, "min"),
        3_570_000..84_600_000 => scaled(seconds / 3600.0, "h"),
        _ => scaled(seconds / 86_400.0, "d"),
    }
}

/// One decimal below ten, where it is not 0.
fn scaled(number: f64, unit: &str) -> String {
    let tenths = (number * 10.0).round() as u64;
    match (tenths / 10, tenths % 10) {
        (whole @ 0..10, tenth @ 1..) => format!("{whole}.{tenth} {unit}"),
        _ => format!("{} {unit}", number.round() as u64),
    }
}

/// `12,345`.
pub(super) fn count(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

/// The time of day on this machine's clock, `12:03:44`.
pub(super) fn clock() -> String {
    chrono::Local::now().format("%H:%M:%S").to_string()
}

/// The end of a text that is too long: of `host:port` the port and the domain tell most, and of an IPv6 address too.
pub(super) fn end_of(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    let tail: String = text.chars().skip(count + 1 - width).collect();
    format!("…{tail}")
}

/// The beginning of a text that is too long.
pub(super) fn start_of(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let head: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{head}…")
}

/// A text from elsewhere as one line: no newline, and nothing that a terminal would take for a command.
pub(super) fn harmless(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines of at most `width` characters, broken between words; those after the first begin with `indent` spaces.
pub(super) fn wrapped(text: &str, width: usize, indent: usize) -> Vec<String> {
    let indent = indent.min(width / 2);
    let mut lines = Vec::new();
    let mut line = String::new();
    let (mut used, mut empty) = (0, true);
    for word in text.split(' ') {
        let mut rest: Vec<char> = word.chars().collect();
        if !empty && used + 1 + rest.len() > width {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            (used, empty) = (indent, true);
        }
        if !empty {
            line.push(' ');
            used += 1;
        }
        // A word that is wider than a line is cut.
        while used + rest.len() > width {
            let more = rest.split_off((width - used).max(1).min(rest.len()));
            line.extend(rest);
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            (rest, used) = (more, indent);
        }
        used += rest.len();
        line.extend(rest);
        empty = false;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_say_their_unit() {
        for (number, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1_258_291, "1.2 MiB"),
            (1_048_575, "1 MiB"),
            (12_345_678, "12 MiB"),
            (1023 << 30, "1023 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(number), expected);
        }
        for (ms, expected) in [
            (0, "0 ms"),
            (340, "340 ms"),
            (1_234, "1.2 s"),
            (9_999, "10 s"),
            (59_499, "59 s"),
            (59_500, "1 min"),
            (720_000, "12 min"),
            (12_240_000, "3.4 h"),
            (432_000_000, "5 d"),
        ] {
            assert_eq!(span(Duration::from_millis(ms)), expected);
        }
        assert!((0..60).all(|bit| bytes((1 << bit) - 1).len() <= 8));
        assert!((0..37).all(|bit| span(Duration::from_millis((1 << bit) - 1)).len() <= 7));
    }

    #[test]
    fn of_an_address_the_end_is_kept() {
        assert_eq!(end_of("h:1", 21), "h:1");
        assert_eq!(
            end_of("a-long-name.example.org:6380", 21),
            "…ame.example.org:6380"
        );
        assert_eq!(
            end_of("[2001:db8:85a3:8d3:1319:8a2e:370:7348]:6380", 21),
            "…:8a2e:370:7348]:6380"
        );
        assert_eq!(start_of("incremental", 5), "incr…");
    }

    #[test]
    fn lines_are_broken_between_words_and_never_too_wide() {
        assert_eq!(wrapped("aa bb cc", 5, 2), ["aa bb", "  cc"]);
        assert_eq!(
            wrapped("aa bbbbbbbb c", 5, 2),
            ["aa", "  bbb", "  bbb", "  bb", "  c"]
        );
        assert_eq!(wrapped("", 5, 2), [""]);
        let text = "the target refuses: a-word-that-is-longer-than-a-line-can-be-and-then some";
        for width in 1..40 {
            let lines = wrapped(text, width, 4);
            assert!(
                lines.iter().all(|line| line.chars().count() <= width),
                "{lines:?}"
            );
            let words: String = lines.concat().split(' ').collect();
            assert_eq!(words, text.replace(' ', ""));
        }
    }

    #[test]
    fn nothing_from_elsewhere_commands_the_terminal() {
        assert_eq!(harmless("a\x1b[2J\nb\r\n\tc"), "a [2J b c");
    }
}
