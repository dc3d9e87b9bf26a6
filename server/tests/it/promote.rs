//! `deliveryos promote`, by the real executable: between folders, to registries, and killed at every moment.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use model::Digest;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use registry::{
    At, Layout, Place, Registry, RegistryOptions, Tag, conformance,
    graph::Graph,
    hostile::{Faults, Hostile},
};
use serde_json::Value;

use crate::{evidence::Bench, peers, process::deliveryos};

fn tag() -> Tag {
    "v1".parse().unwrap()
}

fn place(host: &str, repository: &str) -> Registry {
    Registry::new(host, repository, RegistryOptions::default()).unwrap()
}

/// A folder with an image of two platforms, its evidence, and evidence about that.
async fn story(dir: &Path, name: &str) -> (String, Layout) {
    let folder = dir.join(name);
    let layout = Layout::create(&folder).await.unwrap();
    conformance::whole_story(&layout, "story", "v1").await;
    (format!("oci:{}", folder.display()), layout)
}

/// The digests of all that belongs to the image, with why.
async fn all(place: &dyn Place) -> Vec<String> {
    let root = place.manifest(&At::Tag(tag())).await.unwrap();
    let graph = Graph::read(place, root).await.unwrap();
    assert_eq!(graph.notes, Vec::<String>::new());
    let mut all: Vec<String> =
        graph.nodes.iter().map(|n| format!("{} {:?}", n.fetched.descriptor.digest, n.role)).collect();
    all.sort();
    all
}

