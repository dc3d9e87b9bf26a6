//! OCI image layouts in folders (image specification 1.1, `image-layout.md`).
//!
//! Blobs come whole by a rename, and `index.json` is replaced by a rename under a lock: whoever is killed in the middle leaves a layout
//! that was there before, and some bytes that the next writer of the same blob clears away.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use model::Digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::io::AsyncWriteExt as _;

use crate::{
    At, ByteStream, Descriptor, Error, Fetched, INDEX, Manifest, Place, Source, Tag, checked, limits, place::expect,
};

/// The annotation that makes an entry of `index.json` a tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const INDEX_FILE: &str = "index.json";
const LOCK_FILE: &str = ".index.lock";
const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// A layout in a folder.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexFile {
    schema_version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    manifests: Vec<Descriptor>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Default for IndexFile {
    fn default() -> Self {
        Self { schema_version: 2, media_type: Some(INDEX.to_owned()), manifests: Vec::new(), rest: Map::new() }
    }
}

impl Layout {
    /// The layout that is in this folder.
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let root: PathBuf = root.into();
        let layout = Self { root };
        let marker = layout.root.join("oci-layout");
        let text = match read_limited(&marker, limits::ANSWER_BYTES).await {
            Ok(text) => text,
            Err(Error::NotFound { .. }) => {
                return Err(Error::NotFound {
                    place: layout.name(),
                    what: "oci-layout: it is no image layout".to_owned(),
                });
            }
            Err(other) => return Err(other),
        };
        let version = serde_json::from_slice::<Value>(&text).ok();
        let version = version.as_ref().and_then(|v| v["imageLayoutVersion"].as_str());
        match version {
            Some("1.0.0") => Ok(layout),
            _ => Err(Error::malformed(layout.name(), "its oci-layout does not say imageLayoutVersion 1.0.0")),
        }
    }

    /// The layout in this folder, made when there is none.
    pub async fn create(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let root: PathBuf = root.into();
        match Self::open(&root).await {
            Err(Error::NotFound { .. }) => {}
            done => return done,
        }
        let layout = Self { root };
        let blobs = layout.blobs();
        tokio::fs::create_dir_all(&blobs).await.map_err(|e| disk(&blobs, e))?;
        let _guard = layout.lock().await?;
        if !layout.root.join(INDEX_FILE).exists() {
            layout.write_index(&IndexFile::default()).await?;
        }
        // Last: a folder becomes a layout when all of it is there.
        replace(&layout.root, "oci-layout", MARKER.as_bytes()).await?;
        Ok(layout)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// What tags name.
    pub async fn tagged(&self) -> Result<BTreeMap<String, Descriptor>, Error> {
        let entries = self.index().await?.manifests;
        Ok(entries.into_iter().filter_map(|d| Some((d.annotations.get(REF_NAME)?.clone(), d))).collect())
    }

    /// The only image there, for a reference that names none.
    pub async fn only(&self) -> Result<At, Error> {
        let tagged = self.tagged().await?;
        let images: Vec<_> = tagged.into_iter().filter(|(name, _)| !name.starts_with("sha256-")).collect();
        match images.as_slice() {
            [(name, _)] => Ok(At::Tag(name.parse()?)),
            [] => Err(Error::NotFound { place: self.name(), what: "tagged image".to_owned() }),
            many => Err(Error::malformed(
                self.name(),
                format!(
                    "it holds {} images, say which: {}",
                    many.len(),
                    many.iter().take(20).map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
                ),
            )),
        }
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs").join("sha256")
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    async fn index(&self) -> Result<IndexFile, Error> {
        let path = self.root.join(INDEX_FILE);
        let bytes = match read_limited(&path, limits::LAYOUT_INDEX_BYTES).await {
            Err(Error::NotFound { .. }) => return Err(Error::malformed(self.name(), "it has no index.json")),
            read => read?,
        };
        let index: IndexFile =
            serde_json::from_slice(&bytes).map_err(|e| Error::malformed(path.display().to_string(), e.to_string()))?;
        if index.schema_version != 2 {
            return Err(Error::malformed(path.display().to_string(), "its schemaVersion is not 2"));
        }
        if index.manifests.len() > limits::LAYOUT_ENTRIES {
            return Err(Error::limit(
                format!("the number of entries of {}", path.display()),
                limits::LAYOUT_ENTRIES.to_string(),
            ));
        }
        Ok(index)
    }

    async fn write_index(&self, index: &IndexFile) -> Result<(), Error> {
        let bytes =
            serde_json::to_vec_pretty(index).map_err(|e| Error::malformed(INDEX_FILE.to_owned(), e.to_string()))?;
        replace(&self.root, INDEX_FILE, &bytes).await
    }

    /// Held while `index.json` is read, changed and written; other processes wait.
    async fn lock(&self) -> Result<std::fs::File, Error> {
        let path = self.root.join(LOCK_FILE);
        let shown = path.clone();
        let locked = tokio::task::spawn_blocking(move || {
            let file = std::fs::File::options().create(true).truncate(false).write(true).open(path)?;
            file.lock()?;
            Ok::<_, std::io::Error>(file)
        });
        let locked = locked.await.map_err(|e| disk(&shown, std::io::Error::other(e)))?;
        locked.map_err(|e| disk(&shown, e))
    }

    async fn change_index(
        &self,
        change: impl FnOnce(&mut Vec<Descriptor>) -> Result<bool, Error> + Send,
    ) -> Result<(), Error> {
        let _guard = self.lock().await?;
        let mut index = self.index().await?;
        if change(&mut index.manifests)? {
            self.write_index(&index).await?;
        }
        Ok(())
    }

    /// The bytes of a manifest, held against its digest.
    async fn read_manifest(&self, digest: &Digest) -> Result<Bytes, Error> {
        let bytes = match read_limited(&self.blob_path(digest), limits::MANIFEST_BYTES).await {
            Err(Error::NotFound { .. }) => {
                return Err(Error::NotFound { place: self.name(), what: format!("manifest {digest}") });
            }
            read => read?,
        };
        expect(&self.name(), digest, &bytes)?;
        Ok(bytes.into())
    }
}

#[async_trait]
impl Place for Layout {
    fn name(&self) -> String {
        format!("oci:{}", self.root.display())
    }

    async fn manifest(&self, at: &At) -> Result<Fetched, Error> {
        let listed = match at {
            At::Tag(tag) => {
                let found = self.tagged().await?.remove(tag.as_str());
                Some(found.ok_or_else(|| Error::NotFound { place: self.name(), what: format!("tag {tag}") })?)
            }
            At::Digest(_) => None,
        };
        let digest = match (&listed, at) {
            (Some(found), _) => &found.digest,
            (None, At::Digest(digest)) => digest,
            (None, At::Tag(_)) => return Err(Error::NotFound { place: self.name(), what: at.to_string() }),
        };
        let bytes = self.read_manifest(digest).await?;
        let media_type = match listed {
            Some(found) if found.size != bytes.len() as u64 => {
                return Err(Error::Length {
                    place: self.name(),
                    digest: found.digest,
                    expected: found.size,
                    found: bytes.len() as u64,
                });
            }
            Some(found) => found.media_type,
            None => own_media_type(&bytes, digest)?,
        };
        Ok(Fetched::new(&media_type, bytes))
    }

    async fn blob(&self, blob: &Descriptor) -> Result<ByteStream, Error> {
        let path = self.blob_path(&blob.digest);
        let file = tokio::fs::File::open(&path).await.map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::NotFound { place: self.name(), what: format!("blob {}", blob.digest) }
            }
            _ => disk(&path, e),
        })?;
        let stream = tokio_util::io::ReaderStream::with_capacity(file, limits::CHUNK);
        Ok(Box::pin(stream.map(move |chunk| chunk.map_err(|e| disk(&path, e)))))
    }

    async fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        let path = self.blob_path(&blob.digest);
        match tokio::fs::metadata(&path).await {
            Ok(meta) => Ok(meta.is_file() && meta.len() == blob.size),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(disk(&path, e)),
        }
    }

    async fn put_blob(&self, blob: &Descriptor, source: &dyn Source) -> Result<(), Error> {
        if self.has_blob(blob).await? {
            return Ok(());
        }
        let part = self.part_file(&blob.digest).await?;
        let written = self.write_part(&part, blob, source).await;
        if written.is_err() {
            // What cannot be removed either is cleared by the next writer.
            let _ = tokio::fs::remove_file(&part.0).await;
        }
        written
    }

    async fn put_manifest(&self, manifest: &Fetched) -> Result<(), Error> {
        let parsed = manifest.parse()?;
        self.put_blob(&manifest.descriptor, &crate::Held(manifest.bytes.clone())).await?;
        if parsed.subject.is_none() {
            return Ok(());
        }
        // Readers find referrers among the entries of the index.
        let entry = parsed.as_referrer(&manifest.descriptor);
        self.change_index(move |entries| {
            if entries.iter().any(|e| e.digest == entry.digest) {
                return Ok(false);
            }
            entries.push(entry);
            Ok(true)
        })
        .await
    }

    async fn tag(&self, tag: &Tag, manifest: &Fetched) -> Result<(), Error> {
        if !self.has_blob(&manifest.descriptor).await? {
            return Err(Error::NotFound {
                place: self.name(),
                what: format!("manifest {}", manifest.descriptor.digest),
            });
        }
        let mut entry = manifest.descriptor.bare();
        entry.annotations.insert(REF_NAME.to_owned(), tag.to_string());
        self.change_index(move |entries| {
            let named = |e: &Descriptor| e.annotations.get(REF_NAME).map(String::as_str) == Some(tag.as_str());
            if entries.iter().any(|e| named(e) && e.digest == entry.digest) {
                return Ok(false);
            }
            entries.retain(|e| !named(e));
            entries.push(entry);
            Ok(true)
        })
        .await
    }

    async fn referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Result<Vec<Descriptor>, Error> {
        let mut found: Vec<Descriptor> = Vec::new();
        let fallback = Tag::of_referrers(subject);
        let entries = self.index().await?.manifests;
        let mut candidates = Vec::new();
        for entry in entries {
            if entry.annotations.get(REF_NAME).map(String::as_str) == Some(fallback.as_str()) {
                // Some tools write the tag of registries into layouts, too.
                let bytes = self.read_manifest(&entry.digest).await?;
                if let Ok(list) = Manifest::parse(INDEX, &bytes, &entry.digest) {
                    candidates.extend(list.children().to_vec());
                }
            } else if entry.is_manifest() && entry.digest != *subject {
                candidates.push(entry);
            }
        }
        for entry in candidates {
            if found.iter().any(|f| f.digest == entry.digest) {
                continue;
            }
            let bytes = match self.read_manifest(&entry.digest).await {
                // An entry of what is not in this layout: allowed, and nobody's evidence.
                Err(Error::NotFound { .. }) => continue,
                read => read?,
            };
            let manifest = Manifest::parse(&entry.media_type, &bytes, &entry.digest)?;
            if manifest.subject.as_ref().is_some_and(|s| s.digest == *subject) {
                let own = Descriptor::of(&entry.media_type, &bytes);
                found.push(manifest.as_referrer(&own));
            }
        }
        if let Some(wanted) = artifact_type {
            found.retain(|d| d.artifact_type.as_deref() == Some(wanted));
        }
        if found.len() > limits::REFERRERS {
            return Err(Error::limit(format!("the number of referrers of {subject}"), limits::REFERRERS.to_string()));
        }
        Ok(found)
    }

    async fn tags(&self) -> Result<Vec<Tag>, Error> {
        // Other tools write names here that are no tags (whole references): they cannot be asked for, and are not listed.
        Ok(self.tagged().await?.keys().filter_map(|name| name.parse().ok()).collect())
    }
}

