//! What goes on beside the calls: the splitter is found or started, its ticks are followed, and it hears from us.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use splitter::control::{Client, ClientError, Notice, Request, Response};

use crate::{Shared, map, process};

/// Between two signs of life: several fit in the shortest dead-man time that makes sense.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Pause before the splitter is looked for again: doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a splitter that was started may take to open its control socket before another is started.
const OPENING: Duration = Duration::from_secs(10);

/// Follows the ticks for ever; starts the splitter whenever it is not there.
pub(crate) async fn ticks(shared: Arc<Shared>) {
    // Last tick seen, and of which run.
    let mut seen: Option<(String, u64)> = None;
    let mut pause = FIRST_PAUSE;
    let mut started: Option<(tokio::process::Child, tokio::time::Instant)> = None;
    let mut lost = false;
    let mut upgraded = false;
    loop {
        match Client::connect(&shared.socket).await {
            // Once: a take-over that fails leaves the splitter that runs, and that is better than trying for ever.
            Ok(client) if !std::mem::replace(&mut upgraded, true) => {
                upgrade(&shared, client).await;
                continue;
            }
            Ok(client) => {
                let begun = seen.clone();
                let error = follow(&shared, client, &mut seen).await;
                if seen != begun {
                    pause = FIRST_PAUSE;
                }
                tracing::warn!(%error, "the splitter's ticks broke off");
            }
            Err(error) => {
                if !lost {
                    tracing::info!(%error, socket = %shared.socket.display(), "the splitter is not there");
                }
                lost = true;
                start(&shared, &mut started);
            }
        }
        if lost && seen.is_some() {
            lost = false;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = shared.wanted.notified() => {}
        }
    }
}

/// Has a splitter of another build succeeded by one of ours; one that cannot be succeeded stays.
async fn upgrade(shared: &Shared, mut client: Client) {
    let (Some(command), Some(take_over)) = (&shared.options.command, &shared.options.take_over) else { return };
    let Ok(Response::Hello(old)) = client.call(Request::Hello).await else { return };
    drop(client);
    // The program that would be started, whatever this process was started from.
    if !process::is_another_program(old.pid, command) {
        return;
    }
    tracing::info!(pid = old.pid, version = %old.version, "the splitter that runs is of another build: a new one takes over");
    let command: Vec<String> = command.iter().chain(take_over).cloned().collect();
    let mut child = match process::start(&command, &shared.options.state_dir) {
        Ok(child) => child,
        Err(error) => {
            tracing::error!(%error, "its successor cannot be started: it stays");
            return;
        }
    };
    let limit = tokio::time::Instant::now() + OPENING;
    loop {
        if let Ok(mut client) = Client::connect(&shared.socket).await
            && let Ok(Response::Hello(new)) = client.call(Request::Hello).await
            && new.boot != old.boot
        {
            tracing::info!(pid = new.pid, "a new splitter has taken over");
            return;
        }
        match child.try_wait() {
            Ok(Some(status)) if !status.success() => {
                tracing::error!(%status, log = %shared.options.state_dir.display(), "a new splitter could not take over");
                return;
            }
            _ if tokio::time::Instant::now() >= limit => {
                tracing::error!(log = %shared.options.state_dir.display(), "a new splitter has not taken over in time");
                return;
            }
            _ => tokio::time::sleep(FIRST_PAUSE).await,
        }
    }
}

/// Sends ticks on until the connection ends.
async fn follow(shared: &Shared, client: Client, seen: &mut Option<(String, u64)>) -> ClientError {
    let mut subscription = match client.subscribe(seen.clone()).await {
        Ok(subscription) => subscription,
        Err(error) => return error,
    };
    loop {
        match subscription.next().await {
            Ok(Notice::Tick(tick)) => {
                *seen = Some((tick.boot.clone(), tick.seq));
                for service in &tick.services {
                    if let Some(tick) = map::tick(&tick, service) {
                        // Nobody may be listening.
                        let _ = shared.ticks.send(tick);
                    }
                }
            }
            Ok(Notice::Lost(from, to)) => tracing::warn!(from, to, "ticks are lost: they were not read in time"),
            Ok(Notice::Ending) => return ClientError::Broken("the splitter ends".into()),
            Err(error) => return error,
        }
    }
}

/// Starts a splitter unless one that was started still has time to open its socket.
fn start(shared: &Shared, started: &mut Option<(tokio::process::Child, tokio::time::Instant)>) {
    let Some(command) = &shared.options.command else { return };
    if let Some((child, since)) = started {
        match child.try_wait() {
            Ok(None) if since.elapsed() < OPENING => return,
            Ok(None) => {}
            // One that finds another in its place says so in its log and ends: as good as started.
            Ok(Some(status)) => tracing::warn!(%status, log = %shared.options.state_dir.display(), "a splitter ended"),
            Err(error) => tracing::warn!(%error, "a splitter cannot be waited for"),
        }
    }
    match process::start(command, &shared.options.state_dir) {
        Ok(child) => {
            tracing::info!(pid = child.id(), "started a splitter");
            *started = Some((child, tokio::time::Instant::now()));
        }
        Err(error) => tracing::error!(%error, command = ?command.first(), "the splitter cannot be started"),
    }
}

/// Lets the splitter hear from us every second, once we have acted.
pub(crate) async fn keep_alive(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(KEEP_ALIVE);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let epoch = shared.epoch.load(Ordering::Relaxed);
        if epoch == 0 {
            continue;
        }
        match shared.call(Request::KeepAlive { epoch }).await {
            Ok(_) => {}
            // Somebody else is in charge: it is theirs to keep alive. A newer epoch of ours takes it up again.
            Err(controller::RuntimeError::StaleEpoch { theirs, .. }) => {
                tracing::warn!(ours = epoch, theirs = theirs.0, "another controller is in charge of the splitter");
                let _ = shared.epoch.compare_exchange(epoch, 0, Ordering::Relaxed, Ordering::Relaxed);
            }
            // The other task notices and says it.
            Err(_) => {}
        }
    }
}
