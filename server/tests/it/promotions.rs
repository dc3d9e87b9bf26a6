//! `POST /api/v1/promotions`: every rule of an environment, each refusal in its words; and a release that its service's policy holds back.

use std::path::Path;

use access::Role;
use attest::{COSIGN_SIGNATURE, SLSA_PROVENANCE, SigningKey, Statement};
use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use model::Kind;
use projections::{Receipt, describe};
use receipt_log::Log as _;
use registry::{
    At, Descriptor, EMPTY_CONFIG, EMPTY_CONFIG_BYTES, Fetched, Held, IMAGE_MANIFEST, Layout, Place as _, Tag,
    conformance, graph::Graph,
};
use serde_json::{Value, json};

use crate::support::{Server, request, text};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A folder with a key, and the place that images are built into.
struct House {
    dir: tempfile::TempDir,
    key: SigningKey,
    server: Server,
}

/// dev ← build, staging ← dev, prod ← staging.
fn environments(dir: &Path, dev: &str, prod: &str) -> String {
    let dir = dir.display();
    format!(
        r#"
        [attestations]
        keys = ["{dir}/ci.pub"]
        unlogged = true
        [environments.dev]
        from = "oci:{dir}/build/{{service}}"
        images = "oci:{dir}/dev/{{service}}"
        {dev}
        [environments.staging]
        images = "oci:{dir}/staging/{{service}}"
        after = "dev"
        [environments.prod]
        images = "oci:{dir}/prod/{{service}}"
        after = "staging"
        {prod}
        "#
    )
}

impl House {
    async fn new(dev: &str, prod: &str, policy: &str) -> Self {
        Self::with(|dir| format!("{}{policy}", environments(dir, dev, prod))).await
    }

    async fn with(configuration: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (key, _) = SigningKey::generate().unwrap();
        std::fs::write(dir.path().join("ci.pub"), key.public().to_pem()).unwrap();
        let more = configuration(dir.path());
        let server = Server::configured(&more).await;
        Self { dir, key, server }
    }

    /// The first page.
    async fn overview(&self) -> String {
        let token = self.server.token(Role::Viewer).await;
        let sent = request(Method::GET, "/").header(header::AUTHORIZATION, format!("Bearer {token}"));
        text(self.server.send(sent.body(Body::empty()).unwrap()).await).await
    }

    async fn layout(&self, environment: &str) -> Layout {
        Layout::create(self.dir.path().join(environment).join("checkout")).await.unwrap()
    }

    /// An image in the place that images are built into.
    async fn build(&self, tag: &str) -> Fetched {
        let build = self.layout("build").await;
        let image = conformance::image(&build, tag, 1).await;
        build.tag(&tag.parse().unwrap(), &image).await.unwrap();
        image
    }

    /// Attaches a statement about an image.
    async fn attest(&self, image: &Fetched, predicate_type: &str, key: &SigningKey) {
        let predicate = json!({
            "buildDefinition": { "buildType": "x", "resolvedDependencies": [{ "uri": "git+https://git.example/app", "digest": { "gitCommit": "abc" } }] },
            "runDetails": { "builder": { "id": "https://ci.example" } },
        });
        let statement = Statement::new("", &image.descriptor.digest, predicate_type, predicate);
        let bundle = Bytes::from(key.statement(&statement).unwrap().unlogged().unwrap());
        let build = self.layout("build").await;
        let config = Descriptor::of(EMPTY_CONFIG, EMPTY_CONFIG_BYTES);
        build.put_blob(&config, &Held(Bytes::from_static(EMPTY_CONFIG_BYTES))).await.unwrap();
        let layer = Descriptor::of(BUNDLE, &bundle);
        build.put_blob(&layer, &Held(bundle)).await.unwrap();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "artifactType": BUNDLE, "config": config, "layers": [layer],
            "subject": image.descriptor.bare(),
        });
        build.put_manifest(&Fetched::new(IMAGE_MANIFEST, manifest.to_string())).await.unwrap();
    }

    async fn post(&self, role: Role, path: &str, body: &Value) -> (StatusCode, Value) {
        let token = self.server.token(role).await;
        let sent = request(Method::POST, path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()));
        let response = self.server.send(sent.unwrap()).await;
        (response.status(), serde_json::from_str(&text(response).await).unwrap_or(Value::Null))
    }

    /// Promotes `v1`, and answers with what was decided and the sentence of its receipt.
    async fn promote(&self, role: Role, to: &str, more: Value) -> (String, String, u64) {
        let mut body =
            json!({ "id": format!("promotion-{}", rand()), "service": "checkout", "environment": to, "tag": "v1" });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let (status, said) = self.post(role, "/api/v1/promotions", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{said}");
        let index = said["receipt"].as_u64().unwrap();
        let payload = self.server.log.range(index, 1).await.unwrap().remove(0).payload;
        let sentence = describe(&Receipt { index, payload }).sentence();
        (said["decision"].as_str().unwrap().to_owned(), sentence, index)
    }

    async fn goes(&self, to: &str) {
        let (decision, said, _) = self.promote(Role::Operator, to, json!({})).await;
        assert_eq!(decision, "copied", "{said}");
    }

    async fn refused(&self, to: &str, more: Value, expected: &str) {
        let (decision, said, _) = self.promote(Role::Operator, to, more).await;
        assert!(decision == "refused" && said.contains(expected), "{decision}: {said}");
    }

    async fn tagged(&self, environment: &str) -> Option<model::Digest> {
        let tag: Tag = "v1".parse().unwrap();
        self.layout(environment).await.manifest(&At::Tag(tag)).await.ok().map(|m| m.descriptor.digest)
    }
}

