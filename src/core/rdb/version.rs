//! Whose format, and which version of it.
//!
//! Owns the header, nine bytes: `REDIS` and four digits, or `VALKEY` and three. `DUMP` payloads have only the number.

use super::error::Cause;

/// Whose numbers from 12 on these are: both took Redis' format up to RDB 11 and went their own ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// Redis, and everything up to RDB 11 whoever wrote it.
    Redis,
    /// Valkey since 9.0, which writes its own magic.
    Valkey,
}

/// The version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// Whose.
    pub flavor: Flavor,
    /// The number.
    pub number: u32,
}

impl Version {
    /// The last version before the flavors parted.
    pub(super) const SHARED_MAX: u32 = 11;
    /// The same, as a version.
    pub const SHARED: Version = Version {
        flavor: Flavor::Redis,
        number: Version::SHARED_MAX,
    };
    /// Valkey counts from here, so that the number alone tells the flavors apart.
    const VALKEY_MIN: u32 = 80;

    /// The version that a payload's footer names, which has no magic.
    #[must_use]
    pub fn of_footer(number: u16) -> Version {
        let number = u32::from(number);
        let flavor = if number < Version::VALKEY_MIN {
            Flavor::Redis
        } else {
            Flavor::Valkey
        };
        Version { flavor, number }
    }

    /// The version that a file's first nine bytes name.
    pub(super) fn of_magic(magic: [u8; 9]) -> Result<Version, Cause> {
        let (flavor, digits) = match &magic {
            [b'R', b'E', b'D', b'I', b'S', digits @ ..] => (Flavor::Redis, &digits[..]),
            [b'V', b'A', b'L', b'K', b'E', b'Y', digits @ ..] => (Flavor::Valkey, &digits[..]),
            _ => return Err(Cause::Magic(magic)),
        };
        let number = digits.iter().try_fold(0, |number, digit| {
            digit
                .is_ascii_digit()
                .then(|| number * 10 + u32::from(digit - b'0'))
        });
        match number {
            Some(number) if number > 0 => Ok(Version { flavor, number }),
            _ => Err(Cause::Magic(magic)),
        }
    }

    /// Whether a checksum stands at the end.
    pub(super) fn has_checksum(self) -> bool {
        self.number >= 5
    }
}

/// As the file's magic has it.
impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.flavor {
            Flavor::Redis => write!(f, "REDIS{:04}", self.number),
            Flavor::Valkey => write!(f, "VALKEY{:03}", self.number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_what_the_magic_says() {
        for magic in [b"REDIS0006", b"REDIS0013", b"VALKEY080"] {
            let version = Version::of_magic(*magic).unwrap();
            assert_eq!(version.to_string().as_bytes(), magic);
        }
        for wrong in [b"REDIS0000", b"REDIS00x1", b"VALKEY00a", b"KEYDB0010"] {
            assert_eq!(Version::of_magic(*wrong), Err(Cause::Magic(*wrong)));
        }
    }

    #[test]
    fn a_footer_tells_the_flavors_apart_by_number() {
        assert_eq!(Version::of_footer(13).flavor, Flavor::Redis);
        assert_eq!(Version::of_footer(80).flavor, Flavor::Valkey);
    }
}
