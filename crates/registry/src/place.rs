//! The port: a place that holds images.

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use model::Digest;
use sha2::{Digest as _, Sha256};

use crate::{At, Descriptor, Error, Manifest, Tag, digest_of, limits};

/// Bytes as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// A manifest as it was received; its digest was computed from the bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// Type, digest and length.
    pub descriptor: Descriptor,
    /// The bytes.
    pub bytes: Bytes,
}

impl Fetched {
    /// These bytes.
    pub fn new(media_type: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { descriptor: Descriptor::of(media_type, &bytes), bytes }
    }

    /// Its parts.
    pub fn parse(&self) -> Result<Manifest, Error> {
        Manifest::parse(&self.descriptor.media_type, &self.bytes, &self.descriptor.digest)
    }
}

/// A repository that blobs can be taken over from within one registry, without copying them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The registry's host.
    pub host: String,
    /// The repository.
    pub repository: String,
}

/// Bytes that can be read from their beginning again, when a try to write them was in vain.
#[async_trait]
pub trait Source: Send + Sync {
    /// From the beginning.
    async fn open(&self) -> Result<ByteStream, Error>;
    /// Where they lie, if a registry.
    fn origin(&self) -> Option<Origin> {
        None
    }
}

/// Bytes in memory.
#[derive(Debug, Clone)]
pub struct Held(
    /// The bytes.
    pub Bytes,
);

#[async_trait]
impl Source for Held {
    async fn open(&self) -> Result<ByteStream, Error> {
        let bytes = self.0.clone();
        Ok(Box::pin(futures::stream::once(async move { Ok(bytes) })))
    }
}

/// A place that holds images: one repository, or one layout.
///
/// # Contract (held by the conformance suite)
/// - What is returned under a digest was hashed: other bytes are [`Error::Differs`], never returned.
/// - [`Error::NotFound`] only when the place itself says that it is not there.
/// - `put_*` are idempotent. A manifest that was put is what `manifest` returns, byte for byte.
/// - A manifest with a `subject` that was put is listed by `referrers` of that subject from then on, also when others put at the same time.
#[async_trait]
pub trait Place: Send + Sync {
    /// For people: `oci:images`, `registry.example.com/app`.
    fn name(&self) -> String;
    /// Where blobs can be taken over from, if a registry.
    fn origin(&self) -> Option<Origin> {
        None
    }
    /// A manifest, by tag or digest.
    async fn manifest(&self, at: &At) -> Result<Fetched, Error>;
    /// A blob's bytes, unchecked: read them through [`checked`].
    async fn blob(&self, blob: &Descriptor) -> Result<ByteStream, Error>;
    /// Whether the blob is there in its length.
    async fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error>;
    /// Writes a blob. It is there whole and right, or not at all.
    async fn put_blob(&self, blob: &Descriptor, source: &dyn Source) -> Result<(), Error>;
    /// Writes a manifest, by its digest; with a subject it is listed as that one's referrer.
    async fn put_manifest(&self, manifest: &Fetched) -> Result<(), Error>;
    /// Lets a tag name a manifest that is there.
    async fn tag(&self, tag: &Tag, manifest: &Fetched) -> Result<(), Error>;
    /// Candidates for the referrers of a manifest, filtered here by type whatever the place filters. They are hints until each was read
    /// and names its subject: [`crate::graph::referrers_of`] does that.
    async fn referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Result<Vec<Descriptor>, Error>;
    /// The tags.
    async fn tags(&self) -> Result<Vec<Tag>, Error>;
}

/// Bytes on their way, hashed so far.
struct Passing {
    stream: ByteStream,
    hash: Sha256,
    seen: u64,
    blob: Descriptor,
    place: String,
}

/// The same bytes, hashed as they pass: the stream ends with an error when they are not those of the descriptor.
pub fn checked(stream: ByteStream, blob: &Descriptor, place: &str) -> ByteStream {
    let state = Passing { stream, hash: Sha256::new(), seen: 0, blob: blob.bare(), place: place.to_owned() };
    Box::pin(futures::stream::try_unfold(state, |mut s| async move {
        match s.stream.next().await {
            Some(chunk) => {
                let chunk = chunk?;
                s.seen += chunk.len() as u64;
                if s.seen > s.blob.size {
                    return Err(s.length());
                }
                s.hash.update(&chunk);
                if s.seen == s.blob.size {
                    // Before the last piece goes on: an HTTP client that has sent the announced length asks for no more.
                    s.same()?;
                }
                Ok(Some((chunk, s)))
            }
            None => {
                if s.seen != s.blob.size {
                    return Err(s.length());
                }
                s.same()?;
                Ok(None)
            }
        }
    }))
}

impl Passing {
    fn same(&self) -> Result<(), Error> {
        let found = Digest::from_sha256(&self.hash.clone().finalize().into());
        if found == self.blob.digest {
            return Ok(());
        }
        Err(Error::Differs { place: self.place.clone(), expected: self.blob.digest.clone(), found })
    }

    fn length(&self) -> Error {
        Error::Length {
            place: self.place.clone(),
            digest: self.blob.digest.clone(),
            expected: self.blob.size,
            found: self.seen,
        }
    }
}

/// A small blob whole, checked.
pub async fn read_whole(place: &dyn Place, blob: &Descriptor) -> Result<Bytes, Error> {
    if blob.size > limits::SMALL_BLOB_BYTES {
        return Err(Error::limit(
            format!("the blob {}", blob.digest),
            format!("{} MiB", limits::SMALL_BLOB_BYTES >> 20),
        ));
    }
    let mut stream = checked(place.blob(blob).await?, blob, &place.name());
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes.into())
}

/// A manifest's bytes, held against the digest that was asked for.
pub(crate) fn expect(place: &str, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
    let found = digest_of(bytes);
    if found == *digest {
        Ok(())
    } else {
        Err(Error::Differs { place: place.to_owned(), expected: digest.clone(), found })
    }
}
