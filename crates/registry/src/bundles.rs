//! Sigstore bundles beside an image, as cosign 3 writes and finds them: a manifest whose `subject` is the image, with the empty
//! configuration and one layer, the bundle. What its annotations say is not signed: they help to choose, never to decide.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::Digest;
use serde_json::json;

use crate::{
    Contents, Descriptor, EMPTY_CONFIG, EMPTY_CONFIG_BYTES, Error, Fetched, Held, IMAGE_MANIFEST, Manifest, Place,
    graph::referrers_of, limits, read_whole,
};

/// Artifact type and layer type of a bundle of the form v0.3.
pub const BUNDLE_V03: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// With it the types of bundles of every form begin.
const ANY_BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
/// Annotation: what was signed, `dsse-envelope` or `message-signature`.
const CONTENT: &str = "dev.sigstore.bundle.content";
/// Annotation: the statement's predicate type.
const PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";
/// Annotation: when the manifest was made.
const CREATED: &str = "org.opencontainers.image.created";

/// What the manifest says of its bundle, for those who choose by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hints {
    /// `dsse-envelope` or `message-signature`.
    pub content: &'static str,
    /// The statement's predicate type.
    pub predicate_type: Option<String>,
    /// When it was made, RFC 3339.
    pub created: String,
}

/// What was attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The manifest that carries the bundle.
    pub manifest: Digest,
    /// True: the same bundle was there already, and nothing was written.
    pub was_there: bool,
}

/// Evidence that is there: a manifest that names the image as its subject.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The manifest.
    pub manifest: Digest,
    /// Its artifact type.
    pub kind: String,
    /// What its annotation says that it states; not signed.
    pub said_type: Option<String>,
    /// The bundle; `None` when it is evidence of another kind.
    pub bundle: Option<Descriptor>,
}

/// Puts a bundle beside an image. The same bundle is put there once.
pub async fn attach(
    place: &dyn Place,
    subject: &Descriptor,
    bundle: impl Into<Bytes>,
    hints: &Hints,
) -> Result<Attached, Error> {
    let bundle: Bytes = bundle.into();
    let layer = Descriptor::of(BUNDLE_V03, &bundle);
    if layer.size > limits::SMALL_BLOB_BYTES {
        return Err(Error::limit("the bundle", format!("{} MiB", limits::SMALL_BLOB_BYTES >> 20)));
    }
    let (there, _) = referrers_of(place, &subject.digest, Some(BUNDLE_V03)).await?;
    let same = |manifest: &Manifest| manifest.blobs().any(|blob| blob.digest == layer.digest);
    if let Some((fetched, _)) = there.iter().find(|(_, manifest)| same(manifest)) {
        return Ok(Attached { manifest: fetched.descriptor.digest.clone(), was_there: true });
    }
    let config = Descriptor::of(EMPTY_CONFIG, EMPTY_CONFIG_BYTES);
    place.put_blob(&config, &Held(Bytes::from_static(EMPTY_CONFIG_BYTES))).await?;
    place.put_blob(&layer, &Held(bundle)).await?;
    let mut annotations = BTreeMap::from([(CONTENT, hints.content.to_owned()), (CREATED, hints.created.clone())]);
    if let Some(predicate_type) = &hints.predicate_type {
        annotations.insert(PREDICATE_TYPE, predicate_type.clone());
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "artifactType": BUNDLE_V03,
        "config": config,
        "layers": [layer],
        "subject": subject.bare(),
        "annotations": annotations,
    });
    let bytes = serde_json::to_vec(&manifest).map_err(|e| Error::malformed("the manifest", e.to_string()))?;
    let manifest = Fetched::new(IMAGE_MANIFEST, bytes);
    place.put_manifest(&manifest).await?;
    Ok(Attached { manifest: manifest.descriptor.digest, was_there: false })
}

/// All evidence beside an image, bundles and others, each read and hashed; and notes on what is listed and is none.
pub async fn evidence(place: &dyn Place, subject: &Digest) -> Result<(Vec<Evidence>, Vec<String>), Error> {
    let (found, notes) = referrers_of(place, subject, None).await?;
    let all = found.into_iter().map(|(fetched, manifest)| {
        let layers = match &manifest.contents {
            Contents::Image { layers, .. } => layers.as_slice(),
            Contents::Index(_) => &[],
        };
        let bundle = match layers {
            [one] if manifest.kind().starts_with(ANY_BUNDLE) => Some(one.bare()),
            _ => None,
        };
        Evidence {
            manifest: fetched.descriptor.digest,
            kind: manifest.kind().to_owned(),
            said_type: manifest.annotations.get(PREDICATE_TYPE).cloned(),
            bundle,
        }
    });
    Ok((all.collect(), notes))
}

/// The bytes of a bundle, hashed.
pub async fn read(place: &dyn Place, bundle: &Descriptor) -> Result<Bytes, Error> {
    read_whole(place, bundle).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Layout, image};

    #[tokio::test]
    async fn a_bundle_is_attached_once_and_found() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        std::fs::write(&program, "program").unwrap();
        let layout = Layout::create(dir.path().join("images")).await.unwrap();
        let recipe = image::Recipe { program, path: "app/program".into(), ..image::Recipe::default() };
        let built = image::build(&layout, &recipe, &"v1".parse().unwrap()).await.unwrap();
        let subject = Descriptor::new(IMAGE_MANIFEST, built.digest.clone(), built.size);
        let hints = |created: &str| Hints {
            content: "dsse-envelope",
            predicate_type: Some("https://slsa.dev/provenance/v1".into()),
            created: created.into(),
        };
        let first = attach(&layout, &subject, "{\"bundle\":1}", &hints("2026-01-01T00:00:00Z")).await.unwrap();
        let again = attach(&layout, &subject, "{\"bundle\":1}", &hints("2026-01-02T00:00:00Z")).await.unwrap();
        assert!(!first.was_there && again.was_there);
        assert_eq!(first.manifest, again.manifest);
        attach(&layout, &subject, "{\"bundle\":2}", &hints("2026-01-01T00:00:00Z")).await.unwrap();
        let (found, notes) = evidence(&layout, &built.digest).await.unwrap();
        assert_eq!((found.len(), notes.len()), (2, 0));
        let one = found.iter().find(|e| e.manifest == first.manifest).unwrap();
        assert_eq!(one.said_type.as_deref(), Some("https://slsa.dev/provenance/v1"));
        let bytes = read(&layout, one.bundle.as_ref().unwrap()).await.unwrap();
        assert_eq!(bytes, "{\"bundle\":1}");
    }
}