/// Runs it beside the registry that lives in this process.
async fn promote(args: &[&str]) -> (i32, String, String) {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    let run = move || {
        let directory = tempfile::tempdir().unwrap();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        crate::process::run(directory.path(), &[&["promote"], args.as_slice()].concat())
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn done(args: &[&str]) -> Value {
    let (code, out, err) = promote(&[args, &["--json"]].concat()).await;
    assert_eq!(code, 0, "{args:?}: {out}{err}");
    serde_json::from_str(&out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn from_folder_to_folder_and_back_from_registries() {
    let dir = tempfile::tempdir().unwrap();
    let (source, layout) = story(dir.path(), "build").await;
    let v1 = format!("{source}:v1");
    let staging = format!("oci:{}", dir.path().join("staging").display());
    let (code, out, _) = promote(&[&v1, &staging, "--dry-run"]).await;
    assert!(code == 2 && out.is_empty(), "a dry run makes no folder: {code} {out}");
    assert!(!dir.path().join("staging").exists());

    let said = done(&[&v1, &staging]).await;
    assert_eq!((&said["decision"], said["evidence"].as_array().unwrap().len()), (&"copied".into(), 5), "{said}");
    assert_eq!(said["blobs_verified"], "read-back");
    let there = Layout::open(dir.path().join("staging")).await.unwrap();
    assert_eq!(all(&layout).await, all(&there).await);
    // Again: nothing is left to do.
    assert_eq!(done(&[&v1, &staging]).await["blobs_copied"], 0);
    let (_, out, _) = promote(&[&v1, &staging]).await;
    assert!(out.contains("every manifest and blob was read back") && out.contains("no receipt"), "{out}");
    assert!(out.contains("NOT VERIFIED: no --policy was named") && out.contains("(not verified)"), "{out}");

    // Over a registry with the API, and one without, to a folder again.
    let with_api = Hostile::start(Faults { page_size: Some(1), ..Faults::default() }).await;
    let without = Hostile::start(Faults { no_referrers_api: true, ..Faults::default() }).await;
    let (a, b) = (format!("{}/app", with_api.host()), format!("{}/app", without.host()));
    let last = format!("oci:{}", dir.path().join("last").display());
    let would = done(&[&v1, &a, "--dry-run"]).await;
    assert_eq!((&would["decision"], with_api.blobs().len()), (&"would-copy".into(), 0));
    for (from, to) in [(&v1, &a), (&format!("{a}:v1"), &b), (&format!("{b}:v1"), &last)] {
        assert_eq!(done(&[from, to]).await["evidence"].as_array().unwrap().len(), 5);
    }
    assert_eq!(all(&layout).await, all(&Layout::open(dir.path().join("last")).await.unwrap()).await);

    // One platform is an image of its own.
    let one = format!("oci:{}:amd64", dir.path().join("one").display());
    assert_eq!(done(&[&v1, &one, "--platform", "linux/amd64"]).await["manifests"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_said_with_its_code() {
    let dir = tempfile::tempdir().unwrap();
    let (source, _) = story(dir.path(), "build").await;
    let v1 = format!("{source}:v1");
    let other = Layout::create(dir.path().join("other")).await.unwrap();
    let image = conformance::image(&other, "another one", 1).await;
    other.tag(&tag(), &image).await.unwrap();
    let taken = format!("oci:{}", dir.path().join("other").display());
    let server = Hostile::start(Faults::default()).await;
    let far = format!("{}/app", server.host());
    let by_digest = format!("{far}@{}", image.descriptor.digest);
    let nowhere = format!("oci:{}:v1", dir.path().join("nowhere").display());
    let [dead] = crate::process::free();
    let dead = format!("{dead}/app");
    let missing = format!("{source}:v9");
    for (args, code, expected) in [
        (vec![v1.as_str(), &taken], 1, "tags do not move"),
        (vec![&missing, &far], 1, "has no tag v9"),
        (vec![&nowhere, &far], 1, "it is no image layout"),
        (vec![&v1, &by_digest], 2, "the destination's digest is the source's"),
        (vec![&v1, &far, "--platform", "linux/s390x"], 1, "linux/amd64, linux/arm64"),
        (vec![&v1, &dead], 3, "cannot be reached"),
        (vec!["nginx", &far], 2, "HOST/REPOSITORY"),
    ] {
        let (found, out, err) = promote(&args).await;
        assert!(found == code && err.contains(expected), "{args:?}: {found} {out}{err}");
    }
    assert_eq!(server.tagged("app", "v1"), None);
    // A refusal is an answer, so it has its JSON.
    let (code, out, _) = promote(&[&v1, &taken, "--json"]).await;
    let said: Value = serde_json::from_str(&out).unwrap();
    assert!(code == 1 && said["decision"] == "refused" && said["reason"].as_str().unwrap().contains("do not move"));
    assert_eq!(done(&[&v1, &taken, "--move-tag"]).await["decision"], "copied");
}

/// Judged as by `verify` before the first byte is written, and carried by the digest that was judged.
#[tokio::test(flavor = "multi_thread")]
async fn under_a_policy_only_what_is_proved_is_copied() {
    let bench = tokio::task::spawn_blocking(Bench::new).await.unwrap();
    let server = Hostile::start(Faults::default()).await;
    let (image, far, folder) = (bench.image("v1"), format!("{}/app", server.host()), bench.path("prod"));
    let policy = bench.policy("policy.toml", "", "unlogged = true");
    let strict = bench.policy("strict.toml", "", "");
    let refused = async |policy: &str, expected: &str| {
        for to in [&far, &format!("oci:{folder}")] {
            let args = [image.as_str(), to, "--policy", policy];
            let (code, out, err) = promote(&args).await;
            assert!(code == 1 && out.contains("NOT VERIFIED") && out.contains(expected), "{out}{err}");
            assert!(out.contains("MISSING  signed by CI") && out.contains("nothing was copied"), "{out}{err}");
            let (code, out, _) = promote(&[&args[..], &["--json"]].concat()).await;
            let said: Value = serde_json::from_str(&out).unwrap();
            assert_eq!((code, &said["decision"], &said["judgement"]["met"]), (1, &"refused".into(), &false.into()));
            assert_eq!(promote(&[&args[..], &["--dry-run"]].concat()).await.0, 1, "a dry run says the same");
        }
        assert!(server.blobs().is_empty() && server.tagged("app", "v1").is_none() && !Path::new(&folder).exists());
    };
    refused(&policy, "there is no such evidence").await;
    bench.attest(&image, &["--attach"]);
    refused(&strict, "no entry of a transparency log").await;
    // A policy that cannot be used is wrong use, as for `verify`.
    assert_eq!(promote(&[&image, &far, "--policy", &bench.path("none.toml")]).await.0, 2);
    assert!(server.blobs().is_empty());

    let said = done(&[&image, &far, "--policy", &policy]).await;
    assert_eq!((&said["decision"], &said["digest"]), (&"copied".into(), &bench.digest.as_str().into()));
    assert_eq!((&said["judgement"]["met"], &said["judgement"]["image"]), (&true.into(), &said["digest"]));
    assert_eq!(said["judgement"]["proved"].as_array().unwrap().len(), 2, "{said}");
    assert_eq!(
        server.tagged("app", "v1").unwrap().to_string(),
        bench.digest,
        "the tag of the source, though it is read by its digest"
    );
    let (code, out, err) = promote(&[&format!("{far}:v1"), &format!("oci:{folder}"), "--policy", &policy]).await;
    assert_eq!(code, 0, "{out}{err}");
    for words in ["VERIFIED: sha256:", "proved   signed by CI\n  by ci: key ", "(proved, by ci)", "no receipt"] {
        assert!(out.contains(words), "{words:?}: {out}");
    }
    assert!(!out.contains("not verified") && !out.contains("NOT VERIFIED"), "{out}");
    let there = format!("oci:{folder}:v1");
    bench.good(&["verify", &there, "--policy", &policy]);
}

/// Judged is what is copied: evidence about an index says nothing about the image of one platform that is taken out of it.
#[tokio::test(flavor = "multi_thread")]
async fn of_an_index_the_image_that_is_copied_is_judged() {
    let bench = tokio::task::spawn_blocking(Bench::new).await.unwrap();
    let (source, _) = story(bench.dir(), "build").await;
    let (v1, to) = (format!("{source}:v1"), format!("oci:{}", bench.path("one")));
    let policy = bench.policy("policy.toml", "", "unlogged = true");
    bench.attest(&v1, &["--attach"]);
    let whole = format!("oci:{}", bench.path("whole"));
    assert_eq!(done(&[&v1, &whole, "--policy", &policy]).await["judgement"]["met"], true);
    let one = ["--platform", "linux/amd64", "--policy", &policy];
    let (code, out, err) = promote(&[&[v1.as_str(), &to], &one[..]].concat()).await;
    assert!(code == 1 && out.contains("there is no such evidence"), "{out}{err}");
    assert!(!Path::new(&bench.path("one")).exists());
    let would = done(&[&v1, &format!("{whole}:amd64"), "--platform", "linux/amd64", "--dry-run"]).await;
    bench.attest(&format!("{source}@{}", would["digest"].as_str().unwrap()), &["--attach"]);
    let said = done(&[&[v1.as_str(), &to], &one[..]].concat()).await;
    assert_eq!((&said["judgement"]["image"], &said["digest"]), (&would["digest"], &would["digest"]));
    assert_eq!(said["tag"], "v1");
    bench.good(&["verify", &format!("{to}:v1"), "--policy", &policy]);
}

/// Kills the program at the `n`-th thing that it does at the registry. `false`: it was done before.
async fn killed_at(server: &Hostile, n: u32, args: &[&str]) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let (pid, count): (Arc<OnceLock<Pid>>, _) = (Arc::default(), AtomicU32::new(0));
    let known = Arc::clone(&pid);
    server.hook(Arc::new(move |_| {
        if count.fetch_add(1, Ordering::SeqCst) + 1 == n {
            // It may have ended by itself: then there is nothing to kill.
            let _ = kill(*known.wait(), Signal::SIGKILL);
        }
    }));
    let mut child: std::process::Child = deliveryos(directory.path())
        .arg("promote")
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    pid.set(Pid::from_raw(child.id().try_into().unwrap())).unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    server.hook(Arc::new(|_| {}));
    assert!(ended.success() || ended.code().is_none(), "{ended}");
    !ended.success()
}

/// Every manifest of the story is there.
fn complete(server: &Hostile, digests: &[Digest]) -> bool {
    digests.iter().all(|digest| server.has_manifest("app", digest))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_write_to_a_registry() {
    let dir = tempfile::tempdir().unwrap();
    let (source, layout) = story(dir.path(), "build").await;
    let v1 = format!("{source}:v1");
    let root = layout.manifest(&At::Tag(tag())).await.unwrap();
    let graph = Graph::read(&layout, root).await.unwrap();
    let digests: Vec<Digest> = graph.nodes.iter().map(|node| node.fetched.descriptor.digest.clone()).collect();
    for no_referrers_api in [false, true] {
        let mut killed = 0;
        for n in 1.. {
            let server = Hostile::start(Faults { no_referrers_api, ..Faults::default() }).await;
            let far = format!("{}/app", server.host());
            let in_the_middle = killed_at(&server, n, &[&v1, &far]).await;
            assert!(server.tagged("app", "v1").is_none() || complete(&server, &digests), "tagged too early, at {n}");
            if !in_the_middle {
                break;
            }
            killed = n;
            assert_eq!(done(&[&v1, &far]).await["decision"], "copied", "after a death at {n}");
            assert_eq!(all(&layout).await, all(&place(&server.host(), "app")).await, "after a death at {n}");
        }
        let blobs = u32::try_from(graph.blobs().len()).unwrap();
        assert!(killed >= blobs + 8, "{killed} deaths: {blobs} blobs, 8 manifests");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_every_blob_into_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let server = Hostile::start(Faults::default()).await;
    let source = place(&server.host(), "app");
    conformance::whole_story(&source, "story", "v1").await;
    let from = format!("{}/app:v1", server.host());
    let blobs = u32::try_from(server.blobs().len()).unwrap();
    for n in 1..=blobs {
        let folder = dir.path().join(n.to_string());
        let to = format!("oci:{}", folder.display());
        assert!(killed_at(&server, n, &[&from, &to]).await, "it reads every blob");
        if let Ok(left) = Layout::open(&folder).await {
            assert!(left.tags().await.unwrap().is_empty(), "tagged too early, at {n}");
        }
        assert_eq!(done(&[&from, &to]).await["decision"], "copied", "after a death at {n}");
        assert_eq!(all(&source).await, all(&Layout::open(&folder).await.unwrap()).await, "after a death at {n}");
        // What the dead one left half-written is cleared away.
        let names = std::fs::read_dir(folder.join("blobs/sha256")).unwrap();
        let left: Vec<_> =
            names.filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with('.')).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

async fn through_a_real_registry(host: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (source, layout) = story(dir.path(), "build").await;
    let v1 = format!("{source}:v1");
    let (dev, prod) = (format!("{host}/dev/app"), format!("{host}/prod/app"));
    let said = done(&[&v1, &dev]).await;
    assert_eq!((said["evidence"].as_array().unwrap().len(), &said["blobs_verified"]), (5, &"read-back".into()));
    assert_eq!(done(&[&format!("{dev}:v1"), &prod]).await["digest"], said["digest"]);
    assert_eq!(all(&layout).await, all(&place(host, "prod/app")).await);
    assert_eq!(done(&[&format!("{dev}:v1"), &prod]).await["blobs_copied"], 0);
    for (name, args) in
        [("oras", vec!["discover", "--plain-http", "--format=json"]), ("crane", vec!["digest", "--insecure"])]
    {
        let Some(program) = peers::peer(name) else { continue };
        let out = Command::new(program).args(args).arg(format!("{prod}:v1")).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success() && text.contains(said["digest"].as_str().unwrap()), "{name}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_registry_and_what_its_clients_see() {
    let Some(server) = peers::docker_registry().await else { return };
    through_a_real_registry(&server.host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_registry_with_the_referrers_api_and_what_its_clients_see() {
    let Some(server) = peers::referrers_registry() else { return };
    through_a_real_registry(&server.host).await;
    // All of it by the API: no tag stands in for it.
    let tags = place(&server.host, "prod/app").tags().await.unwrap();
    let sidecar = |tag: &Tag| ["sig", "att", "sbom"].iter().any(|kind| tag.as_str().ends_with(kind));
    assert!(tags.iter().all(|tag| *tag == self::tag() || sidecar(tag)), "{tags:?}");
}
