//! Values of both sides, of keys whose type and length fit.

use super::Error;
use super::digest;
use super::look::dump;
use super::pieces::{self, Compared, Large};
use super::seen::{Seen, Verdict, judge, now_ms};
use super::side::Lines;
use super::sizes::{Sized, measure, together};
use crate::core::resp::Value;

/// A side, and a database of it.
pub(super) type At<'a> = (&'a mut Lines, u32);

/// The places of those whose values are not the same on both sides, as far as can be told.
pub(super) async fn differing(
    source: At<'_>,
    target: At<'_>,
    mut keys: Vec<Sized<'_>>,
) -> Result<Vec<usize>, Error> {
    measure(source.0, source.1, &mut keys).await?;
    let (large, small): (Vec<Sized<'_>>, Vec<Sized<'_>>) = keys.into_iter().partition(Sized::is_large);
    // Whoever looks at them again counts them among those that are not compared.
    let (too_large, small): (Vec<Sized<'_>>, Vec<Sized<'_>>) =
        small.into_iter().partition(Sized::is_too_large);
    let mut places: Vec<usize> = too_large.iter().map(|one| one.place).collect();
    for some in together(&small) {
        let (ours, theirs) =
            tokio::try_join!(dump(source.0, source.1, some), dump(target.0, target.1, some))?;
        let pairs = some.iter().zip(ours.into_iter().zip(theirs));
        places.extend(
            pairs.filter_map(|(one, (ours, theirs))| (!is_same(one, ours, theirs)).then_some(one.place)),
        );
    }
    for one in &large {
        let value = Large {
            key: one.key,
            kind: &one.kind,
            length: one.length,
        };
        let both = ((&mut *source.0, source.1), (&mut *target.0, target.1));
        let compared = pieces::compare(both.0, both.1, &value);
        if compared.await? != Compared::Same {
            places.push(one.place);
        }
    }
    Ok(places)
}

fn is_same(key: &Sized<'_>, source: Value, target: Value) -> bool {
    let (Value::Bulk(source), Value::Bulk(target)) = (source, target) else {
        return false;
    };
    if digest::is_same_dump(&source, &target) {
        return true;
    }
    let seen = |dump| {
        let value = digest::of_dump(dump, now_ms())?;
        Some(Seen {
            value,
            ..Seen::of(key.kind.clone())
        })
    };
    let both = seen(source).zip(seen(target));
    both.is_some_and(|(source, target)| judge(&source, &target, 0) == Verdict::Equal)
}
