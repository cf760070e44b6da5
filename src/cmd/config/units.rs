//! Durations (`1m30s`) and sizes (`512MiB`): reading and writing them.

use std::time::Duration;

/// The units of a duration, with their length in nanoseconds. The first match wins, so `ms` stands before `m`.
const DURATIONS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];

/// The units of a size. `KB` is 1000 bytes and `KiB` 1024, as everywhere but in redis.conf.
const SIZES: [(&str, u64); 14] = [
    ("B", 1),
    ("K", 1_000),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("M", 1_000_000),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("G", 1_000_000_000),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("T", 1_000_000_000_000),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
    ("", 1),
];

/// Reads a duration as Go does: numbers with units, one after the other, fractions allowed. `0` needs no unit.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let (unit, nanos) = DURATIONS.iter().find(|(unit, _)| after.starts_with(unit))?;
        total = total.checked_add(nanoseconds(number, *nanos)?)?;
        rest = &after[unit.len()..];
    }
    match text.is_empty() {
        true => None,
        false => u64::try_from(total).ok().map(Duration::from_nanos),
    }
}

/// `number` (digits, at most one point) times `unit`.
fn nanoseconds(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.len() > 18 {
        return None;
    }
    let digits = |text: &str| {
        if text.is_empty() {
            Some(0)
        } else {
            text.parse::<u128>().ok()
        }
    };
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = digits(fraction)?.checked_mul(unit)? / scale;
    digits(whole)?.checked_mul(unit)?.checked_add(part)
}

/// Writes a duration so that [`duration`] reads the same: `1m30s`, `300ms`, `0s`.
pub(super) fn duration_text(duration: Duration) -> String {
    let mut nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, length) in [6, 5, 4, 3, 1, 0].map(|i| DURATIONS[i]) {
        if nanos >= length {
            text.push_str(&format!("{}{unit}", nanos / length));
            nanos %= length;
        }
    }
    text
}

/// Reads a size: an integer of bytes, or one with a unit.
pub(super) fn size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start();
    let (_, bytes) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.parse::<u64>().ok()?.checked_mul(*bytes)
}

/// Writes a size so that [`size`] reads the same: `512MiB` where it comes out even, else the bytes.
pub(super) fn size_text(bytes: u64) -> Option<String> {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let (unit, shift) = units
        .into_iter()
        .find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1u64 << shift))?;
    Some(format!("{}{unit}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, ms) in [
            ("300ms", 300),
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("12h", 43_200_000),
            ("1.5s", 1_500),
            (".5h", 1_800_000),
            ("1d", 86_400_000),
            ("0", 0),
            ("0s", 0),
            ("2000us", 2),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1 s",
            "1x",
            "1s2",
            "..5s",
            "1.2.3s",
            "99999999999h",
            "10S",
        ] {
            assert_eq!(duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("64KiB", 65_536),
            ("512MiB", 512 << 20),
            ("10GB", 10_000_000_000),
            ("1 TiB", 1 << 40),
            ("7b", 7),
            ("3mib", 3 << 20),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in [
            "",
            "MiB",
            "-1",
            "1.5GiB",
            "1XB",
            "1e3",
            "99999999999TiB",
            "18446744073709551616",
        ] {
            assert_eq!(size(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_duration_is_read_back_as_it_was(nanos: u64) {
            let before = Duration::from_nanos(nanos);
            prop_assert_eq!(duration(&duration_text(before)), Some(before));
        }

        #[test]
        fn a_size_is_read_back_as_it_was(bytes: u64, shift in 0u32..64) {
            let before = bytes >> shift << shift;
            let text = size_text(before).unwrap_or_else(|| before.to_string());
            prop_assert_eq!(size(&text), Some(before));
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in ".*") {
            let _ = (duration(&text), size(&text), super::super::address::Address::parse(&text, None).is_ok());
        }
    }
}