/// A file being written; locked, so that nobody takes it for a left-over.
struct Part(PathBuf, std::fs::File);

impl Layout {
    /// A fresh file for a blob's bytes. Those that killed writers of the same blob left are removed.
    async fn part_file(&self, digest: &Digest) -> Result<Part, Error> {
        let (dir, prefix) = (self.blobs(), format!(".part-{}-", digest.hex()));
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|_| disk(&dir, std::io::Error::other("no randomness")))?;
        let path = dir.join(format!("{prefix}{}", hex::encode(random)));
        let shown = path.clone();
        let made = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&dir)?;
            for entry in std::fs::read_dir(&dir)? {
                let entry = entry?;
                if !entry.file_name().to_string_lossy().starts_with(&prefix) {
                    continue;
                }
                // A living writer holds its lock.
                let left = std::fs::File::open(entry.path()).map(|file| file.try_lock().is_ok());
                if left.unwrap_or(false) {
                    std::fs::remove_file(entry.path())?;
                }
            }
            let file = std::fs::File::create_new(&path)?;
            file.lock()?;
            Ok(Part(path, file))
        });
        let made = made.await.map_err(|e| disk(&shown, std::io::Error::other(e)))?;
        made.map_err(|e| disk(&shown, e))
    }

    async fn write_part(&self, part: &Part, blob: &Descriptor, source: &dyn Source) -> Result<(), Error> {
        let path = &part.0;
        let file = part.1.try_clone().map_err(|e| disk(path, e))?;
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(limits::CHUNK);
        let mut stream = checked(source.open().await?, blob, &self.name());
        while let Some(chunk) = stream.next().await {
            file.write_all(&chunk?).await.map_err(|e| disk(path, e))?;
        }
        file.flush().await.map_err(|e| disk(path, e))?;
        file.sync_all().await.map_err(|e| disk(path, e))?;
        let target = self.blob_path(&blob.digest);
        tokio::fs::rename(path, &target).await.map_err(|e| disk(&target, e))?;
        sync_dir(&self.blobs()).await
    }
}

