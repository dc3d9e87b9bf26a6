//! Kepler's own fake sysfs tree, read from the test data folder: one package by two ways, its cores, and a malformed zone.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests panic and print")]

use std::path::Path;

use energy::Powercap;

#[test]
fn kepler_tree() {
    let Some(data) = std::env::var_os("DELIVERYOS_TEST_DATA") else {
        eprintln!("SKIPPED: Kepler's powercap tree: DELIVERYOS_TEST_DATA is not set");
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(data).join("energy/powercap");
    assert!(root.is_dir(), "{} is missing", root.display());
    let powercap = Powercap::find(&root);
    assert_eq!(powercap.packages(), 1);
    let skipped: Vec<String> =
        powercap.skipped().iter().map(|zone| format!("{}: {}", zone.directory, zone.reason)).collect();
    assert_eq!(
        skipped,
        [
            "intel-rapl:0:0: \"core\" is not a package",
            "intel-rapl:a: malformed: the directory has no number",
            "intel-rapl-mmio:0: \"package-0\" is counted already",
        ]
    );
    let now = powercap.read().unwrap();
    assert_eq!(powercap.joules_between(&now, &now), Some(0.0));
}
