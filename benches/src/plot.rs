//! The pictures: how long each contestant took beside the reference, with the quartiles.

use plotters::prelude::*;

use crate::harness::Result;
use crate::report::{Part, Report, Section};

const WIDTH: u32 = 860;
const BAR: u32 = 26;
/// Above and below the bars: the title, and the axis with its name.
const MARGIN: u32 = 110;
const COLOURS: [RGBColor; 4] =
    [RGBColor(9, 105, 218), RGBColor(191, 135, 0), RGBColor(26, 127, 55), RGBColor(130, 80, 223)];
const INK: RGBColor = RGBColor(31, 35, 40);

/// A picture for each title that the section measured, wherever it did: its name without the directory, and the SVG.
pub(crate) fn pictures(section: &Section) -> Result<Vec<(String, String)>> {
    let mut titles: Vec<&str> = Vec::new();
    for part in &section.parts {
        if let Part::Timed { report, .. } = part {
            if !titles.contains(&report.title.as_str()) {
                titles.push(&report.title);
            }
        }
    }
    let mut pictures = Vec::new();
    for (number, title) in titles.iter().enumerate() {
        let of_title = section.parts.iter().filter_map(|part| match part {
            Part::Timed { place, report } if report.title == *title => Some((place.as_str(), report)),
            _ => None,
        });
        let name = match titles.len() {
            1 => format!("{}.svg", section.id),
            _ => format!("{}-{}.svg", section.id, number + 1),
        };
        pictures.push((name, draw(title, &of_title.collect::<Vec<_>>())?));
    }
    Ok(pictures)
}

struct Bar {
    label: String,
    ratio: [f64; 3],
    colour: RGBColor,
}

fn bars(reports: &[(&str, &Report)]) -> Vec<Bar> {
    let names = reports.first().map(|(_, report)| report.names.clone()).unwrap_or_default();
    let mut bars = Vec::new();
    for name in &names {
        for (index, (place, report)) in reports.iter().enumerate() {
            let reference = report.references.first().map_or("", String::as_str);
            let Some(ratio) = report.ratio(name, reference) else { continue };
            let label = if place.is_empty() { name.clone() } else { format!("{name}, {place}") };
            bars.push(Bar { label, ratio, colour: COLOURS[index % COLOURS.len()] });
        }
    }
    bars
}

fn draw(title: &str, reports: &[(&str, &Report)]) -> Result<String> {
    let bars = bars(reports);
    let reference = reports.first().and_then(|(_, report)| report.references.first().cloned()).unwrap_or_default();
    let longest = bars.iter().map(|bar| bar.ratio[2]).fold(1.0, f64::max);
    let height = MARGIN + BAR * u32::try_from(bars.len())?;
    let labels = bars.iter().map(|bar| bar.label.chars().count()).max().unwrap_or(0);
    let label_width = u32::try_from(labels * 7 + 16)?.min(WIDTH / 2);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE)?;
        // The rows are numbered from below.
        let rows = bars.len() as f64;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 17).into_font().color(&INK))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(label_width)
            .build_cartesian_2d(0.0..longest * 1.15, 0.0..rows)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .y_labels(0)
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(225, 228, 232))
            .label_style(("sans-serif", 12).into_font().color(&INK))
            .x_desc(format!("time / {reference} (median and quartiles; less is better)"))
            .draw()?;
        for (index, bar) in bars.iter().enumerate() {
            let middle = rows - index as f64 - 0.5;
            let [low, median, high] = bar.ratio;
            chart.draw_series([Rectangle::new(
                [(0.0, middle - 0.33), (median, middle + 0.33)],
                bar.colour.mix(0.75).filled(),
            )])?;
            chart.draw_series([PathElement::new([(low, middle), (high, middle)], INK.stroke_width(1))])?;
            let (x, y) = chart.backend_coord(&(0.0, middle));
            let style = ("sans-serif", 12).into_font().color(&INK);
            let right = style.pos(plotters::style::text_anchor::Pos::new(
                plotters::style::text_anchor::HPos::Right,
                plotters::style::text_anchor::VPos::Center,
            ));
            root.draw(&Text::new(bar.label.clone(), (x - 8, y), right))?;
            let (x, y) = chart.backend_coord(&(high, middle));
            let style = ("sans-serif", 12).into_font().color(&INK);
            let left = style.pos(plotters::style::text_anchor::Pos::new(
                plotters::style::text_anchor::HPos::Left,
                plotters::style::text_anchor::VPos::Center,
            ));
            root.draw(&Text::new(format!("{median:.2}"), (x + 6, y), left))?;
        }
        root.present()?;
    }
    Ok(svg)
}
