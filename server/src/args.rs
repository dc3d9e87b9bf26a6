//! The command line.

mod admit;
mod attest;
mod gate;
mod image;
mod short;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use access::Role;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use model::{Actor, Environment, ReleaseId, ServiceId, Version};

pub use admit::{AdmitVerb, CheckManifests, Webhook};
pub use attest::{AttestVerb, Build, Made, RekorVerb, SignedBy, Verify, VerifyBundle, Vuln};
pub use gate::{Check, GateVerb};
pub use image::{ImageVerb, Promote};

/// Where the pages are when nothing else is said.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:3000";
/// Where a client looks for a server when nothing else is said.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:3000";
/// Where the demo's traffic goes in.
pub const DEFAULT_TRAFFIC: &str = "127.0.0.1:8080";

/// Progressive delivery with signed receipts: canaries that climb, stop and prove it.
///
/// Exit codes: 0 yes, 1 a refusal (with reasons), 2 wrong use, 3 could not find out.
#[derive(Debug, Parser)]
#[command(name = "deliveryos", version, max_term_width = 110, arg_required_else_help = true)]
pub struct Args {
    /// What holds for every subcommand.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

impl Args {
    /// What this process was told. Ends it where that is wrong, or a question about the command line itself.
    pub fn of_this_process() -> Self {
        let line: Vec<OsString> = std::env::args_os().collect();
        short::parse(&line).unwrap_or_else(|| Self::parse_from(line))
    }
}

/// What holds for every subcommand.
#[derive(Debug, Clone, ClapArgs)]
pub struct Global {
    /// Directory of the embedded state: log, signing key, splitter [default: the platform's data directory]
    #[arg(long, global = true, env = "DELIVERYOS_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of a running server [default: http://127.0.0.1:3000]
    #[arg(long, global = true, env = "DELIVERYOS_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// Token for it, from `deliveryos token create`; better in the environment than on the command line
    #[arg(long, global = true, env = "DELIVERYOS_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<Secret>,
    /// Answer in JSON: one document, or one a line where the answer streams
    #[arg(long, global = true)]
    pub json: bool,
}

/// Text that `Debug` does not show.
#[derive(Clone)]
pub struct Secret(
    /// The text.
    pub String,
);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}
impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the server: pages, controller, log; starts the splitter or attaches to the one that runs
    Serve(Serve),
    /// Show it all on this machine: a real service, real traffic, canary after canary
    Demo(Demo),
    /// Start, steer and watch releases on a running server
    #[command(subcommand)]
    Release(ReleaseVerb),
    /// Check recipes (Argo Rollouts YAML), or print the timetable of one
    #[command(subcommand)]
    Recipe(RecipeVerb),
    /// Verdicts of the sequential judge, recomputed from their ticks
    #[command(subcommand)]
    Judge(JudgeVerb),
    /// Decide by scanner reports whether a release may go on
    #[command(subcommand)]
    Gate(GateVerb),
    /// The webhook that a cluster asks whether a pod may run: set it up, or ask about manifests
    #[command(subcommand)]
    Admit(AdmitVerb),
    /// The receipt log in the data directory, without a server
    #[command(subcommand)]
    Log(LogVerb),
    /// One receipt, taken elsewhere
    #[command(subcommand)]
    Receipt(ReceiptVerb),
    /// Sign and state: provenance, bills of materials, scans, as Sigstore bundles
    #[command(subcommand)]
    Attest(AttestVerb),
    /// The log of signatures that the server keeps, in the form of Rekor v2
    #[command(subcommand)]
    Rekor(RekorVerb),
    /// Verify an image's evidence under a policy: what is proved, by whom, and what is not; without a network but the image's registry
    Verify(Verify),
    /// Verify a Sigstore bundle against a file or digest, without a network
    VerifyBundle(VerifyBundle),
    /// Make tokens and login links
    #[command(subcommand)]
    Token(TokenVerb),
    /// The data plane, a process of its own (started by `serve`)
    Splitter(Splitter),
    /// Copy an image with all its evidence to another registry or folder, prove that it arrived, then tag it
    Promote(Promote),
    /// Make an image from a program, or show one with its evidence
    #[command(subcommand)]
    Image(ImageVerb),
    /// The small HTTP service that `demo` delivers, as the program demo-service beside this one is
    DemoService(DemoService),
    /// Print completions for a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// `serve`.
