//! What the kernel counts for a process: CPU time and memory. Linux only; elsewhere figures are
//! missing and the bench says so.
//!
//! CPU seconds are what a machine shared with others can still tell; walls are not.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};

/// User and system time of this process, in seconds.
pub fn own_cpu_s() -> f64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return 0.0 };
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// The fields of a process's `stat` that matter here, times in clock ticks.
struct Stat {
    parent: u32,
    own: u64,
    reaped: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold blanks and parentheses; what follows the last one does not.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let parent = fields.nth(1)?.parse().ok()?;
    let mut times = fields.skip(9).take(4).map_while(|field| field.parse::<u64>().ok());
    let (user, system) = (times.next()?, times.next()?);
    let (reaped_user, reaped_system) = (times.next()?, times.next()?);
    Some(Stat { parent, own: user + system, reaped: reaped_user + reaped_system })
}

fn ticks(count: u64) -> f64 {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    count as f64 / per_second as f64
}

/// User and system time of another process with all its threads, in seconds.
pub fn cpu_s(pid: u32) -> Option<f64> {
    stat(pid).map(|stat| ticks(stat.own))
}

/// The process's parent.
pub fn parent(pid: u32) -> Option<u32> {
    stat(pid).map(|stat| stat.parent)
}

/// The process's name, cut to 15 bytes by the kernel.
pub fn name(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim().to_owned())
}

/// CPU time of a server that forks a process for each session: its own, that of its living
/// children, and that of those that have ended and were waited for. In seconds.
///
/// A child that has just ended may be missing until its parent has waited for it.
pub fn family_cpu_s(pid: u32) -> Option<f64> {
    let server = stat(pid)?;
    let children = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|child| Some((child, stat(child)?)))
        .filter(|(_, stat)| stat.parent == pid);
    let living: f64 = children.map(|(child, stat)| precise(child, stat.own)).sum();
    Some(precise(pid, server.own) + ticks(server.reaped) + living)
}

/// A process of a single thread to the nanosecond where the kernel tells, else in ticks.
fn precise(pid: u32, own: u64) -> f64 {
    let nanoseconds = fs::read_to_string(format!("/proc/{pid}/schedstat"))
        .ok()
        .and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    nanoseconds.map_or_else(|| ticks(own), |nanoseconds| nanoseconds as f64 / 1e9)
}

/// Makes the present size of this process the peak from which [`peak_rss_mb`] counts.
pub fn reset_peak_rss() {
    // Without the file there is no peak to reset, and the figure covers the process's life.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The most memory this process had resident, in megabytes of 10^6 bytes.
pub fn peak_rss_mb() -> f64 {
    memory_mb("self", "VmHWM:").unwrap_or(0.0)
}

/// The memory that a process has resident now, in megabytes of 10^6 bytes.
pub fn rss_mb(pid: u32) -> Option<f64> {
    memory_mb(&pid.to_string(), "VmRSS:")
}

fn memory_mb(pid: &str, field: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// Processes that wanted a processor in the last minute, on average.
pub fn load_1m() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// How long an ended child may take to be waited for and counted.
pub const REAPED: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_own_figures() {
        let before = own_cpu_s();
        let sum = (0..20_000_000_u64).fold(0, |sum, next| sum ^ std::hint::black_box(next));
        assert!(own_cpu_s() > before, "work takes CPU time ({sum})");
        let me = std::process::id();
        assert!(parent(me).is_some() && cpu_s(me).is_some() && name(me).is_some());
        reset_peak_rss();
        let peak = peak_rss_mb();
        assert!(peak >= rss_mb(me).unwrap() * 0.5, "{peak}");
    }

    #[test]
    fn a_family_counts_children_alive_and_ended() {
        use std::io::{BufRead as _, BufReader};
        use std::process::{Command, Stdio};

        let work = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo done; read _";
        let mut child = Command::new("sh")
            .args(["-c", work])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let me = std::process::id();
        let others = || family_cpu_s(me).unwrap() - precise(me, 0);
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let alive = others();
        assert!(alive > 0.01, "a living child is counted: {alive}");
        drop(child.stdin.take());
        child.wait().unwrap();
        let ended = others();
        // In ticks, so a little less than to the nanosecond.
        assert!(ended > alive - 0.03 && ended > 0.01, "and an ended one: {ended} after {alive}");
        assert!(family_cpu_s(u32::MAX).is_none());
    }
}
