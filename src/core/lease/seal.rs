//! That a member knows the group's token, shown without telling it.
//!
//! Whoever may write to the store of leases may write records there, and say in them where a member is to be reached; whoever is reached is sent the
//! token. So each record bears a seal: the HMAC-SHA256, by the token, of the group's name, the member's name and the address of its API, which are what is
//! believed of a record where a token is at stake. Nobody without the token can make one, and one that is copied leads to where it led before.

use std::fmt;

use ring::hmac;

use super::Record;

/// Makes seals, and knows them, with the token of one group.
#[derive(Clone)]
pub struct Seal {
    key: hmac::Key,
    group: String,
}

/// The key is not for traces.
impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("group", &self.group).finish()
    }
}

impl Seal {
    /// With this token, for this group.
    #[must_use]
    pub fn new(token: &str, group: &str) -> Seal {
        Seal {
            key: hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes()),
            group: group.to_owned(),
        }
    }

    /// The proof for this record, in hexadecimal digits.
    #[must_use]
    pub fn proof(&self, record: &Record) -> String {
        let tag = hmac::sign(&self.key, &self.sealed(record));
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether whoever wrote this record knew the token.
    #[must_use]
    pub fn is_on(&self, record: &Record) -> bool {
        let proof = &record.proof;
        let digits = proof.as_bytes().chunks(2).map(|two| {
            let two = std::str::from_utf8(two).ok()?;
            u8::from_str_radix(two, 16).ok()
        });
        let tag: Option<Vec<u8>> = digits.collect();
        tag.is_some_and(|tag| hmac::verify(&self.key, &self.sealed(record), &tag).is_ok())
    }

    /// Each part with its length before it: no two records are sealed alike.
    fn sealed(&self, record: &Record) -> Vec<u8> {
        let mut text = b"gunyu member 1".to_vec();
        for part in [&self.group, &record.id, &record.api] {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_for_one_token_one_group_one_name_and_one_address() {
        let seal = Seal::new("token", "g");
        let mut record = Record {
            id: "10.0.0.1:5".to_owned(),
            api: "http://10.0.0.1:4".to_owned(),
            ..Record::default()
        };
        record.proof = seal.proof(&record);
        assert!(seal.is_on(&record));
        // What changes with each renewal is not part of it.
        record.beat += 1;
        record.is_leaving = true;
        assert!(seal.is_on(&record));
        assert!(!Seal::new("other", "g").is_on(&record));
        assert!(!Seal::new("token", "h").is_on(&record));
        let with = |change: &dyn Fn(&mut Record)| {
            let mut other = record.clone();
            change(&mut other);
            seal.is_on(&other)
        };
        assert!(!with(&|one| one.id = "10.0.0.2:5".to_owned()));
        assert!(!with(&|one| one.api = "http://10.0.0.2:4".to_owned()));
        // A letter that changes sides.
        assert!(!with(&|one| {
            one.id = "10.0.0.1:5h".to_owned();
            one.api = "ttp://10.0.0.1:4".to_owned();
        }));
        for proof in [
            "",
            "00",
            "zz",
            "é",
            &record.proof[2..],
            &format!("{}00", record.proof),
        ] {
            assert!(!with(&|one| one.proof = proof.to_owned()), "{proof}");
        }
        assert!(!format!("{seal:?}").contains("token"));
    }
}
