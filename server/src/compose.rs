//! The composition root: every port tied to its adapter, and the order in which things start and end.

mod data_plane;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use access::{Access, CredentialKind, Role};
use anyhow::Context as _;
use controller::{Controller, Delivery, MetricSource, Migrations, Parts as ControllerParts};
use metrics::{Allowed, PrometheusSource, Secret, SourceConfig, WebSource};
use projections::ReadModel;
use receipt_log::{Clock, KeyFile, KeyFileError, Log, Passphrase, ReceiptLog, Store, SystemClock};
use rekor::SignatureLog;
use store_sqlite::{OpenError, SqliteStore};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

pub use data_plane::{DataPlane, SPLITTER_DIR, end_splitter, own_program, splitter_runs};

use crate::{
    admin,
    admission::{Admission, Policies, Registries, router as admission_router, tls},
    args,
    attestations::Attestations,
    auth::{Cookie, Limiter, LoginLink},
    config::{AdmissionConfig, Config, ConfigCatalogue},
    events::Hub,
    exit::{Refusal, WrongUse},
    health::Health,
    http_server,
    migrations::CommandMigrations,
    policy::Guarded,
    promotions::Promotions,
    router::{self, App, Counts},
    site,
};

/// The signing key in the data directory.
pub const KEY_FILE: &str = "log.key";
/// The public key beside it, for verifiers.
pub const VKEY_FILE: &str = "log.vkey";
/// The signing key of the log of signatures.
pub const REKOR_KEY_FILE: &str = "rekor.key";
/// By what verifiers believe that log.
pub const TRUSTED_ROOT_FILE: &str = "rekor.trusted_root.json";
/// Credentials that have expired are deleted this often.
const PRUNE_EVERY: std::time::Duration = std::time::Duration::from_secs(3_600);

/// What stands before the data plane is touched: addresses are ours, the log is open.
pub struct Opened {
    /// Where the state is.
    pub data_dir: PathBuf,
    /// The configuration.
    pub config: Config,
    /// Where it was read from.
    pub config_file: Option<PathBuf>,
    /// The listener of the pages.
    pub listener: TcpListener,
    /// Everything that is kept.
    pub store: SqliteStore,
    /// The log over it.
    pub log: ReceiptLog,
    /// The log of signatures, noted in the other.
    pub signatures: SignatureLog,
    /// Who may do what.
    pub access: Access,
    /// Address of the pages, as people type it.
    pub base: String,
}

/// A server that runs.
pub struct Running {
    /// What the routes work with.
    pub app: App,
    /// The controller.
    pub controller: Arc<Controller>,
    /// The data plane.
    pub data_plane: DataPlane,
    opened: Kept,
    closing: watch::Sender<bool>,
    pages: JoinHandle<()>,
    admission: Option<JoinHandle<()>>,
    helpers: Vec<JoinHandle<()>>,
}

struct Kept {
    store: SqliteStore,
    log: ReceiptLog,
    signatures: SignatureLog,
    admin_socket: PathBuf,
}

/// `deliveryos serve`.
pub async fn serve(data_dir: PathBuf, options: args::Serve) -> anyhow::Result<ExitCode> {
    let mut config = match &options.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    if let Some(listen) = options.listen {
        config.listen = listen;
    }
    let stop = terminated();
    let listener = listen(&config).await?;
    let opened = open(listener, data_dir, config, options.config).await?;
    if opened.config.services.is_empty() {
        tracing::warn!("no service is configured: say --config deliveryos.toml");
    }
    // A splitter that runs holds the addresses for us.
    if !splitter_runs(&opened.data_dir).await {
        for (name, service) in &opened.config.services {
            for address in &service.listen {
                let flag = format!("listen of [services.{name}] in the configuration");
                http_server::free(*address, &format!("the traffic of {name}"), &flag).await?;
            }
        }
    }
    greet(&opened).await?;
    let running = start(opened).await?;
    running.until(stop).await
}

/// Takes the address of the pages: what most often is in the way shows first, before anything is made or opened.
pub async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    http_server::listen(config.listen, "the pages", "--listen").await
}

