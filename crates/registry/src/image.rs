//! Makes an image from a program: one layer with one file, the same bytes from the same file each time.
//!
//! Times are the epoch, owners are root, the layer is an uncompressed tar archive: a digest then depends on the program and on what is said
//! about it, and on no compressor's version.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use model::Digest;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    ByteStream, Descriptor, Error, Fetched, Held, IMAGE_MANIFEST, Layout, Place, Source, Tag, limits, read_whole,
};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A tar archive's unit.
const BLOCK: usize = 512;
/// A tar archive ends with two empty blocks.
const END: usize = 2 * BLOCK;
/// Largest program: what the size field of a tar header can say in octal digits.
const MAX_PROGRAM: u64 = 0o77_777_777_777;

/// What is to be made.
#[derive(Debug, Clone, Default)]
pub struct Recipe {
    /// The program on this machine.
    pub program: PathBuf,
    /// Its path in the image.
    pub path: String,
    /// Arguments that it is run with.
    pub arguments: Vec<String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Built {
    /// The image.
    pub digest: Digest,
    /// Bytes of its manifest.
    pub size: u64,
    /// Its configuration.
    pub config: Digest,
    /// Its layer.
    pub layer: Digest,
    /// Bytes of the layer.
    pub layer_size: u64,
    /// The program that is in it.
    pub program: Digest,
}

/// The layer of a program, hashed.
#[derive(Debug, Clone)]
pub struct Layer {
    source: PathBuf,
    header: Bytes,
    length: u64,
    descriptor: Descriptor,
    program: Digest,
}

impl Layer {
    /// Reads the program through, for its digest and the layer's.
    pub async fn of(program: &Path, path: &str) -> Result<Self, Error> {
        let disk = |source| Error::Disk { path: program.display().to_string(), source };
        let meta = tokio::fs::metadata(program).await.map_err(disk)?;
        if !meta.is_file() {
            return Err(Error::malformed(program.display().to_string(), "it is no file"));
        }
        if meta.len() > MAX_PROGRAM {
            return Err(Error::limit(program.display().to_string(), "8 GiB"));
        }
        let header = header(path, meta.len())?;
        let placeholder = Descriptor::new(LAYER, crate::digest_of(b""), 0);
        let mut layer = Self {
            source: program.to_owned(),
            header: header.into(),
            length: meta.len(),
            descriptor: placeholder,
            program: crate::digest_of(b""),
        };
        let (mut whole, mut file, mut size, mut at) = (Sha256::new(), Sha256::new(), 0_u64, 0_u64);
        let mut stream = layer.open().await?;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            whole.update(&chunk);
            size += chunk.len() as u64;
            // The header comes in one piece of its own, and so does the end.
            if at >= BLOCK as u64 && at < BLOCK as u64 + layer.length {
                file.update(&chunk);
            }
            at += chunk.len() as u64;
        }
        layer.descriptor = Descriptor::new(LAYER, Digest::from_sha256(&whole.finalize().into()), size);
        layer.program = Digest::from_sha256(&file.finalize().into());
        Ok(layer)
    }

    /// The digest of the program itself.
    pub fn program(&self) -> &Digest {
        &self.program
    }

    /// The digest of the layer: two are the same when program and path are.
    pub fn digest(&self) -> &Digest {
        &self.descriptor.digest
    }
}

#[async_trait]
impl Source for Layer {
    async fn open(&self) -> Result<ByteStream, Error> {
        use tokio::io::AsyncReadExt as _;
        let path = self.source.display().to_string();
        let file =
            tokio::fs::File::open(&self.source).await.map_err(|source| Error::Disk { path: path.clone(), source })?;
        let body = tokio_util::io::ReaderStream::with_capacity(file.take(self.length), limits::CHUNK);
        let body = body.map(move |chunk| chunk.map_err(|source| Error::Disk { path: path.clone(), source }));
        let filled = usize::try_from(self.length % BLOCK as u64).unwrap_or_default();
        let padding = (BLOCK - filled) % BLOCK;
        let end = Bytes::from(vec![0; padding + END]);
        let once = |bytes: Bytes| futures::stream::once(async move { Ok(bytes) });
        Ok(once(self.header.clone()).chain(body).chain(once(end)).boxed())
    }
}