/// A number never used before.
fn rand() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1_000_000);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

#[tokio::test]
async fn through_all_environments_with_its_evidence() {
    let house = House::new("attestations = [\"slsa\"]", "", "").await;
    let image = house.build("v1").await;
    let digest = image.descriptor.digest.clone();
    house.refused("dev", json!({}), "carries no provenance by anybody whose word counts").await;
    let (stranger, _) = SigningKey::generate().unwrap();
    house.attest(&image, SLSA_PROVENANCE, &stranger).await;
    house.refused("dev", json!({}), "does not count").await;
    house.attest(&image, SLSA_PROVENANCE, &house.key).await;
    house.attest(&image, COSIGN_SIGNATURE, &house.key).await;
    house.refused("staging", json!({}), "checkout v1 has not been in dev: promote it there first").await;
    house.goes("dev").await;
    house.refused("prod", json!({}), "has not been in staging").await;
    house.goes("staging").await;
    house.goes("prod").await;
    let prod = house.layout("prod").await;
    assert_eq!(house.tagged("prod").await, Some(digest.clone()));
    let root = prod.manifest(&At::Digest(digest.clone())).await.unwrap();
    assert_eq!(Graph::read(&prod, root).await.unwrap().evidence().count(), 3, "the stranger's word comes along");

    // Each attestation has one receipt, however often it was verified.
    let about = projections::ReceiptFilter { subject: Some(digest.clone()), limit: 200, ..Default::default() };
    let about = house.server.app.read.receipts(about).await.unwrap();
    let count = |kind| about.iter().filter(|r| r.payload.kind == kind).count();
    assert_eq!(
        (count(Kind::AttestationSlsa), count(Kind::AttestationSignature), count(Kind::PromotionCopied)),
        (1, 1, 3)
    );
    let slsa = about.iter().find(|r| r.payload.kind == Kind::AttestationSlsa).unwrap();
    let facts: model::evidence::Attested = slsa.payload.facts().unwrap();
    assert_eq!((facts.commit.as_deref(), facts.builder.as_deref()), (Some("abc"), Some("https://ci.example")));
    assert_eq!(facts.signer, format!("key {}", house.key.public().hint()));
    assert!(house.server.log.segment(&facts.bundle).await.unwrap().is_some());

    // The same request is one promotion; again under another id it is copied again, which is nothing.
    let body =
        json!({ "id": "the-same-id", "service": "checkout", "environment": "prod", "tag": "v1", "digest": digest });
    let (status, first) = house.post(Role::Operator, "/api/v1/promotions", &body).await;
    assert_eq!((status, &first["copied"]), (StatusCode::CREATED, &json!(0)));
    let (status, again) = house.post(Role::Operator, "/api/v1/promotions", &body).await;
    assert_eq!((status, &again), (StatusCode::OK, &first));
}

