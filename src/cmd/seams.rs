//! What a debug build of the daemon heeds for the sake of tests, and a release build does not have.
//!
//! | environment | effect |
//! | --- | --- |
//! | `GUNYU_CRASH_AT=log.segment.rolled:3` | the process dies at the third passing of that step ([`crate::core::crash`]) |
//! | `GUNYU_CRASH_AT=nowhere` | the first passing of each step is told |
//! | `GUNYU_SILENCE_MS=2000` | source and target are taken for dead when they have been silent for so long |
//! | `GUNYU_LISTEN_PEER_AT=127.0.0.1:4711` | other members are served there, though they are told `server.listenPeer`: a proxy may stand between |

use std::time::Duration;

#[cfg(debug_assertions)]
use super::Exit;
use super::Failure;
use super::config::Address;

#[cfg(debug_assertions)]
const CRASH_AT: &str = "GUNYU_CRASH_AT";
#[cfg(debug_assertions)]
const SILENCE_MS: &str = "GUNYU_SILENCE_MS";
#[cfg(debug_assertions)]
const LISTEN_PEER_AT: &str = "GUNYU_LISTEN_PEER_AT";

/// Takes the orders of the environment.
///
/// # Errors
/// One cannot be understood (2).
#[cfg(debug_assertions)]
pub fn heed() -> Result<(), Failure> {
    use crate::core::crash;

    let Ok(order) = std::env::var(CRASH_AT) else {
        return Ok(());
    };
    if order == "nowhere" {
        crash::watch();
        return Ok(());
    }
    let (name, nth) = order.split_once(':').unwrap_or((&order, "1"));
    let (Some(step), Ok(nth)) = (crash::Step::named(name), nth.parse()) else {
        return Err(Failure::new(
            Exit::Usage,
            format!("{CRASH_AT}={order}: no such step, or no number"),
        ));
    };
    crash::command(step, nth);
    Ok(())
}

/// There are none.
///
/// # Errors
/// Never.
#[cfg(not(debug_assertions))]
pub fn heed() -> Result<(), Failure> {
    Ok(())
}

/// How long a silence may last: as told, unless a test has an order.
#[cfg(debug_assertions)]
#[must_use]
pub fn limit(usual: Duration) -> Duration {
    let told = std::env::var(SILENCE_MS).ok().and_then(|text| text.parse().ok());
    told.map_or(usual, Duration::from_millis)
}

/// As usual.
#[cfg(not(debug_assertions))]
#[must_use]
pub const fn limit(usual: Duration) -> Duration {
    usual
}

/// Where other members are served: at the address that they are told, unless a test has an order.
#[cfg(debug_assertions)]
#[must_use]
pub fn peers_at(usual: &Address) -> Address {
    let told = std::env::var(LISTEN_PEER_AT).ok();
    let parts = told.as_deref().and_then(|text| text.rsplit_once(':'));
    let address = parts.and_then(|(host, port)| {
        Some(Address {
            host: host.to_owned(),
            port: port.parse().ok()?,
        })
    });
    address.unwrap_or_else(|| usual.clone())
}

/// At the address that they are told.
#[cfg(not(debug_assertions))]
#[must_use]
pub fn peers_at(usual: &Address) -> Address {
    usual.clone()
}