#[derive(Debug, Clone, ClapArgs)]
pub struct Serve {
    /// Configuration file: services, versions, migrations, metric sources
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address of the pages; over the configuration file's [default: 127.0.0.1:3000]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
}

/// `demo`.
#[derive(Debug, Clone, ClapArgs)]
pub struct Demo {
    /// Divide every duration of the 12-minute recipe by this; 6 makes a release of two minutes
    #[arg(long, default_value_t = 6.0, value_parser = speed)]
    pub speed: f64,
    /// What is wrong with the versions that are released from now on
    #[arg(long, value_enum, default_value_t = Fault::None)]
    pub fault: Fault,
    /// Requests a second
    #[arg(long, default_value_t = 200.0, value_parser = rate)]
    pub rate: f64,
    /// Address of the pages
    #[arg(long, default_value = DEFAULT_LISTEN, value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Address of the service's traffic
    #[arg(long, default_value = DEFAULT_TRAFFIC, value_name = "ADDRESS")]
    pub traffic: SocketAddr,
    /// Recipe to follow instead of the built-in 12-minute one
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// Do not run the quick releases first
    #[arg(long)]
    pub no_history: bool,
}

/// What is wrong with a demo version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// Nothing: the canary is promoted.
    None,
    /// It is slower: the canary is aborted.
    Latency,
    /// It answers with errors: the canary is aborted.
    Errors,
}

/// `release …`.
#[derive(Debug, Subcommand)]
pub enum ReleaseVerb {
    /// Start a release of a version that the server's configuration knows
    Start(Start),
    /// Go on to the next step
    Promote(Steer),
    /// Skip what is left of the steps
    PromoteFull(Steer),
    /// Hold at the present weight
    Pause(Steer),
    /// Leave the pause
    Resume(Steer),
    /// Canary traffic to 0 % at once
    Abort(Steer),
    /// Start an aborted release again from its first step
    Retry(Steer),
    /// Return a finished release to the version before it, by its rollback envelope
    Rollback(Steer),
    /// Show one release
    Status {
        /// The release.
        release: ReleaseId,
    },
    /// Follow a release live until it ends; exit 0 = promoted, 1 = aborted or rolled back
    Watch {
        /// The release.
        release: ReleaseId,
    },
    /// List releases, newest first
    List {
        /// Only of this service
        #[arg(long)]
        service: Option<ServiceId>,
        /// Only in this state
        #[arg(long, value_parser = ["in-flight", "promoted", "aborted", "rolled-back"])]
        state: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
    },
}

/// `release start`.
#[derive(Debug, Clone, ClapArgs)]
pub struct Start {
    /// The service
    pub service: ServiceId,
    /// The new version, as the server's configuration names it
    pub version: Version,
    /// Recipe (YAML, with its analysis templates) [default: 5 % 2 min, 25 % 3 min, 50 % 3 min, 100 % and bake to 12 min]
    #[arg(long, value_name = "FILE")]
    pub recipe: Option<PathBuf>,
    /// Where the service runs, to be sure: refused when that is somewhere else
    #[arg(long)]
    pub environment: Option<Environment>,
    /// Divide every duration of the recipe by this; recorded in the receipt
    #[arg(long, default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// Down-migration, by its name in the configuration
    #[arg(long, value_name = "NAME")]
    pub down_migration: Option<String>,
    /// Why
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Idempotency key: the same key again answers with the same release [default: random]
    #[arg(long, value_name = "KEY")]
    pub id: Option<model::CommandId>,
    /// Follow it until it ends
    #[arg(long)]
    pub watch: bool,
}

/// A command to a release.
#[derive(Debug, Clone, ClapArgs)]
pub struct Steer {
    /// The release
    pub release: ReleaseId,
    /// Why
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Idempotency key [default: random]
    #[arg(long, value_name = "KEY")]
    pub id: Option<model::CommandId>,
}

