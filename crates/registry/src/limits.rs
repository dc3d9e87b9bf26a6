//! Every limit, with its reason. What lies beyond one is refused by name, never cut.

use std::time::Duration;

/// Largest manifest: what registries accept (the distribution specification asks for at least 4 MiB).
pub const MANIFEST_BYTES: u64 = 4 * 1024 * 1024;
/// Manifests of one image's whole graph, together: they are kept in memory while it is copied.
pub const GRAPH_BYTES: u64 = 32 * 1024 * 1024;
/// Manifests of one image's whole graph: an index of 30 platforms with 60 pieces of evidence each.
pub const GRAPH_NODES: usize = 2_000;
/// Evidence about evidence about evidence: nobody signs deeper.
pub const GRAPH_DEPTH: usize = 6;
/// Largest blob: the largest layers known are model weights of some tens of gigabytes.
pub const BLOB_BYTES: u64 = 128 * 1024 * 1024 * 1024;
/// Largest blob that is read into memory whole (configs, attestations, SBOMs).
pub const SMALL_BLOB_BYTES: u64 = 16 * 1024 * 1024;
/// Layers or children in one manifest: image builders stop at 127 layers.
pub const ENTRIES: usize = 1_000;
/// Referrers of one manifest.
pub const REFERRERS: usize = 1_000;
/// Pages of one listing; with 50 a page, [`REFERRERS`] fit.
pub const PAGES: usize = 64;
/// Tags listed.
pub const TAGS: usize = 10_000;
/// Entries in a layout's `index.json`.
pub const LAYOUT_ENTRIES: usize = 10_000;
/// `index.json`: [`LAYOUT_ENTRIES`] with annotations.
pub const LAYOUT_INDEX_BYTES: u64 = 16 * 1024 * 1024;
/// Tries of one request before it is said that the registry is busy.
pub const ATTEMPTS: u32 = 6;
/// Longest `Retry-After` that is waited for: longer, and a person had better know.
pub const RETRY_AFTER: Duration = Duration::from_secs(60);
/// First wait without a `Retry-After`; it doubles.
pub const BACKOFF: Duration = Duration::from_millis(200);
/// Time to a connection.
pub const CONNECT: Duration = Duration::from_secs(10);
/// Time without a byte, in either direction.
pub const IDLE: Duration = Duration::from_secs(30);
/// Time for the answer after the last byte of an upload: the registry hashes and moves what it got.
pub const FINISH: Duration = Duration::from_secs(300);
/// Body of an error or of a token: more is not read.
pub const ANSWER_BYTES: u64 = 64 * 1024;
/// Redirects of a download (to a blob store).
pub const REDIRECTS: usize = 5;
/// Tries of a read-merge-write of the referrers tag while others write it too.
pub const MERGE_ATTEMPTS: u32 = 16;
/// Blobs copied at the same time. More only help against far registries, and each holds buffers.
pub const PARALLEL: usize = 4;
/// Pieces that blobs are read in.
pub const CHUNK: usize = 128 * 1024;
/// A credential helper's time: some ask the user's key ring.
pub const HELPER_TIME: Duration = Duration::from_secs(30);
/// A file with credentials.
pub const CREDENTIAL_FILE_BYTES: u64 = 1024 * 1024;
