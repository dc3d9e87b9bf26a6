//! `deliveryos judge ticks`: a table of ticks from the histograms that Prometheus keeps of two versions.

use std::{collections::BTreeMap, io::Write as _, process::ExitCode, time::Duration};

use anyhow::Context as _;
use judge::sequential::{Buckets, MAX_TICKS, Policy};
use metrics::{Allowed, CounterAsk, CounterQueries, MetricSource as _, PrometheusSource, SourceConfig};

use super::print;
use crate::{args::TicksOptions, exit::WrongUse};

/// Time for each answer.
const TIMEOUT: Duration = Duration::from_secs(30);
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
    let ask = |buckets: &str, errors: &str, start, end| CounterAsk {
        address: SOURCE.to_owned(),
        queries: CounterQueries { buckets: buckets.to_owned(), errors: errors.to_owned() },
        start,
        end,
        step,
    };
    let (from, to) = (options.from, options.to);
    let of_stable = |start, end| ask(&options.stable_buckets, &options.stable_errors, start, end);
    let canary = source.counters(&ask(&options.canary_buckets, &options.canary_errors, from, to), TIMEOUT).await?;
    let stable = source.counters(&of_stable(from, to), TIMEOUT).await?;
    let past = source.counters(&of_stable(begun, from), TIMEOUT).await?;
    if canary.scrapes.is_empty() || stable.scrapes.is_empty() {
        anyhow::bail!("no two moments have counters of both versions: the queries gave no buckets of one of them");
    }
    let past_fits = past.scrapes.is_empty() || past.edges_us == stable.edges_us;
    if canary.edges_us != stable.edges_us || !past_fits {
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
    // Nothing to do when even that fails.
    let _ = writeln!(std::io::stderr().lock(), "{}", buckets.fit().words(buckets.limits(), policy));
}
