//! Signing with a key of one's own: statements and files become bundles of the form v0.3.

use std::{fmt, io::Read};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pkcs8::{LineEnding, SecretDocument};
use serde_json::{Value, json};
use sigstore_verify::{
    bundle::{BundleV03, VerificationMaterialV03},
    crypto::{KeyAlgorithm, KeyPair, Sha256Hasher, sha256},
    types::{
        DsseEnvelope, DsseSignature, HashAlgorithm, KeyId, KindVersion, PayloadBytes, Sha256Hash, SignatureBytes,
        SignatureContent, TransparencyLogEntry,
        bundle::{MessageDigest, MessageSignature},
        pae,
    },
};
use zeroize::Zeroizing;

use super::{PublicKey, limits};
use crate::Statement;

/// Type of the payload that an in-toto statement is signed as.
pub(super) const IN_TOTO: &str = "application/vnd.in-toto+json";
/// How Rekor names the one kind of key that signs here.
const KEY_DETAILS: &str = "PKIX_ECDSA_P256_SHA_256";
/// Bytes read at once from a file that is signed.
const CHUNK: usize = 64 * 1024;

/// Why nothing was signed, or what was signed was not logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Not a key that can sign here.
    #[error("not a private key that can sign here (PKCS#8 PEM, ECDSA P-256): {0}")]
    Key(String),
    /// No key could be made, or it did not sign.
    #[error("the key did not sign: {0}")]
    Signing(String),
    /// What was to be signed could not be read.
    #[error("what is to be signed could not be read: {0}")]
    Unreadable(String),
    /// The bundle would be larger than a verifier takes.
    #[error("the bundle would have more than {} MB", limits::MAX_BUNDLE >> 20)]
    TooLarge,
    /// The log's answer is not an entry.
    #[error("the log's answer is not an entry: {0}")]
    Answer(String),
    /// The log has logged something else.
    #[error("the log's answer is not about what was sent to it: {0}")]
    OtherEntry(&'static str),
}

/// A private key: ECDSA P-256, the one kind that every verifier, log and registry takes.
pub struct SigningKey {
    pair: KeyPair,
    public: PublicKey,
}

/// What was signed, before it is a bundle.
pub struct Signed {
    content: SignatureContent,
    digest: Sha256Hash,
    signature: SignatureBytes,
    key: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.hint())
    }
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signed({})", self.digest.to_hex())
    }
}

impl SigningKey {
    /// A new key, and its PEM (PKCS#8), which is wiped from memory when dropped.
    pub fn generate() -> Result<(Self, Zeroizing<String>), SignError> {
        let rng = aws_lc_rs::rand::SystemRandom::new();
        let alg = &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING;
        let der = aws_lc_rs::signature::EcdsaKeyPair::generate_pkcs8(alg, &rng)
            .map_err(|_| SignError::Signing("the operating system gave no randomness".to_owned()))?;
        let secret = SecretDocument::try_from(der.as_ref()).map_err(|error| SignError::Key(error.to_string()))?;
        let pem = secret.to_pem("PRIVATE KEY", LineEnding::LF).map_err(|error| SignError::Key(error.to_string()))?;
        Ok((Self::from_der(der.as_ref())?, pem))
    }

    /// From PEM (`-----BEGIN PRIVATE KEY-----`).
    pub fn from_pem(pem: &str) -> Result<Self, SignError> {
        if pem.len() > limits::MAX_KEY {
            return Err(SignError::Key(format!("it has more than {} bytes", limits::MAX_KEY)));
        }
        let (label, der) = SecretDocument::from_pem(pem.trim()).map_err(|error| SignError::Key(error.to_string()))?;
        if label != "PRIVATE KEY" {
            let hint = "; convert it: openssl pkcs8 -topk8 -nocrypt";
            return Err(SignError::Key(format!(
                "it is a {label}{}",
                if label == "EC PRIVATE KEY" { hint } else { "" }
            )));
        }
        Self::from_der(der.as_bytes())
    }

