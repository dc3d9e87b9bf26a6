//! Energy counters of Linux powercap: `/sys/class/powercap/intel-rapl:<N>/{name,energy_uj,max_energy_range_uj}`
//! (AMD processors use the same names).
//!
//! Zones overlap: a package holds its cores and uncore and is held by the platform (`psys`), so only zones named
//! `package-…` count, each name once. `intel-rapl-mmio` shows the same counters by another way and counts only for a
//! package that `intel-rapl` does not show. Memory (`dram`) is a zone beside the package and is left out, because not
//! every processor has it. A zone that is malformed or cannot be read is left out with a reason.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// Where Linux shows the zones.
pub const ROOT: &str = "/sys/class/powercap";
/// Zones looked at: the largest machines have 8 packages with 4 zones each, twice.
pub const MAX_ZONES: usize = 256;
/// Bytes read of a file: a name or a number; sysfs hands out at most a page.
const MAX_FILE_BYTES: u64 = 4096;
/// What a package may draw at most, in watts: the largest server processors are rated 500 W. Only used to tell how soon
/// a counter may wrap twice.
const MAX_PACKAGE_WATTS: u64 = 500;

/// The package zones of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Powercap {
    zones: Vec<Zone>,
    skipped: Vec<SkippedZone>,
}

/// A zone that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Zone {
    energy: PathBuf,
    /// Highest value of the counter, µJ.
    range: u64,
}

/// A zone that does not count, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedZone {
    /// Name of its directory, cut to 80 characters.
    pub directory: String,
    /// Why it does not count.
    pub reason: SkipReason,
}

/// Why a zone does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// The directory is not named like a zone, or one of its files does not hold what it should.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// The zone overlaps a package or lies beside it: `core`, `uncore`, `dram`, `psys`.
    #[error("{0:?} is not a package")]
    NotPackage(String),
    /// The same package is shown by another zone.
    #[error("{0:?} is counted already")]
    Duplicate(String),
    /// A file cannot be read; counters are for root alone on most systems.
    #[error("{file} cannot be read: {kind}")]
    Unreadable {
        /// The file's name.
        file: &'static str,
        /// What the system says.
        kind: io::ErrorKind,
    },
}

/// All counters at one moment, in µJ, in the order of the zones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters(Vec<u64>);

impl Powercap {
    /// The zones below `root`, which is [`ROOT`] but in tests. A folder that is missing has no zones.
    pub fn find(root: &Path) -> Self {
        let mut names: Vec<String> = root
            .read_dir()
            .into_iter()
            .flatten()
            .take(MAX_ZONES)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.contains(':')) // without a number it is the control type, not a zone
            .collect();
        // `intel-rapl:…` sorts behind `intel-rapl-mmio:…`, but comes first here: it is the one to prefer.
        names.sort_by_key(|name| (name.starts_with("intel-rapl-mmio"), name.clone()));
        let (mut zones, mut skipped, mut packages) = (Vec::new(), Vec::new(), BTreeSet::new());
        for name in names {
            match Zone::open(root, &name, &mut packages) {
                Ok(zone) => zones.push(zone),
                Err(reason) => skipped.push(SkippedZone { directory: name.chars().take(80).collect(), reason }),
            }
        }
        Self { zones, skipped }
    }

    /// Zones that do not count, and why.
    pub fn skipped(&self) -> &[SkippedZone] {
        &self.skipped
    }

    /// Packages that count.
    pub fn packages(&self) -> usize {
        self.zones.len()
    }

    /// The counters now; `None` without zones, or when one of them cannot be read any more.
    pub fn read(&self) -> Option<Counters> {
        if self.zones.is_empty() {
            return None;
        }
        self.zones.iter().map(|zone| zone.read().ok()).collect::<Option<_>>().map(Counters)
    }

    /// Joules of all packages between two readings, a counter's wrap included; `None` for readings of other zones.
    pub fn joules_between(&self, start: &Counters, end: &Counters) -> Option<f64> {
        if start.0.len() != self.zones.len() || end.0.len() != self.zones.len() {
            return None;
        }
        let deltas = self.zones.iter().zip(start.0.iter().zip(&end.0)).map(|(zone, (start, end))| {
            // Above its range a counter is not the one that was announced.
            (*start.max(end) <= zone.range).then(|| delta(*start, *end, zone.range))
        });
        let microjoules: u128 = deltas.map(|delta| delta.map(u128::from)).sum::<Option<_>>()?;
        Some(microjoules as f64 / 1e6)
    }

    /// How long two readings may lie apart so that no counter can have wrapped twice unnoticed.
    pub fn longest_interval(&self) -> std::time::Duration {
        let range = self.zones.iter().map(|zone| zone.range).min().unwrap_or(0);
        std::time::Duration::from_micros(range / MAX_PACKAGE_WATTS)
    }
}

