//! Descriptors, image manifests and indexes (OCI image specification 1.1, and Docker's schema 2, which is the same by other names).

use std::collections::BTreeMap;

use model::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::{Error, limits};

/// Media type of an image manifest.
pub const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of the empty configuration that artifacts carry.
pub const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";
/// Its bytes.
pub const EMPTY_CONFIG_BYTES: &[u8] = b"{}";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// What is asked for in `Accept`.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Names bytes: their type, digest and length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Their type.
    pub media_type: String,
    /// Their digest.
    pub digest: Digest,
    /// Their length.
    pub size: u64,
    /// What an artifact is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// For which platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Hints: they are not signed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What else stands there; kept when an index is written again.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// An operating system and a processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`.
    pub architecture: String,
    /// `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// `os.version` and what else stands there.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A manifest, parsed. Its bytes stay what counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Its media type.
    pub media_type: String,
    /// What it is about, when it is evidence.
    pub subject: Option<Descriptor>,
    /// What it is, when it is an artifact.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// What it is made of.
    pub contents: Contents,
}

/// What a manifest is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Contents {
    /// An image or an artifact.
    Image {
        /// Its configuration.
        config: Box<Descriptor>,
        /// Its layers.
        layers: Vec<Descriptor>,
    },
    /// An index of manifests.
    Index(Vec<Descriptor>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The SHA-256 digest of bytes.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_sha256(&Sha256::digest(bytes).into())
}

impl Descriptor {
    /// Of these bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, digest_of(bytes), bytes.len() as u64)
    }

    /// With nothing but the three necessary fields.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            artifact_type: None,
            platform: None,
            annotations: BTreeMap::new(),
            rest: Map::new(),
        }
    }

    /// The three necessary fields alone.
    pub fn bare(&self) -> Self {
        Self::new(&self.media_type, self.digest.clone(), self.size)
    }

    /// True for the types of manifests.
    pub fn is_manifest(&self) -> bool {
        matches!(self.media_type.as_str(), IMAGE_MANIFEST | INDEX | DOCKER_MANIFEST | DOCKER_LIST)
    }
}

impl std::str::FromStr for Platform {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(os), Some(architecture), variant, None) if !os.is_empty() && !architecture.is_empty() => {
                Ok(Self { os, architecture, variant, rest: Map::new() })
            }
            _ => Err("OS/ARCHITECTURE[/VARIANT], like linux/amd64".to_owned()),
        }
    }
}
impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}
impl Platform {
    /// Whether a child of this platform is meant by `wanted`; a variant that is not asked for does not matter.
    pub fn is(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none() || self.variant == wanted.variant)
    }
}

impl Manifest {
    /// Reads a manifest that came as `media_type`.
    ///
    /// What one reader takes for an image and another for an index is refused: its parts would be checked by one and run by the other.
    pub fn parse(media_type: &str, bytes: &[u8], digest: &Digest) -> Result<Self, Error> {
        let name = || format!("the manifest {digest}");
        if bytes.len() as u64 > limits::MANIFEST_BYTES {
            return Err(Error::limit(name(), format!("{} MiB", limits::MANIFEST_BYTES >> 20)));
        }
        let raw: Raw = serde_json::from_slice(bytes).map_err(|e| Error::malformed(name(), e.to_string()))?;
        let no = |why: &str| Err(Error::malformed(name(), why));
        if raw.schema_version != 2 {
            return no("its schemaVersion is not 2 (schema 1 was given up years ago)");
        }
        if let Some(inner) = &raw.media_type
            && inner != media_type
        {
            return no(&format!("it came as {media_type} and calls itself {inner}"));
        }
        let contents = match (media_type, raw.config, raw.layers, raw.manifests) {
            (IMAGE_MANIFEST | DOCKER_MANIFEST, Some(config), Some(layers), None) => {
                Contents::Image { config: Box::new(config), layers }
            }
            (INDEX | DOCKER_LIST, None, None, Some(manifests)) => Contents::Index(manifests),
            (IMAGE_MANIFEST | DOCKER_MANIFEST, ..) => {
                return no("an image manifest has config and layers, and no manifests");
            }
            (INDEX | DOCKER_LIST, ..) => return no("an index has manifests, and neither config nor layers"),
            (other, ..) => return no(&format!("{other:?} is not a type of manifest that is understood")),
        };
        let manifest = Self {
            media_type: media_type.to_owned(),
            subject: raw.subject,
            artifact_type: raw.artifact_type,
            annotations: raw.annotations,
            contents,
        };
        if manifest.blobs().count() + manifest.children().len() > limits::ENTRIES {
            return Err(Error::limit(format!("the number of parts of {digest}"), limits::ENTRIES.to_string()));
        }
        if let Some(large) = manifest.blobs().find(|blob| blob.size > limits::BLOB_BYTES) {
            return Err(Error::limit(
                format!("the blob {}", large.digest),
                format!("{} GiB", limits::BLOB_BYTES >> 30),
            ));
        }
        Ok(manifest)
    }

