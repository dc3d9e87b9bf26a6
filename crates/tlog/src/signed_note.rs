//! c2sp.org/signed-note: a text, an empty line, and one line for each signature.
//!
//! ```text
//! This is an example message.
//!
//! — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
//! ```
//! A signature line holds the key's name and the base64 of a four-byte key id and the signature. A verifier key is
//! written `example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k`: name, key id, and the base64 of
//! the signature type and the public key. The only type known here is Ed25519 (0x01).
//!
//! Signatures by unknown keys are ignored (so keys rotate and witnesses cosign); one by a known key that does not
//! verify refuses the whole note. The bytes verified are the bytes received: parsing keeps the text as it is.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::Signature;
use sha2::{Digest as _, Sha256};

/// Bytes of a note: 64 post-quantum signatures of 5 kB in base64 are 430 kB, and our texts are short.
pub const MAX_NOTE_BYTES: usize = 512 * 1024;
/// Signatures of a note: the specification asks for at least 16; each one of a known key costs a verification.
pub const MAX_SIGNATURES: usize = 64;
/// Bytes of a key's name: names are host names with a path, and appear in pages.
pub const MAX_KEY_NAME_BYTES: usize = 255;

/// The signature type byte of Ed25519.
const TYPE_ED25519: u8 = 0x01;
/// Bytes of a key id in front of a signature.
const KEY_ID_BYTES: usize = 4;
/// What a signature line begins with.
const SIGNATURE_PREFIX: &str = "— ";

/// A note as received or assembled: nothing about its signatures is verified until [`SignedNote::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    key_id: u32,
    signature: Vec<u8>,
}

/// A public key that may sign notes under a name: what a `vkey` says.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    name: String,
    key_id: u32,
    key: ed25519_dalek::VerifyingKey,
}

/// Why bytes are not a note, or not one to trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Larger than [`MAX_NOTE_BYTES`].
    #[error("{0} bytes are more than the {MAX_NOTE_BYTES} of a note")]
    TooLarge(usize),
    /// More signature lines than [`MAX_SIGNATURES`].
    #[error("more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// Not UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// A control character other than newline.
    #[error("control character U+{0:04X}")]
    Control(u32),
    /// The text must end in a newline.
    #[error("the text does not end in a newline")]
    TextEnd,
    /// No empty line between text and signatures.
    #[error("no empty line before the signatures")]
    NoSeparator,
    /// An empty line follows the text, but no signature line.
    #[error("no signature line")]
    Unsigned,
    /// Not `— name base64` with at least one byte of signature behind the key id, ending in a newline.
    #[error("signature line {0} is malformed")]
    SignatureLine(usize),
    /// Two known keys have the same name and key id, so that it is not clear whose signature is meant.
    #[error("two known keys are named {0:?} and have the same key id")]
    AmbiguousKeys(String),
    /// A known key's signature does not verify: the note was altered or forged.
    #[error("the signature of {0:?} does not verify")]
    BadSignature(String),
    /// No signature is by a known key.
    #[error("no signature by a known key")]
    NoKnownKey,
}

/// Why a text or key is not a verifier key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VkeyError {
    /// Not `name+hex(key id)+base64(type ‖ key)`.
    #[error("not of the form name+keyid+key")]
    Form,
    /// Empty, too long, or with a space, a plus or a control character.
    #[error("not a key name: 1 to {MAX_KEY_NAME_BYTES} bytes without space, plus or control character")]
    Name,
    /// A signature type other than Ed25519.
    #[error("signature type 0x{0:02x} is not supported, only Ed25519 (0x01)")]
    Type(u8),
    /// Not an Ed25519 public key, or a weak one that would verify anything.
    #[error("not a usable Ed25519 public key")]
    Key,
    /// The key id is not that of name and key.
    #[error("key id {found:08x} does not belong to name and key, whose id is {expected:08x}")]
    KeyId {
        /// The id of name and key.
        expected: u32,
        /// The id that was written.
        found: u32,
    },
}

