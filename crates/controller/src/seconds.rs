//! The data plane's seconds: judged, shown and kept, those that were missed too.

use judge::Judge;
use model::{ReleaseId, Tick, Weight};

use crate::{
    boot,
    counting::Counting,
    evidence::{Judging, rule_of},
    limits::CALL,
    task::Task,
};

impl Task {
    /// Takes the seconds in which there was no controller, and those that one saw but did not keep: they are evidence as any other, so
    /// that a canary that failed meanwhile is stopped now, and none is missing from the timeline. Nobody watched them: they are not
    /// sent to pages as if they were now, which ask for what they miss.
    pub(crate) async fn catch_up(&mut self) {
        let Some(active) = &self.active else { return };
        let after = active.last_tick.unwrap_or(active.status.started_at);
        let missed = match tokio::time::timeout(CALL, self.deps.runtime.missed_ticks(&self.service, after)).await {
            Ok(Ok(missed)) => missed,
            Ok(Err(error)) => {
                tracing::warn!(service = %self.service, %error, "the seconds without a controller are not known");
                return;
            }
            Err(_) => {
                tracing::warn!(service = %self.service, limit = ?CALL, "the seconds without a controller did not come in time");
                return;
            }
        };
        let seconds = missed.len();
        for tick in missed {
            // The task that keeps them gets its turn: a quarter of an hour is more than may wait.
            drop(self.keep.reserve().await);
            self.take(tick);
        }
        tracing::info!(service = %self.service, seconds, "caught up with the data plane");
    }

    /// A second as it passes: taken, and shown.
    pub(crate) fn tick(&mut self, tick: Tick) {
        let Some((release, mut shown)) = self.take(tick) else { return };
        shown.counted.clear();
        shown.stable.histogram.clear();
        if let Some(canary) = &mut shown.canary {
            canary.histogram.clear();
        }
        // Nobody may be watching.
        let _ = self.deps.live.send((release, shown));
    }

    /// Judges a second and keeps it; `None` when it is of no release that is under way.
    fn take(&mut self, mut tick: Tick) -> Option<(ReleaseId, Tick)> {
        // A data plane that is attached to again tells its latest seconds again.
        if tick.weight == Weight::ZERO && self.past_at.is_none_or(|at| at < tick.at) {
            self.past_at = Some(tick.at);
            self.past.push(&tick.stable);
            self.tell_traffic();
        }
        let active = self.active.as_mut().filter(|a| a.status.outcome.is_none())?;
        // A data plane that is attached to again tells its latest ticks again.
        if active.last_tick.is_some_and(|last| tick.at <= last) || tick.at <= active.status.started_at {
            return None;
        }
        active.last_tick = Some(tick.at);
        active.exposed = active.exposed.saturating_add(boot::served(&tick, active.status.swapped));
        let release = active.release.clone();
        if !active.status.swapped && tick.canary.is_some() {
            self.last_sent = self.last_sent.max(tick.canary_last_sent);
        }
        if let Some((_, _, builtin)) = active.status.builtin(&active.recipe) {
            let (since, attempt) = (active.status.applied_at, active.status.attempt);
            // The analysis' start made it; a log of an earlier version has none.
            let fresh = || Judging::new(Judge::new(rule_of(builtin).unwrap_or_default()), attempt, since);
            let judging = self.judging.get_or_insert_with(fresh);
            if judging.is_fed_by_counters() {
                // They were judged when they came.
                tick.counted = self.counting.as_mut().map(Counting::take_made).unwrap_or_default();
                tick.judged = judging.judged().filter(|_| !tick.counted.is_empty()).map(Box::new);
            } else {
                if judging.since() != since {
                    judging.begin(since);
                }
                let meter = self.deps.probe.start(energy::CpuClock::Thread).ok();
                tick.judged = judging.push(&tick).map(Box::new);
                if let Some(energy) = meter.and_then(|m| m.finish().ok()) {
                    judging.took(energy);
                }
            }
        }
        if let Err(error) = self.keep.try_send((release.clone(), tick.clone())) {
            tracing::error!(%release, %error, "a tick was not kept: the sample store is too slow");
        }
        Some((release, tick))
    }
}
