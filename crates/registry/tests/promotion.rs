//! Promotion between every kind of place, interrupted, tampered with, and seen by other tools.

use std::{
    process::Command,
    sync::{Arc, Mutex},
};

use registry::{
    At, Error, Layout, Place, Registry, RegistryOptions, Tag,
    conformance::{self, EVIDENCE},
    graph::Graph,
    hostile::{Faults, Hostile},
    promote::{Options, Progress, Report, promote},
};

mod common;

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn options() -> Options {
    Options { tag: Some(tag("v1")), ..Options::default() }
}

async fn layout(dir: &tempfile::TempDir, name: &str) -> Layout {
    Layout::create(dir.path().join(name)).await.unwrap()
}

fn place(host: &str, repository: &str) -> Registry {
    Registry::new(host, repository, RegistryOptions::default()).unwrap()
}

async fn go(source: &dyn Place, destination: &dyn Place, options: &Options) -> Result<Report, Error> {
    promote(source, &At::Tag(tag("v1")), destination, options, &|_| {}).await
}

/// The digests of all that belongs to an image, with why.
async fn all(place: &dyn Place) -> Vec<String> {
    let root = place.manifest(&At::Tag(tag("v1"))).await.unwrap();
    let graph = Graph::read(place, root).await.unwrap();
    assert_eq!(graph.notes, Vec::<String>::new());
    let mut all: Vec<String> =
        graph.nodes.iter().map(|n| format!("{} {:?}", n.fetched.descriptor.digest, n.role)).collect();
    all.sort();
    all
}

/// Copies from `source` to `destination` and holds the whole graph against the original; then again, when nothing is left to do. Answers
/// whether blobs had to be copied.
async fn round(source: &dyn Place, destination: &dyn Place) -> bool {
    let report = go(source, destination, &options()).await.unwrap();
    assert_eq!(all(source).await, all(destination).await);
    assert_eq!((report.manifests, report.evidence.len()), (8, 5));
    let again = go(source, destination, &options()).await.unwrap();
    assert_eq!((again.blobs_copied, again.digest), (0, report.digest));
    report.blobs_copied > 0
}

#[tokio::test]
async fn from_everywhere_to_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let first = layout(&dir, "first").await;
    conformance::whole_story(&first, "story", "v1").await;
    let with_api = Hostile::start(Faults {
        page_size: Some(1),
        busy_every: Some(9),
        retry_after: Some("0".into()),
        ..Faults::default()
    })
    .await;
    let without = Hostile::start(Faults { no_referrers_api: true, ..Faults::default() }).await;
    assert!(round(&first, &place(&with_api.host(), "a")).await);
    assert!(round(&place(&with_api.host(), "a"), &place(&without.host(), "b")).await);
    assert!(round(&place(&without.host(), "b"), &layout(&dir, "last").await).await);
    // Within one registry blobs are taken over, not sent.
    let before = with_api.log().iter().filter(|line| line.starts_with("PUT") && line.contains("/blobs/")).count();
    let report = go(&place(&with_api.host(), "a"), &place(&with_api.host(), "c"), &options()).await.unwrap();
    let after = with_api.log().iter().filter(|line| line.starts_with("PUT") && line.contains("/blobs/")).count();
    assert_eq!(before, after);
    assert_eq!(report.evidence.len(), 5);
}

/// `shared`: every repository has the blobs of all others.
async fn through(host: &str, shared: bool) {
    let dir = tempfile::tempdir().unwrap();
    let first = layout(&dir, "first").await;
    conformance::whole_story(&first, "story", "v1").await;
    assert!(round(&first, &place(host, "shop/checkout")).await);
    assert_ne!(round(&place(host, "shop/checkout"), &place(host, "shop/staging")).await, shared);
    assert!(round(&place(host, "shop/staging"), &layout(&dir, "last").await).await);
}

#[tokio::test]
async fn through_debians_docker_registry() {
    let Some(server) = common::docker_registry().await else { return };
    through(&server.host, false).await;
}

