//! The demo: a real service, real traffic, release after release.
//!
//! Everything on the pages is measured from traffic that really flows: [`demo::load`] sends it, the splitter splits and counts it,
//! versions of [`demo::service`] answer it as child processes. Their [`program`] is the same; what differs between them is their [`Manifest`],
//! and the digest of a version is that of the image that is made of both ([`images`]), attested, gated and promoted before its canary starts.

mod images;
mod manifest;
mod program;
mod scanners;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use controller::StartRequest;
use demo::load::{Counters, Load};
use model::{Environment, ReleaseId, ServiceId, Version};
use projections::{Phase, ReleaseFilter, ReleaseRow, describe};
use tokio::task::JoinHandle;

use self::images::Images;
pub use manifest::Manifest;

use crate::{
    args::{self, Fault},
    command::client::random_id,
    compose::{self, Running, say},
    config::{Config, ServiceConfig},
    exit::{Refusal, WrongUse},
    http_server,
};

/// The recipe of 12 minutes: 5 % for 2 min, 25 % for 3 min, 50 % for 3 min, 100 % and bake.
pub const DEFAULT_RECIPE: &str = include_str!("../../examples/rollout-default.yaml");
/// A few seconds long, for the history.
const QUICK_RECIPE: &str = include_str!("demo/quick.yaml");

/// The service.
const SERVICE: &str = "checkout";
/// Where it goes.
const ENVIRONMENT: &str = "production";
/// Releases before the first long one: two that go well around one that does not.
const HISTORY: [Fault; 3] = [Fault::None, Fault::Errors, Fault::None];
/// From the end of a release to the start of the next: long enough to read what came of it.
const PAUSE: Duration = Duration::from_secs(20);
/// The same within the history.
const SHORT_PAUSE: Duration = Duration::from_secs(2);
/// Wait before a release that could not be started is tried again.
const AGAIN: Duration = Duration::from_secs(5);
/// Time for the first answer of the service through the splitter.
const UP: Duration = Duration::from_secs(30);
/// Time for a splitter to open its socket.
const OPENING: Duration = Duration::from_secs(5);
/// Releases looked at for the number of the next version: one page of the list.
const LOOK_BACK: u32 = 200;

/// `deliveryos demo`.
pub async fn run(data_dir: PathBuf, options: args::Demo) -> anyhow::Result<ExitCode> {
    let recipe = match &options.recipe {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|e| WrongUse(format!("{} cannot be read: {e}", path.display())))?
        }
        None => DEFAULT_RECIPE.to_owned(),
    };
    let stop = compose::terminated();
    tokio::pin!(stop);
    // A splitter left over by an earlier demo holds the address for us.
    if !compose::splitter_runs(&data_dir).await {
        http_server::free(options.traffic, "the demo's traffic", "--traffic").await?;
    }
    let listener = http_server::listen(options.listen, "the pages", "--listen").await?;
    let images = Images::open(&data_dir, &SERVICE.parse()?, Path::new(&compose::own_program()?)).await?;
    let opened = compose::open(listener, data_dir.clone(), config(&options, &images).await?, None).await?;
    let link = compose::login_link(&opened).await?;
    let base = opened.base.clone();
    let running = compose::start(opened).await?;
    let failure = running.controller.failure().borrow().clone();
    if let Some(failure) = failure {
        // Nothing was started for it: without this, the service would be waited for in vain.
        running.end().await;
        end_splitter(&data_dir).await;
        return Err(cannot_go_on(&data_dir, &failure));
    }
    say(&format!("\nOpen this to log in (good once, within 10 minutes):\n\n  {}\n", link.url()));
    say(&format!(
        "pages {}   traffic http://{}   data {}   Ctrl-C ends it all\n",
        base,
        options.traffic,
        data_dir.display()
    ));
    let shown = Shown { service: SERVICE.parse()?, environment: ENVIRONMENT.parse()?, options, recipe, images };
    let ended = {
        let story = tell(&running, &shown);
        let mut failure = running.controller.failure();
        tokio::select! {
            () = &mut stop => Ok(()),
            why = compose::fatal(&mut failure) => Err(anyhow::anyhow!(why)),
            told = story => told,
        }
    };
    say(&format!("ending: traffic, pages, splitter, versions; what was recorded stays in {}", data_dir.display()));
    // Nobody sends any more; then nobody acts; then what was started ends.
    running.end().await;
    end_splitter(&data_dir).await;
    ended.map(|()| ExitCode::SUCCESS)
}

