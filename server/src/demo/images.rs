//! The demo's images: each version is made into an image, attested, gated, and promoted from folder to folder before its canary starts.
//!
//! An image holds the version's launcher, which names how it behaves; the service itself is in this executable. What runs is the launcher
//! out of the image that was promoted, unpacked again.

use std::{
    collections::BTreeMap,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use attest::{Build, COSIGN_SIGNATURE, CYCLONEDX, SLSA_PROVENANCE, SigningKey, Statement, cyclonedx};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{Actor, Digest, Kind, ServiceId, Timestamp, Version, evidence::BuildCompleted};
use receipt_log::Draft;
use receipts::Payload;
use registry::{
    At, Fetched, Layout, Place as _, Tag,
    bundles::{Hints, attach},
    graph::Graph,
    image::{Layer, Recipe, build_of, unpack},
};
use serde_json::{Value, json};

use super::{Manifest, scanners};
use crate::{
    command::place,
    compose::own_program,
    config::{AttestationsConfig, EnvironmentConfig, PolicyConfig, Statement as Wanted, VersionConfig},
    exit::Refusal,
    promotions::{Asked, NotDecided},
    router::{App, GatesBody, ReportBody, decide_gates},
};

/// What the demo's gates let pass. It requires the one report that is always made; what an installed scanner finds counts as well.
const GATES: &str = include_str!("gates.toml");
/// Where promoted images are, in their order.
pub(super) const ENVIRONMENTS: [&str; 2] = ["staging", "production"];
/// Who builds and attests here.
const BUILDER: &str = "urn:deliveryos:demo";

/// The folders, and the key that attests.
pub(super) struct Images {
    root: PathBuf,
    service: ServiceId,
    build: Layout,
    key: SigningKey,
}

/// A version as an image.
pub(super) struct Image {
    label: Version,
    fetched: Fetched,
    program: Digest,
    /// How it is run.
    pub(super) config: VersionConfig,
}

impl Images {
    /// Opens the folders in the data directory, and makes the key at the first start.
    pub(super) async fn open(data_dir: &Path, service: &ServiceId) -> anyhow::Result<Self> {
        let root = std::path::absolute(data_dir.join("images"))?;
        std::fs::create_dir_all(&root).with_context(|| format!("{} cannot be made", root.display()))?;
        let key = key(&root)?;
        write(&root.join("demo.pub"), key.public().to_pem())?;
        write(&root.join("gates.toml"), GATES)?;
        let build = Layout::create(root.join("build").join(service.as_str())).await.map_err(place::refusal)?;
        Ok(Self { root, service: service.clone(), build, key })
    }

    /// Whose attestations count: the demo's own.
    pub(super) fn attestations(&self) -> AttestationsConfig {
        AttestationsConfig { keys: vec![self.root.join("demo.pub")], unlogged: true, ..AttestationsConfig::default() }
    }

    /// Where images are promoted to.
    pub(super) fn environments(&self) -> anyhow::Result<BTreeMap<model::Environment, EnvironmentConfig>> {
        let folder = |name: &str| format!("oci:{}/{{service}}", self.root.join(name).display());
        let mut before: Option<&str> = None;
        let mut all = BTreeMap::new();
        for name in ENVIRONMENTS {
            let environment = EnvironmentConfig {
                images: folder(name),
                from: before.is_none().then(|| folder("build")),
                after: before.map(str::parse).transpose()?,
                two_person: false,
                attestations: vec![Wanted::Slsa, Wanted::Signature, Wanted::Sbom],
                freezes: Vec::new(),
                plain_http: false,
            };
            all.insert(name.parse()?, environment);
            before = Some(name);
        }
        Ok(all)
    }

    /// What a release of the demo needs.
    pub(super) fn policy(&self) -> anyhow::Result<PolicyConfig> {
        let [.., last] = ENVIRONMENTS;
        Ok(PolicyConfig {
            gates: Some(self.root.join("gates.toml").display().to_string()),
            attestations: vec![Wanted::Slsa, Wanted::Signature, Wanted::Sbom],
            promoted_to: Some(last.parse()?),
        })
    }

    /// The versions that were made by earlier demos, so that one that was ended in the middle can be carried on.
    pub(super) async fn known(&self) -> anyhow::Result<BTreeMap<Version, VersionConfig>> {
        let mut known = BTreeMap::new();
        for tag in self.build.tags().await.map_err(place::refusal)? {
            let Ok(label) = tag.as_str().parse::<Version>() else { continue };
            if Manifest::number(&label).is_none() {
                continue;
            }
            let image = self.build.manifest(&At::Tag(tag)).await.map_err(place::refusal)?;
            known.insert(label, self.config(&image).await?);
        }
        Ok(known)
    }

    /// Makes a version's image; the same again is the same.
    pub(super) async fn build(&self, manifest: &Manifest) -> anyhow::Result<Image> {
        let label = manifest.label()?;
        let launcher = self.root.join(format!(".launcher-{label}"));
        write(&launcher, manifest.launcher()?)?;
        let recipe = Recipe {
            program: launcher.clone(),
            path: format!("app/{}", self.service),
            arguments: Vec::new(),
            labels: BTreeMap::from([("org.opencontainers.image.version".to_owned(), label.to_string())]),
        };
        let made = async {
            let layer = Layer::of(&launcher, &recipe.path).await?;
            build_of(&self.build, &layer, &recipe, &label.as_str().parse()?).await
        };
        let made = made.await.map_err(place::refusal);
        let made = made?;
        std::fs::remove_file(&launcher).with_context(|| format!("{} cannot be removed", launcher.display()))?;
        let fetched = self.build.manifest(&At::Digest(made.digest)).await.map_err(place::refusal)?;
        let config = self.config(&fetched).await?;
        Ok(Image { label, fetched, program: made.program, config })
    }

    /// How an image is run: its launcher, unpacked.
    async fn config(&self, image: &Fetched) -> anyhow::Result<VersionConfig> {
        let digest = image.descriptor.digest.clone();
        let program = self.root.join("run").join(digest.hex()).join(self.service.as_str());
        if !program.is_file() {
            unpack(&self.build, image, &program).await.map_err(place::refusal)?;
        }
        let program = program.into_os_string().into_string().ok().context("the data directory's name is not text")?;
        Ok(VersionConfig {
            digest: Some(digest),
            command: Some(vec![program, "--port".into(), "{port}".into()]),
            url: None,
            env: BTreeMap::from([("DELIVERYOS".to_owned(), own_program()?)]),
            health_path: Some("/healthz".to_owned()),
        })
    }

    /// Attests, gates and promotes an image. What was done before is not done again.
    pub(super) async fn deliver(&self, app: &App, image: &Image, actor: &Actor) -> anyhow::Result<()> {
        let now = app.clock.now();
        self.built(app, image, actor, now).await?;
        self.attest(image, now).await?;
        // Verified when it comes into the first environment; the gates then speak of an image that is attested.
        let [first, rest @ ..] = ENVIRONMENTS;
        self.promote(app, image, actor, first).await?;
        self.gate(app, image, actor, now).await?;
        for environment in rest {
            self.promote(app, image, actor, environment).await?;
        }
        Ok(())
    }

    async fn built(&self, app: &App, image: &Image, actor: &Actor, now: Timestamp) -> anyhow::Result<()> {
        let digest = &image.fetched.descriptor.digest;
        let facts = BuildCompleted {
            service: self.service.clone(),
            subject: digest.clone(),
            source: source(),
            program: image.program.clone(),
            place: self.build.name(),
            tag: image.label.to_string(),
        };
        let payload = Payload::new(Kind::BuildCompleted, now, actor.clone(), &facts)?.cite(["OCI image-spec 1.1"]);
        let key = format!("build/{}", digest.hex());
        if app.log.find(&key).await?.is_none() {
            app.log.append(Draft { key, payload }).await?;
        }
        Ok(())
    }

    async fn attest(&self, image: &Image, now: Timestamp) -> anyhow::Result<()> {
        let graph = Graph::read(&self.build, image.fetched.clone()).await.map_err(place::refusal)?;
        if graph.evidence().next().is_some() {
            return Ok(());
        }
        let digest = &image.fetched.descriptor.digest;
        let provenance = Build {
            builder: BUILDER.to_owned(),
            build_type: format!("{BUILDER}:image"),
            parameters: BTreeMap::from([("version".to_owned(), image.label.to_string())]),
            source: Some(source()),
            finished: now.to_string().parse().ok(),
            ..Build::default()
        };
        let component =
            |kind: &str, name: &str, version: &str| json!({ "type": kind, "name": name, "version": version });
        let bom = json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": { "component": component("application", self.service.as_str(), image.label.as_str()) },
            "components": [
                component("application", "deliveryos", env!("CARGO_PKG_VERSION")),
                { "type": "file", "name": format!("app/{}", self.service), "hashes": [{ "alg": "SHA-256", "content": image.program.hex() }] },
            ],
        });
        let bom = cyclonedx(bom.to_string().as_bytes())?;
        for (predicate_type, predicate) in
            [(SLSA_PROVENANCE, provenance.predicate()), (CYCLONEDX, bom), (COSIGN_SIGNATURE, json!({}))]
        {
            let statement = Statement::new(self.service.as_str(), digest, predicate_type, predicate);
            let bundle = self.key.statement(&statement)?.unlogged()?;
            let hints = Hints {
                content: "dsse-envelope",
                predicate_type: Some(predicate_type.to_owned()),
                created: now.to_string(),
            };
            attach(&self.build, &image.fetched.descriptor, bundle, &hints).await.map_err(place::refusal)?;
        }
        Ok(())
    }

    async fn gate(&self, app: &App, image: &Image, actor: &Actor, now: Timestamp) -> anyhow::Result<()> {
        let digest = image.fetched.descriptor.digest.clone();
        let folder = self.root.join("run").join(digest.hex());
        let mut scanned = scanners::run(&folder).await;
        let checklist = self.checklist(image, &folder, now).await?;
        scanned.reports.push(("checklist.json".to_owned(), checklist.to_string().into_bytes()));
        let body = GatesBody {
            id: format!("demo-gates-{}", short(&digest)).parse()?,
            release: None,
            service: Some(self.service.clone()),
            subject: Some(digest),
            policy: Some(GATES.to_owned()),
            reports: scanned
                .reports
                .into_iter()
                .map(|(name, bytes)| ReportBody { name, base64: STANDARD.encode(bytes) })
                .collect(),
            against: Vec::new(),
            not_run: scanned.not_run,
        };
        let decided = decide_gates(app, actor.clone(), body).await;
        decided.map(|_| ()).map_err(|problem| anyhow::anyhow!("the gates of {}: {problem}", image.label))
    }

    /// What was checked here and now.
    async fn checklist(&self, image: &Image, folder: &Path, now: Timestamp) -> anyhow::Result<Value> {
        let program = folder.join(self.service.as_str());
        let unpacked = std::fs::read(&program).with_context(|| format!("{} cannot be read", program.display()))?;
        let same = registry::digest_of(&unpacked) == image.program;
        let root = self.build.manifest(&At::Digest(image.fetched.descriptor.digest.clone())).await;
        let graph = Graph::read(&self.build, root.map_err(place::refusal)?).await.map_err(place::refusal)?;
        let stated = |kind: &str| {
            let said = |node: &registry::graph::Node| node.manifest.annotations.values().any(|value| value == kind);
            graph.evidence().any(|(_, node)| said(node))
        };
        let item = |id: &str, title: &str, done: bool| json!({ "id": id, "title": title, "state": if done { "done" } else { "open" }, "by": "demo" });
        Ok(json!({
            "checklist": "deliveryos.dev/checklist/v1",
            "name": "production readiness of the demo",
            "subject": image.fetched.descriptor.digest,
            "completed_at": now,
            "items": [
                item("same-program", "What will run is the program in the image, byte for byte", same),
                item("provenance", "The image carries a provenance", stated(SLSA_PROVENANCE)),
                item("bill-of-materials", "The image carries a bill of materials", stated(CYCLONEDX)),
            ],
        }))
    }

    async fn promote(&self, app: &App, image: &Image, actor: &Actor, environment: &str) -> anyhow::Result<()> {
        let digest = image.fetched.descriptor.digest.clone();
        let asked = Asked {
            id: format!("demo-{environment}-{}", short(&digest)).parse()?,
            service: self.service.clone(),
            environment: environment.parse()?,
            tag: image.label.as_str().parse::<Tag>()?,
            digest: Some(digest),
            agrees_to: None,
            actor: actor.clone(),
            reason: "before its canary".to_owned(),
        };
        match app.promotions.promote(&asked).await {
            Ok(answer) if answer.decision == "copied" => Ok(()),
            Ok(answer) => bail!(Refusal(format!(
                "{} was not promoted to {environment}: {}",
                image.label,
                answer.facts.refusals.join("; ")
            ))),
            Err(NotDecided::WrongUse(why) | NotDecided::Unavailable(why)) => {
                bail!("{} could not be promoted to {environment}: {why}", image.label)
            }
        }
    }
}

