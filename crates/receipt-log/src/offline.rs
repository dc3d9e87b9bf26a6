//! Checking and exporting a whole log without a server, and checking one receipt's file.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use receipts::{
    KeyRotated, PartsError, ReceiptKey, ReceiptParts, Report, read_unverified, verify, verify_alone, verify_receipt,
};
use serde::Serialize;
use tlog::{Checkpoint, Frontier, Hash, NodeId, SignedNote, TileId, TilePath, VerifyingKey, leaf_hash, proof};

use crate::{
    Store, StoreError,
    store::{StoredCheckpoint, StoredEntry},
    tiles,
};

/// Entries read at once: usually some 2 MB, at most 64 MB of the largest.
const PAGE: u32 = 1024;

/// What the verifier brings with it, from elsewhere. Without a key, the log's own first entry says the key, and that proves
/// only that the log agrees with itself.
#[derive(Debug, Clone, Default)]
pub struct Pins {
    /// The key that must have signed.
    pub vkey: Option<VerifyingKey>,
    /// A checkpoint of an earlier time, which the log must extend. Only this reveals that a whole older copy was put in place.
    pub checkpoint: Option<SignedNote>,
}

/// What came of checking a whole log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// True when everything that was checked holds.
    pub holds: bool,
    /// The log's name.
    pub origin: Option<String>,
    /// The key that it was checked with.
    pub vkey: Option<String>,
    /// True when that key was given, false when the log itself named it.
    pub key_pinned: bool,
    /// True when an earlier checkpoint was given and the log extends it.
    pub checkpoint_pinned: bool,
    /// Receipts that the checkpoint covers.
    pub size: u64,
    /// Receipts whose signature, form and place hold.
    pub checked: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Root recomputed over them.
    pub root: Hash,
    /// What does not hold, first in the log's order.
    pub first_bad: Option<Bad>,
}

/// Where a log is not what was signed, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bad {
    /// First receipt that may be wrong; all before it hold. `None` when it is not about a receipt.
    pub index: Option<u64>,
    /// Last receipt that may be wrong, when it cannot be told more closely than a range.
    pub until: Option<u64>,
    /// Why.
    pub reason: String,
}

/// Why a log was not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Store(#[from] StoreError),
    /// A file cannot be written.
    #[error("{path} cannot be written")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is nothing to export.
    #[error("the log has no checkpoint yet")]
    Empty,
}

/// Checks every receipt's signature and form, recomputes the tree and every stored node, and holds the roots against every
/// checkpoint that was ever committed and the newest one's signature. Needs memory for one page only, and all cores for most of its work.
///
/// Stops at the first thing that does not hold. `progress` is told receipts done and in all.
pub async fn verify_log(
    store: &dyn Store,
    pins: &Pins,
    mut progress: impl FnMut(u64, u64) + Send,
) -> Result<VerifyReport, StoreError> {
    let mut report = VerifyReport {
        holds: false,
        origin: None,
        vkey: None,
        key_pinned: pins.vkey.is_some(),
        checkpoint_pinned: false,
        size: 0,
        checked: 0,
        bytes: 0,
        root: tlog::empty_root(),
        first_bad: None,
    };
    report.first_bad = match check_log(store, pins, &mut report, &mut progress).await {
        Ok(()) => None,
        Err(Finding::Bad(bad)) => Some(bad),
        // Damage that the store itself notices is a finding about the log, and not a failure to find out.
        Err(Finding::Store(StoreError::Damaged(reason))) => {
            Some(Bad { index: Some(report.checked), until: None, reason })
        }
        Err(Finding::Store(error)) => return Err(error),
    };
    report.holds = report.first_bad.is_none();
    Ok(report)
}