/// dev and staging are repositories of a real registry, which is asked before anything is in it.
#[tokio::test]
async fn through_a_registry_with_the_referrers_api() {
    let Some(registry) = crate::peers::referrers_registry() else { return };
    let house = House::with(|dir| {
        let (folder, host) = (dir.display(), &registry.host);
        let dev = environments(dir, "attestations = [\"slsa\"]", "attestations = [\"slsa\"]");
        let [dev_images, staging] = ["dev", "staging"].map(|name| format!("images = \"oci:{folder}/{name}/"));
        dev.replace(&dev_images, &format!("images = \"{host}/dev/"))
            .replace(&staging, &format!("images = \"{host}/staging/"))
    })
    .await;
    let image = house.build("v1").await;
    house.refused("dev", json!({}), "carries no provenance").await;
    house.attest(&image, SLSA_PROVENANCE, &house.key).await;
    house.attest(&image, COSIGN_SIGNATURE, &house.key).await;
    house.refused("staging", json!({}), "has not been in dev").await;
    house.goes("dev").await;
    house.goes("staging").await;
    // Its provenance is found there, or prod would refuse it.
    house.goes("prod").await;
    let prod = house.layout("prod").await;
    let root = prod.manifest(&At::Digest(image.descriptor.digest.clone())).await.unwrap();
    assert_eq!(Graph::read(&prod, root).await.unwrap().evidence().count(), 2);
}

#[tokio::test]
async fn tags_digests_and_freezes() {
    // The server's clock stands at 13:00.
    let freeze = |from: &str, until: &str| {
        format!(
            "freezes = [{{ from = \"2026-05-07T{from}:00Z\", until = \"2026-05-07T{until}:00Z\", reason = \"black friday\" }}]"
        )
    };
    let house = House::new(&freeze("14:00", "15:00"), &freeze("12:00", "14:00"), "").await;
    let image = house.build("v1").await;
    let other = model::Digest::from_sha256(&[1; 32]);
    house.refused("dev", json!({ "digest": other }), "not sha256:0101").await;
    house.goes("dev").await;
    house.goes("staging").await;
    house.refused("prod", json!({}), "prod is frozen until 2026-05-07T14:00:00.000Z: black friday").await;
    assert_eq!(house.tagged("prod").await, None);
    // An hour later it goes, and now nothing comes into dev.
    house.server.clock.advance_millis(3_600_000);
    house.goes("prod").await;
    house.refused("dev", json!({}), "dev is frozen").await;
    // A tag does not move, at any place.
    house.server.clock.advance_millis(3_600_000);
    let build = house.layout("build").await;
    let second = conformance::image(&build, "another", 1).await;
    build.tag(&"v1".parse().unwrap(), &second).await.unwrap();
    house.refused("dev", json!({}), "tags do not move").await;
    assert_eq!(house.tagged("dev").await, Some(image.descriptor.digest));
    for (body, expected) in [
        (json!({ "environment": "qa" }), "there are dev, staging, prod"),
        (json!({ "service": "billing" }), "there is no service billing"),
        (json!({ "tag": "../x" }), "a tag is 1 to 128"),
        (json!({ "reason": "x".repeat(501) }), "a reason has at most 500"),
    ] {
        let mut whole =
            json!({ "id": format!("promotion-{}", rand()), "service": "checkout", "environment": "dev", "tag": "v1" });
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let (status, said) = house.post(Role::Operator, "/api/v1/promotions", &whole).await;
        assert!(status.is_client_error() && said["detail"].as_str().unwrap().contains(expected), "{status} {said}");
    }
}

