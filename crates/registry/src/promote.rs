//! Promotion: the same bytes elsewhere, with all that proves what they are.
//!
//! Order is what makes it safe: blobs, then manifests that need them, then evidence after what it is about, then everything read back from
//! the destination, then the tag. Whoever is killed on the way has tagged nothing; the next run copies what is missing.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture};
use model::Digest;
use serde::Serialize;

use crate::{
    At, ByteStream, Descriptor, Error, Fetched, Origin, Place, Platform, Source, Tag, checked,
    graph::{Graph, Node, Role, for_platform},
    limits,
};

/// Times that missing entries of referrers lists are written again: others may write the same list.
const LIST_ROUNDS: u32 = 4;

/// How often progress is told while a blob is copied.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// What is wanted.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Tag at the destination; without one it is there by its digest alone.
    pub tag: Option<Tag>,
    /// Let the tag name this image even if it names another one.
    pub move_tag: bool,
    /// Of an index only the image for this platform.
    pub platform: Option<Platform>,
    /// Do not read blobs back from the destination: their presence and length are enough.
    pub trust_blobs: bool,
    /// Evidence, by its manifest, that was judged before: when some of it is gone by now, nothing is copied.
    pub needed: Vec<Digest>,
    /// Say what would be done.
    pub dry_run: bool,
}

/// What happens meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes are to be copied, and so many read back.
    Planned {
        /// Bytes of missing blobs.
        copy: u64,
        /// Bytes to read back.
        verify: u64,
    },
    /// Bytes that were copied.
    Copied(u64),
    /// Bytes that were read back.
    Verified(u64),
}

/// What was done, or, of a dry run, what would be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// From where.
    pub source: String,
    /// To where.
    pub destination: String,
    /// What.
    pub digest: Digest,
    /// Its type.
    pub media_type: String,
    /// Under which tag.
    pub tag: Option<String>,
    /// The platform that was chosen of an index.
    pub platform: Option<String>,
    /// Manifests of the whole graph.
    pub manifests: usize,
    /// Blobs of the whole graph.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that were not there yet.
    pub blobs_copied: usize,
    /// Their bytes.
    pub bytes_copied: u64,
    /// What proves what it is.
    pub evidence: Vec<Evidence>,
    /// `read-back`: every blob was read from the destination and hashed; `present`: only its presence and length were asked for.
    pub blobs_verified: &'static str,
    /// What was listed as evidence and is none.
    pub notes: Vec<String>,
    /// True: nothing was written.
    pub dry_run: bool,
}

/// A piece of evidence that came along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Its digest.
    pub digest: Digest,
    /// What it is about.
    pub subject: Digest,
    /// What it is.
    pub artifact_type: String,
    /// What it states, by its annotation; not verified here.
    pub predicate_type: Option<String>,
    /// Its tag, when it is found by one.
    pub tag: Option<String>,
}

