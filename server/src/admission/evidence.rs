//! What registries hold about an image, and what of it proves something.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use admission::{Fact, FactSigner, ImageName, Looked, Need, Says};
use attest::{Artifact, Evidence, Match, Policy, Proved, ProvedSigner, Refused, Signer};
use futures::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, Shared},
};
use model::{Digest, Timestamp};
use registry::{
    At, Contents, Credentials, Descriptor, Place as _, Registry, RegistryOptions, Tag, digest_of, read_whole,
};
use serde_json::Value;
use tokio::time::Instant;

use super::{Loaded, limits};

/// Type of a Sigstore bundle, up to its version.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";

/// What is proved about a digest, and what was there and proved nothing.
type Proofs = Arc<(Vec<Fact>, Vec<String>)>;
type Outcome = Result<Proofs, String>;
/// Image, policies, trust root, evidence.
type Key = [Digest; 4];
/// Repository, image, policies, trust root.
type Asked = (String, Digest, Digest, Digest);
/// A look-up that several wait for.
type Look = Shared<BoxFuture<'static, Outcome>>;

/// The registries that images come from.
pub struct Registries {
    options: RegistryOptions,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// A repository's connections, credentials' tokens, and whether it lists referrers.
    places: Mutex<Kept<String, Registry>>,
    /// Verified evidence.
    verified: Mutex<Kept<Key, Proofs>>,
    /// Look-ups under way, shared by those who ask for the same meanwhile.
    under_way: Mutex<HashMap<Asked, Look>>,
}

/// So many values; the oldest goes first.
struct Kept<K, V> {
    values: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self { values: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Clone + Eq + std::hash::Hash, V: Clone> Kept<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        self.values.get(key).cloned()
    }

