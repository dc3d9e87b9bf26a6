//! The signing key at rest: PKCS#8 (RFC 5958) in PEM, encrypted by PBES2 with scrypt when a passphrase is given.
//!
//! Other tools can read it: `openssl pkey -in log.key -pubout`. The file must belong to the user of the process and be
//! closed to everybody else; a link is not followed.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use pkcs8::{
    AlgorithmIdentifierRef, EncryptedPrivateKeyInfoRef, LineEnding, ObjectIdentifier, PrivateKeyInfoRef,
    SecretDocument,
    der::{asn1::OctetStringRef, pem::PemLabel as _},
};
use zeroize::Zeroizing;

use crate::signer::{MemorySigner, NoRandomness};

/// RFC 8410: id-Ed25519.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// RFC 8410 section 7: the seed is an OCTET STRING within the private key's.
const SEED_PREFIX: [u8; 2] = [0x04, 0x20];
/// Bytes of a key file: an encrypted key has some 400.
const MAX_KEY_FILE: u64 = 16 * 1024;
/// Bytes of a passphrase file.
const MAX_PASSPHRASE: u64 = 4096;
/// Environment variable with the passphrase.
const PASSPHRASE_VARIABLE: &str = "DELIVERYOS_KEY_PASSPHRASE";
/// Name of the systemd credential with the passphrase (`LoadCredentialEncrypted=` in the unit).
const PASSPHRASE_CREDENTIAL: &str = "deliveryos-key-passphrase";

/// What seals the key. Wiped when dropped, never shown.
pub struct Passphrase(Zeroizing<String>);

