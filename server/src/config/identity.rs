//! The identity of a version that is a command and has no image.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use model::Digest;
use sha2::{Digest as _, Sha256};

/// First line of what is hashed: names the form, so that it can change.
const FORM: &str = "deliveryos process version v1\n";

/// Bytes read at once while hashing a program.
const BLOCK: usize = 64 * 1024;

/// Why a command has no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No such program.
    #[error("the program {0:?} is not found")]
    NotFound(String),
    /// It cannot be read.
    #[error("the program {path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// SHA-256 over the form's name, the SHA-256 of the executable file, the arguments and the further environment, each with its
/// length before it. Two versions that differ in any of these differ in their digest; files that the program reads later are not
/// covered, so an image's digest says more.
pub fn process_digest(command: &[String], env: &BTreeMap<String, String>) -> Result<Digest, IdentityError> {
    let (program, arguments) = command.split_first().ok_or_else(|| IdentityError::NotFound(String::new()))?;
    let executable = file_hash(&find(program)?)?;
    let mut hash = Sha256::new();
    hash.update(FORM);
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(&executable);
    part(&(arguments.len() as u64).to_be_bytes());
    arguments.iter().for_each(|argument| part(argument.as_bytes()));
    for (name, value) in env {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    Ok(Digest::from_sha256(&hash.finalize().into()))
}

/// The file that a program's name stands for, as the shell finds it.
fn find(program: &str) -> Result<PathBuf, IdentityError> {
    let direct = Path::new(program);
    if program.contains('/') {
        return if direct.is_file() { Ok(direct.to_owned()) } else { Err(IdentityError::NotFound(program.to_owned())) };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| IdentityError::NotFound(program.to_owned()))
}

fn file_hash(path: &Path) -> Result<[u8; 32], IdentityError> {
    let error = |source| IdentityError::Read { path: path.to_owned(), source };
    let mut file = std::fs::File::open(path).map_err(error)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; BLOCK];
    loop {
        let n = io::Read::read(&mut file, &mut block).map_err(error)?;
        if n == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&block[..n]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_shows() {
        let of = |command: &[&str], env: &[(&str, &str)]| {
            let command: Vec<String> = command.iter().map(|s| (*s).to_owned()).collect();
            let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            process_digest(&command, &env).unwrap()
        };
        let base = of(&["/bin/sh", "a", "b"], &[]);
        assert_eq!(base, of(&["/bin/sh", "a", "b"], &[]));
        for other in [
            of(&["/bin/sh", "ab"], &[]),
            of(&["/bin/sh", "a"], &[("b", "")]),
            of(&["/bin/sh", "a", "b"], &[("x", "1")]),
            of(&["/bin/cat", "a", "b"], &[]),
        ] {
            assert_ne!(base, other);
        }
        let missing = process_digest(&["no-such-program-here".to_owned()], &BTreeMap::new());
        assert!(matches!(missing, Err(IdentityError::NotFound(_))));
    }
}