impl SignedNote {
    /// A note without signatures yet: sign [`SignedNote::bytes_to_sign`] and [`SignedNote::add`] the result.
    pub fn unsigned(text: impl Into<String>) -> Result<Self, NoteError> {
        let text = text.into();
        check_characters(&text)?;
        if !text.ends_with('\n') {
            return Err(NoteError::TextEnd);
        }
        Ok(Self { text, signatures: Vec::new() })
    }

    /// A note with one signature.
    pub fn assemble(text: impl Into<String>, key: &VerifyingKey, signature: &[u8; 64]) -> Result<Self, NoteError> {
        let mut note = Self::unsigned(text)?;
        note.add(key, signature)?;
        Ok(note)
    }

    /// A note from its bytes, strictly. Signatures are read, not verified.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge(bytes.len()));
        }
        let note = str::from_utf8(bytes).map_err(|_| NoteError::Utf8)?;
        check_characters(note)?;
        let separator = note.rfind("\n\n").ok_or(NoteError::NoSeparator)?;
        let (text, rest) = note.split_at_checked(separator + 1).ok_or(NoteError::NoSeparator)?;
        let lines = rest.strip_prefix('\n').ok_or(NoteError::NoSeparator)?;
        if lines.is_empty() {
            return Err(NoteError::Unsigned);
        }
        let mut signatures = Vec::new();
        for (number, line) in lines.split_inclusive('\n').enumerate() {
            if number == MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures);
            }
            signatures.push(NoteSignature::parse(line).ok_or(NoteError::SignatureLine(number + 1))?);
        }
        Ok(Self { text: text.to_owned(), signatures })
    }

    /// The signed text, final newline included.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What a key signs: the bytes of [`SignedNote::text`].
    pub fn bytes_to_sign(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// All signature lines in their order, verified or not.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds the signature that `key`'s owner made over [`SignedNote::bytes_to_sign`]; refused when it does not verify,
    /// so that no note leaves with a signature that its readers would refuse.
    pub fn add(&mut self, key: &VerifyingKey, signature: &[u8; 64]) -> Result<(), NoteError> {
        if self.signatures.len() >= MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        if !key.verifies(self.bytes_to_sign(), signature) {
            return Err(NoteError::BadSignature(key.name.clone()));
        }
        let signature = NoteSignature { name: key.name.clone(), key_id: key.key_id, signature: signature.to_vec() };
        self.signatures.push(signature);
        Ok(())
    }

    /// The keys among `known` that signed this note, each once.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`] when any signature of a known key fails, [`NoteError::NoKnownKey`] when there is none.
    pub fn verify<'k>(&self, known: &'k [VerifyingKey]) -> Result<Vec<&'k VerifyingKey>, NoteError> {
        let mut signers: Vec<&VerifyingKey> = Vec::new();
        for line in &self.signatures {
            let mut keys = known.iter().filter(|key| key.name == line.name && key.key_id == line.key_id);
            let Some(key) = keys.next() else { continue };
            if keys.any(|other| other != key) {
                return Err(NoteError::AmbiguousKeys(line.name.clone()));
            }
            if !key.verifies(self.bytes_to_sign(), &line.signature) {
                return Err(NoteError::BadSignature(line.name.clone()));
            }
            if !signers.contains(&key) {
                signers.push(key);
            }
        }
        if signers.is_empty() { Err(NoteError::NoKnownKey) } else { Ok(signers) }
    }
}

impl fmt::Display for SignedNote {
    /// The note as it is stored and served. A note without signatures is not yet one and does not parse.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl NoteSignature {
    /// Name of the key that is said to have signed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Id of the key that is said to have signed.
    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The signature without the key id: 64 bytes for Ed25519, others for other types.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_suffix('\n')?.strip_prefix(SIGNATURE_PREFIX)?.split_once(' ')?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (key_id, signature) = bytes.split_first_chunk::<KEY_ID_BYTES>()?;
        let valid = is_key_name(name) && !signature.is_empty();
        valid.then(|| Self { name: name.into(), key_id: u32::from_be_bytes(*key_id), signature: signature.into() })
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.key_id.to_be_bytes()[..], &self.signature].concat();
        write!(f, "{SIGNATURE_PREFIX}{} {}", self.name, STANDARD.encode(bytes))
    }
}

