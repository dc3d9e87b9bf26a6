//! `deliveryos release watch`: the live stream in a terminal, until the release ends.

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use model::{ReleaseId, Tick};
use projections::{Phase, Receipt, ReleaseView, describe};
use serde::Deserialize;

use super::{client::Client, client::Event, print, release};
use crate::args::Global;

/// Attempts to come back to a server that restarts, one a second.
const ATTEMPTS: u32 = 60;

#[derive(Deserialize)]
struct TickEvent {
    release: ReleaseId,
    tick: Tick,
}

pub(super) async fn watch(global: &Global, client: &Client, id: &ReleaseId) -> anyhow::Result<ExitCode> {
    let mut view: ReleaseView = client.get(&format!("/api/v1/releases/{id}")).await?;
    let bar = print::bar(100, "");
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos:>3} % {wide_msg}") {
        bar.set_style(style);
    }
    for receipt in &view.receipts {
        say(global, &bar, receipt)?;
    }
    let mut failures = 0;
    loop {
        if let Phase::Ended(outcome) = &view.row.phase {
            bar.finish_and_clear();
            return Ok(release::code(outcome));
        }
        match follow(global, client, id, &mut view, &bar).await {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                if failures > ATTEMPTS {
                    return Err(error);
                }
                bar.set_message(format!("the stream is lost, trying again ({failures})"));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Until the release or the stream ends.
async fn follow(
    global: &Global,
    client: &Client,
    id: &ReleaseId,
    view: &mut ReleaseView,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let mut events = Box::pin(client.events(view.as_of).await?);
    while let Some(event) = events.next().await {
        let Event { kind, data } = event?;
        match kind.as_str() {
            "receipt" => {
                let receipt: Receipt = serde_json::from_str(&data).context("a receipt of the stream cannot be read")?;
                let ours = receipt.payload.release.as_ref() == Some(id);
                if ours && receipt.index > view.as_of {
                    say(global, bar, &receipt)?;
                }
                view.fold(&receipt);
                bar.set_position(u64::from(view.row.weight.percent()));
                if matches!(view.row.phase, Phase::Ended(_)) {
                    return Ok(());
                }
            }
            "tick" => {
                let TickEvent { release: of, tick } =
                    serde_json::from_str(&data).context("a tick of the stream cannot be read")?;
                if of == *id {
                    bar.set_position(u64::from(tick.weight.percent()));
                    bar.set_message(format!("{} · {}", release::state(&view.row), rates(&tick)));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn rates(tick: &Tick) -> String {
    let version = |name: &str, n: u64, errors: u64, p99: Option<f64>| {
        let p99 = p99.map_or_else(|| "n/a".to_owned(), |ms| format!("{ms:.0} ms"));
        format!("{name} {n}/s p99 {p99} errors {errors}")
    };
    let stable = version("stable", tick.stable.n, tick.stable.errors, tick.stable.p99_ms);
    match &tick.canary {
        Some(canary) => format!("{}, {stable}", version("canary", canary.n, canary.errors, canary.p99_ms)),
        None => stable,
    }
}

fn say(global: &Global, bar: &ProgressBar, receipt: &Receipt) -> anyhow::Result<()> {
    // The bar steps aside for lines on stdout, which stay.
    bar.suspend(|| {
        if global.json {
            print::json(receipt)
        } else {
            print::line(&format!(
                "{:>6}  {}  {}",
                receipt.index,
                receipt.payload.time.clock(),
                describe(receipt).sentence()
            ))
        }
    })
}
