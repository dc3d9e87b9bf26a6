//! Every limit of the webhook, with its reason.

use std::time::Duration;

/// Reviews under way at once. At 500 a second and 50 ms each, 25 are; the rest waits for a place, and is denied when its time is over.
pub const UNDER_WAY: usize = 256;
/// Images of one review that are looked up at once.
pub const LOOKS: usize = 8;
/// Look-ups under way at once, of all reviews.
pub const ALL_LOOKS: usize = 1_024;
/// Longest look-up: the API server waits for at most 30 s.
pub const LOOK: Duration = Duration::from_secs(30);
/// Time that the API server gives when it does not say (its own default).
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time that it may give.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(30);
/// Shortest time that is believed; with less nothing can be decided.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(100);
/// Part of the API server's time after which we answer, in percent: the rest is for the way back.
pub const DEADLINE_PERCENT: u32 = 80;
/// Part of it after which evidence is given up, in percent: what remains is for the receipt.
pub const LOOK_PERCENT: u32 = 60;
/// How long a denial waits for its receipt: it stands without it.
pub const DENIAL_RECEIPT: Duration = Duration::from_secs(1);
/// Repositories whose connections are kept.
pub const PLACES: usize = 512;
/// Verified sets of evidence that are kept: 1 kB each.
pub const KEPT: usize = 8_192;
/// Bundles of one image that are looked at.
pub const BUNDLES: usize = 64;
/// Bytes of one image's bundles, together: three bills of materials of large images.
pub const BUNDLE_BYTES: u64 = 32 * 1024 * 1024;
/// Keys of all policies: each is tried on each bundle.
pub const KEYS: usize = 64;
/// Bytes of a review that are parsed on the thread that serves others: larger ones take milliseconds.
pub const SMALL: usize = 64 * 1024;
/// Connections at once: the API servers of a cluster hold a few each.
pub const CONNECTIONS: usize = 512;
/// Time for a TLS handshake.
pub const HANDSHAKE: Duration = Duration::from_secs(5);
/// From the first byte of a request's head to its last.
pub const HEAD: Duration = Duration::from_secs(5);
/// Requests at once on one HTTP/2 connection: the API server multiplexes all reviews over one.
pub const STREAMS: u32 = 512;
/// Requests under way at the end are given so long.
pub const DRAIN: Duration = Duration::from_secs(5);
/// A certificate file: a chain of ten.
pub const PEM_BYTES: u64 = 256 * 1024;
/// A file that changed so recently may change again within the same tick of the file system's clock: it is read again.
pub const RACY: Duration = Duration::from_millis(200);
/// Images and reasons in a receipt; an entry of the log has at most 65,535 bytes.
pub const RECEIPT_IMAGES: usize = 32;
/// See [`RECEIPT_IMAGES`].
pub const RECEIPT_REASONS: usize = 16;
/// Longest text of one of them, characters.
pub const RECEIPT_TEXT: usize = 300;