/// `recipe …`.
#[derive(Debug, Subcommand)]
pub enum RecipeVerb {
    /// Check recipes as Argo Rollouts would; exit 1 when one has errors
    Lint {
        /// YAML files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Also refuse what this runtime cannot do
        #[arg(long, value_parser = ["local"])]
        runtime: Option<String>,
        /// Requests a second: also warn when the rule `threshold`, or a template's threshold on 5xx or p99, would often stop a healthy canary at
        /// this traffic
        #[arg(long, value_parser = rate)]
        rate: Option<f64>,
        /// The same at the traffic that this service has had so far: as the server sees it (--server), else as its last releases in the data
        /// directory had it
        #[arg(long, value_name = "NAME", conflicts_with = "rate")]
        service: Option<ServiceId>,
    },
    /// Print the timetable of a recipe
    Plan {
        /// YAML file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Divide every duration by this
        #[arg(long, default_value_t = 1.0, value_parser = speed)]
        speed: f64,
        /// Requests a second, both versions together: also say how small a regression each step can see by its end
        #[arg(long, value_parser = rate)]
        rate: Option<f64>,
    },
}

/// `judge …`.
#[derive(Debug, Subcommand)]
pub enum JudgeVerb {
    /// Compute the verdict of a table of ticks again: evidence, crossing, which rule stopped it
    Replay(ReplayOptions),
    /// Make the table of ticks from two versions' histograms in Prometheus; says when their buckets are too coarse for the tolerance
    Ticks(TicksOptions),
}

/// `judge ticks`.
#[derive(Debug, Clone, ClapArgs)]
pub struct TicksOptions {
    /// Where Prometheus is, with the path before /api/v1 if it has one
    #[arg(long, value_name = "URL")]
    pub prometheus: String,
    /// The canary's buckets by le, summed over its processes: `sum by (le) (http_request_duration_seconds_bucket{version="v2"})`
    #[arg(long, value_name = "PROMQL")]
    pub canary_buckets: String,
    /// Stable's
    #[arg(long, value_name = "PROMQL")]
    pub stable_buckets: String,
    /// The canary's failed requests: `sum(http_requests_total{version="v2",code=~"5.."})`
    #[arg(long, value_name = "PROMQL")]
    pub canary_errors: String,
    /// Stable's
    #[arg(long, value_name = "PROMQL")]
    pub stable_errors: String,
    /// When the canary got its first requests (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub from: model::Timestamp,
    /// The end
    #[arg(long, value_name = "TIME")]
    pub to: model::Timestamp,
    /// Seconds of a tick: the scrape interval, because between scrapes a counter stands still
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub step: u16,
    /// Seconds of stable's past before, which say what is slow
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub past: u32,
}

/// `judge replay`.
#[derive(Debug, Clone, ClapArgs)]
pub struct ReplayOptions {
    /// One tick a line: {"t":1,"canary":{"n":5,"errors":0,"slow":1},"stable":{"n":95,"errors":0,"slow":1}}; `-` reads stdin
    #[arg(value_name = "TICKS.ndjson")]
    pub file: PathBuf,
    /// Unit of evidence [default: the policy's, else requests]
    #[arg(long, value_enum)]
    pub mode: Option<JudgeMode>,
    /// Chance that a healthy canary is ever stopped [default: the policy's, else 0.01]
    #[arg(long)]
    pub alpha: Option<f64>,
    /// Weights of the measures abs, rel and p99 [default: the policy's, else 0.25,0.25,0.5]
    #[arg(long, value_name = "ABS,REL,P99")]
    pub weights: Option<String>,
    /// Policy as JSON, as a verdict's receipt has it
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// Unit of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JudgeMode {
    /// Requests are independent
    Requests,
    /// Blocks: requests may fail together
    Blocks,
}

