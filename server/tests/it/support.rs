//! A server in process: a real store and log in a directory of its own, a delivery that only counts.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use access::{Access, Role};
use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{Method, Request, Response, StatusCode, header},
};
use controller::{CommandError, Delivery, LeftAlone, StartError, StartRequest, Traffic};
use http_body_util::BodyExt as _;
use model::{Actor, Command, Kind, ReleaseId, ServiceId, Tick, event::CommandSeen};
use receipt_log::{Draft, Log as _, ManualClock, MemorySigner, ReceiptLog};
use receipts::Payload;
use rekor::SignatureLog;
use server::{
    attestations::Attestations,
    auth::{Cookie, Limiter},
    config::{Config, ConfigCatalogue, PublicUrl},
    events::Hub,
    health::Health,
    migrations::CommandMigrations,
    policy::Guarded,
    promotions::Promotions,
    router::{self, App, Counts, Parts},
};
use store_sqlite::SqliteStore;
use tokio::sync::{broadcast, watch};
use tower::ServiceExt as _;

/// Origin of the pages.
pub(crate) const ORIGIN: &str = "http://127.0.0.1:3000";
/// Host that goes with it.
pub(crate) const HOST: &str = "127.0.0.1:3000";

/// What reached the controller.
#[derive(Default)]
pub(crate) struct Reached {
    pub(crate) started: Mutex<Vec<StartRequest>>,
    pub(crate) commands: Mutex<Vec<Command>>,
    pub(crate) traffic: Mutex<Traffic>,
    pub(crate) left_alone: Mutex<Vec<LeftAlone>>,
    live: Mutex<Option<broadcast::Sender<(ReleaseId, Tick)>>>,
}

impl Reached {
    pub(crate) fn count(&self) -> usize {
        self.started.lock().unwrap().len() + self.commands.lock().unwrap().len()
    }
}

#[async_trait]
impl Delivery for Reached {
    async fn start(&self, request: StartRequest) -> Result<ReleaseId, StartError> {
        self.started.lock().unwrap().push(request);
        Ok("checkout-1".parse().unwrap())
    }
    async fn command(&self, command: Command) -> Result<u64, CommandError> {
        self.commands.lock().unwrap().push(command);
        Ok(7)
    }
    fn traffic(&self, _service: &ServiceId) -> Option<Traffic> {
        Some(self.traffic.lock().unwrap().clone())
    }
    fn left_alone(&self) -> Vec<LeftAlone> {
        self.left_alone.lock().unwrap().clone()
    }
    fn live(&self) -> broadcast::Receiver<(ReleaseId, Tick)> {
        self.live.lock().unwrap().get_or_insert_with(|| broadcast::channel(16).0).subscribe()
    }
}

/// The server, and what is needed to knock on its door.
pub(crate) struct Server {
    pub(crate) router: Router,
    pub(crate) app: App,
    pub(crate) log: ReceiptLog,
    pub(crate) reached: Arc<Reached>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) closing: watch::Sender<bool>,
    pub(crate) cookie: String,
    pub(crate) directory: tempfile::TempDir,
}

