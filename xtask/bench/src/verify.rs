//! Verification of bundles: warm in this process, and as a process beside `cosign verify-blob` on the same bundle.
//!
//! * **keyless**: the bundle `happy-path-v0.3` of Sigstore's conformance suite (a Fulcio certificate, Rekor v1), by digest, against the
//!   public instance's authorities, which are embedded. Without `DELIVERYOS_TEST_DATA` it is not measured, and that is said.
//! * **managed key**: a file signed with a fresh P-256 key, logged in a fresh log of signatures, by digest.
//! * **process**: `deliveryos verify-bundle` and `cosign verify-blob`, by turns, on the managed key's bundle with the same key and trusted
//!   root, from start to exit. Neither uses a network.
//!
//! Each of the first two is measured **new**, as a bundle that was never seen, all of whose signatures are computed, and **again**, as one
//! that this process has verified before: signatures that held are remembered (`attest`).

use anyhow::{Context, Result, ensure};
use attest::{Artifact, Match, Policy, Signer, SigningKey, TrustRoot, Verifier};
use hdrhistogram::Histogram;
use model::Digest;
use receipt_log::{Clock as _, MemorySigner, MemoryStore, ReceiptLog, SystemClock};
use rekor::{MemoryTree, SignatureLog};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use crate::machine::median;

const IDENTITY: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";
/// Targets, ms.
const KEYLESS_MS: f64 = 0.7;
const MANAGED_MS: f64 = 0.1;
/// Target: so many times faster than cosign.
const FASTER: f64 = 10.0;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Verifications in this process, of each kind.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(10..))]
    rounds: u32,
    /// Processes of each program.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    processes: u32,
}

/// A bundle with all that it is verified against.
struct Case {
    bundle: Vec<u8>,
    trust: TrustRoot,
    policy: Policy,
    digest: Digest,
}

pub(crate) fn run(options: &Options, deliveryos: &Path, peers: Option<&Path>) -> Result<Value> {
    let dir = tempfile::tempdir()?;
    let (managed, files) = managed(dir.path())?;
    println!("{:<18} {:>10} {:>10} {:>10} {:>8}", "in process", "p50 ms", "p99 ms", "target", "");
    let mut rows = Vec::new();
    match keyless()? {
        Some(case) => {
            for seen in [false, true] {
                rows.push(measure("keyless", &case, options.rounds, KEYLESS_MS, seen)?);
            }
        }
        None => println!("keyless            not measured: DELIVERYOS_TEST_DATA is not set"),
    }
    for seen in [false, true] {
        rows.push(measure("managed key", &managed, options.rounds, MANAGED_MS, seen)?);
    }
    let process = processes(options.processes, deliveryos, peers, &files)?;
    Ok(json!({ "rounds": options.rounds, "warm": rows, "process": process }))
}

fn measure(name: &str, case: &Case, rounds: u32, target: f64, seen: bool) -> Result<Value> {
    let verifier = Verifier::new(case.trust.clone())?;
    let now = jiff::Timestamp::now();
    let once = || verifier.verify(&case.bundle, Artifact::Digest(case.digest.clone()), &case.policy, now);
    for _ in 0..rounds / 10 {
        once()?;
    }
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3)?;
    for _ in 0..rounds {
        if !seen {
            attest::forget_signatures();
        }
        let start = Instant::now();
        once()?;
        histogram.saturating_record(u64::try_from(start.elapsed().as_nanos())?.max(1));
    }
    let ms = |nanoseconds: u64| nanoseconds as f64 / 1e6;
    let (p50, p99) = (ms(histogram.value_at_quantile(0.5)), ms(histogram.value_at_quantile(0.99)));
    let met = if p50 <= target { "met" } else { "MISSED" };
    let name = format!("{name}, {}", if seen { "again" } else { "new" });
    println!("{name:<18} {p50:>10.3} {p99:>10.3} {target:>10.1} {met:>8}");
    Ok(json!({ "kind": name, "p50_ms": p50, "p99_ms": p99, "target_ms": target }))
}