impl Zone {
    fn open(root: &Path, directory: &str, packages: &mut BTreeSet<String>) -> Result<Self, SkipReason> {
        let numbers = directory.strip_prefix("intel-rapl-mmio:").or_else(|| directory.strip_prefix("intel-rapl:"));
        let numbers = numbers.ok_or(SkipReason::Malformed("not a RAPL zone"))?;
        if !numbers.split(':').all(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())) {
            return Err(SkipReason::Malformed("the directory has no number"));
        }
        let path = root.join(directory);
        let name = read(&path, "name")?;
        if !name.starts_with("package-") {
            return Err(SkipReason::NotPackage(name.chars().take(80).collect()));
        }
        let range = read_number(&path, "max_energy_range_uj")?;
        if range == 0 {
            return Err(SkipReason::Malformed("max_energy_range_uj is zero"));
        }
        let zone = Self { energy: path, range };
        if zone.read()? > range {
            return Err(SkipReason::Malformed("energy_uj is above max_energy_range_uj"));
        }
        // Last, so that a broken zone does not stand in the way of a whole one.
        if packages.insert(name.clone()) { Ok(zone) } else { Err(SkipReason::Duplicate(name)) }
    }

    fn read(&self) -> Result<u64, SkipReason> {
        read_number(&self.energy, "energy_uj")
    }
}

/// What a counter moved on, over at most one wrap at `range`.
fn delta(start: u64, end: u64, range: u64) -> u64 {
    match end.checked_sub(start) {
        Some(delta) => delta,
        None => (range - start.min(range)).saturating_add(end),
    }
}

fn read(zone: &Path, file: &'static str) -> Result<String, SkipReason> {
    let unreadable = |error: io::Error| SkipReason::Unreadable { file, kind: error.kind() };
    let mut text = String::new();
    File::open(zone.join(file))
        .map_err(unreadable)?
        .take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    Ok(text.trim_end_matches('\n').to_owned())
}

