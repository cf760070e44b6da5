//! One lane of a full sync: sends portions while there is room for them, and tells what became of each.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::unit::{self, Redirected};
use super::{Refused, WINDOW_BYTES};
use crate::core::net::Address;
use crate::core::resp::{Event, said};
use crate::core::target::Error;
use crate::core::target::lane::Lane;

/// A portion has been answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) number: u64,
    pub(super) bytes: usize,
    pub(super) keys: u64,
    pub(super) refused: Vec<Refused>,
    /// It holds pieces of a value, whose order counts.
    pub(super) has_pieces: bool,
    /// What another node is to be asked for.
    pub(super) redirected: Redirected,
    /// Who answered.
    pub(super) node: Address,
}

#[derive(Debug)]
pub(super) struct Portion {
    pub(super) number: u64,
    /// The database selected before its first command.
    pub(super) first_db: u32,
    pub(super) commands: Bytes,
    pub(super) count: usize,
    pub(super) keys: u64,
    pub(super) has_pieces: bool,
}

/// One lane: sends portions while the window has room, reads replies.
pub(super) async fn run_lane(
    mut lane: Lane,
    mut portions: mpsc::Receiver<Portion>,
    answers: mpsc::Sender<Result<Answered, Error>>,
    is_cluster: bool,
) {
    if let Err(error) = drive_lane(&mut lane, &mut portions, &answers, is_cluster).await {
        // Where nobody listens the full sync is over.
        let _ = answers.send(Err(error)).await;
    }
}

async fn drive_lane(
    lane: &mut Lane,
    portions: &mut mpsc::Receiver<Portion>,
    answers: &mpsc::Sender<Result<Answered, Error>>,
    is_cluster: bool,
) -> Result<(), Error> {
    let mut in_flight: VecDeque<Flight> = VecDeque::new();
    let mut bytes = 0;
    loop {
        while in_flight.front().is_some_and(Flight::is_complete) {
            let Some(flight) = in_flight.pop_front() else {
                break;
            };
            bytes -= flight.portion.commands.len();
            let answered = flight.conclude(lane, is_cluster)?;
            if answers.send(Ok(answered)).await.is_err() {
                return Ok(());
            }
        }
        let waiting = !in_flight.is_empty();
        let address = lane.address().clone();
        tokio::select! {
            // Replies first: they make room.
            biased;
            heard = lane.replies(waiting, |event| hear(&mut in_flight, &event)) => heard?,
            portion = portions.recv(), if bytes < WINDOW_BYTES => match portion {
                Some(portion) => {
                    bytes += portion.commands.len();
                    lane.send([portion.commands.clone()]).await?;
                    in_flight.push_back(Flight::new(portion));
                }
                None if in_flight.is_empty() => return Ok(()),
                None => {
                    lane.replies(true, |event| hear(&mut in_flight, &event)).await?;
                }
            },
        }
        if in_flight
            .front()
            .is_some_and(|flight| flight.seen > flight.portion.count)
        {
            return Err(Error::Unexpected {
                address,
                command: "RESTORE".into(),
            });
        }
    }
}

#[derive(Debug)]
struct Flight {
    portion: Portion,
    seen: usize,
    /// Which command was refused, and the target's words.
    errors: Vec<(usize, String)>,
    /// The same of the aggregate in hand: which of its elements.
    element_errors: Vec<(usize, String)>,
}

impl Flight {
    fn new(portion: Portion) -> Flight {
        Flight {
            portion,
            seen: 0,
            errors: Vec::new(),
            element_errors: Vec::new(),
        }
    }

    fn is_complete(&self) -> bool {
        self.seen == self.portion.count
    }

    /// The reply of an `EXEC` is whole: its elements are those of the commands before it.
    fn end_aggregate(&mut self, elements: usize) {
        for (element, reply) in std::mem::take(&mut self.element_errors) {
            self.errors
                .push(((self.seen + element).saturating_sub(elements), reply));
        }
    }

    /// Finds the commands that were refused, and those that another node is to be asked for.
    fn conclude(self, lane: &Lane, is_cluster: bool) -> Result<Answered, Error> {
        let node = lane.address();
        let (redirected, errors) = match is_cluster {
            true => unit::redirected(&self.portion, self.errors, node),
            false => (Redirected::default(), self.errors),
        };
        Ok(Answered {
            number: self.portion.number,
            bytes: self.portion.commands.len(),
            keys: self.portion.keys,
            refused: unit::refused(&self.portion.commands, self.portion.first_db, errors, node)?,
            has_pieces: self.portion.has_pieces,
            redirected,
            node: node.clone(),
        })
    }
}

fn hear(in_flight: &mut VecDeque<Flight>, event: &Event<'_>) {
    let mut left = match event {
        Event::Ok(count) => *count,
        Event::ElementError { index, text } => {
            if let Some(flight) = in_flight.iter_mut().find(|flight| !flight.is_complete()) {
                flight.element_errors.push((*index, said(text)));
            }
            return;
        }
        Event::Nil | Event::Array { .. } | Event::Error(_) => 1,
    };
    for flight in in_flight.iter_mut() {
        let take = left.min(flight.portion.count - flight.seen);
        if take > 0 {
            match event {
                Event::Error(text) => flight.errors.push((flight.seen, said(text))),
                Event::Array { elements, .. } => flight.end_aggregate(*elements),
                _ => {}
            }
        }
        flight.seen += take;
        left -= take;
        if left == 0 {
            return;
        }
    }
    // More replies than commands: noticed by the caller.
    if let Some(flight) = in_flight.front_mut() {
        flight.seen = flight.portion.count + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_to_the_portions_they_belong_to() {
        let portion = |number, count| Portion {
            number,
            first_db: 0,
            commands: Bytes::new(),
            count,
            keys: 0,
            has_pieces: false,
        };
        let flight = |number, count| Flight::new(portion(number, count));
        let mut in_flight = VecDeque::from([flight(1, 2), flight(2, 3)]);
        hear(&mut in_flight, &Event::Ok(3));
        hear(&mut in_flight, &Event::Error(b"BUSYKEY x"));
        assert!(in_flight[0].is_complete());
        assert_eq!(
            (
                in_flight[1].seen,
                in_flight[1].errors.len(),
                in_flight[1].errors[0].0
            ),
            (2, 1, 1)
        );
    }

    /// `SET`, `MULTI`, `DEL`, `HSET`, `EXEC`: the third element that fails is not the third command.
    #[test]
    fn an_error_within_exec_is_told_of_the_command_that_it_belongs_to() {
        let portion = Portion {
            number: 1,
            first_db: 0,
            commands: Bytes::new(),
            count: 5,
            keys: 2,
            has_pieces: false,
        };
        let mut in_flight = VecDeque::from([Flight::new(portion)]);
        hear(&mut in_flight, &Event::Ok(4));
        hear(
            &mut in_flight,
            &Event::ElementError {
                index: 1,
                text: b"WRONGTYPE x",
            },
        );
        hear(
            &mut in_flight,
            &Event::Array {
                elements: 2,
                errors: 1,
            },
        );
        assert!(in_flight[0].is_complete());
        assert_eq!(in_flight[0].errors, [(3, "WRONGTYPE x".to_owned())]);
    }
}