#[tokio::test]
async fn through_go_containerregistrys_registry() {
    let Some(server) = common::referrers_registry() else { return };
    through(&server.host, true).await;
}

#[tokio::test]
async fn tags_do_not_move() {
    let dir = tempfile::tempdir().unwrap();
    let (source, destination) = (layout(&dir, "a").await, layout(&dir, "b").await);
    conformance::whole_story(&source, "one", "v1").await;
    let other = conformance::image(&destination, "other", 1).await;
    destination.tag(&tag("v1"), &other).await.unwrap();
    let error = go(&source, &destination, &options()).await.unwrap_err();
    assert!(matches!(&error, Error::TagTaken { there, .. } if *there == other.descriptor.digest), "{error}");
    assert!(error.is_refusal());
    let moved = Options { move_tag: true, ..options() };
    go(&source, &destination, &moved).await.unwrap();
    assert_eq!(all(&source).await, all(&destination).await);
}

#[tokio::test]
async fn nothing_is_written_by_a_dry_run() {
    let dir = tempfile::tempdir().unwrap();
    let (source, destination) = (layout(&dir, "a").await, layout(&dir, "b").await);
    conformance::whole_story(&source, "one", "v1").await;
    let report = go(&source, &destination, &Options { dry_run: true, ..options() }).await.unwrap();
    assert_eq!((report.manifests, report.blobs_copied), (8, report.blobs));
    assert_eq!(destination.tags().await.unwrap(), []);
    assert_eq!(std::fs::read_dir(dir.path().join("b/blobs/sha256")).unwrap().count(), 0);
}

#[tokio::test]
async fn one_platform_is_its_own_image() {
    let dir = tempfile::tempdir().unwrap();
    let (source, destination) = (layout(&dir, "a").await, layout(&dir, "b").await);
    conformance::whole_story(&source, "one", "v1").await;
    let of = |platform: &str| Options { platform: Some(platform.parse().unwrap()), ..options() };
    let report = go(&source, &destination, &of("linux/amd64")).await.unwrap();
    assert_eq!((report.manifests, report.evidence.len()), (2, 1), "the image and the evidence about it");
    let error = go(&source, &destination, &of("linux/s390x")).await.unwrap_err().to_string();
    assert!(error.contains("linux/amd64, linux/arm64"), "{error}");
}

/// What it was judged by has to come along.
#[tokio::test]
async fn evidence_that_is_needed_is_there_or_nothing_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let source = layout(&dir, "a").await;
    conformance::whole_story(&source, "one", "v1").await;
    let server = Hostile::start(Faults::default()).await;
    let destination = place(&server.host(), "app");
    let dry = go(&source, &destination, &Options { dry_run: true, ..options() }).await.unwrap();
    let there: Vec<_> = dry.evidence.iter().map(|e| e.digest.clone()).collect();
    let gone = dry.digest.clone(); // The image is no evidence of itself.
    let needed = |needed| Options { needed, ..options() };
    let error = go(&source, &destination, &needed(vec![there[0].clone(), gone.clone()])).await.unwrap_err();
    assert!(error.is_refusal() && error.to_string().contains(&format!("has no evidence {gone} any more")), "{error}");
    assert!(server.blobs().is_empty() && server.tagged("app", "v1").is_none());
    go(&source, &destination, &needed(there)).await.unwrap();
    assert_eq!(all(&source).await, all(&destination).await);
}

