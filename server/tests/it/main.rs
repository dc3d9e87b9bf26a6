//! Tests of the server as a whole: in process through its router, and as the real executable.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)] // tests

mod binary;
mod bundles;
mod events;
mod evidence;
mod garbage;
mod gate;
mod gates;
mod headers;
mod journey;
mod peers;
mod process;
mod rekor;
mod support;