impl VerifyingKey {
    /// The verifier key of this name and Ed25519 public key.
    pub fn new(name: &str, public_key: &[u8; 32]) -> Result<Self, VkeyError> {
        if !is_key_name(name) {
            return Err(VkeyError::Name);
        }
        let key = ed25519_dalek::VerifyingKey::from_bytes(public_key).map_err(|_| VkeyError::Key)?;
        if key.is_weak() {
            return Err(VkeyError::Key);
        }
        let digest: [u8; 32] = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', TYPE_ED25519])
            .chain_update(public_key)
            .finalize()
            .into();
        let [a, b, c, d, ..] = digest;
        Ok(Self { name: name.to_owned(), key_id: u32::from_be_bytes([a, b, c, d]), key })
    }

    /// The name that signature lines carry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first four bytes of SHA-256 over name, newline, signature type and public key, as a big-endian number.
    pub fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The Ed25519 public key.
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether `signature` is this key's Ed25519 signature of `message`, by the strict rules (canonical encodings, no
    /// small-order points), so that all verifiers agree.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }
}

impl FromStr for VerifyingKey {
    type Err = VkeyError;
    fn from_str(vkey: &str) -> Result<Self, VkeyError> {
        // The name holds no plus, the base64 may.
        let (name, rest) = vkey.split_once('+').ok_or(VkeyError::Form)?;
        let (key_id, encoded) = rest.split_once('+').ok_or(VkeyError::Form)?;
        if !is_key_name(name) {
            return Err(VkeyError::Name);
        }
        let lower_hex = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
        if key_id.len() != 2 * KEY_ID_BYTES || !key_id.bytes().all(lower_hex) {
            return Err(VkeyError::Form);
        }
        let found = u32::from_str_radix(key_id, 16).map_err(|_| VkeyError::Form)?;
        // 2 kB hold the longest key of any assigned type; more is not a key.
        let decoded = if encoded.len() <= 2048 { STANDARD.decode(encoded).ok() } else { None };
        let decoded = decoded.ok_or(VkeyError::Form)?;
        let (&kind, public_key) = decoded.split_first().ok_or(VkeyError::Form)?;
        if kind != TYPE_ED25519 {
            return Err(VkeyError::Type(kind));
        }
        let key = Self::new(name, public_key.try_into().map_err(|_| VkeyError::Key)?)?;
        if key.key_id != found {
            return Err(VkeyError::KeyId { expected: key.key_id, found });
        }
        Ok(key)
    }
}

