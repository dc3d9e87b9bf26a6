//! Signatures that held are not computed again.
//!
//! Whether a signature holds depends on its scheme, the key, the message and its own bytes, and on nothing else: no time, no policy, no
//! trust root. So what held is remembered, for as long as the process runs, under the SHA-256 of exactly these, and everything around it
//! (chains, windows, identities, proofs, what is about what) is checked each time. What did not hold is not remembered.
//!
//! That spares the library's second look at a log's promise in one bundle, a log's checkpoint that many bundles show, and all of a
//! bundle that is seen again: when a release starts, at each promotion, at each pod.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::digest::{Context, SHA256};
use sigstore_verify::{
    crypto::{
        CryptoProvider, KeyAlgorithm, Result, SigningScheme, aws_lc_provider, install_default_provider,
        provider::{HashContext, SigningKeyPair},
    },
    types::HashAlgorithm,
};

/// So many signatures at least are remembered, twice as many at most: those of some hundred bundles, half a megabyte.
const REMEMBERED: usize = 4 * 1024;
/// Longest message whose signature is remembered, in bytes: to hash a longer one costs as much as to compute the signature.
const LONGEST: usize = 64 * 1024;

static PROVIDER: Remembering = Remembering { held: Mutex::new(None) };

/// From here on the library's signatures are verified by way of this memory.
pub(super) fn install() {
    // Whoever came first stays: that was this very provider.
    let _ = install_default_provider(&PROVIDER);
}

/// Forgets which signatures held, so that each is computed again. For measurements: no verdict depends on it.
pub fn forget_signatures() {
    *lock(&PROVIDER.held) = None;
}

/// The cryptography that the library has by itself, with a memory.
#[derive(Debug)]
struct Remembering {
    held: Mutex<Option<Held>>,
}

/// Two generations: the older one is dropped when the younger one is full.
#[derive(Debug, Default)]
struct Held {
    young: HashSet<[u8; 32]>,
    old: HashSet<[u8; 32]>,
}

impl Held {
    /// Whether it held. What is asked for stays young.
    fn holds(&mut self, name: &[u8; 32]) -> bool {
        if self.young.contains(name) {
            return true;
        }
        let found = self.old.remove(name);
        if found {
            self.add(*name);
        }
        found
    }

    fn add(&mut self, name: [u8; 32]) {
        if self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name);
    }
}

/// A set of hashes is whole whatever a thread that panicked did last.
fn lock(held: &Mutex<Option<Held>>) -> std::sync::MutexGuard<'_, Option<Held>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was signed: the message, or what it was hashed to.
#[derive(Clone, Copy)]
enum Signed {
    Message = 0,
    Digest = 1,
}

/// The name of one question: lengths stand before what has one, so that no two questions are the same bytes.
fn name(scheme: SigningScheme, key: &[u8], signed: Signed, message: &[u8], signature: &[u8]) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    hash.update(&[signed as u8]);
    for part in [scheme.name().as_bytes(), key, message, signature] {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut name = [0; 32];
    name.copy_from_slice(hash.finish().as_ref());
    name
}

impl Remembering {
    /// Nothing is locked while a signature is computed.
    fn once(&self, name: [u8; 32], compute: impl FnOnce() -> Result<()>) -> Result<()> {
        if lock(&self.held).get_or_insert_default().holds(&name) {
            return Ok(());
        }
        compute()?;
        lock(&self.held).get_or_insert_default().add(name);
        Ok(())
    }
}

impl CryptoProvider for Remembering {
    fn verify_raw(&self, scheme: SigningScheme, key: &[u8], data: &[u8], signature: &[u8]) -> Result<()> {
        let compute = || aws_lc_provider().verify_raw(scheme, key, data, signature);
        if data.len() > LONGEST {
            return compute();
        }
        self.once(name(scheme, key, Signed::Message, data, signature), compute)
    }

