//! The conformance suite against every kind of place, and a registry's misbehaviour, one kind at a time.

use std::sync::Arc;

use registry::{
    At, Credentials, Error, Fetched, IMAGE_MANIFEST, Layout, Place, Registry, RegistryOptions, Tag,
    conformance::{self, EVIDENCE},
    graph::referrers_of,
    hostile::{Faults, Hostile},
};
use serde_json::json;

mod common;

async fn hostile(faults: Faults) -> (Hostile, Arc<Registry>) {
    let server = Hostile::start(faults).await;
    let place = Registry::new(&server.host(), "shop/checkout", RegistryOptions::default()).unwrap();
    (server, Arc::new(place))
}

#[tokio::test]
async fn a_layout_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conformance::run(Arc::new(Layout::create(dir.path().join("images")).await.unwrap())).await;
    let left: Vec<_> = std::fs::read_dir(dir.path().join("images/blobs/sha256"))
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_registry_with_the_referrers_api_conforms() {
    let faults = Faults {
        page_size: Some(2),
        busy_every: Some(7),
        retry_after: Some("0".into()),
        no_location: true,
        ..Faults::default()
    };
    let (server, place) = hostile(faults).await;
    conformance::run(place).await;
    assert!(
        !server.log().iter().any(|line| line.contains("manifests/sha256-") && line.starts_with("PUT")),
        "no tag beside the API"
    );
}

#[tokio::test]
async fn a_registry_without_the_referrers_api_conforms() {
    let faults = Faults {
        no_referrers_api: true,
        conditional: true,
        busy_every: Some(11),
        retry_after: Some("0".into()),
        ..Faults::default()
    };
    let (_server, place) = hostile(faults).await;
    conformance::run(place).await;
}

#[tokio::test]
async fn a_registry_that_does_not_say_that_it_has_the_referrers_api_conforms() {
    let (server, place) = hostile(Faults { quiet_referrers_api: true, page_size: Some(2), ..Faults::default() }).await;
    conformance::run(place).await;
    let tags = server.log().into_iter().filter(|line| line.contains("manifests/sha256-")).collect::<Vec<_>>();
    assert!(!tags.iter().any(|line| line.starts_with("PUT")), "no tag beside the API: {tags:?}");
}

/// Whoever asks before anything is there does not take that for a registry without the API.
#[tokio::test]
async fn a_repository_that_is_not_there_yet_has_its_evidence_later() {
    for quiet_referrers_api in [true, false] {
        let (server, early) = hostile(Faults { quiet_referrers_api, ..Faults::default() }).await;
        let nothing = registry::digest_of(b"nothing");
        assert_eq!(early.referrers(&nothing, None).await.unwrap(), []);
        let other = Registry::new(&server.host(), "shop/checkout", RegistryOptions::default()).unwrap();
        let subject = conformance::image(&other, "subject", 1).await;
        conformance::evidence(&other, &subject, EVIDENCE, "x").await;
        let found = early.referrers(&subject.descriptor.digest, Some(EVIDENCE)).await.unwrap();
        assert_eq!(found.len(), 1, "quiet: {quiet_referrers_api}");
    }
}

#[tokio::test]
async fn a_registry_that_wants_a_token_conforms() {
    let login = Some(("ann".to_owned(), "secret".to_owned()));
    let server = Hostile::start(Faults { login, ..Faults::default() }).await;
    let with = |credentials| {
        Arc::new(Registry::new(&server.host(), "a", RegistryOptions { credentials, plain_http: false }).unwrap())
    };
    conformance::run(with(Credentials::password("ann", "secret"))).await;
    for credentials in [Credentials::password("ann", "wrong"), Credentials::default()] {
        let error = with(credentials).tags().await.unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{error}");
        assert!(!error.is_refusal() && !error.to_string().contains("wrong"), "{error}");
    }
}

#[tokio::test]
async fn debians_docker_registry_conforms() {
    let Some(server) = common::docker_registry().await else { return };
    let place = Registry::new(&server.host, "conformance", RegistryOptions::default()).unwrap();
    conformance::run(Arc::new(place)).await;
}