    fn keep(&mut self, key: K, value: V, most: usize) {
        if self.values.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > most {
            if let Some(oldest) = self.order.pop_front() {
                self.values.remove(&oldest);
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // No holder leaves it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Registries {
    /// With what `docker login` left, or anonymously.
    pub fn new(plain_http: bool) -> Self {
        let options = RegistryOptions { plain_http, credentials: Credentials::from_environment() };
        Self { options, inner: Arc::default() }
    }

    /// Looks everything up that is needed, until `until`. What did not come by then is not known.
    pub async fn look(&self, needs: Vec<Need>, loaded: &Arc<Loaded>, until: Instant) -> BTreeMap<String, Looked> {
        let looks = futures::stream::iter(needs.into_iter().map(|need| async move {
            let written = need.image.written().to_owned();
            let looked = match tokio::time::timeout_at(until, self.one(&need, loaded)).await {
                Ok(Ok(found)) => found,
                Ok(Err(why)) => Looked::Unknown(why),
                Err(_) => Looked::Unknown(format!("{} did not answer in time", need.image.registry)),
            };
            (written, looked)
        }));
        looks.buffer_unordered(limits::LOOKS).collect().await
    }

    async fn one(&self, need: &Need, loaded: &Arc<Loaded>) -> Result<Looked, String> {
        let place = self.place(&need.image)?;
        let digest = match (&need.image.digest, &need.image.tag) {
            (Some(digest), _) => digest.clone(),
            (None, Some(tag)) => {
                // Never from memory: a tag is asked for at the moment at which it is replaced. The bytes are hashed here.
                let tag: Tag = tag.parse().map_err(|error: registry::Error| error.to_string())?;
                place.manifest(&At::Tag(tag)).await.map_err(|error| error.to_string())?.descriptor.digest
            }
            (None, None) => return Err(format!("{} names no image", need.image)),
        };
        if !need.evidence {
            return Ok(Looked::Found { digest, facts: Vec::new(), notes: Vec::new() });
        }
        let proofs = self.proofs(&need.image, place, &digest, loaded).await?;
        let (facts, notes) = &*proofs;
        Ok(Looked::Found { digest, facts: facts.clone(), notes: notes.clone() })
    }

    fn place(&self, image: &ImageName) -> Result<Registry, String> {
        let name = image.place();
        if let Some(place) = locked(&self.inner.places).get(&name) {
            return Ok(place);
        }
        let place = Registry::new(&image.registry, &image.repository, self.options.clone());
        let place = place.map_err(|error| error.to_string())?;
        locked(&self.inner.places).keep(name, place.clone(), limits::PLACES);
        Ok(place)
    }

    /// What is proved about a digest; one look for all who ask at the same time.
    async fn proofs(&self, image: &ImageName, place: Registry, digest: &Digest, loaded: &Arc<Loaded>) -> Outcome {
        let trust = loaded.verifier.trust().digest().clone();
        let key = (image.place(), digest.clone(), loaded.set.digest.clone(), trust);
        let shared = {
            let mut under_way = locked(&self.inner.under_way);
            match under_way.get(&key) {
                Some(shared) => shared.clone(),
                None if under_way.len() >= limits::ALL_LOOKS => {
                    return Err(format!("more than {} images are being looked up", limits::ALL_LOOKS));
                }
                None => {
                    // In a task of its own: whoever asked first may give up, the others need not.
                    let (inner, digest, loaded, own) =
                        (self.inner.clone(), digest.clone(), loaded.clone(), key.clone());
                    let task = tokio::spawn(async move {
                        let looked = tokio::time::timeout(limits::LOOK, look(&inner, &place, &digest, &loaded)).await;
                        locked(&inner.under_way).remove(&own);
                        looked.unwrap_or_else(|_| Err(format!("{} did not answer in time", place.name())))
                    });
                    let shared =
                        async move { task.await.unwrap_or_else(|error| Err(format!("the look-up failed: {error}"))) };
                    let shared = shared.boxed().shared();
                    under_way.insert(key, shared.clone());
                    shared
                }
            }
        };
        shared.await
    }
}

async fn look(inner: &Inner, place: &Registry, digest: &Digest, loaded: &Arc<Loaded>) -> Outcome {
    let said = |error: registry::Error| error.to_string();
    let listed = place.referrers(digest, None).await.map_err(said)?;
    let mut listed: Vec<Descriptor> = listed.into_iter().filter(may_be_bundle).collect();
    if listed.len() > limits::BUNDLES {
        return Err(format!("{digest} has {} bundles, {} are looked at", listed.len(), limits::BUNDLES));
    }
    listed.sort_by(|a, b| a.digest.cmp(&b.digest));
    let names: Vec<&str> = listed.iter().map(|entry| entry.digest.as_str()).collect();
    let key = [
        digest.clone(),
        loaded.set.digest.clone(),
        loaded.verifier.trust().digest().clone(),
        digest_of(names.join("\n").as_bytes()),
    ];
    if let Some(proofs) = locked(&inner.verified).get(&key) {
        return Ok(proofs);
    }
    let (mut bundles, mut notes, mut bytes, mut whole) = (Vec::new(), Vec::new(), 0_u64, true);
    for entry in &listed {
        match bundle(place, digest, entry, &mut bytes).await {
            Ok(Some(bundle)) => bundles.push(bundle),
            Ok(None) => notes.push(format!("{} is no bundle about this image", entry.digest)),
            // Lists under tags outlive what they list; and what is there and wrong proves nothing.
            // What was listed and did not come may come the next time.
            Err(error) if error.is_refusal() => {
                whole = false;
                notes.push(format!("{}: {error}", entry.digest));
            }
            Err(error) => return Err(said(error)),
        }
    }
    let (loaded, digest) = (loaded.clone(), digest.clone());
    let verified = tokio::task::spawn_blocking(move || {
        let mut facts = Vec::new();
        for bundle in &bundles {
            match verified(bundle, &digest, &loaded) {
                Ok(fact) => facts.push(fact),
                // Of the machine, not of the bundle: nothing is known then.
                Err(refused) if !refused.is_a_no() => return Err(refused.to_string()),
                Err(refused) => notes.push(format!("{}: {refused}", digest_of(bundle))),
            }
        }
        Ok((facts, notes))
    });
    let proofs: Proofs = Arc::new(verified.await.map_err(|error| format!("evidence could not be verified: {error}"))??);
    if whole {
        locked(&inner.verified).keep(key, proofs.clone(), limits::KEPT);
    }
    Ok(proofs)
}

/// What the list says of it is a hint; what is surely something else is not fetched.
fn may_be_bundle(entry: &Descriptor) -> bool {
    entry.artifact_type.as_deref().is_none_or(|kind| kind.starts_with(BUNDLE))
}

/// The bundle that a referrer holds. `None`: it holds none, or is about something else.
async fn bundle(
    place: &Registry,
    subject: &Digest,
    entry: &Descriptor,
    bytes: &mut u64,
) -> Result<Option<Vec<u8>>, registry::Error> {
    let fetched = place.manifest(&At::Digest(entry.digest.clone())).await?;
    let manifest = fetched.parse()?;
    if manifest.subject.as_ref().is_none_or(|named| named.digest != *subject) {
        return Ok(None);
    }
    let Contents::Image { layers, .. } = &manifest.contents else { return Ok(None) };
    let [layer] = layers.as_slice() else { return Ok(None) };
    if !layer.media_type.starts_with(BUNDLE) {
        return Ok(None);
    }
    *bytes = bytes.saturating_add(layer.size);
    if *bytes > limits::BUNDLE_BYTES {
        let limit = format!("{} MiB together", limits::BUNDLE_BYTES >> 20);
        return Err(registry::Error::Limit { what: "the bundles of one image".to_owned(), limit });
    }
    Ok(Some(read_whole(place, layer).await?.to_vec()))
}

/// What a bundle proves about a digest, by a certificate or by one of the keys.
fn verified(bundle: &[u8], digest: &Digest, loaded: &Loaded) -> Result<Fact, Refused> {
    let now = jiff::Timestamp::now();
    let verify = |policy: &Policy| loaded.verifier.verify(bundle, Artifact::Digest(digest.clone()), policy, now);
    if !is_keyed(bundle) {
        if !loaded.keyless {
            return Err(Refused::SignerKind { wanted: "a key", found: "a certificate" });
        }
        // Who it must be is a matter of the policies, which see whom the certificate names.
        let any = || Match::pattern("(?s).+").map_err(|error| Refused::Malformed(error.to_string()));
        return verify(&Policy::by(Signer::keyless(any()?, any()?))).map(|proved| fact(bundle, digest, &proved));
    }
    let mut refused = Refused::Signature("it is not of a key that a policy names".to_owned());
    for (_, key) in &loaded.keys {
        match verify(&Policy { unlogged: true, ..Policy::by(Signer::key(key.clone())) }) {
            Ok(proved) => return Ok(fact(bundle, digest, &proved)),
            Err(why) if loaded.keys.len() == 1 => refused = why,
            Err(_) => {}
        }
    }
    Err(refused)
}

/// Whether a bundle says that it is of a key. Which way is tried hangs on it, and nothing else: the verifier looks for itself.
fn is_keyed(bundle: &[u8]) -> bool {
    let read: Option<Value> = serde_json::from_slice(bundle).ok();
    read.is_some_and(|bundle| bundle.pointer("/verificationMaterial/publicKey").is_some())
}

fn fact(bundle: &[u8], digest: &Digest, proved: &Proved) -> Fact {
    let (says, dated) = match &proved.evidence {
        Evidence::Signature => (Says::Signature, None),
        Evidence::Statement(statement) => {
            (Says::Statement(statement.predicate_type.clone()), dated(&statement.predicate))
        }
    };
    let signer = match &proved.signer {
        ProvedSigner::Certificate { identity, issuer, .. } => {
            FactSigner::Certificate { identity: identity.clone(), issuer: issuer.clone() }
        }
        ProvedSigner::Key { hint } => FactSigner::Key { hint: hint.clone() },
    };
    Fact {
        subject: digest.clone(),
        signer,
        says,
        logged: !proved.logged.is_empty() && proved.logged.iter().all(|entry| entry.proof),
        // One that cannot be read counts as the oldest there is.
        times: proved.times.iter().map(|time| time.parse().unwrap_or_default()).collect(),
        dated,
        document: digest_of(bundle),
    }
}

/// The time that a scan or a build says it ended at.
fn dated(predicate: &Value) -> Option<Timestamp> {
    let at = ["/metadata/scanFinishedOn", "/runDetails/metadata/finishedOn"];
    let text = at.into_iter().find_map(|at| predicate.pointer(at)?.as_str())?;
    // One that is there and cannot be read is no reason to believe another time.
    Some(text.parse().unwrap_or_default())
}