/// What is wrong in the source, on the way, or at the destination: named, and nothing is tagged.
#[tokio::test]
async fn what_differs_is_not_promoted() {
    let dir = tempfile::tempdir().unwrap();
    let source = layout(&dir, "source").await;
    let index = conformance::whole_story(&source, "one", "v1").await;
    let graph = Graph::read(&source, index.clone()).await.unwrap();
    let layer = graph.blobs()[1].digest.clone();
    let path = |digest: &model::Digest| dir.path().join("source/blobs/sha256").join(digest.hex());

    let good = std::fs::read(path(&layer)).unwrap();
    let mut bad = good.clone();
    bad[7] ^= 1;
    std::fs::write(path(&layer), bad).unwrap();
    for server in [
        Hostile::start(Faults::default()).await,
        Hostile::start(Faults { no_referrers_api: true, ..Faults::default() }).await,
    ] {
        let error = go(&source, &place(&server.host(), "a"), &options()).await.unwrap_err();
        assert!(matches!(&error, Error::Differs { expected, .. } if *expected == layer), "{error}");
        assert_eq!(server.tagged("a", "v1"), None);
    }
    std::fs::write(path(&layer), good).unwrap();

    for node in &graph.nodes {
        let digest = node.fetched.descriptor.digest.clone();
        for faults in [
            Faults { tamper: Some(digest.clone()), ..Faults::default() },
            Faults { forget: Some(digest.clone()), ..Faults::default() },
            Faults { forget: Some(digest.clone()), no_referrers_api: true, ..Faults::default() },
        ] {
            let server = Hostile::start(faults).await;
            let error = go(&source, &place(&server.host(), "a"), &options()).await.unwrap_err();
            assert!(
                error.to_string().contains(digest.as_str()) || error.to_string().contains("MANIFEST_BLOB_UNKNOWN"),
                "{error}"
            );
            assert_eq!(server.tagged("a", "v1"), None, "{error}");
        }
    }
    let server = Hostile::start(Faults { tamper: Some(layer.clone()), ..Faults::default() }).await;
    let error = go(&source, &place(&server.host(), "a"), &options()).await.unwrap_err();
    assert!(matches!(&error, Error::Differs { expected, .. } if *expected == layer), "{error}");
    assert_eq!(server.tagged("a", "v1"), None);
    // Whoever does not want to read blobs back is told so.
    let trusting = Options { trust_blobs: true, ..options() };
    assert_eq!(go(&source, &place(&server.host(), "a"), &trusting).await.unwrap().blobs_verified, "present");
}

/// A tag that names something else each time it is asked for.
#[tokio::test]
async fn a_tag_that_moves_meanwhile_changes_nothing() {
    let server = Hostile::start(Faults::default()).await;
    let source = place(&server.host(), "a");
    let one = conformance::whole_story(&source, "one", "v1").await;
    let two = conformance::image(&source, "two", 1).await;
    let dir = tempfile::tempdir().unwrap();
    server.change(|f| f.flip = Some(("v1".into(), vec![one.descriptor.digest.clone(), two.descriptor.digest.clone()])));
    let report = go(&source, &layout(&dir, "b").await, &options()).await.unwrap();
    assert_eq!((&report.digest, report.manifests), (&one.descriptor.digest, 8));
    // And where it moves at the destination, it is said.
    let error = go(&layout(&dir, "b").await, &source, &Options { move_tag: true, ..options() }).await;
    let moved = error.is_err_and(|e| matches!(e, Error::TagTaken { .. }));
    let now = go(&layout(&dir, "b").await, &source, &Options { move_tag: true, ..options() }).await;
    assert!(moved || now.is_err_and(|e| matches!(e, Error::TagTaken { .. })), "one of two looks sees the other image");
}

/// The tag is the last thing that is written, and all evidence is before it.
#[tokio::test]
async fn the_tag_comes_last() {
    let dir = tempfile::tempdir().unwrap();
    let source = layout(&dir, "a").await;
    conformance::whole_story(&source, "one", "v1").await;
    for no_referrers_api in [false, true] {
        let server = Hostile::start(Faults { no_referrers_api, ..Faults::default() }).await;
        let written = Arc::new(Mutex::new(Vec::<String>::new()));
        let seen = Arc::clone(&written);
        server.hook(Arc::new(move |what| seen.lock().unwrap().push(what.to_owned())));
        let progress = Mutex::new((0, 0, 0));
        let tell = |p| {
            let mut sums = progress.lock().unwrap();
            match p {
                Progress::Planned { copy, .. } => sums.0 = copy,
                Progress::Copied(n) => sums.1 += n,
                Progress::Verified(n) => sums.2 += n,
            }
        };
        let destination = place(&server.host(), "a");
        let report = promote(&source, &At::Tag(tag("v1")), &destination, &options(), &tell).await.unwrap();
        assert_eq!(*progress.lock().unwrap(), (report.bytes_copied, report.bytes_copied, report.bytes));
        let written = written.lock().unwrap();
        assert_eq!(written.last().map(String::as_str), Some("tag v1"));
        assert_eq!(written.iter().filter(|w| *w == "tag v1").count(), 1);
        assert_eq!(written.iter().filter(|w| w.starts_with("manifest")).count(), 8);
    }
}