/// Opens the log, before anything is started.
pub async fn open(
    listener: TcpListener,
    data_dir: PathBuf,
    config: Config,
    config_file: Option<PathBuf>,
) -> anyhow::Result<Opened> {
    let store = SqliteStore::open(&data_dir).await.map_err(|error| match error {
        // Known, and nothing is wrong with the database.
        OpenError::InUse { .. } => Refusal(error.to_string()).into(),
        other => anyhow::Error::from(other),
    })?;
    let address = listener.local_addr().context("the listener has no address")?;
    let (key, signatures_key) = {
        let paths = [KEY_FILE, REKOR_KEY_FILE].map(|name| data_dir.join(name));
        // Unsealing a key is a second of computation.
        tokio::task::spawn_blocking(move || {
            let passphrase = Passphrase::from_environment()?;
            let [main, signatures] = paths.map(|path| KeyFile::load_or_create(&path, passphrase.as_ref()));
            Ok::<_, KeyFileError>((main?, signatures?))
        })
        .await
        .context("the keys could not be read")??
    };
    let log =
        ReceiptLog::open(Arc::new(store.clone()), Arc::new(key), &SystemClock, config.log.origin.as_deref()).await?;
    std::fs::write(data_dir.join(VKEY_FILE), format!("{}\n", log.vkey()))
        .with_context(|| format!("{} cannot be written", data_dir.join(VKEY_FILE).display()))?;
    let signatures = SignatureLog::open(
        Arc::new(store.rekor()),
        Arc::new(signatures_key),
        Arc::new(log.clone()),
        &SystemClock,
        config.rekor.origin.as_deref(),
    )
    .await?;
    let trusted_root = serde_json::to_string_pretty(&signatures.trusted_root())? + "\n";
    std::fs::write(data_dir.join(TRUSTED_ROOT_FILE), trusted_root)
        .with_context(|| format!("{} cannot be written", data_dir.join(TRUSTED_ROOT_FILE).display()))?;
    let access = Access::new(Arc::new(store.clone()));
    let base = config.public_url.as_ref().map_or_else(|| format!("http://{}", reachable(address)), |url| url.origin());
    Ok(Opened { data_dir, config, config_file, listener, store, log, signatures, access, base })
}

/// A login link for an administrator.
pub async fn login_link(opened: &Opened) -> anyhow::Result<LoginLink> {
    let actor = "admin".parse()?;
    let secret = opened.access.make_link(actor, Role::Admin, SystemClock.now()).await?;
    Ok(LoginLink { base: opened.base.clone(), secret })
}

/// Says where the pages are, and, as long as nobody has ever been let in, how to get in.
async fn greet(opened: &Opened) -> anyhow::Result<()> {
    let nobody = opened.access.list(CredentialKind::Session).await?.is_empty()
        && opened.access.list(CredentialKind::Token).await?.is_empty();
    if nobody {
        let link = login_link(opened).await?;
        say(&format!("Log in (good once, within 10 minutes):\n  {}", link.url()));
    } else {
        say(&format!("Pages: {}", opened.base));
    }
    if !site::is_there() {
        tracing::warn!("the site is not built, pages have no style: cargo xtask build");
    }
    Ok(())
}

/// A line for people on stdout.
#[allow(clippy::print_stdout)] // what a person must see to go on
pub(crate) fn say(text: &str) {
    // Whoever read it may have gone: that ends nothing.
    let _ = std::io::Write::write_fmt(&mut std::io::stdout(), format_args!("{text}\n"));
}

