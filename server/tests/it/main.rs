//! Tests of the server as a whole: in process through its router, and as the real executable.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)] // tests

mod admission;
mod binary;
mod bundles;
mod counted;
mod crowd;
mod damaged;
mod demo_images;
mod events;
mod evidence;
mod garbage;
mod gate;
mod gates;
mod github;
mod headers;
mod interop;
mod journey;
mod kubernetes;
#[path = "../../../crates/registry/tests/common/mod.rs"]
mod peers;
mod process;
mod promote;
mod promotions;
mod rekor;
mod support;