/// Writes the log as a directory in the layout of c2sp.org/tlog-tiles (`checkpoint`, `tile/…`, `tile/entries/…`), and its
/// key as `log.vkey` when it is given. Answers with the number of receipts.
///
/// The checkpoint is written last: a reader of the directory never sees one whose tiles are not there yet.
pub async fn export(
    store: &dyn Store,
    directory: &Path,
    vkey: Option<&VerifyingKey>,
    mut progress: impl FnMut(u64, u64) + Send,
) -> Result<u64, ExportError> {
    let Some((note, checkpoint)) = crate::proofs::checkpoint(store).await? else { return Err(ExportError::Empty) };
    let size = checkpoint.size;
    for id in TileId::grown(0, size) {
        let mut paths = vec![TilePath::Hashes(id)];
        if id.level() == 0 {
            paths.push(TilePath::Entries(id));
        }
        for path in paths {
            let bytes = tiles::tile(store, path).await?;
            let bytes = bytes.ok_or_else(|| StoreError::Damaged(format!("{path} is missing")))?;
            write(&directory.join(path.to_string()), &bytes)?;
        }
        if id.level() == 0 {
            let done = id.index().saturating_mul(tlog::TILE_WIDTH.into()).saturating_add(id.width().into());
            progress(done.min(size), size);
        }
    }
    if let Some(vkey) = vkey {
        write(&directory.join("log.vkey"), format!("{vkey}\n").as_bytes())?;
    }
    write(&directory.join("checkpoint"), note.to_string().as_bytes())?;
    Ok(size)
}

/// Checks a file that holds a receipt: a `.tlog-proof` with the entry in it, or a bare envelope, of which only the
/// signature can be checked.
pub fn verify_receipt_file(file: &[u8], vkey: &VerifyingKey) -> Result<Report, PartsError> {
    if file.starts_with(proof::HEADER.as_bytes()) {
        let parts = ReceiptParts::from_tlog_proof(file, None)?;
        return Ok(verify_receipt(&parts, vkey, None, None));
    }
    let entry = file.trim_ascii();
    if entry.len() > receipts::MAX_ENTRY {
        return Err(PartsError::Entry);
    }
    Ok(verify_alone(entry, vkey))
}

enum Finding {
    Bad(Bad),
    Store(StoreError),
}