/// Starts what acts: data plane, controller, pages.
pub async fn start(opened: Opened) -> anyhow::Result<Running> {
    let Opened { data_dir, config, config_file, listener, store, log, signatures, access, base } = opened;
    let catalogue = {
        let config = config.clone();
        // Reads every program to find its identity.
        tokio::task::spawn_blocking(move || ConfigCatalogue::new(&config, config_file))
            .await
            .context("the configuration could not be read")??
    };
    let catalogue = Arc::new(catalogue);
    let attestations = Arc::new(Attestations::new(&config.attestations)?);
    let migrations: Arc<dyn Migrations> = Arc::new(CommandMigrations::new(config.down_migrations.clone()));
    let allowed = Allowed::new(&sources(&config)?).map_err(|error| WrongUse(error.to_string()))?;
    let sources: Vec<Arc<dyn MetricSource>> =
        vec![Arc::new(PrometheusSource::new(allowed.clone())), Arc::new(WebSource::new(allowed))];
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (admin_listener, admin_socket) = admin::listen(&data_dir)?;

    let data_plane = DataPlane::start(&data_dir, &config)?;
    let controller = Arc::new(
        Controller::start(ControllerParts {
            log: Arc::new(log.clone()),
            runtime: data_plane.runtime(),
            metrics: sources,
            samples: Arc::new(store.clone()),
            catalogue: catalogue.clone(),
            migrations: migrations.clone(),
            clock: clock.clone(),
            probe: energy::Probe::system(),
        })
        .await,
    );
    let (closing, closed) = watch::channel(false);
    let followed: Arc<dyn Log> = Arc::new(log.clone());
    let read: Arc<dyn ReadModel> = Arc::new(store.clone());
    let delivery: Arc<dyn Delivery> = Arc::new(Guarded {
        inner: controller.clone(),
        read: read.clone(),
        log: followed.clone(),
        clock: clock.clone(),
        catalogue: catalogue.clone(),
        attestations: attestations.clone(),
    });
    let promotions = Arc::new(Promotions::new(&config, attestations, followed.clone(), clock.clone()));
    let hub = Hub::start(followed.clone(), &*delivery, closed.clone());
    let kept: Arc<dyn Store> = Arc::new(store.clone());
    let health = Health::default();
    let reading = tokio::spawn(health.clone().read_through(kept.clone()));
    let https = config.public_url.as_ref().is_some_and(|url| url.scheme == "https");
    let port = listener.local_addr().map_or(0, |address| address.port());
    let app = App::new(router::Parts {
        read,
        delivery,
        log: followed,
        signatures: signatures.clone(),
        store: kept,
        access: access.clone(),
        clock: clock.clone(),
        promotions,
        catalogue,
        migrations,
        vkey: log.vkey().to_string(),
        public_url: config.public_url.clone(),
        log_is_public: config.log.public,
        cookie: Cookie::new(https, port),
        logins: Limiter::default(),
        hub,
        health,
        counts: Counts::default(),
    });
    let stop = {
        let mut closed = closed.clone();
        async move {
            // An error means that the server is gone: stop as well.
            let _ = closed.wait_for(|closing| *closing).await;
        }
    };
    let pages = tokio::spawn(http_server::serve(listener, router::router(app.clone()), stop));
    let admission = match &config.admission {
        None => None,
        Some(config) => Some(webhook(config, &log, &clock, closed.clone()).await?),
    };
    let helpers = vec![
        tokio::spawn(admin::serve(admin_listener, access.clone(), base)),
        tokio::spawn(prune(access, clock)),
        reading,
    ];
    Ok(Running {
        app,
        controller,
        data_plane,
        opened: Kept { store, log, signatures, admin_socket },
        closing,
        pages,
        admission,
        helpers,
    })
}

impl Running {
    /// Runs until `stop` ends or the server must not go on; then ends it in order. The splitter goes on serving.
    pub async fn until(self, stop: impl Future<Output = ()>) -> anyhow::Result<ExitCode> {
        let mut failure = self.controller.failure();
        let (log, signatures) = (self.opened.log.clone(), self.opened.signatures.clone());
        let failed = tokio::select! {
            () = stop => None,
            why = log.stopped() => Some(format!("the log has stopped, nothing more is acknowledged: {why}")),
            why = signatures.stopped() => Some(format!("the log of signatures has stopped: {why}")),
            why = fatal(&mut failure) => Some(why),
        };
        self.end().await;
        match failed {
            None => Ok(ExitCode::SUCCESS),
            Some(why) => Err(anyhow::anyhow!(why)),
        }
    }

