//! `deliveryos judge ticks`: a table of ticks from the histograms that Prometheus keeps of two versions.

use std::{collections::BTreeMap, io::Write as _, process::ExitCode, time::Duration};

use anyhow::Context as _;
use judge::sequential::{Buckets, Fit, MAX_TICKS, Policy};
use metrics::{Allowed, PrometheusSource, SourceConfig, VersionQueries};

use super::print;
use crate::{args::TicksOptions, exit::WrongUse};

/// Name of the one source there is.
const SOURCE: &str = "prometheus";

pub(super) fn run(options: &TicksOptions) -> anyhow::Result<ExitCode> {
    let seconds = options.to.since(options.from) / 1_000;
    if seconds <= 0 {
        return Err(WrongUse("--to is not after --from".to_owned()).into());
    }
    if u64::try_from(seconds).unwrap_or(0) / u64::from(options.step) > MAX_TICKS {
        return Err(WrongUse(format!("more than {MAX_TICKS} ticks")).into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(ticks(options))?;
    Ok(ExitCode::SUCCESS)
}

async fn ticks(options: &TicksOptions) -> anyhow::Result<()> {
    let config = SourceConfig { url: options.prometheus.clone(), headers: BTreeMap::new() };
    let allowed =
        Allowed::new(&BTreeMap::from([(SOURCE.to_owned(), config)])).map_err(|error| WrongUse(error.to_string()))?;
    let source = PrometheusSource::new(allowed);
    let step = Duration::from_secs(u64::from(options.step));
    let begun = options.from.plus_millis(-i64::from(options.past) * 1_000);
    let queries =
        |buckets: &str, errors: &str| VersionQueries { buckets: buckets.to_owned(), errors: errors.to_owned() };
    let (of_canary, of_stable) = (
        queries(&options.canary_buckets, &options.canary_errors),
        queries(&options.stable_buckets, &options.stable_errors),
    );
    let canary = source.counters(SOURCE, &of_canary, options.from, options.to, step).await?;
    let stable = source.counters(SOURCE, &of_stable, options.from, options.to, step).await?;
    let past = source.counters(SOURCE, &of_stable, begun, options.from, step).await?;
    if canary.edges_us != stable.edges_us || past.edges_us != stable.edges_us {
        anyhow::bail!("the two versions' histograms have different bucket edges: counts above a limit do not compare");
    }
    let policy = Policy::default();
    let around = past.scrapes.values().next().zip(past.scrapes.values().next_back());
    let mut buckets = Buckets::new(stable.edges_us.clone(), around, &policy)?;
    say(&buckets, &policy);
    let mut made = 0_u64;
    for (at, canary) in &canary.scrapes {
        // Both at the same moment, or not at all.
        let Some(stable) = stable.scrapes.get(at) else { continue };
        if let Some(tick) = buckets.push(canary.clone(), stable.clone()) {
            made += 1;
            print::json(&tick)?;
        }
    }
    if made == 0 {
        anyhow::bail!("no two moments have counters of both versions");
    }
    Ok(())
}

/// What the buckets can test, on stderr: the table goes elsewhere.
fn say(buckets: &Buckets, policy: &Policy) {
    let ms = |us: u64| us as f64 / 1_000.0;
    let words = match (buckets.fit(), buckets.limits()) {
        (Fit::Fine, Some(l)) => {
            format!("slow is above {} ms, and above {} ms of the canary", ms(l.stable_us), ms(l.canary_us))
        }
        (Fit::Coarse(tested), Some(l)) => format!(
            "the buckets are too coarse for a tolerance of {:.0} %: p99 is compared with {:.0} % (stable above {} ms, the canary above {} ms)",
            policy.tolerance * 100.0,
            tested * 100.0,
            ms(l.stable_us),
            ms(l.canary_us)
        ),
        _ => format!(
            "p99 does not vote: stable's past has fewer than {} requests, or its p99 or the limit above it lies beyond the last bucket",
            policy.history_requests
        ),
    };
    // Nothing to do when even that fails.
    let _ = writeln!(std::io::stderr().lock(), "{words}");
}
