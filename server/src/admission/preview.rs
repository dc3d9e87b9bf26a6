//! What would be decided of an object that is not in a cluster yet. Nothing is recorded.

use std::sync::Arc;

use admission::{Decision, Purpose, Request, Review, Tags, decide, needs};
use model::Timestamp;
use tokio::time::Instant;

use super::{Loaded, Registries, limits};

/// Judges an object as the two webhooks would, one after the other.
pub async fn preview(loaded: &Arc<Loaded>, registries: &Registries, review: &Review, now: Timestamp) -> Decision {
    let until = Instant::now() + limits::LOOK;
    let mut review = review.clone();
    let mut pins = Vec::new();
    if loaded.set.tags == Tags::Pin {
        let pinned = step(loaded, registries, &review, now, Purpose::Pin, until).await;
        if !pinned.allowed {
            return pinned;
        }
        for pin in &pinned.pins {
            for used in review.images.iter_mut().filter(|used| used.place == pin.place) {
                used.image.clone_from(&pin.to);
            }
        }
        pins = pinned.pins;
    }
    Decision { pins, ..step(loaded, registries, &review, now, Purpose::Validate, until).await }
}

async fn step(
    loaded: &Arc<Loaded>,
    registries: &Registries,
    review: &Review,
    now: Timestamp,
    purpose: Purpose,
    until: Instant,
) -> Decision {
    let looked = registries.look(needs(review, &loaded.set, now, purpose), loaded, until).await;
    decide(Request { review, policies: &loaded.set, looked: &looked, now, purpose })
}