    /// Ends it in order: no new requests, streams closed, the controller at rest, what is queued written, the database closed.
    pub async fn end(self) {
        let Self { app, controller, data_plane, opened, closing, pages, admission, helpers } = self;
        closing.send_replace(true);
        if let Err(error) = pages.await {
            tracing::error!(%error, "the pages ended badly");
        }
        if let Some(admission) = admission
            && let Err(error) = admission.await
        {
            tracing::error!(%error, "the admission webhook ended badly");
        }
        for helper in helpers {
            helper.abort();
        }
        drop(app);
        if let Some(controller) = Arc::into_inner(controller) {
            controller.stop().await;
        }
        drop(data_plane);
        opened.log.drain().await;
        if let Err(error) = opened.store.close().await {
            tracing::error!(%error, "the database could not be closed in order; the next start recovers it");
        }
        // A socket that stays is replaced at the next start.
        let _ = std::fs::remove_file(&opened.admin_socket);
    }
}

/// Resolves when the server must end. A service that cannot be carried on is said and left alone; the others go on.
pub(crate) async fn fatal(failure: &mut watch::Receiver<Option<controller::Failure>>) -> String {
    loop {
        let found = failure.borrow_and_update().clone();
        match found {
            Some(error @ (controller::Failure::Log(_) | controller::Failure::Overtaken(_))) => {
                return error.to_string();
            }
            Some(error @ controller::Failure::Recovery { .. }) => tracing::error!(%error, "a service is left alone"),
            None => {}
        }
        if failure.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The admission webhook, listening. What is wrong with its files shows now and not at the first pod.
async fn webhook(
    config: &AdmissionConfig,
    log: &ReceiptLog,
    clock: &Arc<dyn Clock>,
    mut closed: watch::Receiver<bool>,
) -> anyhow::Result<JoinHandle<()>> {
    let tls = tls::config(&config.certificate, &config.key, config.client_ca.as_deref())?;
    let policies = Policies::new(config.policies.clone(), config.trusted_root.clone());
    let registries = Registries::new(config.plain_http);
    let admission = Admission::new(policies, registries, Arc::new(log.clone()), clock.clone());
    admission.check().await.map_err(|why| WrongUse(format!("admission: the policies cannot be used: {why}")))?;
    let listener = http_server::listen(config.listen, "the admission webhook", "admission.listen").await?;
    tracing::info!(address = %config.listen, "the admission webhook listens");
    let stop = async move {
        // An error means that the server is gone: stop as well.
        let _ = closed.wait_for(|closing| *closing).await;
    };
    Ok(tokio::spawn(tls::serve(listener, tls, admission_router(admission), stop)))
}

async fn prune(access: Access, clock: Arc<dyn Clock>) {
    let mut hourly = tokio::time::interval(PRUNE_EVERY);
    loop {
        hourly.tick().await;
        if let Err(error) = access.prune(clock.now()).await {
            tracing::warn!(%error, "expired credentials could not be deleted");
        }
    }
}

fn sources(config: &Config) -> anyhow::Result<BTreeMap<String, SourceConfig>> {
    config
        .metrics
        .iter()
        .map(|(name, metric)| {
            let headers = metric
                .headers_from_env
                .iter()
                .map(|(header, variable)| {
                    let value = std::env::var(variable).map_err(|_| {
                        WrongUse(format!("metrics.{name}: the environment variable {variable} is not set"))
                    })?;
                    Ok((header.clone(), Secret::new(value)))
                })
                .collect::<anyhow::Result<_>>()?;
            Ok((name.clone(), SourceConfig { url: metric.url.clone(), headers }))
        })
        .collect()
}

/// The address that a browser on this machine can use.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut reachable = address;
    if address.ip().is_unspecified() {
        reachable.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    reachable
}

/// Resolves at SIGTERM or SIGINT. Listens from the moment it is called.
pub fn terminated() -> impl Future<Output = ()> + Send + 'static {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    async move {
        match signals {
            Ok((mut term, mut int)) => {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                }
            }
            Err(error) => {
                tracing::error!(%error, "signals cannot be heard: end the process by killing it");
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The data directory's parts that a caller may want to name.
pub fn splitter_dir(data_dir: &Path) -> PathBuf {
    data_dir.join(SPLITTER_DIR)
}
