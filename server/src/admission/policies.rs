//! The files of policies, and the trust root: read again when they change, and never used when they cannot be read.

use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use admission::{By, KeyName, PolicySet};
use attest::{PublicKey, TrustRoot, Verifier};

use super::limits;

/// Policies as they are used: parsed, their keys and authorities ready.
pub struct Loaded {
    /// The policies.
    pub set: PolicySet,
    /// Verifies under the trust root.
    pub verifier: Verifier,
    /// The keys that the policies name.
    pub keys: Vec<(KeyName, PublicKey)>,
    /// Whether a policy wants signatures by certificate.
    pub keyless: bool,
}

/// The files.
pub struct Policies {
    files: Vec<PathBuf>,
    trusted_root: Option<PathBuf>,
    known: Mutex<Option<Known>>,
}

struct Known {
    stamps: Vec<Stamp>,
    read_at: SystemTime,
    loaded: Arc<Loaded>,
}

/// What changes when a file does, whoever writes it and however.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Policies {
    /// Of these files. Nothing is read yet.
    pub fn new(files: Vec<PathBuf>, trusted_root: Option<PathBuf>) -> Self {
        Self { files, trusted_root, known: Mutex::default() }
    }

    /// The policies as the files are now; why not, in words. Touches the disk: not for a thread that serves others.
    pub fn current(&self) -> Result<Arc<Loaded>, String> {
        let now = SystemTime::now();
        let stamps = self.stamps()?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*known
            && known.stamps == stamps
            && settled(&stamps, known.read_at)
        {
            return Ok(known.loaded.clone());
        }
        drop(known);
        let loaded = Arc::new(self.read()?);
        // What was written while it was read shows in the stamps: they were taken before.
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Known { stamps, read_at: now, loaded: loaded.clone() });
        Ok(loaded)
    }

    fn stamps(&self) -> Result<Vec<Stamp>, String> {
        let all = self.files.iter().chain(&self.trusted_root);
        all.map(|path| {
            let meta = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
            Ok(Stamp {
                device: meta.dev(),
                inode: meta.ino(),
                size: meta.size(),
                modified: (meta.mtime(), meta.mtime_nsec()),
                changed: (meta.ctime(), meta.ctime_nsec()),
            })
        })
        .collect()
    }

    fn read(&self) -> Result<Loaded, String> {
        let mut files = Vec::with_capacity(self.files.len());
        for path in &self.files {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            files.push((name, bytes(path, admission::limits::POLICY_BYTES as u64)?));
        }
        let set = PolicySet::read(&files).map_err(|error| error.to_string())?;
        let trust = match &self.trusted_root {
            Some(path) => TrustRoot::from_json(&bytes(path, attest::limits::MAX_TRUST_ROOT as u64)?),
            None => TrustRoot::public(),
        };
        let verifier = trust.and_then(Verifier::new).map_err(|refused| refused.to_string())?;
        let named = set.keys();
        if named.len() > limits::KEYS {
            return Err(format!("the policies name more than {} keys", limits::KEYS));
        }
        let mut keys = Vec::with_capacity(named.len());
        for name in named {
            let key = PublicKey::from_pem(&name.pem).map_err(|refused| refused.to_string())?;
            if key.hint() != name.hint {
                return Err(format!("the key {} is read in two ways", name.hint));
            }
            keys.push((name.clone(), key));
        }
        let keyless = set.policies.iter().flat_map(|p| &p.authorities).any(|a| matches!(a.by, By::Keyless(_)));
        Ok(Loaded { set, verifier, keys, keyless })
    }
}

/// Whether the files had rested for a while when they were read.
fn settled(stamps: &[Stamp], read_at: SystemTime) -> bool {
    let read_at = read_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    stamps.iter().all(|stamp| {
        let (seconds, nanos) = stamp.changed;
        let changed = Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0));
        changed + limits::RACY < read_at
    })
}

/// A file of at most so many bytes; a longer one is read one byte further, so that whoever parses it refuses it.
fn bytes(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    Ok(bytes)
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    // The name alone: where files lie is nobody's business in a cluster.
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    format!("{name} cannot be read: {error}")
}