    /// From the bytes of a PEM file, which are wiped from memory.
    pub fn from_pem_bytes(bytes: Vec<u8>) -> Result<Self, SignError> {
        let bytes = Zeroizing::new(bytes);
        Self::from_pem(std::str::from_utf8(&bytes).map_err(|_| SignError::Key("it is not text".to_owned()))?)
    }

    fn from_der(der: &[u8]) -> Result<Self, SignError> {
        let pair = KeyPair::from_pkcs8_der(der).map_err(|error| SignError::Key(error.to_string()))?;
        if pair.algorithm() != KeyAlgorithm::EcdsaP256 {
            return Err(SignError::Key("it is of another kind".to_owned()));
        }
        let public = pair.public_key_der().map_err(|error| SignError::Key(error.to_string()))?;
        Ok(Self { pair, public: PublicKey(public) })
    }

    /// Its public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a statement, in a DSSE envelope. The signature names no key: cosign takes none that does, and the bundle says it.
    pub fn statement(&self, statement: &Statement) -> Result<Signed, SignError> {
        let payload = serde_json::to_vec(statement).map_err(|error| SignError::Signing(error.to_string()))?;
        // A third more in base64, and the rest of the bundle.
        if payload.len() > limits::MAX_BUNDLE / 4 * 3 - 64 * 1024 {
            return Err(SignError::TooLarge);
        }
        let message = pae(IN_TOTO, &payload);
        let signature = self.pair.sign(&message).map_err(|error| SignError::Signing(error.to_string()))?;
        let by = DsseSignature::new(signature.clone(), KeyId::new(""));
        let envelope = DsseEnvelope::new(IN_TOTO, PayloadBytes::from_bytes(&payload), by);
        Ok(self.signed(SignatureContent::DsseEnvelope(envelope), sha256(&message), signature))
    }

    /// Signs what can be read here, to its end.
    pub fn file(&self, reader: &mut dyn Read) -> Result<Signed, SignError> {
        let mut hasher = Sha256Hasher::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = reader.read(&mut chunk).map_err(|error| SignError::Unreadable(error.to_string()))?;
            match chunk.get(..read) {
                None | Some([]) => break,
                Some(bytes) => hasher.update(bytes),
            }
        }
        let (digest, signature) =
            self.pair.sign_prehashed(hasher).map_err(|error| SignError::Signing(error.to_string()))?;
        let said = MessageDigest::new(HashAlgorithm::Sha2256, digest.into());
        let content = MessageSignature::new(signature.clone()).with_message_digest(said);
        Ok(self.signed(SignatureContent::MessageSignature(content), digest, signature))
    }

    fn signed(&self, content: SignatureContent, digest: Sha256Hash, signature: SignatureBytes) -> Signed {
        Signed { content, digest, signature, key: self.public.clone() }
    }
}

impl Signed {
    /// What is posted to a Rekor v2 log (`POST …/api/v2/log/entries`).
    pub fn log_request(&self) -> String {
        let verifier =
            json!({ "publicKey": { "rawBytes": STANDARD.encode(self.key.spki()) }, "keyDetails": KEY_DETAILS });
        let signature = json!({ "content": self.signature.to_base64(), "verifier": verifier });
        json!({ "hashedRekordRequestV002": { "digest": self.digest.to_base64(), "signature": signature } }).to_string()
    }

    /// The bundle without a log's entry.
    pub fn unlogged(self) -> Result<String, SignError> {
        self.bundle(None)
    }

    /// The bundle with the entry that a log answered with. Whether the entry is really in the log, verification says.
    pub fn logged(self, answer: &[u8]) -> Result<String, SignError> {
        let entry: TransparencyLogEntry =
            serde_json::from_slice(answer).map_err(|error| SignError::Answer(error.to_string()))?;
        if entry.kind_version != KindVersion::HashedRekordV002 {
            return Err(SignError::OtherEntry("it is of another kind"));
        }
        if entry.inclusion_proof.is_none() {
            return Err(SignError::OtherEntry("it has no proof of inclusion"));
        }
        let body: Value = serde_json::from_slice(entry.canonicalized_body.as_bytes())
            .map_err(|error| SignError::Answer(error.to_string()))?;
        if body != self.entry() {
            return Err(SignError::OtherEntry("digest, signature or key differ"));
        }
        self.bundle(Some(entry))
    }