/// The key's file.
#[derive(Debug)]
pub struct KeyFile;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Cannot be read, or not made.
    #[error("the key file {path} cannot be {action}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not a regular file (a link is not followed).
    #[error("the key file {0} is not a regular file")]
    NotAFile(PathBuf),
    /// Others may read or write it.
    #[error(
        "the key file {path} has mode {mode:04o}, others may use it: run chmod 600 {path}, and think about who may have read it"
    )]
    Mode {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("the key file {path} belongs to user {owner}, this process runs as user {ours}")]
    Owner {
        /// Which file.
        path: PathBuf,
        /// Its owner's id.
        owner: u32,
        /// Ours.
        ours: u32,
    },
    /// Not a PKCS#8 PEM file with an Ed25519 key.
    #[error("the key file {path} does not hold an Ed25519 key in PKCS#8 PEM form: {reason}")]
    Format {
        /// Which file.
        path: PathBuf,
        /// What is wrong; never key material.
        reason: String,
    },
    /// It is sealed, and there is no passphrase.
    #[error(
        "the key file {0} is sealed by a passphrase: set {PASSPHRASE_VARIABLE}, or give the systemd credential {PASSPHRASE_CREDENTIAL}"
    )]
    Sealed(PathBuf),
    /// It is sealed by another passphrase, or damaged.
    #[error("the passphrase does not open the key file {0}")]
    WrongPassphrase(PathBuf),
    /// The passphrase cannot be read.
    #[error("the passphrase in {0} cannot be used: {1}")]
    Passphrase(PathBuf, String),
    /// No randomness for a new key.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl Passphrase {
    /// This passphrase; `None` for an empty one.
    pub fn new(passphrase: String) -> Option<Self> {
        let passphrase = Zeroizing::new(passphrase);
        if passphrase.is_empty() { None } else { Some(Self(passphrase)) }
    }

    /// From the environment variable, else from the systemd credential, else none. A final newline is not part of it.
    pub fn from_environment() -> Result<Option<Self>, KeyFileError> {
        Self::from_sources(std::env::var_os(PASSPHRASE_VARIABLE), std::env::var_os("CREDENTIALS_DIRECTORY"))
    }

    fn from_sources(variable: Option<OsString>, directory: Option<OsString>) -> Result<Option<Self>, KeyFileError> {
        if let Some(value) = variable {
            let value = value.into_string().map_err(|_| {
                KeyFileError::Passphrase(PathBuf::from(PASSPHRASE_VARIABLE), "it is not UTF-8".to_owned())
            })?;
            return Ok(Self::new(value));
        }
        let Some(path) = directory.map(|directory| PathBuf::from(directory).join(PASSPHRASE_CREDENTIAL)) else {
            return Ok(None);
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(KeyFileError::Passphrase(path, error.to_string())),
        };
        let mut text = Zeroizing::new(String::new());
        let read = file.take(MAX_PASSPHRASE + 1).read_to_string(&mut text);
        read.map_err(|error| KeyFileError::Passphrase(path.clone(), error.to_string()))?;
        if text.len() as u64 > MAX_PASSPHRASE {
            return Err(KeyFileError::Passphrase(path, format!("it is longer than {MAX_PASSPHRASE} bytes")));
        }
        Ok(Self::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

impl KeyFile {
    /// The key in the file; a new one when there is no file. A key that was not sealed is sealed in place when there is a
    /// passphrase now.
    pub fn load_or_create(path: &Path, passphrase: Option<&Passphrase>) -> Result<MemorySigner, KeyFileError> {
        match Self::load_and_see(path, passphrase) {
            Ok((signer, sealed)) => {
                if let Some(passphrase) = passphrase.filter(|_| !sealed) {
                    write(path, &encode(path, &signer, Some(passphrase))?, true)?;
                    tracing::info!(path = %path.display(), "the key file was sealed with the passphrase");
                }
                Ok(signer)
            }
            Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let signer = MemorySigner::generate()?;
                write(path, &encode(path, &signer, passphrase)?, false)?;
                tracing::info!(path = %path.display(), sealed = passphrase.is_some(), "a new signing key was made");
                // What counts is what is on the disk, also when another process was first.
                Self::load(path, passphrase)
            }
            Err(error) => Err(error),
        }
    }

    /// The key in the file, which must be there.
    pub fn load(path: &Path, passphrase: Option<&Passphrase>) -> Result<MemorySigner, KeyFileError> {
        Self::load_and_see(path, passphrase).map(|(signer, _)| signer)
    }

    /// The key, and whether it was sealed.
    fn load_and_see(path: &Path, passphrase: Option<&Passphrase>) -> Result<(MemorySigner, bool), KeyFileError> {
        let format = |reason: &str| KeyFileError::Format { path: path.to_owned(), reason: reason.to_owned() };
        let pem = read(path)?;
        let (label, document) = SecretDocument::from_pem(&pem).map_err(|_| format("it is not PEM"))?;
        if label == PrivateKeyInfoRef::PEM_LABEL {
            return Ok((decode(path, &document)?, false));
        }
        if label != EncryptedPrivateKeyInfoRef::PEM_LABEL {
            return Err(format("it holds something else"));
        }
        let passphrase = passphrase.ok_or_else(|| KeyFileError::Sealed(path.to_owned()))?;
        let sealed: EncryptedPrivateKeyInfoRef<'_> =
            document.decode_msg().map_err(|_| format("its sealing cannot be read"))?;
        let opened = sealed.decrypt(passphrase.0.as_bytes());
        let opened = opened.map_err(|_| KeyFileError::WrongPassphrase(path.to_owned()))?;
        Ok((decode(path, &opened)?, true))
    }
}

fn decode(path: &Path, document: &SecretDocument) -> Result<MemorySigner, KeyFileError> {
    let format = |reason: &str| KeyFileError::Format { path: path.to_owned(), reason: reason.to_owned() };
    let info: PrivateKeyInfoRef<'_> = document.decode_msg().map_err(|_| format("it is not PKCS#8"))?;
    if info.algorithm.oid != ED25519 {
        return Err(format("its key is of another algorithm"));
    }
    let seed = info.private_key.as_bytes().strip_prefix(&SEED_PREFIX).and_then(|seed| <&[u8; 32]>::try_from(seed).ok());
    Ok(MemorySigner::from_seed(seed.ok_or_else(|| format("its key has another length"))?))
}

fn encode(
    path: &Path,
    signer: &MemorySigner,
    passphrase: Option<&Passphrase>,
) -> Result<Zeroizing<String>, KeyFileError> {
    let format = |error: pkcs8::Error| KeyFileError::Format { path: path.to_owned(), reason: error.to_string() };
    let seed = Zeroizing::new([&SEED_PREFIX[..], signer.key().as_bytes()].concat());
    let algorithm = AlgorithmIdentifierRef { oid: ED25519, parameters: None };
    let key = OctetStringRef::new(&seed).map_err(|error| format(error.into()))?;
    let info = PrivateKeyInfoRef::new(algorithm, key);
    let (label, document) = match passphrase {
        Some(passphrase) => {
            (EncryptedPrivateKeyInfoRef::PEM_LABEL, info.encrypt(passphrase.0.as_bytes()).map_err(format)?)
        }
        None => (PrivateKeyInfoRef::PEM_LABEL, SecretDocument::try_from(&info).map_err(format)?),
    };
    document.to_pem(label, LineEnding::LF).map_err(|error| format(error.into()))
}

fn read(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let io_error = |source| KeyFileError::Io { path: path.to_owned(), action: "read", source };
    let file = OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits()).open(path);
    let file = match file {
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => {
            return Err(KeyFileError::NotAFile(path.to_owned()));
        }
        other => other.map_err(io_error)?,
    };
    let meta = file.metadata().map_err(io_error)?;
    if !meta.is_file() {
        return Err(KeyFileError::NotAFile(path.to_owned()));
    }
    let ours = nix::unistd::geteuid().as_raw();
    if meta.uid() != ours {
        return Err(KeyFileError::Owner { path: path.to_owned(), owner: meta.uid(), ours });
    }
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Mode { path: path.to_owned(), mode });
    }
    if meta.len() > MAX_KEY_FILE {
        return Err(KeyFileError::Format {
            path: path.to_owned(),
            reason: format!("it is longer than {MAX_KEY_FILE} bytes"),
        });
    }
    let mut pem = Zeroizing::new(String::new());
    file.take(MAX_KEY_FILE).read_to_string(&mut pem).map_err(io_error)?;
    Ok(pem)
}

