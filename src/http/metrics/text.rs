//! Prometheus text for figures that exist only while they are scraped.

use std::fmt::{Display, Write};

use vz_sync_actors::kit::HistogramSnapshot;
use vz_sync_actors::kit::metrics::BUCKETS;

/// A growing page.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        if !labels.is_empty() {
            self.0.push('{');
            for (index, (label, text)) in labels.iter().enumerate() {
                let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                let comma = if index == 0 { "" } else { "," };
                let _ = write!(self.0, "{comma}{label}=\"{text}\"");
            }
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    pub(super) fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        snapshot: &HistogramSnapshot,
    ) {
        self.buckets(name, labels, &BUCKETS, &snapshot.counts, snapshot.sum_seconds);
    }

    /// `counts` per bucket, with one more than `bounds` for the rest.
    pub(super) fn buckets(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        bounds: &[f64],
        counts: &[u64],
        sum: f64,
    ) {
        let (mut seen, bucket) = (0, format!("{name}_bucket"));
        for (index, count) in counts.iter().enumerate() {
            seen += count;
            let bound = bounds.get(index).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&bucket, &labels, seen);
        }
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, seen);
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_buckets_add_up() {
        let mut page = Page::default();
        page.family("x", "gauge", "An x.");
        page.sample("x", &[("a", "q\"\\\n")], 1);
        page.buckets("h", &[], &[0.5, 1.0], &[1, 2, 3], 9.5);
        assert_eq!(
            page.finish(),
            "# HELP x An x.\n# TYPE x gauge\nx{a=\"q\\\"\\\\\\n\"} 1\n\
             h_bucket{le=\"0.5\"} 1\nh_bucket{le=\"1\"} 3\nh_bucket{le=\"+Inf\"} 6\nh_sum 9.5\nh_count 6\n"
        );
    }
}
