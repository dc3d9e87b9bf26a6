//! Whether the inputs of a step are those of the last time.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// A hash over names and contents, in the order in which they are added.
#[derive(Default)]
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds a value under a name.
    pub(crate) fn value(&mut self, name: &str, value: &[u8]) -> &mut Self {
        // Lengths first, so that no two lists of inputs run together to the same bytes.
        self.0.update((name.len() as u64).to_le_bytes());
        self.0.update(name);
        self.0.update((value.len() as u64).to_le_bytes());
        self.0.update(value);
        self
    }

    /// Adds a file's content under its path.
    pub(crate) fn file(&mut self, path: &Path) -> Result<&mut Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(self.value(&path.to_string_lossy(), &bytes))
    }

    /// Adds every file below a directory; an absent directory adds nothing.
    pub(crate) fn tree(&mut self, dir: &Path) -> Result<&mut Self> {
        for path in files_below(dir)? {
            self.file(&path)?;
        }
        Ok(self)
    }

    /// The hash, in hexadecimal.
    pub(crate) fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// Every file below a directory, sorted; an absent directory has none.
pub(crate) fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot list {}", dir.display()));
            }
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() { todo.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

/// Whether `stamp` holds this fingerprint.
pub(crate) fn fresh(stamp: &Path, fingerprint: &str) -> bool {
    std::fs::read_to_string(stamp).is_ok_and(|text| text == fingerprint)
}

/// Remembers a fingerprint after the step has succeeded.
pub(crate) fn remember(stamp: &Path, fingerprint: &str) -> Result<()> {
    if let Some(dir) = stamp.parent() {
        std::fs::create_dir_all(dir)?;
    }
    std::fs::write(stamp, fingerprint).with_context(|| format!("cannot write {}", stamp.display()))
}
