//! The nodes of a cluster target as they were last seen, for whoever looks for the cluster next.
//!
//! Owns what outlives sessions and their connections, while the process lives: all clones of it are one. Promises that a cluster of which one node was seen is
//! found again as long as one of those that this node named is there, whatever has become of those that are configured.

use std::sync::{Arc, Mutex, PoisonError};

use crate::core::net::Address;

/// What is remembered of it.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<Mutex<Vec<Address>>>);

impl Known {
    /// The nodes last seen; none before any was.
    #[must_use]
    pub fn nodes(&self) -> Vec<Address> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// These are its nodes now.
    pub fn saw(&self, nodes: Vec<Address>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = nodes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_has_seen_all_know_until_another_has_seen_more() {
        let at = |port| Address {
            host: "h".into(),
            port,
        };
        let one = Known::default();
        let other = one.clone();
        one.saw(vec![at(1), at(2)]);
        assert_eq!(other.nodes(), [at(1), at(2)]);
        other.saw(vec![at(3)]);
        assert_eq!(one.nodes(), [at(3)]);
    }
}