/// Whole or not at all, and durable: a half-written key would end the log.
fn write(path: &Path, pem: &str, replace: bool) -> Result<(), KeyFileError> {
    let io_error = |source| KeyFileError::Io { path: path.to_owned(), action: "written", source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut suffix = [0; 8];
    getrandom::fill(&mut suffix).map_err(|_| NoRandomness)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = directory.join(format!(".{name}.{}", hex::encode(suffix)));
    let result = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(pem.as_bytes())?;
        file.sync_all()?;
        if replace {
            fs::rename(&temporary, path)?;
        } else {
            // A link, unlike a rename, never replaces a key that another process has just made.
            match fs::hard_link(&temporary, path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => fs::remove_file(&temporary)?,
            }
        }
        File::open(directory)?.sync_all()
    })();
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result.map_err(io_error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::Signer as _;

    fn pass(text: &str) -> Option<Passphrase> {
        Passphrase::new(text.to_owned())
    }

    #[test]
    fn a_key_is_made_once_and_closed_to_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.key");
        let made = KeyFile::load_or_create(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = KeyFile::load_or_create(&path, None).unwrap();
        assert_eq!(made.public_key(), again.public_key());
        assert!(fs::read_to_string(&path).unwrap().starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_passphrase_seals() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.key");
        let plain = KeyFile::load_or_create(&path, None).unwrap();
        let sealed = KeyFile::load_or_create(&path, pass("correct horse").as_ref()).unwrap();
        assert_eq!(plain.public_key(), sealed.public_key());
        assert!(fs::read_to_string(&path).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(KeyFile::load(&path, pass("correct horse").as_ref()).unwrap().public_key(), plain.public_key());
        assert!(matches!(KeyFile::load_or_create(&path, None), Err(KeyFileError::Sealed(_))));
        let wrong = KeyFile::load_or_create(&path, pass("battery").as_ref());
        assert!(matches!(wrong, Err(KeyFileError::WrongPassphrase(_))));
    }

    #[test]
    fn wrong_files_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.key");
        KeyFile::load_or_create(&path, None).unwrap();
        let pem = fs::read_to_string(&path).unwrap();

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = KeyFile::load(&path, None).unwrap_err();
        assert!(matches!(error, KeyFileError::Mode { mode: 0o640, .. }), "{error}");
        assert!(error.to_string().contains("chmod 600"));

        let link = directory.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(KeyFile::load(&link, None), Err(KeyFileError::NotAFile(_))));
        assert!(matches!(KeyFile::load(directory.path(), None), Err(KeyFileError::NotAFile(_))));

        let check = |text: &str| {
            let path = directory.path().join("other");
            let _ = fs::remove_file(&path);
            write(&path, text, false).unwrap();
            assert!(matches!(KeyFile::load(&path, None), Err(KeyFileError::Format { .. })), "{text:?}");
        };
        check("");
        check("secret");
        check(&pem.replace("PRIVATE", "PUBLIC"));
        check(&pem[..pem.len() / 2]);
        check(&"x".repeat(MAX_KEY_FILE as usize + 1));
        // A key of X25519: the same form, another algorithm.
        check(
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VuBCIEIHBbGWJGbiDIoRECvpGTXVSsnNPwc4Je8chJYoYgYcNu\n-----END PRIVATE KEY-----\n",
        );
    }

    // RFC 8410 section 10.3: its example key and the public key that belongs to it.
    #[test]
    fn the_standards_example_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.key");
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        write(&path, pem, false).unwrap();
        let public = KeyFile::load(&path, None).unwrap().public_key();
        assert_eq!(hex::encode(public), "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1");
    }

    #[test]
    fn passphrases_come_from_the_environment_or_a_credential() {
        let directory = tempfile::tempdir().unwrap();
        let credentials = || Some(directory.path().as_os_str().to_owned());
        let text = |found: Result<Option<Passphrase>, KeyFileError>| found.unwrap().map(|found| found.0.to_string());
        assert_eq!(text(Passphrase::from_sources(None, None)), None);
        assert_eq!(text(Passphrase::from_sources(None, credentials())), None);
        fs::write(directory.path().join(PASSPHRASE_CREDENTIAL), "from systemd\n").unwrap();
        assert_eq!(text(Passphrase::from_sources(None, credentials())).as_deref(), Some("from systemd"));
        assert_eq!(text(Passphrase::from_sources(Some("from env".into()), credentials())).as_deref(), Some("from env"));
        assert_eq!(text(Passphrase::from_sources(Some("".into()), credentials())), None);
        fs::write(directory.path().join(PASSPHRASE_CREDENTIAL), "x".repeat(5000)).unwrap();
        assert!(Passphrase::from_sources(None, credentials()).is_err());
    }

    #[test]
    fn secrets_do_not_show() {
        let passphrase = pass("correct horse").unwrap();
        assert_eq!(format!("{passphrase:?}"), "Passphrase(…)");
        let signer = MemorySigner::from_seed(&[7; 32]);
        assert!(!format!("{signer:?}").contains("0707"));
    }
}
