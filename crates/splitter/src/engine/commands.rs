//! Changes. Each is made in one breath, with no `await` between check and effect; saving comes after.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::Track;

use super::{Ending, Engine, ServiceEntry};
use crate::accept::{Listener, listen};
use crate::control::{DeadMan, Done, Refusal, Request, Response, Stamp, WeightSet};
use crate::route::{Route, Service};
use crate::spec::{Limits, MAX_SERVICES, ServiceSpec, VersionSpec};
use crate::state::SavedAnswer;

/// Longest drain: a client that needs more is not a client of a service that is being replaced.
const MAX_DRAIN_MS: u64 = 3_600_000;

/// Longest operation id.
const MAX_OPERATION: usize = 200;

impl Engine {
    /// Answers everything but `Subscribe` and `HandOver`, which concern the connection.
    pub(crate) async fn answer(self: &Rc<Self>, request: Request) -> Response {
        match self.perform(request) {
            Ok((response, saved)) => {
                let not_saved = match saved {
                    Some(number) => self.saver.wait(number).await,
                    None => None,
                };
                match response {
                    Response::Done(done) => Response::Done(Done { not_saved, ..done }),
                    Response::Weight(set) => Response::Weight(WeightSet { not_saved, ..set }),
                    other => other,
                }
            }
            Err(refusal) => Response::Refused(refusal),
        }
    }

    /// Performs a request. With it comes the number of the save to wait for.
    fn perform(self: &Rc<Self>, request: Request) -> Result<(Response, Option<u64>), Refusal> {
        match request {
            Request::Hello => return Ok((Response::Hello(self.hello()), None)),
            Request::Status { service } => {
                return self.status(service.as_deref()).map(|status| (Response::Status(status), None));
            }
            Request::Subscribe { .. } | Request::HandOver => {
                return Err(Refusal::BadRequest { reason: "asked in the wrong place".into() });
            }
            _ => {}
        }
        if *self.ending.borrow() != Ending::Not {
            return Err(Refusal::ShuttingDown);
        }
        match request {
            Request::KeepAlive { epoch } => {
                // Only a new epoch is worth a write.
                let new = self.admit(epoch)?;
                Ok((self.done(true), new.then(|| self.save())))
            }
            Request::Apply { epoch, spec } => {
                spec.validate()?;
                self.admit(epoch)?;
                let fresh = self.apply(epoch, spec)?;
                Ok((self.done(fresh), Some(self.save())))
            }
            Request::Remove { epoch, service, drain_ms } => {
                drain_limit(drain_ms)?;
                self.admit(epoch)?;
                self.remove(&service, drain_ms)?;
                Ok((self.done(true), Some(self.save())))
            }
            Request::SetWeight { epoch, operation_id, service, weight } => {
                if weight > 100 {
                    return Err(Refusal::Invalid {
                        field: "weight".into(),
                        reason: format!("{weight} is not between 0 and 100"),
                    });
                }
                self.admit(epoch)?;
                self.once(&service, operation_id, format!("weight {weight}"), |engine, entry| {
                    engine.set_weight(entry, epoch, weight, &service)
                })
            }
            Request::StartVersion { epoch, service, track, version, dead_man_seconds } => {
                version.validate()?;
                self.admit(epoch)?;
                let fresh = self.start_version(&service, track, version, dead_man_seconds)?;
                Ok((self.done(fresh), Some(self.save())))
            }
            Request::StopVersion { epoch, service, version, drain_ms } => {
                drain_limit(drain_ms)?;
                self.admit(epoch)?;
                let fresh = self.stop_version(epoch, &service, &version, drain_ms)?;
                Ok((self.done(fresh), Some(self.save())))
            }
            Request::Promote { epoch, operation_id, service } => {
                self.admit(epoch)?;
                self.once(&service, operation_id, "promote".into(), |engine, entry| {
                    engine.promote(entry, epoch, &service)
                })
            }
            Request::Shutdown { epoch, drain_ms, stop_versions } => {
                drain_limit(drain_ms)?;
                self.admit(epoch)?;
                self.ending.send_replace(Ending::Told { drain_ms, stop_versions });
                Ok((self.done(true), None))
            }
            Request::Hello | Request::Status { .. } | Request::Subscribe { .. } | Request::HandOver => {
                Err(Refusal::BadRequest { reason: "answered before".into() })
            }
        }
    }

