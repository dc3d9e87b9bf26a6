//! A limit on attempts by address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use model::Timestamp;

/// Attempts a minute and address: a person needs one or two. Secrets have 256 bits; this only keeps the store from being hammered.
const ATTEMPTS: u32 = 20;
/// The window.
const WINDOW_MS: i64 = 60_000;
/// Addresses remembered: beyond it all that are not known share the last place.
const MAX_ADDRESSES: usize = 4_096;

/// Counts attempts.
#[derive(Debug, Default)]
pub struct Limiter(Mutex<HashMap<IpAddr, (Timestamp, u32)>>);

impl Limiter {
    /// True when this attempt may be made.
    pub fn admits(&self, address: IpAddr, now: Timestamp) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_ADDRESSES && !seen.contains_key(&address) {
            seen.retain(|_, (since, _)| now.since(*since) < WINDOW_MS);
            if seen.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        let entry = seen.entry(address).or_insert((now, 0));
        if now.since(entry.0) >= WINDOW_MS {
            *entry = (now, 0);
        }
        entry.1 += 1;
        entry.1 <= ATTEMPTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_limited_by_address_and_time() {
        let limiter = Limiter::default();
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let at = Timestamp::from_millis;
        assert!((0..ATTEMPTS).all(|_| limiter.admits(a, at(0))));
        assert!(!limiter.admits(a, at(WINDOW_MS - 1)));
        assert!(limiter.admits(b, at(0)));
        assert!(limiter.admits(a, at(WINDOW_MS)));
    }
}
