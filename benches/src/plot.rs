//! The results as one picture: for each metric a bar per server, relative to the floor or to Hobnob, on a
//! logarithmic scale. Colours are told apart on light and on dark ground.

use std::fmt::{self, Write};

use crate::{
    measure::Metric,
    peers::Peer,
    report::{Report, figure},
};

const WIDTH: f64 = 860.0;
/// Where the bars begin and end; names stand before them, figures behind them.
const LEFT: f64 = 110.0;
const RIGHT: f64 = 720.0;
const TOP: f64 = 76.0;
const BAR: f64 = 11.0;
const STEP: f64 = 14.0;
const TITLE: f64 = 20.0;
const GAP: f64 = 12.0;
/// What the scale spans at least, as powers of ten.
const DECADES: [f64; 2] = [0.0, 1.0];

const STYLE: &str = "
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 }
  .head { font-size: 15px; font-weight: 600 }
  .dim { fill: #59636e }
  .grid { stroke: #d1d9e0 }
  .hobnob { fill: #0969da } .socketioxide { fill: #bc4c00 } .node { fill: #57a333 } .bun { fill: #b07fc7 } .floor { fill: #8c959f }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .dim { fill: #9198a1 } .grid { stroke: #3d444d }
    .hobnob { fill: #4493f8 } .socketioxide { fill: #f0883e }
  }
";

/// One bar.
struct Bar {
    peer: Peer,
    /// Its cost by that of the one all are compared with.
    ratio: f64,
    label: String,
}

/// An SVG document.
pub(crate) fn draw(report: &Report) -> String {
    let groups: Vec<(Metric, Vec<Bar>)> =
        report.metrics().into_iter().filter_map(|metric| Some((metric, bars(report, metric)?))).collect();
    let mut picture = String::new();
    // Writing to a string does not fail.
    render(&mut picture, &groups).ok();
    picture
}

/// The bars of a metric, or nothing if there is nobody to compare with.
fn bars(report: &Report, metric: Metric) -> Option<Vec<Bar>> {
    let cost = |peer| report.cost(metric, peer).map(|cost| cost.median).filter(|&cost| cost > 0.0);
    let base = cost(Peer::Floor).or_else(|| cost(Peer::Hobnob))?;
    let bars: Vec<Bar> = report
        .peers()
        .into_iter()
        .filter_map(|peer| {
            let cost = cost(peer)?;
            let note = if report.has(metric, peer) { "" } else { ", plain fan-out" };
            let label = format!("{} {}{note}", figure(cost), metric.unit);
            Some(Bar { peer, ratio: cost / base, label })
        })
        .collect();
    let is_comparable = metric.is_relative() && bars.len() > 1 && cost(Peer::Hobnob).is_some();
    is_comparable.then_some(bars)
}

fn render(out: &mut String, groups: &[(Metric, Vec<Bar>)]) -> fmt::Result {
    let powers = groups.iter().flat_map(|(_, bars)| bars).map(|bar| bar.ratio.log10());
    let [low, high] = powers.fold(DECADES, |[low, high], power| [low.min(power.floor()), high.max(power.ceil())]);
    let x = |ratio: f64| LEFT + (ratio.log10() - low) / (high - low) * (RIGHT - LEFT);
    let rows: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let height = TOP + groups.len() as f64 * (TITLE + GAP) + rows as f64 * STEP + 8.0;
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">"#
    )?;
    writeln!(out, "<title>What an operation costs: Hobnob beside other Socket.IO servers</title>")?;
    writeln!(out, "<style>{STYLE}</style>")?;
    writeln!(out, r#"<text class="head" x="8" y="22">What an operation costs: shorter is better</text>"#)?;
    writeln!(
        out,
        r#"<text class="dim" x="8" y="42">Times the floor, the least work any server has to do (times Hobnob where there is none). Logarithmic.</text>"#
    )?;
    let ticks = (0..=(high - low) as i32).map(|tick| low + f64::from(tick));
    for power in ticks {
        let (ratio, at) = (10_f64.powf(power), x(10_f64.powf(power)));
        writeln!(out, r#"<line class="grid" x1="{at:.1}" x2="{at:.1}" y1="{TOP}" y2="{height}"/>"#)?;
        writeln!(out, r#"<text class="dim" x="{at:.1}" y="{:.1}" text-anchor="middle">{ratio} ×</text>"#, TOP - 8.0)?;
    }
    let mut y = TOP;
    for (metric, bars) in groups {
        writeln!(out, r#"<text class="title" x="8" y="{:.1}">{}</text>"#, y + 15.0, metric.title)?;
        y += TITLE;
        for bar in bars {
            draw_bar(out, bar, y, x(1.0_f64.min(10_f64.powf(low))), x(bar.ratio))?;
            y += STEP;
        }
        y += GAP;
    }
    writeln!(out, "</svg>")
}

fn draw_bar(out: &mut String, bar: &Bar, y: f64, from: f64, to: f64) -> fmt::Result {
    let name = bar.peer.name();
    let text = y + BAR - 1.5;
    // A bar of no length would not be seen.
    let width = (to - from).max(2.0);
    writeln!(out, r#"<text x="{:.1}" y="{text:.1}" text-anchor="end">{name}</text>"#, LEFT - 8.0)?;
    writeln!(out, r#"<rect class="{name}" x="{from:.1}" y="{y:.1}" width="{width:.1}" height="{BAR}" rx="2"/>"#)?;
    writeln!(out, r#"<text class="dim" x="{:.1}" y="{text:.1}">{}</text>"#, from + width + 6.0, bar.label)
}
