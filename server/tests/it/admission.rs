//! The webhook as a whole: a real log, a registry over HTTP, real signatures; every failure that can be made denies.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use attest::{COSIGN_SIGNATURE, SLSA_PROVENANCE, SigningKey, Statement};
use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::BodyExt as _;
use model::{Digest, Kind, ReleaseId, admission::AdmissionDecided};
use receipt_log::{
    AppendError, Draft, Log, LoggedReceipt, MemorySigner, MemoryStore, ReceiptLog, StoreError, SystemClock,
};
use registry::{
    Fetched, Place as _, Registry, RegistryOptions,
    conformance::{EVIDENCE, evidence, image},
    hostile::{Faults, Hostile},
};
use serde_json::{Value, json};
use server::admission::{Admission, Policies, Registries, manifests, router, tls};
use tokio::sync::watch;
use tower::ServiceExt as _;

/// What is wanted: a signature and provenance of the key, for images of the registry.
fn policy(host: &str, key: &SigningKey, head: &str) -> String {
    let pem = key.public().to_pem();
    format!(
        "{head}\n[[policies]]\nname = \"shop\"\nimages = [\"{host}/shop/**\"]\n\
         [[policies.require]]\nname = \"signature\"\nlogged = false\nkey = \"\"\"{pem}\"\"\"\n\
         [[policies.require]]\nname = \"provenance\"\nlogged = false\nstatement = \"{SLSA_PROVENANCE}\"\nkey = \"\"\"{pem}\"\"\"\n"
    )
}

/// A registry with a signed image and one that is not, policies in a file, and a webhook over a log in memory.
pub(crate) struct World {
    registry: Hostile,
    /// The registry's own: when it ends, so do its connections.
    runtime: Option<tokio::runtime::Runtime>,
    host: String,
    place: Registry,
    pub(crate) good: Fetched,
    pub(crate) bad: Fetched,
    key: SigningKey,
    store: Arc<MemoryStore>,
    log: ReceiptLog,
    pub(crate) file: PathBuf,
    directory: tempfile::TempDir,
    router: Router,
}

static UIDS: AtomicU64 = AtomicU64::new(1);

async fn signed(place: &Registry, subject: &Fetched, key: &SigningKey, kind: &str) -> Fetched {
    let predicate = json!({ "runDetails": { "metadata": { "finishedOn": "2026-05-07T13:00:00Z" } } });
    let statement = Statement::new("app", &subject.descriptor.digest, kind, predicate);
    let bundle = key.statement(&statement).unwrap().unlogged().unwrap();
    evidence(place, subject, EVIDENCE, &String::from_utf8(bundle.into()).unwrap()).await
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Faults::default(), "").await
    }

    async fn with(faults: Faults, head: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let registry = runtime.spawn(Hostile::start(faults)).await.unwrap();
        let host = registry.host();
        let place = Registry::new(&host, "shop/app", RegistryOptions::default()).unwrap();
        let (good, bad) = (image(&place, "good", 1).await, image(&place, "bad", 1).await);
        let (key, _) = SigningKey::generate().unwrap();
        signed(&place, &good, &key, COSIGN_SIGNATURE).await;
        signed(&place, &good, &key, SLSA_PROVENANCE).await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("admission.toml");
        std::fs::write(&file, policy(&host, &key, head)).unwrap();
        let store = Arc::new(MemoryStore::new());
        let signer = Arc::new(MemorySigner::from_seed(&[7; 32]));
        let log = ReceiptLog::open(store.clone(), signer, &SystemClock, Some("test.example/log")).await.unwrap();
        let router = webhook(&file, Arc::new(log.clone()));
        Self { registry, runtime: Some(runtime), host, place, good, bad, key, store, log, file, directory, router }
    }

    fn registry(&self) -> &Hostile {
        &self.registry
    }

    pub(crate) fn by_digest(&self, image: &Fetched) -> String {
        format!("{}/shop/app@{}", self.host, image.descriptor.digest)
    }

    async fn ask(&self, image: &str) -> Value {
        ask(&self.router, "/validate", &review(&pod(image))).await
    }

    async fn allows(&self) -> bool {
        allowed(&self.ask(&self.by_digest(&self.good)).await)
    }

    /// Denied, with the reason's words.
    async fn denied(&self, image: &str, why: &str) {
        let answer = self.ask(image).await;
        assert!(!allowed(&answer), "{answer}");
        let said = answer["response"]["status"]["message"].as_str().unwrap();
        assert!(said.contains(why), "{why}: {said}");
        assert_eq!(answer["response"]["status"]["code"], 403);
    }

    async fn decided(&self) -> Vec<(Kind, AdmissionDecided)> {
        let all = self.log.range(0, 10_000).await.unwrap();
        let ours = all.into_iter().filter(|r| matches!(r.payload.kind, Kind::AdmissionAllowed | Kind::AdmissionDenied));
        ours.map(|r| (r.payload.kind, r.payload.facts().unwrap())).collect()
    }
}

