//! What Valkey says of slots that come or go as a whole: the answer to `CLUSTER GETSLOTMIGRATIONS`
//! (`valkey/src/cluster_migrateslots.c`, `clusterCommandGetSlotMigrations`).

use crate::core::command;
use crate::core::resp::Value;

/// So many exports that are over are remembered: the newest, which the server lists first.
const OVER_MAX: usize = 64;

/// An export of slots as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// First and last slots.
    pub slots: Vec<(u16, u16)>,
    /// It is not under way any more.
    pub is_over: bool,
}

/// What a master says of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Jobs {
    /// Some are under way.
    pub under_way: bool,
    /// Those by which slots go away.
    pub exports: Vec<Export>,
}

/// Reads the answer of Valkey: a list of maps, or of lists of names and values by turns. `None` where it is none.
#[must_use]
pub fn jobs(answer: &Value) -> Option<Jobs> {
    let (mut under_way, mut over, mut exports) = (false, 0, Vec::new());
    for job in answer.array()? {
        let field = |name: &str| text_of(job, name);
        let is_over = ["success", "failed", "cancelled"].contains(&field("state")?.as_str());
        under_way |= !is_over;
        over += usize::from(is_over);
        if field("operation")?.eq_ignore_ascii_case("EXPORT") && !(is_over && over > OVER_MAX) {
            exports.push(Export {
                name: field("name")?,
                slots: ranges(&field("slot_ranges")?)?,
                is_over,
            });
        }
    }
    Some(Jobs { under_way, exports })
}

fn text_of(job: &Value, name: &str) -> Option<String> {
    let is_it = |key: &Value| key.text() == Some(name.as_bytes());
    let value = match job {
        Value::Map(fields) => fields.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value),
        fields => {
            let mut pairs = fields.array()?.chunks_exact(2);
            pairs.find(|pair| is_it(&pair[0])).map(|pair| &pair[1])
        }
    };
    Some(String::from_utf8_lossy(value?.text()?).into_owned())
}

/// Reads `0-5 7-7`.
fn ranges(text: &str) -> Option<Vec<(u16, u16)>> {
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    command::ranges(words.map(command::read_range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_slots_that_there_are_not_are_refused() {
        for (text, expected) in [
            ("5-115 7", Some(vec![(5, 115), (7, 7)])),
            ("5-3", None),
            ("0-16384", None),
            ("70000", None),
            ("0-16383 1", None),
        ] {
            assert_eq!(ranges(text), expected, "{text}");
        }
        assert_eq!(ranges(&"1 ".repeat(16_385)), None);
    }

    fn job(operation: &str, state: &str) -> Value {
        let fields = [
            ("name", "one"),
            ("operation", operation),
            ("slot_ranges", "5-115 7"),
            ("state", state),
        ];
        let bulk = |text: &str| Value::Bulk(text.as_bytes().to_vec());
        let all = fields.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]);
        Value::Array(all.collect())
    }

    #[test]
    fn the_jobs_of_valkey_are_read() {
        let read = |listed: &[(&str, &str)]| {
            let all = listed.iter().map(|(operation, state)| job(operation, state));
            let read = jobs(&Value::Array(all.collect())).unwrap();
            (read.under_way, read.exports)
        };
        let export = |is_over| Export {
            name: "one".to_owned(),
            slots: vec![(5, 115), (7, 7)],
            is_over,
        };
        assert_eq!(read(&[]), (false, vec![]));
        assert_eq!(read(&[("EXPORT", "snapshotting")]), (true, vec![export(false)]));
        assert_eq!(read(&[("EXPORT", "success")]), (false, vec![export(true)]));
        assert_eq!(read(&[("IMPORT", "receiving-snapshot")]), (true, vec![]));
        let many = vec![("EXPORT", "failed"); OVER_MAX * 2];
        assert_eq!(read(&many).1.len(), OVER_MAX);
        assert_eq!(jobs(&Value::Nil), None);
    }
}
