//! What every [`AccessStore`] must do; each store runs it in its tests.

/// Run [`conformance::run`] with a maker of empty stores.
pub mod conformance {
    #![allow(clippy::unwrap_used, reason = "a test suite, called from tests only")]

    use std::{future::Future, sync::Arc};

    use model::Timestamp;

    use crate::{AccessStore, Credential, CredentialKind, Role};

    fn credential(hash: &str, kind: CredentialKind, created: i64, expires: i64) -> Credential {
        Credential {
            hash: hash.to_owned(),
            kind,
            actor: "dana".parse().unwrap(),
            role: Role::Operator,
            created: Timestamp::from_millis(created),
            expires: Timestamp::from_millis(expires),
            form_token: (kind == CredentialKind::Session).then(|| "form".to_owned()),
        }
    }

    /// Panics where a store does not conform.
    pub async fn run<F: Future<Output = Arc<dyn AccessStore>>>(make: impl Fn() -> F) {
        keeps_and_answers(make().await).await;
        takes_once(make().await).await;
        extends_only_what_is_there(make().await).await;
        lists_by_kind_oldest_first(make().await).await;
        prunes_what_has_expired(make().await).await;
    }

    async fn keeps_and_answers(store: Arc<dyn AccessStore>) {
        assert_eq!(store.get("a").await.unwrap(), None);
        for kind in [CredentialKind::Link, CredentialKind::Session, CredentialKind::Token] {
            let kept = credential("a", kind, 1, 2);
            store.put(&kept).await.unwrap();
            assert_eq!(store.get("a").await.unwrap(), Some(kept), "replaced, and all of it kept");
        }
    }

    async fn takes_once(store: Arc<dyn AccessStore>) {
        store.put(&credential("a", CredentialKind::Link, 1, 2)).await.unwrap();
        let takers: Vec<_> = (0..16)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.take("a").await.unwrap().is_some() })
            })
            .collect();
        let mut got = 0;
        for taker in takers {
            got += u32::from(taker.await.unwrap());
        }
        assert_eq!(got, 1, "of many takers one gets it");
        assert_eq!(store.get("a").await.unwrap(), None);
    }

    async fn extends_only_what_is_there(store: Arc<dyn AccessStore>) {
        let later = Timestamp::from_millis(9);
        assert!(!store.extend("a", later).await.unwrap());
        assert_eq!(store.get("a").await.unwrap(), None);
        store.put(&credential("a", CredentialKind::Session, 1, 2)).await.unwrap();
        assert!(store.extend("a", later).await.unwrap());
        assert_eq!(store.get("a").await.unwrap(), Some(credential("a", CredentialKind::Session, 1, 9)));
    }

    async fn lists_by_kind_oldest_first(store: Arc<dyn AccessStore>) {
        store.put(&credential("b", CredentialKind::Token, 2, 9)).await.unwrap();
        store.put(&credential("a", CredentialKind::Token, 3, 9)).await.unwrap();
        store.put(&credential("c", CredentialKind::Token, 1, 9)).await.unwrap();
        store.put(&credential("d", CredentialKind::Session, 1, 9)).await.unwrap();
        let hashes = |list: Vec<Credential>| list.into_iter().map(|c| c.hash).collect::<Vec<_>>();
        assert_eq!(hashes(store.list(CredentialKind::Token).await.unwrap()), ["c", "b", "a"]);
        assert_eq!(hashes(store.list(CredentialKind::Link).await.unwrap()), [""; 0]);
    }

    async fn prunes_what_has_expired(store: Arc<dyn AccessStore>) {
        for (hash, expires) in [("a", 1), ("b", 2), ("c", 3)] {
            store.put(&credential(hash, CredentialKind::Session, 0, expires)).await.unwrap();
        }
        assert_eq!(store.prune(Timestamp::from_millis(2)).await.unwrap(), 2);
        assert_eq!(store.get("b").await.unwrap(), None, "good until, not including");
        assert!(store.get("c").await.unwrap().is_some());
    }

    #[cfg(test)]
    #[tokio::test]
    async fn memory_conforms() {
        run(async || Arc::new(crate::MemoryAccessStore::new()) as Arc<dyn AccessStore>).await;
    }
}
