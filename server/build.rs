//! The site is embedded in release builds: a changed site means a new binary. And where a release build's executable lies.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if var("PROFILE").is_ok_and(|profile| profile == "release") {
        // Only where it is embedded, and only when it is there: a missing path would build the server again each time.
        if std::path::Path::new("../target/site").is_dir() {
            println!("cargo:rerun-if-changed=../target/site");
        }
        // At an address of the linker's choice, as Go's programs are: some 50,000 pointers to set at each start took a third of the time of a
        // short command such as `verify-bundle`. Stack, heap and libraries lie where chance has it, as before.
        let is = |name: &str, value: &str| var(name).is_ok_and(|found| found == value);
        if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
            println!("cargo:rustc-link-arg-bin=deliveryos=-no-pie");
        }
    }
}
