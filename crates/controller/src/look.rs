//! Looking at the data plane, and being the one in charge of it.

use model::{Epoch, ServiceId, Timestamp};
use tokio::time::Instant;

use crate::{
    ObservedService, RuntimeError,
    controller::Deps,
    limits::CALL,
    task::{Done, Halt, Task},
};

impl Task {
    pub(crate) async fn look_if_due(&mut self) {
        if self.looking || self.looked.is_some_and(|at| Instant::now() < at + self.look_every()) {
            return;
        }
        self.looking = true;
        self.looked = Some(Instant::now());
        let (deps, service, jobs) = (self.deps.clone(), self.service.clone(), self.jobs.clone());
        tokio::spawn(async move {
            // The task may have ended meanwhile.
            let _ = jobs.send(Done::Seen(look(&deps, &service).await)).await;
        });
    }

    /// The next look is due at once.
    pub(crate) fn look_soon(&mut self) {
        self.looked = None;
    }

    /// Looks at once, and waits for what is there.
    pub(crate) async fn look_now(&mut self) {
        let seen = look(&self.deps, &self.service).await;
        self.looked = Some(Instant::now());
        self.see(seen).await;
    }

    pub(crate) async fn see(&mut self, seen: Result<ObservedService, RuntimeError>) {
        match seen {
            Ok(seen) => {
                // A look that was overtaken by a later one tells nothing new.
                if self.seen.as_ref().is_some_and(|known| known.at > seen.at) {
                    return;
                }
                if !self.claimed {
                    self.deps.raise_epoch(Epoch(seen.epoch.0.saturating_add(1)));
                }
                self.note_last_sent(seen.canary.as_ref().map(|c| &c.digest), seen.canary_last_sent);
                self.note_gap(&seen);
                self.reachable = true;
                self.seen = Some(seen);
                if !self.claimed {
                    self.ensure().await;
                }
            }
            Err(RuntimeError::UnknownService(_)) => {
                self.reachable = false;
                self.ensure().await;
            }
            Err(error) => {
                if self.reachable {
                    tracing::warn!(service = %self.service, %error, "the data plane does not answer");
                }
                self.reachable = false;
            }
        }
    }

    /// The data plane must know the service and accept our epoch. At the start a larger epoch is overtaken; later it means that
    /// somebody overtook us.
    pub(crate) async fn claim(&mut self) -> Result<(), Halt> {
        for _ in 0..3 {
            if self.ensure().await {
                break;
            }
        }
        self.look_now().await;
        Ok(())
    }

    /// Answers whether it was done.
    async fn ensure(&mut self) -> bool {
        let stable = match self.stable() {
            Some(stable) => stable,
            None => {
                tracing::error!(service = %self.service, "the stable version is not in the configuration, so it cannot be started");
                return false;
            }
        };
        let epoch = self.deps.epoch();
        let call = self.deps.runtime.ensure(&self.service, epoch, &stable);
        match tokio::time::timeout(CALL, call).await {
            Ok(Ok(())) => {
                self.claimed = true;
                true
            }
            Ok(Err(RuntimeError::StaleEpoch { theirs, .. })) if !self.claimed => {
                self.deps.raise_epoch(Epoch(theirs.0.saturating_add(1)));
                false
            }
            Ok(Err(error)) => {
                tracing::warn!(service = %self.service, %error, "the service could not be set up");
                false
            }
            Err(_) => false,
        }
    }

    /// The data plane had been gone. At the first look an old gap looks like a new one: it counts when the weight is not what was set.
    fn note_gap(&mut self, seen: &ObservedService) {
        let Some(gap) = seen.last_gap_ms else { return };
        let is_new = match &self.seen {
            Some(known) => known.last_gap_ms != Some(gap),
            None => self.active.as_ref().is_some_and(|a| a.status.outcome.is_none() && a.status.applied != seen.weight),
        };
        if is_new {
            tracing::warn!(service = %self.service, gap_ms = gap, "the data plane had been gone");
            self.gap_ms = Some(gap);
        }
    }

    fn note_last_sent(&mut self, canary: Option<&model::Digest>, at: Option<Timestamp>) {
        let Some(active) = &self.active else { return };
        if !active.status.swapped && canary == Some(&active.status.start.canary.digest) {
            self.last_sent = self.last_sent.max(at);
        }
    }
}

async fn look(deps: &Deps, service: &ServiceId) -> Result<ObservedService, RuntimeError> {
    let limit = || RuntimeError::Unreachable(format!("no answer within {} s", CALL.as_secs()));
    tokio::time::timeout(CALL, deps.runtime.observe(service)).await.unwrap_or_else(|_| Err(limit()))
}