/// Ends the splitter and its versions. One that is still starting is waited for: it would be left over.
async fn end_splitter(data_dir: &Path) {
    let _ = tokio::time::timeout(OPENING, async {
        while !compose::splitter_runs(data_dir).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    if let Err(error) = compose::end_splitter(&compose::splitter_dir(data_dir)).await {
        tracing::warn!(%error, "the splitter could not be ended: deliveryos splitter --stop --data-dir {}", data_dir.display());
    }
}

/// The data of an earlier demo are of no use: what that is, and the two ways on.
fn cannot_go_on(data_dir: &Path, failure: &controller::Failure) -> anyhow::Error {
    let dir = data_dir.display();
    Refusal(format!(
        "the demo cannot go on from its log in {dir}: {failure}. Nothing was changed. What is wrong with it: deliveryos log verify \
         --data-dir {dir}. To begin anew, say another --data-dir, or move that one away: mv {dir} {dir}.damaged"
    ))
    .into()
}

/// What is shown.
struct Shown {
    service: ServiceId,
    environment: Environment,
    options: args::Demo,
    recipe: String,
    images: Images,
}

/// Ends the load when it is dropped.
struct Traffic {
    task: JoinHandle<()>,
    _counters: Arc<Counters>,
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Release after release; ends only with an error.
async fn tell(running: &Running, shown: &Shown) -> anyhow::Result<()> {
    let traffic = shown.options.traffic;
    up(traffic).await?;
    let load = Load {
        target: traffic,
        paths: ["/", "/cart", "/pay"].map(str::to_owned).to_vec(),
        rate: shown.options.rate,
        seed: u64::from(std::process::id()),
    };
    let (counters, task) = load.start(std::future::pending()).context("the load cannot be made")?;
    let _traffic = Traffic { task, _counters: counters };

    let rows = releases(running, shown).await?;
    if let Some(left) = rows.iter().find(|row| row.in_flight()) {
        say(&format!("{} is under way since the demo before", left.id));
        ended(running, &left.id).await?;
    }
    if rows.is_empty() && !shown.options.no_history {
        for fault in HISTORY {
            // Quick ones run as they are written.
            release(running, shown, fault, QUICK_RECIPE, 1.0, "a quick one, for the history").await?;
            tokio::time::sleep(SHORT_PAUSE).await;
        }
    }
    loop {
        let reason = match shown.options.fault {
            Fault::None => "the demo goes on",
            Fault::Latency => "the demo goes on with a slower version",
            Fault::Errors => "the demo goes on with a failing version",
        };
        release(running, shown, shown.options.fault, &shown.recipe, shown.options.speed, reason).await?;
        tokio::time::sleep(PAUSE).await;
    }
}

/// One release from start to end.
async fn release(
    running: &Running,
    shown: &Shown,
    fault: Fault,
    recipe: &str,
    speed: f64,
    reason: &str,
) -> anyhow::Result<()> {
    let number = next_number(&releases(running, shown).await?);
    let manifest = Manifest::new(number, fault);
    let label = manifest.label()?;
    let actor: model::Actor = "demo".parse()?;
    let image = shown.images.build(&manifest).await?;
    shown.images.deliver(&running.app, &image, &actor).await?;
    running.app.catalogue.add(&shown.service, label.clone(), &image.config)?;
    let (_, canary) = running.app.catalogue.version(&shown.service, &label)?;
    let request = StartRequest {
        id: random_id()?,
        service: shown.service.clone(),
        environment: shown.environment.clone(),
        canary,
        recipe: recipe.to_owned(),
        speed,
        down_migration: None,
        actor,
        reason: reason.to_owned(),
        requirements: Vec::new(),
    };
    let id = loop {
        match running.app.delivery.start(request.clone()).await {
            Ok(id) => break id,
            // Somebody's own release, or one that is being carried on.
            Err(controller::StartError::Busy(other)) => ended(running, &other).await?,
            Err(controller::StartError::Unavailable(why)) => {
                tracing::warn!(%why, "the release could not be started, trying again");
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(WrongUse(format!("the demo cannot start a release: {error}")).into()),
        }
    };
    say(&format!("{id}: {label} begins"));
    ended(running, &id).await
}

/// Waits until a release has ended, and says what happens meanwhile.
async fn ended(running: &Running, id: &ReleaseId) -> anyhow::Result<()> {
    let mut size = running.app.log.size();
    let mut said = None;
    loop {
        size.borrow_and_update();
        let view = running.app.read.release(id).await?;
        if let Some(view) = view {
            let new = |index: u64| said.is_none_or(|said| index > said);
            for receipt in view.receipts.iter().filter(|receipt| new(receipt.index)) {
                tracing::info!("{id}: {}", describe(receipt).sentence());
            }
            said = Some(view.as_of);
            if matches!(view.row.phase, Phase::Ended(_)) {
                return Ok(());
            }
        }
        size.changed().await.context("the log has ended")?;
    }
}

async fn releases(running: &Running, shown: &Shown) -> anyhow::Result<Vec<ReleaseRow>> {
    let filter = ReleaseFilter { service: Some(shown.service.clone()), limit: LOOK_BACK, ..ReleaseFilter::default() };
    Ok(running.app.read.releases(filter).await?)
}

fn next_number(rows: &[ReleaseRow]) -> u64 {
    rows.iter().filter_map(|row| Manifest::number(&row.version)).max().unwrap_or(1) + 1
}

/// The configuration that the demo stands for. Versions of earlier runs are known by their images.
async fn config(options: &args::Demo, images: &Images) -> anyhow::Result<Config> {
    let first = Manifest::new(1, Fault::None);
    let stable: Version = first.label()?;
    let mut versions = images.known().await?;
    if !versions.contains_key(&stable) {
        versions.insert(stable.clone(), images.build(&first).await?.config);
    }
    let service = ServiceConfig {
        environment: ENVIRONMENT.parse()?,
        listen: vec![options.traffic],
        stable,
        dead_man_seconds: Some(60),
        sticky: None,
        policy: Some(images.policy()?),
        judge: None,
        versions,
    };
    Ok(Config {
        listen: options.listen,
        services: BTreeMap::from([(SERVICE.parse()?, service)]),
        environments: images.environments()?,
        attestations: images.attestations(),
        ..Config::default()
    })
}

/// Waits until the service answers through the splitter.
async fn up(address: SocketAddr) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build()?;
    let url = format!("http://{address}/healthz");
    let waited = tokio::time::timeout(UP, async {
        while !client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    waited.await.with_context(|| {
        format!("the service does not answer on {address} within {} s: see the log lines above", UP.as_secs())
    })
}