#[tokio::test]
async fn go_containerregistrys_registry_conforms() {
    let Some(server) = common::referrers_registry() else { return };
    let place = Arc::new(Registry::new(&server.host, "conformance", RegistryOptions::default()).unwrap());
    conformance::run(place.clone()).await;
    let tags = place.tags().await.unwrap();
    assert!(!tags.iter().any(|tag| tag.as_str().starts_with("sha256-")), "no tag beside the API: {tags:?}");
}

/// Writers in other processes, which share no lock with each other: the condition of the write is what saves their entries.
#[tokio::test]
async fn writers_that_know_nothing_of_each_other_lose_nothing() {
    let (server, place) = hostile(Faults { no_referrers_api: true, conditional: true, ..Faults::default() }).await;
    let subject = conformance::image(&*place, "subject", 1).await;
    let tasks: Vec<_> = (0..8)
        .map(|number| {
            let own = Registry::new(&server.host(), "shop/checkout", RegistryOptions::default()).unwrap();
            let subject = subject.clone();
            tokio::spawn(async move { conformance::evidence(&own, &subject, EVIDENCE, &format!("{number}")).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(place.referrers(&subject.descriptor.digest, None).await.unwrap().len(), 8);
}

#[tokio::test]
async fn no_evidence_is_told_from_no_answer() {
    let (server, place) = hostile(Faults::default()).await;
    let subject = conformance::image(&*place, "subject", 1).await;
    conformance::evidence(&*place, &subject, EVIDENCE, "x").await;
    let digest = &subject.descriptor.digest;
    let ask = |change: fn(&mut Faults)| {
        server.change(|f| *f = Faults::default());
        server.change(change);
        place.referrers(digest, None)
    };
    let check =
        |error: Error, part: &str| assert!(error.to_string().contains(part) && !error.is_not_found(), "{error}");
    check(ask(|f| f.referrers_status = Some(403)).await.unwrap_err(), "does not allow");
    check(ask(|f| f.referrers_status = Some(401)).await.unwrap_err(), "does not allow");
    check(ask(|f| f.referrers_status = Some(400)).await.unwrap_err(), "status 400");
    check(ask(|f| f.html_referrers = true).await.unwrap_err(), "text/html");
    check(ask(|f| f.endless_pages = true).await.unwrap_err(), "circle");
    check(ask(|f| f.foreign_link = Some("http://169.254.169.254/latest".into())).await.unwrap_err(), "another host");
    let always = ask(|f| (f.always_busy, f.retry_after) = (true, Some("0".into()))).await.unwrap_err();
    check(always, "busy");
    let long = ask(|f| (f.always_busy, f.retry_after) = (true, Some("86400".into()))).await.unwrap_err();
    assert!(matches!(long, Error::Busy { attempts: 1, .. }), "a day is not waited for: {long}");
    assert_eq!(ask(|_| {}).await.unwrap().len(), 1, "and then it is there");
}

#[tokio::test]
async fn lists_are_hints() {
    let (server, place) = hostile(Faults::default()).await;
    let subject = conformance::image(&*place, "subject", 1).await;
    let other = conformance::image(&*place, "other", 1).await;
    let truly = conformance::evidence(&*place, &subject, EVIDENCE, "x").await;
    let about_other = conformance::evidence(&*place, &other, EVIDENCE, "y").await;
    let gone = registry::digest_of(b"gone");
    server.change(|f| {
        f.extra_referrers = vec![
            json!(about_other.descriptor),
            json!({ "mediaType": IMAGE_MANIFEST, "digest": gone, "size": 1, "artifactType": EVIDENCE }),
        ];
    });
    let (found, notes) = referrers_of(&*place, &subject.descriptor.digest, None).await.unwrap();
    assert_eq!(found.iter().map(|(f, _)| &f.descriptor.digest).collect::<Vec<_>>(), [&truly.descriptor.digest]);
    assert_eq!(notes.len(), 2);
    assert!(notes.iter().any(|n| n.contains(about_other.descriptor.digest.as_str()) && n.contains("something else")));
    assert!(notes.iter().any(|n| n.contains(gone.as_str()) && n.contains("not there")));
}

#[tokio::test]
async fn a_referrers_tag_that_is_the_image_is_no_list() {
    let faults = Faults { no_referrers_api: true, referrers_tag_is_image: true, ..Faults::default() };
    let (_server, place) = hostile(faults).await;
    let subject = conformance::image(&*place, "subject", 1).await;
    assert_eq!(place.referrers(&subject.descriptor.digest, None).await.unwrap(), []);
}

#[tokio::test]
async fn changed_bytes_are_refused_by_name() {
    let (server, place) = hostile(Faults::default()).await;
    let image = conformance::image(&*place, "image", 1).await;
    place.tag(&"v1".parse().unwrap(), &image).await.unwrap();
    let digest = image.descriptor.digest.clone();
    server.change(|f| f.tamper = Some(digest.clone()));
    for at in [At::Digest(digest.clone()), At::Tag("v1".parse().unwrap())] {
        let error = place.manifest(&at).await.unwrap_err();
        assert!(matches!(&error, Error::Differs { expected, .. } if *expected == digest), "{error}");
        assert!(error.is_refusal());
    }
    let blob = image.parse().unwrap().blobs().nth(1).unwrap().clone();
    server.change(|f| f.tamper = Some(blob.digest.clone()));
    let error = registry::read_whole(&*place, &blob).await.unwrap_err();
    assert!(matches!(&error, Error::Differs { expected, .. } if *expected == blob.digest), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::create(dir.path()).await.unwrap();
    let image = conformance::image(&layout, "image", 1).await;
    let path = dir.path().join("blobs/sha256").join(image.descriptor.digest.hex());
    let text = std::fs::read_to_string(&path).unwrap().replace("linux", "Linux").replace("amd64", "arm64");
    std::fs::write(&path, format!("{text} ")).unwrap();
    let error = layout.manifest(&At::Digest(image.descriptor.digest.clone())).await.unwrap_err();
    assert!(matches!(error, Error::Differs { .. }), "{error}");
}

#[tokio::test]
async fn uploads_without_a_place_to_go_are_said() {
    let (server, place) = hostile(Faults { no_upload_location: true, ..Faults::default() }).await;
    let blob = registry::Descriptor::of("x", b"x");
    let error = place.put_blob(&blob, &registry::Held("x".into())).await.unwrap_err();
    assert!(error.to_string().contains("Location"), "{error}");
    drop(server);
    let error = place.has_blob(&blob).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn layouts_of_others_are_read() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Layout::open(dir.path()).await.unwrap_err().is_not_found());
    std::fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(matches!(Layout::open(dir.path()).await.unwrap_err(), Error::Malformed { .. }));
    std::fs::write(dir.path().join("oci-layout"), "{ \"imageLayoutVersion\": \"1.0.0\" }\n").unwrap();
    let layout = Layout::open(dir.path()).await.unwrap();
    for (text, part) in
        [("", "cannot be used"), ("[]", "cannot be used"), (r#"{"schemaVersion":1,"manifests":[]}"#, "schemaVersion")]
    {
        std::fs::write(dir.path().join("index.json"), text).unwrap();
        let error = layout.tags().await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    std::fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
    std::fs::write(dir.path().join("index.json"), r#"{"schemaVersion":2,"manifests":[],"x":1}"#).unwrap();
    let image = conformance::image(&layout, "a", 1).await;
    assert!(layout.only().await.unwrap_err().is_not_found());
    layout.tag(&"v1".parse().unwrap(), &image).await.unwrap();
    assert_eq!(layout.only().await.unwrap(), At::Tag("v1".parse::<Tag>().unwrap()));
    assert!(
        std::fs::read_to_string(dir.path().join("index.json")).unwrap().contains("\"x\""),
        "what it does not know stays"
    );
    layout.tag(&"v2".parse().unwrap(), &Fetched::new(IMAGE_MANIFEST, image.bytes)).await.unwrap();
    assert!(layout.only().await.unwrap_err().to_string().contains("v1, v2"));
}