    /// The entry as the log writes it.
    fn entry(&self) -> Value {
        let verifier =
            json!({ "keyDetails": KEY_DETAILS, "publicKey": { "rawBytes": STANDARD.encode(self.key.spki()) } });
        json!({ "apiVersion": "0.0.2", "kind": "hashedrekord", "spec": { "hashedRekordV002": {
            "data": { "algorithm": "SHA2_256", "digest": self.digest.to_base64() },
            "signature": { "content": self.signature.to_base64(), "verifier": verifier },
        } } })
    }

    fn bundle(self, entry: Option<TransparencyLogEntry>) -> Result<String, SignError> {
        let material = VerificationMaterialV03::PublicKey { hint: self.key.hint() };
        let mut bundle = BundleV03::new(material, self.content);
        if let Some(entry) = entry {
            bundle = bundle.with_tlog_entry(entry);
        }
        let text = bundle.into_bundle().to_json_pretty().map_err(|error| SignError::Signing(error.to_string()))?;
        if text.len() > limits::MAX_BUNDLE { Err(SignError::TooLarge) } else { Ok(text) }
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::Signer as _;
    use model::Digest;
    use tlog::{Checkpoint, Frontier, SignedNote, VerifyingKey, leaf_hash};

    use super::*;
    use crate::{Artifact, Policy, Refused, SLSA_PROVENANCE, Signer, TrustRoot, Verifier};

    fn image(byte: u8) -> Digest {
        Digest::from_sha256(&[byte; 32])
    }

    fn provenance() -> Statement {
        Statement::new("registry.example/app", &image(7), SLSA_PROVENANCE, json!({ "buildDefinition": {} }))
    }

    fn now() -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    #[test]
    fn keys_come_back_from_their_files() {
        let (key, pem) = SigningKey::generate().unwrap();
        assert_eq!(SigningKey::from_pem(&pem).unwrap().public(), key.public());
        assert_eq!(&PublicKey::from_pem(&key.public().to_pem()).unwrap(), key.public());
        assert!(!format!("{key:?}").contains(pem.lines().nth(1).unwrap()));
        let check = |pem: &str, words: &str| {
            let error = SigningKey::from_pem(pem).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        check("", "private key");
        check(&key.public().to_pem(), "PUBLIC KEY");
        check(&pem.replace("PRIVATE KEY", "EC PRIVATE KEY"), "openssl");
    }

    #[test]
    fn what_no_log_has_seen_is_taken_only_when_the_policy_says_so() {
        let (key, _) = SigningKey::generate().unwrap();
        let bundle = key.statement(&provenance()).unwrap().unlogged().unwrap();
        // cosign refuses signatures that name their key.
        assert!(!bundle.contains("keyid"));
        let verifier = Verifier::new(TrustRoot::public().unwrap()).unwrap();
        let policy = Policy::by(Signer::key(key.public().clone())).stating(SLSA_PROVENANCE);
        let verify =
            |policy: &Policy, of: Digest| verifier.verify(bundle.as_bytes(), Artifact::Digest(of), policy, now());
        assert_eq!(verify(&policy, image(7)).unwrap_err(), Refused::NoLogEntry);
        let lax = Policy { unlogged: true, ..policy };
        assert!(verify(&lax, image(7)).unwrap().logged.is_empty());
        assert!(matches!(verify(&lax, image(8)), Err(Refused::OtherArtifact(_))));
        let (other, _) = SigningKey::generate().unwrap();
        let other = Policy { unlogged: true, ..Policy::by(Signer::key(other.public().clone())) };
        assert!(matches!(verify(&other, image(7)), Err(Refused::Signature(_))));
        let file = key.file(&mut &b"a file"[..]).unwrap().unlogged().unwrap();
        let plain = Policy { unlogged: true, ..Policy::by(Signer::key(key.public().clone())) };
        let file = |bytes| verifier.verify(file.as_bytes(), Artifact::Bytes(bytes), &plain, now());
        assert!(file(b"a file").is_ok() && file(b"another").is_err());
    }

    /// A log of two entries with a key of its own: what it answers, and a trust root that believes it.
    fn log(request: &Signed) -> (Value, Vec<u8>) {
        let body = serde_json_canonicalizer::to_vec(&request.entry()).unwrap();
        let secret = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
        let public = secret.verifying_key().to_bytes();
        let vkey = VerifyingKey::new("log.example", &public).unwrap();
        let mut tree = Frontier::new();
        let first = leaf_hash(b"another entry");
        tree.push(first);
        tree.push(leaf_hash(&body));
        let text = Checkpoint::new("log.example", 2, tree.root()).unwrap().to_string();
        let note = SignedNote::assemble(text.as_str(), &vkey, &secret.sign(text.as_bytes()).to_bytes()).unwrap();
        let id = sha256(&[b"log.example\n\x01", &public[..]].concat()).to_base64();
        let proof = json!({ "logIndex": "1", "rootHash": STANDARD.encode(tree.root().0), "treeSize": "2",
            "hashes": [STANDARD.encode(first.0)], "checkpoint": { "envelope": note.to_string() } });
        let answer = json!({ "logIndex": "1", "logId": { "keyId": id }, "kindVersion": { "kind": "hashedrekord", "version": "0.0.2" },
            "integratedTime": "0", "inclusionPromise": null, "inclusionProof": proof, "canonicalizedBody": STANDARD.encode(&body) });
        let spki = [&hex::decode("302a300506032b6570032100").unwrap()[..], &public].concat();
        let key = json!({ "rawBytes": STANDARD.encode(spki), "keyDetails": "PKIX_ED25519", "validFor": { "start": "2025-01-01T00:00:00Z" } });
        let trust = json!({ "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [{ "baseUrl": "https://log.example", "hashAlgorithm": "SHA2_256", "publicKey": key, "logId": { "keyId": id } }],
            "certificateAuthorities": [], "ctlogs": [], "timestampAuthorities": [] });
        (answer, trust.to_string().into_bytes())
    }

    #[test]
    fn what_a_log_has_taken_verifies_with_its_key_alone() {
        let (key, _) = SigningKey::generate().unwrap();
        let policy = Policy::by(Signer::key(key.public().clone())).stating(SLSA_PROVENANCE);
        let signed = key.statement(&provenance()).unwrap();
        assert!(signed.log_request().contains(&signed.digest.to_base64()));
        let (answer, trust) = log(&signed);
        let other = key.statement(&provenance()).unwrap();
        assert!(matches!(other.logged(answer.to_string().as_bytes()), Err(SignError::OtherEntry(_))));
        let bundle = signed.logged(answer.to_string().as_bytes()).unwrap();
        let verify = |bundle: &str, trust: TrustRoot| {
            Verifier::new(trust).unwrap().verify(bundle.as_bytes(), Artifact::Digest(image(7)), &policy, now())
        };
        let own = TrustRoot::from_json(&trust).unwrap();
        let proved = verify(&bundle, own.clone()).unwrap();
        assert!(
            matches!(&proved.logged[..], [entry] if entry.proof && entry.index == 1 && entry.log == "https://log.example")
        );
        assert!(matches!(verify(&bundle, TrustRoot::public().unwrap()), Err(Refused::UnknownLog { .. })));
        // The entry's place, a hash of the proof, the checkpoint's size.
        for (from, to) in [("\"logIndex\": \"1\"", "\"logIndex\": \"0\""), ("\\n2\\n", "\\n3\\n")] {
            let forged = bundle.replace(from, to);
            assert_ne!(forged, bundle, "{from}");
            assert!(verify(&forged, own.clone()).is_err(), "{from}");
        }
    }
}
