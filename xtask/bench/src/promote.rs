//! An image of one large layer from registry to registry, beside `oras cp -r` and `crane cp`: time and memory.
//!
//! Both registries are Debian's docker-registry on this machine. Every copy goes to a repository of its own, so that all of it is sent; the
//! rounds alternate, and the first one, which warms the page cache, does not count. Only the product reads everything back before it tags; with
//! `--trust-blobs` it does what the others do, and that is the pair to compare.

use crate::process::Process;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A registry that does not listen after this does not start.
const START_LIMIT: Duration = Duration::from_secs(15);
/// How often a program's peak memory is read: the kernel keeps the peak itself, so only what it took in the very last moment is missed.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Most memory that a copy takes over that of an image of nothing, MB, however large the image is.
const OVER_IDLE_MB: f64 = 64.0;
/// Bytes written at once.
const CHUNK: usize = 1 << 20;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Size of the layer, MB.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    megabytes: u64,
    /// Rounds that count.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Directory on the disk that is used; it needs five times the size [default: target]
    #[arg(long, default_value = "target")]
    dir: PathBuf,
}

/// One way to copy an image from registry to registry.
struct Way {
    name: &'static str,
    program: PathBuf,
    arguments: fn(&str, &str) -> Vec<String>,
}

pub(crate) fn run(options: &Options, deliveryos: &Path, peers: Option<&Path>) -> Result<Value> {
    let dir = tempfile::tempdir_in(&options.dir).with_context(|| options.dir.display().to_string())?;
    let Some(registry) = find("docker-registry", peers) else { anyhow::bail!("no registry: cargo xtask setup") };
    let (from, _first) = start(&registry, &dir.path().join("from"))?;
    let (to, _second) = start(&registry, &dir.path().join("to"))?;
    for (name, megabytes) in [("large", options.megabytes), ("small", 0)] {
        let program = dir.path().join(name);
        fill(&program, megabytes)?;
        let layout = format!("oci:{}:v1", dir.path().join(format!("{name}.layout")).display());
        quiet(Command::new(deliveryos).args(["image", "build", &layout]).arg(&program))?;
        std::fs::remove_file(&program)?;
        quiet(Command::new(deliveryos).args(["promote", &layout, &format!("{from}/{name}:v1"), "--trust-blobs"]))?;
    }
    // What the program takes when there is next to nothing to copy.
    let ours = ways(deliveryos, peers);
    let idle = copy(ours.first().context("the product")?, &format!("{from}/small:v1"), &format!("{to}/small:v1"))?.1;
    let mut rows: Vec<(Way, Vec<(f64, u64)>)> = ours.into_iter().map(|way| (way, Vec::new())).collect();
    for round in 0..=options.rounds {
        for (way, measured) in &mut rows {
            let repository = format!("{to}/round-{round}-{}:v1", way.name.replace(' ', "-").replace("--", "-"));
            let one = copy(way, &format!("{from}/large:v1"), &repository)?;
            if round > 0 {
                measured.push(one);
            }
        }
    }
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    println!("{:<28} {:>9} {:>9} {:>12}", "", "seconds", "MB/s", "peak MB");
    let mut table = Vec::new();
    for (way, measured) in &rows {
        let seconds = median(measured.iter().map(|m| m.0).collect());
        let peak = measured.iter().map(|m| m.1).max().unwrap_or_default();
        let rate = options.megabytes as f64 / seconds;
        println!("{:<28} {seconds:>9.2} {rate:>9.0} {:>12.1}", way.name, peak as f64 / 1024.0);
        let all: Vec<f64> = measured.iter().map(|m| m.0).collect();
        table.push(json!({ "name": way.name, "seconds": seconds, "megabytes_per_second": rate, "peak_kib": peak, "all_seconds": all }));
    }
    let peak_of_ours = table.iter().take(2).filter_map(|row| row["peak_kib"].as_u64()).max().unwrap_or_default();
    let over_idle = peak_of_ours.saturating_sub(idle);
    let over_idle_mb = over_idle as f64 / 1024.0;
    let met = over_idle_mb <= OVER_IDLE_MB;
    let said = if met { ", met" } else { ": MISSED" };
    println!("over what it takes for an image of nothing: {over_idle_mb:.1} MB (target {OVER_IDLE_MB}{said})");
    let mut ratios = Vec::new();
    for (ours, how) in table.iter().zip(["reading back", "without reading back"]) {
        for theirs in table.iter().skip(2) {
            let (name, seconds) = (theirs["name"].as_str(), theirs["seconds"].as_f64().zip(ours["seconds"].as_f64()));
            if let (Some(name), Some((theirs, ours))) = (name, seconds) {
                println!("time of {name} / time of ours {how}: {:.2}", theirs / ours);
                ratios.push(json!({ "beside": name, "ours": how, "ratio": theirs / ours }));
            }
        }
    }
    Ok(json!({
        "megabytes": options.megabytes, "rounds": options.rounds, "rows": table, "ratios": ratios,
        "idle_kib": idle, "over_idle_kib": over_idle, "over_idle_met": met,
    }))
}

