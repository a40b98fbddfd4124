//! Figures on their way out: medians, the table and the JSON.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::machine::Machine;
use super::meter::Used;
use super::rig::Done;

/// What a bench found.
pub struct Report {
    /// For scripts.
    pub json: Value,
    /// For people.
    pub text: String,
}

/// What the platform was asked in a phase, when it is ours.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Asked {
    /// CPU seconds of its process.
    pub platform_cpu_s: f64,
    /// Requests that it answered.
    pub platform_requests: u64,
    /// Bytes of its answers' bodies.
    pub platform_bytes: u64,
}

/// One phase: every team synchronised once.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Phase {
    /// `first`, `unchanged`, `changed` or `delta`; `pipeline` for a foreign platform.
    pub name: &'static str,
    /// Environments and nodes that the phase vouches for.
    pub items: i64,
    /// The same in a second on the wall.
    pub items_per_s: f64,
    /// What it took.
    #[serde(flatten)]
    pub used: Used,
    /// What the platform had to do.
    #[serde(flatten)]
    pub asked: Option<Asked>,
    /// What the jobs did.
    pub counts: Done,
}

impl Phase {
    /// From its parts.
    pub fn new(
        name: &'static str,
        items: i64,
        used: Used,
        asked: Option<Asked>,
        counts: Done,
    ) -> Self {
        let items_per_s = if used.wall_s > 0.0 { items as f64 / used.wall_s } else { 0.0 };
        Self { name, items, items_per_s, used, asked, counts }
    }

    /// The median of each figure by itself, over runs of the same phase.
    pub fn median(runs: &[Self]) -> Self {
        let Some(first) = runs.first() else { return Self::default() };
        let mid = |field: fn(&Self) -> f64| median(&runs.iter().map(field).collect::<Vec<_>>());
        let asked = first.asked.is_some().then(|| {
            let mid = |field: fn(&Asked) -> f64| {
                let all = runs.iter().filter_map(|run| run.asked.as_ref()).map(field);
                median(&all.collect::<Vec<_>>())
            };
            Asked {
                platform_cpu_s: mid(|asked| asked.platform_cpu_s),
                platform_requests: mid(|asked| asked.platform_requests as f64) as u64,
                platform_bytes: mid(|asked| asked.platform_bytes as f64) as u64,
            }
        });
        let postgres: Vec<f64> = runs.iter().filter_map(|run| run.used.postgres_cpu_s).collect();
        Self {
            name: first.name,
            items: mid(|run| run.items as f64) as i64,
            items_per_s: mid(|run| run.items_per_s),
            used: Used {
                wall_s: mid(|run| run.used.wall_s),
                cpu_s: mid(|run| run.used.cpu_s),
                postgres_cpu_s: (!postgres.is_empty()).then(|| median(&postgres)),
                peak_rss_mb: mid(|run| run.used.peak_rss_mb),
                rows_written: mid(|run| run.used.rows_written as f64) as i64,
                rows_by_table: first.used.rows_by_table.clone(),
                wal_bytes: mid(|run| run.used.wal_bytes as f64) as i64,
            },
            asked,
            counts: first.counts.clone(),
        }
    }
}

/// The middle of the figures, or the mean of the two in the middle; 0 without any.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[half],
        _ => f64::midpoint(sorted[half - 1], sorted[half]),
    }
}

/// The report of a bench that works in phases.
pub fn of_phases(
    bench: &str,
    title: &str,
    parameters: Value,
    runs: &[Vec<Phase>],
    machine: Machine,
) -> Report {
    let machine = machine.at_end();
    let count = runs.first().map_or(0, Vec::len);
    let phases: Vec<Phase> = (0..count)
        .map(|place| {
            let same = runs.iter().filter_map(|run| run.get(place)).cloned();
            Phase::median(&same.collect::<Vec<_>>())
        })
        .collect();
    let text = format!("{title}\n{}\n\n{}", machine.line(), table(&phases));
    let json = json!({
        "bench": bench, "phases": phases, "parameters": parameters, "machine": machine,
        "runs": runs,
    });
    Report { json, text }
}

fn table(phases: &[Phase]) -> String {
    let mut text = format!(
        "{:<10} {:>7} {:>9} {:>8} {:>7} {:>9} {:>9} {:>8} {:>9} {:>8} {:>8} {:>8} {:>8}\n",
        "phase",
        "items",
        "items/s",
        "wall s",
        "CPU s",
        "Postgres",
        "us/item",
        "peak MB",
        "rows",
        "WAL MB",
        "platform",
        "requests",
        "MB"
    );
    for phase in phases {
        let Phase { name, items, items_per_s, used, asked, .. } = phase;
        let cpu = used.cpu_s + used.postgres_cpu_s.unwrap_or(0.0);
        let each = if *items > 0 { cpu * 1e6 / *items as f64 } else { 0.0 };
        let postgres = used.postgres_cpu_s.map_or("?".to_owned(), |cpu| format!("{cpu:.3}"));
        let of = |field: fn(&Asked) -> String| asked.as_ref().map_or("?".to_owned(), field);
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{name:<10} {items:>7} {items_per_s:>9.0} {:>8.3} {:>7.3} {postgres:>9} {each:>9.1} {:>8.1} {:>9} {:>8.2} {:>8} {:>8} {:>8}",
            used.wall_s,
            used.cpu_s,
            used.peak_rss_mb,
            used.rows_written,
            used.wal_bytes as f64 / 1e6,
            of(|asked| format!("{:.3}", asked.platform_cpu_s)),
            of(|asked| asked.platform_requests.to_string()),
            of(|asked| format!("{:.1}", asked.platform_bytes as f64 / 1e6)),
        );
    }
    text += "\nCPU s: this process; Postgres and platform: CPU s of theirs; us/item: CPU of this process and Postgres.\n";
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(&[]).abs() < f64::EPSILON);
    }

    #[test]
    fn each_figure_has_its_own_median() {
        let run = |wall_s, cpu_s| {
            let used = Used { wall_s, cpu_s, postgres_cpu_s: Some(cpu_s), ..Used::default() };
            Phase::new("first", 10, used, None, Done::default())
        };
        let mid = Phase::median(&[run(1.0, 9.0), run(2.0, 8.0), run(4.0, 7.0)]);
        assert!((mid.used.wall_s - 2.0).abs() < f64::EPSILON);
        assert!((mid.used.cpu_s - 8.0).abs() < f64::EPSILON);
        assert!((mid.items_per_s - 5.0).abs() < f64::EPSILON);
    }
}
