//! How much a bundle may hold.

/// Largest bundle. A bill of materials of a large image has some 5 MB, a third more in base64.
pub const MAX_BUNDLE: usize = 16 * 1024 * 1024;
/// Largest trust root: the public instance's has 7 kB, one with a hundred authorities 300 kB.
pub const MAX_TRUST_ROOT: usize = 1024 * 1024;
/// Largest key file: an RSA key of 8,192 bits has 1.5 kB.
pub const MAX_KEY: usize = 64 * 1024;
/// Entries of logs in one bundle; usual is one, and each costs a signature check.
pub const MAX_LOG_ENTRIES: usize = 8;
/// Timestamps in one bundle; usual are none or one, and each costs a certificate chain.
pub const MAX_TIMESTAMPS: usize = 8;
/// Certificates in one bundle.
pub const MAX_CERTIFICATES: usize = 8;
/// Signatures of witnesses on one checkpoint.
pub const MAX_COSIGNATURES: usize = 64;
/// Subjects of one statement: a release of some hundred files and their checksums.
pub const MAX_SUBJECTS: usize = 1024;
/// Logs and authorities in one trust root.
pub const MAX_AUTHORITIES: usize = 256;
