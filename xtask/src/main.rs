//! Set-up, build of the site, checks, tests, benchmarks, release.
fn main() {}