/// Copies an image with its evidence, proves that it arrived, and tags it.
pub async fn promote(
    source: &dyn Place,
    at: &At,
    destination: &dyn Place,
    options: &Options,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Report, Error> {
    // From here on everything is by digest: a tag that moves meanwhile changes nothing.
    let mut root = source.manifest(at).await?;
    if let Some(platform) = &options.platform {
        root = for_platform(source, root, platform).await?;
    }
    let graph = Graph::read(source, root.clone()).await?;
    let digest = &graph.root.digest;
    let comes = |wanted: &Digest| graph.evidence().any(|(_, node)| node.fetched.descriptor.digest == *wanted);
    if let Some(gone) = options.needed.iter().find(|wanted| !comes(wanted)) {
        return Err(Error::NotFound {
            place: source.name(),
            what: format!("evidence {gone} any more, which {digest} was judged by: nothing was copied"),
        });
    }
    if let Some(tag) = options.tag.as_ref().filter(|_| !options.move_tag) {
        free(destination, tag, digest).await?;
    }
    let blobs = graph.blobs();
    let mut missing = Vec::new();
    for blob in &blobs {
        if !destination.has_blob(blob).await? {
            missing.push(*blob);
        }
    }
    let sum = |blobs: &[&Descriptor]| blobs.iter().map(|b| b.size).sum::<u64>();
    let report = Report {
        source: format!("{}{at}", source.name()),
        destination: destination.name(),
        digest: digest.clone(),
        media_type: graph.root.media_type.clone(),
        tag: options.tag.as_ref().map(Tag::to_string),
        platform: options.platform.as_ref().map(Platform::to_string),
        manifests: graph.nodes.len(),
        blobs: blobs.len(),
        bytes: sum(&blobs),
        blobs_copied: missing.len(),
        bytes_copied: sum(&missing),
        evidence: evidence(&graph),
        blobs_verified: if options.trust_blobs { "present" } else { "read-back" },
        notes: graph.notes.clone(),
        dry_run: options.dry_run,
    };
    if options.dry_run {
        return Ok(report);
    }
    progress(Progress::Planned {
        copy: report.bytes_copied,
        verify: if options.trust_blobs { 0 } else { report.bytes },
    });

    copy_blobs(source, destination, &missing, progress).await?;
    for node in &graph.nodes {
        let there = match &node.role {
            // Evidence is written again even if it is there: the list that names it may not be.
            Role::Evidence(_) => false,
            _ => is_there(destination, &node.fetched.descriptor.digest).await?,
        };
        if !there {
            destination.put_manifest(&node.fetched).await?;
        }
    }
    for node in &graph.nodes {
        if let Role::Sidecar(_, tag) = &node.role {
            free(destination, tag, &node.fetched.descriptor.digest).await?;
            destination.tag(tag, &node.fetched).await?;
        }
    }
    prove(destination, &graph, &blobs, options, progress).await?;
    if let Some(tag) = &options.tag {
        set_tag(destination, tag, &root, options.move_tag).await?;
    }
    Ok(report)
}

async fn is_there(place: &dyn Place, digest: &Digest) -> Result<bool, Error> {
    match place.manifest(&At::Digest(digest.clone())).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// A tag is free when it names nothing, or this.
async fn free(place: &dyn Place, tag: &Tag, wanted: &Digest) -> Result<(), Error> {
    match place.manifest(&At::Tag(tag.clone())).await {
        Ok(there) if there.descriptor.digest == *wanted => Ok(()),
        Ok(there) => Err(Error::TagTaken {
            place: place.name(),
            tag: tag.to_string(),
            there: there.descriptor.digest,
            wanted: wanted.clone(),
        }),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

async fn set_tag(place: &dyn Place, tag: &Tag, root: &Fetched, moved: bool) -> Result<(), Error> {
    let wanted = &root.descriptor.digest;
    if !moved {
        // Somebody may have taken it while we copied.
        free(place, tag, wanted).await?;
    }
    place.tag(tag, root).await?;
    let now = place.manifest(&At::Tag(tag.clone())).await?;
    if now.descriptor.digest == *wanted {
        return Ok(());
    }
    Err(Error::TagTaken {
        place: place.name(),
        tag: tag.to_string(),
        there: now.descriptor.digest,
        wanted: wanted.clone(),
    })
}

fn evidence(graph: &Graph) -> Vec<Evidence> {
    let one = |(subject, node): (&Digest, &Node)| Evidence {
        digest: node.fetched.descriptor.digest.clone(),
        subject: subject.clone(),
        artifact_type: node.manifest.kind().to_owned(),
        predicate_type: node.manifest.annotations.get("dev.sigstore.bundle.predicateType").cloned(),
        tag: match &node.role {
            Role::Sidecar(_, tag) => Some(tag.to_string()),
            _ => None,
        },
    };
    graph.evidence().map(one).collect()
}

/// A blob of a place, counted as it passes.
struct Counted<'a> {
    place: &'a dyn Place,
    blob: &'a Descriptor,
    /// Bytes that passed in the present try.
    passed: Arc<AtomicU64>,
}

#[async_trait]
impl Source for Counted<'_> {
    async fn open(&self) -> Result<ByteStream, Error> {
        self.passed.store(0, Ordering::Relaxed);
        let passed = Arc::clone(&self.passed);
        let count = move |chunk: &bytes::Bytes| {
            passed.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        };
        let stream = self.place.blob(self.blob).await?;
        Ok(stream.inspect_ok(count).boxed())
    }

    fn origin(&self) -> Option<Origin> {
        self.place.origin()
    }
}

async fn copy_blobs(
    source: &dyn Place,
    destination: &dyn Place,
    missing: &[&Descriptor],
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(), Error> {
    // Boxed: the compiler does not see otherwise that they may go from thread to thread.
    let copies: Vec<BoxFuture<'_, Result<(), Error>>> =
        missing.iter().map(|blob| copy_blob(source, destination, blob, progress).boxed()).collect();
    futures::stream::iter(copies).buffer_unordered(limits::PARALLEL).try_collect::<()>().await
}

async fn copy_blob(
    source: &dyn Place,
    destination: &dyn Place,
    blob: &Descriptor,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(), Error> {
    let passed = Arc::new(AtomicU64::new(0));
    let from = Counted { place: source, blob, passed: Arc::clone(&passed) };
    let copy = destination.put_blob(blob, &from);
    tokio::pin!(copy);
    let mut told = 0;
    // What a first try had told is not told again by the second one.
    let mut tell = |now: u64| {
        if now > told {
            progress(Progress::Copied(now - told));
            told = now;
        }
    };
    loop {
        tokio::select! {
            done = &mut copy => {
                done?;
                tell(blob.size);
                return Ok(());
            }
            () = tokio::time::sleep(TELL_EVERY) => tell(passed.load(Ordering::Relaxed)),
        }
    }
}

/// Reads everything back. What is not as it was sent is refused by name, and nothing is tagged.
async fn prove(
    destination: &dyn Place,
    graph: &Graph,
    blobs: &[&Descriptor],
    options: &Options,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(), Error> {
    for node in &graph.nodes {
        let own = &node.fetched;
        let there = destination.manifest(&At::Digest(own.descriptor.digest.clone())).await?;
        if there.descriptor.media_type != own.descriptor.media_type {
            return Err(Error::Answer {
                place: destination.name(),
                what: format!("manifest {}", own.descriptor.digest),
                why: format!("as {}, it was sent as {}", there.descriptor.media_type, own.descriptor.media_type),
            });
        }
    }
    let reads: Vec<BoxFuture<'_, Result<(), Error>>> =
        blobs.iter().map(|blob| prove_blob(destination, blob, options.trust_blobs, progress).boxed()).collect();
    futures::stream::iter(reads).buffer_unordered(limits::PARALLEL).try_collect::<()>().await?;
    let subjects: HashSet<&Digest> =
        graph.nodes.iter().filter_map(|n| if let Role::Evidence(of) = &n.role { Some(of) } else { None }).collect();
    for subject in subjects {
        prove_listed(destination, graph, subject).await?;
    }
    Ok(())
}

async fn prove_blob(
    destination: &dyn Place,
    blob: &Descriptor,
    trust: bool,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<(), Error> {
    if trust {
        return if destination.has_blob(blob).await? { Ok(()) } else { Err(gone(destination, blob)) };
    }
    let mut stream = checked(destination.blob(blob).await?, blob, &destination.name());
    while let Some(chunk) = stream.next().await {
        progress(Progress::Verified(chunk?.len() as u64));
    }
    Ok(())
}

/// Every piece of evidence must be found by whoever looks for it.
async fn prove_listed(destination: &dyn Place, graph: &Graph, subject: &Digest) -> Result<(), Error> {
    for round in 1.. {
        let listed: HashSet<Digest> =
            destination.referrers(subject, None).await?.into_iter().map(|d| d.digest).collect();
        let about = graph.nodes.iter().filter(|node| node.role == Role::Evidence(subject.clone()));
        let missing: Vec<_> = about.filter(|node| !listed.contains(&node.fetched.descriptor.digest)).collect();
        let Some(first) = missing.first() else { return Ok(()) };
        if round == LIST_ROUNDS {
            return Err(Error::Answer {
                place: destination.name(),
                what: format!("the referrers of {subject}"),
                why: format!("without {}, which was written {round} times", first.fetched.descriptor.digest),
            });
        }
        for node in missing {
            destination.put_manifest(&node.fetched).await?;
        }
    }
    Ok(())
}

fn gone(place: &dyn Place, blob: &Descriptor) -> Error {
    Error::NotFound { place: place.name(), what: format!("blob {}, which was written", blob.digest) }
}
