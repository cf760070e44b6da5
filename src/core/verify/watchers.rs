//! Connections that watch keys at the source, in companies: one key that is touched spoils it for its company alone.

use super::Error;
use super::group::{Group, Place};
use super::side::{self, Lines};
use crate::core::catalog::Noted;
use crate::core::resp::{Value, encode_command};

/// Connections to all sources, for each company.
pub(super) struct Watchers {
    pool: Vec<Vec<Lines>>,
}

impl Watchers {
    pub(super) fn new(group: &Group, companies: usize) -> Watchers {
        Watchers {
            pool: (0..companies).map(|_| group.source_lines()).collect(),
        }
    }

    /// Watches keys, each company (of places among the rows) on connections of its own. False for those that another node has by now.
    pub(super) async fn watch(
        &mut self,
        places: &[Place],
        rows: &[Noted],
        companies: &[Vec<usize>],
    ) -> Result<Vec<bool>, Error> {
        let mut is_sure = vec![true; rows.len()];
        for (lines, company) in self.pool.iter_mut().zip(companies) {
            let keys: Vec<&[u8]> = company.iter().map(|row| &rows[*row].key[..]).collect();
            for place in places {
                let answers = lines[place.origin].ask(place.db, &keys, 1, |request, number| {
                    encode_command(request, &[b"WATCH", keys[number]]);
                });
                for (row, answer) in company.iter().zip(answers.await?) {
                    // A replica that refers to its own master (before 6.2) watches nothing, now or later.
                    let side = lines[place.origin].side();
                    let refused = answer
                        .error()
                        .filter(|text| side.refers_home(&rows[*row].key, text));
                    if let Some(text) = refused {
                        return Err(side.refused(&rows[*row].key, b"WATCH", text));
                    }
                    is_sure[*row] &= !answer.error().is_some_and(side::is_elsewhere);
                }
            }
        }
        Ok(is_sure)
    }

    /// Ends the watch. False for all of whose company something has been touched, on the same node.
    pub(super) async fn unwatch(
        &mut self,
        places: &[Place],
        rows: &[Noted],
        companies: &[Vec<usize>],
        is_sure: &mut [bool],
    ) -> Result<(), Error> {
        for (lines, company) in self.pool.iter_mut().zip(companies) {
            let mut origins: Vec<usize> = places.iter().map(|place| place.origin).collect();
            origins.dedup();
            for origin in origins {
                let lines = &mut lines[origin];
                let mut untouched = vec![true; lines.side().nodes.len()];
                for (node, untouched) in untouched.iter_mut().enumerate() {
                    let watches = |row: &usize| lines.side().node_of(&rows[*row].key) == node;
                    if company.iter().any(watches) {
                        let talk = lines.talk(node).await?;
                        talk.call(&[b"MULTI"]).await?;
                        *untouched = matches!(talk.call(&[b"EXEC"]).await?, Value::Array(_));
                    }
                }
                for row in company {
                    is_sure[*row] &= untouched[lines.side().node_of(&rows[*row].key)];
                }
            }
        }
        Ok(())
    }
}

/// So many places in so many companies, one after the other.
pub(super) fn companies(rows: usize, count: usize) -> Vec<Vec<usize>> {
    let each = rows.div_ceil(count.max(1)).max(1);
    let all: Vec<usize> = (0..rows).collect();
    all.chunks(each).map(<[usize]>::to_vec).collect()
}

/// Where in the sources the keys of a database of the target are, or would be.
pub(super) fn places(group: &Group, db: u32) -> Vec<Place> {
    let mut places = group.places(db);
    if let Some(feeder) = group.feeder(db) {
        for origin in 0..group.origins.len() {
            let place = Place { origin, db: feeder };
            if !places.contains(&place) {
                places.push(place);
            }
        }
    }
    places.sort_by_key(|place| place.origin);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn companies_are_as_many_as_asked_for_and_hold_all() {
        assert_eq!(companies(5, 2), [vec![0, 1, 2], vec![3, 4]]);
        assert_eq!(companies(3, 32), [[0], [1], [2]]);
        assert_eq!(companies(0, 2), Vec::<Vec<usize>>::new());
    }
}