fn read_number(zone: &Path, file: &'static str) -> Result<u64, SkipReason> {
    read(zone, file)?.parse().map_err(|_| {
        SkipReason::Malformed(match file {
            "energy_uj" => "energy_uj is not a number",
            _ => "max_energy_range_uj is not a number",
        })
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    /// A fake sysfs tree: zone, name, counter, range.
    pub(crate) fn tree(zones: &[(&str, &str, &str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("intel-rapl")).unwrap(); // the control type itself
        for (directory, name, energy, range) in zones {
            let zone = root.path().join(directory);
            fs::create_dir(&zone).unwrap();
            for (file, text) in [("name", name), ("energy_uj", energy), ("max_energy_range_uj", range)] {
                fs::write(zone.join(file), format!("{text}\n")).unwrap();
            }
        }
        root
    }

    fn set(root: &Path, zone: &str, energy: &str) {
        fs::write(root.join(zone).join("energy_uj"), energy).unwrap();
    }

    #[test]
    fn packages_are_summed_and_nothing_else() {
        let root = tree(&[
            ("intel-rapl:0", "package-0", "1000000", "9000000"),
            ("intel-rapl:0:0", "core", "500000", "9000000"),
            ("intel-rapl:0:1", "dram", "300000", "9000000"),
            ("intel-rapl:1", "package-1", "2000000", "9000000"),
            ("intel-rapl:2", "psys", "4000000", "9000000"),
            ("intel-rapl-mmio:0", "package-0", "1000000", "9000000"),
        ]);
        let powercap = Powercap::find(root.path());
        assert_eq!(powercap.packages(), 2);
        let skipped: Vec<String> =
            powercap.skipped().iter().map(|zone| format!("{}: {}", zone.directory, zone.reason)).collect();
        assert_eq!(
            skipped,
            [
                "intel-rapl:0:0: \"core\" is not a package",
                "intel-rapl:0:1: \"dram\" is not a package",
                "intel-rapl:2: \"psys\" is not a package",
                "intel-rapl-mmio:0: \"package-0\" is counted already",
            ]
        );
        let start = powercap.read().unwrap();
        for (zone, energy) in [
            ("intel-rapl:0", "1500000"),
            ("intel-rapl:1", "2250000"),
            ("intel-rapl:2", "8000000"),
            ("intel-rapl:0:0", "0"),
        ] {
            set(root.path(), zone, energy);
        }
        assert_eq!(powercap.joules_between(&start, &powercap.read().unwrap()), Some(0.75));
    }

    #[test]
    fn zones_shown_only_by_mmio_count() {
        let root = tree(&[("intel-rapl-mmio:0", "package-0", "1", "9")]);
        assert_eq!(Powercap::find(root.path()).packages(), 1);
        // Also when the preferred one is broken.
        let root = tree(&[("intel-rapl-mmio:0", "package-0", "1", "9"), ("intel-rapl:0", "package-0", "?", "9")]);
        assert_eq!(Powercap::find(root.path()).packages(), 1);
    }

    #[test]
    fn malformed_zones_are_skipped_with_a_reason() {
        let check = |zone: (&str, &str, &str, &str), reason: SkipReason| {
            let root = tree(&[zone]);
            let powercap = Powercap::find(root.path());
            assert_eq!(powercap.read(), None, "{zone:?}");
            assert_eq!(powercap.skipped(), [SkippedZone { directory: zone.0.into(), reason }]);
        };
        check(("intel-rapl:a", "package-0", "1", "9"), SkipReason::Malformed("the directory has no number"));
        check(("intel-rapl:", "package-0", "1", "9"), SkipReason::Malformed("the directory has no number"));
        check(("dtpm:0", "package-0", "1", "9"), SkipReason::Malformed("not a RAPL zone"));
        check(("intel-rapl:0", "package-0", "-1", "9"), SkipReason::Malformed("energy_uj is not a number"));
        check(("intel-rapl:0", "package-0", "", "9"), SkipReason::Malformed("energy_uj is not a number"));
        check(("intel-rapl:0", "package-0", "1", "x"), SkipReason::Malformed("max_energy_range_uj is not a number"));
        check(("intel-rapl:0", "package-0", "0", "0"), SkipReason::Malformed("max_energy_range_uj is zero"));
        check(
            ("intel-rapl:0", "package-0", "10", "9"),
            SkipReason::Malformed("energy_uj is above max_energy_range_uj"),
        );
        check(("intel-rapl:0", "", "1", "9"), SkipReason::NotPackage(String::new()));
        let root = tree(&[("intel-rapl:0", "package-0", "1", "9")]);
        fs::remove_file(root.path().join("intel-rapl:0/energy_uj")).unwrap();
        assert_eq!(
            Powercap::find(root.path()).skipped()[0].reason,
            SkipReason::Unreadable { file: "energy_uj", kind: io::ErrorKind::NotFound }
        );
    }

    #[test]
    fn counters_wrap() {
        let root = tree(&[("intel-rapl:0", "package-0", "262143000000", "262143328850")]);
        let powercap = Powercap::find(root.path());
        let start = powercap.read().unwrap();
        set(root.path(), "intel-rapl:0", "1671150");
        assert_eq!(powercap.joules_between(&start, &powercap.read().unwrap()), Some(2.0));
        assert_eq!(powercap.longest_interval().as_secs(), 524);
    }

    #[test]
    fn what_vanishes_or_breaks_is_no_number() {
        let root = tree(&[("intel-rapl:0", "package-0", "5", "9")]);
        let powercap = Powercap::find(root.path());
        let start = powercap.read().unwrap();
        set(root.path(), "intel-rapl:0", "10"); // above its range
        assert_eq!(powercap.joules_between(&start, &powercap.read().unwrap()), None);
        fs::remove_dir_all(root.path().join("intel-rapl:0")).unwrap();
        assert_eq!(powercap.read(), None);
        assert_eq!(Powercap::find(&root.path().join("nowhere")).read(), None);
        assert_eq!(powercap.joules_between(&Counters(vec![]), &start), None);
    }

    proptest! {
        #[test]
        fn deltas_are_within_the_range(range in 1..u64::MAX, a: u64, b: u64) {
            let (start, end) = (a % range, b % range);
            let moved = delta(start, end, range);
            prop_assert!(moved <= range);
            // Moving on by it, wrapping at the range, leads from start to end.
            let reached = u128::from(start) + u128::from(moved);
            let reached = if end < start { reached - u128::from(range) } else { reached };
            prop_assert_eq!(reached, u128::from(end));
        }

        #[test]
        fn arbitrary_files_never_panic(name in ".{0,40}", energy in ".{0,40}", range in ".{0,40}", number in "[0-9]{0,25}") {
            let root = tree(&[("intel-rapl:0", &name, &energy, &range), ("intel-rapl:1", "package-1", &number, &number)]);
            let powercap = Powercap::find(root.path());
            if let Some(counters) = powercap.read() {
                prop_assert_eq!(powercap.joules_between(&counters, &counters), Some(0.0));
            }
        }
    }
}
