//! A service that cannot be carried on from the log: every command is answered with why, and an abort still takes its traffic away.

use std::sync::atomic::{AtomicBool, Ordering};

use model::{
    Command, CommandKind, Epoch, Kind, ServiceId, Weight,
    event::{CanaryAborted, CommandSeen},
};
use receipt_log::Draft;
use receipts::Payload;

use crate::{
    CommandError, LeftAlone, ObservedService, RuntimeError,
    act::no_answer,
    ask, boot,
    controller::Deps,
    limits::{APPEND, CALL},
};

/// What is known of it.
pub(crate) struct Left {
    pub(crate) said: LeftAlone,
    /// Number of its newest release, when that could be found out.
    newest: Option<u64>,
    /// True once the epoch in force before us is known, and overtaken: a larger one later means that another controller took over.
    overtook: AtomicBool,
}

impl Left {
    /// Nothing is changed: as nobody acts for it, the data plane's dead man's switch stays armed.
    pub(crate) async fn new(deps: &Deps, service: ServiceId, why: String) -> Self {
        let newest = boot::newest(deps, &service).await.ok();
        let left = Self { said: LeftAlone { service, why }, newest, overtook: AtomicBool::new(false) };
        left.overtake(deps).await;
        left
    }

    /// Learns the epoch in force from a call that it refuses. One that is not refused had no controller before, and no weight.
    async fn overtake(&self, deps: &Deps) {
        let service = &self.said.service;
        let operation = format!("{service}/left-alone");
        let call = deps.runtime.set_weight(service, Epoch(0), &operation, Weight::ZERO);
        match tokio::time::timeout(CALL, call).await {
            Ok(Err(RuntimeError::StaleEpoch { theirs, .. })) => deps.raise_epoch(Epoch(theirs.0.saturating_add(1))),
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return,
        }
        self.overtook.store(true, Ordering::Relaxed);
    }

    /// Nothing is decided without the log, but for one thing: whatever state the release is in, its canary may lose its traffic.
    pub(crate) async fn command(&self, deps: &Deps, command: Command) -> Result<u64, CommandError> {
        let still = |e: RuntimeError| {
            CommandError::InPart(format!("the traffic could not be taken off the canary: {e}; try again"))
        };
        if !deps.log.has_release(&command.release).await.unwrap_or(true) {
            return Err(CommandError::UnknownRelease(command.release));
        }
        let newest = self.newest.is_none_or(|n| command.release.as_str().ends_with(&format!("-{n}")));
        if command.kind != CommandKind::Abort || !newest {
            return Err(self.said.clone().into());
        }
        let service = &self.said.service;
        let seen = look(deps, service).await.map_err(still)?;
        if seen.weight == Weight::ZERO {
            // There is nothing to take away, and whether the release has ended is not known.
            return Err(self.said.clone().into());
        }
        if !self.overtook.load(Ordering::Relaxed) {
            self.overtake(deps).await;
        }
        // The intent is durable first where it can be; a log that takes nothing does not keep the traffic on the canary.
        let intent = self.intent(deps, &command).await;
        let operation = format!("{}/left-alone/{}", command.release, command.id.as_str());
        let call = deps.runtime.set_weight(service, deps.epoch(), &operation, Weight::ZERO);
        tokio::time::timeout(CALL, call).await.unwrap_or_else(|_| Err(no_answer())).map_err(still)?;
        tracing::warn!(%service, release = %command.release, actor = %command.actor, "aborted while the service is left alone: its canary gets no traffic");
        let written = match intent {
            Ok(index) => self.aborted(deps, &command, seen.weight).await.map(|_| index),
            Err(error) => Err(error),
        };
        written.map_err(|error| {
            tracing::error!(%service, %error, "that abort could not be recorded");
            CommandError::InPart(format!(
                "the canary gets no traffic any more, but not every receipt of this could be written: {error}"
            ))
        })
    }

    async fn intent(&self, deps: &Deps, command: &Command) -> Result<u64, String> {
        let seen = CommandSeen {
            command: command.kind.to_string(),
            command_id: command.id.as_str().to_owned(),
            reason: command.reason.clone(),
            refusal: None,
        };
        let key = ask::command_key(command.id.as_str());
        let now = deps.clock.now();
        let draft = ask::intent(Kind::CommandAccepted, &key, &command.release, &command.actor, now, &seen);
        append(deps, draft.map_err(|halt| ask::words(&halt))?).await
    }

    /// What readers fold: no traffic any more. It has no transition and names no command, so that a controller that can read the release again
    /// carries the abort out in full.
    async fn aborted(&self, deps: &Deps, command: &Command, weight: Weight) -> Result<u64, String> {
        let now = deps.clock.now();
        let given = if command.reason.is_empty() { String::new() } else { format!("{}; ", command.reason) };
        let reason = format!("{given}only the traffic was taken away, as the service is left alone: {}", self.said.why);
        let facts = CanaryAborted { reason, automatic: false, weight, breach_at: now, command: None };
        let payload =
            Payload::new(Kind::CanaryAborted, now, command.actor.clone(), &facts).map_err(|e| e.to_string())?;
        let key = format!("left-alone/{}", command.id.as_str());
        append(deps, Draft { key, payload: payload.release(command.release.clone()) }).await
    }
}

async fn append(deps: &Deps, draft: Draft) -> Result<u64, String> {
    match tokio::time::timeout(APPEND, deps.log.append(draft)).await {
        Ok(appended) => appended.map_err(|error| error.to_string()),
        Err(_) => Err(format!("the log did not answer within {} s", APPEND.as_secs())),
    }
}

async fn look(deps: &Deps, service: &ServiceId) -> Result<ObservedService, RuntimeError> {
    tokio::time::timeout(CALL, deps.runtime.observe(service)).await.unwrap_or_else(|_| Err(no_answer()))
}