fn ways(deliveryos: &Path, peers: Option<&Path>) -> Vec<Way> {
    let mut ways = vec![
        Way {
            name: "deliveryos promote",
            program: deliveryos.to_owned(),
            arguments: |from, to| vec!["promote".into(), from.into(), to.into()],
        },
        Way {
            name: "deliveryos --trust-blobs",
            program: deliveryos.to_owned(),
            arguments: |from, to| vec!["promote".into(), from.into(), to.into(), "--trust-blobs".into()],
        },
    ];
    let oras: fn(&str, &str) -> Vec<String> = |from, to| {
        vec!["cp".into(), "-r".into(), "--from-plain-http".into(), "--to-plain-http".into(), from.into(), to.into()]
    };
    let crane: fn(&str, &str) -> Vec<String> =
        |from, to| vec!["cp".into(), "--insecure".into(), from.into(), to.into()];
    for (name, tool, arguments) in [("oras cp -r", "oras", oras), ("crane cp", "crane", crane)] {
        ways.extend(find(tool, peers).map(|program| Way { name, program, arguments }));
    }
    ways
}

/// Seconds, and the peak of its memory in KiB.
fn copy(way: &Way, from: &str, to: &str) -> Result<(f64, u64)> {
    let begun = Instant::now();
    let mut child = Command::new(&way.program)
        .args((way.arguments)(from, to))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| way.name.to_owned())?;
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut peak = 0;
    loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = peak.max(line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0));
        if let Some(ended) = child.try_wait()? {
            ensure!(ended.success(), "{}: {ended}", way.name);
            return Ok((begun.elapsed().as_secs_f64(), peak));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn quiet(command: &mut Command) -> Result<()> {
    let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    ensure!(ended.success(), "{command:?}: {ended}");
    Ok(())
}

/// Bytes that no compressor makes smaller.
fn fill(path: &Path, megabytes: u64) -> Result<()> {
    let mut random = std::fs::File::open("/dev/urandom")?;
    let mut file = std::fs::File::create(path)?;
    let mut chunk = vec![0; CHUNK];
    for _ in 0..megabytes {
        random.read_exact(&mut chunk)?;
        file.write_all(&chunk)?;
    }
    Ok(())
}

fn find(name: &str, peers: Option<&Path>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).chain(peers.map(Path::to_owned)).map(|dir| dir.join(name)).find(|p| p.is_file());
    if found.is_none() {
        eprintln!("{name} is not installed and not measured: cargo xtask setup");
    }
    found
}

fn start(program: &Path, dir: &Path) -> Result<(SocketAddr, Process)> {
    std::fs::create_dir_all(dir)?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let config = dir.join("config.yml");
    std::fs::write(
        &config,
        format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}'}}\n",
            dir.join("data").display()
        ),
    )?;
    let command = [program.display().to_string(), "serve".to_owned(), config.display().to_string()];
    let process = Process::start(None, &command, &dir.join("log"))?;
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        ensure!(begun.elapsed() < START_LIMIT, "{} does not listen", program.display());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok((address, process))
}
