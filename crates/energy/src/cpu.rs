//! CPU time: of a thread, of processes, of the machine.

use std::{fs::File, io::Read as _, path::Path, time::Duration};

use nix::{
    errno::Errno,
    sys::{
        resource::{Usage, UsageWho, getrusage},
        time::TimeValLike as _,
    },
    time::ClockId,
    unistd::Pid,
};

/// Ticks a second in `/proc/stat`: `USER_HZ`, which Linux fixes at 100 on every processor we run on.
const USER_HZ: u64 = 100;
/// Bytes read of `/proc/stat` and `/proc/cpuinfo`: the lines we need come first.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Largest process id that Linux hands out (`PID_MAX_LIMIT`). A clock's id holds the process id shifted, so a larger
/// number, or zero, would silently mean another process.
const MAX_PROCESS: i32 = 1 << 22;

/// Whose CPU time an operation's is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpuClock {
    /// The thread that starts and finishes the meter: exact for work that does not leave it.
    Thread,
    /// All threads of this process: with other work going on at the same time, too much.
    Process,
    /// Child processes that ended and were waited for between start and finish, such as a build's.
    Children,
}

impl CpuClock {
    /// In words, for the scope of an energy.
    pub(crate) fn scope(self) -> &'static str {
        match self {
            Self::Thread => "cpu of one thread",
            Self::Process => "cpu of this process",
            Self::Children => "cpu of child processes",
        }
    }

    pub(crate) fn now(self) -> Result<Duration, Errno> {
        match self {
            Self::Thread => thread_now(),
            Self::Process => ClockId::CLOCK_PROCESS_CPUTIME_ID.now().map(Into::into),
            Self::Children => getrusage(UsageWho::RUSAGE_CHILDREN).map(used),
        }
    }
}

/// CPU time of this thread since it began.
pub(crate) fn thread_now() -> Result<Duration, Errno> {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Into::into)
}

/// CPU time of a running process, all its threads, since it began: the difference of two readings is what an operation
/// in that process took. Fails when there is no such process.
pub fn cpu_time_of(process: i32) -> std::io::Result<Duration> {
    if !(1..=MAX_PROCESS).contains(&process) {
        return Err(Errno::ESRCH.into());
    }
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(process))?;
    Ok(clock.now()?.into())
}

/// CPU time of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MachineTimes {
    pub(crate) busy: Duration,
    pub(crate) total: Duration,
}

impl MachineTimes {
    /// From the first line of `<proc>/stat`: user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice.
    /// Guests are counted in user; stolen time was spent by other machines and is neither.
    pub(crate) fn read(proc: &Path) -> Option<Self> {
        let text = read_start(&proc.join("stat"))?;
        let mut fields = text.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
        let mut ticks = || fields.next()?.parse::<u64>().ok();
        let (user, nice, system, idle, iowait) = (ticks()?, ticks()?, ticks()?, ticks()?, ticks()?);
        let (irq, softirq) = (ticks()?, ticks()?);
        let sum = |ticks: &[u64]| ticks.iter().try_fold(0_u64, |sum, ticks| sum.checked_add(*ticks));
        let busy = sum(&[user, nice, system, irq, softirq])?;
        let total = sum(&[busy, idle, iowait])?;
        let duration = |ticks: u64| Duration::from_millis(ticks.saturating_mul(1000 / USER_HZ));
        Some(Self { busy: duration(busy), total: duration(total) })
    }

    /// What passed since `start`; `None` when a clock went back, as after moving a machine.
    pub(crate) fn since(&self, start: &Self) -> Option<Self> {
        Some(Self { busy: self.busy.checked_sub(start.busy)?, total: self.total.checked_sub(start.total)? })
    }
}

/// The first `model name` of `<proc>/cpuinfo`.
pub(crate) fn model_name(proc: &Path) -> Option<String> {
    let text = read_start(&proc.join("cpuinfo"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches(['\t', ' ', ':']).trim_end().to_owned())
}

fn used(usage: Usage) -> Duration {
    let micros = usage.user_time().num_microseconds().saturating_add(usage.system_time().num_microseconds());
    Duration::from_micros(micros.try_into().unwrap_or(0))
}

fn read_start(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn machine_times() {
        let proc = tempfile::tempdir().unwrap();
        let times = |stat: &str| {
            fs::write(proc.path().join("stat"), stat).unwrap();
            MachineTimes::read(proc.path())
        };
        let seconds =
            |busy, total| Some(MachineTimes { busy: Duration::from_secs(busy), total: Duration::from_secs(total) });
        let start = times("cpu  100 200 300 400 500 600 700 800 900 1000\ncpu0 1 2 3\n");
        assert_eq!(start, seconds(19, 28));
        let end = times("cpu  300 200 300 800 500 600 700 9999 0 0\n");
        assert_eq!(end.unwrap().since(&start.unwrap()), seconds(2, 6));
        assert_eq!(start.unwrap().since(&end.unwrap()), None);
        for bad in [
            "",
            "cpu0 1 2 3 4 5 6 7\n",
            "cpu  1 2 3 4 5 6\n",
            "cpu  1 2 3 x 5 6 7\n",
            "cpu  -1 2 3 4 5 6 7\n",
            "intr 1",
        ] {
            assert_eq!(times(bad), None, "{bad:?}");
        }
        assert_eq!(times(&format!("cpu  {0} {0} 1 1 1 1 1", u64::MAX)), None);
        assert!(MachineTimes::read(Path::new("/proc")).is_some());
    }

    #[test]
    fn model_names() {
        let proc = tempfile::tempdir().unwrap();
        fs::write(proc.path().join("cpuinfo"), "processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC 7763 64-Core\n")
            .unwrap();
        assert_eq!(model_name(proc.path()).as_deref(), Some("AMD EPYC 7763 64-Core"));
        fs::write(proc.path().join("cpuinfo"), b"processor\t: 0\nCPU part: \xff\n").unwrap();
        assert_eq!(model_name(proc.path()), None);
    }

    /// Work that takes at least this much CPU time of this thread.
    fn work(cpu: Duration) {
        let start = thread_now().unwrap();
        let mut n = 0_u64;
        while thread_now().unwrap() - start < cpu {
            n = std::hint::black_box(n.wrapping_add(1));
        }
    }

    #[test]
    fn clocks_count_their_own() {
        let cpu = Duration::from_millis(20);
        let (thread, process) = (CpuClock::Thread.now().unwrap(), CpuClock::Process.now().unwrap());
        std::thread::spawn(move || work(cpu)).join().unwrap();
        assert!(CpuClock::Process.now().unwrap() - process >= cpu);
        assert!(CpuClock::Thread.now().unwrap() - thread < cpu, "another thread's work is not this one's");
        assert!(cpu_time_of(std::process::id() as i32).unwrap() >= cpu);

        let children = CpuClock::Children.now().unwrap();
        let status =
            Command::new("sh").args(["-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"]).status().unwrap();
        assert!(status.success());
        assert!(CpuClock::Children.now().unwrap() > children);
    }

    #[test]
    fn a_process_that_is_gone_has_no_clock() {
        let mut child = Command::new("true").spawn().unwrap();
        let process = child.id() as i32;
        child.wait().unwrap();
        assert!(cpu_time_of(process).is_err());
        for no_process in [0, -1, i32::MIN, i32::MAX, MAX_PROCESS + 1, (1 << 29) + std::process::id() as i32] {
            assert!(cpu_time_of(no_process).is_err(), "{no_process}");
        }
    }
}