/// Makes an image in a layout and tags it. Doing it again changes nothing.
pub async fn build(layout: &Layout, recipe: &Recipe, tag: &Tag) -> Result<Built, Error> {
    let layer = Layer::of(&recipe.program, &recipe.path).await?;
    layout.put_blob(&layer.descriptor, &layer).await?;
    let config = json!({
        "architecture": architecture(),
        "os": std::env::consts::OS,
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": [format!("/{}", recipe.path.trim_start_matches('/'))],
            "Cmd": recipe.arguments,
            "Labels": recipe.labels,
        },
        "rootfs": { "type": "layers", "diff_ids": [layer.descriptor.digest] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "deliveryos image build" }],
    });
    let config = serde_json::to_vec(&config).map_err(|e| Error::malformed("the configuration", e.to_string()))?;
    let config_descriptor = Descriptor::of(CONFIG, &config);
    layout.put_blob(&config_descriptor, &Held(config.into())).await?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": config_descriptor,
        "layers": [layer.descriptor],
    });
    let manifest = serde_json::to_vec(&manifest).map_err(|e| Error::malformed("the manifest", e.to_string()))?;
    let manifest = Fetched::new(IMAGE_MANIFEST, manifest);
    layout.put_manifest(&manifest).await?;
    layout.tag(tag, &manifest).await?;
    Ok(Built {
        digest: manifest.descriptor.digest,
        size: manifest.descriptor.size,
        config: config_descriptor.digest,
        layer: layer.descriptor.digest.clone(),
        layer_size: layer.descriptor.size,
        program: layer.program.clone(),
    })
}

/// An image's configuration, as it lies there.
pub async fn configuration(place: &dyn Place, image: &Fetched) -> Result<Bytes, Error> {
    let manifest = image.parse()?;
    let none = || Error::malformed(format!("the image {}", image.descriptor.digest), "it has no configuration");
    // It comes first.
    read_whole(place, manifest.blobs().next().ok_or_else(none)?).await
}

/// What an image is run with, by its configuration: the program in the image, and its arguments.
pub async fn command(place: &dyn Place, image: &Fetched) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    struct Configuration {
        config: Run,
    }
    // Either may be missing, or null.
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Run {
        entrypoint: Option<Vec<String>>,
        cmd: Option<Vec<String>>,
    }
    let bytes = configuration(place, image).await?;
    let wrong = |why: String| Error::malformed(format!("the configuration of {}", image.descriptor.digest), why);
    let Configuration { config } = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
    let command: Vec<String> = config.entrypoint.into_iter().chain(config.cmd).flatten().collect();
    if command.is_empty() { Err(wrong("it names no program".to_owned())) } else { Ok(command) }
}

/// The layer of an image that [`build`] made.
pub fn layer_of(image: &Fetched) -> Result<Descriptor, Error> {
    let manifest = image.parse()?;
    let ours = |layer: &&Descriptor| layer.media_type == LAYER;
    // The configuration comes first.
    manifest.blobs().nth(1).filter(ours).cloned().ok_or_else(|| other(image))
}

fn other(image: &Fetched) -> Error {
    Error::malformed(format!("the image {}", image.descriptor.digest), "it has no layer of one program")
}

/// Writes the program of an image that [`build`] made into a file that can be run. It is there whole and right, or not at all.
pub async fn unpack(place: &dyn Place, image: &Fetched, to: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    use tokio::io::AsyncWriteExt as _;
    let layer = layer_of(image)?;
    let disk = |source| Error::Disk { path: to.display().to_string(), source };
    let folder = to.parent().unwrap_or(Path::new("."));
    tokio::fs::create_dir_all(folder).await.map_err(disk)?;
    let part = to.with_extension("part");
    let mut file = tokio::fs::File::create(&part).await.map_err(disk)?;
    let mut stream = crate::checked(place.blob(&layer).await?, &layer, &place.name());
    let (mut header, mut left) = (Vec::with_capacity(BLOCK), None);
    while let Some(chunk) = stream.next().await {
        let mut chunk = chunk?;
        if left.is_none() {
            let missing = (BLOCK - header.len()).min(chunk.len());
            header.extend_from_slice(&chunk.split_to(missing));
            if header.len() == BLOCK {
                left = Some(size_in(&header).ok_or_else(|| other(image))?);
            }
        }
        if let Some(rest) = &mut left {
            let body = chunk.split_to(usize::try_from(*rest).unwrap_or(usize::MAX).min(chunk.len()));
            *rest -= body.len() as u64;
            file.write_all(&body).await.map_err(disk)?;
        }
    }
    if left != Some(0) {
        return Err(other(image));
    }
    file.set_permissions(std::fs::Permissions::from_mode(0o755)).await.map_err(disk)?;
    file.sync_all().await.map_err(disk)?;
    // A file that is being written cannot be run.
    drop(file.into_std().await);
    tokio::fs::rename(&part, to).await.map_err(disk)
}

/// The size that a tar header states.
fn size_in(header: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(header.get(124..135)?).ok()?, 8).ok()
}

