//! Every second: what workers counted becomes a tick, kept for a while and sent to subscribers.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Engine;
use crate::clock::micros;
use crate::control::{Line, Notice, ServiceTick, Tick, VersionTick, encode};
use crate::stats::{Delta, Second};
use crate::worker::{Collected, Message};

/// Ticks kept for a subscriber that comes back: 15 minutes, longer than a server's restart or upgrade takes.
const KEPT_TICKS: usize = 900;

/// Bytes of ticks kept: 900 ticks of 70 kB, several thousand distinct latencies a second.
const KEPT_BYTES: usize = 64 << 20;

/// How long a tick waits for its workers. A worker that is later is counted in the next.
const COLLECT_LIMIT: Duration = Duration::from_millis(250);

/// Logs are looked at this often.
const LOG_TICKS: u64 = 10;

/// The latest ticks, as the lines that subscribers are sent.
#[derive(Default)]
pub(super) struct Ring {
    lines: VecDeque<Arc<[u8]>>,
    bytes: usize,
    /// Number of the tick in front.
    first: u64,
}

impl Ring {
    fn push(&mut self, seq: u64, line: Arc<[u8]>) {
        if self.lines.is_empty() {
            self.first = seq;
        }
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > KEPT_TICKS || (self.bytes > KEPT_BYTES && self.lines.len() > 1) {
            if let Some(line) = self.lines.pop_front() {
                self.bytes -= line.len();
                self.first += 1;
            }
        }
    }

    /// The line of a tick; `Err` with the oldest kept when it is kept no more; `None` when it is yet to come.
    fn get(&self, seq: u64) -> Result<Option<Arc<[u8]>>, u64> {
        if seq < self.first {
            return Err(self.first);
        }
        Ok(usize::try_from(seq - self.first).ok().and_then(|at| self.lines.get(at)).cloned())
    }
}

impl Engine {
    /// The line of a tick; `Err` with the oldest kept when it is kept no more; `None` when it is yet to come.
    pub(crate) fn tick_line(&self, seq: u64) -> Result<Option<Arc<[u8]>>, u64> {
        self.ring.borrow().get(seq)
    }

    /// Number of the first tick for a subscriber who has seen `since` of run `boot`.
    pub(crate) fn first_for(&self, since: Option<u64>, boot: Option<&str>) -> u64 {
        let next = *self.latest.borrow() + 1;
        match (since, boot) {
            (Some(since), Some(boot)) if boot == self.boot => {
                since.saturating_add(1).clamp(self.ring.borrow().first.max(1), next)
            }
            // A subscriber of an earlier run has seen nothing of this one.
            (Some(_), Some(_)) => self.ring.borrow().first.max(1),
            _ => next,
        }
    }

    fn finish_tick(&self, deltas: &[Delta], interval: Duration) {
        let seq = *self.latest.borrow() + 1;
        let mut services = self.services.borrow_mut();
        let mut ticks = Vec::with_capacity(services.len());
        for (id, service) in services.iter_mut() {
            let mut versions = Vec::new();
            for (track, version) in service.versions() {
                let mut second = Second::new();
                for delta in deltas.iter().filter(|delta| delta.version == version.shared.uid) {
                    second.add(delta);
                    self.series.borrow_mut().add(id, version.track.get(), &version.spec.release, delta);
                }
                versions.push(VersionTick {
                    version: version.spec.version.clone(),
                    release: version.spec.release.clone(),
                    digest: version.spec.digest.clone(),
                    track,
                    in_flight: version.shared.in_flight(),
                    restarts: version.restarts(),
                    ..second.tick()
                });
                if seq.is_multiple_of(LOG_TICKS) {
                    version.limit_log();
                }
            }
            ticks.push(ServiceTick {
                service: id.clone(),
                weight: service.weight,
                weight_changed: std::mem::take(&mut service.changed),
                canary_last_sent: service.canary_last_sent(&self.clock),
                sticky: service.spec.sticky.is_some(),
                connections: service.shared.connections.load(Ordering::Relaxed) as u64,
                answered_here: service.shared.answered_here.swap(0, Ordering::Relaxed),
                versions,
            });
            // Counts of a version that is gone come at the latest with the tick after.
            service.draining.retain(|version| version.gone_since().is_none_or(|gone| gone + 2 > seq));
        }
        drop(services);
        let tick = Tick {
            seq,
            boot: self.boot.clone(),
            at: self.clock.now(),
            interval_us: micros(interval),
            epoch: self.epoch.get(),
            services: ticks,
        };
        self.ring.borrow_mut().push(seq, encode(&Line::Notice { notice: Notice::Tick(tick) }).into());
        self.latest.send_replace(seq);
    }

    /// What `/metrics` shows beside the counters.
    pub(crate) fn gauges(&self) -> Vec<crate::metrics::Gauges> {
        let services = self.services.borrow();
        let gauges = services.iter().map(|(id, service)| crate::metrics::Gauges {
            service: id.clone(),
            weight: service.weight,
            connections: service.shared.connections.load(Ordering::Relaxed) as u64,
            versions: service
                .versions()
                .filter(|(_, version)| !version.is_gone())
                .map(|(_, version)| {
                    (version.track.get(), version.spec.release.clone(), version.shared.in_flight(), version.restarts())
                })
                .collect(),
        });
        gauges.collect()
    }
}

/// Makes a tick every second until the engine ends.
pub(crate) async fn run_ticks(engine: Rc<Engine>) {
    let (reply, mut replies) = mpsc::unbounded_channel::<Collected>();
    let mut interval = tokio::time::interval(Duration::from_secs(1));
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    interval.tick().await;
    let mut last = Instant::now();
    for round in 1u64.. {
        interval.tick().await;
        engine.check_dead_man();
        let asked = engine
            .workers
            .iter()
            .filter(|worker| worker.sender.send(Message::Collect { round, reply: reply.clone() }).is_ok())
            .count();
        let mut deltas = Vec::new();
        let mut answered = 0;
        let limit = tokio::time::sleep(COLLECT_LIMIT);
        tokio::pin!(limit);
        while answered < asked {
            tokio::select! {
                collected = replies.recv() => {
                    let Some(collected) = collected else { break };
                    answered += usize::from(collected.round == round);
                    deltas.extend(collected.deltas);
                }
                () = &mut limit => {
                    tracing::warn!(missing = asked - answered, "a proxy thread is late: its second is counted in the next");
                    break;
                }
            }
        }
        let now = Instant::now();
        engine.finish_tick(&deltas, now - last);
        last = now;
        engine.sign_of_life(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_latest() {
        let mut ring = Ring::default();
        assert_eq!(ring.get(1), Ok(None));
        for seq in 1..=KEPT_TICKS as u64 + 10 {
            ring.push(seq, Arc::from(seq.to_string().into_bytes()));
        }
        assert_eq!(ring.get(10), Err(11));
        assert_eq!(ring.get(11).unwrap().as_deref(), Some(&b"11"[..]));
        assert_eq!(ring.get(910).unwrap().as_deref(), Some(&b"910"[..]));
        assert_eq!(ring.get(911), Ok(None));
        ring.push(911, Arc::from(vec![0; KEPT_BYTES + 1]));
        assert_eq!(ring.get(910), Err(911));
        assert!(ring.get(911).unwrap().is_some());
    }
}