    /// The blobs it needs.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        let (config, layers) = match &self.contents {
            Contents::Image { config, layers } => (Some(&**config), layers.as_slice()),
            Contents::Index(_) => (None, [].as_slice()),
        };
        config.into_iter().chain(layers)
    }

    /// The manifests it needs.
    pub fn children(&self) -> &[Descriptor] {
        match &self.contents {
            Contents::Index(manifests) => manifests,
            Contents::Image { .. } => &[],
        }
    }

    /// What it is: its artifact type, or, as the specification says for want of one, the type of its configuration.
    pub fn kind(&self) -> &str {
        match (&self.artifact_type, &self.contents) {
            (Some(kind), _) => kind,
            (None, Contents::Image { config, .. }) => &config.media_type,
            (None, Contents::Index(_)) => &self.media_type,
        }
    }

    /// How it stands in a list of referrers.
    pub fn as_referrer(&self, own: &Descriptor) -> Descriptor {
        let mut listed = own.bare();
        listed.artifact_type = Some(self.kind().to_owned());
        listed.annotations = self.annotations.clone();
        listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(media_type: &str, text: &str, part: &str) {
        let digest = digest_of(text.as_bytes());
        match Manifest::parse(media_type, text.as_bytes(), &digest) {
            Ok(_) => assert_eq!(part, "", "{text}"),
            Err(error) => assert!(!part.is_empty() && error.to_string().contains(part), "{text}: {error}"),
        }
    }

    #[test]
    fn manifests_are_one_thing_or_refused() {
        let d = format!(r#"{{"mediaType":"x","digest":"{}","size":1}}"#, digest_of(b"x"));
        check(IMAGE_MANIFEST, &format!(r#"{{"schemaVersion":2,"config":{d},"layers":[{d}]}}"#), "");
        check(INDEX, &format!(r#"{{"schemaVersion":2,"manifests":[{d}]}}"#), "");
        check(
            IMAGE_MANIFEST,
            &format!(r#"{{"schemaVersion":2,"config":{d},"layers":[{d}],"manifests":[]}}"#),
            "no manifests",
        );
        check(INDEX, &format!(r#"{{"schemaVersion":2,"manifests":[{d}],"layers":[]}}"#), "neither config");
        check(
            INDEX,
            &format!(r#"{{"schemaVersion":2,"mediaType":"{IMAGE_MANIFEST}","manifests":[{d}]}}"#),
            "calls itself",
        );
        check(INDEX, r#"{"schemaVersion":1,"manifests":[]}"#, "schema 1");
        check("text/html", r#"{"schemaVersion":2,"manifests":[]}"#, "understood");
        check(INDEX, r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"sha512:00","size":1}]}"#, "sha256");
        check(INDEX, r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","size":-1}]}"#, "cannot be used");
        check(INDEX, "not json", "cannot be used");
        let many = vec![d.as_str(); limits::ENTRIES + 1].join(",");
        check(INDEX, &format!(r#"{{"schemaVersion":2,"manifests":[{many}]}}"#), "limit");
    }

    #[test]
    fn descriptors_keep_what_they_do_not_know() {
        let text = format!(r#"{{"mediaType":"x","digest":"{}","size":1,"urls":["u"],"data":"AA=="}}"#, digest_of(b"x"));
        let read: Descriptor = serde_json::from_str(&text).unwrap();
        let written = serde_json::to_value(&read).unwrap();
        assert_eq!(written["urls"][0], "u");
        assert_eq!(written["data"], "AA==");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = Manifest::parse(INDEX, &bytes, &digest_of(&bytes));
        }
    }
}
