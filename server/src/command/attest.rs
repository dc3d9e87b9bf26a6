//! `deliveryos attest …`: statements and signatures with a key of one's own, as Sigstore bundles.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufReader, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use attest::{
    Artifact, COSIGN_SIGNATURE, COSIGN_VULN, CYCLONEDX, Policy, Proved, SLSA_PROVENANCE, Signed, Signer, SigningKey,
    Statement, TrustRoot, Verifier, limits,
};
use model::Digest;
use serde_json::{Value, json};

use super::{
    print,
    verify_bundle::{digest, read, show},
};
use crate::{
    args::{AttestVerb, Build, Global, Made, Vuln},
    exit::{Refusal, WrongUse},
};

/// A log answers when the entry is in its tree and signed: up to 10 s at the public one, 20 s by its own advice.
const LOG_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest answer of a log: an entry of 64 kB in base64, its proof and a checkpoint with many witnesses.
const MAX_ANSWER: usize = 1024 * 1024;

pub(super) async fn run(global: &Global, verb: AttestVerb) -> anyhow::Result<ExitCode> {
    match verb {
        AttestVerb::Keygen { out } => keygen(global, &out),
        AttestVerb::Build(Build {
            made,
            builder_id,
            build_type,
            parameters,
            source,
            commit,
            invocation,
            started,
            finished,
        }) => {
            let parameters = parameters.into_iter().collect();
            let build = attest::Build {
                builder: builder_id,
                build_type,
                parameters,
                source,
                commit,
                invocation,
                started,
                finished,
            };
            state(global, &made, SLSA_PROVENANCE, build.predicate()).await
        }
        AttestVerb::Sbom { made, sbom } => {
            let bom = attest::cyclonedx(&read(&sbom, limits::MAX_BUNDLE)?);
            state(global, &made, CYCLONEDX, bom.map_err(|error| unusable(&sbom, &error))?).await
        }
        AttestVerb::Vuln(Vuln { made, report, scanner, scanner_version, started, finished }) => {
            let bytes = read(&report, limits::MAX_BUNDLE)?;
            let found = attest::vulnerabilities(&bytes, &scanner, &scanner_version, started, finished);
            state(global, &made, COSIGN_VULN, found.map_err(|error| unusable(&report, &error))?).await
        }
        AttestVerb::Sign { made } => match subject(&made)? {
            Subject::Digest(_) => state(global, &made, COSIGN_SIGNATURE, json!({})).await,
            Subject::File(path) => {
                let key = key(&made)?;
                let signed = key.file(&mut open(&path)?).map_err(refusal)?;
                finish(global, &made, &key, signed, None, Held::File(path)).await
            }
        },
    }
}