/// This machine's processor, by its name in images.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A ustar header of an executable file: mode 0755, root, the epoch.
fn header(path: &str, size: u64) -> Result<Vec<u8>, Error> {
    let name = path.trim_start_matches('/');
    let good = !name.is_empty() && name.len() < 100 && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !good || !name.is_ascii() {
        return Err(Error::malformed(format!("the path {path:?}"), "at most 99 ASCII characters, without . and .."));
    }
    let mut block = vec![0_u8; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000755\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(265, b"root");
    put(297, b"root");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::At;

    #[tokio::test]
    async fn the_same_program_is_the_same_image() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        let mut digests = Vec::new();
        for length in [0, 1, 511, 512, 513, 300_000] {
            let bytes: Vec<u8> = (0..length).map(|i: u32| (i % 251) as u8).collect();
            std::fs::write(&program, &bytes).unwrap();
            let recipe = Recipe {
                program: program.clone(),
                path: "app/program".into(),
                arguments: vec!["run".into()],
                ..Recipe::default()
            };
            let mut twice = Vec::new();
            for name in ["a", "b"] {
                let layout = Layout::create(dir.path().join(name)).await.unwrap();
                let built = build(&layout, &recipe, &"v1".parse().unwrap()).await.unwrap();
                assert_eq!(built.program, crate::digest_of(&bytes), "{length}");
                let image = layout.manifest(&At::Tag("v1".parse().unwrap())).await.unwrap();
                assert_eq!(image.descriptor.digest, built.digest);
                let layer = image.parse().unwrap().blobs().nth(1).unwrap().clone();
                let tar = read_whole(&layout, &layer).await.unwrap();
                assert_eq!(tar.len() % BLOCK, 0);
                assert_eq!(&tar[BLOCK..BLOCK + bytes.len()], bytes.as_slice());
                let unpacked = dir.path().join("unpacked/program");
                unpack(&layout, &image, &unpacked).await.unwrap();
                assert_eq!(std::fs::read(&unpacked).unwrap(), bytes);
                let again = Layer::of(&unpacked, &recipe.path).await.unwrap();
                assert_eq!((again.digest(), &built.layer), (&layer_of(&image).unwrap().digest, &layer.digest));
                assert_eq!(command(&layout, &image).await.unwrap(), ["/app/program", "run"]);
                twice.push(built);
            }
            assert_eq!(twice[0], twice[1]);
            digests.push(twice[0].digest.clone());
        }
        digests.dedup();
        assert_eq!(digests.len(), 6);
    }

    /// Others' images leave either list out, or write null.
    #[tokio::test]
    async fn what_an_image_is_run_with() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).await.unwrap();
        let command_of = async |config: serde_json::Value| {
            let bytes = serde_json::to_vec(&config).unwrap();
            let descriptor = Descriptor::of(CONFIG, &bytes);
            layout.put_blob(&descriptor, &Held(bytes.into())).await.unwrap();
            let manifest =
                json!({ "schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": descriptor, "layers": [] });
            let image = Fetched::new(IMAGE_MANIFEST, serde_json::to_vec(&manifest).unwrap());
            command(&layout, &image).await.map_err(|error| error.to_string())
        };
        let both = command_of(json!({ "config": { "Entrypoint": ["/a", "b"], "Cmd": ["c"], "User": "0" } })).await;
        assert_eq!(both.unwrap(), ["/a", "b", "c"]);
        assert_eq!(command_of(json!({ "config": { "Entrypoint": null, "Cmd": ["/c"] } })).await.unwrap(), ["/c"]);
        assert_eq!(command_of(json!({ "config": { "Entrypoint": ["/a"] } })).await.unwrap(), ["/a"]);
        for bad in [json!({ "config": {} }), json!({ "config": { "Entrypoint": [], "Cmd": [] } })] {
            assert!(command_of(bad).await.unwrap_err().contains("names no program"));
        }
        for bad in [json!({}), json!({ "config": { "Entrypoint": "/bin/sh -c a" } })] {
            assert!(command_of(bad).await.unwrap_err().contains("the configuration of sha256:"));
        }
    }

    #[tokio::test]
    async fn tar_reads_the_layer() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        std::fs::write(&program, b"#!/bin/sh\n").unwrap();
        let layer = Layer::of(&program, "app/program").await.unwrap();
        let mut stream = layer.open().await.unwrap();
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        let archive = dir.path().join("layer.tar");
        std::fs::write(&archive, bytes).unwrap();
        let listed = std::process::Command::new("tar").arg("-tvf").arg(&archive).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(listed.starts_with("-rwxr-xr-x root/root") && listed.contains("app/program"), "{listed}");
    }

    #[test]
    fn paths_stay_within() {
        for bad in ["", "/", "../a", "a//b", "a/./b", "ä"] {
            assert!(header(bad, 1).is_err(), "{bad}");
        }
    }
}