/// `log …`.
#[derive(Debug, Subcommand)]
pub enum LogVerb {
    /// Verify the whole log: every signature, every hash, every checkpoint
    Verify {
        /// Key to verify with, as c2sp.org/signed-note writes it [default: the data directory's own]
        #[arg(long, value_name = "VKEY")]
        vkey: Option<String>,
    },
    /// Write the log as static files (c2sp.org/tlog-tiles) that any web server can offer
    Export {
        /// Directory to write to; made when missing
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

/// `receipt …`.
#[derive(Debug, Subcommand)]
pub enum ReceiptVerb {
    /// Verify a downloaded receipt (`.tlog-proof`), offline
    Verify {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Key to verify with, obtained from somebody you trust [default: the data directory's own]
        #[arg(long, value_name = "VKEY")]
        vkey: Option<String>,
    },
}

/// `token …`.
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token; shown once
    Create {
        /// What it may do: viewer (read), operator (give commands), admin (make tokens too)
        #[arg(long, value_parser = role)]
        role: Role,
        /// Name that its receipts carry
        #[arg(long, default_value = "token")]
        name: Actor,
        /// Days until it expires, at most 365
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=365))]
        days: u16,
    },
    /// Make a login link, good once within 10 minutes
    Link {
        /// What its user may do: viewer (read), operator (give commands), admin (make tokens too)
        #[arg(long, value_parser = role, default_value = "admin")]
        role: Role,
        /// Name that their receipts carry
        #[arg(long, default_value = "admin")]
        name: Actor,
    },
}

/// `splitter`.
#[derive(Debug, Clone, ClapArgs)]
pub struct Splitter {
    /// Directory of its control socket, state file and logs [default: `splitter` in the data directory]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Threads that proxy; 0 = one per core
    #[arg(long, default_value_t = 0)]
    pub workers: usize,
    /// Address of its Prometheus endpoint
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_listen: Option<SocketAddr>,
    /// Leave the terminal or server that started it
    #[arg(long)]
    pub detach: bool,
    /// Take over from the one that runs, without losing a request: an upgrade. When none runs, one is started. The server does
    /// this by itself when it starts and finds a splitter of another build
    #[arg(long)]
    pub take_over: bool,
    /// End the one that runs, with its versions, instead of starting one: its services are then not served any more
    #[arg(long, conflicts_with_all = ["workers", "metrics_listen", "detach", "take_over"])]
    pub stop: bool,
}

/// `demo-service`.
#[derive(Debug, Clone, ClapArgs)]
pub struct DemoService {
    /// Port on 127.0.0.1
    #[arg(long)]
    pub port: u16,
    /// Version named in the answers
    #[arg(long, default_value = "v1")]
    pub version: Version,
    /// Median latency, ms
    #[arg(long, default_value_t = 20.0)]
    pub latency_ms: f64,
    /// Sigma of the logarithm of the latency; the 99th percentile is median · exp(2.33 σ)
    #[arg(long, default_value_t = 0.3)]
    pub sigma: f64,
    /// Share of answers that are 503, 0 to 1
    #[arg(long, default_value_t = 0.0)]
    pub error_rate: f64,
}

fn role(text: &str) -> Result<Role, String> {
    text.parse::<Role>().map_err(|_| "one of viewer, operator, admin".to_owned())
}

fn speed(text: &str) -> Result<f64, String> {
    ranged(text, 0.01, 1_000.0)
}

fn rate(text: &str) -> Result<f64, String> {
    ranged(text, 1.0, 20_000.0)
}

fn ranged(text: &str, low: f64, high: f64) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (low..=high).contains(&value) => Ok(value),
        _ => Err(format!("a number from {low} to {high}")),
    }
}

