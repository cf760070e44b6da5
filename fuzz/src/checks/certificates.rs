//! Certificates and keys.
//!
//! | byte 0, modulo 3 | the rest |
//! | --- | --- |
//! | 0 | a certificate as it stands, in DER |
//! | 1 | what one is put together from: 6 bytes of its end, what fills its first fields, how lengths are written |
//! | 2 | a PEM file |

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::NaiveDate;

use gunyu::core::doctor::certificate::not_after;
use gunyu::core::net::pem::{certificates_in, private_key_in};

use super::assembled::Source;

const SEQUENCE: u8 = 0x30;

/// The end of a certificate is the one that was put in; what PEM holds can be written and read again.
pub fn check(input: &[u8]) {
    let Some((which, rest)) = input.split_first() else {
        return;
    };
    match which % 3 {
        0 => {
            let end = not_after(rest);
            // What follows a certificate is not looked at.
            assert_eq!(
                end.filter(|_| !rest.is_empty()),
                not_after(&[rest, b"more"].concat()).filter(|_| end.is_some())
            );
        }
        1 => assembled(&mut Source(rest)),
        _ => pem(rest),
    }
}

fn assembled(source: &mut Source) {
    let [year, month, day, hour, minute, second] = source.array();
    let is_long = year >= 100;
    let full_year = match (is_long, year) {
        (true, _) => 1900 + i32::from(year) * 3,
        (false, 50..) => 1900 + i32::from(year),
        (false, _) => 2000 + i32::from(year),
    };
    let time = NaiveDate::from_ymd_opt(full_year, u32::from(month % 12) + 1, u32::from(day % 28) + 1)
        .and_then(|date| {
            date.and_hms_opt(
                u32::from(hour % 24),
                u32::from(minute % 60),
                u32::from(second % 60),
            )
        })
        .expect("there is such a time");
    let (kind, text) = match is_long {
        true => (0x18, time.format("%Y%m%d%H%M%SZ").to_string()),
        false => (0x17, time.format("%y%m%d%H%M%SZ").to_string()),
    };
    let how = source.byte();
    let mut fields = Vec::new();
    if how & 1 != 0 {
        fields.extend(element(how, 0xa0, &[2, 1, 2]));
    }
    for kind in [0x02, SEQUENCE, SEQUENCE] {
        let len = usize::from(source.byte());
        fields.extend(element(how, kind, source.take(len)));
    }
    let begin = source.byte();
    let begin = element(how, 0x17, source.take(usize::from(begin % 16)));
    let validity = element(
        how,
        SEQUENCE,
        &[begin, element(how, kind, text.as_bytes())].concat(),
    );
    fields.extend(validity);
    fields.extend(source.0);
    let certificate = element(how, SEQUENCE, &element(how, SEQUENCE, &fields));
    assert_eq!(not_after(&certificate), Some(time.and_utc().timestamp()));
    for end in 0..certificate.len().min(100) {
        assert_eq!(not_after(&certificate[..end]), None);
    }
}

/// An element whose length is written in the shortest way, or in one to four bytes.
fn element(how: u8, kind: u8, content: &[u8]) -> Vec<u8> {
    let digits = (content.len() as u32).to_be_bytes();
    let needed = digits.iter().skip_while(|digit| **digit == 0).count();
    let wanted = usize::from(how >> 1) % 5;
    let mut all = vec![kind];
    match wanted.max(needed) {
        0 => all.push(0),
        1 if wanted == 0 && content.len() < 0x80 => all.push(content.len() as u8),
        count => {
            all.push(0x80 | count as u8);
            all.extend(&digits[4 - count..]);
        }
    }
    all.extend(content);
    all
}

fn pem(text: &[u8]) {
    if let Ok(all) = certificates_in(text) {
        assert!(!all.is_empty());
        let written: String = all.iter().map(|one| armoured("CERTIFICATE", one)).collect();
        assert_eq!(certificates_in(written.as_bytes()).ok().as_ref(), Some(&all));
        let _ = all.iter().map(|one| not_after(one)).max();
        assert!(all.iter().map(|one| one.len()).sum::<usize>() <= text.len());
    }
    if let Ok(key) = private_key_in(text) {
        assert!(key.secret_der().len() <= text.len());
    }
}

fn armoured(what: &str, der: &[u8]) -> String {
    let body: Vec<String> = STANDARD
        .encode(der)
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    format!(
        "-----BEGIN {what}-----\n{}\n-----END {what}-----\n",
        body.join("\n")
    )
}
