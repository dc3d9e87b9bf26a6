//! The clocks that the splitter uses too, so that instants of both processes can be compared; and reproducible scatter.

use nix::time::{ClockId, clock_gettime};

/// µs of `CLOCK_MONOTONIC`: comparable between processes of one machine.
pub(crate) fn monotonic_us() -> u64 {
    // This clock is on every Linux; without it every figure would show as absurd.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |at| {
        u64::try_from(at.tv_sec()).unwrap_or(0) * 1_000_000 + u64::try_from(at.tv_nsec()).unwrap_or(0) / 1_000
    })
}

/// A number that looks random, the same for the same input (the finaliser of SplitMix64).
pub(crate) fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `/proc/loadavg`'s three averages.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