/// `NAME=VALUE`; the name is not empty.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }

    #[test]
    fn secrets_do_not_show() {
        let args = Args::try_parse_from(["deliveryos", "--token", "dlv_token_x", "release", "list"]).unwrap();
        assert!(!format!("{args:?}").contains("dlv_token_x"));
    }

    #[test]
    fn lines_that_scripts_rely_on() {
        let check = |line: &str, ok: bool| {
            let parsed = Args::try_parse_from(line.split(' '));
            assert_eq!(parsed.is_ok(), ok, "{line}: {:?}", parsed.err());
        };
        check("deliveryos serve --config deliveryos.toml --listen 127.0.0.1:3000", true);
        check("deliveryos demo --speed 12 --fault latency --rate 300", true);
        check("deliveryos demo --speed 0", false);
        check("deliveryos demo --speed NaN", false);
        check("deliveryos release abort checkout-7 --reason slow --json", true);
        check("deliveryos release abort Checkout_7", false);
        check("deliveryos --json log verify", true);
        check("deliveryos log verify --json --data-dir /tmp/x", true);
        check("deliveryos recipe lint a.yaml b.yaml", true);
        check("deliveryos recipe lint", false);
        check("deliveryos gate check --policy p.toml a.json b.sarif --json", true);
        check("deliveryos gate check a.json --against old.json older.json", true);
        check("deliveryos gate check --subject sha256:0 a.json", false);
        check("deliveryos gate check --release checkout-7 a.json", true);
        check("deliveryos gate check --release checkout-7 --service checkout a.json", false);
        check("deliveryos gate check", false);
        check("deliveryos admit certificate --out tls admit.example.com 10.0.0.7", true);
        check("deliveryos admit certificate --out tls", false);
        check(
            "deliveryos admit webhook --url https://127.0.0.1:8443 --ca tls/ca.pem --exempt a --exempt b --pin",
            true,
        );
        check("deliveryos admit webhook --url https://a:1 --service b/c --ca ca.pem", false);
        check("deliveryos admit webhook --ca ca.pem", false);
        check("deliveryos admit check --policy a.toml --policy b.yaml pod.yaml more.yaml --json", true);
        check("deliveryos admit check --config deliveryos.toml pod.yaml", true);
        check("deliveryos admit check --config deliveryos.toml --policy a.toml pod.yaml", false);
        check("deliveryos admit check pod.yaml", false);
        check("deliveryos token create --role viewer", true);
        check("deliveryos token create --role root", false);
        check("deliveryos verify-bundle --staging --bundle b.json --key k.pub --trusted-root t.json sha256:00", true);
        check("deliveryos verify-bundle --bundle b --certificate-identity i --certificate-oidc-issuer u a.txt", true);
        check("deliveryos verify-bundle --bundle b --certificate-identity i a.txt", false);
        check(
            "deliveryos verify-bundle --bundle b --certificate-identity i --certificate-oidc-issuer u --key k a.txt",
            false,
        );
        check("deliveryos verify-bundle --bundle b a.txt", false);
        check("deliveryos attest keygen --out k", true);
        check("deliveryos attest sign --key k --bundle b a.txt", true);
        check("deliveryos attest sign --bundle b a.txt", false);
        check("deliveryos attest sign --key k --attach oci:images:v1", true);
        check("deliveryos attest sign --key k oci:images:v1", false);
        check("deliveryos attest attach --bundle b localhost:5000/app:v1", true);
        check("deliveryos verify oci:images:v1 --policy p.toml --json", true);
        check("deliveryos verify oci:images:v1", false);
        check("deliveryos rekor trusted-root --server http://127.0.0.1:3000", true);
        check(
            "deliveryos attest build --key k --bundle b --builder-id u --build-type t --parameter a=b sha256:00",
            true,
        );
        check(
            "deliveryos attest build --key k --bundle b --builder-id u --build-type t --parameter a sha256:00",
            false,
        );
        check("deliveryos completions bash", true);
        check("deliveryos promote oci:dev:v1 registry.example.com/app --platform linux/amd64 --dry-run --json", true);
        check("deliveryos promote oci:dev:v1 oci:prod --policy p.toml", true);
        check("deliveryos promote --service checkout --to prod --tag v1 --policy p.toml", false);
        check("deliveryos promote nginx oci:dev", false);
        check("deliveryos promote oci:dev:v1", false);
        check("deliveryos promote --service checkout --to prod --tag v1 --agree 7 --reason ok", true);
        check("deliveryos promote --service checkout --to prod", false);
        check("deliveryos promote oci:dev:v1 oci:prod --to prod", false);
        check("deliveryos image build oci:dev:v1 ./app --label a=b -- serve --port 1", true);
        check("deliveryos image build oci:dev:v1 ./app --label =b", false);
    }
}