    fn done(&self, fresh: bool) -> Response {
        Response::Done(Done { at: self.clock.now(), fresh, not_saved: None })
    }

    /// Lets a controller act: its epoch is not older than the one in force. True when it is newer.
    fn admit(&self, epoch: u64) -> Result<bool, Refusal> {
        let in_force = self.epoch.get();
        if epoch < in_force {
            return Err(Refusal::StaleEpoch { sent: epoch, in_force });
        }
        self.epoch.set(epoch);
        self.heard.set(Instant::now());
        Ok(epoch > in_force)
    }

    /// Does something once per operation id: a repetition gets the first answer.
    fn once(
        self: &Rc<Self>,
        service: &str,
        operation: String,
        asked: String,
        act: impl FnOnce(&Rc<Self>, &mut ServiceEntry) -> Result<WeightSet, Refusal>,
    ) -> Result<(Response, Option<u64>), Refusal> {
        if operation.is_empty() || operation.len() > MAX_OPERATION {
            return Err(Refusal::Invalid {
                field: "operation_id".into(),
                reason: format!("1 to {MAX_OPERATION} characters"),
            });
        }
        let set = {
            let mut services = self.services.borrow_mut();
            let entry =
                services.get_mut(service).ok_or_else(|| Refusal::UnknownService { service: service.to_owned() })?;
            if let Some(answer) = entry.answer_to(&operation) {
                if answer.asked != asked {
                    return Err(Refusal::OperationConflict { operation_id: operation });
                }
                return match answer.response.clone() {
                    Response::Weight(set) => Ok((Response::Weight(WeightSet { fresh: false, ..set }), None)),
                    other => Ok((other, None)),
                };
            }
            let set = act(self, entry)?;
            entry.remember(SavedAnswer { operation, asked, response: Response::Weight(set.clone()) });
            set
        };
        Ok((Response::Weight(set), Some(self.save())))
    }

    fn set_weight(
        self: &Rc<Self>,
        entry: &mut ServiceEntry,
        epoch: u64,
        weight: u8,
        service: &str,
    ) -> Result<WeightSet, Refusal> {
        if weight > 0 {
            let canary = entry.canary.as_ref().ok_or_else(|| Refusal::NoCanary { service: service.to_owned() })?;
            if !canary.was_ready() {
                return Err(Refusal::NotReady { service: service.to_owned(), version: canary.spec.version.clone() });
            }
            // The controller is back and has decided anew.
            entry.dead_man = None;
        }
        let previous = self.put_weight(entry, weight);
        entry.weight_epoch = epoch;
        Ok(WeightSet { applied_at: self.clock.now(), previous, weight, fresh: true, not_saved: None })
    }

    /// Puts a weight in force and returns the one before.
    fn put_weight(&self, entry: &mut ServiceEntry, weight: u8) -> u8 {
        let previous = std::mem::replace(&mut entry.weight, weight);
        // The same weight again does not begin a new block.
        if previous != weight {
            entry.publish(self);
        }
        previous
    }

    fn promote(self: &Rc<Self>, entry: &mut ServiceEntry, epoch: u64, service: &str) -> Result<WeightSet, Refusal> {
        match &entry.canary {
            None => return Err(Refusal::NoCanary { service: service.to_owned() }),
            Some(canary) if !canary.was_ready() => {
                return Err(Refusal::NotReady { service: service.to_owned(), version: canary.spec.version.clone() });
            }
            Some(_) => {}
        }
        std::mem::swap(&mut entry.stable, &mut entry.canary);
        for (track, slot) in [(Track::Stable, &entry.stable), (Track::Canary, &entry.canary)] {
            if let Some(version) = slot {
                version.track.set(track);
            }
        }
        let previous = std::mem::replace(&mut entry.weight, 0);
        entry.weight_epoch = epoch;
        entry.publish(self);
        Ok(WeightSet { applied_at: self.clock.now(), previous, weight: 0, fresh: true, not_saved: None })
    }