fn webhook(file: &std::path::Path, log: Arc<dyn Log>) -> Router {
    let policies = Policies::new(vec![file.to_owned()], None);
    router(Admission::new(policies, Registries::new(false), log, Arc::new(SystemClock)))
}

fn pod(image: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "app-1", "namespace": "shop" },
        "spec": { "containers": [{ "name": "app", "image": image }] } })
}

fn review(object: &Value) -> Value {
    let uid = format!("uid-{}", UIDS.fetch_add(1, Ordering::Relaxed));
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": uid, "kind": { "group": "", "version": "v1", "kind": object["kind"] }, "operation": "CREATE",
        "namespace": "shop", "name": "app-1", "userInfo": { "username": "dana" }, "object": object, "dryRun": false } })
}

async fn post(router: &Router, path: &str, body: String) -> (StatusCode, Value) {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json").body(Body::from(body)).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn ask(router: &Router, path: &str, review: &Value) -> Value {
    let (status, answer) = post(router, path, review.to_string()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    assert_eq!((&answer["apiVersion"], &answer["kind"]), (&json!("admission.k8s.io/v1"), &json!("AdmissionReview")));
    answer
}

fn allowed(answer: &Value) -> bool {
    answer["response"]["allowed"].as_bool().unwrap()
}

#[tokio::test]
async fn what_is_proved_runs_and_is_recorded() {
    let world = World::new().await;
    let good = world.by_digest(&world.good);
    for _ in 0..3 {
        let answer = world.ask(&good).await;
        assert!(allowed(&answer), "{answer}");
    }
    world.denied(&world.by_digest(&world.bad), "wants a signature, and none is proved").await;
    world.denied(&format!("{}/shop/app:v1", world.host), "named by a tag").await;
    let decided = world.decided().await;
    assert_eq!(decided.len(), 5);
    let (kind, facts) = &decided[0];
    assert_eq!((*kind, facts.decision.as_str(), facts.images[0].passed), (Kind::AdmissionAllowed, "allowed", true));
    assert_eq!(facts.images[0].evidence.len(), 2, "signature and provenance");
    assert_eq!((facts.user.as_str(), facts.namespace.as_str()), ("dana", "shop"));
    assert!(facts.policy_digest.is_some() && facts.trust_root.is_some());
    assert_eq!(decided[3].0, Kind::AdmissionDenied);
    assert!(!decided[3].1.reasons.is_empty());
    // A dry run decides the same and leaves no trace.
    let mut dry = review(&pod(&good));
    dry["request"]["dryRun"] = json!(true);
    assert!(allowed(&ask(&world.router, "/validate", &dry).await));
    assert_eq!(world.decided().await.len(), 5);
}

#[tokio::test]
async fn evidence_is_verified_once_and_asked_for_each_time() {
    let world = World::new().await;
    assert!(world.allows().await);
    let before = world.registry().log().len();
    assert!(world.allows().await);
    let asked = world.registry().log().split_off(before);
    assert_eq!(asked.len(), 1, "only the list is read again: {asked:?}");
    assert!(asked[0].contains("/referrers/"), "{asked:?}");
}

#[tokio::test]
async fn the_log_that_does_not_take_it_denies() {
    for error in [
        StoreError::Failed("attempt to write a readonly database".to_owned()),
        StoreError::Full("no room".to_owned()),
        StoreError::Failed("the disk is gone".to_owned()),
    ] {
        let world = World::new().await;
        assert!(world.allows().await);
        world.store.fail_writes(Some(error));
        for _ in 0..50 {
            world.denied(&world.by_digest(&world.good), "could not be recorded").await;
        }
        // What is denied anyway is denied all the same.
        world.denied(&world.by_digest(&world.bad), "none is proved").await;
    }
}

/// A log that never answers.
struct Hanging(watch::Receiver<u64>);

#[async_trait]
impl Log for Hanging {
    async fn append(&self, _: Draft) -> Result<u64, AppendError> {
        std::future::pending().await
    }
    async fn find(&self, _: &str) -> Result<Option<u64>, AppendError> {
        Ok(None)
    }
    async fn of_release(&self, _: &ReleaseId) -> Result<Vec<LoggedReceipt>, AppendError> {
        Ok(Vec::new())
    }
    async fn has_release(&self, _: &ReleaseId) -> Result<bool, AppendError> {
        Ok(false)
    }
    async fn range(&self, _: u64, _: u32) -> Result<Vec<LoggedReceipt>, AppendError> {
        Ok(Vec::new())
    }
    fn size(&self) -> watch::Receiver<u64> {
        self.0.clone()
    }
    async fn put_segment(&self, _: Vec<u8>) -> Result<Digest, AppendError> {
        std::future::pending().await
    }
    async fn segment(&self, _: &Digest) -> Result<Option<Vec<u8>>, AppendError> {
        Ok(None)
    }
}

#[tokio::test]
async fn a_log_that_hangs_denies_in_time() {
    let world = World::new().await;
    let (_sender, size) = watch::channel(0);
    let router = webhook(&world.file, Arc::new(Hanging(size)));
    let start = Instant::now();
    let asked = review(&pod(&world.by_digest(&world.good)));
    let answer = ask(&router, "/validate?timeout=1s", &asked).await;
    assert!(!allowed(&answer), "{answer}");
    assert!(start.elapsed() < Duration::from_secs(1), "the API server still listens");
}

#[tokio::test]
async fn a_registry_that_is_down_denies() {
    let mut world = World::new().await;
    assert!(world.allows().await, "and what is known from before does not help:");
    // Ends the listener and every connection that is kept.
    world.runtime.take().unwrap().shutdown_background();
    for _ in 0..20 {
        let asked = review(&pod(&world.by_digest(&world.good)));
        assert!(!allowed(&ask(&world.router, "/validate?timeout=1s", &asked).await));
    }
    let asked = review(&pod(&world.by_digest(&world.good)));
    let answer = ask(&world.router, "/validate?timeout=1s", &asked).await;
    assert!(answer["response"]["status"]["message"].as_str().unwrap().contains("could not be found out"), "{answer}");
}

#[tokio::test]
async fn a_registry_that_hangs_denies_in_time() {
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    // Accepts, and says nothing.
    let silent = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            kept.push(stream);
        }
    });
    std::fs::write(&world.file, policy(&host, &world.key, "")).unwrap();
    let start = Instant::now();
    let asks = (0..40).map(|_| {
        let asked = review(&pod(&format!("{host}/shop/app@{}", world.good.descriptor.digest)));
        let router = world.router.clone();
        async move { ask(&router, "/validate?timeout=1s", &asked).await }
    });
    for answer in futures::future::join_all(asks).await {
        assert!(!allowed(&answer), "{answer}");
        assert!(answer["response"]["status"]["message"].as_str().unwrap().contains("in time"), "{answer}");
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    silent.abort();
}

