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
    Artifact, COSIGN_SIGNATURE, COSIGN_VULN, CYCLONEDX, Described, Policy, Proved, SLSA_PROVENANCE, Signed, Signer,
    SigningKey, Statement, TrustRoot, Verifier, limits,
};
use model::Digest;
use registry::{
    Descriptor, Place, Reference,
    bundles::{self, Attached, BUNDLE_V03, Hints},
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{
    place, print,
    verify_bundle::{digest, read, show},
};
use crate::{
    args::{AttestVerb, Build, DEFAULT_SERVER, Global, Made, Vuln},
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
        AttestVerb::Sign { made } => match subject(&made).await? {
            Subject::File(path) => {
                let key = key(&made)?;
                let signed = key.file(&mut open(&path)?).map_err(refusal)?;
                finish(global, &made, &key, signed, None, Held::File(path), None).await
            }
            _ => state(global, &made, COSIGN_SIGNATURE, json!({})).await,
        },
        AttestVerb::Attach { bundle, image, plain_http } => {
            let bytes = read(&bundle, limits::MAX_BUNDLE)?;
            let image = Image::open(&image, plain_http).await?;
            let attached = image.attach(bytes).await?;
            if global.json {
                print::json(&json!({ "bundle": bundle, "attached": said(&image, &attached) }))?;
            } else {
                say_attached(&image, &attached)?;
            }
            Ok(ExitCode::SUCCESS)
        }
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
    Image(Box<Image>),
}

/// An image that something is stated of, where it lies.
struct Image {
    place: Box<dyn Place>,
    descriptor: Descriptor,
    /// `HOST/REPOSITORY`, or nothing for a layout: a folder's name means nothing to others.
    name: String,
}

impl Image {
    async fn open(reference: &Reference, plain_http: bool) -> anyhow::Result<Self> {
        let place = place::open(reference, false, plain_http).await?;
        let fetched = place.manifest(&place::at(reference).await?).await.map_err(place::refusal)?;
        let name = match reference {
            Reference::Registry { host, repository, .. } => format!("{host}/{repository}"),
            Reference::Layout { .. } => String::new(),
        };
        Ok(Self { place, descriptor: fetched.descriptor, name })
    }

    /// Puts a bundle beside it that says that it is about it.
    async fn attach(&self, bundle: Vec<u8>) -> anyhow::Result<Attached> {
        let described = Described::of(&bundle).map_err(|why| Refusal(why.to_string()))?;
        if described.form != BUNDLE_V03 {
            return Err(Refusal(format!(
                "the bundle is of the form {}; beside images lies {BUNDLE_V03}",
                described.form
            ))
            .into());
        }
        if !described.is_about(&self.descriptor.digest) {
            return Err(Refusal(format!("the bundle is not about {}", self.descriptor.digest)).into());
        }
        let hints = Hints {
            content: described.content,
            predicate_type: described.statement.map(|statement| statement.predicate_type),
            created: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        };
        bundles::attach(&*self.place, &self.descriptor, bundle, &hints).await.map_err(place::refusal)
    }
}

fn said(image: &Image, attached: &Attached) -> Value {
    json!({ "place": image.place.name(), "image": image.descriptor.digest, "manifest": attached.manifest,
        "wasThere": attached.was_there })
}

fn say_attached(image: &Image, attached: &Attached) -> anyhow::Result<()> {
    let verb = if attached.was_there { "was there already" } else { "attached" };
    print::line(&format!(
        "{} {verb}\n  beside {}\n  in {}",
        attached.manifest,
        image.descriptor.digest,
        image.place.name()
    ))
}

/// What the finished bundle is held against.
enum Held {
    Digest(Digest),
    File(PathBuf),
}

async fn subject(made: &Made) -> anyhow::Result<Subject> {
    let path = PathBuf::from(&made.subject);
    let found = match (digest(&made.subject), made.subject.parse::<Reference>()) {
        _ if path.is_file() => Subject::File(path),
        (Some(digest), _) => Subject::Digest(digest),
        (None, Ok(reference)) => Subject::Image(Box::new(Image::open(&reference, made.plain_http).await?)),
        (None, Err(_)) => {
            let wanted = "neither a file, nor sha256: and 64 hexadecimal digits, nor an image (oci:FOLDER:TAG, HOST/REPOSITORY:TAG)";
            return Err(WrongUse(format!("{}: {wanted}", made.subject)).into());
        }
    };
    if made.attach && !matches!(found, Subject::Image(_)) {
        return Err(WrongUse(
            "--attach puts the bundle beside an image: name the image, not a file or digest".to_owned(),
        )
        .into());
    }
    Ok(found)
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
    let (digest, name, image) = match subject(made).await? {
        Subject::Digest(digest) => (digest, String::new(), None),
        Subject::Image(image) => (image.descriptor.digest.clone(), image.name.clone(), Some(*image)),
        Subject::File(path) => {
            let digest = attest::digest_of(&mut open(&path)?)?;
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            (digest, name.unwrap_or_default(), None)
        }
    };
    let name = made.name.clone().unwrap_or(name);
    let statement = Statement::new(&name, &digest, predicate_type, predicate);
    let signed = key.statement(&statement).map_err(refusal)?;
    finish(global, made, &key, signed, Some(predicate_type), Held::Digest(digest), image).await
}

/// Logs it where asked, verifies it as others will, writes it, attaches it where asked.
async fn finish(
    global: &Global,
    made: &Made,
    key: &SigningKey,
    signed: Signed,
    predicate_type: Option<&str>,
    held: Held,
    image: Option<Image>,
) -> anyhow::Result<ExitCode> {
    let bundle = match &made.rekor {
        None => signed.unlogged().map_err(refusal)?,
        Some(url) => {
            let answer = submit(global, url, signed.log_request()).await?;
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
    if let Some(path) = &made.bundle {
        fs::write(path, &bundle).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let attached = match image.filter(|_| made.attach) {
        Some(image) => {
            let attached = image.attach(bundle.into_bytes()).await?;
            Some((image, attached))
        }
        None => None,
    };
    if global.json {
        let attached = attached.as_ref().map(|(image, attached)| said(image, attached));
        print::json(
            &json!({ "bundle": made.bundle, "attached": attached, "verified": proved.is_some(), "proved": proved }),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(path) = &made.bundle {
        print::line(&format!("{} written", path.display()))?;
    }
    if let Some((image, attached)) = &attached {
        say_attached(image, attached)?;
    }
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

/// Whether this log is the server's own: only there the server's token goes.
fn is_own(global: &Global, url: &reqwest::Url) -> bool {
    let server = global.server.as_deref().unwrap_or(DEFAULT_SERVER);
    let own = reqwest::Url::parse(server).is_ok_and(|server| server.origin() == url.origin());
    own && matches!(url.scheme(), "http" | "https")
}

/// Posts to a log and answers with its entry.
async fn submit(global: &Global, base: &str, request: String) -> anyhow::Result<Vec<u8>> {
    let url = format!("{}/api/v2/log/entries", base.trim_end_matches('/'));
    let url = reqwest::Url::parse(&url).map_err(|error| WrongUse(format!("--rekor {base:?}: {error}")))?;
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(LOG_TIMEOUT)
        .user_agent(concat!("deliveryos/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("the HTTP client could not be made")?;
    let token = global.token.as_ref().filter(|_| is_own(global, &url));
    let mut post = http.post(url).header(reqwest::header::CONTENT_TYPE, "application/json").body(request);
    if let Some(token) = token {
        post = post.bearer_auth(&token.0);
    }
    let sent = post.send().await;
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
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) && token.is_none() {
        let why = "it wants a token, which goes to the server of --server only: say --server (the address before /rekor) and --token";
        return Err(Refusal(format!("the log {base} refused the entry: {status}: {why}")).into());
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
