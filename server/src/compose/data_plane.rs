//! The data plane: a splitter that runs is attached to, else one is started in the background.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use anyhow::Context as _;
use controller::Runtime;
use local::{LocalOptions, LocalRuntime, LocalService};
use splitter::{
    Limits, Sticky,
    control::{Client, Request, Response, SOCKET_NAME},
};

use crate::config::{Config, ServiceConfig, StickyConfig};

/// Directory of the splitter in the data directory.
pub const SPLITTER_DIR: &str = "splitter";

/// Requests under way when a splitter is told to end are given so long, ms.
const DRAIN_MS: u64 = 2_000;

/// The splitter and the runtime over it. Dropping it leaves the splitter serving.
pub struct DataPlane {
    runtime: Arc<LocalRuntime>,
}

impl DataPlane {
    /// Attaches to the splitter of this data directory, or starts it: this executable, detached, so that it outlives the server.
    pub fn start(data_dir: &Path, config: &Config) -> anyhow::Result<Self> {
        let state_dir = std::path::absolute(data_dir.join(SPLITTER_DIR)).context("the data directory has no path")?;
        let mut command = vec![
            own_program()?,
            "splitter".into(),
            "--detach".into(),
            "--state-dir".into(),
            state_dir.display().to_string(),
        ];
        if config.splitter.workers > 0 {
            command.extend(["--workers".to_owned(), config.splitter.workers.to_string()]);
        }
        if let Some(address) = config.splitter.metrics_listen {
            command.extend(["--metrics-listen".to_owned(), address.to_string()]);
        }
        let services = config.services.iter().map(|(name, service)| (name.clone(), front(service))).collect();
        // Without a service there is nothing to carry, and a splitter in the background would only surprise.
        let command = (!config.services.is_empty()).then_some(command);
        let take_over = Some(vec!["--take-over".to_owned()]);
        Ok(Self { runtime: Arc::new(LocalRuntime::start(LocalOptions { state_dir, command, take_over, services })) })
    }

    /// For the controller.
    pub fn runtime(&self) -> Arc<dyn Runtime> {
        self.runtime.clone()
    }
}

/// Ends the splitter in this directory with the versions that it runs, and answers with its process id; `None` when none runs.
/// Whoever would start it again must be gone before.
pub async fn end_splitter(state_dir: &Path) -> anyhow::Result<Option<u32>> {
    let Ok(mut client) = Client::connect(&state_dir.join(SOCKET_NAME)).await else { return Ok(None) };
    let Response::Hello(hello) = client.call(Request::Hello).await? else {
        anyhow::bail!("the splitter gave an answer that does not belong to the request");
    };
    let order = Request::Shutdown { epoch: hello.epoch, drain_ms: DRAIN_MS, stop_versions: true };
    client.call(order).await.context("the splitter does not end")?;
    Ok(Some(hello.pid))
}

/// True when a splitter of this data directory answers: the addresses that it holds are ours.
pub async fn splitter_runs(data_dir: &Path) -> bool {
    Client::connect(&data_dir.join(SPLITTER_DIR).join(SOCKET_NAME)).await.is_ok()
}

/// Where this program is, as it was at the first call: when it is replaced while it runs, the path leads to its successor.
pub fn own_program() -> anyhow::Result<String> {
    static OWN: OnceLock<Option<String>> = OnceLock::new();
    let own =
        OWN.get_or_init(|| std::env::current_exe().ok().and_then(|path| path.into_os_string().into_string().ok()));
    own.clone().context("this program does not know where it is")
}

fn front(service: &ServiceConfig) -> LocalService {
    LocalService {
        listen: service.listen.clone(),
        limits: Limits::default(),
        sticky: service.sticky.as_ref().map(|sticky| match sticky {
            StickyConfig::Header(name) => Sticky::Header(name.clone()),
            StickyConfig::Cookie(name) => Sticky::Cookie(name.clone()),
        }),
        trust_forwarded: false,
        dead_man_seconds: service.dead_man_seconds,
    }
}
