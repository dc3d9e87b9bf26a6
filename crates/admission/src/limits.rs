//! Every limit, with its reason. What lies beyond one is refused by name, never cut.

/// Largest review: an object and the one before it, each at most the API server's largest request of 3 MiB, and room.
pub const REVIEW_BYTES: usize = 7 * 1024 * 1024;
/// Longest id of a review: the API server's are UUIDs.
pub const UID: usize = 128;
/// Images in one object: a node runs 110 pods, few of which have ten containers.
pub const IMAGES: usize = 256;
/// Longest name of an image: 255 of host and repository, 128 of a tag, 71 of a digest, and what separates them.
pub const IMAGE_NAME: usize = 480;
/// Longest names of objects, namespaces and users that are kept: Kubernetes' own limit is 253.
pub const NAME: usize = 512;
/// Things in doubt that are listed: the first of them refuses already.
pub const DOUBTS: usize = 16;
/// Files of policies together: a thousand `ClusterImagePolicy` documents.
pub const POLICY_BYTES: usize = 4 * 1024 * 1024;
/// Files of policies.
pub const POLICY_FILES: usize = 64;
/// Policies.
pub const POLICIES: usize = 1_000;
/// Globs of one policy, authorities of one policy, identities of one authority, attestations of one authority.
pub const ENTRIES: usize = 64;
/// Exceptions: past that they are the rule.
pub const EXCEPTIONS: usize = 200;
/// Longest glob.
pub const GLOB: usize = 512;
/// Longest pattern of an identity, as written.
pub const PATTERN_TEXT: usize = 4_096;
/// Largest compiled pattern: an alternation of some hundred workflow addresses has 200 kB.
pub const PATTERN: usize = 1024 * 1024;
/// Largest key, PEM: an RSA key of 8,192 bits has 1.5 kB.
pub const KEY: usize = 16 * 1024;
/// Longest free text of a policy: a reason is a sentence.
pub const SENTENCE: usize = 1_024;
/// Facts about one image: a release has a handful.
pub const FACTS: usize = 1_024;
/// Longest message to the API server, characters: kubectl shows it on one line.
pub const MESSAGE: usize = 2_000;
/// Warnings in one answer; the API server drops what goes beyond 4 kB together.
pub const WARNINGS: usize = 12;
/// Longest warning, characters: the API server cuts beyond 256.
pub const WARNING: usize = 250;
/// How far in the future a document may be dated: clocks differ.
pub const CLOCK_SKEW_MS: i64 = 5 * 60 * 1_000;
