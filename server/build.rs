//! The site is embedded in release builds: a changed site means a new binary.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Only where it is embedded, and only when it is there: a missing path would build the server again each time.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release")
        && std::path::Path::new("../target/site").is_dir()
    {
        println!("cargo:rerun-if-changed=../target/site");
    }
}
