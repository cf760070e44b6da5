//! The group's hash, as it is written: the table of [`super`]. Without I/O.

use crate::core::lease::{Damaged, Lease, View};
use crate::core::position::Epoch;

/// What is live at `now` of the hash.
///
/// # Errors
/// A field is none of ours.
pub fn view(now: u64, fields: impl Iterator<Item = (String, String)>) -> Result<View, Damaged> {
    let (mut view, mut sessions, mut leases) = (View::default(), Vec::new(), Vec::new());
    for (field, value) in fields {
        let damaged = |reason: &str| Damaged::new(&field, reason);
        match field.split_once('/') {
            Some(("registry", id)) => {
                let [until, session, record] = three(&value).ok_or_else(|| damaged("no session"))?;
                if until.parse::<u64>().map_err(|_| damaged("no time"))? > now {
                    let record = serde_json::from_str(record)
                        .map_err(|error| Damaged::new(&field, error.to_string()))?;
                    view.members.insert(id.to_owned(), record);
                    sessions.push((id.to_owned(), session.to_owned()));
                }
            }
            Some(("leases", input)) => {
                let [epoch, session, holder] = three(&value).ok_or_else(|| damaged("no lease"))?;
                let epoch = Epoch::parse(epoch).ok_or_else(|| damaged("no epoch"))?;
                let lease = Lease {
                    holder: holder.to_owned(),
                    epoch,
                    session: session.to_owned(),
                };
                leases.push((input.to_owned(), lease));
            }
            Some(("notes", key)) => {
                view.notes.insert(key.to_owned(), value);
            }
            // Epochs, and what a newer version may have there.
            _ => {}
        }
    }
    let is_live = |lease: &Lease| {
        sessions
            .iter()
            .any(|(id, session)| *id == lease.holder && *session == lease.session)
    };
    view.leases = leases.into_iter().filter(|(_, lease)| is_live(lease)).collect();
    Ok(view)
}

fn three(value: &str) -> Option<[&str; 3]> {
    let (first, rest) = value.split_once(' ')?;
    let (second, third) = rest.split_once(' ')?;
    Some([first, second, third])
}
