//! The meter around an operation.

use std::{
    future::{Future, poll_fn},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use model::{Energy, EnergyMethod};

use crate::{
    Coefficient, CpuClock, Powercap, SkippedZone,
    cpu::{self, MachineTimes},
    powercap::{self, Counters},
    share::{self, Interval},
};

/// Digits behind the point of a number of joules: nanojoules, below which nothing here means anything.
const NANO: f64 = 1e9;

/// What this machine offers to measure energy with. Cheap to clone; make one and keep it.
#[derive(Debug, Clone)]
pub struct Probe(Arc<Machine>);

#[derive(Debug)]
struct Machine {
    powercap: Powercap,
    coefficient: Coefficient,
    /// Hardware threads that this process may use.
    threads: usize,
    proc: PathBuf,
}

/// An operation that is being measured.
#[derive(Debug)]
pub struct Meter {
    probe: Probe,
    /// Whose CPU time counts, what it was at the start, and on which thread that was.
    cpu: Option<(CpuClock, Duration, ThreadId)>,
    wall: Instant,
    /// Counters and CPU times of the machine at the start.
    rapl: Option<(Counters, MachineTimes)>,
}

/// Why the energy of an operation is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MeterError {
    /// The system does not tell the CPU time.
    #[error("the CPU time cannot be read")]
    CpuTime(#[source] nix::errno::Errno),
    /// A meter of one thread's CPU time was finished on another: use [`Probe::measure`] for work that moves.
    #[error("started on one thread and finished on another")]
    OtherThread,
    /// The meter has no clock of its own: finish it with [`Meter::finish_with`].
    #[error("no CPU clock was started")]
    NoClock,
}

impl Probe {
    /// This machine's counters and coefficient.
    pub fn system() -> Self {
        Self::with_roots(Path::new(powercap::ROOT), Path::new("/proc"))
    }

    /// Like [`Probe::system`], with the folders that stand for `/sys/class/powercap` and `/proc`.
    pub fn with_roots(powercap: &Path, proc: &Path) -> Self {
        Self(Arc::new(Machine {
            powercap: Powercap::find(powercap),
            coefficient: cpu::model_name(proc)
                .map_or_else(Coefficient::unknown, |name| Coefficient::of_model_name(&name)),
            threads: thread::available_parallelism().map_or(1, Into::into),
            proc: proc.to_owned(),
        }))
    }

    /// How operations long enough are measured on this machine.
    pub fn method(&self) -> EnergyMethod {
        if self.0.powercap.packages() > 0 { EnergyMethod::RaplPackage } else { EnergyMethod::ModelCpuTime }
    }

    /// The coefficient of the model.
    pub fn coefficient(&self) -> Coefficient {
        self.0.coefficient
    }

    /// Zones of powercap that do not count, and why.
    pub fn skipped(&self) -> &[SkippedZone] {
        self.0.powercap.skipped()
    }

    /// Begins to measure an operation whose CPU time is that of `clock`.
    pub fn start(&self, clock: CpuClock) -> Result<Meter, MeterError> {
        let mut meter = self.start_without_clock();
        let now = clock.now().map_err(MeterError::CpuTime)?;
        meter.cpu = Some((clock, now, thread::current().id()));
        Ok(meter)
    }

    /// Begins to measure an operation whose CPU time the caller finds out: for [`Meter::finish_with`].
    pub fn start_without_clock(&self) -> Meter {
        let machine = &*self.0;
        let rapl = machine.powercap.read().and_then(|counters| Some((counters, MachineTimes::read(&machine.proc)?)));
        Meter { probe: self.clone(), cpu: None, wall: Instant::now(), rapl }
    }

    /// Measures a future: the CPU time of its own polls, on whatever threads they run. What it spawns is not counted.
    pub async fn measure<F: Future>(&self, work: F) -> (F::Output, Result<Energy, MeterError>) {
        let meter = self.start_without_clock();
        let mut work = pin!(work);
        let mut cpu = Ok(Duration::ZERO);
        let output = poll_fn(|context| {
            let before = cpu::thread_now();
            let polled = work.as_mut().poll(context);
            let after = cpu::thread_now();
            cpu = cpu.and_then(|cpu| Ok(cpu + after?.saturating_sub(before?)));
            polled
        })
        .await;
        let energy = cpu.map(|cpu| meter.finish_with(cpu, "cpu of one task")).map_err(MeterError::CpuTime);
        (output, energy)
    }

    /// The model's energy of an operation: its CPU time by the coefficient, the idle power of the hardware threads over
    /// the wall time apart.
    fn modelled(&self, cpu: Duration, wall: Duration, scope: &str) -> Energy {
        let Coefficient { low, point, high, idle, .. } = self.0.coefficient;
        let seconds = cpu.as_secs_f64();
        Energy {
            joules: rounded(point * seconds),
            low: rounded(low * seconds),
            high: rounded(high * seconds),
            method: EnergyMethod::ModelCpuTime,
            scope: scope.to_owned(),
            coefficient: Some(self.0.coefficient.label()),
            cpu_time_us: micros(cpu),
            wall_us: micros(wall),
            idle_joules: Some(rounded(idle * self.0.threads as f64 * wall.as_secs_f64())),
        }
    }
}

impl Meter {
    /// Ends the operation, with the CPU time of the clock that was started.
    pub fn finish(self) -> Result<Energy, MeterError> {
        let (clock, start, thread) = self.cpu.ok_or(MeterError::NoClock)?;
        if clock == CpuClock::Thread && thread != thread::current().id() {
            return Err(MeterError::OtherThread);
        }
        let cpu = clock.now().map_err(MeterError::CpuTime)?.saturating_sub(start);
        Ok(self.finish_with(cpu, clock.scope()))
    }

    /// Ends the operation, which took `cpu` of CPU time; `scope` says whose, e.g. `cpu of the workload's process`.
    pub fn finish_with(self, cpu: Duration, scope: &str) -> Energy {
        let wall = self.wall.elapsed();
        self.shared(cpu, wall, scope).unwrap_or_else(|| self.probe.modelled(cpu, wall, scope))
    }

    /// The share of the packages' energy, where there are counters and the operation is neither too short nor too long.
    fn shared(&self, cpu: Duration, wall: Duration, scope: &str) -> Option<Energy> {
        let Machine { powercap, proc, .. } = &*self.probe.0;
        if wall < share::SHORTEST || wall > powercap.longest_interval() {
            return None;
        }
        let (counters, times) = self.rapl.as_ref()?;
        let package_joules = powercap.joules_between(counters, &powercap.read()?)?;
        let MachineTimes { busy, total } = MachineTimes::read(proc)?.since(times)?;
        let share = share::share(&Interval { package_joules, busy, total, cpu })?;
        Some(Energy {
            joules: rounded(share.joules),
            low: rounded(share.low),
            high: rounded(share.high),
            method: EnergyMethod::RaplPackage,
            scope: format!("package share, {scope}"),
            coefficient: None,
            cpu_time_us: micros(cpu),
            wall_us: micros(wall),
            idle_joules: Some(rounded(share.idle)),
        })
    }
}

/// The energy of operations together; `None` of none. Methods that differ make it [`EnergyMethod::Mixed`], so that no
/// sum hides how it came about. The bounds are summed too: the parts share the coefficient's error, which does not
/// average out. Idle energy is left out, because the idle times of operations overlap.
pub fn sum<'e>(parts: impl IntoIterator<Item = &'e Energy>) -> Option<Energy> {
    let mut parts = parts.into_iter();
    let mut total = Energy { idle_joules: None, ..parts.next()?.clone() };
    for part in parts {
        total.joules = rounded(total.joules + part.joules);
        total.low = rounded(total.low + part.low);
        total.high = rounded(total.high + part.high);
        total.cpu_time_us = total.cpu_time_us.saturating_add(part.cpu_time_us);
        total.wall_us = total.wall_us.saturating_add(part.wall_us);
        if total.method != part.method {
            total.method = EnergyMethod::Mixed;
        }
        if total.scope != part.scope {
            total.scope = "sum of parts".to_owned();
        }
        if total.coefficient != part.coefficient {
            total.coefficient = None;
        }
    }
    Some(total)
}