impl From<StoreError> for Finding {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn bad(index: impl Into<Option<u64>>, reason: impl ToString) -> Finding {
    Finding::Bad(Bad { index: index.into(), until: None, reason: reason.to_string() })
}

fn bad_within(index: u64, until: u64, reason: impl ToString) -> Finding {
    let until = Some(until).filter(|until| *until > index);
    Finding::Bad(Bad { index: Some(index), until, reason: reason.to_string() })
}

async fn check_log(
    store: &dyn Store,
    pins: &Pins,
    report: &mut VerifyReport,
    progress: &mut (impl FnMut(u64, u64) + Send),
) -> Result<(), Finding> {
    let head = store.head().await?;
    let Some(text) = head.checkpoint else {
        return if head.size > 0 {
            Err(bad(0, "there are receipts, but no checkpoint"))
        } else if pins.checkpoint.is_some() {
            Err(bad(0, "the log is empty, but an earlier checkpoint was given"))
        } else {
            Ok(())
        };
    };
    let note =
        SignedNote::parse(text.as_bytes()).map_err(|e| bad(None, format!("the checkpoint is not a note: {e}")))?;
    let parsed: Checkpoint = note.text().parse().map_err(|e| bad(None, format!("the checkpoint is not one: {e}")))?;
    report.origin = Some(parsed.origin.clone());
    report.size = parsed.size;
    let vkey = match &pins.vkey {
        Some(vkey) => vkey.clone(),
        None => stated_key(store).await?,
    };
    report.vkey = Some(vkey.to_string());
    let key = ReceiptKey::from_vkey(&vkey).map_err(|error| bad(None, error))?;
    let open =
        |note: &SignedNote| Checkpoint::open(note, vkey.name(), std::slice::from_ref(&vkey)).map(|o| o.checkpoint);
    let checkpoint =
        open(&note).map_err(|error| bad(None, format!("the checkpoint is refused: {}", with_sources(&error))))?;
    let pinned = pins.checkpoint.as_ref().map(open).transpose();
    let pinned =
        pinned.map_err(|error| bad(None, format!("the checkpoint given is refused: {}", with_sources(&error))))?;
    if let Some(pinned) = pinned.as_ref().filter(|pinned| pinned.size > checkpoint.size) {
        let reason = format!(
            "the log had {} receipts once, now it has {}: it was cut or replaced",
            pinned.size, checkpoint.size
        );
        return Err(bad(checkpoint.size, reason));
    }

    let mut walk = Walk { store, frontier: Frontier::new(), history: History::default(), computed: Vec::new() };
    while walk.frontier.size() < checkpoint.size {
        let from = walk.frontier.size();
        let wanted = (checkpoint.size - from).min(PAGE.into()) as u32;
        let page = Arc::new(store.entries(from, wanted).await?);
        let refused = verify_page(&page, &key).await;
        for (index, place) in (from..from + u64::from(wanted)).zip(0_usize..) {
            let stored = page.get(place).filter(|stored| stored.index == index);
            let stored = stored.ok_or_else(|| bad(index, "the receipt is missing"))?;
            if let Some((_, reason)) = refused.as_ref().filter(|(at, _)| *at == place) {
                return Err(bad(index, reason));
            }
            let leaf = leaf_hash(&stored.entry);
            if leaf != stored.leaf {
                return Err(bad(index, "the receipt's bytes are not those that were hashed into the tree"));
            }
            walk.push(leaf).await?;
            report.checked = index + 1;
            report.bytes += stored.entry.len() as u64;
            if report.checked == checkpoint.size {
                report.root = walk.frontier.root();
            }
            if let Some(pinned) = pinned.as_ref().filter(|pinned| pinned.size == report.checked) {
                let root = walk.frontier.root();
                if root != pinned.root {
                    let reason = format!("the checkpoint given has another history: root {}, not {root}", pinned.root);
                    return Err(bad_within(walk.history.good, index, reason));
                }
                report.checkpoint_pinned = true;
            }
        }
        walk.compare_nodes().await?;
        progress(report.checked, checkpoint.size);
    }
    if report.root != checkpoint.root {
        let reason = format!("the tree has root {}, the signed checkpoint says {}", report.root, checkpoint.root);
        return Err(bad_within(walk.history.good, checkpoint.size.saturating_sub(1), reason));
    }
    if head.size > checkpoint.size {
        return Err(bad(checkpoint.size, "the receipt is not covered by the signed checkpoint"));
    }
    Ok(())
}

/// Signature and form of every entry of a page, on all cores: nearly all of the work. The first that is refused, by its
/// place in the page, and why.
async fn verify_page(page: &Arc<Vec<StoredEntry>>, key: &ReceiptKey) -> Option<(usize, String)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = page.len().div_ceil(cores).max(1);
    let tasks: Vec<_> = (0..page.len())
        .step_by(share)
        .map(|from| {
            let (page, key) = (page.clone(), key.clone());
            tokio::task::spawn_blocking(move || {
                let entries = page.iter().enumerate().skip(from).take(share);
                let mut refused = entries.filter_map(|(at, stored)| {
                    verify(&stored.entry, std::slice::from_ref(&key)).err().map(|refused| (at, refused.to_string()))
                });
                refused.next()
            })
        })
        .collect();
    let mut first: Option<(usize, String)> = None;
    for (task, from) in tasks.into_iter().zip((0..).step_by(share)) {
        // A task that did not end well has verified nothing.
        let found = task.await.unwrap_or_else(|error| Some((from, format!("it could not be verified: {error}"))));
        first = first.or(found);
    }
    first
}

