//! The results as Markdown: an overview, the ratios to Hobnob, and the details of each metric.

use std::fmt::{self, Display, Formatter};

use clap::ValueEnum;

use crate::{
    measure::{Metric, Pace, Row, Target},
    peers::Peer,
    stats::Spread,
};

/// All rows of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<(Peer, Row)>,
}

impl Report {
    /// Without rows.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds what one round of one server showed.
    pub(crate) fn add(&mut self, peer: Peer, row: Row) {
        self.rows.push((peer, row));
    }

    /// What was measured, in that order.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        for (_, row) in &self.rows {
            if !metrics.iter().any(|metric: &Metric| metric.title == row.metric.title) {
                metrics.push(row.metric);
            }
        }
        metrics
    }

    /// The servers that were measured, in the order of the tables.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        let measured = |peer: &Peer| self.rows.iter().any(|(other, _)| other == peer);
        Peer::value_variants().iter().copied().filter(measured).collect()
    }

    fn rows_of(&self, title: &str, peer: Peer) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |(other, row)| *other == peer && row.metric.title == title).map(|(_, row)| row)
    }

    /// What it cost, or what stands in for it.
    pub(crate) fn cost(&self, metric: Metric, peer: Peer) -> Option<Spread> {
        let of = |title| Spread::of(self.rows_of(title, peer).map(|row| row.cost));
        of(metric.title).or_else(|| of(metric.stand_in?))
    }

    /// Whether it was measured at this server; if not, something may stand in for it.
    pub(crate) fn has(&self, metric: Metric, peer: Peer) -> bool {
        self.rows_of(metric.title, peer).next().is_some()
    }

    fn pace(&self, metric: Metric, peer: Peer, value: impl Fn(&Pace) -> f64) -> Option<f64> {
        Some(Spread::of(self.rows_of(metric.title, peer).filter_map(|row| row.pace.as_ref()).map(value))?.median)
    }

    fn overview(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "## Cost of an operation\n\nCPU time of the server process, user and kernel, where the unit is µs. Medians, and \
             the least and the most of the rounds.\n"
        )?;
        let peers = self.peers();
        head(out, &["", "unit"], &peers)?;
        let mut stands_in = false;
        for metric in self.metrics() {
            write!(out, "| {} | {} |", metric.title, metric.unit)?;
            for &peer in &peers {
                let cost = self.cost(metric, peer);
                let mark = if cost.is_some() && !self.has(metric, peer) { " *" } else { "" };
                stands_in |= !mark.is_empty();
                write!(out, " {}{mark} |", Cell(cost.map(spread)))?;
            }
            writeln!(out)?;
        }
        if stands_in {
            writeln!(out, "\n\\* The plain fan-out from above: nothing is checked and stored.")?;
        }
        writeln!(out)
    }

    fn targets(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let metrics = self.metrics();
        let held = metrics.iter().flat_map(|metric| metric.targets.iter().map(move |&target| (*metric, target)));
        let judged: Vec<_> = held.filter_map(|(metric, target)| Some((metric, self.judge(metric, target)?))).collect();
        if judged.is_empty() {
            return Ok(());
        }
        writeln!(out, "## What Hobnob is held to\n\n| | target | measured | met |\n|---|---|---|---|")?;
        for (metric, Verdict { target, measured, is_met }) in judged {
            let met = if is_met { "yes" } else { "**no**" };
            writeln!(out, "| {} | {target} | {measured} | {met} |", metric.title)?;
        }
        writeln!(out)
    }

    /// How far a target is reached; nothing if it was not measured.
    fn judge(&self, metric: Metric, target: Target) -> Option<Verdict> {
        let cost = |peer| Some(self.cost(metric, peer)?.median);
        let ours = cost(Peer::Hobnob)?;
        let verdict = |target, measured, is_met| Some(Verdict { target, measured, is_met });
        match target {
            Target::Times(most, peer) => {
                let times = ours / cost(peer)?;
                verdict(format!("≤ {most} × {}", peer.name()), format!("{times:.2} ×"), times <= most)
            }
            Target::AtMost(most) => {
                let unit = metric.unit;
                verdict(format!("≤ {} {unit}", figure(most)), format!("{} {unit}", figure(ours)), ours <= most)
            }
            Target::Rate(least, peer) => {
                let rate = |peer| self.pace(metric, peer, |pace| pace.rate);
                let times = rate(Peer::Hobnob)? / rate(peer)?;
                let target = format!("≥ {least} × the rate of {}", peer.name());
                verdict(target, format!("{times:.1} ×"), times >= least)
            }
        }
    }

    fn ratios(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let mut peers = self.peers();
        if !peers.contains(&Peer::Hobnob) || peers.len() == 1 {
            return Ok(());
        }
        peers.retain(|&peer| peer != Peer::Hobnob);
        writeln!(out, "## Hobnob beside the others\n\nIts cost divided by theirs; in brackets its rate by theirs.\n")?;
        head(out, &[""], &peers)?;
        for metric in self.metrics().into_iter().filter(Metric::is_relative) {
            write!(out, "| {} |", metric.title)?;
            for &peer in &peers {
                write!(out, " {} |", Cell(self.ratio(metric, peer)))?;
            }
            writeln!(out)?;
        }
        writeln!(out)
    }

    fn ratio(&self, metric: Metric, peer: Peer) -> Option<String> {
        let cost = self.cost(metric, Peer::Hobnob)?.median / self.cost(metric, peer)?.median;
        let rate = |peer| self.pace(metric, peer, |pace| pace.rate);
        Some(match (rate(Peer::Hobnob), rate(peer)) {
            (Some(ours), Some(theirs)) => format!("{cost:.2} ({:.1})", ours / theirs),
            (None, _) | (_, None) => format!("{cost:.2}"),
        })
    }

    fn details(&self, out: &mut Formatter<'_>, metric: Metric) -> fmt::Result {
        writeln!(out, "### {}\n", metric.title)?;
        let is_paced = self.rows.iter().any(|(_, row)| row.metric.title == metric.title && row.pace.is_some());
        let (paced, rule) = if is_paced {
            let paced =
                format!(" in the kernel | {}/s | p50 ms | p99 ms | its core | load's core |", metric.operations);
            (paced, "---|---|---|---|---|---|")
        } else {
            (String::new(), "")
        };
        writeln!(out, "| | {} (min – max) | RSS MB |{paced}", metric.unit)?;
        writeln!(out, "|---|---|---|{rule}")?;
        for peer in self.peers() {
            if !self.has(metric, peer) {
                continue;
            }
            let cost = Cell(self.cost(metric, peer).map(spread));
            let resident = Spread::of(self.rows_of(metric.title, peer).map(|row| row.resident_bytes as f64 / 1e6));
            let resident = Cell(resident.map(|spread| format!("{:.1}", spread.median)));
            write!(out, "| {} | {cost} | {resident} |", peer.name())?;
            if is_paced {
                self.pace_cells(out, metric, peer)?;
            }
            writeln!(out)?;
        }
        writeln!(out)
    }

    fn pace_cells(&self, out: &mut Formatter<'_>, metric: Metric, peer: Peer) -> fmt::Result {
        let pace = |value: fn(&Pace) -> f64| self.pace(metric, peer, value);
        let percent = |value| Cell(pace(value).map(|share| format!("{:.0} %", share * 100.0)));
        let millis = |value| Cell(pace(value).map(|ms| format!("{ms:.2}")));
        write!(
            out,
            " {} | {} | {} | {} | {} | {} |",
            percent(|pace| pace.kernel),
            Cell(pace(|pace| pace.rate).map(figure)),
            millis(|pace| pace.latency_ms[0]),
            millis(|pace| pace.latency_ms[1]),
            percent(|pace| pace.busy[0]),
            percent(|pace| pace.busy[1]),
        )
    }
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.overview(out)?;
        self.ratios(out)?;
        self.targets(out)?;
        writeln!(out, "## Details\n")?;
        self.metrics().into_iter().try_for_each(|metric| self.details(out, metric))
    }
}

/// How far a target is reached.
struct Verdict {
    target: String,
    measured: String,
    is_met: bool,
}

/// A cell of a table, which may have nothing to tell.
struct Cell(Option<String>);

impl Display for Cell {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(self.0.as_deref().unwrap_or("–"))
    }
}

fn head(out: &mut Formatter<'_>, first: &[&str], peers: &[Peer]) -> fmt::Result {
    let columns = first.iter().copied().chain(peers.iter().map(|peer| peer.name()));
    columns.clone().try_for_each(|column| write!(out, "| {column} "))?;
    writeln!(out, "|")?;
    columns.into_iter().try_for_each(|_| write!(out, "|---"))?;
    writeln!(out, "|")
}

fn spread(cost: Spread) -> String {
    let [median, min, max] = [cost.median, cost.min, cost.max].map(figure);
    if min == max { median } else { format!("{median} ({min} – {max})") }
}

/// Three significant figures, thousands set apart.
pub(crate) fn figure(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_short_and_grouped() {
        let figures = [0.914, 28.44, 999.6, 79_205.3, 1_010_000.0].map(figure);
        assert_eq!(figures, ["0.91", "28.4", "1,000", "79,205", "1,010,000"]);
    }
}
