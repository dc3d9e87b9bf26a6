//! What every [`Place`] must do, run against each of them: layouts, the registry that misbehaves, real ones.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use crate::{
    At, Descriptor, EMPTY_CONFIG, EMPTY_CONFIG_BYTES, Error, Fetched, Held, IMAGE_MANIFEST, INDEX, Place, Tag,
    digest_of, graph::referrers_of, read_whole,
};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The type of the evidence in these tests.
pub const EVIDENCE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A small image, written by digest: its layers are `seed` and a number. Not tagged.
pub async fn image(place: &dyn Place, seed: &str, layers: usize) -> Fetched {
    let config = json!({ "architecture": "amd64", "os": "linux", "seed": seed }).to_string();
    let config = put(place, CONFIG, config.into()).await;
    let mut written = Vec::new();
    for number in 0..layers {
        let bytes = format!("{seed} layer {number} ").repeat(500);
        written.push(put(place, LAYER, bytes.into()).await);
    }
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": config, "layers": written }).to_string();
    let manifest = Fetched::new(IMAGE_MANIFEST, manifest);
    place.put_manifest(&manifest).await.unwrap();
    manifest
}

/// A piece of evidence about a manifest, as cosign attaches it.
pub async fn evidence(place: &dyn Place, subject: &Fetched, artifact_type: &str, text: &str) -> Fetched {
    let config = put(place, EMPTY_CONFIG, EMPTY_CONFIG_BYTES.into()).await;
    let layer = put(place, artifact_type, text.to_owned().into()).await;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "artifactType": artifact_type, "config": config, "layers": [layer],
        "subject": subject.descriptor.bare(), "annotations": { "dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1" },
    });
    let manifest = Fetched::new(IMAGE_MANIFEST, manifest.to_string());
    place.put_manifest(&manifest).await.unwrap();
    manifest
}

/// An index of two platforms, with evidence about itself, one child, and the evidence; tagged. Returns the index.
pub async fn whole_story(place: &dyn Place, seed: &str, tag: &str) -> Fetched {
    let amd = image(place, &format!("{seed} amd64"), 3).await;
    let arm = image(place, &format!("{seed} arm64"), 2).await;
    let child = |image: &Fetched, architecture: &str| {
        let mut d = serde_json::to_value(image.descriptor.bare()).unwrap();
        d["platform"] = json!({ "os": "linux", "architecture": architecture });
        d
    };
    let index =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [child(&amd, "amd64"), child(&arm, "arm64")] });
    let index = Fetched::new(INDEX, index.to_string());
    place.put_manifest(&index).await.unwrap();
    let signature = evidence(place, &index, EVIDENCE, &format!("{seed} signature")).await;
    evidence(place, &index, "application/vnd.cyclonedx+json", &format!("{seed} sbom")).await;
    evidence(place, &amd, EVIDENCE, &format!("{seed} provenance of amd64")).await;
    evidence(place, &signature, EVIDENCE, &format!("{seed} countersignature")).await;
    let sidecar = image(place, &format!("{seed} old signature"), 1).await;
    place.tag(&Tag::of_sidecar(&index.descriptor.digest, "sig"), &sidecar).await.unwrap();
    place.tag(&tag.parse().unwrap(), &index).await.unwrap();
    index
}

async fn put(place: &dyn Place, media_type: &str, bytes: Bytes) -> Descriptor {
    let descriptor = Descriptor::of(media_type, &bytes);
    place.put_blob(&descriptor, &Held(bytes)).await.unwrap();
    descriptor
}

/// The whole suite. `place` is empty.
pub async fn run(place: Arc<dyn Place>) {
    absent(&*place).await;
    blobs(&*place).await;
    manifests(&*place).await;
    tags(&*place).await;
    referrers(&*place).await;
    concurrent(&place).await;
}

async fn absent(place: &dyn Place) {
    let nothing = Descriptor::of(LAYER, b"nothing");
    let tag: Tag = "nothing".parse().unwrap();
    assert!(!place.has_blob(&nothing).await.unwrap());
    for missing in [
        place.manifest(&At::Digest(nothing.digest.clone())).await.err(),
        place.manifest(&At::Tag(tag)).await.err(),
        read_whole(place, &nothing).await.err(),
    ] {
        assert!(missing.as_ref().is_some_and(Error::is_not_found), "{missing:?}");
    }
    assert_eq!(place.referrers(&nothing.digest, None).await.unwrap(), []);
}