/// The type that a manifest gives itself, else the one that its shape shows.
fn own_media_type(bytes: &[u8], digest: &Digest) -> Result<String, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Peek {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let peek: Peek =
        serde_json::from_slice(bytes).map_err(|e| Error::malformed(format!("the manifest {digest}"), e.to_string()))?;
    Ok(peek
        .media_type
        .unwrap_or_else(|| if peek.manifests.is_some() { INDEX.to_owned() } else { crate::IMAGE_MANIFEST.to_owned() }))
}

async fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    use tokio::io::AsyncReadExt as _;
    let file = tokio::fs::File::open(path).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            Error::NotFound { place: path.display().to_string(), what: "such file".to_owned() }
        }
        _ => disk(path, e),
    })?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).await.map_err(|e| disk(path, e))?;
    if bytes.len() as u64 > limit {
        return Err(Error::limit(path.display().to_string(), format!("{} KiB", limit >> 10)));
    }
    Ok(bytes)
}

/// Writes a file whole: beside it, synced, then renamed over it.
async fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let (fresh, target) = (dir.join(format!(".{name}.new")), dir.join(name));
    let mut file = tokio::fs::File::create(&fresh).await.map_err(|e| disk(&fresh, e))?;
    file.write_all(bytes).await.map_err(|e| disk(&fresh, e))?;
    file.sync_all().await.map_err(|e| disk(&fresh, e))?;
    tokio::fs::rename(&fresh, &target).await.map_err(|e| disk(&target, e))?;
    sync_dir(dir).await
}

async fn sync_dir(dir: &Path) -> Result<(), Error> {
    let file = tokio::fs::File::open(dir).await.map_err(|e| disk(dir, e))?;
    file.sync_all().await.map_err(|e| disk(dir, e))
}

fn disk(path: &Path, source: std::io::Error) -> Error {
    Error::Disk { path: path.display().to_string(), source }
}