    fn verify_prehashed(&self, scheme: SigningScheme, key: &[u8], digest: &[u8], signature: &[u8]) -> Result<()> {
        let compute = || aws_lc_provider().verify_prehashed(scheme, key, digest, signature);
        self.once(name(scheme, key, Signed::Digest, digest, signature), compute)
    }

    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>> {
        aws_lc_provider().hash(algorithm)
    }

    fn sha256(&self, data: &[u8]) -> [u8; 32] {
        aws_lc_provider().sha256(data)
    }

    fn sha384(&self, data: &[u8]) -> [u8; 48] {
        aws_lc_provider().sha384(data)
    }

    fn sha512(&self, data: &[u8]) -> [u8; 64] {
        aws_lc_provider().sha512(data)
    }

    fn generate_key_pair(&self, algorithm: KeyAlgorithm) -> Result<Box<dyn SigningKeyPair>> {
        aws_lc_provider().generate_key_pair(algorithm)
    }

    fn key_pair_from_pkcs8_der(&self, pkcs8: &[u8]) -> Result<Box<dyn SigningKeyPair>> {
        aws_lc_provider().key_pair_from_pkcs8_der(pkcs8)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use sigstore_verify::crypto::sha256;

    use super::*;

    fn fresh() -> Remembering {
        Remembering { held: Mutex::new(None) }
    }

    #[test]
    fn what_held_is_not_computed_again_and_nothing_else_passes_for_it() {
        use aws_lc_rs::{rand::SystemRandom, signature::*};
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let message = b"what is delivered";
        let signature = pair.sign(&SystemRandom::new(), message).unwrap();
        let (key, signature) = (pair.public_key().as_ref(), signature.as_ref());
        let (scheme, other) = (SigningScheme::EcdsaP256Sha256, SigningScheme::EcdsaP256Sha384);
        let provider = fresh();
        let known = || lock(&provider.held).as_ref().map_or(0, |held| held.young.len());
        for _ in 0..2 {
            provider.verify_raw(scheme, key, message, signature).unwrap();
            assert_eq!(known(), 1);
        }
        let digest = sha256(message);
        for _ in 0..2 {
            provider.verify_prehashed(scheme, key, digest.as_bytes(), signature).unwrap();
            assert_eq!(known(), 2, "a digest is no message");
        }
        let changed = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        };
        let mut longer = message.to_vec();
        longer.push(signature[0]);
        for _ in 0..2 {
            assert!(provider.verify_raw(scheme, key, &changed(message), signature).is_err());
            assert!(provider.verify_raw(scheme, key, message, &changed(signature)).is_err());
            assert!(provider.verify_raw(scheme, &changed(key), message, signature).is_err());
            assert!(provider.verify_raw(other, key, message, signature).is_err());
            assert!(provider.verify_raw(scheme, key, &longer, &signature[1..]).is_err());
            assert!(provider.verify_raw(scheme, key, digest.as_bytes(), signature).is_err());
            assert!(provider.verify_prehashed(scheme, key, &changed(digest.as_bytes()), signature).is_err());
        }
        assert_eq!(known(), 2, "what did not hold is not remembered");
    }

    #[test]
    fn each_is_computed_once_while_it_is_remembered() {
        let provider = fresh();
        let computed = Cell::new(0);
        let once = |number: usize| {
            let mut name = [0; 32];
            name[..8].copy_from_slice(&number.to_be_bytes());
            let compute = || {
                computed.set(computed.get() + 1);
                Ok(())
            };
            provider.once(name, compute).unwrap();
            computed.get()
        };
        for number in 0..2 * REMEMBERED {
            once(number);
        }
        assert_eq!(once(0), 2 * REMEMBERED, "none is forgotten before twice as many are known");
        assert_eq!(once(2 * REMEMBERED), 2 * REMEMBERED + 1);
        let held = lock(&provider.held);
        let held = held.as_ref().unwrap();
        assert!(held.young.len() <= REMEMBERED && held.old.len() <= REMEMBERED);
    }
}