async fn blobs(place: &dyn Place) {
    for bytes in [Bytes::new(), Bytes::from_static(b"x"), vec![7; 3_000_000].into()] {
        let blob = put(place, LAYER, bytes.clone()).await;
        assert!(place.has_blob(&blob).await.unwrap());
        assert_eq!(read_whole(place, &blob).await.unwrap(), bytes);
        // Again: nothing happens.
        place.put_blob(&blob, &Held(bytes)).await.unwrap();
    }
    // Bytes that are not what they are called are not kept, whether too short, too long, or other ones.
    for (named, given) in [("one", "two"), ("longer", "short"), ("short", "longer")] {
        let blob = Descriptor::of(LAYER, format!("blobs {named}").as_bytes());
        let given = Bytes::from(format!("blobs {given}"));
        let refused = place.put_blob(&blob, &Held(given)).await.unwrap_err();
        assert!(matches!(refused, Error::Differs { .. } | Error::Length { .. }), "{refused:?}");
        assert!(!place.has_blob(&blob).await.unwrap());
    }
}

async fn manifests(place: &dyn Place) {
    let written = image(place, "manifests", 2).await;
    let digest = At::Digest(written.descriptor.digest.clone());
    assert_eq!(place.manifest(&digest).await.unwrap(), written);
    // White space and the order of fields are part of a manifest.
    let text = String::from_utf8(written.bytes.to_vec()).unwrap();
    let spaced = Fetched::new(IMAGE_MANIFEST, text.replacen('{', "{\n\t ", 1));
    place.put_manifest(&spaced).await.unwrap();
    assert_eq!(place.manifest(&At::Digest(spaced.descriptor.digest.clone())).await.unwrap().bytes, spaced.bytes);
    place.put_manifest(&spaced).await.unwrap();
    let broken = Fetched::new(IMAGE_MANIFEST, "{}");
    assert!(matches!(place.put_manifest(&broken).await.unwrap_err(), Error::Malformed { .. }));
}

async fn tags(place: &dyn Place) {
    let (one, two) = (image(place, "tags 1", 1).await, image(place, "tags 2", 1).await);
    let tag: Tag = "moving_Tag-1.0".parse().unwrap();
    for image in [&one, &two, &two] {
        place.tag(&tag, image).await.unwrap();
        assert_eq!(place.manifest(&At::Tag(tag.clone())).await.unwrap(), *image);
    }
    assert!(place.tags().await.unwrap().contains(&tag));
}

async fn referrers(place: &dyn Place) {
    let subject = image(place, "subject", 1).await;
    let other = image(place, "another subject", 1).await;
    let mut written = Vec::new();
    for number in 0..7 {
        let kind = if number % 2 == 0 { EVIDENCE } else { "application/vnd.cyclonedx+json" };
        written.push(evidence(place, &subject, kind, &format!("evidence {number}")).await.descriptor.digest);
    }
    evidence(place, &other, EVIDENCE, "about the other").await;
    let digests = |found: Vec<(Fetched, crate::Manifest)>| {
        let mut digests: Vec<_> = found.into_iter().map(|(f, _)| f.descriptor.digest).collect();
        digests.sort();
        digests
    };
    let (found, notes) = referrers_of(place, &subject.descriptor.digest, None).await.unwrap();
    assert_eq!(notes, Vec::<String>::new());
    let mut all = written.clone();
    all.sort();
    assert_eq!(digests(found), all);
    let (found, _) = referrers_of(place, &subject.descriptor.digest, Some(EVIDENCE)).await.unwrap();
    let mut some: Vec<_> = written.iter().step_by(2).cloned().collect();
    some.sort();
    assert_eq!(digests(found), some);
    let one = place.referrers(&other.descriptor.digest, None).await.unwrap();
    assert_eq!(one.len(), 1);
    // A list need not say of what type it is, but not of another one.
    assert!(one[0].artifact_type.as_deref().is_none_or(|kind| kind == EVIDENCE), "{one:?}");
}

async fn concurrent(place: &Arc<dyn Place>) {
    let subject = image(&**place, "of many writers", 1).await;
    let tasks: Vec<_> = (0..12)
        .map(|number| {
            let (place, subject) = (Arc::clone(place), subject.clone());
            tokio::spawn(async move { evidence(&*place, &subject, EVIDENCE, &format!("writer {number}")).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (found, _) = referrers_of(&**place, &subject.descriptor.digest, None).await.unwrap();
    assert_eq!(found.len(), 12, "none is lost");
    assert_eq!(digest_of(&subject.bytes), subject.descriptor.digest);
}