    /// True when something was not there yet.
    fn apply(self: &Rc<Self>, epoch: u64, spec: ServiceSpec) -> Result<bool, Refusal> {
        let id = spec.service.clone();
        let mut services = self.services.borrow_mut();
        let known = services.contains_key(&id);
        if !known && services.len() >= MAX_SERVICES {
            return Err(Refusal::Limit { what: "services".into(), limit: MAX_SERVICES });
        }
        let (mut bare, stable, canary) = (spec.clone(), spec.stable, spec.canary);
        (bare.stable, bare.canary) = (None, None);
        // Everything that can be refused comes before the first effect.
        let mut fresh = !known;
        let mut begin = Vec::new();
        for (track, version) in [(Track::Stable, stable), (Track::Canary, canary)] {
            let Some(version) = version else { continue };
            if placed(services.get(&id), &id, track, &version)? {
                continue;
            }
            begin.push((track, version));
        }
        let mut opened: Vec<Listener> = Vec::new();
        let limits = bare.limits.clone();
        let shared = match services.get(&id) {
            Some(entry) => Arc::clone(&entry.shared),
            None => Arc::new(Service::new(Route::new(
                self.new_id(),
                0,
                0,
                None,
                None,
                bare.sticky.clone(),
                bare.trust_forwarded,
                limits.clone(),
            ))),
        };
        for address in &bare.listen {
            let open = services
                .get(&id)
                .is_some_and(|entry| entry.listeners.iter().any(|listener| listener.asked == *address));
            if !open {
                let listener = listen(&self.acceptor, *address, &shared, &self.workers)
                    .map_err(|error| Refusal::ListenFailed { address: *address, reason: error.to_string() })?;
                opened.push(listener);
            }
        }

        let entry = services.entry(id.clone()).or_insert_with(|| ServiceEntry {
            spec: bare.clone(),
            shared,
            listeners: Vec::new(),
            missing: Vec::new(),
            weight: 0,
            weight_epoch: epoch,
            stable: None,
            canary: None,
            draining: Vec::new(),
            stopped: std::collections::VecDeque::new(),
            answers: std::collections::VecDeque::new(),
            dead_man: None,
            canary_dead_man_seconds: None,
            changed: false,
        });
        fresh |= !opened.is_empty() || !begin.is_empty() || entry.spec != bare;
        entry.listeners.extend(opened);
        // Addresses that are not wanted any more close; connections through them go on.
        entry.listeners.retain(|listener| bare.listen.contains(&listener.asked));
        entry.missing.retain(|(asked, _)| {
            bare.listen.contains(asked) && !entry.listeners.iter().any(|listener| listener.asked == *asked)
        });
        resize(entry, &bare.limits);
        let changed = entry.spec != bare || !begin.is_empty() || !known;
        entry.spec = bare;
        for (track, version) in begin {
            let version = self.begin_version(&id, track, version, entry.spec.limits.upstream_idle_ms, None)?;
            *entry.slot_mut(track) = Some(version);
        }
        if changed {
            entry.publish(self);
        }
        Ok(fresh)
    }

    fn start_version(
        self: &Rc<Self>,
        service: &str,
        track: Track,
        version: VersionSpec,
        dead_man_seconds: Option<u32>,
    ) -> Result<bool, Refusal> {
        if dead_man_seconds == Some(0) {
            return Err(Refusal::Invalid { field: "dead_man_seconds".into(), reason: "at least 1".into() });
        }
        let mut services = self.services.borrow_mut();
        let entry = services.get_mut(service).ok_or_else(|| Refusal::UnknownService { service: service.to_owned() })?;
        let placed = placed(Some(entry), service, track, &version)?;
        if track == Track::Canary {
            entry.canary_dead_man_seconds = dead_man_seconds;
        }
        if placed {
            return Ok(false);
        }
        let version = self.begin_version(service, track, version, entry.spec.limits.upstream_idle_ms, None)?;
        *entry.slot_mut(track) = Some(version);
        entry.publish(self);
        Ok(true)
    }

