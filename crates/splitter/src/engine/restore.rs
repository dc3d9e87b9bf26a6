//! Going on where an earlier splitter stopped, in order or not.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use model::Track;

use super::{Engine, ServiceEntry};
use crate::accept::{listen, listen_on};
use crate::clock::wall_us;
use crate::control::Gap;
use crate::process::Process;
use crate::route::{Route, Service};
use crate::state::{Saved, SavedService, SignOfLife};

/// Addresses that could not be listened on are tried again this often.
const LISTEN_AGAIN: Duration = Duration::from_millis(250);

/// Name of the sign of life in the state directory.
const ALIVE_NAME: &str = "alive.json";

impl Engine {
    /// Writes the sign of life.
    pub(crate) fn sign_of_life(&self, ended: bool) {
        if let Err(error) = (SignOfLife { wall_us: wall_us(), ended }).write(&self.state_dir.join(ALIVE_NAME)) {
            tracing::warn!(%error, "the sign of life cannot be written");
        }
    }

    /// Makes everything be as the state says. `sockets`: those that a predecessor has passed on.
    pub(crate) fn restore(self: &Rc<Self>, saved: Option<Saved>, mut sockets: HashMap<SocketAddr, OwnedFd>) {
        let before = SignOfLife::load(&self.state_dir.join(ALIVE_NAME));
        if let Some(saved) = saved {
            self.epoch.set(saved.epoch);
            let serving = !saved.services.is_empty();
            for service in saved.services {
                self.restore_service(service, &mut sockets);
            }
            if let Some(before) = before.filter(|before| serving && !before.ended) {
                let gap = Gap { from_wall_us: before.wall_us, to_wall_us: wall_us() };
                tracing::warn!(gap_ms = gap.millis(), "the splitter before this one ended without being asked to");
                self.gap.set(Some(gap));
            }
        }
        self.sign_of_life(false);
        let engine = Rc::clone(self);
        tokio::task::spawn_local(async move {
            while engine.services.borrow().values().any(|service| !service.missing.is_empty()) {
                tokio::time::sleep(LISTEN_AGAIN).await;
                engine.listen_again();
            }
        });
        self.save();
    }

    fn restore_service(self: &Rc<Self>, saved: SavedService, sockets: &mut HashMap<SocketAddr, OwnedFd>) {
        let id = saved.spec.service.clone();
        let shared =
            Arc::new(Service::new(Route::new(self.new_id(), 0, 0, None, None, None, false, saved.spec.limits.clone())));
        let mut entry = ServiceEntry {
            shared: Arc::clone(&shared),
            listeners: Vec::new(),
            missing: Vec::new(),
            weight: saved.weight,
            weight_epoch: saved.weight_epoch,
            stable: None,
            canary: None,
            draining: Vec::new(),
            stopped: VecDeque::from(saved.stopped),
            answers: VecDeque::from(saved.answers),
            dead_man: saved.dead_man,
            canary_dead_man_seconds: saved.canary_dead_man_seconds,
            changed: false,
            spec: saved.spec,
        };
        for (track, version) in [(Track::Stable, saved.stable), (Track::Canary, saved.canary)] {
            let Some(version) = version else { continue };
            match self.begin_version(
                &id,
                track,
                version.spec.clone(),
                entry.spec.limits.upstream_idle_ms,
                Some(&version),
            ) {
                Ok(begun) => *entry.slot_mut(track) = Some(begun),
                // Checked when it was given; only a state file changed by hand gets here.
                Err(error) => {
                    tracing::error!(service = %id, version = %version.spec.version, %error, "a version cannot be restored")
                }
            }
        }
        if entry.canary.is_none() {
            entry.weight = 0;
        }
        // The route is complete before the first connection is accepted.
        entry.publish(self);
        for (asked, actual) in saved.listening {
            let listener = match sockets.remove(&actual) {
                Some(socket) => listen_on(&self.acceptor, asked, socket, &shared, &self.workers),
                // The port that was bound, not any: clients know it.
                None => listen(&self.acceptor, actual, &shared, &self.workers).map(|listener| listener.asked_as(asked)),
            };
            match listener {
                Ok(listener) => entry.listeners.push(listener),
                Err(error) => {
                    tracing::error!(service = %id, address = %actual, %error, "cannot listen again; trying on");
                    entry.missing.push((asked, actual));
                }
            }
        }
        // Their requests ended with the splitter that carried them; only their processes may be left.
        for version in saved.draining {
            if let Some(process) = version.process.as_ref().and_then(Process::adopt) {
                tokio::task::spawn_local(async move { process.end(Duration::from_secs(5)).await });
            }
        }
        self.services.borrow_mut().insert(id, entry);
    }

    fn listen_again(self: &Rc<Self>) {
        let mut found = false;
        for (id, service) in self.services.borrow_mut().iter_mut() {
            let mut missing = std::mem::take(&mut service.missing);
            missing.retain(|(asked, actual)| match listen(&self.acceptor, *actual, &service.shared, &self.workers) {
                Ok(listener) => {
                    tracing::info!(service = %id, address = %actual, "listening again");
                    service.listeners.push(listener.asked_as(*asked));
                    found = true;
                    false
                }
                Err(_) => true,
            });
            service.missing = missing;
        }
        if found {
            self.save();
        }
    }
}
