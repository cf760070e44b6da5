//! Where one server is now: at an address that stays, or where a watcher last saw it.
//!
//! Owns the channel between a watcher and those who connect. A holder *takes* the address with which he works, and then waits for another one. Promises
//! that an address once known stays until a better one is known: a watcher that is blind for a while sends nobody away.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::core::net::{Address, Endpoint};

/// Why nobody knows where the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What went wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether only a person can mend it.
    pub needs_a_person: bool,
}

/// What a watcher has seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Where the server is; nothing before it is known.
    pub endpoint: Option<Endpoint>,
    /// What the watcher could not find out when it last looked.
    pub trouble: Option<Trouble>,
}

/// Where a server is. A clone takes for itself.
#[derive(Debug, Clone)]
pub struct Place {
    kind: Kind,
    /// What the holder works with.
    taken: Option<Address>,
}

#[derive(Debug, Clone)]
enum Kind {
    Fixed(Endpoint),
    Watched {
        seen: watch::Receiver<Seen>,
        doubt: Arc<Notify>,
    },
}

/// The watcher's end of a place.
#[derive(Debug)]
pub struct Watcher {
    tell: watch::Sender<Seen>,
    doubt: Arc<Notify>,
}

impl Watcher {
    /// A watcher that knows nothing yet, and the place that it watches.
    #[must_use]
    pub fn new() -> (Watcher, Place) {
        Watcher::with(Arc::default())
    }

    /// The same; whoever watches several places hears of every doubt by one `doubt`.
    #[must_use]
    pub fn with(doubt: Arc<Notify>) -> (Watcher, Place) {
        let (tell, seen) = watch::channel(Seen::default());
        let kind = Kind::Watched {
            seen,
            doubt: Arc::clone(&doubt),
        };
        (Watcher { tell, doubt }, Place { kind, taken: None })
    }

    /// The server is there.
    pub fn saw(&self, endpoint: Endpoint) {
        self.tell.send_replace(Seen {
            endpoint: Some(endpoint),
            trouble: None,
        });
    }

    /// It could not be found out where the server is; whoever is connected stays so. True where that is news.
    pub fn is_blind(&self, trouble: Trouble) -> bool {
        let is_news = self.tell.borrow().trouble.as_ref() != Some(&trouble);
        self.tell.send_modify(|seen| seen.trouble = Some(trouble));
        is_news
    }

    /// Where the server was last seen.
    #[must_use]
    pub fn last(&self) -> Option<Endpoint> {
        self.tell.borrow().endpoint.clone()
    }

    /// Waits until a holder doubts that the server is still there.
    pub async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// Waits until nobody holds the place any more.
    pub async fn is_left(&self) {
        self.tell.closed().await;
    }
}

impl Place {
    /// A server that never moves.
    #[must_use]
    pub fn fixed(endpoint: Endpoint) -> Place {
        Place {
            kind: Kind::Fixed(endpoint),
            taken: None,
        }
    }

    /// Where the server is; nothing before it is known.
    #[must_use]
    pub fn now(&self) -> Option<Endpoint> {
        match &self.kind {
            Kind::Fixed(endpoint) => Some(endpoint.clone()),
            Kind::Watched { seen, .. } => seen.borrow().endpoint.clone(),
        }
    }

    /// The same; from now on the holder works with it.
    pub fn take(&mut self) -> Option<Endpoint> {
        let endpoint = self.now();
        self.taken = endpoint.as_ref().map(|endpoint| endpoint.address.clone());
        endpoint
    }

    /// Waits until the server is elsewhere than where the holder works with it. Cancel safe.
    pub async fn changed(&self) {
        let Kind::Watched { seen, .. } = &self.kind else {
            return std::future::pending().await;
        };
        let taken = &self.taken;
        let is_elsewhere = |seen: &Seen| {
            let address = seen.endpoint.as_ref().map(|endpoint| &endpoint.address);
            address.is_some() && address != taken.as_ref()
        };
        if seen.clone().wait_for(is_elsewhere).await.is_err() {
            // The watcher has ended, and with it all news.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it is known where the server is, and takes it. Cancel safe.
    pub async fn known(&mut self) -> Endpoint {
        loop {
            if let Some(endpoint) = self.take() {
                return endpoint;
            }
            self.changed().await;
        }
    }

    /// Says that the server does not do what it should, so that the watcher looks at once.
    pub fn doubt(&self) {
        if let Kind::Watched { doubt, .. } = &self.kind {
            doubt.notify_one();
        }
    }

    /// Waits until the watcher has looked in vain. Cancel safe.
    pub async fn is_troubled(&self) {
        let Kind::Watched { seen, .. } = &self.kind else {
            return std::future::pending().await;
        };
        // An error: the watcher has ended, and what it last said stays.
        let _ = seen.clone().wait_for(|seen| seen.trouble.is_some()).await;
    }

    /// What the watcher could not find out when it last looked.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        match &self.kind {
            Kind::Fixed(_) => None,
            Kind::Watched { seen, .. } => seen.borrow().trouble.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::net::Credentials;

    fn at(port: u16) -> Endpoint {
        Endpoint {
            address: Address {
                host: "h".into(),
                port,
            },
            credentials: Credentials::default(),
            tls: None,
        }
    }

    fn is_ready(future: impl Future<Output = ()>) -> bool {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        std::pin::pin!(future).poll(&mut context).is_ready()
    }

    #[test]
    fn a_fixed_place_never_changes() {
        let mut place = Place::fixed(at(1));
        assert!(!is_ready(place.changed()));
        assert_eq!(place.take(), Some(at(1)));
        assert!(!is_ready(place.changed()));
    }

    #[test]
    fn a_holder_hears_of_another_address_and_of_nothing_else() {
        let (watcher, mut place) = Watcher::new();
        assert_eq!(place.take(), None);
        watcher.saw(at(1));
        assert!(is_ready(place.changed()));
        assert_eq!(place.take(), Some(at(1)));
        watcher.saw(at(1));
        assert!(!is_ready(place.changed()), "the same");
        let trouble = Trouble {
            message: "blind".into(),
            hint: None,
            needs_a_person: false,
        };
        watcher.is_blind(trouble.clone());
        assert!(!is_ready(place.changed()), "a blind watcher sends nobody away");
        assert_eq!((place.now(), place.trouble()), (Some(at(1)), Some(trouble)));
        watcher.saw(at(2));
        assert!(is_ready(place.changed()));
        assert!(is_ready(place.changed()), "until it is taken");
    }

    #[test]
    fn each_holder_takes_for_himself() {
        let (watcher, mut one) = Watcher::new();
        let other = one.clone();
        watcher.saw(at(1));
        one.take();
        assert!(is_ready(other.changed()));
        assert!(!is_ready(one.changed()));
    }

    #[test]
    fn a_doubt_is_not_lost_while_the_watcher_looks() {
        let (watcher, place) = Watcher::new();
        place.doubt();
        assert!(is_ready(watcher.doubted()));
        assert!(!is_ready(watcher.doubted()));
    }
}
