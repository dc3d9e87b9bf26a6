//! The sequential judge: a verdict that may be looked at every second and still keeps its promise.
//!
//! [`Sequential`] is fed one [`Tick`] a second and holds running evidence against the canary: the rate of failures against a limit and against
//! stable's, and the share of slow requests against stable's, where "slow" is a latency of stable's *past* ([`Limits`]). Everything is kept as natural
//! logarithms, summed in the order of the ticks; a [`Verdict`] is a function of the table of ticks and the [`Policy`], so that anybody can
//! [`replay`] it.
//!
//! | what | where |
//! |---|---|
//! | F1 two streams, F2 one stream, F5 blocks | [`TwoStreams`], [`one_stream`], [`block_share`], [`block_difference`] |
//! | F3 mixture over alternatives and starts, F4 over measures | [`EProcess`], [`together`] |
//! | F6 intervals | [`ConfidenceSequence`], [`difference`], [`quantile_ranks`], [`rate_ratio`] |
//! | F7 split | [`SplitCheck`] |
//! | requests or blocks | [`Clustering`], [`ModeChoice`] |
//! | ticks from Prometheus' buckets | [`Buckets`], [`Cumulative`] |
//!
//! # Policies for what is missing
//! | what | policy |
//! |---|---|
//! | no requests, or none of one version | that tick brings no evidence; without any vote the verdict is inconclusive |
//! | stable gone | only the fixed limit goes on; inconclusive, except at 100 % |
//! | a count that is no count (NaN, negative, a fraction) | the tick is damage: no evidence, and nothing good can be said any more |
//! | more failures than requests | the failures are believed |
//! | counters that go back | the version restarted: the new value counts ([`Counts::since`]) |
//! | clocks that jump | the order of the ticks counts, never their names |
//! | weights 0 and 100 | the split is not checked; at 100 % only the fixed limit is needed |

mod audit;
mod bands;
mod buckets;
mod clusters;
mod confidence;
mod eprocess;
mod feed;
mod history;
mod latency;
mod math;
mod policy;
mod replay;
mod say;
mod split;
mod state;
mod streams;
mod tick;

pub use audit::{AGREE, AuditError, audit, tables};
pub use bands::{RATIOS, RatioBand, error_difference};
pub use buckets::{Buckets, BucketsError, Cumulative, Fit, MAX_EDGES, Scrape, own_edges};
pub use clusters::{Clustering, MAX_DESIGN_EFFECT, MIN_REQUESTS, MIN_SECONDS, ModeChoice};
pub use confidence::{ConfidenceSequence, Strata, difference, quantile_ranks, rate_ratio};
pub use eprocess::{EProcess, MAX_GRID, Starts, together};
pub use feed::{Beginning, Feed, PIECE_TICKS};
pub use history::{History, MOMENTS};
pub use latency::{Limits, MAX_BUCKETS, hdr_edges, slower_than};
pub use policy::{Grids, MAX_HISTORY_S, Measure, Mode, PerMeasure, Policy, PolicyError};
pub use replay::{MAX_LINE, MAX_TICKS, Replay, ReplayError, Replayed, replay};
pub use say::{DOUBTFUL_ODDS, sentence};
pub use split::{CONCENTRATION, SplitCheck, split};
#[cfg(any(test, feature = "simulate"))]
pub(crate) use state::Row;
pub use state::{
    BLOCK_ABS, BLOCK_CAP, BLOCK_MAX_WEIGHT, BLOCK_PAIR, Cause, LnE, SAME, Sequential, StoppedBy, Totals, Verdict,
};
pub use streams::{TwoStreams, block_difference, block_share, one_stream};
pub use tick::{Counts, MAX_COUNT, Tick};

#[cfg(test)]
mod hostile;
