//! The picture: a panel each harm, a bar each strategy.

use std::fmt::Write;

use super::table::{Figure, HARMS, time};
use super::{Report, Scenario};

const WIDTH: usize = 900;
const PANEL: usize = 280;
const BAR: usize = 22;
const LABEL: usize = 92;
/// What is left of a panel's width for its longest bar, beside the labels and the figure behind it.
const LONGEST: usize = 120;
const TOP: usize = 78;

/// A complete SVG document.
#[must_use]
pub fn svg(report: &Report) -> String {
    let panel_height = 40 + report.outcomes.len() * BAR;
    let height = TOP + 2 * panel_height + 24;
    let mut svg = String::new();
    let title = "What starting a server on one path costs the others";
    let below = format!(
        "{} processes, {} rounds of {} scenarios, {}, seed {}: counts of harm, less is better, 0 is a promise kept (bars: logarithmic)",
        report.processes,
        report.rounds,
        Scenario::ALL.len(),
        report.file_system,
        report.seed
    );
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"system-ui, sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>{title}</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"20\" y=\"30\" font-size=\"18\" font-weight=\"600\" fill=\"#1f2328\">{title}</text>\n\
         <text x=\"20\" y=\"52\" fill=\"#59636e\">{}</text>\n",
        escape(&below)
    ); // a String takes everything
    let count: fn(u64) -> String = |number| number.to_string();
    let panels = HARMS.iter().map(|&(name, value)| (name, value, count, false));
    let longest: Figure = |outcome| outcome.answer_longest_us;
    let time: fn(u64) -> String = time;
    for (index, (name, value, show, is_time)) in
        panels.chain([("longest time to answer", longest, time, true)]).enumerate()
    {
        let (x, y) = (20 + index % 3 * (PANEL + 10), TOP + index / 3 * panel_height);
        panel(&mut svg, report, (x, y), name, value, show, is_time);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Lengths are by the logarithm: one harm beside a thousand is still to be seen.
fn panel(
    svg: &mut String,
    report: &Report,
    (x, y): (usize, usize),
    name: &str,
    value: Figure,
    show: fn(u64) -> String,
    is_time: bool,
) {
    #[expect(clippy::cast_precision_loss, reason = "lengths on a picture")]
    let scale = |number: u64| (number as f64 + 1.0).ln();
    let most = report.outcomes.iter().map(value).max().unwrap_or(0).max(1);
    let _ =
        writeln!(svg, "<text x=\"{x}\" y=\"{}\" font-weight=\"600\" fill=\"#1f2328\">{}</text>", y + 16, escape(name));
    for (index, outcome) in report.outcomes.iter().enumerate() {
        let (number, top) = (value(outcome), y + 26 + index * BAR);
        #[expect(clippy::cast_precision_loss, reason = "a length on a picture")]
        let length = scale(number) / scale(most) * LONGEST as f64;
        let colour = if is_time { "#8c959f" } else { "#cf222e" };
        let good = !is_time && number == 0;
        let (text, weight) = if good { ("#1a7f37", 600) } else { ("#1f2328", 400) };
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#1f2328\">{}</text>\n\
             <rect x=\"{}\" y=\"{top}\" width=\"{length:.1}\" height=\"{}\" rx=\"2\" fill=\"{colour}\"/>\n\
             <text x=\"{:.1}\" y=\"{}\" fill=\"{text}\" font-weight=\"{weight}\">{}</text>\n",
            x + LABEL - 8,
            top + 12,
            escape(outcome.strategy),
            x + LABEL,
            BAR - 6,
            5.0 + f64::from(u32::try_from(x + LABEL).unwrap_or(0)) + length,
            top + 12,
            escape(&show(number)),
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
