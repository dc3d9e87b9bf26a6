//! An image with everything that belongs to it.
//!
//! An image's evidence is scattered: manifests whose `subject` is the image, or a child of its index, or other evidence; and, from before
//! there were subjects, tags named after the image's digest. A copy that misses some of it is an image that can no longer be verified.

use std::collections::HashSet;

use futures::future::BoxFuture;
use model::Digest;

use crate::{At, Contents, Descriptor, Error, Fetched, Manifest, Place, Platform, Tag, limits};

/// Suffixes of cosign's tags of old.
const SIDECARS: [&str; 3] = ["sig", "att", "sbom"];

/// An image with everything that belongs to it.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The image.
    pub root: Descriptor,
    /// Every manifest once, each after those that it needs; evidence comes after what it is about.
    pub nodes: Vec<Node>,
    /// What was listed as evidence and is none, and why.
    pub notes: Vec<String>,
}

/// One manifest.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its bytes.
    pub fetched: Fetched,
    /// Its parts.
    pub manifest: Manifest,
    /// Why it belongs to the image.
    pub role: Role,
}

/// Why a manifest belongs to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It is the image.
    Root,
    /// It is in this index.
    Child(Digest),
    /// It names this manifest as its subject.
    Evidence(Digest),
    /// It is under a tag named after this manifest.
    Sidecar(Digest, Tag),
}

impl Graph {
    /// Reads the graph below a manifest. Every manifest is hashed; blobs are not read.
    pub async fn read(place: &dyn Place, root: Fetched) -> Result<Self, Error> {
        let mut walk = Walk { place, seen: HashSet::new(), bytes: 0, nodes: Vec::new(), notes: Vec::new() };
        let descriptor = root.descriptor.clone();
        walk.visit(root, Role::Root, 0).await?;
        Ok(Self { root: descriptor, nodes: walk.nodes, notes: walk.notes })
    }

    /// Every blob once.
    pub fn blobs(&self) -> Vec<&Descriptor> {
        let mut seen = HashSet::new();
        let manifests: HashSet<&Digest> = self.nodes.iter().map(|n| &n.fetched.descriptor.digest).collect();
        let blobs = self.nodes.iter().flat_map(|node| {
            // An index may list what is no manifest; it is then copied as the blob that it is.
            let other = node.manifest.children().iter().filter(|child| !child.is_manifest());
            node.manifest.blobs().chain(other)
        });
        blobs.filter(|blob| !manifests.contains(&blob.digest) && seen.insert(blob.digest.clone())).collect()
    }

    /// The evidence, with what it is about.
    pub fn evidence(&self) -> impl Iterator<Item = (&Digest, &Node)> {
        self.nodes.iter().filter_map(|node| match &node.role {
            Role::Evidence(of) | Role::Sidecar(of, _) => Some((of, node)),
            Role::Root | Role::Child(_) => None,
        })
    }
}

/// The referrers of a manifest that truly are some: each was read, hashed, and names it as its subject. Beside them, notes on the others.
pub async fn referrers_of(
    place: &dyn Place,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<(Vec<(Fetched, Manifest)>, Vec<String>), Error> {
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    for listed in place.referrers(subject, artifact_type).await? {
        let digest = &listed.digest;
        let fetched = match place.manifest(&At::Digest(digest.clone())).await {
            // Lists under tags outlive what they list.
            Err(error) if error.is_not_found() => {
                notes.push(format!("{digest} is listed as evidence for {subject} and is not there"));
                continue;
            }
            read => read?,
        };
        let manifest = fetched.parse()?;
        match &manifest.subject {
            Some(named) if named.digest == *subject => {}
            _ => {
                notes.push(format!("{digest} is listed as evidence for {subject} and is about something else"));
                continue;
            }
        }
        if artifact_type.is_none_or(|wanted| manifest.kind() == wanted) {
            found.push((fetched, manifest));
        }
    }
    Ok((found, notes))
}

/// The child of an index for a platform; an image is its own.
pub async fn for_platform(place: &dyn Place, root: Fetched, wanted: &Platform) -> Result<Fetched, Error> {
    let manifest = root.parse()?;
    let Contents::Index(children) = &manifest.contents else { return Ok(root) };
    let fits = |d: &&Descriptor| d.platform.as_ref().is_some_and(|p| p.is(wanted));
    match children.iter().find(fits) {
        Some(child) => place.manifest(&At::Digest(child.digest.clone())).await,
        None => {
            let there: Vec<String> =
                children.iter().filter_map(|d| Some(d.platform.as_ref()?.to_string())).take(30).collect();
            Err(Error::NotFound {
                place: place.name(),
                what: format!("image for {wanted} in {}; there are: {}", root.descriptor.digest, there.join(", ")),
            })
        }
    }
}

struct Walk<'a> {
    place: &'a dyn Place,
    seen: HashSet<Digest>,
    bytes: u64,
    nodes: Vec<Node>,
    notes: Vec<String>,
}

impl Walk<'_> {
    /// What it needs, then itself, then what is about it.
    fn visit(&mut self, fetched: Fetched, role: Role, depth: usize) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let digest = fetched.descriptor.digest.clone();
            if !self.seen.insert(digest.clone()) {
                return Ok(());
            }
            self.bytes += fetched.descriptor.size;
            let beyond =
                |limit: String| Error::limit(format!("the evidence and parts of the image, at {digest},"), limit);
            if depth > limits::GRAPH_DEPTH {
                return Err(beyond(format!("{} levels", limits::GRAPH_DEPTH)));
            }
            if self.seen.len() > limits::GRAPH_NODES {
                return Err(beyond(format!("{} manifests", limits::GRAPH_NODES)));
            }
            if self.bytes > limits::GRAPH_BYTES {
                return Err(beyond(format!("{} MiB of manifests", limits::GRAPH_BYTES >> 20)));
            }
            let manifest = fetched.parse()?;
            for child in manifest.children().iter().filter(|child| child.is_manifest()) {
                let child_bytes = self.place.manifest(&At::Digest(child.digest.clone())).await?;
                if child_bytes.descriptor.size != child.size {
                    return Err(Error::Length {
                        place: self.place.name(),
                        digest: child.digest.clone(),
                        expected: child.size,
                        found: child_bytes.descriptor.size,
                    });
                }
                self.visit(child_bytes, Role::Child(digest.clone()), depth + 1).await?;
            }
            let part_of_image = matches!(role, Role::Root | Role::Child(_));
            self.nodes.push(Node { fetched, manifest, role });
            let (evidence, notes) = referrers_of(self.place, &digest, None).await?;
            self.notes.extend(notes);
            for (fetched, _) in evidence {
                self.visit(fetched, Role::Evidence(digest.clone()), depth + 1).await?;
            }
            if part_of_image {
                for suffix in SIDECARS {
                    let tag = Tag::of_sidecar(&digest, suffix);
                    match self.place.manifest(&At::Tag(tag.clone())).await {
                        Ok(fetched) => self.visit(fetched, Role::Sidecar(digest.clone(), tag), depth + 1).await?,
                        Err(error) if error.is_not_found() => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Ok(())
        })
    }
}