fn rounded(joules: f64) -> f64 {
    (joules * NANO).round() / NANO
}

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{fs, task};

    use super::*;

    /// A machine of files: one package and the CPU times of `/proc/stat`.
    struct Fake(tempfile::TempDir);

    impl Fake {
        fn new(model_name: &str) -> Self {
            let fake = Self(tempfile::tempdir().unwrap());
            let zone = fake.path("powercap/intel-rapl:0");
            fs::create_dir_all(&zone).unwrap();
            fs::create_dir_all(fake.path("proc")).unwrap();
            fs::write(zone.join("name"), "package-0\n").unwrap();
            fs::write(zone.join("max_energy_range_uj"), "262143328850\n").unwrap();
            fs::write(fake.path("proc/cpuinfo"), format!("model name\t: {model_name}\n")).unwrap();
            fake.set(0, 0, 0);
            fake
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        /// Joules of the package, busy and idle ticks of the machine, all since the start of time.
        fn set(&self, joules: u64, busy: u64, idle: u64) {
            fs::write(self.path("powercap/intel-rapl:0/energy_uj"), format!("{}\n", joules * 1_000_000)).unwrap();
            fs::write(self.path("proc/stat"), format!("cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\n")).unwrap();
        }

        fn probe(&self) -> Probe {
            Probe::with_roots(&self.path("powercap"), &self.path("proc"))
        }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn shares_of_a_package() {
        let fake = Fake::new("AMD EPYC 7763");
        let probe = fake.probe();
        assert_eq!(probe.method(), EnergyMethod::RaplPackage);
        let meter = probe.start_without_clock();
        // Kepler's second example: 60 J, a third of the machine busy, 100 of 1000 ms.
        fake.set(60, 100, 200);
        let energy = meter.shared(ms(100), ms(1000), "cpu of one thread").unwrap();
        let expected = Energy {
            joules: 2.0,
            low: 1.0,
            high: 6.0,
            method: EnergyMethod::RaplPackage,
            scope: "package share, cpu of one thread".into(),
            coefficient: None,
            cpu_time_us: 100_000,
            wall_us: 1_000_000,
            idle_joules: Some(40.0),
        };
        assert_eq!(energy, expected);
        // Too short for the ticks, too long for the counter.
        assert_eq!(meter.shared(ms(10), ms(99), "cpu"), None);
        assert_eq!(meter.shared(ms(10), Duration::from_secs(525), "cpu"), None);
        // Nothing moved: no share can be told.
        fake.set(60, 0, 0);
        assert_eq!(meter.shared(ms(100), ms(1000), "cpu"), None);
        // Counters that went away are no zero.
        fs::remove_file(fake.path("powercap/intel-rapl:0/energy_uj")).unwrap();
        assert_eq!(meter.shared(ms(100), ms(1000), "cpu"), None);
    }

    #[test]
    fn short_operations_are_modelled() {
        let fake = Fake::new("AMD EPYC 7763 64-Core Processor");
        let energy = fake.probe().start_without_clock().finish_with(ms(3000), "cpu of one thread");
        assert_eq!(energy.method, EnergyMethod::ModelCpuTime);
        assert_eq!((energy.joules, energy.low, energy.high), (4.71, 2.826, 14.13));
        assert_eq!(energy.coefficient.as_deref(), Some("ccf/amd-epyc-3@b7a049c"));
        assert_eq!((energy.scope.as_str(), energy.cpu_time_us), ("cpu of one thread", 3_000_000));
    }

    #[test]
    fn idle_power_is_apart() {
        let probe = Fake::new("AMD EPYC 7763").probe();
        let energy = probe.modelled(ms(0), ms(1000), "cpu");
        assert_eq!(energy.joules, 0.0);
        assert_eq!(energy.idle_joules, Some(rounded(0.45 * probe.0.threads as f64)));
    }

    #[test]
    fn a_thread_measures_itself() {
        let probe = Fake::new("").probe();
        let meter = probe.start(CpuClock::Thread).unwrap();
        let start = cpu::thread_now().unwrap();
        while cpu::thread_now().unwrap() - start < ms(5) {}
        let energy = meter.finish().unwrap();
        assert!(energy.cpu_time_us >= 5_000 && energy.wall_us >= 5_000, "{energy:?}");
        assert!(0.0 < energy.low && energy.low < energy.joules && energy.joules < energy.high, "{energy:?}");
        assert_eq!(energy.coefficient.as_deref(), Some("ccf/unknown@b7a049c"));

        let meter = probe.start(CpuClock::Thread).unwrap();
        let elsewhere = thread::spawn(move || meter.finish()).join().unwrap();
        assert_eq!(elsewhere, Err(MeterError::OtherThread));
        assert_eq!(probe.start_without_clock().finish(), Err(MeterError::NoClock));
        let meter = probe.start(CpuClock::Process).unwrap();
        assert!(thread::spawn(move || meter.finish()).join().unwrap().is_ok());
    }

    #[test]
    fn a_future_is_measured_poll_by_poll() {
        let probe = Fake::new("").probe();
        let mut polls = 0;
        let work = poll_fn(|_| {
            polls += 1;
            let start = cpu::thread_now().unwrap();
            while cpu::thread_now().unwrap() - start < ms(3) {}
            if polls < 3 { task::Poll::Pending } else { task::Poll::Ready("done") }
        });
        let mut measured = pin!(probe.measure(work));
        let mut context = task::Context::from_waker(task::Waker::noop());
        let (output, energy) = loop {
            if let task::Poll::Ready(ready) = measured.as_mut().poll(&mut context) {
                break ready;
            }
            // What others do between the polls does not count.
            let start = cpu::thread_now().unwrap();
            while cpu::thread_now().unwrap() - start < ms(20) {}
        };
        let energy = energy.unwrap();
        assert_eq!((output, energy.scope.as_str()), ("done", "cpu of one task"));
        assert!((9_000..40_000).contains(&energy.cpu_time_us), "{energy:?}");
        assert!(energy.wall_us >= 49_000, "{energy:?}");
    }

    #[test]
    fn sums_keep_their_method() {
        let probe = Fake::new("AMD EPYC 7763").probe();
        let modelled = probe.modelled(ms(1000), ms(1000), "cpu of one thread");
        assert_eq!(sum([]), None);
        let thrice = sum([&modelled, &modelled, &modelled]).unwrap();
        assert_eq!((thrice.joules, thrice.low, thrice.high), (4.71, 2.826, 14.13));
        assert_eq!((thrice.method, thrice.idle_joules), (EnergyMethod::ModelCpuTime, None));
        assert_eq!((thrice.coefficient, thrice.scope), (modelled.coefficient.clone(), modelled.scope.clone()));
        assert_eq!((thrice.cpu_time_us, thrice.wall_us), (3_000_000, 3_000_000));
        let measured = Energy { method: EnergyMethod::RaplPackage, coefficient: None, ..modelled.clone() };
        let mixed = sum([&modelled, &measured, &measured]).unwrap();
        assert_eq!((mixed.method, mixed.coefficient), (EnergyMethod::Mixed, None));
        let other = Energy { scope: "cpu of child processes".into(), ..modelled.clone() };
        assert_eq!(sum([&modelled, &other]).unwrap().scope, "sum of parts");
    }

    #[test]
    fn this_machine_has_a_method() {
        let probe = Probe::system();
        let energy = probe.start(CpuClock::Process).unwrap().finish().unwrap();
        assert!(energy.low <= energy.joules && energy.joules <= energy.high);
        eprintln!("{:?}, {}, skipped {:?}", probe.method(), probe.coefficient().label(), probe.skipped());
    }
}