/// A session: what its cookie and its forms carry.
pub(crate) struct Session {
    pub(crate) secret: String,
    pub(crate) form_token: String,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(false, None).await
    }

    /// With more in its configuration.
    pub(crate) async fn configured(more: &str) -> Self {
        Self::made(false, None, more).await
    }

    pub(crate) async fn with(log_is_public: bool, public_url: Option<&str>) -> Self {
        let more =
            "[environments.dev]\nfrom = \"oci:/nonexistent/{service}\"\nimages = \"oci:/nonexistent/dev/{service}\"\n";
        Self::made(log_is_public, public_url, more).await
    }

    async fn made(log_is_public: bool, public_url: Option<&str>, more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).await.unwrap();
        let clock = Arc::new(ManualClock::new("2026-05-07T13:00:00Z".parse().unwrap()));
        let signer = Arc::new(MemorySigner::from_seed(&[7; 32]));
        let log = ReceiptLog::open(Arc::new(store.clone()), signer, &*clock, Some("test.example/log")).await.unwrap();
        let signatures = SignatureLog::open(
            Arc::new(store.rekor()),
            Arc::new(MemorySigner::from_seed(&[8; 32])),
            Arc::new(log.clone()),
            &*clock,
            Some("signatures.example"),
        );
        let signatures = signatures.await.unwrap();
        let reached = Arc::new(Reached::default());
        let (closing, closed) = watch::channel(false);
        let public_url = public_url.map(|url| PublicUrl::try_from(url.to_owned()).unwrap());
        let cookie = Cookie::new(public_url.as_ref().is_some_and(|url| url.scheme == "https"), 3000);
        let text = "[services.checkout]\nlisten = [\"127.0.0.1:0\"]\nstable = \"v1\"\n\
                    [services.checkout.versions.v1]\ncommand = [\"/bin/sh\"]\n\
                    [services.checkout.versions.v2]\ncommand = [\"/bin/cat\"]\n";
        let config = Config::parse(&format!("{text}{more}")).unwrap();
        let catalogue = Arc::new(ConfigCatalogue::new(&config, None).unwrap());
        let attestations = Arc::new(Attestations::new(&config.attestations).unwrap());
        let delivery: Arc<dyn Delivery> = Arc::new(Guarded {
            inner: reached.clone(),
            read: Arc::new(store.clone()),
            log: Arc::new(log.clone()),
            clock: clock.clone(),
            catalogue: catalogue.clone(),
            attestations: attestations.clone(),
        });
        let hub = Hub::start(Arc::new(log.clone()), &*delivery, closed);
        let promotions = Arc::new(Promotions::new(&config, attestations, Arc::new(log.clone()), clock.clone()));
        let name = cookie.name().to_owned();
        let app = App::new(Parts {
            read: Arc::new(store.clone()),
            delivery,
            log: Arc::new(log.clone()),
            signatures,
            store: Arc::new(store.clone()),
            access: Access::new(Arc::new(store)),
            clock: clock.clone(),
            promotions,
            catalogue,
            migrations: Arc::new(CommandMigrations::new(BTreeMap::new())),
            vkey: log.vkey().to_string(),
            public_url,
            log_is_public,
            cookie,
            logins: Limiter::default(),
            hub,
            health: Health::default(),
            counts: Counts::default(),
        });
        let router = router::router(app.clone());
        Self { router, app, log, reached, clock, closing, cookie: name, directory }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn session(&self, role: Role) -> Session {
        let now = self.app.clock.now();
        let link = self.app.access.make_link(actor(role), role, now).await.unwrap();
        let session = self.app.access.redeem_link(link.expose(), now).await.unwrap();
        let access::Via::Session { form_token } = session.identity.via else { panic!("not a session") };
        Session {
            secret: session.secret.expose().to_owned(),
            form_token: access::masked_form_token(&form_token).unwrap(),
        }
    }

    pub(crate) async fn token(&self, role: Role) -> String {
        let now = self.app.clock.now();
        self.app.access.make_token(actor(role), role, 3_600_000, now).await.unwrap().secret.expose().to_owned()
    }

    /// Appends a receipt and answers with its index.
    pub(crate) async fn append(&self, key: &str) -> u64 {
        let facts =
            CommandSeen { command: "pause".into(), command_id: key.into(), reason: "test".into(), refusal: None };
        let payload = Payload::new(Kind::CommandAccepted, self.app.clock.now(), actor(Role::Operator), &facts).unwrap();
        self.log.append(Draft { key: key.to_owned(), payload }).await.unwrap()
    }
}

pub(crate) fn actor(role: Role) -> Actor {
    format!("a {role}").parse().unwrap()
}

/// A request that a browser of ours would send, without any credentials.
pub(crate) fn request(method: Method, path: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(path).header(header::HOST, HOST)
}

pub(crate) async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// True when the answer lets nothing happen and nothing be seen.
pub(crate) fn is_refusal(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
    )
}