#[tokio::test]
async fn two_people() {
    let house = House::new("", "two_person = true", "").await;
    let image = house.build("v1").await;
    house.goes("dev").await;
    house.goes("staging").await;
    let (decision, said, request) = house.promote(Role::Operator, "prod", json!({ "reason": "the fix" })).await;
    assert_eq!(decision, "waits", "{said}");
    assert!(said.contains("asked to promote checkout v1 to prod"), "{said}");
    assert_eq!(house.tagged("prod").await, None);
    let waits = format!("deliveryos promote --service checkout --to prod --tag v1 --agree {request}");
    assert!(house.overview().await.contains(&waits), "the overview says so");
    house.refused("prod", json!({ "agrees_to": request }), "asked for it, and somebody else has to agree").await;
    house.refused("prod", json!({ "agrees_to": 0 }), "receipt 0 is no request").await;
    // A request is for one image, one tag, one environment, and a day.
    let (_, _, refusal) = house.promote(Role::Operator, "prod", json!({ "agrees_to": request })).await;
    house.refused("prod", json!({ "agrees_to": refusal }), "is no request").await;
    let (decision, said, _) = house.promote(Role::Admin, "prod", json!({ "agrees_to": request })).await;
    assert!(decision == "copied" && said.contains("as a operator had asked"), "{said}");
    assert_eq!(house.tagged("prod").await, Some(image.descriptor.digest));
    assert!(!house.overview().await.contains("--agree"), "it was made");
    house.server.clock.advance_millis(25 * 3_600_000);
    let (decision, said, _) = house.promote(Role::Admin, "prod", json!({ "agrees_to": request })).await;
    assert!(decision == "refused" && said.contains("ask again"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_found_out_is_no_decision() {
    let [dead] = crate::process::free();
    let dir = tempfile::tempdir().unwrap();
    let config = format!(
        "[environments.dev]\nfrom = \"{dead}/{{service}}\"\nimages = \"oci:{}/{{service}}\"\n",
        dir.path().display()
    );
    let (key, _) = SigningKey::generate().unwrap();
    let house = House { dir, key, server: Server::configured(&config).await };
    let before = *house.server.log.size().borrow();
    let body = json!({ "id": "promotion-1", "service": "checkout", "environment": "dev", "tag": "v1" });
    let (status, said) = house.post(Role::Operator, "/api/v1/promotions", &body).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(said["detail"].as_str().unwrap().contains("cannot be reached"), "{said}");
    assert_eq!(*house.server.log.size().borrow(), before, "nothing was decided");
}

const CLEAN: &str = r#"{"results":[],"errors":[],"paths":{"scanned":["a.py"]},"version":"1.0.0"}"#;

#[tokio::test]
async fn a_release_starts_when_its_policy_is_met() {
    let policy =
        "[services.checkout.policy]\ngates = \"strict\"\nattestations = [\"slsa\"]\npromoted_to = \"staging\"\n";
    let house = House::new("", "", policy).await;
    let image = house.build("v1").await;
    // The version is the image.
    let digest = image.descriptor.digest.clone();
    let version: server::config::VersionConfig =
        toml::from_str(&format!("url = \"http://127.0.0.1:9001\"\ndigest = \"{digest}\"")).unwrap();
    house.server.app.catalogue.add(&"checkout".parse().unwrap(), "v3".parse().unwrap(), &version).unwrap();
    let start = async || {
        let body = json!({ "id": format!("start-{}", rand()), "service": "checkout", "version": "v3", "recipe": "x" });
        house.post(Role::Operator, "/api/v1/releases", &body).await
    };
    let (status, said) = start().await;
    let detail = said["detail"].as_str().unwrap();
    assert_eq!(status, StatusCode::CONFLICT, "{said}");
    for part in [
        "the policy of checkout is not met by v3",
        "it needs a verified provenance: none was verified",
        "it needs gates passed by the policy “built-in strict”: no report",
        "it needs a promotion to staging: this image was not promoted there",
    ] {
        assert!(detail.contains(part), "{detail}");
    }
    let last = *house.server.log.size().borrow() - 1;
    let receipt = house.server.log.range(last, 1).await.unwrap().remove(0);
    assert_eq!(receipt.payload.kind, Kind::CommandRefused);
    assert_eq!(receipt.payload.facts["requirements"].as_array().unwrap().len(), 3);
    assert_eq!(receipt.payload.facts["subject"], digest.as_str());

    house.attest(&image, SLSA_PROVENANCE, &house.key).await;
    house.goes("dev").await;
    house.goes("staging").await;
    let reports = json!([{ "name": "semgrep.json", "base64": STANDARD.encode(CLEAN) }]);
    let gates = json!({ "id": "gates-00001", "service": "checkout", "subject": digest, "reports": reports,
        "not_run": [{ "tool": "trivy", "why": "not installed" }] });
    let (status, said) = house.post(Role::Operator, "/api/v1/gates", &gates).await;
    assert_eq!((status, &said["decision"]), (StatusCode::CREATED, &json!("passed")), "{said}");
    assert_eq!(start().await.0, StatusCode::CREATED);
    let started = house.server.reached.started.lock().unwrap().pop().unwrap();
    assert!(started.requirements.len() == 3 && started.requirements.iter().all(|r| r.met && r.receipt.is_some()));
    // A refusal is kept under its key; the same request gets the same answer.
    let body = json!({ "id": "start-again-1", "service": "checkout", "version": "v2", "recipe": "x" });
    let (status, first) = house.post(Role::Operator, "/api/v1/releases", &body).await;
    let before = *house.server.log.size().borrow();
    let (again, second) = house.post(Role::Operator, "/api/v1/releases", &body).await;
    assert_eq!((status, again, &first), (StatusCode::CONFLICT, StatusCode::CONFLICT, &second));
    assert_eq!(*house.server.log.size().borrow(), before);
}
