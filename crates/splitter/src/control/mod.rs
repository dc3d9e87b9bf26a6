//! The control protocol: newline-delimited JSON over a Unix domain socket.
//!
//! A client sends [`Call`] lines, each with an id of its choosing; the splitter answers each with one [`Line::Answer`]
//! carrying that id. After [`Request::Subscribe`] the same connection also carries [`Line::Notice`] lines, one
//! [`Tick`] a second. The socket has mode 0600 and lies in the state directory: who may open it may command.
//!
//! Every change carries the controller's epoch. A smaller epoch than the one in force is refused
//! ([`Refusal::StaleEpoch`]); a larger one takes over. A change with an operation id that was answered before is
//! answered with the first answer (`fresh: false`) and not applied again.

mod client;
mod frame;
mod types;

pub use client::{Client, ClientError, Subscription};
pub(crate) use frame::{Lines, encode};
pub use types::*;

/// Longest request line. A service's definition with a full environment is well under 100 kB.
pub const MAX_REQUEST_LINE: usize = 1 << 20;

/// Longest answer or notice line. A tick of two versions with every one of 17,000 buckets in use is 0.6 MB; status of
/// [`MAX_SERVICES`](crate::MAX_SERVICES) services is far less.
pub const MAX_ANSWER_LINE: usize = 8 << 20;

/// Name of the control socket in the state directory.
pub const SOCKET_NAME: &str = "control.sock";