/// The key that the log's first entry names. Not to be relied on: an impostor's log names its own.
async fn stated_key(store: &dyn Store) -> Result<VerifyingKey, Finding> {
    let first = store.entries(0, 1).await?.into_iter().next().filter(|stored| stored.index == 0);
    let first = first.ok_or_else(|| bad(0, "the receipt is missing"))?;
    let payload = read_unverified(&first.entry).map_err(|refused| bad(0, refused))?;
    let facts: KeyRotated = payload.facts().map_err(|_| bad(0, "the first receipt does not state the log's key"))?;
    facts.vkey.parse().map_err(|error| bad(0, format!("the first receipt states an unusable key: {error}")))
}

/// The tree as it is recomputed, held against what is stored.
struct Walk<'a> {
    store: &'a dyn Store,
    frontier: Frontier,
    history: History,
    /// Nodes above the leaves that were computed since they were last compared.
    computed: Vec<(NodeId, Hash)>,
}

/// The committed checkpoints, in order.
#[derive(Default)]
struct History {
    page: std::collections::VecDeque<StoredCheckpoint>,
    read_to: u64,
    exhausted: bool,
    /// Receipts under the last checkpoint whose root was found again: everything before holds.
    good: u64,
}

impl Walk<'_> {
    async fn push(&mut self, leaf: Hash) -> Result<(), Finding> {
        let computed = &mut self.computed;
        self.frontier.append(leaf, |id, hash| {
            if id.level > 0 {
                computed.push((id, hash));
            }
        });
        let size = self.frontier.size();
        while let Some(stored) = self.history.next_up_to(self.store, size).await? {
            if stored.size < size {
                continue;
            }
            let note = SignedNote::parse(stored.note.as_bytes()).ok();
            let root = note.and_then(|note| note.text().parse::<Checkpoint>().ok()).map(|checkpoint| checkpoint.root);
            if root != Some(self.frontier.root()) {
                // Nodes may tell more closely where.
                self.compare_nodes().await?;
                let reason = format!("the tree differs from the checkpoint that was signed over {size} receipts");
                return Err(bad_within(self.history.good, size - 1, reason));
            }
            self.history.good = size;
        }
        Ok(())
    }

    /// Holds the nodes computed against the nodes stored, from which proofs are served.
    async fn compare_nodes(&mut self) -> Result<(), Finding> {
        let mut computed = std::mem::take(&mut self.computed);
        computed.sort_by_key(|(id, _)| *id);
        let mut worst: Option<(u64, u64)> = None;
        for run in computed.chunk_by(|(a, _), (b, _)| a.level == b.level) {
            let Some((first, _)) = run.first() else { continue };
            let stored = self.store.level(first.level, first.index, run.len() as u32).await?;
            for (place, (id, hash)) in run.iter().enumerate() {
                if stored.get(place) != Some(hash) {
                    let leaves = id.leaves().unwrap_or_default();
                    let found = (leaves.start.max(self.history.good), leaves.end.saturating_sub(1));
                    // The lowest level is the closest; of one level the first.
                    worst = worst.or(Some(found));
                }
            }
        }
        match worst {
            Some((first, last)) => Err(bad_within(first.min(last), last, "the stored tree differs from the receipts")),
            None => Ok(()),
        }
    }
}

impl History {
    /// The next committed checkpoint over at most `size` receipts.
    async fn next_up_to(&mut self, store: &dyn Store, size: u64) -> Result<Option<StoredCheckpoint>, StoreError> {
        if self.page.is_empty() && !self.exhausted {
            self.page = store.checkpoints(self.read_to, PAGE).await?.into();
            self.exhausted = self.page.is_empty();
            self.read_to = self.page.back().map_or(self.read_to, |last| last.size + 1);
        }
        Ok(if self.page.front().is_some_and(|next| next.size <= size) { self.page.pop_front() } else { None })
    }
}

/// An error and what caused it, in one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, bytes)).map_err(|source| ExportError::Io { path: path.to_owned(), source })
}
