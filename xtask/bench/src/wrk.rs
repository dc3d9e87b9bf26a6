//! `wrk`, the load: what it says.

use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::process::Command;

/// One run.
pub(crate) struct Run {
    pub(crate) requests: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) p99_ms: f64,
}

/// One thread, keep-alive, as many requests as come back.
pub(crate) fn run(address: SocketAddr, connections: u32, seconds: u32) -> Result<Run> {
    let output = Command::new("wrk")
        .args([
            "-t1",
            &format!("-c{connections}"),
            &format!("-d{seconds}s"),
            "--latency",
            &format!("http://{address}/"),
        ])
        .output()
        .context("cannot start wrk (Debian: `sudo apt-get install -y wrk`)")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("wrk failed: {text}{}", String::from_utf8_lossy(&output.stderr));
    }
    parse(&text)
}

fn parse(text: &str) -> Result<Run> {
    if let Some(line) = text.lines().find(|line| line.contains("Non-2xx") || line.contains("Socket errors")) {
        bail!("not every request was answered well: {}", line.trim());
    }
    let after = |start: &str| text.lines().find_map(|line| line.trim().strip_prefix(start)).map(str::trim);
    let requests =
        text.lines().find(|line| line.contains(" requests in ")).and_then(|line| line.split_whitespace().next());
    Ok(Run {
        requests: requests.context("wrk names no number of requests")?.parse()?,
        requests_per_second: after("Requests/sec:").context("wrk names no rate")?.parse()?,
        p99_ms: milliseconds(after("99%").context("wrk names no 99th percentile")?)?,
    })
}

fn milliseconds(text: &str) -> Result<f64> {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0)];
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
        .context("a time without a unit")?;
    Ok(number.parse::<f64>()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "  Latency Distribution\n     50%  310.00us\n     99%    1.25ms\n  482003 requests in 5.00s, 40MB read\n\
                        Requests/sec:  96400.12\n";

    #[test]
    fn what_wrk_says() {
        let run = parse(TEXT).unwrap();
        assert_eq!((run.requests, run.requests_per_second, run.p99_ms), (482_003.0, 96_400.12, 1.25));
    }

    #[test]
    fn a_run_with_failures_is_no_measurement() {
        assert!(parse(&format!("{TEXT}  Non-2xx or 3xx responses: 3\n")).is_err());
    }
}
