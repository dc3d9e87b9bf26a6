//! The inclusion and consistency vectors of transparency-dev/merkle, read from the test data folder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "tests panic and print")]

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use tlog::{Hash, HashError, verify_consistency, verify_inclusion};

/// Vectors of each kind in the folder: fewer means that the data is not what this test was written for.
const EACH: usize = 98;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inclusion {
    leaf_idx: u64,
    tree_size: u64,
    root: Option<String>,
    leaf_hash: Option<String>,
    proof: Option<Vec<String>>,
    want_err: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consistency {
    size1: u64,
    size2: u64,
    root1: Option<String>,
    root2: Option<String>,
    proof: Option<Vec<String>>,
    want_err: bool,
}

/// Their "hashes" may have any length; one that is not 32 bytes is refused before any arithmetic.
fn hash(base64: &Option<String>) -> Result<Hash, HashError> {
    let bytes = STANDARD.decode(base64.as_deref().unwrap_or_default()).expect("the vectors are base64");
    Hash::from_slice(&bytes)
}

fn hashes(proof: &Option<Vec<String>>) -> Result<Vec<Hash>, HashError> {
    proof.iter().flatten().map(|text| hash(&Some(text.clone()))).collect()
}

fn check_inclusion(vector: &Inclusion) -> Result<(), String> {
    let (leaf, root) = (hash(&vector.leaf_hash), hash(&vector.root));
    let (leaf, root) = (leaf.map_err(|e| e.to_string())?, root.map_err(|e| e.to_string())?);
    let proof = hashes(&vector.proof).map_err(|e| e.to_string())?;
    verify_inclusion(&leaf, vector.leaf_idx, vector.tree_size, &proof, &root).map_err(|e| e.to_string())
}

fn check_consistency(vector: &Consistency) -> Result<(), String> {
    let (old, new) = (hash(&vector.root1), hash(&vector.root2));
    let (old, new) = (old.map_err(|e| e.to_string())?, new.map_err(|e| e.to_string())?);
    let proof = hashes(&vector.proof).map_err(|e| e.to_string())?;
    verify_consistency(vector.size1, &old, vector.size2, &new, &proof).map_err(|e| e.to_string())
}

/// All JSON files below a folder of the test data, or `None` (said loudly) when there is no test data.
fn files(folder: &str) -> Option<Vec<PathBuf>> {
    let Some(data) = std::env::var_os("DELIVERYOS_TEST_DATA") else {
        eprintln!("SKIPPED: vectors of {folder}: DELIVERYOS_TEST_DATA is not set");
        return None;
    };
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut folders = vec![workspace.join(data).join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    assert_eq!(files.len(), EACH, "vectors in {folder}");
    Some(files)
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn inclusion() {
    let mut accepted = 0;
    for path in files("merkle/inclusion").unwrap_or_default() {
        let vector: Inclusion = read(&path);
        let result = check_inclusion(&vector);
        assert_eq!(result.is_err(), vector.want_err, "{}: {result:?}", path.display());
        accepted += usize::from(result.is_ok());
    }
    eprintln!("inclusion vectors accepted: {accepted}");
}

#[test]
fn consistency() {
    let mut accepted = 0;
    for path in files("merkle/consistency").unwrap_or_default() {
        let vector: Consistency = read(&path);
        let result = check_consistency(&vector);
        // The one good vector whose roots are words instead of hashes: no such value exists here.
        let not_a_hash = path.ends_with("additional/sizes-are-equal-one-and-proof-is-empty.json");
        assert_eq!(result.is_err(), vector.want_err || not_a_hash, "{}: {result:?}", path.display());
        accepted += usize::from(result.is_ok());
    }
    eprintln!("consistency vectors accepted: {accepted}");
}