fn keygen(global: &Global, out: &Path) -> anyhow::Result<ExitCode> {
    let (key, pem) = SigningKey::generate()?;
    let public = PathBuf::from(format!("{}.pub", out.display()));
    let create = |path: &Path, mode: u32, text: &str| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .map_err(|error| WrongUse(format!("{} cannot be made: {error}", path.display())))?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .with_context(|| format!("{} cannot be written", path.display()))
    };
    create(out, 0o600, &pem)?;
    create(&public, 0o644, &key.public().to_pem())?;
    if global.json {
        print::json(&json!({ "key": out, "public": public, "hint": key.public().hint() }))?;
    } else {
        print::line(&format!("{} (keep it secret), {} (hand it on)", out.display(), public.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Of what something is stated.
enum Subject {
    Digest(Digest),
    File(PathBuf),
}

/// What the finished bundle is held against.
enum Held {
    Digest(Digest),
    File(PathBuf),
}

fn subject(made: &Made) -> anyhow::Result<Subject> {
    let path = PathBuf::from(&made.subject);
    match digest(&made.subject) {
        Some(digest) if !path.exists() => Ok(Subject::Digest(digest)),
        _ if path.is_file() => Ok(Subject::File(path)),
        _ => Err(WrongUse(format!("{}: neither a file nor sha256: and 64 hexadecimal digits", made.subject)).into()),
    }
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).map_err(|error| WrongUse(format!("{} cannot be read: {error}", path.display())))?;
    Ok(BufReader::new(file))
}

fn key(made: &Made) -> anyhow::Result<SigningKey> {
    let Some(path) = &made.key else {
        let why = "signing without a key (keyless, by a certificate of Fulcio) is not in this version: give --key";
        return Err(Refusal(why.to_owned()).into());
    };
    SigningKey::from_pem_bytes(read(path, limits::MAX_KEY)?)
        .map_err(|error| WrongUse(format!("{}: {error}", path.display())).into())
}

async fn state(global: &Global, made: &Made, predicate_type: &str, predicate: Value) -> anyhow::Result<ExitCode> {
    let key = key(made)?;
    let (digest, name) = match subject(made)? {
        Subject::Digest(digest) => (digest, String::new()),
        Subject::File(path) => {
            let digest = attest::digest_of(&mut open(&path)?)?;
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            (digest, name.unwrap_or_default())
        }
    };
    let name = made.name.clone().unwrap_or(name);
    let statement = Statement::new(&name, &digest, predicate_type, predicate);
    let signed = key.statement(&statement).map_err(refusal)?;
    finish(global, made, &key, signed, Some(predicate_type), Held::Digest(digest)).await
}

/// Logs it where asked, verifies it as others will, writes it.
async fn finish(
    global: &Global,
    made: &Made,
    key: &SigningKey,
    signed: Signed,
    predicate_type: Option<&str>,
    held: Held,
) -> anyhow::Result<ExitCode> {
    let bundle = match &made.rekor {
        None => signed.unlogged().map_err(refusal)?,
        Some(url) => {
            let answer = submit(url, signed.log_request()).await?;
            signed.logged(&answer).map_err(refusal)?
        }
    };
    // With a log whose key is not known here there is no full verification, and the answer says so.
    let proved = match (&made.rekor, &made.trusted_root) {
        (Some(_), None) => None,
        (_, root) => {
            let trust = match root {
                Some(path) => TrustRoot::from_json(&read(path, limits::MAX_TRUST_ROOT)?)?,
                None => TrustRoot::public()?,
            };
            let signer = Signer::key(key.public().clone());
            let mut policy = Policy { unlogged: made.rekor.is_none(), ..Policy::by(signer) };
            if let Some(wanted) = predicate_type {
                policy = policy.stating(wanted);
            }
            Some(verified(&bundle, trust, &policy, held)?)
        }
    };
    fs::write(&made.bundle, &bundle).with_context(|| format!("{} cannot be written", made.bundle.display()))?;
    if global.json {
        print::json(&json!({ "bundle": made.bundle, "verified": proved.is_some(), "proved": proved }))?;
        return Ok(ExitCode::SUCCESS);
    }
    print::line(&format!("{} written", made.bundle.display()))?;
    match proved {
        Some(proved) => show(&proved)?,
        None => print::line("  logged     the log's answer was NOT verified here: give its --trusted-root")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn verified(bundle: &str, trust: TrustRoot, policy: &Policy, held: Held) -> anyhow::Result<Proved> {
    let verifier = Verifier::new(trust)?;
    let now = jiff::Timestamp::now();
    let verdict = match held {
        Held::Digest(digest) => verifier.verify(bundle.as_bytes(), Artifact::Digest(digest), policy, now),
        Held::File(path) => verifier.verify(bundle.as_bytes(), Artifact::Reader(&mut open(&path)?), policy, now),
    };
    verdict.map_err(|why| Refusal(format!("what was signed does not verify, nothing was written: {why}")).into())
}

/// Posts to a log and answers with its entry.
async fn submit(base: &str, request: String) -> anyhow::Result<Vec<u8>> {
    let url = format!("{}/api/v2/log/entries", base.trim_end_matches('/'));
    let url = reqwest::Url::parse(&url).map_err(|error| WrongUse(format!("--rekor {base:?}: {error}")))?;
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(LOG_TIMEOUT)
        .user_agent(concat!("deliveryos/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("the HTTP client could not be made")?;
    let sent = http.post(url).header(reqwest::header::CONTENT_TYPE, "application/json").body(request).send().await;
    let mut response =
        sent.map_err(|error| anyhow::anyhow!("the log {base} cannot be reached: {}", error.without_url()))?;
    let status = response.status();
    let mut answer = Vec::new();
    while let Some(chunk) = response.chunk().await.with_context(|| format!("the log {base} broke off its answer"))? {
        answer.extend_from_slice(&chunk);
        anyhow::ensure!(answer.len() <= MAX_ANSWER, "the log {base} answers without end");
    }
    if status.is_success() {
        return Ok(answer);
    }
    let said: String = String::from_utf8_lossy(&answer).chars().filter(|c| !c.is_control()).take(300).collect();
    if status.is_client_error() {
        return Err(Refusal(format!("the log {base} refused the entry: {status}: {said}")).into());
    }
    Err(anyhow::anyhow!("the log {base} could not take the entry: {status}: {said}"))
}

fn unusable(path: &Path, error: &attest::PredicateError) -> WrongUse {
    WrongUse(format!("{}: {error}", path.display()))
}

fn refusal(error: attest::SignError) -> anyhow::Error {
    Refusal(error.to_string()).into()
}