fn keyless() -> Result<Option<Case>> {
    let Some(data) = std::env::var_os("DELIVERYOS_TEST_DATA") else { return Ok(None) };
    let suite = PathBuf::from(data).join("sigstore/bundle-verify");
    let signer = Signer::keyless(Match::exact(IDENTITY)?, Match::exact(ISSUER)?);
    let read = |path: &str| std::fs::read(suite.join(path)).with_context(|| suite.join(path).display().to_string());
    Ok(Some(Case {
        bundle: read("happy-path-v0.3/bundle.sigstore.json")?,
        trust: TrustRoot::public()?,
        policy: Policy { old_forms: true, ..Policy::by(signer) },
        digest: attest::digest_of(&mut read("a.txt")?.as_slice())?,
    }))
}

/// Where the managed key's files are, for programs.
struct Files {
    bundle: PathBuf,
    key: PathBuf,
    root: PathBuf,
    file: PathBuf,
}

fn managed(dir: &Path) -> Result<(Case, Files)> {
    let (key, _) = SigningKey::generate()?;
    let content = b"what is delivered";
    let signed = key.file(&mut &content[..])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (answer, root) = runtime.block_on(async {
        let main = Arc::new(MemorySigner::generate()?);
        let notes = ReceiptLog::open(Arc::new(MemoryStore::default()), main, &SystemClock, None).await?;
        let own = Arc::new(MemorySigner::generate()?);
        let store = Arc::new(MemoryTree::default());
        let log = SignatureLog::open(store, own, Arc::new(notes), &SystemClock, None).await?;
        let body = attest::log_entry(signed.log_request().as_bytes())?;
        let logged = log.append(body, "bench".parse()?, SystemClock.now()).await?;
        Ok::<_, anyhow::Error>((logged.to_json().to_string(), log.trusted_root().to_string()))
    })?;
    let bundle = signed.logged(answer.as_bytes())?;
    let at = |name: &str| dir.join(name);
    let files = Files { bundle: at("bundle.json"), key: at("key.pub"), root: at("root.json"), file: at("file") };
    std::fs::write(&files.bundle, &bundle)?;
    std::fs::write(&files.key, key.public().to_pem())?;
    std::fs::write(&files.root, &root)?;
    std::fs::write(&files.file, content)?;
    let case = Case {
        bundle: bundle.into_bytes(),
        trust: TrustRoot::from_json(root.as_bytes())?,
        policy: Policy::by(Signer::key(key.public().clone())),
        digest: attest::digest_of(&mut &content[..])?,
    };
    Ok((case, files))
}

fn processes(count: u32, deliveryos: &Path, peers: Option<&Path>, files: &Files) -> Result<Value> {
    let program = |path: &Path, verb: &str| {
        let mut command = Command::new(path);
        command.arg(verb);
        command
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(peers.map(Path::to_owned));
    let cosign = dirs.map(|dir| dir.join("cosign")).find(|path| path.is_file());
    let once = |mut command: Command| -> Result<f64> {
        command.arg("--key").arg(&files.key).arg("--trusted-root").arg(&files.root).arg("--bundle").arg(&files.bundle);
        command.arg(&files.file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let status = command.status().with_context(|| format!("{command:?}"))?;
        let took = start.elapsed().as_secs_f64() * 1000.0;
        ensure!(status.success(), "{command:?} ended with {status}");
        Ok(took)
    };
    // Both once before: their files are then in memory.
    let (mut own, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=count {
        let took = once(program(deliveryos, "verify-bundle"))?;
        let other = match &cosign {
            Some(cosign) => Some(once(program(cosign, "verify-blob"))?),
            None => None,
        };
        if round > 0 {
            own.push(took);
            theirs.extend(other);
        }
    }
    let ours = median(&own);
    println!("\nas a process, median of {count}: deliveryos verify-bundle {ours:.1} ms");
    if theirs.is_empty() {
        println!("cosign verify-blob: not measured, cosign is not installed (cargo xtask setup)");
        return Ok(json!({ "count": count, "deliveryos_ms": ours }));
    }
    let cosign = median(&theirs);
    let ratio = cosign / ours;
    let met = if ratio >= FASTER { "met" } else { "MISSED" };
    println!("cosign verify-blob {cosign:.1} ms: {ratio:.1} times as long (target {FASTER}: {met})");
    Ok(json!({ "count": count, "deliveryos_ms": ours, "cosign_ms": cosign, "ratio": ratio, "target_ratio": FASTER }))
}