impl fmt::Display for VerifyingKey {
    /// The `vkey`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[TYPE_ED25519][..], self.public_key()].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.key_id, STANDARD.encode(key))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_key_name(name: &str) -> bool {
    (1..=MAX_KEY_NAME_BYTES).contains(&name.len())
        && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// No control character below U+0020 but newline.
fn check_characters(text: &str) -> Result<(), NoteError> {
    match text.chars().find(|&c| c < ' ' && c != '\n') {
        Some(c) => Err(NoteError::Control(c.into())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    /// The worked example of the specification.
    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n— example.com/foo \
        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    fn key(name: &str, seed: u8) -> (SigningKey, VerifyingKey) {
        let secret = SigningKey::from_bytes(&[seed; 32]);
        let public = VerifyingKey::new(name, secret.verifying_key().as_bytes()).unwrap();
        (secret, public)
    }

    fn signed(text: &str, keys: &[(SigningKey, VerifyingKey)]) -> SignedNote {
        let mut note = SignedNote::unsigned(text).unwrap();
        for (secret, public) in keys {
            note.add(public, &secret.sign(note.bytes_to_sign()).to_bytes()).unwrap();
        }
        note
    }

    #[test]
    fn example_of_the_specification() {
        let key: VerifyingKey = VKEY.parse().unwrap();
        assert_eq!((key.name(), key.key_id(), key.to_string().as_str()), ("example.com/foo", 0x530d_903a, VKEY));
        let note = SignedNote::parse(NOTE.as_bytes()).unwrap();
        assert_eq!(note.text(), "This is an example message.\n");
        assert_eq!(note.to_string(), NOTE);
        assert_eq!(note.verify(std::slice::from_ref(&key)).unwrap(), [&key]);
        let altered = NOTE.replace("an example", "no example");
        assert_eq!(
            SignedNote::parse(altered.as_bytes()).unwrap().verify(&[key]),
            Err(NoteError::BadSignature("example.com/foo".into()))
        );
    }

    #[test]
    fn malformed_notes() {
        let line = NOTE.split_once("\n\n").unwrap().1;
        let check =
            |note: &str, error: NoteError| assert_eq!(SignedNote::parse(note.as_bytes()), Err(error), "{note:?}");
        check("", NoteError::NoSeparator);
        check("text\n", NoteError::NoSeparator);
        check(line, NoteError::NoSeparator);
        check(&format!("\n{line}"), NoteError::NoSeparator);
        check(&format!("text\n{line}"), NoteError::NoSeparator);
        check("text\n\n", NoteError::Unsigned);
        check("text\n\nmore\n", NoteError::SignatureLine(1));
        check(&format!("text\n\n{line}more\n"), NoteError::SignatureLine(2));
        check(&format!("text\n\n{}", line.trim_end()), NoteError::SignatureLine(1));
        for (from, to) in [
            ("— ", "- "),
            ("— ", "—"),
            ("— ", "—  "),
            ("— ", " — "),
            ("com/foo ", "com/foo  "),
            ("com/foo ", "com/foo\u{a0}bar "),
            ("com/foo ", "com/foo+bar "),
            ("com/foo ", ""),
            ("example.com/foo", ""),
            ("=", ""),
            ("M=", "N="), // the same bytes, spelt otherwise
            ("=", "= "),
            ("Uw2Q", "Uw-Q"),
        ] {
            check(&NOTE.replacen(from, to, 1), NoteError::SignatureLine(1));
        }
        check("text\n\n— a Uw2QOg==\n", NoteError::SignatureLine(1)); // a key id alone
        check(&NOTE.replace("This", "\tThis"), NoteError::Control(9));
        check(&NOTE.replace('\n', "\r\n"), NoteError::Control(13));
        check(&format!("text\n\n{}", line.repeat(MAX_SIGNATURES + 1)), NoteError::TooManySignatures);
        check(&"a".repeat(MAX_NOTE_BYTES + 1), NoteError::TooLarge(MAX_NOTE_BYTES + 1));
        assert_eq!(SignedNote::parse(b"\xff\n\n"), Err(NoteError::Utf8));
        assert_eq!(SignedNote::unsigned("text"), Err(NoteError::TextEnd));
        assert_eq!(SignedNote::unsigned("te\0xt\n"), Err(NoteError::Control(0)));
    }

    #[test]
    fn texts_may_hold_empty_lines() {
        for text in ["\n", "a\n\nb\n", "a\n\n", "\n\n", "a\n\n— b Uw2QOkn8\n"] {
            let keys = [key("log", 1)];
            let note = signed(text, &keys);
            let parsed = SignedNote::parse(note.to_string().as_bytes()).unwrap();
            assert_eq!(parsed, note, "{text:?}");
            parsed.verify(&[keys[0].1.clone()]).unwrap();
        }
    }

    #[test]
    fn known_and_unknown_keys() {
        let (log, witness, stranger) = (key("log", 1), key("witness", 2), key("stranger", 3));
        let keys = [log.clone(), witness.clone()];
        let note = signed("text\n", &keys);
        let (log, witness, stranger) = (log.1, witness.1, stranger.1);
        assert_eq!(note.verify(&[witness.clone(), log.clone()]), Ok(vec![&log, &witness]));
        assert_eq!(note.verify(std::slice::from_ref(&witness)), Ok(vec![&witness]));
        assert_eq!(note.verify(&[log.clone(), stranger.clone()]), Ok(vec![&log]));
        assert_eq!(note.verify(&[stranger]), Err(NoteError::NoKnownKey));
        assert_eq!(note.verify(&[]), Err(NoteError::NoKnownKey));
        // The same name with another key is another key; the same key under another name too.
        assert_eq!(note.verify(&[key("log", 9).1, key("other", 1).1]), Err(NoteError::NoKnownKey));
        let mut namesake = note.clone();
        namesake.signatures[1].key_id = log.key_id;
        assert_eq!(namesake.verify(std::slice::from_ref(&log)), Ok(vec![&log]));
        // One bad signature of a known key refuses the note, whatever the others say.
        let mut forged = note.clone();
        forged.signatures[1].signature[0] ^= 1;
        assert_eq!(forged.verify(&[log.clone(), witness]), Err(NoteError::BadSignature("witness".into())));
        assert_eq!(forged.verify(std::slice::from_ref(&log)), Ok(vec![&log]));
        // A signature of another length by a known key is a bad one.
        forged.signatures[0].signature.pop();
        assert_eq!(forged.verify(std::slice::from_ref(&log)), Err(NoteError::BadSignature("log".into())));
        // Repeating a signature does not make two signers.
        let mut twice = note.clone();
        twice.signatures.extend(note.signatures.clone());
        assert_eq!(twice.verify(std::slice::from_ref(&log)), Ok(vec![&log]));
        assert_eq!(twice.verify(&[log.clone(), log.clone()]), Ok(vec![&log]));
        // Two keys that cannot be told apart.
        let mut twin = key("log", 9).1;
        twin.key_id = log.key_id;
        assert_eq!(note.verify(&[log, twin]), Err(NoteError::AmbiguousKeys("log".into())));
    }

    #[test]
    fn only_good_signatures_are_added() {
        let (secret, public) = key("log", 1);
        let good = secret.sign(b"text\n").to_bytes();
        assert!(SignedNote::assemble("text\n", &public, &good).is_ok());
        let refused = Err(NoteError::BadSignature("log".into()));
        assert_eq!(SignedNote::assemble("other\n", &public, &good), refused);
        assert_eq!(SignedNote::assemble("text\n", &public, &[0; 64]), refused);
        let mut full = SignedNote::unsigned("text\n").unwrap();
        for _ in 0..MAX_SIGNATURES {
            full.add(&public, &good).unwrap();
        }
        assert_eq!(full.add(&public, &good), Err(NoteError::TooManySignatures));
        assert_eq!(SignedNote::parse(full.to_string().as_bytes()), Ok(full));
    }

    #[test]
    fn malformed_vkeys() {
        let check = |vkey: &str, error: VkeyError| assert_eq!(vkey.parse::<VerifyingKey>(), Err(error), "{vkey:?}");
        check("", VkeyError::Form);
        check("example.com/foo", VkeyError::Form);
        check("example.com/foo+530d903a", VkeyError::Form);
        check(&VKEY.replace("530d", "530D"), VkeyError::Form);
        check(&VKEY.replace("+530d", "++30d"), VkeyError::Form);
        check(&VKEY.replace("530d903a", "30d903a"), VkeyError::Form);
        check(&VKEY.replace("530d", "540d"), VkeyError::KeyId { expected: 0x530d_903a, found: 0x540d_903a });
        check(&VKEY.replace("foo", "bar"), VkeyError::KeyId { expected: 0xc6fb_2e3e, found: 0x530d_903a });
        check(&VKEY.replace("foo", "f o"), VkeyError::Name);
        check(VKEY.trim_start_matches("example.com/foo"), VkeyError::Name);
        check(&format!("{}{VKEY}", "a".repeat(256)), VkeyError::Name);
        check(&format!("{VKEY}\n"), VkeyError::Form);
        check(&format!("{VKEY}A"), VkeyError::Form);
        check(&VKEY.replace("AekyeR", "BekyeR"), VkeyError::Type(5));
        check(&format!("a+00000000+{}", STANDARD.encode([1; 32])), VkeyError::Key); // one byte short
        check(&format!("a+00000000+{}", "A".repeat(4096)), VkeyError::Form);
        // The neutral element verifies much that nobody signed.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert_eq!(VerifyingKey::new("a", &neutral), Err(VkeyError::Key));
        assert_eq!(VerifyingKey::new("a", &[2; 32]), Err(VkeyError::Key)); // not on the curve
        assert_eq!(VerifyingKey::new("", &[1; 32]), Err(VkeyError::Name));
    }
}
