//! The port [`Signer`], and a signer that keeps its key in memory.

use async_trait::async_trait;
use ed25519_dalek::{Signer as _, SigningKey};

/// A signature could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("signing failed: {0}")]
pub struct SignError(pub String);

/// Signs for the log. The key may be in a file, an agent or a hardware module.
#[async_trait]
pub trait Signer: Send + Sync + 'static {
    /// The 32 bytes of the Ed25519 public key.
    fn public_key(&self) -> [u8; 32];
    /// Signs these bytes (pure Ed25519).
    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError>;
}

/// A key in this process's memory, wiped when dropped.
pub struct MemorySigner(SigningKey);

/// The operating system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no randomness for a key")]
pub struct NoRandomness;

impl MemorySigner {
    /// From the 32 secret bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// A new key.
    pub fn generate() -> Result<Self, NoRandomness> {
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| NoRandomness)?;
        Ok(Self::from_seed(&seed))
    }

    pub(crate) fn key(&self) -> &SigningKey {
        &self.0
    }
}

#[async_trait]
impl Signer for MemorySigner {
    fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }
    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        Ok(self.0.sign(message).to_bytes())
    }
}

impl std::fmt::Debug for MemorySigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemorySigner").field("public", &hex::encode(self.public_key())).finish_non_exhaustive()
    }
}

/// The name of a log with this key that was given none: `deliveryos.local/` and the key's first eight bytes.
pub fn default_origin(public_key: &[u8; 32]) -> String {
    let (head, _) = public_key.split_at(8);
    format!("deliveryos.local/{}", hex::encode(head))
}