    fn stop_version(self: &Rc<Self>, epoch: u64, service: &str, version: &str, drain_ms: u64) -> Result<bool, Refusal> {
        let mut services = self.services.borrow_mut();
        let entry = services.get_mut(service).ok_or_else(|| Refusal::UnknownService { service: service.to_owned() })?;
        let track = [Track::Stable, Track::Canary]
            .into_iter()
            .find(|track| entry.slot(*track).is_some_and(|held| held.spec.version == version));
        let Some(track) = track else {
            let known = entry.draining.iter().any(|held| held.spec.version == version)
                || entry.stopped.iter().any(|stopped| stopped.version == version);
            return if known {
                Ok(false)
            } else {
                Err(Refusal::UnknownVersion { service: service.to_owned(), version: version.to_owned() })
            };
        };
        if track == Track::Canary {
            entry.weight = 0;
            entry.weight_epoch = epoch;
        }
        if let Some(taken) = entry.slot_mut(track).take() {
            entry.publish(self);
            entry.draining.push(Rc::clone(&taken));
            self.retire(taken, drain_ms);
        }
        Ok(true)
    }

    fn remove(self: &Rc<Self>, service: &str, drain_ms: u64) -> Result<(), Refusal> {
        let mut services = self.services.borrow_mut();
        // Out of the map at once; versions end in the background.
        let mut entry =
            services.remove(service).ok_or_else(|| Refusal::UnknownService { service: service.to_owned() })?;
        entry.weight = 0;
        let versions: Vec<_> = [entry.stable.take(), entry.canary.take()].into_iter().flatten().collect();
        entry.publish(self);
        entry.shared.closing.store(true, std::sync::atomic::Ordering::Relaxed);
        for version in versions {
            self.retire(version, drain_ms);
        }
        Ok(())
    }

    /// Puts weights to 0 whose controller has not been heard for too long.
    pub(super) fn check_dead_man(&self) {
        let silent = self.heard.get().elapsed();
        let mut fired = false;
        for (id, entry) in self.services.borrow_mut().iter_mut() {
            let Some(limit) = entry.canary_dead_man_seconds.or(entry.spec.dead_man_seconds) else { continue };
            if entry.weight == 0 || silent < Duration::from_secs(u64::from(limit)) {
                continue;
            }
            let previous = self.put_weight(entry, 0);
            let at: Stamp = self.clock.now();
            let silent_ms = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
            entry.dead_man = Some(DeadMan { at, previous, silent_ms });
            fired = true;
            tracing::warn!(service = %id, previous, silent_ms, "no controller was heard for too long: the canary's weight is 0");
        }
        if fired {
            self.save();
        }
    }
}

/// True when the version is in the slot already; refused when the slot or the id is taken.
fn placed(entry: Option<&ServiceEntry>, service: &str, track: Track, version: &VersionSpec) -> Result<bool, Refusal> {
    let Some(entry) = entry else { return Ok(false) };
    if let Some(held) = entry.slot(track)
        && held.spec == *version
    {
        return Ok(true);
    }
    // A version that is gone leaves its id: a retry may start it again.
    if entry.versions().any(|(_, held)| held.spec.version == version.version && !held.is_gone()) {
        return Err(Refusal::VersionConflict { service: service.to_owned(), version: version.version.clone() });
    }
    match entry.slot(track) {
        Some(held) => Err(Refusal::SlotTaken { service: service.to_owned(), track, holds: held.spec.version.clone() }),
        None => Ok(false),
    }
}

/// Takes a new limit of client connections over.
fn resize(entry: &ServiceEntry, limits: &Limits) {
    let (old, new) = (entry.spec.limits.connections, limits.connections);
    if new > old {
        entry.shared.permits.add_permits(new - old);
    } else if new < old {
        // Those in use cannot be taken back.
        entry.shared.permits.forget_permits(old - new);
    }
    for (_, version) in entry.versions() {
        version.shared.idle_ms.store(limits.upstream_idle_ms, std::sync::atomic::Ordering::Relaxed);
    }
}

fn drain_limit(drain_ms: u64) -> Result<(), Refusal> {
    if drain_ms > MAX_DRAIN_MS {
        return Err(Refusal::Invalid { field: "drain_ms".into(), reason: format!("at most {MAX_DRAIN_MS}") });
    }
    Ok(())
}