fn run(program: &std::path::Path, args: &[&str]) -> (bool, String) {
    let out = Command::new(program).args(args).output().unwrap();
    (out.status.success(), format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
}

/// Other tools see what we wrote: in a layout, and in a real registry. oras lists what we list, and we find whole what it copies.
async fn others_see_our_referrers(host: &str, has_api: bool) {
    let (oras, crane) = (common::peer("oras"), common::peer("crane"));
    let dir = tempfile::tempdir().unwrap();
    let source = layout(&dir, "a").await;
    let index = conformance::whole_story(&source, "one", "v1").await;
    let report = go(&source, &place(host, "shop"), &options()).await.unwrap();
    let reference = format!("{host}/shop:v1");
    let about_index: Vec<_> =
        report.evidence.iter().filter(|e| e.subject == index.descriptor.digest && e.tag.is_none()).collect();
    assert_eq!(about_index.len(), 2);
    if let Some(oras) = oras {
        let local = format!("{}:v1", dir.path().join("a").display());
        for args in [
            ["discover", "--plain-http", "--format=json", &reference],
            ["discover", "--oci-layout", "--format=json", &local],
        ] {
            let (good, said) = run(&oras, &args);
            assert!(good, "{said}");
            assert!(about_index.iter().all(|e| said.contains(e.digest.as_str())), "{args:?}: {said}");
        }
        // And what oras copies we find whole.
        let copied = dir.path().join("copied");
        let (good, said) = run(
            &oras,
            &["cp", "-r", "--from-plain-http", "--to-oci-layout", &reference, &format!("{}:v1", copied.display())],
        );
        assert!(good, "{said}");
        let copied = Layout::open(copied).await.unwrap();
        let root = copied.manifest(&At::Tag(tag("v1"))).await.unwrap();
        let graph = Graph::read(&copied, root).await.unwrap();
        let found: Vec<_> = graph.evidence().map(|(_, n)| &n.fetched.descriptor.digest).collect();
        assert!(about_index.iter().all(|e| found.contains(&&e.digest)), "{found:?}");
    }
    if let Some(crane) = crane {
        let (good, said) = run(&crane, &["digest", "--insecure", &reference]);
        assert!(good && said.trim() == index.descriptor.digest.as_str(), "{said}");
        for one in &about_index {
            let (good, said) = run(&crane, &["manifest", "--insecure", &format!("{host}/shop@{}", one.digest)]);
            assert!(good && said.contains(index.descriptor.digest.as_str()), "{said}");
        }
        let list = format!("{host}/shop:{}", Tag::of_referrers(&index.descriptor.digest));
        let (good, said) = run(&crane, &["manifest", "--insecure", &list]);
        assert_eq!(good, !has_api, "the tag stands in for the API, and only for it: {said}");
        assert!(has_api || about_index.iter().all(|e| said.contains(e.digest.as_str())), "{said}");
    }
    assert!(report.evidence.iter().any(|e| e.artifact_type == EVIDENCE));
}

#[tokio::test]
async fn oras_and_crane_see_our_referrers() {
    let Some(server) = common::docker_registry().await else { return };
    others_see_our_referrers(&server.host, false).await;
}

#[tokio::test]
async fn oras_and_crane_see_our_referrers_through_the_api() {
    let Some(server) = common::referrers_registry() else { return };
    others_see_our_referrers(&server.host, true).await;
}
