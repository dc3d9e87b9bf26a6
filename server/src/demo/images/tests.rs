//! What is in the images, and how versions are run out of them.

use std::os::unix::fs::MetadataExt as _;

use model::Version;
use registry::image::build as image_of;

use super::*;
use crate::args::Fault;

/// A data directory, and beside it what stands for this executable and for the service.
struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new(service: Option<&str>) -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::write(site.path("deliveryos"), "the whole executable").unwrap();
        if let Some(service) = service {
            std::fs::write(site.path("demo-service"), service).unwrap();
        }
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn images(&self) -> Images {
        Images::open(&self.path("data"), &"checkout".parse().unwrap(), &self.path("deliveryos")).await.unwrap()
    }
}

/// An image as an earlier demo left it: `start` is in its configuration, `program` in its layer.
async fn left(images: &Images, label: &str, start: &str, program: &str) -> Digest {
    let file = images.root.join("left");
    std::fs::write(&file, program).unwrap();
    let recipe = Recipe { program: file, path: start.to_owned(), ..Recipe::default() };
    image_of(&images.build, &recipe, &label.parse().unwrap()).await.unwrap().digest
}

fn command(config: &VersionConfig) -> (PathBuf, Vec<&str>) {
    let (program, arguments) = config.command.as_ref().unwrap().split_first().unwrap();
    (program.into(), arguments.iter().map(String::as_str).collect())
}

fn label(text: &str) -> Version {
    text.parse().unwrap()
}

#[tokio::test]
async fn an_image_holds_the_service_and_how_it_behaves() {
    let site = Site::new(Some("the service"));
    let images = site.images().await;
    let first = images.build(&Manifest::new(1, Fault::None)).await.unwrap();
    let slow = images.build(&Manifest::new(2, Fault::Latency)).await.unwrap();
    assert_eq!(first.program, registry::digest_of(b"the service"));
    assert_ne!(first.fetched.descriptor.digest, slow.fetched.descriptor.digest, "versions differ");
    assert_eq!(layer_of(&first.fetched).unwrap(), layer_of(&slow.fetched).unwrap(), "by their configuration alone");
    let layers = std::fs::read_dir(images.root.join("build/checkout/blobs/sha256")).unwrap();
    let tars = layers.filter(|blob| blob.as_ref().unwrap().metadata().unwrap().len() % 512 == 0).count();
    assert_eq!(tars, 1, "one blob for both");

    let (program, arguments) = command(&first.config);
    let (other, slower) = command(&slow.config);
    let line = "--version v1 --latency-ms 180 --sigma 0.05 --error-rate 0 --port {port}";
    assert_eq!(arguments.join(" "), line);
    assert_eq!(slower.join(" "), line.replace("v1", "v2-slow").replace("180", "270"));
    assert_eq!(std::fs::read_to_string(&program).unwrap(), "the service");
    let meta = [&program, &other].map(|path| std::fs::metadata(path).unwrap());
    assert!(program != other && meta[0].ino() == meta[1].ino(), "one file on the disk");
    assert_eq!(meta[0].mode() & 0o777, 0o755);
    assert!(first.config.env.is_empty(), "it needs nothing but itself");
    assert_eq!(first.config.digest.as_ref(), Some(&first.fetched.descriptor.digest));

    let bill = images.bill(&first).to_string();
    assert!(bill.contains(first.program.hex()) && bill.contains("app/checkout"), "{bill}");
    let parameters = images.parameters(&first).await.unwrap();
    assert_eq!(parameters["program"], first.program.to_string());
    assert_eq!(parameters["arguments"], line.trim_end_matches(" --port {port}"));
    let checklist = images.checklist(&first, Timestamp::from_millis(0)).await.unwrap();
    assert_eq!(
        (&checklist["items"][0]["id"], &checklist["items"][0]["state"]),
        (&"same-program".into(), &"done".into())
    );
    std::fs::write(&program, "another").unwrap();
    let checklist = images.checklist(&first, Timestamp::from_millis(0)).await.unwrap();
    assert_eq!(checklist["items"][0]["state"], "open");
}

#[tokio::test]
async fn who_has_this_executable_alone_has_it_in_the_images() {
    let site = Site::new(None);
    let images = site.images().await;
    let image = images.build(&Manifest::new(3, Fault::Errors)).await.unwrap();
    let (program, arguments) = command(&image.config);
    assert_eq!(std::fs::read_to_string(program).unwrap(), "the whole executable");
    let line = "demo-service --version v3-errors --latency-ms 180 --sigma 0.05 --error-rate 0.2 --port {port}";
    assert_eq!(arguments.join(" "), line);
}

#[tokio::test]
async fn a_version_stays_what_it_is_when_the_program_is_built_anew() {
    let site = Site::new(Some("the service"));
    let [first, second] = [Manifest::new(1, Fault::None), Manifest::new(2, Fault::None)];
    let before = site.images().await.build(&first).await.unwrap();
    std::fs::write(site.path("demo-service"), "the service, built anew").unwrap();
    let images = site.images().await;
    let again = images.build(&first).await.unwrap();
    assert_eq!(again.fetched.descriptor.digest, before.fetched.descriptor.digest);
    assert_eq!((again.program, &again.config), (before.program, &before.config));
    let next = images.build(&second).await.unwrap();
    assert_eq!(next.program, registry::digest_of(b"the service, built anew"));
    let known = images.known().await.unwrap();
    assert_eq!((&known[&label("v1")], &known[&label("v2")]), (&before.config, &next.config));
}

#[tokio::test]
async fn versions_of_earlier_demos_are_run_or_left_out() {
    let site = Site::new(Some("the service"));
    let images = site.images().await;
    let built = images.build(&Manifest::new(4, Fault::None)).await.unwrap();
    let script = "#!/bin/sh\nexec \"${DELIVERYOS:?}\" demo-service --version v3 \"$@\"\n";
    let digest = left(&images, "v3", "app/checkout", script).await;
    left(&images, "v5", "bin/sh", "another").await;
    let lost = left(&images, "v6", "app/checkout", "lost").await;
    left(&images, "latest", "app/checkout", "no version").await;
    let lost = images.build.manifest(&At::Digest(lost)).await.unwrap();
    let blob = layer_of(&lost).unwrap().digest;
    std::fs::remove_file(images.root.join("build/checkout/blobs/sha256").join(blob.hex())).unwrap();

    let known = images.known().await.unwrap();
    assert_eq!(known.keys().map(Version::as_str).collect::<Vec<_>>(), ["v3", "v4"]);
    assert_eq!(known[&label("v4")], built.config);
    let (program, arguments) = command(&known[&label("v3")]);
    assert_eq!(program, images.root.join("run").join(digest.hex()).join("checkout"));
    assert_eq!(arguments, ["--port", "{port}"], "a script has them in itself");
    assert_eq!(known[&label("v3")].env["DELIVERYOS"], site.path("deliveryos").display().to_string());
    assert_eq!(std::fs::read_to_string(program).unwrap(), script);

    // What cannot be run is made again, when it is asked for.
    let again = images.build(&Manifest::new(6, Fault::None)).await.unwrap();
    assert_eq!(again.program, registry::digest_of(b"the service"));
}