/// Writes a file, or says which one cannot be written.
fn write(path: &Path, bytes: impl AsRef<[u8]>) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("{} cannot be written", path.display()))
}

fn short(digest: &Digest) -> &str {
    digest.hex().get(..16).unwrap_or_default()
}

/// What the demo's images are made from, as a package URL.
fn source() -> String {
    format!("pkg:generic/deliveryos@{}", env!("CARGO_PKG_VERSION"))
}

/// The key that the demo attests with: made once, readable by its owner alone.
fn key(root: &Path) -> anyhow::Result<SigningKey> {
    let path = root.join("demo.key");
    match std::fs::read(&path) {
        Ok(pem) => {
            let meta = std::fs::metadata(&path).with_context(|| format!("{} cannot be read", path.display()))?;
            let open = meta.permissions().mode() & 0o077 != 0;
            anyhow::ensure!(!open, "{} can be read by others: chmod 600", path.display());
            SigningKey::from_pem_bytes(pem).with_context(|| path.display().to_string())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            use std::io::Write as _;
            let (key, pem) = SigningKey::generate()?;
            let made = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&path);
            let written = made.and_then(|mut file| {
                file.write_all(pem.as_bytes())?;
                file.sync_all()
            });
            if written.is_err() {
                // Half a key would be in the way of the next start.
                let _ = std::fs::remove_file(&path);
            }
            written.with_context(|| format!("{} cannot be written", path.display()))?;
            Ok(key)
        }
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}
