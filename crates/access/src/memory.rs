//! Credentials in memory: for tests and for what need not outlive the process.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use model::Timestamp;

use crate::{AccessError, AccessStore, Credential, CredentialKind};

/// Keeps credentials in memory.
#[derive(Default)]
pub struct MemoryAccessStore(Mutex<HashMap<String, Credential>>);

impl MemoryAccessStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Credential>> {
        // Each method is one map operation: a panic elsewhere cannot have left half of one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl AccessStore for MemoryAccessStore {
    async fn put(&self, credential: &Credential) -> Result<(), AccessError> {
        self.lock().insert(credential.hash.clone(), credential.clone());
        Ok(())
    }

    async fn get(&self, hash: &str) -> Result<Option<Credential>, AccessError> {
        Ok(self.lock().get(hash).cloned())
    }

    async fn take(&self, hash: &str) -> Result<Option<Credential>, AccessError> {
        Ok(self.lock().remove(hash))
    }

    async fn extend(&self, hash: &str, expires: Timestamp) -> Result<bool, AccessError> {
        Ok(self.lock().get_mut(hash).map(|credential| credential.expires = expires).is_some())
    }

    async fn list(&self, kind: CredentialKind) -> Result<Vec<Credential>, AccessError> {
        let mut all: Vec<_> = self.lock().values().filter(|credential| credential.kind == kind).cloned().collect();
        all.sort_by(|a, b| (a.created, &a.hash).cmp(&(b.created, &b.hash)));
        Ok(all)
    }

    async fn prune(&self, now: Timestamp) -> Result<u64, AccessError> {
        let mut all = self.lock();
        let before = all.len();
        all.retain(|_, credential| credential.expires > now);
        Ok((before - all.len()) as u64)
    }
}