#[tokio::test]
async fn a_registry_that_refuses_or_lies_denies() {
    let good = |world: &World| world.by_digest(&world.good);
    for status in [401, 403, 500, 503] {
        let world = World::new().await;
        assert!(world.allows().await);
        world.registry().change(|faults| faults.referrers_status = Some(status));
        let asked = review(&pod(&good(&world)));
        assert!(!allowed(&ask(&world.router, "/validate?timeout=1s", &asked).await), "{status}");
    }
    let world = World::new().await;
    world.registry().change(|faults| faults.html_referrers = true);
    world.denied(&good(&world), "could not be found out").await;
    // A list that names evidence of another image, or evidence that is not there.
    let world = World::new().await;
    let other = signed(&world.place, &world.good, &world.key, COSIGN_SIGNATURE).await;
    world.registry().change(|faults| {
        faults.extra_referrers = vec![json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": other.descriptor.digest, "size": other.descriptor.size, "artifactType": EVIDENCE })];
    });
    world.denied(&world.by_digest(&world.bad), "none is proved").await;
    // Evidence whose bytes come changed.
    let world = World::new().await;
    let blobs = world.registry().blobs();
    for blob in blobs {
        world.registry().change(|faults| faults.tamper = Some(blob.clone()));
        let _ = world.allows().await;
    }
    world.registry().change(|faults| faults.tamper = None);
    assert!(world.allows().await, "what came wrong was not kept as the truth");
}

#[tokio::test]
async fn evidence_that_proves_nothing_denies() {
    let world = World::new().await;
    let (stranger, _) = SigningKey::generate().unwrap();
    let bad = world.by_digest(&world.bad);
    // A stranger's signature; ours over another image; nonsense.
    signed(&world.place, &world.bad, &stranger, COSIGN_SIGNATURE).await;
    let statement = Statement::new("app", &world.good.descriptor.digest, COSIGN_SIGNATURE, json!({}));
    let bundle: Vec<u8> = world.key.statement(&statement).unwrap().unlogged().unwrap().into();
    evidence(&world.place, &world.bad, EVIDENCE, &String::from_utf8(bundle).unwrap()).await;
    evidence(&world.place, &world.bad, EVIDENCE, "{}").await;
    evidence(&world.place, &world.bad, EVIDENCE, "nonsense").await;
    world.denied(&bad, "none is proved").await;
    // A signature alone is not provenance.
    signed(&world.place, &world.bad, &world.key, COSIGN_SIGNATURE).await;
    world.denied(&bad, "wants a statement https://slsa.dev/provenance/v1").await;
    signed(&world.place, &world.bad, &world.key, SLSA_PROVENANCE).await;
    assert!(allowed(&world.ask(&bad).await), "new evidence is seen at once");
}

#[tokio::test]
async fn forged_annotations_say_nothing() {
    let world = World::new().await;
    let digest = world.bad.descriptor.digest.to_string();
    for forged in [
        json!({ "deliveryos.dev/verified": "true", "deliveryos.dev/decision": "allowed" }),
        json!({ "image-verification-outcomes": format!("{{\"{digest}\":\"pass\"}}") }),
        json!({ "policy.sigstore.dev/exclude": "true", "policy.sigstore.dev/policy-controller-results": "{}" }),
    ] {
        for place in ["annotations", "labels"] {
            let mut object = pod(&world.by_digest(&world.bad));
            object["metadata"][place] = forged.clone();
            assert!(!allowed(&ask(&world.router, "/validate", &review(&object)).await));
        }
    }
    // Nor do annotations at the registry.
    evidence(&world.place, &world.bad, EVIDENCE, "{}").await;
    world.denied(&world.by_digest(&world.bad), "none is proved").await;
}

#[tokio::test]
async fn a_tag_that_moves_after_it_was_known_denies() {
    let world = World::with(Faults::default(), "tags = \"pin\"").await;
    let tag = "v1".parse().unwrap();
    let tagged = format!("{}/shop/app:v1", world.host);
    let pinned = async || {
        let answer = ask(&world.router, "/pin", &review(&pod(&tagged))).await;
        assert!(allowed(&answer), "{answer}");
        let patch = STANDARD.decode(answer["response"]["patch"].as_str().unwrap()).unwrap();
        let patch: Value = serde_json::from_slice(&patch).unwrap();
        patch[1]["value"].as_str().unwrap().to_owned()
    };
    world.place.tag(&tag, &world.good).await.unwrap();
    for _ in 0..3 {
        let image = pinned().await;
        assert_eq!(image, format!("{tagged}@{}", world.good.descriptor.digest));
        assert!(allowed(&world.ask(&image).await));
    }
    world.place.tag(&tag, &world.bad).await.unwrap();
    for _ in 0..20 {
        let image = pinned().await;
        assert_eq!(image, format!("{tagged}@{}", world.bad.descriptor.digest));
        world.denied(&image, "none is proved").await;
    }
    // Whatever a registry says between two calls, a tag itself is never admitted.
    let flip = vec![world.good.descriptor.digest.clone(), world.bad.descriptor.digest.clone()];
    world.registry().change(|faults| faults.flip = Some(("v1".to_owned(), flip)));
    for _ in 0..20 {
        world.denied(&tagged, "named by a tag").await;
        let image = pinned().await;
        assert_eq!(allowed(&world.ask(&image).await), image.ends_with(world.good.descriptor.digest.as_str()));
    }
    // A tag that cannot be resolved is not let through.
    let answer = ask(&world.router, "/pin", &review(&pod(&format!("{}/shop/app:none", world.host)))).await;
    assert!(!allowed(&answer), "{answer}");
}

#[tokio::test]
async fn a_policy_that_changes_after_it_was_known_denies() {
    let world = World::new().await;
    let first = std::fs::read_to_string(&world.file).unwrap();
    assert!(world.allows().await && world.allows().await);
    let (stranger, _) = SigningKey::generate().unwrap();
    let good = world.by_digest(&world.good);
    let check = async |text: &str, why: &str| {
        std::fs::write(&world.file, text).unwrap();
        world.denied(&good, why).await;
        world.denied(&good, why).await;
        std::fs::write(&world.file, &first).unwrap();
        assert!(world.allows().await, "and what held before holds again");
    };
    check(&policy(&world.host, &stranger, ""), "none is proved").await;
    check(&first.replace(SLSA_PROVENANCE, "https://cyclonedx.org/bom"), "cyclonedx").await;
    check(&first.replace("/shop/**", "/other/**"), "no policy covers").await;
    check("nonsense", "the policies cannot be used").await;
    check("", "the policies cannot be used").await;
    // Of the same length, within the same tick of the clock.
    check(&first.replace("/shop/**", "/shoq/**"), "no policy covers").await;
    std::fs::remove_file(&world.file).unwrap();
    world.denied(&good, "the policies cannot be used").await;
    let answered = world.decided().await;
    let last = answered.last().unwrap();
    assert!(last.0 == Kind::AdmissionDenied && last.1.policy_digest.is_none());
}

#[tokio::test]
async fn what_no_policy_covers_is_denied() {
    let world = World::new().await;
    for image in ["nginx", "docker.io/library/nginx:1.27", "elsewhere.example/x:v1"] {
        world.denied(image, "named by a tag").await;
    }
    let digest = &world.good.descriptor.digest;
    for image in [
        format!("nginx@{digest}"),
        format!("elsewhere.example/shop/app@{digest}"),
        format!("{}/shop@{digest}", world.host),
    ] {
        world.denied(&image, "no policy covers").await;
    }
}

#[tokio::test]
async fn bytes_that_are_no_review_are_denied() {
    let world = World::new().await;
    let text = review(&pod(&world.by_digest(&world.good))).to_string();
    let mut asked = 0;
    for end in (0..text.len()).step_by(7) {
        let (status, answer) = post(&world.router, "/validate", text[..end].to_owned()).await;
        assert!(status == StatusCode::BAD_REQUEST && answer.is_null(), "{status}");
        asked += 1;
    }
    for change in [
        ("\"AdmissionReview\"", "\"AdmissionReviews\""),
        ("admission.k8s.io/v1", "admission.k8s.io/v1beta1"),
        ("\"uid\":", "\"uuid\":"),
    ] {
        let (status, _) = post(&world.router, "/validate", text.replacen(change.0, change.1, 1)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{change:?}");
    }
    for change in
        [("\"CREATE\"", "\"INVENT\""), ("\"CREATE\"", "7"), ("\"object\":", "\"objects\":"), ("\"Pod\"", "\"Secret\"")]
    {
        let (status, answer) = post(&world.router, "/validate", text.replacen(change.0, change.1, 1)).await;
        assert!(status == StatusCode::OK && !allowed(&answer), "{change:?} {answer}");
    }
    assert!(asked > 50);
    let plain = Request::post("/validate").header(header::CONTENT_TYPE, "text/plain").body(Body::from(text)).unwrap();
    let response = world.router.clone().oneshot(plain).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (status, _) = post(&world.router, "/validate", " ".repeat(8 * 1024 * 1024)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn warnings_and_notes_let_it_through() {
    for (mode, warned) in [("warn", true), ("audit", false)] {
        let world = World::with(Faults::default(), &format!("mode = \"{mode}\"")).await;
        let answer = world.ask(&world.by_digest(&world.bad)).await;
        assert!(allowed(&answer), "{answer}");
        assert_eq!(answer["response"]["warnings"].is_array(), warned, "{answer}");
        assert!(answer["response"]["auditAnnotations"]["would-deny"].is_string(), "{answer}");
        let decided = world.decided().await;
        assert_eq!(decided[0].0, Kind::AdmissionAllowed);
        assert!(!decided[0].1.images[0].passed && !decided[0].1.reasons.is_empty());
        // What is no review is refused in every mode.
        let (status, _) = post(&world.router, "/validate", "{}".to_owned()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn over_tls_with_a_certificate_of_our_own() {
    let world = World::new().await;
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
    let made = manifests::certificate(&names, jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()).unwrap();
    let path = |name: &str| world.directory.path().join(name);
    std::fs::write(path("tls.pem"), &made.certificate).unwrap();
    std::fs::write(path("tls.key"), &made.key).unwrap();
    std::fs::write(path("ca.pem"), &made.authority).unwrap();
    let (closing, mut closed) = watch::channel(false);
    let listen = async |client_ca: Option<PathBuf>, mut closed: watch::Receiver<bool>| {
        let config = tls::config(&path("tls.pem"), &path("tls.key"), client_ca.as_deref()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = async move {
            let _ = closed.wait_for(|closing| *closing).await;
        };
        (address, tokio::spawn(tls::serve(listener, config, world.router.clone(), stop)))
    };
    let client = |trusts: bool| {
        let builder = reqwest::Client::builder().no_proxy();
        let root = reqwest::Certificate::from_pem(made.authority.as_bytes()).unwrap();
        if trusts { builder.tls_certs_only([root]).build().unwrap() } else { builder.build().unwrap() }
    };
    let (address, task) = listen(None, closed.clone()).await;
    let send = async |client: &reqwest::Client, address: std::net::SocketAddr, image: &str| {
        let url = format!("https://{address}/validate?timeout=10s");
        let body = review(&pod(image)).to_string();
        let sent = client.post(url).header("content-type", "application/json").body(body).send().await;
        sent.map(|answer| (answer.version(), answer))
    };
    let (version, answer) = send(&client(true), address, &world.by_digest(&world.good)).await.unwrap();
    assert_eq!(version, http::Version::HTTP_2, "the API server speaks it, and multiplexes");
    assert!(allowed(&answer.json().await.unwrap()));
    let (_, answer) = send(&client(true), address, &world.by_digest(&world.bad)).await.unwrap();
    assert!(!allowed(&answer.json().await.unwrap()));
    assert!(send(&client(false), address, "x").await.is_err(), "a stranger's authority does not vouch for it");
    // With an authority for clients, nobody without a certificate gets an answer.
    let (guarded, second) = listen(Some(path("ca.pem")), closed.clone()).await;
    assert!(send(&client(true), guarded, &world.by_digest(&world.good)).await.is_err());
    closing.send_replace(true);
    task.await.unwrap();
    second.await.unwrap();
    assert!(closed.borrow_and_update().to_owned());
    assert!(tls::config(&path("tls.key"), &path("tls.pem"), None).is_err());
}

#[test]
fn what_the_cluster_is_told_fails_closed() {
    let service = manifests::Reached::Service { namespace: "delivery".to_owned(), name: "admit".to_owned(), port: 443 };
    let url = manifests::Reached::Url("https://127.0.0.1:8443/".to_owned());
    for (reached, pin) in [(&service, true), (&url, false)] {
        let yaml = manifests::configurations(reached, "-----BEGIN CERTIFICATE-----", &["kube-system".to_owned()], pin);
        let documents = rollout::manifests(yaml.as_bytes()).unwrap();
        assert_eq!(documents.len(), 1 + usize::from(pin));
        for document in &documents {
            let webhook = &document["webhooks"][0];
            assert_eq!(webhook["failurePolicy"], "Fail");
            assert_eq!(webhook["sideEffects"], "NoneOnDryRun");
            assert_eq!(webhook["matchPolicy"], "Equivalent");
            assert_eq!(webhook["timeoutSeconds"], 10);
            let resources = webhook["rules"][0]["resources"].as_array().unwrap();
            assert!(resources.contains(&json!("pods")) && resources.contains(&json!("pods/ephemeralcontainers")));
            assert!(
                webhook.get("objectSelector").is_none(),
                "whoever makes an object must not choose whether it is judged"
            );
            let selector = &webhook["namespaceSelector"]["matchExpressions"][0];
            assert_eq!(
                (&selector["key"], &selector["operator"]),
                (&json!("kubernetes.io/metadata.name"), &json!("NotIn"))
            );
            let path = if document["kind"] == "MutatingWebhookConfiguration" { "/pin" } else { "/validate" };
            let client = &webhook["clientConfig"];
            match client["url"].as_str() {
                Some(url) => assert_eq!(url, format!("https://127.0.0.1:8443{path}")),
                None => assert_eq!(client["service"]["path"], path),
            }
        }
    }
}
