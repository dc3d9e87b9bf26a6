//! What the pages, the command line and the demo ask of the controller.

use async_trait::async_trait;
use model::{Actor, Command, CommandId, Environment, ReleaseId, ServiceId, Tick, evidence::Requirement};
use tokio::sync::broadcast;

use crate::Workload;

/// A release to start.
#[derive(Debug, Clone, PartialEq)]
pub struct StartRequest {
    /// Idempotency key.
    pub id: CommandId,
    /// The service, which the configuration must know.
    pub service: ServiceId,
    /// Where it goes.
    pub environment: Environment,
    /// The new version. Looked up in the configuration by the caller.
    pub canary: Workload,
    /// The recipe's text (YAML, with its analysis templates).
    pub recipe: String,
    /// Divides every duration of the recipe; 1 = as written. Recorded in the receipt.
    pub speed: f64,
    /// Name of the down-migration in the configuration, if any.
    pub down_migration: Option<String>,
    /// Who starts it.
    pub actor: Actor,
    /// Why.
    pub reason: String,
    /// What the service's policy asked of the version and was met by; stated in the receipt.
    pub requirements: Vec<Requirement>,
}

/// Why a release does not start.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum StartError {
    /// The configuration has no such service.
    #[error("there is no service {0}: add [services.{0}] to the configuration")]
    UnknownService(ServiceId),
    /// Another release of the service is under way.
    #[error("release {0} of this service is under way: promote or abort it first")]
    Busy(ReleaseId),
    /// The version is already stable.
    #[error("{0} is already the stable version")]
    AlreadyStable(String),
    /// The data plane lost what it was told: over a doubt about what is stable nothing is released.
    #[error("the data plane serves {runs} as stable, by the log it is {logged}: {remedy}")]
    OtherStable {
        /// The version that the data plane serves.
        runs: String,
        /// The version that the log knows.
        logged: String,
        /// How it is brought back.
        remedy: String,
    },
    /// The recipe has errors.
    #[error("the recipe is not usable: {}", .0.join("; "))]
    Recipe(Vec<String>),
    /// The service's policy asks for what is not there.
    #[error("{}", .0.join("; "))]
    PolicyUnmet(Vec<String>),
    /// The runtime cannot do part of the recipe.
    #[error("the runtime cannot carry out this recipe: {}", .0.join("; "))]
    Unsupported(Vec<String>),
    /// What the log holds of the service cannot be carried on.
    #[error(transparent)]
    LeftAlone(#[from] LeftAlone),
    /// It could not be found out or written down.
    #[error("the release could not be recorded: {0}")]
    Unavailable(String),
}

/// Why a command is not carried out.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum CommandError {
    /// No such release.
    #[error("there is no release {0}")]
    UnknownRelease(ReleaseId),
    /// The release is there, and this server does not carry its service.
    #[error(
        "the service {0} is not in this server's configuration: nobody carries the release on. Put [services.{0}] into it and start the server again"
    )]
    NotConfigured(ServiceId),
    /// The state does not allow it; recorded as a refusal.
    #[error("{0}")]
    Refused(String),
    /// The reason is too long, or has what is not text.
    #[error("{0}")]
    Unfit(String),
    /// What the log holds of the service cannot be carried on. An abort that takes traffic away is carried out all the same.
    #[error(transparent)]
    LeftAlone(#[from] LeftAlone),
    /// An abort of a service that is left alone, done in part: what was done and what was not, in words.
    #[error("{0}")]
    InPart(String),
    /// It could not be written down, so nothing was done.
    #[error("the command could not be recorded, so nothing was done: {0}")]
    Unavailable(String),
}

/// A service that is left alone: what the log holds of it cannot be carried on. Its data plane goes on with the weights it has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the service {service} is left alone since the server's start: {why}. Say `deliveryos log verify` to see all that is damaged, put the data \
     directory back from a copy, and start the server again; until then only an abort is carried out"
)]
pub struct LeftAlone {
    /// The service.
    pub service: ServiceId,
    /// Why, with the receipt where one is damaged.
    pub why: String,
}

/// What is seen of a service's traffic.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Traffic {
    /// Requests a second in the last minutes in which stable had all of them; `None` before a minute with any.
    pub rate: Option<f64>,
    /// Why the judge of its next release would see less than it is asked to.
    pub warning: Option<String>,
}

/// What the pages, the command line and the demo ask of the controller.
#[async_trait]
pub trait Delivery: Send + Sync {
    /// Starts a release; answers once the intent is durable. The same key again answers with the same release.
    async fn start(&self, request: StartRequest) -> Result<ReleaseId, StartError>;
    /// Gives a command; answers with the index of its receipt once the intent is durable, before its effect ends.
    async fn command(&self, command: Command) -> Result<u64, CommandError>;
    /// Live ticks by release, for pages.
    fn live(&self) -> broadcast::Receiver<(ReleaseId, Tick)>;
    /// The services that are left alone, with why. Fixed at the start.
    fn left_alone(&self) -> Vec<LeftAlone> {
        Vec::new()
    }
    /// What is seen of a service's traffic; `None` when there is no such service.
    fn traffic(&self, service: &ServiceId) -> Option<Traffic>;
}
