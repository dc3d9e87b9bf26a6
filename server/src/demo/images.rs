//! The demo's images: each version is made into an image, attested, gated, and promoted from folder to folder before its canary starts.
//!
//! An image holds the service's program, and its configuration the arguments by which the version behaves as it does: the program's layer is
//! one blob, versions differ by their configuration. What runs is the program unpacked out of the image, with the arguments of its configuration.

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
    image::{self, Layer, Recipe, layer_of, unpack},
};
use serde_json::{Value, json};

use super::{Manifest, program::Program, scanners};
use crate::{
    command::place,
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
    /// This executable.
    own: PathBuf,
}

/// A version as an image.
pub(super) struct Image {
    label: Version,
    fetched: Fetched,
    /// The program that was unpacked out of it.
    program: Digest,
    /// How it is run.
    pub(super) config: VersionConfig,
}

impl Images {
    /// Opens the folders in the data directory, and makes the key at the first start.
    pub(super) async fn open(data_dir: &Path, service: &ServiceId, own: &Path) -> anyhow::Result<Self> {
        let root = std::path::absolute(data_dir.join("images"))?;
        std::fs::create_dir_all(&root).with_context(|| format!("{} cannot be made", root.display()))?;
        let key = key(&root)?;
        write(&root.join("demo.pub"), key.public().to_pem())?;
        write(&root.join("gates.toml"), GATES)?;
        let build = Layout::create(root.join("build").join(service.as_str())).await.map_err(place::refusal)?;
        Ok(Self { root, service: service.clone(), build, key, own: own.to_owned() })
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

    /// The versions that were made by earlier demos, so that one that was ended in the middle can be carried on. One that cannot be run is
    /// left out.
    pub(super) async fn known(&self) -> anyhow::Result<BTreeMap<Version, VersionConfig>> {
        let mut known = BTreeMap::new();
        for tag in self.build.tags().await.map_err(place::refusal)? {
            let Ok(label) = tag.as_str().parse::<Version>() else { continue };
            if Manifest::number(&label).is_none() {
                continue;
            }
            let config = async {
                let image = self.build.manifest(&At::Tag(tag)).await.map_err(place::refusal)?;
                self.config(&image).await
            };
            match config.await {
                Ok(config) => {
                    known.insert(label, config);
                }
                Err(error) => tracing::warn!("{label} of an earlier demo cannot be run and is left out: {error:#}"),
            }
        }
        Ok(known)
    }

    /// Makes a version's image. One that is there already stays what it is: the program may have been built anew since.
    pub(super) async fn build(&self, manifest: &Manifest) -> anyhow::Result<Image> {
        let label = manifest.label()?;
        let tag: Tag = label.as_str().parse()?;
        match self.build.manifest(&At::Tag(tag.clone())).await {
            Ok(fetched) => match self.image(&label, fetched).await {
                Ok(image) => return Ok(image),
                Err(error) => tracing::warn!("the image of {label} is made again: {error:#}"),
            },
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(place::refusal(error)),
        }
        let program = Program::find(&self.own);
        let recipe = Recipe {
            program: program.file,
            path: self.path(),
            arguments: [program.first, manifest.arguments()?].concat(),
            labels: BTreeMap::from([("org.opencontainers.image.version".to_owned(), label.to_string())]),
        };
        let made = image::build(&self.build, &recipe, &tag).await.map_err(place::refusal)?;
        let fetched = self.build.manifest(&At::Digest(made.digest)).await.map_err(place::refusal)?;
        self.image(&label, fetched).await
    }

    /// The program's path in an image.
    fn path(&self) -> String {
        format!("app/{}", self.service)
    }

    async fn image(&self, label: &Version, fetched: Fetched) -> anyhow::Result<Image> {
        let config = self.config(&fetched).await?;
        let unpacked = self.unpacked(&fetched).await?;
        let layer = Layer::of(&unpacked, &self.path()).await.map_err(place::refusal)?;
        let same = *layer.digest() == layer_of(&fetched).map_err(place::refusal)?.digest;
        anyhow::ensure!(same, "{} is not the program in the image: remove it", unpacked.display());
        Ok(Image { label: label.clone(), program: layer.program().clone(), fetched, config })
    }

    /// An image's files on this disk: its program, and what is handed to scanners.
    fn folder(&self, image: &Fetched) -> PathBuf {
        self.root.join("run").join(image.descriptor.digest.hex())
    }

    /// The program out of an image, as a file that can be run.
    async fn unpacked(&self, image: &Fetched) -> anyhow::Result<PathBuf> {
        let file = self.folder(image).join(self.service.as_str());
        if file.is_file() {
            return Ok(file);
        }
        // Most versions have the same program, which is then one file with many names; where no links can be made, each has its own.
        let layer = layer_of(image).map_err(place::refusal)?;
        let held = self.root.join("programs").join(layer.digest.hex());
        if !held.is_file() {
            unpack(&self.build, image, &held).await.map_err(place::refusal)?;
        }
        let folder = self.folder(image);
        std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        if std::fs::hard_link(&held, &file).is_err() {
            unpack(&self.build, image, &file).await.map_err(place::refusal)?;
        }
        Ok(file)
    }

    /// How an image is run: its program, unpacked, with the arguments of its configuration.
    async fn config(&self, image: &Fetched) -> anyhow::Result<VersionConfig> {
        let command = image::command(&self.build, image).await.map_err(place::refusal)?;
        let program = self.unpacked(image).await?;
        let (started, arguments) = command.split_first().context("it names no program")?;
        let inside = self.path();
        anyhow::ensure!(
            started.trim_start_matches('/') == inside,
            "its configuration starts {started}, and not {inside}"
        );
        let mut env = BTreeMap::new();
        if script(&program)? {
            // An image may hold a script that becomes the service in this executable, by the name that it is given here.
            env.insert("DELIVERYOS".to_owned(), text(self.own.clone())?);
        }
        let port = ["--port", "{port}"].map(str::to_owned);
        let command = std::iter::once(text(program)?).chain(arguments.iter().cloned()).chain(port).collect();
        Ok(VersionConfig {
            digest: Some(image.descriptor.digest.clone()),
            command: Some(command),
            url: None,
            env,
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
            parameters: self.parameters(image).await?,
            source: Some(source()),
            finished: now.to_string().parse().ok(),
            ..Build::default()
        };
        let bom = cyclonedx(self.bill(image).to_string().as_bytes())?;
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

    /// What the image was made by: program, and how the version behaves.
    async fn parameters(&self, image: &Image) -> anyhow::Result<BTreeMap<String, String>> {
        let command = image::command(&self.build, &image.fetched).await.map_err(place::refusal)?;
        let arguments = command.get(1..).unwrap_or_default().join(" ");
        let all =
            [("version", image.label.to_string()), ("program", image.program.to_string()), ("arguments", arguments)];
        Ok(all.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// The bill of materials.
    fn bill(&self, image: &Image) -> Value {
        json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {
                "component": { "type": "application", "name": self.service.as_str(), "version": image.label.as_str() },
            },
            "components": [
                {
                    "type": "application",
                    "name": "deliveryos",
                    "version": env!("CARGO_PKG_VERSION"),
                    "purl": source(),
                    "licenses": [{ "license": { "id": "Apache-2.0" } }],
                },
                {
                    "type": "file",
                    "name": self.path(),
                    "hashes": [{ "alg": "SHA-256", "content": image.program.hex() }],
                },
            ],
        })
    }

    async fn gate(&self, app: &App, image: &Image, actor: &Actor, now: Timestamp) -> anyhow::Result<()> {
        let digest = image.fetched.descriptor.digest.clone();
        let folder = self.folder(&image.fetched);
        let configuration = image::configuration(&self.build, &image.fetched).await.map_err(place::refusal)?;
        write(&folder.join("config.json"), configuration)?;
        write(&folder.join("bom.cdx.json"), self.bill(image).to_string())?;
        let mut scanned = scanners::run(&folder, &self.root).await;
        let checklist = self.checklist(image, now).await?;
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
    async fn checklist(&self, image: &Image, now: Timestamp) -> anyhow::Result<Value> {
        let program = self.unpacked(&image.fetched).await?;
        let unpacked = Layer::of(&program, &self.path()).await.map_err(place::refusal)?;
        let same = *unpacked.digest() == layer_of(&image.fetched).map_err(place::refusal)?.digest;
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

/// Whether a program is a script, by its first two bytes.
fn script(program: &Path) -> anyhow::Result<bool> {
    use std::io::Read as _;
    let mut first = Vec::new();
    let read = std::fs::File::open(program).and_then(|file| file.take(2).read_to_end(&mut first));
    read.with_context(|| format!("{} cannot be read", program.display()))?;
    Ok(first == b"#!")
}

fn text(path: PathBuf) -> anyhow::Result<String> {
    path.into_os_string().into_string().map_err(|path| anyhow::anyhow!("{} is not text", path.display()))
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

#[cfg(test)]
mod tests;
